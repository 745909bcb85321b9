//! Reads the inputs and outputs of an ONNX file, without any runtime and without its weights.
//!
//! So that a repository can be listed, and a model served simulated, on a machine that can't run it.

mod file_buf;
mod messages;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use prost::Message;

use self::file_buf::FileBuf;
use self::messages::{Dimension, ModelProto, ValueInfoProto};
use crate::runtime::RuntimeError;
use crate::tensor::{Datatype, TensorSpec};

/// What an ONNX file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnnxFile {
    /// Its inputs, less those that the file itself gives values for.
    pub inputs: Vec<TensorSpec>,
    /// Its outputs. One whose shape the file leaves out has the shape `[-1]`.
    pub outputs: Vec<TensorSpec>,
    /// Version of the file format.
    pub ir_version: i64,
    /// Version of the standard operators it uses, if it uses any.
    pub opset: Option<i64>,
}

/// An ONNX file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read ONNX file {path}: {problem}")]
pub struct OnnxFileError {
    /// Which file.
    pub path: String,
    /// What is wrong with it.
    pub problem: OnnxFileProblem,
}

/// What is wrong with an ONNX file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it all")]
pub enum OnnxFileProblem {
    #[error("{0}")]
    Io(std::io::Error),
    #[error("it is not an ONNX model ({0}); export the model again, or fetch the file again")]
    NotOnnx(prost::DecodeError),
    #[error("it holds no graph with outputs; is it an ONNX model? a Git LFS pointer is not")]
    NoGraph,
    #[error(
        "tensor {tensor} is {datatype}, which the Open Inference Protocol can't carry; cast it within the model"
    )]
    UnsupportedType { tensor: String, datatype: String },
    #[error("{0} is not a tensor; only models whose inputs and outputs are tensors can be served")]
    NotATensor(String),
    #[error("input {0} has no shape; run ONNX shape inference on the file, or export it with shapes")]
    NoShape(String),
}

impl From<OnnxFileError> for RuntimeError {
    fn from(error: OnnxFileError) -> Self {
        Self::Load { path: error.path, detail: error.problem.to_string() }
    }
}

/// Reads the inputs and outputs of the ONNX file at `path`.
pub fn read(path: &Path) -> Result<OnnxFile, OnnxFileError> {
    read_model(path).map_err(|problem| OnnxFileError { path: path.display().to_string(), problem })
}

fn read_model(path: &Path) -> Result<OnnxFile, OnnxFileProblem> {
    let file = File::open(path).map_err(OnnxFileProblem::Io)?;
    let mut buf = FileBuf::new(file).map_err(OnnxFileProblem::Io)?;
    let decoded = ModelProto::decode(&mut buf);
    // A read error looks to the decoder like the file's end, so it goes first.
    buf.finish().map_err(OnnxFileProblem::Io)?;
    let model = decoded.map_err(OnnxFileProblem::NotOnnx)?;

    let graph = model.graph.filter(|graph| !graph.output.is_empty()).ok_or(OnnxFileProblem::NoGraph)?;
    let weights: BTreeSet<_> = graph.initializer.iter().map(|weight| weight.name.as_str()).collect();
    // Files of format 3 and older list their weights among the inputs.
    let inputs = graph.input.iter().filter(|input| !weights.contains(input.name.as_str()));
    let standard =
        model.opset_import.iter().find(|opset| opset.domain.is_empty() || opset.domain == "ai.onnx");
    Ok(OnnxFile {
        inputs: inputs.map(input_spec).collect::<Result<_, _>>()?,
        outputs: graph.output.iter().map(output_spec).collect::<Result<_, _>>()?,
        ir_version: model.ir_version,
        opset: standard.map(|opset| opset.version),
    })
}

fn input_spec(value: &ValueInfoProto) -> Result<TensorSpec, OnnxFileProblem> {
    let (datatype, shape) = tensor(value)?;
    let shape = shape.ok_or_else(|| OnnxFileProblem::NoShape(value.name.clone()))?;
    Ok(TensorSpec { name: value.name.clone(), datatype, shape })
}

fn output_spec(value: &ValueInfoProto) -> Result<TensorSpec, OnnxFileProblem> {
    let (datatype, shape) = tensor(value)?;
    Ok(TensorSpec { name: value.name.clone(), datatype, shape: shape.unwrap_or_else(|| vec![-1]) })
}

fn tensor(value: &ValueInfoProto) -> Result<(Datatype, Option<Vec<i64>>), OnnxFileProblem> {
    let tensor = value.r#type.as_ref().and_then(|of| of.tensor_type.as_ref());
    let tensor = tensor.ok_or_else(|| OnnxFileProblem::NotATensor(value.name.clone()))?;
    let datatype = datatype(tensor.elem_type).map_err(|datatype| OnnxFileProblem::UnsupportedType {
        tensor: value.name.clone(),
        datatype: datatype.to_owned(),
    })?;
    let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(dimension).collect());
    Ok((datatype, shape))
}

fn dimension(dimension: &Dimension) -> i64 {
    match dimension.dim_value {
        Some(size) if size >= 0 => size,
        _ => -1,
    }
}

/// ONNX's `TensorProto.DataType`; the name where the protocol has no such type.
fn datatype(elem_type: i32) -> Result<Datatype, &'static str> {
    Ok(match elem_type {
        1 => Datatype::Fp32,
        2 => Datatype::Uint8,
        3 => Datatype::Int8,
        4 => Datatype::Uint16,
        5 => Datatype::Int16,
        6 => Datatype::Int32,
        7 => Datatype::Int64,
        8 => Datatype::Bytes,
        9 => Datatype::Bool,
        10 => Datatype::Fp16,
        11 => Datatype::Fp64,
        12 => Datatype::Uint32,
        13 => Datatype::Uint64,
        16 => Datatype::Bf16,
        14 => return Err("COMPLEX64"),
        15 => return Err("COMPLEX128"),
        17..=20 => return Err("an 8-bit float"),
        21 => return Err("UINT4"),
        22 => return Err("INT4"),
        23 => return Err("FLOAT4E2M1"),
        0 => return Err("of no type"),
        _ => return Err("of a type newer than this program"),
    })
}
