//! Runs `wattle import` as a user would, on small files.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const DACF: &str = "\
UTC time,coal,nat_gas,nuclear,oil,hydro,solar,wind,other
2020-01-01 00:00:00,100,100,0,0,0,0,0,0
2020-01-01 01:00:00,0,100,100,0,0,0,0,0
2020-01-01 03:00:00,0,100,100,0,0,0,0,0
";

fn import(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wattle")).arg("import").args(args).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn folder_with(name: &str, text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    folder
}

#[test]
fn a_signal_is_written_once_and_replaced_only_by_force() {
    let folder = folder_with("HERE.csv", DACF);
    let first = import(folder.path(), &["dacf", "HERE.csv", "--out", "made"]);
    assert!(first.status.success(), "{}", said(&first));
    assert!(
        said(&first).contains("1 missing times, first on line 4: filled on a straight line"),
        "{}",
        said(&first)
    );
    let text = String::from_utf8(first.stdout).unwrap();
    assert!(text.starts_with("wrote made/HERE-direct-carbon-intensity.csv"), "{text}");
    let path = folder.path().join("made/HERE-direct-carbon-intensity.csv");
    let made = std::fs::read_to_string(&path).unwrap();
    assert!(
        made.ends_with("seconds,carbon_intensity_g_per_kwh\n0,565\n3600,185\n7200,185\n10800,185\n"),
        "{made}"
    );

    std::fs::write(&path, "mine").unwrap();
    let again = import(folder.path(), &["dacf", "HERE.csv", "--out", "made"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("--force"), "{}", said(&again));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    assert!(import(folder.path(), &["dacf", "HERE.csv", "--out", "made", "--force"]).status.success());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), made);
    assert_eq!(
        std::fs::read_dir(folder.path().join("made")).unwrap().count(),
        1,
        "nothing else is left there"
    );
}

#[test]
fn json_names_the_files_and_all_that_was_odd() {
    let folder = folder_with(
        "tiny.csv",
        "Mig instance,Batch size,Workload Number,Throughput,Latency\n1,1,1,0,0\n1,1,2,50,0.02\n",
    );
    let output = import(folder.path(), &["parvagpu", "tiny.csv", "--json", "--device", "a GPU"]);
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["files"][0]["path"], "./tiny.profile.csv");
    assert_eq!(report["files"][0]["rows"], 1);
    assert_eq!(
        (&report["oddities"][0]["count"], &report["oddities"][0]["first_line"]),
        (&1.into(), &2.into())
    );
    let made = std::fs::read_to_string(folder.path().join("tiny.profile.csv")).unwrap();
    assert!(made.contains("# device = \"a GPU\""), "{made}");
}

#[test]
fn a_file_of_another_format_writes_nothing_and_says_where() {
    let folder = folder_with("HERE.csv", DACF);
    let output = import(folder.path(), &["enertune", "HERE.csv", "--out", "made"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("HERE.csv, line 1, column \"model\": found"), "{}", said(&output));
    assert!(!folder.path().join("made").exists());
}

#[test]
fn an_unknown_format_is_told_the_nearest() {
    let folder = folder_with("HERE.csv", DACF);
    let output = import(folder.path(), &["daCF2", "HERE.csv"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("did you mean \"dacf\"?") && said(&output).contains("electricity-maps"));
}

#[test]
fn the_help_has_an_example_of_every_format() {
    let output = import(Path::new("."), &["--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    for format in wattle_import::Format::NAMES {
        assert!(help.contains(&format!("wattle import {format} ")), "{format}");
    }
}
