//! One inference, whichever way it came: checks the request against the model, runs it, and gives the
//! answer. HTTP and gRPC only translate to and from this.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use wattle_core::units::Joules;
use wattle_runtime::tensor::{Tensor, TensorSpec};

use super::error::{ApiError, ErrorKind};
use super::{DataPlane, cost};
use crate::executor::{Asker, ExecuteError, Submission};
use crate::model_repository::ServedModel;

/// A request, as either front end reads it.
#[derive(Debug, Default)]
pub struct InferRequest {
    /// Inputs, in the request's order.
    pub inputs: Vec<Tensor>,
    /// Names of the outputs asked for; empty: all.
    pub outputs: Vec<String>,
    /// What else was asked for.
    pub options: InferOptions,
}

/// Parameters of a request that Wattle knows.
#[derive(Debug, Clone, Default)]
pub struct InferOptions {
    /// 1 goes first; 0 or none: the model's default.
    pub priority: Option<u64>,
    /// How long the request may wait in the queue.
    pub timeout: Option<Duration>,
    /// Whether the answer is to say what it cost.
    pub wants_energy: bool,
    /// The class that the request's parameters name.
    pub class: Option<String>,
}

/// What was called, as either front end reads it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Called<'a> {
    /// A model's own name, or its family's.
    pub name: &'a str,
    /// Which version; empty: the latest.
    pub version: &'a str,
    /// The class that headers or metadata name.
    pub class: Option<&'a str>,
}

/// The answer: outputs in the order asked for, and what they cost where that was asked for and known.
#[derive(Debug)]
pub struct InferAnswer {
    /// Outputs.
    pub outputs: Vec<Tensor>,
    /// The request's share of the energy of its batch.
    pub energy: Option<Joules>,
}

/// Runs `request` on `model`, which was found for what was `called`. Where that has been replaced since, its
/// successor takes the request and stands in `model` afterwards.
pub async fn infer(
    plane: &DataPlane,
    model: &mut Arc<ServedModel>,
    called: Called<'_>,
    mut request: InferRequest,
) -> Result<InferAnswer, ApiError> {
    let Called { name, version, class } = called;
    let class = cost::one_class(request.options.class.as_deref(), class)?;
    let class = class.map(|class| plane.classes.named(class)).transpose()?;
    let family = plane.repository.families().get_key_value(name).map(|(family, _)| family.clone());
    let asker = Asker { family, class };
    let (mut receiver, deadline, picks) = loop {
        let (inputs, rows) = check_inputs(model, request.inputs)?;
        // For a successor: only names and shapes are copied, as tensors share their bytes.
        request.inputs = inputs.clone();
        let picks = check_outputs(model, &request.outputs)?;
        let priority = check_priority(model, request.options.priority)?;
        let own = request.options.timeout.filter(|_| model.config.allow_timeout_override);
        let timeout = own.or(model.config.default_timeout);
        let deadline = timeout.map(|timeout| plane.clock.now() + timeout);
        // A request without rows would vanish in a batch: it runs alone.
        let group = (rows > 0).then(|| group_of(&inputs, model.config.max_batch_size));
        let asker = asker.clone();
        let submission = Submission { inputs, rows, group, priority, deadline, asker };
        match model.executor.submit(submission) {
            Err(error @ ExecuteError::Closing { .. }) => {
                let successor = plane.repository.find(name, version)?;
                if Arc::ptr_eq(&successor, model) {
                    return Err(error.into());
                }
                *model = successor;
            }
            submitted => {
                plane.repository.count_asked(name, rows.max(1));
                break (submitted?, deadline, picks);
            }
        }
    };
    let lost = || ApiError::new(ErrorKind::Internal, format!("model '{}' lost the request", model.name));
    let answer = match deadline {
        None => receiver.await,
        // The queue looks at deadlines only when it forms a batch, so the one who waits wakes it.
        Some(deadline) => match tokio::time::timeout(plane.clock.until(deadline), &mut receiver).await {
            Ok(answer) => answer,
            Err(_) => {
                model.executor.answer_expired();
                receiver.await
            }
        },
    };
    let answer = answer.map_err(|_| lost())??;
    let mut outputs: Vec<Option<Tensor>> = answer.outputs.into_iter().map(Some).collect();
    let outputs = match picks {
        None => outputs.into_iter().flatten().collect(),
        Some(picks) => picks.into_iter().filter_map(|index| outputs[index].take()).collect(),
    };
    Ok(InferAnswer { outputs, energy: answer.energy })
}

