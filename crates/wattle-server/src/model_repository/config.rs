//! What is served of a model, put together from its files.
//!
//! Three sources, the first that speaks wins: `model.toml`, Triton's `config.pbtxt`, the ONNX file
//! itself. With neither of the first two, batching is on if every input and output has a dynamic
//! first dimension.

use std::time::Duration;

use wattle_core::knob::{ServingLimits, ServingSetting};
use wattle_runtime::runtime::LoadedModel;
use wattle_runtime::tensor::{Datatype, TensorSpec};

use super::model_toml::{ModelToml, Versions};
use crate::data_plane::proto::{self, model_config};

/// Largest batch of a model whose files name none.
const DEFAULT_MAX_BATCH_SIZE: u32 = 32;
/// Queue size of a model whose files name none.
const DEFAULT_MAX_QUEUE_SIZE: u32 = 1024;
/// Most instances any model may be turned to.
const MAX_INSTANCES: u32 = 64;
/// Instances of a model whose files name none, on a machine with as many cores.
const MAX_DEFAULT_INSTANCES: u32 = 8;

/// What an owner said of a model, in whichever file.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    /// Triton's form, when that was read; kept for what clients ask back.
    pub triton: Option<proto::ModelConfig>,
    /// Wattle's own form.
    pub toml: ModelToml,
}

/// What is served of a model.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Inputs, the batch dimension included.
    pub inputs: Vec<TensorSpec>,
    /// Outputs, the batch dimension included.
    pub outputs: Vec<TensorSpec>,
    /// Largest batch; 0 when requests are not batched and have no batch dimension.
    pub max_batch_size: u32,
    /// Where the knobs stand at first.
    pub setting: ServingSetting,
    /// How far the knobs turn.
    pub limits: ServingLimits,
    /// Deadline in the queue of requests that name none.
    pub default_timeout: Option<Duration>,
    /// Whether a request's own timeout counts.
    pub allow_timeout_override: bool,
    /// Highest priority number.
    pub priority_levels: u32,
    /// Priority of requests that name none.
    pub default_priority: u32,
    /// As Triton's clients read it.
    pub triton: proto::ModelConfig,
}

/// Which versions of a model are to be served, of those there are (ascending).
pub fn wanted_versions(declared: &Declared, there: &[u64]) -> Result<Vec<u64>, String> {
    use proto::model_version_policy::PolicyChoice;
    let latest = |n: u32| there.iter().rev().take(n.max(1) as usize).rev().copied().collect::<Vec<_>>();
    let specific = |wanted: &[u64]| match wanted.iter().find(|version| !there.contains(version)) {
        None => Ok(wanted.to_vec()),
        Some(missing) => Err(format!("version {missing} is asked for but not there; found {there:?}")),
    };
    match &declared.toml.versions {
        Versions { all: Some(true), .. } => return Ok(there.to_vec()),
        Versions { specific: Some(wanted), .. } => return specific(wanted),
        Versions { latest: Some(n), .. } => return Ok(latest(*n)),
        Versions { .. } => {}
    }
    let policy = declared.triton.as_ref().and_then(|config| config.version_policy.as_ref());
    match policy.and_then(|policy| policy.policy_choice.as_ref()) {
        None => Ok(latest(1)),
        Some(PolicyChoice::Latest(choice)) => Ok(latest(choice.num_versions)),
        Some(PolicyChoice::All(_)) => Ok(there.to_vec()),
        Some(PolicyChoice::Specific(choice)) => {
            specific(&choice.versions.iter().map(|&version| version.unsigned_abs()).collect::<Vec<_>>())
        }
    }
}

/// Where the knobs of a model stand when a server starts, as far as its files tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Batch limit. `None`: the files leave it to the model.
    pub batch_size: Option<u32>,
    /// Instances.
    pub instances: u32,
    /// Compute threads of each.
    pub cores_per_instance: u32,
}

