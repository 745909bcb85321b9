//! A model in ONNX Runtime, and how its sessions are opened.
//!
//! ONNX Runtime fixes a session's threads when it opens it, so sessions are opened often. To make that
//! cheap, loading a model optimises its graph once and keeps the result in a temporary folder, with the
//! weights in a file beside it. Sessions opened from there skip the optimiser and map the weights: about
//! 15 ms and 16 MB for a ResNet-50, where opening the original takes 400 ms and 110 MB. The folder lives
//! and dies with the model, so what is in it is always of this library and this processor.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use tempfile::TempDir;
use wattle_core::id::ModelName;

use super::sessions::OrtInstance;
use super::{ExecutionProvider, OrtOptions};
use crate::no_panic::no_panic;
use crate::onnx_file;
use crate::runtime::{Instance, LoadedModel, ModelSource, RuntimeError};
use crate::tensor::TensorSpec;

pub(super) struct OrtModel(Arc<SessionSource>);

/// All that is needed to open a session of the model.
pub(super) struct SessionSource {
    pub(super) name: ModelName,
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) outputs: Vec<TensorSpec>,
    original: PathBuf,
    /// The optimised graph; `None` where sessions open the original.
    optimized: Option<Optimized>,
    environment: Environment,
    execution_providers: Vec<ExecutionProvider>,
}

struct Optimized {
    graph: PathBuf,
    /// Deleted with the model.
    _dir: TempDir,
}

impl OrtModel {
    /// Opens the model once, so that a bad one is refused now.
    pub(super) fn load(
        environment: Environment,
        options: &OrtOptions,
        source: &ModelSource,
    ) -> Result<Self, RuntimeError> {
        let file = onnx_file::read(&source.path)?;
        let mut source = SessionSource {
            name: source.name.clone(),
            inputs: file.inputs,
            outputs: file.outputs,
            original: source.path.clone(),
            optimized: None,
            environment,
            execution_providers: options.execution_providers.clone(),
        };
        // Graphs that accelerators have compiled can't be written down.
        let on_cpu = source.execution_providers.iter().all(|provider| *provider == ExecutionProvider::Cpu);
        let optimized = if on_cpu { source.optimize() } else { Err("an accelerator runs it".to_owned()) };
        match optimized {
            Ok(optimized) => source.optimized = Some(optimized),
            Err(why) => {
                tracing::debug!(model = %source.name, why, "sessions open the original graph");
                source.open(1)?;
            }
        }
        Ok(Self(Arc::new(source)))
    }
}

impl LoadedModel for OrtModel {
    fn inputs(&self) -> &[TensorSpec] {
        &self.0.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.0.outputs
    }

    fn instance(&self) -> Result<Box<dyn Instance>, RuntimeError> {
        Ok(Box::new(OrtInstance::new(Arc::clone(&self.0))?))
    }
}

impl SessionSource {
    /// Opens a session of `threads` threads, the one that calls it included. Takes milliseconds to seconds.
    pub(super) fn open(&self, threads: u32) -> Result<Session, RuntimeError> {
        let opened = no_panic(|| match &self.optimized {
            Some(optimized) => self.open_optimized(&optimized.graph, threads),
            None => self.builder(threads).and_then(|mut builder| builder.commit_from_file(&self.original)),
        });
        opened.unwrap_or_else(|panic| Err(ort::Error::new(panic))).map_err(|error| RuntimeError::Load {
            path: self.original.display().to_string(),
            detail: error.to_string(),
        })
    }

    fn open_optimized(&self, graph: &Path, threads: u32) -> ort::Result<Session> {
        self.builder(threads)?
            .with_optimization_level(GraphOptimizationLevel::Disable)?
            .commit_from_file(graph)
    }

    fn builder(&self, threads: u32) -> ort::Result<SessionBuilder> {
        let registrations: Vec<_> =
            self.execution_providers.iter().filter_map(|one| one.registration()).collect();
        // Threads that spin while idle draw power for nothing: eight times the CPU time at one request
        // every 50 ms. The arena keeps its high-water mark; shrinking it would cost every run.
        let builder = Session::builder(&self.environment)?
            .with_intra_threads(threads.max(1) as usize)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_log_level(LogLevel::Warning)?;
        if registrations.is_empty() {
            Ok(builder)
        } else {
            Ok(builder.with_execution_providers(registrations)?)
        }
    }

    /// Writes the optimised graph, and opens it once to see that it is good.
    fn optimize(&self) -> Result<Optimized, String> {
        let dir = TempDir::with_prefix("wattle-").map_err(|error| error.to_string())?;
        let graph = dir.path().join("optimized.onnx");
        let write = || -> ort::Result<Session> {
            self.builder(1)?
                // It warns that the graph suits this processor only, which is what is wanted.
                .with_log_level(LogLevel::Error)?
                .with_optimized_model_path(&graph)?
                .with_config_entry(
                    "session.optimized_model_external_initializers_file_name",
                    "optimized.weights",
                )?
                .with_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")?
                .commit_from_file(&self.original)
        };
        no_panic(write)?.map_err(|error| error.to_string())?;
        no_panic(|| self.open_optimized(&graph, 1))?.map_err(|error| error.to_string())?;
        Ok(Optimized { graph, _dir: dir })
    }
}
