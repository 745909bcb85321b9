//! The JSON of the Open Inference Protocol v2, with the binary tensor extension.
//!
//! A body is a JSON header, then the raw bytes of those tensors that carry a `binary_data_size`, one
//! after another. Without the extension the header is the whole body.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use wattle_runtime::tensor::{Datatype, Tensor, TensorSpec};

use super::error::{ApiError, ErrorKind};
use super::infer::{InferAnswer, InferOptions, InferRequest};
use super::json_tensor;
use crate::model_repository::ServedModel;

/// A request as it stands in the body. Keys the protocol doesn't have are read over, as extensions
/// may add some.
#[derive(Deserialize)]
struct RequestBody<'a> {
    #[serde(default)]
    id: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(borrow)]
    inputs: Vec<InputBody<'a>>,
    #[serde(default)]
    outputs: Vec<OutputBody>,
}

#[derive(Deserialize)]
struct InputBody<'a> {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputBody {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// How the answer is to be written.
#[derive(Debug, Default)]
pub struct AnswerForm {
    /// The request's id, echoed.
    pub id: String,
    /// Whether outputs are binary unless said otherwise.
    binary_by_default: bool,
    /// Outputs for which the request says so, by name.
    binary: Vec<(String, bool)>,
}

impl AnswerForm {
    /// Every output as raw bytes.
    pub fn all_binary() -> Self {
        Self { binary_by_default: true, ..Self::default() }
    }

    fn is_binary(&self, name: &str) -> bool {
        let own = self.binary.iter().find(|(output, _)| output == name);
        own.map_or(self.binary_by_default, |(_, binary)| *binary)
    }
}

/// Reads a request body. `header_length`: bytes of JSON, where the request tells; else all of it.
pub fn read_request(
    body: &Bytes,
    header_length: Option<usize>,
) -> Result<(InferRequest, AnswerForm), ApiError> {
    let length = header_length.unwrap_or(body.len());
    let Some(header) = body.get(..length) else {
        return Err(ApiError::invalid(format!(
            "Inference-Header-Content-Length is {length}, but the body has only {} bytes",
            body.len()
        )));
    };
    let parsed: RequestBody = serde_json::from_slice(header)
        .map_err(|error| ApiError::invalid(format!("failed to parse the request JSON: {error}")))?;
    let mut rest = body.slice(length..);
    let inputs =
        parsed.inputs.into_iter().map(|input| read_input(input, &mut rest)).collect::<Result<_, _>>()?;
    if !rest.is_empty() {
        return Err(ApiError::invalid(format!(
            "unexpected additional input data: {} bytes are left after the inputs; each binary input needs the \
             parameter binary_data_size",
            rest.len()
        )));
    }
    let mut form = AnswerForm {
        id: parsed.id,
        binary_by_default: flag(&parsed.parameters, "binary_data_output")?.unwrap_or(false),
        binary: Vec::new(),
    };
    let mut outputs = Vec::with_capacity(parsed.outputs.len());
    for output in parsed.outputs {
        refuse_unsupported(&output.name, &output.parameters)?;
        if let Some(binary) = flag(&output.parameters, "binary_data")? {
            form.binary.push((output.name.clone(), binary));
        }
        outputs.push(output.name);
    }
    let options = read_options(parsed.parameters)?;
    Ok((InferRequest { inputs, outputs, options }, form))
}

fn read_input(input: InputBody, rest: &mut Bytes) -> Result<Tensor, ApiError> {
    let InputBody { name, shape, datatype, parameters, data } = input;
    let Some(known) = Datatype::from_name(&datatype) else {
        let all: Vec<&str> = Datatype::ALL.iter().map(|datatype| datatype.name()).collect();
        return Err(ApiError::invalid(format!(
            "input '{name}' has datatype '{datatype}', expected one of {}",
            all.join(", ")
        )));
    };
    refuse_unsupported(&name, &parameters)?;
    let size = match parameters.get("binary_data_size") {
        None => None,
        Some(size) => Some(size.as_u64().ok_or_else(|| {
            ApiError::invalid(format!(
                "input '{name}': binary_data_size is {size}, expected a number of bytes"
            ))
        })?),
    };
    let data = match (size, data) {
        (Some(size), None) => {
            if size > rest.len() as u64 {
                return Err(ApiError::invalid(format!(
                    "input '{name}' expects {size} bytes of binary data, but only {} are left in the body",
                    rest.len()
                )));
            }
            rest.split_to(size as usize)
        }
        (None, Some(data)) => json_tensor::decode(known, data).map_err(|detail| {
            ApiError::invalid(format!("failed to parse the data of input '{name}': {detail}"))
        })?,
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(format!(
                "input '{name}' has both data and binary_data_size, expected one"
            )));
        }
        (None, None) => {
            return Err(ApiError::invalid(format!(
                "input '{name}' has no data, expected 'data' or the parameter 'binary_data_size'"
            )));
        }
    };
    Ok(Tensor { name, datatype: known, shape, data })
}