/// The inputs in the model's order, and the rows they carry.
pub(crate) fn check_inputs(
    model: &ServedModel,
    mut given: Vec<Tensor>,
) -> Result<(Vec<Tensor>, u32), ApiError> {
    let config = &model.config;
    if given.len() != config.inputs.len() {
        return Err(ApiError::invalid(format!(
            "expected {} inputs but got {} inputs for model '{}'; expected {}",
            config.inputs.len(),
            given.len(),
            model.name,
            describe(&config.inputs)
        )));
    }
    let mut inputs: Vec<Tensor> = Vec::with_capacity(given.len());
    for spec in &config.inputs {
        let Some(at) = given.iter().position(|tensor| tensor.name == spec.name) else {
            // Those taken already are named too: the request had them all.
            let names: Vec<&str> = inputs.iter().chain(&given).map(|tensor| tensor.name.as_str()).collect();
            return Err(ApiError::invalid(format!(
                "input '{}' is missing for model '{}'; got {}; expected {}",
                spec.name,
                model.name,
                names.join(", "),
                describe(&config.inputs)
            )));
        };
        let tensor = given.swap_remove(at);
        check_tensor(model, spec, &tensor)?;
        inputs.push(tensor);
    }
    if config.max_batch_size == 0 {
        return Ok((inputs, 1));
    }
    let rows = inputs.first().and_then(|tensor| tensor.shape.first()).copied().unwrap_or(1);
    if let Some(other) = inputs.iter().find(|tensor| tensor.shape.first() != Some(&rows)) {
        return Err(ApiError::invalid(format!(
            "input '{}' batch size does not match other inputs for '{}': its shape is {:?}, expected {rows} rows",
            other.name, model.name, other.shape
        )));
    }
    if rows > config.max_batch_size as usize {
        return Err(ApiError::invalid(format!(
            "inference request batch-size must be <= {} for '{}', got {rows}; send it in smaller pieces",
            config.max_batch_size, model.name
        )));
    }
    Ok((inputs, rows as u32))
}

fn check_tensor(model: &ServedModel, spec: &TensorSpec, tensor: &Tensor) -> Result<(), ApiError> {
    if tensor.datatype != spec.datatype {
        return Err(ApiError::invalid(format!(
            "inference input '{}' data-type is '{}', but model '{}' expects '{}'",
            tensor.name, tensor.datatype, model.name, spec.datatype
        )));
    }
    let fits = tensor.shape.len() == spec.shape.len()
        && tensor.shape.iter().zip(&spec.shape).all(|(&is, &wanted)| wanted == -1 || wanted == is as i64);
    if !fits {
        return Err(ApiError::invalid(format!(
            "unexpected shape for input '{}' for model '{}'. Expected {:?}, got {:?}",
            tensor.name, model.name, spec.shape, tensor.shape
        )));
    }
    let expected = tensor.datatype.byte_len_of(&tensor.shape, &tensor.data);
    match expected {
        Ok(expected) if expected == tensor.data.len() => Ok(()),
        Ok(expected) => Err(ApiError::invalid(format!(
            "input '{}' has {} bytes of data for model '{}', expected {expected} for {} of shape {:?}",
            tensor.name,
            tensor.data.len(),
            model.name,
            tensor.datatype,
            tensor.shape
        ))),
        Err(detail) => {
            Err(ApiError::invalid(format!("input '{}' for model '{}': {detail}", tensor.name, model.name)))
        }
    }
}

/// Where in the model's outputs those asked for are; `None`: all, in the model's order.
fn check_outputs(model: &ServedModel, wanted: &[String]) -> Result<Option<Vec<usize>>, ApiError> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut picks = Vec::with_capacity(wanted.len());
    for name in wanted {
        let Some(at) = model.config.outputs.iter().position(|spec| spec.name == *name) else {
            return Err(ApiError::invalid(format!(
                "unexpected inference output '{name}' for model '{}'; expected one of {}",
                model.name,
                describe(&model.config.outputs)
            )));
        };
        if picks.contains(&at) {
            return Err(ApiError::invalid(format!("output '{name}' is asked for more than once")));
        }
        picks.push(at);
    }
    Ok(Some(picks))
}

fn check_priority(model: &ServedModel, wanted: Option<u64>) -> Result<u32, ApiError> {
    match wanted.unwrap_or(0) {
        0 => Ok(model.config.default_priority),
        level if level <= u64::from(model.config.priority_levels) => Ok(level as u32),
        level => Err(ApiError::invalid(format!(
            "request priority is {level}, but model '{}' has priority levels 1 to {}; 1 goes first",
            model.name, model.config.priority_levels
        ))),
    }
}

/// Requests whose rows have the same shapes may share a batch.
pub(crate) fn group_of(inputs: &[Tensor], max_batch_size: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    for input in inputs {
        let row = if max_batch_size > 0 { &input.shape[1..] } else { &input.shape[..] };
        row.hash(&mut hasher);
    }
    hasher.finish()
}

