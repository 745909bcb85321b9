//! Small ONNX models written by the tests themselves, and batches for them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "only tests call this")]

pub mod onnx;
pub mod suite;

use std::path::Path;

use bytes::Bytes;
use wattle_runtime::runtime::ModelSource;
use wattle_runtime::tensor::{BatchInput, Datatype, Tensor};

pub fn source(path: &Path) -> ModelSource {
    ModelSource { name: "test".into(), version: 1, path: path.to_owned() }
}

pub fn batch(name: &str, datatype: Datatype, shape: &[usize], parts: &[Bytes]) -> BatchInput {
    BatchInput { name: name.to_owned(), datatype, shape: shape.to_vec(), parts: parts.to_vec() }
}

pub fn bytes_of<T: bytemuck::NoUninit>(elements: &[T]) -> Bytes {
    Bytes::copy_from_slice(bytemuck::cast_slice(elements))
}

pub fn floats(tensor: &Tensor) -> Vec<f32> {
    assert_eq!(tensor.datatype, Datatype::Fp32);
    tensor.data.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// Floats between -1 and 1 that look random and are always the same.
pub fn noise(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

pub fn assert_close(left: &[f32], right: &[f32], what: &str) {
    assert_eq!(left.len(), right.len(), "{what}");
    for (at, (a, b)) in left.iter().zip(right).enumerate() {
        assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{what}: element {at} is {a} and {b}");
    }
}
