//! Runs `wattle plan` as a user would, on the fleet that ships.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fleet.toml")
}

fn plan(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wattle")).arg("plan").args(args).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_fleet_that_ships_is_planned_and_the_plan_is_read_back_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = example().display().to_string();
    let made = plan(folder.path(), &[&fleet, "--explain", "none", "--out", "plan.json"]);
    assert!(made.status.success(), "{}", said(&made));
    let text = String::from_utf8(made.stdout).unwrap();
    assert!(text.contains("proved: no plan of these options is better"), "{text}");
    let written: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("plan.json")).unwrap()).unwrap();
    let served: f64 = written["devices"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|device| device["tenants"].as_array().unwrap())
        .map(|tenant| tenant["share"].as_f64().unwrap())
        .sum();
    assert!((served - 7.0).abs() < 1e-9, "{written}");

    let again = plan(folder.path(), &[&fleet, "--explain", "none", "--current", "plan.json", "--json"]);
    assert!(again.status.success(), "{}", said(&again));
    let told: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(told["decision"]["change"], Value::Bool(false), "{told}");
    assert_eq!(told["decision"]["devices_changed"], 0, "{told}");
    assert_eq!(told["plan"], written);

    let over = plan(folder.path(), &[&fleet, "--explain", "none", "--out", "plan.json"]);
    assert!(said(&over).contains("--force"), "{}", said(&over));
}

#[test]
fn a_fleet_that_is_wrong_ends_with_the_code_of_a_wrong_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(example()).unwrap().replace("slo_ms = 60", "slo_msec = 60");
    std::fs::write(folder.path().join("fleet.toml"), text).unwrap();
    let output = plan(folder.path(), &["fleet.toml"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("did you mean \"slo_ms\"?"), "{}", said(&output));
    std::fs::write(folder.path().join("plan.json"), "{}").unwrap();
    let fleet = example().display().to_string();
    let output = plan(folder.path(), &[&fleet, "--current", "plan.json"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("no plan of wattle plan"), "{}", said(&output));
}
