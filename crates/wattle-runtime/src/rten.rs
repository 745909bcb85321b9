//! The runtime that is always there: rten, pure Rust, on the CPU.
//!
//! All instances of a model share its weights. Threads are chosen per call, so a change of cores costs
//! the start of a few threads and nothing else.

mod convert;

use std::sync::Arc;

use ::rten::{Model, NodeId, RunOptions, ThreadPool, ValueOrView};
use wattle_core::id::ModelName;

use crate::gather;
use crate::no_panic::no_panic;
use crate::onnx_file;
use crate::runtime::{Instance, LoadedModel, ModelSource, Runtime, RuntimeError};
use crate::tensor::{BatchInput, Tensor, TensorSpec};

const NAME: &str = "rten";

/// Thread pools an instance keeps; the least recently used goes first. A policy that steps between a
/// few counts starts no threads, and one that walks through all of them leaves few behind.
const KEPT_POOLS: usize = 4;

/// Runs models with rten.
///
/// rten computes in `f32`, `i32`, `i8` and `u8`. Wider tensors are narrowed on the way in and widened
/// on the way out: FP64 loses precision, FP16 gains some within the model, and an INT64 input beyond 32
/// bits is refused, not cut.
#[derive(Debug, Default)]
pub struct RtenRuntime;

impl Runtime for RtenRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn describe(&self) -> String {
        "rten 0.27 on the CPU".to_owned()
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn LoadedModel>, RuntimeError> {
        let file = onnx_file::read(&source.path)?;
        gather::require_datatypes(NAME, &file.inputs, convert::SUPPORTED)?;
        gather::require_datatypes(NAME, &file.outputs, convert::SUPPORTED)?;

        let refused = |detail: String| RuntimeError::Load {
            path: source.path.display().to_string(),
            detail: format!("rten says: {detail}; ONNX Runtime may know more operators"),
        };
        let model = no_panic(|| Model::load_file(&source.path))
            .map_err(refused)?
            .map_err(|error| refused(error.to_string()))?;
        let nodes = |tensors: &[TensorSpec]| -> Result<Vec<NodeId>, RuntimeError> {
            tensors
                .iter()
                .map(|tensor| model.node_id(&tensor.name).map_err(|e| refused(e.to_string())))
                .collect()
        };
        let (input_nodes, output_nodes) = (nodes(&file.inputs)?, nodes(&file.outputs)?);
        Ok(Arc::new(RtenModel(Arc::new(Shared {
            name: source.name.clone(),
            model,
            inputs: file.inputs,
            outputs: file.outputs,
            input_nodes,
            output_nodes,
        }))))
    }
}

struct RtenModel(Arc<Shared>);

/// What all instances of a model share.
struct Shared {
    name: ModelName,
    model: Model,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    input_nodes: Vec<NodeId>,
    output_nodes: Vec<NodeId>,
}

impl LoadedModel for RtenModel {
    fn inputs(&self) -> &[TensorSpec] {
        &self.0.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.0.outputs
    }

    fn instance(&self) -> Result<Box<dyn Instance>, RuntimeError> {
        Ok(Box::new(RtenInstance { shared: Arc::clone(&self.0), pools: Vec::new() }))
    }
}

struct RtenInstance {
    shared: Arc<Shared>,
    /// By thread count, the most recently used last. The instance's own: what one instance may use,
    /// another can't take.
    pools: Vec<(u32, Arc<ThreadPool>)>,
}

impl RtenInstance {
    /// The pool of that many threads. rten runs on pools only: with one core the calling thread hands
    /// over to the pool's one thread and sleeps.
    fn pool(&mut self, cores: u32) -> Arc<ThreadPool> {
        let entry = match self.pools.iter().position(|(count, _)| *count == cores) {
            Some(at) => self.pools.remove(at),
            None => (cores, Arc::new(ThreadPool::with_num_threads(cores as usize))),
        };
        if self.pools.len() == KEPT_POOLS {
            self.pools.remove(0);
        }
        let pool = Arc::clone(&entry.1);
        self.pools.push(entry);
        pool
    }
}

impl Instance for RtenInstance {
    fn infer(&mut self, inputs: Vec<BatchInput>, cores: u32) -> Result<Vec<Tensor>, RuntimeError> {
        let pool = self.pool(cores.max(1));
        let Shared { name, model, inputs: specs, outputs, input_nodes, output_nodes } = &*self.shared;
        let inputs = gather::check(specs, inputs)?;
        let mut given = Vec::with_capacity(inputs.len());
        for (node, input) in input_nodes.iter().zip(&inputs) {
            given.push((*node, ValueOrView::from(convert::input(input)?)));
        }

        let failed = |detail: String| RuntimeError::Run { runtime: NAME, model: name.to_string(), detail };
        let options = RunOptions::default().with_thread_pool(Some(pool));
        let values = no_panic(|| model.run(given, output_nodes, Some(options)))
            .map_err(failed)?
            .map_err(|error| failed(error.to_string()))?;
        outputs.iter().zip(values).map(|(spec, value)| convert::output(spec, value).map_err(failed)).collect()
    }
}
