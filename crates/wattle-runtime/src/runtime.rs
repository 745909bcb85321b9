//! The seam of all runtimes: what executes a model.
//!
//! `load` once per model, `instance` once per instance thread, `infer` per batch. All three block:
//! the executor calls them on threads of its own.

use std::path::PathBuf;
use std::sync::Arc;

use wattle_core::id::ModelName;

use crate::tensor::{BatchInput, Tensor, TensorSpec};

/// What executes models.
pub trait Runtime: Send + Sync {
    /// Its name, as in configuration and logs: `rten`, `onnxruntime`, `simulated`.
    fn name(&self) -> &'static str;

    /// Its version and what it runs on, for logs and metadata.
    fn describe(&self) -> String;

    /// Reads a model file. Fails without effect.
    fn load(&self, source: &ModelSource) -> Result<Arc<dyn LoadedModel>, RuntimeError>;
}

/// Where a model is read from.
#[derive(Debug, Clone)]
pub struct ModelSource {
    /// Its name in the repository.
    pub name: ModelName,
    /// Its version.
    pub version: u64,
    /// Its ONNX file.
    pub path: PathBuf,
}

/// A model in memory, from which instances are made.
pub trait LoadedModel: Send + Sync {
    /// Its inputs, in the order of the model file.
    fn inputs(&self) -> &[TensorSpec];

    /// Its outputs, in the order of the model file.
    fn outputs(&self) -> &[TensorSpec];

    /// Makes one instance. Weights are shared with the model's other instances where the runtime can.
    fn instance(&self) -> Result<Box<dyn Instance>, RuntimeError>;
}

/// One instance of a model; runs one batch at a time.
pub trait Instance: Send {
    /// Runs one batch on at most `cores` threads and gives every output of the model, in its order. The
    /// calling thread works too or sleeps meanwhile. `cores` may differ from call to call: where the
    /// runtime fixes threads when it opens a model, it makes the change in the background and runs on
    /// fewer threads (never on more than `cores`) until it is done.
    fn infer(&mut self, inputs: Vec<BatchInput>, cores: u32) -> Result<Vec<Tensor>, RuntimeError>;
}

/// A model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The model file could not be read as this runtime needs it.
    #[error("failed to load {path}: {detail}")]
    Load {
        /// Which file.
        path: String,
        /// What the runtime said, and what to do where that is known.
        detail: String,
    },
    /// The runtime can't carry this datatype.
    #[error("tensor {tensor} is {datatype}, which {runtime} can't carry; expected one of {supported}")]
    UnsupportedDatatype {
        /// Which runtime.
        runtime: &'static str,
        /// Which input or output.
        tensor: String,
        /// Its datatype.
        datatype: String,
        /// What the runtime carries.
        supported: String,
    },
    /// The bytes of an input don't make the tensor they should.
    #[error("input {tensor} has {found} bytes, expected {expected}")]
    InputBytes {
        /// Which input.
        tensor: String,
        /// Bytes given.
        found: usize,
        /// What its shape and datatype ask for.
        expected: String,
    },
    /// An input isn't what the model asks for: its name, datatype, shape or a value in it.
    #[error("input {tensor}: {detail}")]
    Input {
        /// Which input.
        tensor: String,
        /// What is wrong, and what the model asks for.
        detail: String,
    },
    /// The runtime refused or failed the batch.
    #[error("{runtime} failed to run {model}: {detail}")]
    Run {
        /// Which runtime.
        runtime: &'static str,
        /// Which model.
        model: String,
        /// What the runtime said.
        detail: String,
    },
    /// The runtime itself is not to be had.
    #[error("{runtime} is not available: {detail}")]
    Unavailable {
        /// Which runtime.
        runtime: &'static str,
        /// Why, and what to do.
        detail: String,
    },
}
