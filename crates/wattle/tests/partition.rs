//! Runs `wattle partition` as a user would, against a stand-in for NVIDIA's library.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "../../wattle-device/tests/mock_nvml/mod.rs"]
mod mock_nvml;

use std::process::{Command, Output};

use mock_nvml::Mock;
use serde_json::Value;

const GPU: &str = "nvidia:GPU-00000000-0000-0000-0000-000000000001";

/// The command, over a GPU of its own: `state` is what the stand-in starts with.
fn partition(state: &str, args: &[&str]) -> Output {
    let mock = Mock::new();
    Command::new(env!("CARGO_BIN_EXE_wattle"))
        .args(["--log", "off", "partition"])
        .args(args)
        .arg("--nvml-lib")
        .arg(mock.path())
        .env("MOCK_NVML", state)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn shows_what_there_is_and_what_fits() {
    let output = partition("mig=1", &["list"]);
    assert!(output.status.success(), "{}", said(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.starts_with(&format!("{GPU} (NVIDIA A100-PCIE-40GB): MIG mode is on\nno partitions\n")),
        "{shown}"
    );
    assert!(shown.contains("3g.20gb"), "{shown}");
}

#[test]
fn makes_partitions_by_name_and_place() {
    let wanted = ["--profile", "1g.5gb@6", "--profile", "3g.20gb", "--allow-repartition", "--json"];
    let output = partition("mig=1", &[&["create", "--device", GPU], wanted.as_slice()].concat());
    assert!(output.status.success(), "{}", said(&output));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let instances = shown["layout"]["gpu_instances"].as_array().unwrap();
    let found: Vec<_> = instances.iter().map(|one| (&one["profile"], &one["start"])).collect();
    assert_eq!(
        found,
        [(&Value::from("3g.20gb"), &Value::from(0)), (&Value::from("1g.5gb"), &Value::from(6))]
    );
    assert!(instances[0]["compute_instances"][0]["uuid"].as_str().unwrap().starts_with("MIG-"));
}

#[test]
fn repartitions_only_where_it_is_allowed_to() {
    for args in [["create", "--profile", "1g.5gb"].as_slice(), &["destroy", "--all"]] {
        let output = partition("mig=1", &[args, &["--device", GPU]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains("--allow-repartition"), "{}", said(&output));
    }
}

#[test]
fn says_what_is_wrong_and_what_to_do() {
    let check = |state: &str, args: &[&str], expected: &str| {
        let output = partition(state, &[args, &["--allow-repartition"]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(expected), "{}", said(&output));
    };
    let create = |profile| ["create", "--device", GPU, "--profile", profile];
    check("mig=1", &create("3g.40gb"), "no profile \"3g.40gb\"; did you mean 3g.20gb?");
    check("mig=1", &create("1g.5gb@x"), "expected a slice's number after @");
    check("mig=0", &create("1g.5gb"), "--multi-instance-gpu=1");
    check("mig=1,no_permission=1", &create("1g.5gb"), "CAP_SYS_ADMIN");
    check("mig=1", &["destroy", "--device", GPU, "--instance", "7"], "there is none of this number");
    check("mig=1", &["destroy", "--device", "nvidia:GPU-2", "--all"], GPU);
}

#[test]
fn says_why_there_is_no_gpu() {
    let output = Command::new(env!("CARGO_BIN_EXE_wattle"))
        .args(["partition", "list", "--nvml-lib", "/none/libnvidia-ml.so.1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no NVIDIA GPU here: /none/libnvidia-ml.so.1"), "{}", said(&output));
}
