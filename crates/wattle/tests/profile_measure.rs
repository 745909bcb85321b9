//! Runs `wattle profile MODEL` as a user would, on bundled models and this machine's CPU: what is written,
//! what is refused, and that a run that is interrupted or killed goes on where it ended.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use wattle_core::profile::Profile;
use wattle_core::provenance::Basis;

/// Six points of some tenths of a second each.
const POINTS: [&str; 14] = [
    "--batch-sizes",
    "1,2,4,8,16,32",
    "--instances",
    "1",
    "--cores-per-instance",
    "1",
    "--search",
    "exhaustive",
    "--settle-ms",
    "50",
    "--windows",
    "2",
    "--max-windows",
    "2",
];

/// A repository of two bundled models and their family.
fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models");
    for model in ["digits-xs", "digits-s"] {
        let of_model = folder.path().join("models").join(model);
        fs::create_dir_all(of_model.join("1")).unwrap();
        for file in ["model.toml", "1/model.onnx"] {
            fs::copy(examples.join(model).join(file), of_model.join(file)).unwrap();
        }
    }
    fs::create_dir(folder.path().join("models/digits")).unwrap();
    let variants = "[[variants]]\nmodel = \"digits-xs\"\nquality = 0.95\n[[variants]]\nmodel = \"digits-s\"\nquality = 0.97\n";
    fs::write(folder.path().join("models/digits/family.toml"), variants).unwrap();
    folder
}

