//! Runs `wattle profile --sharing` as a user would, on a simulated device whose static, shared and dynamic
//! power are known, and on a CPU whose power is only estimated.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const STATIC_WATTS: f64 = 40.0;
const SHARED_WATTS: f64 = 10.0;
/// Each model, and what an instance of it adds.
const MODELS: [(&str, f64); 3] = [("light", 6.0), ("middle", 20.0), ("heavy", 35.0)];

/// A repository of three models, whose profiles say what the device draws.
fn models() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits-xs/1/model.onnx");
    for (model, dynamic) in MODELS {
        let place = folder.path().join("models").join(model);
        std::fs::create_dir_all(place.join("1")).unwrap();
        std::fs::copy(&bundled, place.join("1/model.onnx")).unwrap();
        std::fs::write(place.join("model.toml"), "[batching]\nmax_batch_size = 4\n").unwrap();
        // The last batches of a set are not full.
        let rows: String = [1, 4]
            .into_iter()
            .flat_map(|batch_size: u32| (1..=3).map(move |count: u32| (batch_size, count)))
            .map(|(batch_size, count)| {
                let power = STATIC_WATTS + SHARED_WATTS + f64::from(count) * dynamic;
                format!("{batch_size},{count},5,{power},modelled,modelled,1\n")
            })
            .collect();
        let text = format!(
            "# wattle_profile = 1\n# model = \"{model}\"\n# device = \"made up\"\n# runtime = \"made up\"\n\
             # idle_power_watts = {STATIC_WATTS}\n# power_source = \"made up for a test\"\n\
             batch_size,instances,latency_ms_mean,power_watts_mean,basis,power_basis,samples\n{rows}"
        );
        std::fs::write(place.join("profile.csv"), text).unwrap();
    }
    folder
}

fn profile(folder: &tempfile::TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattle"));
    command.args(["--log", "error", "profile"]).args(args).current_dir(folder.path()).output().unwrap()
}

fn share(folder: &tempfile::TempDir, more: &[&str]) -> Output {
    let fixed = ["--sharing", "light", "middle", "heavy", "--models", "models", "--slices", "3"];
    let short = ["--settle-ms", "30", "--window-ms", "80", "--max-windows", "4", "--windows", "2"];
    profile(folder, &[&fixed[..], &short, more].concat())
}

fn simulated() -> [&'static str; 6] {
    ["--device", "simulated", "--cores", "3", "--simulated-shared-watts", "10"]
}

fn refused(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_procedure_recovers_static_shared_and_dynamic_power_and_tells_its_error() {
    let folder = models();
    let output = share(&folder, &[&simulated()[..], &["--json", "-o", "sharing.toml"]].concat());
    assert!(output.status.success(), "{}", refused(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let near = |found: &Value, truth: f64| {
        let found = found.as_f64().unwrap();
        // Threads of a busy machine wake late, and a model that waits draws nothing.
        let off = (found - truth).abs();
        assert!(off < 1.5 + 0.1 * truth, "found {found}, the truth is {truth}: {told:#}");
    };
    near(&told["static_watts"], STATIC_WATTS);
    near(&told["shared_idle_watts"], SHARED_WATTS);
    for (index, (model, dynamic)) in MODELS.iter().enumerate() {
        assert_eq!(told["tenants"][index]["model"], *model);
        near(&told["tenants"][index]["dynamic_watts"], *dynamic);
    }
    // Two of three pairs are held out. A naive sum counts the shared parts twice.
    assert_eq!(told["held_out"]["sets"], 2);
    let error = |figure: &str| told["held_out"][figure].as_f64().unwrap();
    assert!(error("mean_abs_error_share_additive") < error("mean_abs_error_share_naive") / 2.0, "{told:#}");
    assert!(error("mean_abs_error_share_naive") > 0.05, "{told:#}");
    assert!(!folder.path().join("sharing.toml.partial").exists());

    let shown = profile(&folder, &["show", "sharing.toml"]);
    let text = String::from_utf8(shown.stdout.clone()).unwrap();
    assert!(shown.status.success(), "{}", refused(&shown));
    assert!(text.contains("over 2 sets that were not fitted"), "{text}");
    assert!(text.contains("2 x light on 1/3"), "{text}");
}

#[test]
fn a_run_that_was_interrupted_goes_on_and_one_of_others_is_refused() {
    let folder = models();
    let output = share(&folder, &[&simulated()[..], &["-o", "a.toml"]].concat());
    assert!(output.status.success(), "{}", refused(&output));
    // As if it had ended after four sets.
    let text = std::fs::read_to_string(folder.path().join("a.toml")).unwrap();
    let cut = text.match_indices("[[measured]]").nth(4).unwrap().0;
    std::fs::write(folder.path().join("b.toml.partial"), &text[..cut]).unwrap();
    let output = share(&folder, &[&simulated()[..], &["-o", "b.toml"]].concat());
    assert!(output.status.success(), "{}", refused(&output));
    let whole = std::fs::read_to_string(folder.path().join("b.toml")).unwrap();
    assert!(whole.starts_with(&text[..cut]), "what was measured before stands as it was");
    assert_eq!(whole.matches("[[measured]]").count(), text.matches("[[measured]]").count());

    let nothing: &[&str] = &[];
    for (other, more, told) in [
        (text[..cut].replace("made up", "another device"), nothing, "another device"),
        (text[..cut].to_owned(), &["--batch-sizes", "1"], "expected batches of 1"),
        (text[..cut].replace("1 of 3 compute threads", "4 of 12"), nothing, "found 4 of 12"),
        (text.replacen("held_out = true", "held_out = false", 1), nothing, "sets of this command and seed"),
    ] {
        std::fs::write(folder.path().join("c.toml.partial"), other).unwrap();
        let output = share(&folder, &[&simulated()[..], &["-o", "c.toml"], more].concat());
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(refused(&output).contains(told), "{}", refused(&output));
    }
}

#[test]
fn an_estimate_of_power_is_not_taken_for_a_measurement() {
    let folder = models();
    // A file tree without energy counters.
    std::fs::create_dir_all(folder.path().join("sys")).unwrap();
    let output = share(&folder, &["--cores", "3", "--sys-root", "sys", "--runtime", "rten"]);
    assert_eq!(output.status.code(), Some(3), "{}", refused(&output));
    let told = refused(&output);
    assert!(told.contains("says nothing of sharing") && told.contains("--allow-assumed"), "{told}");
}
