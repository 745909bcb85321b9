//! rten, on small models.

mod common;

use common::{batch, bytes_of, onnx, source, suite};
use tempfile::tempdir;
use wattle_runtime::rten::RtenRuntime;
use wattle_runtime::runtime::Runtime;
use wattle_runtime::tensor::Datatype;

const SUPPORTED: [Datatype; 8] = [
    Datatype::Bool,
    Datatype::Uint8,
    Datatype::Int8,
    Datatype::Int32,
    Datatype::Int64,
    Datatype::Fp16,
    Datatype::Fp32,
    Datatype::Fp64,
];

#[test]
fn datatypes_round_trip() {
    suite::datatypes_round_trip(&RtenRuntime, tempdir().unwrap().path(), &SUPPORTED);
}

#[test]
fn other_datatypes_are_refused() {
    suite::other_datatypes_are_refused(&RtenRuntime, tempdir().unwrap().path(), &SUPPORTED);
}

#[test]
fn inputs_and_outputs_keep_their_names() {
    suite::inputs_and_outputs_keep_their_names(&RtenRuntime, tempdir().unwrap().path());
}

#[test]
fn batch_answers_as_its_parts() {
    let dir = tempdir().unwrap();
    let path = onnx::write(dir.path(), "network.onnx", &onnx::network());
    suite::batch_answers_as_its_parts(&*RtenRuntime.load(&source(&path)).unwrap());
}

#[test]
fn cores_change_no_answer() {
    suite::cores_change_no_answer(&RtenRuntime, tempdir().unwrap().path(), || {});
}

#[test]
fn bad_batches_and_files_are_refused() {
    let dir = tempdir().unwrap();
    suite::bad_batches_are_refused(&RtenRuntime, dir.path());
    suite::bad_files_are_refused(&RtenRuntime, dir.path());
}

#[test]
fn integers_beyond_32_bits_are_refused_by_value() {
    let dir = tempdir().unwrap();
    let path = onnx::write(dir.path(), "wide.onnx", &onnx::identity(Datatype::Int64));
    let mut instance = RtenRuntime.load(&source(&path)).unwrap().instance().unwrap();
    let wide = bytes_of(&[1_i64, 3_000_000_000, 2]);
    let says =
        instance.infer(vec![batch("x", Datatype::Int64, &[1, 3], &[wide])], 1).unwrap_err().to_string();
    assert_eq!(says, "input x: has the value 3000000000, but rten carries INT64 within 32 bits only");
}

#[test]
fn empty_batch_leaves_the_instance_usable() {
    let dir = tempdir().unwrap();
    let path = onnx::write(dir.path(), "network.onnx", &onnx::network());
    let mut instance = RtenRuntime.load(&source(&path)).unwrap().instance().unwrap();
    let given = batch("x", Datatype::Fp32, &[0, onnx::WIDTH], &[]);
    // An empty batch is answered or refused; either way the server goes on.
    drop(instance.infer(vec![given], 3));
    let row = bytes_of(&common::noise(1, onnx::WIDTH));
    instance.infer(vec![batch("x", Datatype::Fp32, &[1, onnx::WIDTH], &[row])], 1).unwrap();
}