fn profile(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattle"));
    command.args(["--log", "error", "profile"]).args(args).args(["--runtime", "rten"]);
    command.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn read(path: &Path) -> Profile {
    Profile::parse(&fs::read_to_string(path).unwrap(), "a test").unwrap()
}

fn of_model(folder: &TempDir) -> (PathBuf, PathBuf) {
    let profile = folder.path().join("models/digits-xs/profile.csv");
    let journal = folder.path().join("models/digits-xs/profile.csv.partial");
    (profile, journal)
}

/// Points in a journal that were measured to their end: whole lines, the head and what was only begun apart.
fn ended(journal: &Path) -> usize {
    let text = fs::read_to_string(journal).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().skip(1).filter(|line| !line.contains("\"outcome\":\"begun\"")).count()
}

/// Starts a run of six long points of each model, and waits until two of the last are in the journal.
fn start_long_run(folder: &TempDir, models: &[&str]) -> Child {
    let long = ["--window-ms", "400"];
    let mut child = profile(folder, &[models, &POINTS[..], &long].concat()).spawn().unwrap();
    let last = models.last().unwrap();
    let journal = folder.path().join(format!("models/{last}/profile.csv.partial"));
    let start = Instant::now();
    while ended(&journal) < 2 {
        if start.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("no point was measured");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

/// Runs the same again, and checks that it went on.
fn goes_on(folder: &TempDir, models: &[&str], before: usize) {
    let long = ["--window-ms", "400"];
    let (code, out, err) = finish(profile(folder, &[models, &POINTS[..], &long].concat()));
    assert_eq!(code, Some(0), "{out}\n{err}");
    assert!(err.contains(&format!("goes on after {before} points")), "{err}");
    let (output, journal) = of_model(folder);
    let sizes: Vec<u32> = read(&output).rows.iter().map(|row| row.point.batch_size).collect();
    assert_eq!(sizes, [1, 2, 4, 8, 16, 32], "each point once");
    assert!(!journal.exists(), "a run that is done leaves no journal");
}

#[test]
fn a_model_is_measured_and_its_profile_is_where_serve_finds_it() {
    let folder = repository();
    let short = ["--window-ms", "60", "--json"];
    let args = [&["digits-xs"], &POINTS[..], &short].concat();
    let (code, out, err) = finish(profile(&folder, &args));
    assert_eq!(code, Some(0), "{out}\n{err}");
    let told: Value = serde_json::from_str(out.trim()).unwrap();
    let told = &told["models"][0];
    assert_eq!((&told["probes"], &told["points"]), (&Value::from(6), &Value::from(6)));
    assert!(told["answer"]["measured"]["throughput_rps"].as_f64().unwrap() > 0.0);
    let (output, _) = of_model(&folder);
    let written = read(&output);
    assert_eq!((written.head.model.as_str(), written.rows.len()), ("digits-xs", 6));
    for row in &written.rows {
        assert_eq!(row.basis, Basis::Measured);
        let tails = [row.latency_ms_p50, row.latency_ms_p95, row.latency_ms_p99].map(Option::unwrap);
        assert!(tails.is_sorted() && tails[0] > 0.0, "{tails:?}");
    }
    let conditions = &written.head.conditions;
    assert!(conditions.ambient.as_ref().unwrap().contains("load average"));
    assert!(conditions.driver.is_some() && conditions.sensors.is_some() && written.head.created.is_some());

    let (code, _, err) = finish(profile(&folder, &args));
    assert_eq!(code, Some(3));
    assert!(err.contains("profile.csv is there already") && err.contains("--force"), "{err}");
    let (code, out, _) = finish({
        let mut show = Command::new(env!("CARGO_BIN_EXE_wattle"));
        show.args(["profile", "show"]).arg(&output).stdout(Stdio::piped());
        show
    });
    assert_eq!(code, Some(0));
    assert!(out.contains("6 rows: time figures 6 measured"), "{out}");
}

#[test]
fn a_run_that_is_killed_outright_goes_on_after_its_last_point() {
    let folder = repository();
    let mut child = start_long_run(&folder, &["digits-xs"]);
    child.kill().unwrap();
    child.wait().unwrap();
    let (output, journal) = of_model(&folder);
    assert!(!output.exists());
    let before = ended(&journal);
    let (code, _, err) =
        finish(profile(&folder, &[&["digits-xs"], &POINTS[..], &["--window-ms", "300"]].concat()));
    assert_eq!(code, Some(3));
    assert!(err.contains("window_ms was \"400\", is \"300\"") && err.contains("--restart"), "{err}");
    goes_on(&folder, &["digits-xs"], before);
}

#[test]
fn a_run_that_is_interrupted_writes_what_there_is_and_goes_on() {
    let folder = repository();
    let models = ["digits-s", "digits-xs"];
    let child = start_long_run(&folder, &models);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{err}");
    assert!(err.contains("interrupted at digits-xs") && err.contains("run the same command again"), "{err}");
    let (output, _) = of_model(&folder);
    let before = read(&output).rows.len();
    assert!((2..6).contains(&before), "{before}");
    // The first model is done, and its profile no obstacle.
    goes_on(&folder, &models, before);
}

#[test]
fn a_family_in_one_file_has_a_column_for_its_variants() {
    let folder = repository();
    let args = ["digits", "-o", "digits.csv", "--window-ms", "60"];
    let (code, out, err) = finish(profile(&folder, &[&args, &POINTS[..]].concat()));
    assert_eq!(code, Some(0), "{out}\n{err}");
    let written = read(&folder.path().join("digits.csv"));
    assert_eq!((written.head.model.as_str(), written.rows.len()), ("digits", 12));
    let of = |variant: &str| {
        written.rows.iter().filter(|row| row.point.variant.as_deref() == Some(variant)).count()
    };
    assert_eq!((of("digits-xs"), of("digits-s")), (6, 6));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "no journal is left: {left:?}");
}

#[test]
fn what_can_not_be_measured_is_told_before_anything_is() {
    let folder = repository();
    let refused = |args: &[&str], expected: &str| {
        let (code, out, err) = finish(profile(&folder, args));
        assert!(matches!(code, Some(2 | 3)), "{args:?}: {code:?} {out} {err}");
        assert!(err.contains(expected), "{args:?}: {err}");
    };
    refused(&["--zeusd", "digits-xl"], "did you mean \"digits-xs\"?");
    refused(&["digits-xl"], "did you mean \"digits-xs\"?");
    refused(&["digits-xs", "--search", "samplet"], "did you mean \"sampled\"?");
    refused(&["digits-xs", "--question", "speed"], "least-power@RPS");
    refused(&["digits-xs", "--batch-sizes", "64"], "a batch size of 64 can't be measured, expected 1 to 32");
    refused(&["digits-xs", "--duty-cycles", "1.5"], "duty_cycle");
    refused(&["digits-xs", "--clocks", "999999"], "cpu");
    refused(&["digits-xs", "--max-windows", "2", "--windows", "3"], "--max-windows is 2");
    refused(&["digits-xs", "digits-s", "-o", "both.csv"], "expected one model or family with --output");
    refused(&["digits-xs", "--device", "simulated"], "a simulated device is made of profiles");
    fs::write(folder.path().join("inputs.json"), r#"{"inputs": [{"name": "x"}]}"#).unwrap();
    refused(&["digits-xs", "--inputs", "inputs.json"], "inputs.json, request 1");
    refused(&["digits-xs", "--inputs", "none.json"], "none.json");
}

#[test]
fn requests_of_a_file_are_sent_in_place_of_made_up_ones() {
    let folder = repository();
    let row = vec!["0.5"; 64].join(",");
    let request = format!(
        r#"[{{"inputs":[{{"name":"image","shape":[1,1,8,8],"datatype":"FP32","data":[{row}]}}]}},
            {{"inputs":[{{"name":"image","shape":[2,1,8,8],"datatype":"FP32","data":[{row},{row}]}}]}}]"#
    );
    fs::write(folder.path().join("inputs.json"), request).unwrap();
    let args = ["digits-xs", "--inputs", "inputs.json", "--window-ms", "60", "-o", "out.csv"];
    let (code, out, err) = finish(profile(&folder, &[&args, &POINTS[..]].concat()));
    assert_eq!(code, Some(0), "{out}\n{err}");
    assert_eq!(read(&folder.path().join("out.csv")).rows.len(), 6);
}