/// Where the knobs of a model stand at first, without loading it. `cores`: compute threads of the server.
pub(super) fn start(declared: &Declared, cores: u32) -> Start {
    let (batching, instances) = (&declared.toml.batching, &declared.toml.instances);
    let triton = declared.triton.as_ref();
    let is_dynamic = triton.is_some_and(|triton| {
        matches!(triton.scheduling_choice, Some(model_config::SchedulingChoice::DynamicBatching(_)))
    });
    let of_triton = triton.map(|triton| triton.max_batch_size.max(0) as u32).filter(|size| *size > 0);
    // Triton batches across requests only where its configuration says so.
    let of_triton =
        of_triton.map(|size| if is_dynamic { batching.max_batch_size.unwrap_or(size) } else { 1 });
    let count: u32 =
        triton.map_or(0, |triton| triton.instance_group.iter().map(|group| group.count.max(0) as u32).sum());
    Start {
        batch_size: batching.batch_size.or(of_triton).or(batching.max_batch_size).map(|size| size.max(1)),
        instances: instances
            .count
            .or((count > 0).then_some(count))
            .unwrap_or(cores.clamp(1, MAX_DEFAULT_INSTANCES)),
        cores_per_instance: instances.cores.unwrap_or(1),
    }
}

/// Puts together what is served of `model`. `cores`: compute threads of the server.
pub fn resolve(
    name: &str,
    declared: &Declared,
    model: &dyn LoadedModel,
    runtime: &str,
    cores: u32,
) -> Result<ModelConfig, String> {
    let toml = &declared.toml;
    if let Some(platform) = toml.platform.as_deref().filter(|platform| *platform != "onnx") {
        return Err(format!("platform is {platform:?}, expected \"onnx\""));
    }
    toml.objective.latency()?;
    let mut triton = declared.triton.clone().unwrap_or_default();
    refuse_unsupported(name, &triton)?;
    let max_batch_size = max_batch_size(declared, &triton, model)?;
    let inputs = merge_specs("input", &triton_inputs(&triton), model.inputs(), max_batch_size)?;
    let outputs = merge_specs("output", &triton_outputs(&triton), model.outputs(), max_batch_size)?;

    let dynamic = match &triton.scheduling_choice {
        Some(model_config::SchedulingChoice::DynamicBatching(batching)) => Some(batching.clone()),
        _ => None,
    };
    let dynamic = dynamic.as_ref();
    let queue = dynamic.and_then(|batching| batching.default_queue_policy.as_ref());
    let start = start(declared, cores);
    let nonzero = |value: u32| (value > 0).then_some(value);
    let setting = ServingSetting {
        batch_size: start.batch_size.unwrap_or(max_batch_size).max(1),
        instances: start.instances,
        cores_per_instance: start.cores_per_instance,
        duty_cycle: 1.0,
        max_queue_delay: Duration::from_micros(
            toml.batching
                .max_queue_delay_us
                .or(dynamic.map(|batching| batching.max_queue_delay_microseconds))
                .unwrap_or(0),
        ),
        max_queue_size: toml
            .batching
            .max_queue_size
            .or(queue.and_then(|queue| nonzero(queue.max_queue_size)))
            .unwrap_or(DEFAULT_MAX_QUEUE_SIZE),
    };
    let limits = ServingLimits {
        max_batch_size: max_batch_size.max(1),
        max_instances: MAX_INSTANCES,
        max_cores_per_instance: cores.max(1),
    };
    limits.check(&setting).map_err(|error| error.to_string())?;

    let default_timeout_us = toml
        .batching
        .default_timeout_us
        .or(queue.map(|queue| queue.default_timeout_microseconds))
        .filter(|timeout| *timeout > 0);
    let triton_levels = dynamic.map(|batching| batching.priority_levels).filter(|levels| *levels > 0);
    let priority_levels =
        toml.batching.priority_levels.or(triton_levels.map(|levels| levels as u32)).unwrap_or(1).max(1);
    let triton_default = dynamic.map(|batching| batching.default_priority_level).filter(|level| *level > 0);
    let default_priority = toml
        .batching
        .default_priority
        .or(triton_default.map(|level| level as u32))
        .unwrap_or(priority_levels.div_ceil(2));
    if !(1..=priority_levels).contains(&default_priority) {
        return Err(format!("default_priority is {default_priority}, expected 1 to {priority_levels}"));
    }

    complete_triton(&mut triton, name, runtime, max_batch_size, &setting, &inputs, &outputs);
    Ok(ModelConfig {
        inputs,
        outputs,
        max_batch_size,
        setting,
        limits,
        default_timeout: default_timeout_us.map(Duration::from_micros),
        allow_timeout_override: queue.is_none_or(|queue| queue.allow_timeout_override),
        priority_levels,
        default_priority,
        triton,
    })
}

