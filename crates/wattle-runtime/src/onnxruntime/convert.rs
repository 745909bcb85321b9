//! Tensors of the protocol to ONNX Runtime's values and back.

use bytes::{BufMut, Bytes, BytesMut};
use half::{bf16, f16};
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, Shape, Tensor as OrtTensor, Utf8Data, ValueType};

use crate::gather::{gather, gather_bytes, gather_with, wrong};
use crate::runtime::RuntimeError;
use crate::tensor::{BatchInput, Datatype, Tensor, TensorSpec};

/// An element of a BYTES tensor. ONNX strings are bytes of any kind, so they aren't checked for UTF-8.
#[derive(Clone)]
struct Element(Bytes);

impl Utf8Data for Element {
    fn as_utf8_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The batch's input as ONNX Runtime takes it: it keeps the gathered vector, without a copy.
pub(super) fn input(input: &BatchInput) -> Result<SessionInputValue<'static>, RuntimeError> {
    let shape = || input.shape.clone();
    let value = match input.datatype {
        Datatype::Uint8 => OrtTensor::from_array((shape(), gather::<u8>(input))).map(Into::into),
        Datatype::Uint16 => OrtTensor::from_array((shape(), gather::<u16>(input))).map(Into::into),
        Datatype::Uint32 => OrtTensor::from_array((shape(), gather::<u32>(input))).map(Into::into),
        Datatype::Uint64 => OrtTensor::from_array((shape(), gather::<u64>(input))).map(Into::into),
        Datatype::Int8 => OrtTensor::from_array((shape(), gather::<i8>(input))).map(Into::into),
        Datatype::Int16 => OrtTensor::from_array((shape(), gather::<i16>(input))).map(Into::into),
        Datatype::Int32 => OrtTensor::from_array((shape(), gather::<i32>(input))).map(Into::into),
        Datatype::Int64 => OrtTensor::from_array((shape(), gather::<i64>(input))).map(Into::into),
        Datatype::Fp16 => OrtTensor::from_array((shape(), gather::<f16>(input))).map(Into::into),
        Datatype::Fp32 => OrtTensor::from_array((shape(), gather::<f32>(input))).map(Into::into),
        Datatype::Fp64 => OrtTensor::from_array((shape(), gather::<f64>(input))).map(Into::into),
        Datatype::Bf16 => OrtTensor::from_array((shape(), gather::<bf16>(input))).map(Into::into),
        Datatype::Bool => {
            let truth = gather_with(input, |byte: u8| Ok::<_, RuntimeError>(byte != 0))?;
            OrtTensor::from_array((shape(), truth)).map(Into::into)
        }
        Datatype::Bytes => return strings(input),
    };
    value.map_err(|error| wrong(&input.name, error.to_string()))
}

fn strings(input: &BatchInput) -> Result<SessionInputValue<'static>, RuntimeError> {
    let elements: Vec<_> = gather_bytes(input)?.into_iter().map(Element).collect();
    // The library takes strings as C does.
    if let Some(at) = elements.iter().position(|element| element.0.contains(&0)) {
        return Err(wrong(
            &input.name,
            format!("has a zero byte in element {at}; ONNX Runtime takes none in BYTES"),
        ));
    }
    OrtTensor::from_string_array((input.shape.clone(), elements.as_slice()))
        .map(Into::into)
        .map_err(|error| wrong(&input.name, error.to_string()))
}

/// ONNX Runtime's value as a tensor of the protocol; its elements are copied once.
pub(super) fn output(spec: &TensorSpec, value: &DynValue) -> Result<Tensor, String> {
    let ValueType::Tensor { shape, .. } = value.dtype() else {
        return Err(format!("output {} is not a tensor", spec.name));
    };
    let shape = sizes(shape).ok_or_else(|| format!("output {} has a negative size", spec.name))?;
    let data = if shape.contains(&0) { Ok(Bytes::new()) } else { elements(spec.datatype, value) };
    let data = data.map_err(|error| format!("output {}: {error}", spec.name))?;
    Ok(Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data })
}

fn sizes(shape: &Shape) -> Option<Vec<usize>> {
    shape.iter().map(|&size| usize::try_from(size).ok()).collect()
}

fn elements(datatype: Datatype, value: &DynValue) -> ort::Result<Bytes> {
    match datatype {
        Datatype::Uint8 => copy::<u8>(value),
        Datatype::Uint16 => copy::<u16>(value),
        Datatype::Uint32 => copy::<u32>(value),
        Datatype::Uint64 => copy::<u64>(value),
        Datatype::Int8 => copy::<i8>(value),
        Datatype::Int16 => copy::<i16>(value),
        Datatype::Int32 => copy::<i32>(value),
        Datatype::Int64 => copy::<i64>(value),
        Datatype::Fp16 => copy::<f16>(value),
        Datatype::Fp32 => copy::<f32>(value),
        Datatype::Fp64 => copy::<f64>(value),
        Datatype::Bf16 => copy::<bf16>(value),
        Datatype::Bool => copy::<bool>(value),
        Datatype::Bytes => {
            let (_, strings) = value.try_extract_strings()?;
            let mut all = BytesMut::with_capacity(strings.iter().map(|string| 4 + string.len()).sum());
            for string in strings {
                let length = u32::try_from(string.len()).map_err(ort::Error::wrap)?;
                all.put_u32_le(length);
                all.put_slice(string.as_bytes());
            }
            Ok(all.freeze())
        }
    }
}

fn copy<T: PrimitiveTensorElementType + bytemuck::NoUninit>(value: &DynValue) -> ort::Result<Bytes> {
    let (_, elements) = value.try_extract_tensor::<T>()?;
    Ok(Bytes::copy_from_slice(bytemuck::cast_slice(elements)))
}
