//! What a model is asked while it is profiled: made up from a seed, or read from a file.

use bytes::Bytes;
use half::{bf16, f16};
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::value::RawValue;
use wattle_runtime::tensor::{Datatype, Tensor, TensorSpec};

use crate::data_plane::infer::{check_inputs, group_of};
use crate::data_plane::oip::read_request;
use crate::executor::{Asker, Submission};
use crate::model_repository::ServedModel;

/// Different requests that are made up: enough that no cache answers them all.
const MADE_UP: usize = 64;
/// Bytes of them all together, about: of large rows there are fewer, down to one.
const MOST_BYTES: usize = 64 << 20;
/// A row of more bytes is not made up: the model then means another size than it says.
const MOST_ROW_BYTES: usize = 1 << 30;
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
    /// A row of the model is larger than any that is made up.
    #[error(
        "input '{input}' of model '{model}' has the shape {shape:?}, which takes more than 1 GiB a row; give requests \
         with --inputs FILE.json"
    )]
    TooLarge {
        /// Which model.
        model: String,
        /// Which input.
        input: String,
        /// Its shape.
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
    /// Where the model leaves a size open, the batch aside, or takes more than 1 GiB a row.
    pub fn made_up(model: &ServedModel, seed: u64) -> Result<Self, InputsError> {
        let mut luck = Xoshiro256PlusPlus::seed_from_u64(seed);
        let is_batched = model.config.max_batch_size > 0;
        let (mut shapes, mut row_bytes) = (Vec::with_capacity(model.config.inputs.len()), 0usize);
        for spec in &model.config.inputs {
            let (name, input, shape) = (model.name.to_string(), spec.name.clone(), spec.shape.clone());
            let Some(row) = row_shape(spec, is_batched) else {
                return Err(InputsError::OpenShape { model: name, input, shape });
            };
            let Some((elements, bytes)) = size_of(spec.datatype, &row) else {
                return Err(InputsError::TooLarge { model: name, input, shape });
            };
            row_bytes = row_bytes.saturating_add(bytes);
            shapes.push((spec, row, elements));
        }
        let requests = (0..(MOST_BYTES / row_bytes.max(1)).clamp(1, MADE_UP)).map(|_| {
            let inputs = shapes.iter().map(|(spec, shape, elements)| Tensor {
                name: spec.name.clone(),
                datatype: spec.datatype,
                shape: shape.clone(),
                data: made_up(spec.datatype, *elements, &mut luck),
            });
            Request::new(model, inputs.collect(), 1)
        });
        let requests = requests.collect();
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
            asker: Asker::default(),
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

/// Elements and bytes of one row; `None` where it is larger than any that is made up.
fn size_of(datatype: Datatype, row: &[usize]) -> Option<(usize, usize)> {
    let elements = row.iter().try_fold(1usize, |elements, size| elements.checked_mul(*size))?;
    let bytes = elements.checked_mul(datatype.element_size().unwrap_or(4 + LETTERS))?;
    (bytes <= MOST_ROW_BYTES).then_some((elements, bytes))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_too_large_to_be_made_up_is_refused_and_not_tried() {
        assert_eq!(size_of(Datatype::Fp32, &[1, 3, 224, 224]), Some((150_528, 602_112)));
        assert_eq!(size_of(Datatype::Fp32, &[1, 1 << 40]), None);
        assert_eq!(size_of(Datatype::Fp32, &[1, usize::MAX, 2]), None);
        assert_eq!(size_of(Datatype::Bytes, &[1, 1 << 29]), None);
    }
}