/// A raw binary request: the whole body is the only input of the model, in a batch of one.
pub fn read_raw_request(model: &ServedModel, body: Bytes) -> Result<(InferRequest, AnswerForm), ApiError> {
    let [spec] = model.config.inputs.as_slice() else {
        return Err(ApiError::invalid(format!(
            "a raw binary request needs a model with one input; '{}' has {}",
            model.name,
            model.config.inputs.len()
        )));
    };
    let shape = raw_shape(spec, model.config.max_batch_size > 0, body.len()).map_err(ApiError::invalid)?;
    let data = match spec.datatype {
        Datatype::Bytes => {
            let length =
                u32::try_from(body.len()).map_err(|_| ApiError::invalid("body longer than 4 GiB"))?;
            [&length.to_le_bytes()[..], &body].concat().into()
        }
        _ => body,
    };
    let input = Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data };
    Ok((InferRequest { inputs: vec![input], ..InferRequest::default() }, AnswerForm::all_binary()))
}

/// The shape that `bytes` bytes make of `spec`: a batch of one, and at most one other open dimension.
fn raw_shape(spec: &TensorSpec, batched: bool, bytes: usize) -> Result<Vec<usize>, String> {
    let mut shape = spec.shape.clone();
    if batched {
        shape[0] = 1;
    }
    let open: Vec<usize> = (0..shape.len()).filter(|&at| shape[at] == -1).collect();
    if spec.datatype == Datatype::Bytes {
        open.iter().for_each(|&at| shape[at] = 1);
        let shape: Vec<usize> = shape.iter().map(|&size| size as usize).collect();
        let is_one = shape.iter().product::<usize>() == 1;
        return is_one.then_some(shape).ok_or_else(|| {
            format!("a raw binary request of BYTES needs one element; '{}' has {:?}", spec.name, spec.shape)
        });
    }
    if let [at] = open[..] {
        let known: usize = shape.iter().filter(|&&size| size != -1).map(|&size| size as usize).product();
        let row = known * spec.datatype.element_size().unwrap_or(1);
        shape[at] = bytes.checked_div(row).unwrap_or(0) as i64;
    } else if open.len() > 1 {
        return Err(format!(
            "a raw binary request needs at most one open dimension; '{}' has {:?}",
            spec.name, spec.shape
        ));
    }
    Ok(shape.into_iter().map(|size| size as usize).collect())
}

/// Says no to extensions that would change the answer and are not there.
fn refuse_unsupported(name: &str, parameters: &Map<String, Value>) -> Result<(), ApiError> {
    for key in ["shared_memory_region", "classification"] {
        if parameters.contains_key(key) {
            return Err(ApiError::new(
                ErrorKind::Unsupported,
                format!("'{name}': parameter '{key}' is not supported"),
            ));
        }
    }
    Ok(())
}

fn flag(parameters: &Map<String, Value>, key: &str) -> Result<Option<bool>, ApiError> {
    match parameters.get(key) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(other) => {
            Err(ApiError::invalid(format!("parameter '{key}' is {other}, expected true or false")))
        }
    }
}

fn whole_number(parameters: &Map<String, Value>, key: &str) -> Result<Option<u64>, ApiError> {
    match parameters.get(key) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| {
            ApiError::invalid(format!("parameter '{key}' is {value}, expected a whole number"))
        }),
    }
}

fn read_options(mut parameters: Map<String, Value>) -> Result<InferOptions, ApiError> {
    let class = match parameters.remove("wattle_class") {
        None => None,
        Some(Value::String(name)) => Some(name),
        Some(other) => {
            return Err(ApiError::invalid(format!("parameter 'wattle_class' is {other}, expected a string")));
        }
    };
    Ok(InferOptions {
        class,
        priority: whole_number(&parameters, "priority")?,
        timeout: whole_number(&parameters, "timeout")?.filter(|us| *us > 0).map(Duration::from_micros),
        wants_energy: flag(&parameters, "wattle_energy")?.unwrap_or(false),
    })
}

#[derive(Serialize)]
struct AnswerBody<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
    outputs: Vec<AnswerTensor<'a>>,
}

#[derive(Serialize)]
struct AnswerTensor<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

/// Writes an answer: the JSON header, then the raw bytes of each binary output, not copied.
pub fn write_answer(
    model: &ServedModel,
    answer: &InferAnswer,
    form: &AnswerForm,
    parameters: Map<String, Value>,
) -> Result<(Bytes, Vec<Bytes>), ApiError> {
    let mut raw = Vec::new();
    let mut outputs = Vec::with_capacity(answer.outputs.len());
    for output in &answer.outputs {
        let (parameters, data) = if form.is_binary(&output.name) {
            raw.push(output.data.clone());
            (Some(BinarySize { binary_data_size: output.data.len() }), None)
        } else {
            let data = json_tensor::encode(output.datatype, &output.data)
                .map_err(|detail| ApiError::invalid(format!("output '{}': {detail}", output.name)))?;
            (None, Some(data))
        };
        let (name, datatype, shape) = (output.name.as_str(), output.datatype.name(), output.shape.as_slice());
        outputs.push(AnswerTensor { name, datatype, shape, parameters, data });
    }
    let body = AnswerBody {
        id: &form.id,
        model_name: model.name.as_str(),
        model_version: model.version.to_string(),
        parameters,
        outputs,
    };
    let header =
        serde_json::to_vec(&body).map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?;
    Ok((header.into(), raw))
}
