//! Tensors of the protocol to rten's values and back.

use std::convert::Infallible;

use ::rten::Value;
use half::f16;
use rten_tensor::prelude::*;

use crate::gather::{gather, gather_with, into_bytes, wrong};
use crate::runtime::RuntimeError;
use crate::tensor::{BatchInput, Datatype, Tensor, TensorSpec};

/// What rten carries, in its own four types or converted to them.
pub(super) const SUPPORTED: &[Datatype] = &[
    Datatype::Bool,
    Datatype::Uint8,
    Datatype::Int8,
    Datatype::Int32,
    Datatype::Int64,
    Datatype::Fp16,
    Datatype::Fp32,
    Datatype::Fp64,
];

/// The batch's input as rten takes it.
pub(super) fn input(input: &BatchInput) -> Result<Value, RuntimeError> {
    match input.datatype {
        Datatype::Fp32 => value(input, gather::<f32>(input)),
        Datatype::Int32 => value(input, gather::<i32>(input)),
        Datatype::Int8 => value(input, gather::<i8>(input)),
        Datatype::Uint8 => value(input, gather::<u8>(input)),
        Datatype::Bool => value(input, always(gather_with(input, |byte: u8| Ok(i32::from(byte != 0))))),
        Datatype::Fp16 => value(input, always(gather_with(input, |half: f16| Ok(half.to_f32())))),
        #[expect(clippy::cast_possible_truncation, reason = "the documented loss: rten computes in f32")]
        Datatype::Fp64 => value(input, always(gather_with(input, |double: f64| Ok(double as f32)))),
        Datatype::Int64 => {
            let narrow = |wide: i64| {
                i32::try_from(wide).map_err(|_| {
                    wrong(
                        &input.name,
                        format!("has the value {wide}, but rten carries INT64 within 32 bits only"),
                    )
                })
            };
            value(input, gather_with(input, narrow)?)
        }
        other => Err(wrong(&input.name, format!("is {other}, which rten can't carry"))),
    }
}

fn always<T>(result: Result<Vec<T>, Infallible>) -> Vec<T> {
    match result {
        Ok(elements) => elements,
        Err(never) => match never {},
    }
}

fn value<T>(input: &BatchInput, elements: Vec<T>) -> Result<Value, RuntimeError>
where
    Value: From<rten_tensor::Tensor<T>>,
{
    Value::from_shape(&input.shape, elements).map_err(|error| wrong(&input.name, error.to_string()))
}

/// rten's value as the datatype the model file declares.
pub(super) fn output(spec: &TensorSpec, value: Value) -> Result<Tensor, String> {
    let unexpected = |found: &str| format!("output {} came as {found}, not as {}", spec.name, spec.datatype);
    let (shape, data) = match value {
        Value::FloatTensor(tensor) => {
            let shape = tensor.shape().to_vec();
            let floats: Vec<f32> = tensor.into_data();
            let data = match spec.datatype {
                Datatype::Fp32 => into_bytes(floats),
                Datatype::Fp64 => into_bytes(floats.into_iter().map(f64::from).collect()),
                Datatype::Fp16 => into_bytes(floats.into_iter().map(f16::from_f32).collect()),
                _ => return Err(unexpected("FP32")),
            };
            (shape, data)
        }
        Value::Int32Tensor(tensor) => {
            let shape = tensor.shape().to_vec();
            let integers: Vec<i32> = tensor.into_data();
            let data = match spec.datatype {
                Datatype::Int32 => into_bytes(integers),
                Datatype::Int64 => into_bytes(integers.into_iter().map(i64::from).collect()),
                Datatype::Bool => {
                    into_bytes(integers.into_iter().map(|truth| u8::from(truth != 0)).collect())
                }
                _ => return Err(unexpected("INT32")),
            };
            (shape, data)
        }
        Value::Int8Tensor(tensor) if spec.datatype == Datatype::Int8 => {
            (tensor.shape().to_vec(), into_bytes(tensor.into_data()))
        }
        Value::UInt8Tensor(tensor) if spec.datatype == Datatype::Uint8 => {
            (tensor.shape().to_vec(), into_bytes(tensor.into_data()))
        }
        Value::Int8Tensor(_) => return Err(unexpected("INT8")),
        Value::UInt8Tensor(_) => return Err(unexpected("UINT8")),
        _ => return Err(unexpected("something other than a tensor")),
    };
    Ok(Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data })
}
