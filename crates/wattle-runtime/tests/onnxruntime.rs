//! ONNX Runtime, on small models. Skipped, loudly, where no library is found.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests")]

mod common;

use std::sync::OnceLock;
use std::time::Duration;

use common::{assert_close, batch, bytes_of, floats, noise, onnx, source, suite};
use tempfile::tempdir;
use wattle_runtime::onnxruntime::execution_provider::ExecutionProvider;
use wattle_runtime::onnxruntime::library::{Library, discover};
use wattle_runtime::onnxruntime::{OnnxRuntime, OrtOptions};
use wattle_runtime::rten::RtenRuntime;
use wattle_runtime::runtime::Runtime;
use wattle_runtime::tensor::Datatype;

fn library() -> Option<Library> {
    static FOUND: OnceLock<Option<Library>> = OnceLock::new();
    let found = FOUND.get_or_init(|| discover(None).expect("ORT_DYLIB_PATH is good or unset").chosen);
    if found.is_none() {
        eprintln!("SKIPPED: no ONNX Runtime found; `wattle runtimes install` gets it");
    }
    found.clone()
}

fn runtime() -> Option<OnnxRuntime> {
    Some(OnnxRuntime::open(library()?, OrtOptions::default()).unwrap())
}

#[test]
fn datatypes_round_trip() {
    let Some(runtime) = runtime() else { return };
    suite::datatypes_round_trip(&runtime, tempdir().unwrap().path(), &Datatype::ALL);
}

#[test]
fn empty_batches_are_answered() {
    let Some(runtime) = runtime() else { return };
    let dir = tempdir().unwrap();
    for datatype in Datatype::ALL {
        let path = onnx::write(dir.path(), "identity.onnx", &onnx::identity(datatype));
        let mut instance = runtime.load(&source(&path)).unwrap().instance().unwrap();
        let answer = instance.infer(vec![batch("x", datatype, &[0, 3], &[])], 1).unwrap();
        assert_eq!((answer[0].shape.as_slice(), answer[0].data.len()), ([0, 3].as_slice(), 0), "{datatype}");
    }
}

#[test]
fn inputs_and_outputs_keep_their_names() {
    let Some(runtime) = runtime() else { return };
    suite::inputs_and_outputs_keep_their_names(&runtime, tempdir().unwrap().path());
}

#[test]
fn batch_answers_as_its_parts() {
    let Some(runtime) = runtime() else { return };
    let dir = tempdir().unwrap();
    let path = onnx::write(dir.path(), "network.onnx", &onnx::network());
    suite::batch_answers_as_its_parts(&*runtime.load(&source(&path)).unwrap());
}

#[test]
fn cores_change_no_answer() {
    let Some(runtime) = runtime() else { return };
    // With and without time for a session to be opened between batches.
    suite::cores_change_no_answer(&runtime, tempdir().unwrap().path(), || {});
    suite::cores_change_no_answer(&runtime, tempdir().unwrap().path(), || {
        std::thread::sleep(Duration::from_millis(30));
    });
}

#[test]
fn bad_batches_and_files_are_refused() {
    let Some(runtime) = runtime() else { return };
    let dir = tempdir().unwrap();
    suite::bad_batches_are_refused(&runtime, dir.path());
    suite::bad_files_are_refused(&runtime, dir.path());
}

#[test]
fn zero_byte_in_a_string_is_refused_by_element() {
    let Some(runtime) = runtime() else { return };
    let dir = tempdir().unwrap();
    let path = onnx::write(dir.path(), "strings.onnx", &onnx::identity(Datatype::Bytes));
    let mut instance = runtime.load(&source(&path)).unwrap().instance().unwrap();
    let strings = bytes::Bytes::from_static(b"\x01\0\0\0a\x02\0\0\0b\0\0\0\0\0");
    let says =
        instance.infer(vec![batch("x", Datatype::Bytes, &[1, 3], &[strings])], 1).unwrap_err().to_string();
    assert!(says.contains("zero byte in element 1"), "{says}");
}

#[test]
fn same_answers_as_rten() {
    let Some(runtime) = runtime() else { return };
    let dir = tempdir().unwrap();
    let path = onnx::write(dir.path(), "network.onnx", &onnx::network());
    let given = batch("x", Datatype::Fp32, &[5, onnx::WIDTH], &[bytes_of(&noise(11, 5 * onnx::WIDTH))]);
    let answers = [&runtime as &dyn Runtime, &RtenRuntime].map(|runtime| {
        let mut instance = runtime.load(&source(&path)).unwrap().instance().unwrap();
        floats(&instance.infer(vec![given.clone()], 2).unwrap()[0])
    });
    assert_close(&answers[0], &answers[1], "onnxruntime and rten");
}

#[test]
fn instances_run_at_once() {
    let Some(runtime) = runtime() else { return };
    let dir = tempdir().unwrap();
    let path = onnx::write(dir.path(), "network.onnx", &onnx::network());
    let model = runtime.load(&source(&path)).unwrap();
    let given = batch("x", Datatype::Fp32, &[2, onnx::WIDTH], &[bytes_of(&noise(5, 2 * onnx::WIDTH))]);
    let expected = floats(&model.instance().unwrap().infer(vec![given.clone()], 1).unwrap()[0]);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut instance = model.instance().unwrap();
                for cores in [1, 2].repeat(20) {
                    let answer = instance.infer(vec![given.clone()], cores).unwrap();
                    assert_close(&floats(&answer[0]), &expected, "instances at once");
                }
            });
        }
    });
}

#[test]
fn accelerator_the_library_lacks_is_an_error_not_the_cpu() {
    let Some(library) = library() else { return };
    for provider in [ExecutionProvider::Cuda, ExecutionProvider::TensorRt, ExecutionProvider::MiGraphX] {
        let options = OrtOptions { execution_providers: vec![provider] };
        match OnnxRuntime::open(library.clone(), options) {
            Err(error) => {
                let says = error.to_string();
                assert!(says.contains(&format!("was built without {provider}")), "{says}");
            }
            Ok(_) => eprintln!("SKIPPED: this library was built with {provider}"),
        }
    }
}

#[test]
fn second_library_in_a_process_is_an_error() {
    let Some(_loaded) = runtime() else { return };
    let other =
        Library { path: "/nowhere/libonnxruntime.so".into(), version: None, how_found: "test".to_owned() };
    let says = OnnxRuntime::open(other, OrtOptions::default()).unwrap_err().to_string();
    assert!(says.contains("this process has loaded"), "{says}");
}

#[test]
fn describes_itself() {
    let Some(runtime) = runtime() else { return };
    let text = runtime.describe();
    assert!(text.starts_with("ONNX Runtime 1.") && text.contains(" on cpu ("), "{text}");
}
