//! Threads of an instance, counted by the kernel. One test: a process's threads are one count.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::time::{Duration, Instant};

use common::{batch, bytes_of, noise, onnx, source};
use tempfile::tempdir;
use wattle_runtime::onnxruntime::library::discover;
use wattle_runtime::onnxruntime::{OnnxRuntime, OrtOptions};
use wattle_runtime::rten::RtenRuntime;
use wattle_runtime::runtime::Runtime;
use wattle_runtime::tensor::Datatype;

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn threads_follow_the_cores_granted() {
    let dir = tempdir().unwrap();
    let path = onnx::write(dir.path(), "network.onnx", &onnx::network());
    let given = batch("x", Datatype::Fp32, &[4, onnx::WIDTH], &[bytes_of(&noise(2, 4 * onnx::WIDTH))]);

    let mut instance = RtenRuntime.load(&source(&path)).unwrap().instance().unwrap();
    let before = threads();
    instance.infer(vec![given.clone()], 3).unwrap();
    assert_eq!(threads() - before, 3, "rten's pool; the calling thread sleeps");
    drop(instance);

    let Some(library) = discover(None).unwrap().chosen else {
        eprintln!("SKIPPED: no ONNX Runtime found; `wattle runtimes install` gets it");
        return;
    };
    let runtime = OnnxRuntime::open(library, OrtOptions::default()).unwrap();
    let mut instance = runtime.load(&source(&path)).unwrap().instance().unwrap();
    let mut settle = |cores: u32, expected: usize| {
        let started = Instant::now();
        loop {
            instance.infer(vec![given.clone()], cores).unwrap();
            if threads() == expected || started.elapsed() > Duration::from_secs(10) {
                return threads();
            }
        }
    };
    // Threads of rten's pool end on their own.
    let alone = settle(1, before);
    assert_eq!(alone, before, "with one core the calling thread computes");
    assert_eq!(settle(3, alone + 2), alone + 2, "the calling thread is the third");
    assert_eq!(settle(2, alone + 1), alone + 1);
    assert_eq!(settle(1, alone), alone);
}
