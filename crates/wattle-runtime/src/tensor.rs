//! Tensors as the protocol carries them: a datatype, a shape, and little-endian bytes.
//!
//! The bytes are shared slices (`Bytes`) of the request or of the runtime's output: cutting a batch
//! into answers copies nothing. Elements of BYTES tensors stand as the Open Inference Protocol's
//! binary extension has them: a little-endian `u32` length, then that many bytes, one after another.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Element types of the Open Inference Protocol v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the protocol's names say it all")]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
    Bytes,
    Bf16,
}

impl Datatype {
    /// Every datatype, in the protocol's order.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
        Self::Bf16,
    ];

    /// The protocol's name, such as `FP32`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
            Self::Bf16 => "BF16",
        }
    }

    /// The datatype of that protocol name, or `None`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|datatype| datatype.name() == name)
    }

    /// Bytes of one element; `None` for BYTES, whose elements differ in length.
    pub const fn element_size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }

    /// Bytes at the start of `data` that a tensor of `shape` takes. Says what is missing when `data`
    /// is too short, so that no slice is ever cut past its end.
    pub fn byte_len_of(self, shape: &[usize], data: &[u8]) -> Result<usize, String> {
        let too_large = || format!("shape {shape:?} has more elements than fit into memory");
        let elements = shape
            .iter()
            .try_fold(1_usize, |product, &size| product.checked_mul(size))
            .ok_or_else(too_large)?;
        let wanted = match self.element_size() {
            Some(size) => elements.checked_mul(size).ok_or_else(too_large)?,
            None => bytes_elements_len(elements, data)?,
        };
        if data.len() < wanted {
            let found = data.len();
            return Err(format!("{found} bytes found, expected {wanted} for {self} of shape {shape:?}"));
        }
        Ok(wanted)
    }
}

/// Bytes that the first `elements` elements of a BYTES tensor take, lengths included.
fn bytes_elements_len(elements: usize, data: &[u8]) -> Result<usize, String> {
    let mut at = 0_usize;
    for element in 0..elements {
        let end = data
            .get(at..at.saturating_add(4))
            .and_then(|length| <[u8; 4]>::try_from(length).ok())
            .and_then(|length| at.checked_add(4)?.checked_add(u32::from_le_bytes(length) as usize))
            .filter(|end| *end <= data.len());
        at = end.ok_or_else(|| {
            format!("BYTES data ends within element {element}, expected {elements} elements, each a 4-byte length and that many bytes")
        })?;
    }
    Ok(at)
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a model says of one of its inputs or outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Its name in the model.
    pub name: String,
    /// Type of its elements.
    pub datatype: Datatype,
    /// Its shape; `-1` is any size.
    pub shape: Vec<i64>,
}

/// One tensor of a request or of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name in the model.
    pub name: String,
    /// Type of its elements.
    pub datatype: Datatype,
    /// Its shape, every dimension known.
    pub shape: Vec<usize>,
    /// Its elements, row-major, little-endian.
    pub data: Bytes,
}

/// One input of a batch: pieces of several requests, to be laid one after another along the first
/// dimension. The runtime's own gather is the only copy a tensor sees on its way in.
#[derive(Debug, Clone)]
pub struct BatchInput {
    /// The input's name in the model.
    pub name: String,
    /// Type of its elements.
    pub datatype: Datatype,
    /// Shape of the whole batch.
    pub shape: Vec<usize>,
    /// The bytes of each request, in order.
    pub parts: Vec<Bytes>,
}

impl BatchInput {
    /// Bytes of all parts together.
    pub fn byte_len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}
