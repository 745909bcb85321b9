//! The simulated runtime on a simulated device: a profile's time passes, and answers tell their rows.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{batch, bytes_of, onnx, source};
use tempfile::tempdir;
use wattle_core::profile::Profile;
use wattle_core::time::Timestamp;
use wattle_device::simulated::SimulatedDevice;
use wattle_runtime::choice::{Offer, RuntimeChoice, choose};
use wattle_runtime::runtime::{ModelSource, Runtime};
use wattle_runtime::simulated::SimulatedRuntime;
use wattle_runtime::tensor::{Datatype, TensorSpec};

const PROFILE: &str = "# wattle_profile = 1\n# model = \"test\"\n# device = \"P40\"\n# runtime = \"TF 1.15\"\n\
    # power_source = \"NVML\"\n# idle_power_watts = 50\n\
    batch_size,instances,latency_ms_mean,power_watts_mean,basis,power_basis,samples\n\
    1,1,10,60,measured,measured,1\n4,1,20,70,measured,measured,1\n";

fn runtime() -> SimulatedRuntime {
    let profile = Profile::parse(PROFILE, "test.csv").unwrap();
    let (device, load) =
        SimulatedDevice::new("sim".into(), &BTreeMap::from([("test".into(), profile)])).unwrap();
    drop(device);
    let start = Instant::now();
    SimulatedRuntime::new(load, move || Timestamp::from_duration(start.elapsed()))
}

#[test]
fn takes_the_profile_s_time_and_answers_row_by_row() {
    let dir = tempdir().unwrap();
    let path = onnx::write(dir.path(), "network.onnx", &onnx::network());
    let model = runtime().load(&source(&path)).unwrap();
    let mut instance = model.instance().unwrap();
    let rows = [[1.5_f32; onnx::WIDTH], [2.5; onnx::WIDTH], [3.5; onnx::WIDTH], [4.5; onnx::WIDTH]];
    let parts = rows.map(|row| bytes_of(&row));

    let started = Instant::now();
    let answer = instance.infer(vec![batch("x", Datatype::Fp32, &[4, onnx::WIDTH], &parts)], 1).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(20));
    assert_eq!(answer[0].data, parts.concat());

    let empty = instance.infer(vec![batch("x", Datatype::Fp32, &[0, onnx::WIDTH], &[])], 1).unwrap();
    assert_eq!(empty[0].shape, [0, onnx::WIDTH]);

    let large = batch("x", Datatype::Fp32, &[5, onnx::WIDTH], &vec![parts[0].clone(); 5]);
    let says = instance.infer(vec![large], 1).unwrap_err().to_string();
    assert!(says.contains("outside the profile of test"), "{says}");
    let short = batch("x", Datatype::Fp32, &[2, onnx::WIDTH], &parts[..1]);
    assert!(instance.infer(vec![short], 1).unwrap_err().to_string().starts_with("input x has 1024 bytes"));
}

#[test]
fn declared_model_needs_no_file() {
    let mut runtime = runtime();
    let absent = ModelSource { name: "test".into(), version: 1, path: "/nowhere/model.onnx".into() };
    assert!(runtime.load(&absent).is_err());
    let spec =
        |name: &str| TensorSpec { name: name.to_owned(), datatype: Datatype::Int64, shape: vec![-1, 1] };
    runtime.declare("test".into(), vec![spec("in")], vec![spec("out")]);

    let offer = Offer { simulated: Some(Arc::new(runtime)), ..Offer::default() };
    let (runtime, why) = choose(RuntimeChoice::Simulated, &offer).unwrap();
    assert_eq!(why, "the simulated runtime was asked for");
    let mut instance = runtime.load(&absent).unwrap().instance().unwrap();
    let given = batch("in", Datatype::Int64, &[2, 1], &[bytes_of(&[7_i64]), bytes_of(&[8_i64])]);
    assert_eq!(instance.infer(vec![given], 1).unwrap()[0].data, bytes_of(&[7_i64, 8]));
}