/// Says no to what Triton knows and Wattle doesn't do, rather than serve something else.
fn refuse_unsupported(name: &str, triton: &proto::ModelConfig) -> Result<(), String> {
    use model_config::SchedulingChoice;
    if !triton.name.is_empty() && triton.name != name {
        return Err(format!("name is {:?}, expected {name:?}, the name of its folder", triton.name));
    }
    let backend =
        [triton.backend.as_str(), triton.platform.as_str()].into_iter().find(|text| !text.is_empty());
    if let Some(backend) = backend.filter(|text| !matches!(*text, "onnxruntime" | "onnxruntime_onnx")) {
        return Err(format!("backend is {backend:?}, expected \"onnxruntime\": Wattle serves ONNX files"));
    }
    match triton.scheduling_choice {
        Some(SchedulingChoice::SequenceBatching(_)) => Err("sequence_batching is not supported".into()),
        Some(SchedulingChoice::EnsembleScheduling(_)) => Err("ensemble_scheduling is not supported".into()),
        Some(SchedulingChoice::DynamicBatching(_)) | None => Ok(()),
    }
}

fn max_batch_size(
    declared: &Declared,
    triton: &proto::ModelConfig,
    model: &dyn LoadedModel,
) -> Result<u32, String> {
    let specs = || model.inputs().iter().chain(model.outputs());
    let batchable = specs().all(|spec| spec.shape.first() == Some(&-1));
    let said = declared.toml.batching.max_batch_size.or_else(|| {
        // Triton completes a configuration that names no tensors; one that does means its zero.
        let says_nothing = triton.max_batch_size == 0 && triton.input.is_empty() && triton.output.is_empty();
        (declared.triton.is_some() && !says_nothing).then_some(triton.max_batch_size.max(0) as u32)
    });
    match said {
        Some(size) if size > 0 && !batchable => {
            let fixed = specs().find(|spec| spec.shape.first() != Some(&-1));
            let fixed =
                fixed.map_or_else(String::new, |spec| format!("{} has shape {:?}", spec.name, spec.shape));
            Err(format!(
                "max_batch_size is {size}, but {fixed}: every input and output needs a dynamic first \
                 dimension to be batched; set max_batch_size = 0 or export the model with one"
            ))
        }
        Some(size) => Ok(size),
        None if batchable => Ok(DEFAULT_MAX_BATCH_SIZE),
        None => Ok(0),
    }
}

/// The model's tensors, with the dimensions that the owner declared put in where the file leaves them
/// open.
fn merge_specs(
    what: &str,
    declared: &[(String, i32, Vec<i64>)],
    found: &[TensorSpec],
    max_batch_size: u32,
) -> Result<Vec<TensorSpec>, String> {
    let names = || found.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut specs = found.to_vec();
    for (name, data_type, dims) in declared {
        let Some(spec) = specs.iter_mut().find(|spec| spec.name == *name) else {
            return Err(format!("{what} {name:?} is not in the ONNX file; it has {}", names()));
        };
        if let Some(datatype) = datatype_of(*data_type)
            && datatype != spec.datatype
        {
            return Err(format!(
                "{what} {name:?} is declared {datatype}, but is {} in the ONNX file",
                spec.datatype
            ));
        }
        let batch = if max_batch_size > 0 { vec![-1] } else { vec![] };
        let shape = [batch, dims.clone()].concat();
        // Triton counts a scalar per row as dims [1].
        if spec.shape.len() + 1 == shape.len() && dims == &[1] {
            continue;
        }
        let fits = shape.len() == spec.shape.len()
            && shape.iter().zip(&spec.shape).all(|(said, is)| said == is || *said == -1 || *is == -1);
        if !fits {
            return Err(format!(
                "{what} {name:?} is declared with shape {shape:?}, but has shape {:?} in the ONNX file",
                spec.shape
            ));
        }
        for (is, said) in spec.shape.iter_mut().zip(shape) {
            *is = (*is).max(said);
        }
    }
    Ok(specs)
}

