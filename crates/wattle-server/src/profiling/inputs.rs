//! What a model is asked while it is profiled: made up from a seed, or read from a file.

use bytes::Bytes;
use half::{bf16, f16};
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::value::RawValue;
use wattle_runtime::tensor::{Datatype, Tensor, TensorSpec};

use crate::data_plane::infer::{check_inputs, group_of};
use crate::data_plane::oip::read_request;
use crate::executor::Submission;
use crate::model_repository::ServedModel;

/// Different requests that are made up: enough that no cache answers them all.
const MADE_UP: usize = 64;
/// Letters of a made-up text.
const LETTERS: usize = 8;

/// Requests that are sent in turn.
#[derive(Debug, Clone)]
pub struct Inputs {
    requests: Vec<Request>,
    priority: u32,
}

#[derive(Debug, Clone)]
struct Request {
    inputs: Vec<Tensor>,
    rows: u32,
    group: Option<u64>,
}

/// A model can't be asked anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputsError {
    /// The model leaves a size open.
    #[error(
        "input '{input}' of model '{model}' has the open shape {shape:?}, so nothing can be made up for it; \
         give requests with --inputs FILE.json"
    )]
    OpenShape {
        /// Which model.
        model: String,
        /// Which input.
        input: String,
        /// Its shape; `-1` is open.
        shape: Vec<i64>,
    },
    /// A file of requests can't be used.
    #[error("{file}{place}: {detail}")]
    File {
        /// Which file.
        file: String,
        /// Which request of it, starting with `, `, or empty.
        place: String,
        /// What is wrong, and what was expected.
        detail: String,
    },
}

impl Inputs {
    /// Requests of one row each, made up from `seed`: floats uniform in 0 to 1, 0 or 1 for integers and
    /// booleans (as ids, masks and indices take them), letters for texts.
    ///
    /// # Errors
    /// Where the model leaves a size open, the batch aside.
    pub fn made_up(model: &ServedModel, seed: u64) -> Result<Self, InputsError> {
        let mut luck = Xoshiro256PlusPlus::seed_from_u64(seed);
        let is_batched = model.config.max_batch_size > 0;
        let mut requests = Vec::with_capacity(MADE_UP);
        for _ in 0..MADE_UP {
            let mut inputs = Vec::with_capacity(model.config.inputs.len());
            for spec in &model.config.inputs {
                let shape = row_shape(spec, is_batched).ok_or_else(|| InputsError::OpenShape {
                    model: model.name.to_string(),
                    input: spec.name.clone(),
                    shape: spec.shape.clone(),
                })?;
                let data = made_up(spec.datatype, shape.iter().product(), &mut luck);
                inputs.push(Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data });
            }
            requests.push(Request::new(model, inputs, 1));
        }
        Ok(Self { requests, priority: model.config.default_priority })
    }

    /// The requests of the JSON `text`: one body of the Open Inference Protocol, or a list of them, as
    /// clients send them. `file` is for errors only.
    ///
    /// # Errors
    /// Where one is not a request of this model.
    pub fn parse(text: &str, file: &str, model: &ServedModel) -> Result<Self, InputsError> {
        let failed = |place: String, detail: String| InputsError::File { file: file.into(), place, detail };
        let bodies: Vec<Box<RawValue>> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text).map_err(|error| failed(String::new(), error.to_string()))?
        } else {
            vec![serde_json::from_str(text).map_err(|error| failed(String::new(), error.to_string()))?]
        };
        if bodies.is_empty() {
            let detail = "found no request, expected at least one: {\"inputs\": [...]}";
            return Err(failed(String::new(), detail.into()));
        }
        let mut requests = Vec::with_capacity(bodies.len());
        for (index, body) in bodies.iter().enumerate() {
            let failed =
                |error: &dyn std::fmt::Display| failed(format!(", request {}", index + 1), error.to_string());
            let body = Bytes::copy_from_slice(body.get().as_bytes());
            let (request, _) = read_request(&body, None).map_err(|error| failed(&error))?;
            let (inputs, rows) = check_inputs(model, request.inputs).map_err(|error| failed(&error))?;
            if rows == 0 {
                return Err(failed(&"it has no row, expected at least one"));
            }
            requests.push(Request::new(model, inputs, rows));
        }
        Ok(Self { requests, priority: model.config.default_priority })
    }

    /// Request `number`, after the last from the first again. The bytes are shared, not copied.
    pub fn submission(&self, number: usize) -> Option<Submission> {
        let request = self.requests.get(number.checked_rem(self.requests.len())?)?;
        Some(Submission {
            inputs: request.inputs.clone(),
            rows: request.rows,
            group: request.group,
            priority: self.priority,
            deadline: None,
        })
    }

    /// Rows of the smallest request.
    pub fn fewest_rows(&self) -> u32 {
        self.requests.iter().map(|request| request.rows).min().unwrap_or(1)
    }
}

impl Request {
    fn new(model: &ServedModel, inputs: Vec<Tensor>, rows: u32) -> Self {
        let group = Some(group_of(&inputs, model.config.max_batch_size));
        Self { inputs, rows, group }
    }
}

/// The shape of one row; `None` where it is open.
fn row_shape(spec: &TensorSpec, is_batched: bool) -> Option<Vec<usize>> {
    let size = |(index, size): (usize, &i64)| {
        if is_batched && index == 0 { Some(1) } else { usize::try_from(*size).ok() }
    };
    spec.shape.iter().enumerate().map(size).collect()
}

fn made_up(datatype: Datatype, elements: usize, luck: &mut Xoshiro256PlusPlus) -> Bytes {
    let mut data = Vec::with_capacity(elements * datatype.element_size().unwrap_or(4 + LETTERS));
    for _ in 0..elements {
        let share: f32 = luck.random();
        let bit = u8::from(share < 0.5);
        match datatype {
            Datatype::Fp64 => data.extend(f64::from(share).to_le_bytes()),
            Datatype::Fp32 => data.extend(share.to_le_bytes()),
            Datatype::Fp16 => data.extend(f16::from_f32(share).to_le_bytes()),
            Datatype::Bf16 => data.extend(bf16::from_f32(share).to_le_bytes()),
            Datatype::Bytes => {
                data.extend((LETTERS as u32).to_le_bytes());
                data.extend((0..LETTERS).map(|_| luck.random_range(b'a'..=b'z')));
            }
            whole => {
                data.push(bit);
                data.resize(data.len() + whole.element_size().map_or(0, |size| size - 1), 0);
            }
        }
    }
    data.into()
}
