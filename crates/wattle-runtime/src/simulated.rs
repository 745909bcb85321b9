//! A runtime that computes nothing: it takes as long as a profile says, and makes up the answers.
//!
//! With the simulated device, which draws the power meanwhile, it serves any repository on any machine.

mod fill;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::thread;

use wattle_core::id::ModelName;
use wattle_core::time::Timestamp;
use wattle_device::simulated::SimulatedLoad;

use crate::gather;
use crate::onnx_file;
use crate::runtime::{Instance, LoadedModel, ModelSource, Runtime, RuntimeError};
use crate::tensor::{BatchInput, Tensor, TensorSpec};

const NAME: &str = "simulated";

/// Tells the time to the simulated device. The device's readings must be of the same clock.
type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Plays models on a simulated device.
///
/// A model's inputs and outputs are those of its ONNX file, or those [`declared`](Self::declare) where
/// there is no file. Each row of an answer is a function of the same row of the inputs and of nothing
/// else: its bytes are those of the row, repeated, of the first input of the output's datatype; where no
/// input has that datatype, all its elements are one number from 0 to 99 drawn from the row's bytes.
/// Sizes that the model leaves open, the batch aside, are 1.
#[derive(Clone)]
pub struct SimulatedRuntime {
    load: Arc<SimulatedLoad>,
    now: Now,
    declared: BTreeMap<ModelName, (Vec<TensorSpec>, Vec<TensorSpec>)>,
}

impl SimulatedRuntime {
    /// A runtime on the device that `load` belongs to, by the clock `now`.
    pub fn new(load: Arc<SimulatedLoad>, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { load, now: Arc::new(now), declared: BTreeMap::new() }
    }

    /// Says what goes into and comes out of a model that may have no ONNX file.
    pub fn declare(&mut self, model: ModelName, inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) {
        self.declared.insert(model, (inputs, outputs));
    }

    fn tensors(&self, source: &ModelSource) -> Result<(Vec<TensorSpec>, Vec<TensorSpec>), RuntimeError> {
        match self.declared.get(&source.name) {
            Some(declared) if !source.path.exists() => Ok(declared.clone()),
            _ => {
                let file = onnx_file::read(&source.path)?;
                Ok((file.inputs, file.outputs))
            }
        }
    }
}

impl fmt::Debug for SimulatedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedRuntime").field("load", &self.load).finish_non_exhaustive()
    }
}

impl Runtime for SimulatedRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn describe(&self) -> String {
        "simulated: plays the time of profiles and makes up the answers".to_owned()
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn LoadedModel>, RuntimeError> {
        let (inputs, outputs) = self.tensors(source)?;
        let name = source.name.clone();
        let (load, now) = (Arc::clone(&self.load), Arc::clone(&self.now));
        Ok(Arc::new(SimulatedModel(Arc::new(Shared { name, inputs, outputs, load, now }))))
    }
}

struct SimulatedModel(Arc<Shared>);

struct Shared {
    name: ModelName,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    load: Arc<SimulatedLoad>,
    now: Now,
}

impl LoadedModel for SimulatedModel {
    fn inputs(&self) -> &[TensorSpec] {
        &self.0.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.0.outputs
    }

    fn instance(&self) -> Result<Box<dyn Instance>, RuntimeError> {
        Ok(Box::new(SimulatedInstance(Arc::clone(&self.0))))
    }
}

struct SimulatedInstance(Arc<Shared>);

impl Instance for SimulatedInstance {
    fn infer(&mut self, inputs: Vec<BatchInput>, cores: u32) -> Result<Vec<Tensor>, RuntimeError> {
        let Shared { name, inputs: specs, outputs, load, now } = &*self.0;
        let inputs = gather::check(specs, inputs)?;
        let rows = rows(specs, &inputs)?;
        let answers = fill::outputs(outputs, &inputs, rows)?;
        if rows > 0 {
            let counted = u32::try_from(rows).unwrap_or(u32::MAX); // more than any profile has, so refused
            let (token, latency) = load.begin(name, counted, cores.max(1), now()).map_err(|error| {
                RuntimeError::Run { runtime: NAME, model: name.to_string(), detail: error.to_string() }
            })?;
            thread::sleep(latency);
            load.end(token, now());
        }
        Ok(answers)
    }
}

/// Rows of the batch; 1 where the model takes no batches.
fn rows(specs: &[TensorSpec], inputs: &[BatchInput]) -> Result<usize, RuntimeError> {
    let takes_batches = !specs.is_empty() && specs.iter().all(|spec| spec.shape.first() == Some(&-1));
    if !takes_batches {
        return Ok(1);
    }
    let rows = inputs.first().map_or(1, |input| input.shape[0]);
    match inputs.iter().find(|input| input.shape[0] != rows) {
        Some(other) => Err(gather::wrong(
            &other.name,
            format!("has {} rows, but {} has {rows}", other.shape[0], inputs[0].name),
        )),
        None => Ok(rows),
    }
}