fn describe(specs: &[TensorSpec]) -> String {
    let each = specs.iter().map(|spec| format!("'{}' {} {:?}", spec.name, spec.datatype, spec.shape));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use wattle_device::cpu::CoreBudget;
    use wattle_runtime::runtime::{Instance, LoadedModel, ModelSource, Runtime, RuntimeError};
    use wattle_runtime::tensor::{BatchInput, Datatype};

    use super::*;
    use crate::accounts::Classes;
    use crate::clock::Clock;
    use crate::control_loop::Waker;
    use crate::executor::Surroundings;
    use crate::meter::EnergyRate;
    use crate::model_repository::ModelRepository;

    /// Answers with its inputs: `a` and `b`, one UINT8 a row.
    #[derive(Clone)]
    struct Echo(Vec<TensorSpec>);

    impl Runtime for Echo {
        fn name(&self) -> &'static str {
            "echo"
        }

        fn describe(&self) -> String {
            "echo".into()
        }

        fn load(&self, _: &ModelSource) -> Result<Arc<dyn LoadedModel>, RuntimeError> {
            Ok(Arc::new(self.clone()))
        }
    }

    impl LoadedModel for Echo {
        fn inputs(&self) -> &[TensorSpec] {
            &self.0
        }

        fn outputs(&self) -> &[TensorSpec] {
            &self.0
        }

        fn instance(&self) -> Result<Box<dyn Instance>, RuntimeError> {
            Ok(Box::new(self.clone()))
        }
    }

    impl Instance for Echo {
        fn infer(&mut self, inputs: Vec<BatchInput>, _: u32) -> Result<Vec<Tensor>, RuntimeError> {
            let echo = |input: BatchInput| {
                let data = input.parts.concat();
                Tensor {
                    name: input.name,
                    datatype: input.datatype,
                    shape: vec![data.len()],
                    data: data.into(),
                }
            };
            Ok(inputs.into_iter().map(echo).collect())
        }
    }

    /// A data plane that serves the model `echo`, and the folder it is in.
    fn plane() -> (DataPlane, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("echo/1")).unwrap();
        std::fs::write(folder.path().join("echo/1/model.onnx"), "").unwrap();
        let spec = |name: &str| TensorSpec { name: name.into(), datatype: Datatype::Uint8, shape: vec![-1] };
        let clock = Clock::start();
        let around = Surroundings {
            clock,
            budget: CoreBudget::new(1),
            energy_rate: Arc::new(EnergyRate::unknown()),
            waker: Arc::new(Waker::default()),
        };
        let runtime = Arc::new(Echo(vec![spec("a"), spec("b")]));
        let repository = Arc::new(ModelRepository::open(folder.path(), runtime, around).unwrap());
        repository.load("echo", None).unwrap();
        let plane = DataPlane {
            clock,
            repository,
            name: "test".into(),
            version: "0",
            is_ready: AtomicBool::new(true),
            max_request_bytes: 1000,
            energy_rate: Arc::new(EnergyRate::unknown()),
            classes: Arc::new(Classes::new(8)),
            class_header: None,
            stopped: tokio::sync::watch::channel(false).1,
        };
        (plane, folder)
    }

    fn called() -> Called<'static> {
        Called { name: "echo", ..Called::default() }
    }

    fn request(names: [&str; 2]) -> InferRequest {
        let input = |name: &str| Tensor {
            name: name.into(),
            datatype: Datatype::Uint8,
            shape: vec![1],
            data: vec![name.as_bytes()[0]].into(),
        };
        InferRequest { inputs: names.map(input).into(), ..InferRequest::default() }
    }

    #[tokio::test]
    async fn a_request_found_a_model_that_is_replaced_since_and_its_successor_answers() {
        let (plane, _folder) = plane();
        let old = plane.repository.find("echo", "").unwrap();
        plane.repository.load("echo", None).unwrap();
        old.executor.close();
        let mut model = Arc::clone(&old);
        let answer = infer(&plane, &mut model, called(), request(["b", "a"])).await.unwrap();
        assert_eq!(answer.outputs.iter().map(|output| &output.data[..]).collect::<Vec<_>>(), [b"a", b"b"]);
        assert!(!Arc::ptr_eq(&model, &old));
    }

    #[tokio::test]
    async fn a_request_found_a_model_that_is_unloaded_since_and_is_told_so() {
        let (plane, _folder) = plane();
        let mut model = plane.repository.find("echo", "").unwrap();
        plane.repository.unload("echo").unwrap();
        model.executor.close();
        let error = infer(&plane, &mut model, called(), request(["a", "b"])).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_missing_input_is_told_with_all_that_were_given() {
        let (plane, _folder) = plane();
        let mut model = plane.repository.find("echo", "").unwrap();
        let error = infer(&plane, &mut model, called(), request(["a", "c"])).await.unwrap_err();
        assert!(error.text.contains("input 'b' is missing for model 'echo'; got a, c;"), "{error}");
    }
}
