//! The example models, on the runtimes there are. Skipped, loudly, where the models are not.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests")]

mod common;

use std::path::PathBuf;

use common::{assert_close, batch, bytes_of, floats, noise, source, suite};
use wattle_runtime::onnxruntime::library::discover;
use wattle_runtime::onnxruntime::{OnnxRuntime, OrtOptions};
use wattle_runtime::rten::RtenRuntime;
use wattle_runtime::runtime::Runtime;
use wattle_runtime::tensor::Datatype;

fn models() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/models");
    let folders = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let digits = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with("digits-"));
    let mut paths: Vec<_> =
        digits.map(|entry| entry.path().join("1/model.onnx")).filter(|path| path.exists()).collect();
    paths.sort();
    if paths.is_empty() {
        eprintln!("SKIPPED: no models digits-* in {folder}");
    }
    paths
}

#[test]
fn runtimes_agree_and_batches_answer_as_their_parts() {
    let ort = discover(None)
        .unwrap()
        .chosen
        .map(|library| OnnxRuntime::open(library, OrtOptions::default()).unwrap());
    if ort.is_none() {
        eprintln!("SKIPPED: no ONNX Runtime found; `wattle runtimes install` gets it");
    }
    for path in models() {
        let what = path.display().to_string();
        let mut answers = Vec::new();
        for runtime in [Some(&RtenRuntime as &dyn Runtime), ort.as_ref().map(|runtime| runtime as _)]
            .into_iter()
            .flatten()
        {
            let model = runtime.load(&source(&path)).unwrap();
            suite::batch_answers_as_its_parts(&*model);
            let input = &model.inputs()[0];
            let mut shape: Vec<usize> =
                input.shape.iter().map(|&size| size.try_into().unwrap_or(6)).collect();
            shape[0] = 6;
            let given = bytes_of(&noise(9, shape.iter().product()));
            let mut instance = model.instance().unwrap();
            for cores in [1, 2] {
                let answer = instance.infer(
                    vec![batch(&input.name, Datatype::Fp32, &shape, std::slice::from_ref(&given))],
                    cores,
                );
                answers.push(floats(&answer.unwrap()[0]));
            }
        }
        for answer in &answers[1..] {
            assert_close(answer, &answers[0], &what);
        }
    }
}