fn triton_inputs(triton: &proto::ModelConfig) -> Vec<(String, i32, Vec<i64>)> {
    triton.input.iter().map(|input| (input.name.clone(), input.data_type, input.dims.clone())).collect()
}

fn triton_outputs(triton: &proto::ModelConfig) -> Vec<(String, i32, Vec<i64>)> {
    triton.output.iter().map(|output| (output.name.clone(), output.data_type, output.dims.clone())).collect()
}

/// Fills in what clients read and the owner left out, as Triton's auto-completion does.
fn complete_triton(
    triton: &mut proto::ModelConfig,
    name: &str,
    runtime: &str,
    max_batch_size: u32,
    setting: &ServingSetting,
    inputs: &[TensorSpec],
    outputs: &[TensorSpec],
) {
    let skip = usize::from(max_batch_size > 0);
    triton.name = name.to_owned();
    triton.platform = "onnxruntime_onnx".into();
    triton.backend = "onnxruntime".into();
    triton.default_model_filename = "model.onnx".into();
    triton.max_batch_size = max_batch_size as i32;
    triton.runtime = runtime.to_owned();
    triton.input = inputs
        .iter()
        .map(|spec| proto::ModelInput {
            name: spec.name.clone(),
            data_type: data_type_of(spec.datatype) as i32,
            dims: spec.shape[skip..].to_vec(),
            ..triton.input.iter().find(|input| input.name == spec.name).cloned().unwrap_or_default()
        })
        .collect();
    triton.output = outputs
        .iter()
        .map(|spec| proto::ModelOutput {
            name: spec.name.clone(),
            data_type: data_type_of(spec.datatype) as i32,
            dims: spec.shape[skip..].to_vec(),
            ..triton.output.iter().find(|output| output.name == spec.name).cloned().unwrap_or_default()
        })
        .collect();
    if triton.instance_group.is_empty() {
        triton.instance_group = vec![proto::ModelInstanceGroup {
            name: format!("{name}_0"),
            count: setting.instances as i32,
            kind: proto::model_instance_group::Kind::Cpu as i32,
            ..Default::default()
        }];
    }
    if triton.scheduling_choice.is_none() && max_batch_size > 0 && setting.batch_size > 1 {
        triton.scheduling_choice =
            Some(model_config::SchedulingChoice::DynamicBatching(proto::ModelDynamicBatching {
                max_queue_delay_microseconds: setting.max_queue_delay.as_micros() as u64,
                ..Default::default()
            }));
    }
}

fn datatype_of(data_type: i32) -> Option<Datatype> {
    Datatype::ALL.into_iter().find(|datatype| data_type_of(*datatype) as i32 == data_type)
}

fn data_type_of(datatype: Datatype) -> proto::DataType {
    match datatype {
        Datatype::Bool => proto::DataType::TypeBool,
        Datatype::Uint8 => proto::DataType::TypeUint8,
        Datatype::Uint16 => proto::DataType::TypeUint16,
        Datatype::Uint32 => proto::DataType::TypeUint32,
        Datatype::Uint64 => proto::DataType::TypeUint64,
        Datatype::Int8 => proto::DataType::TypeInt8,
        Datatype::Int16 => proto::DataType::TypeInt16,
        Datatype::Int32 => proto::DataType::TypeInt32,
        Datatype::Int64 => proto::DataType::TypeInt64,
        Datatype::Fp16 => proto::DataType::TypeFp16,
        Datatype::Fp32 => proto::DataType::TypeFp32,
        Datatype::Fp64 => proto::DataType::TypeFp64,
        Datatype::Bytes => proto::DataType::TypeString,
        Datatype::Bf16 => proto::DataType::TypeBf16,
    }
}
