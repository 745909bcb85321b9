//! Runs `wattle simulate` and `wattle reproduce` as a user would: where results go, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::path::Path;
use std::process::{Command, Output};

const SCENARIO: &str = r#"
name = "two words"
span_seconds = 1
[[models]]
name = "m"
idle_power_watts = 20
workload = { kind = "saturated" }
rows = [{ batch_size = 1, instances = 1, latency_ms_mean = 10, power_watts_mean = 60 }]
"#;

fn wattle(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wattle")).args(args).current_dir(folder).output().unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_scenario_s_own_folder_has_a_name_that_any_system_takes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s.toml"), SCENARIO).unwrap();
    let output = wattle(folder.path(), &["simulate", "s.toml"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.path().join("runs/two-words/report.html").is_file());
    for seconds in ["0", "1e10", "nan"] {
        let told = refused(&wattle(folder.path(), &["simulate", "s.toml", "--span-seconds", seconds]));
        assert!(told.contains("expected more than 0, and less than 300 years"), "{told}");
    }
}

#[test]
fn reproduce_refuses_a_folder_that_holds_something_before_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("out")).unwrap();
    std::fs::write(folder.path().join("out/rows.json"), "mine").unwrap();
    let told = refused(&wattle(folder.path(), &["reproduce", "sharing", "--out", "out"]));
    assert!(told.contains("out is not empty"), "{told}");
    assert_eq!(std::fs::read_to_string(folder.path().join("out/rows.json")).unwrap(), "mine");
}
