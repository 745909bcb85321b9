//! Runs `wattle demo` as a user would, and checks what it says of itself.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::process::Command;

use serde_json::Value;

/// Figures that scripts rely on.
const KEYS: [&str; 14] = [
    "requests_sent",
    "requests_answered",
    "requests_failed",
    "accuracy",
    "throughput_rps",
    "latency_ms_p50",
    "latency_ms_p95",
    "latency_ms_p99",
    "power_watts_mean",
    "power_watts_max",
    "cap_violation_seconds",
    "cap_violation_joules",
    "energy_joules",
    "carbon_grams",
];

#[test]
fn the_demo_serves_checks_its_answers_and_says_how_it_knows() {
    let temporary = tempfile::tempdir().unwrap();
    let kept = temporary.path().join("kept");
    let output = Command::new(env!("CARGO_BIN_EXE_wattle"))
        .args(["demo", "--seconds", "5", "--rate", "50", "--json", "--runtime", "rten", "--keep"])
        .arg(&kept)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("dashboard http://127.0.0.1:"), "{said}");

    let text = String::from_utf8(output.stdout).unwrap();
    let found: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let number = |key: &str| found[key].as_f64().unwrap_or_else(|| panic!("{key} of {found}\n{said}"));
    for key in KEYS {
        assert!(number(key) >= 0.0, "{key}: {found}");
        let basis = &found["provenance"][key]["basis"];
        assert!(["measured", "modelled", "assumed"].contains(&basis.as_str().unwrap()), "{key}: {basis}");
        assert!(!found["provenance"][key]["source"].as_str().unwrap().is_empty(), "{key}");
    }
    assert!(number("requests_answered") > 0.0, "{found}");
    assert!((number("requests_sent") - number("requests_answered") - number("requests_failed")).abs() < 0.5);
    assert!(number("accuracy") > 0.9, "{found}");
    assert!(number("latency_ms_p50") <= number("latency_ms_p99"), "{found}");
    assert!(number("power_watts_mean") <= number("power_watts_max") + 1e-9, "{found}");
    for file in ["models/digits-m/1/model.onnx", "profile.csv", "ledger.sqlite"] {
        assert!(kept.join(file).is_file(), "{file} is not in the folder that was to be kept\n{said}");
    }
}
