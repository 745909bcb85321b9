//! What one epoch is made of: caps and intensities that change within it, shared parts, and what is known.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use wattle_core::observation::Observation;
use wattle_core::policies::fixed::Fixed;
use wattle_core::policy::{Decision, Policy, Reason};
use wattle_core::time::Timestamp;
use wattle_sim::scenario::Loaded;
use wattle_sim::summary::Summary;
use wattle_sim::{epoch_level, foresight};

const HEAD: &str = "level = \"epoch\"\nspan_seconds = 40\nepoch_seconds = 10\n";

/// Batches of one row in 10 ms at `watts`; the device draws 20 W with nothing to do.
fn model(name: &str, watts: u32, workload: &str) -> String {
    format!(
        "[[models]]\nname = \"{name}\"\nidle_power_watts = 20\nworkload = {{ {workload} }}\n\
         rows = [{{ batch_size = 1, instances = 1, latency_ms_mean = 10, power_watts_mean = {watts} }}]\n"
    )
}

fn load(text: &str) -> Loaded {
    Loaded::parse(text, "epochs.toml", Path::new("")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn play(text: &str) -> Summary {
    let summary = epoch_level::run(&load(text).plan, &mut Fixed, 1, &mut |_| ()).summary;
    assert!(summary.checks.energy_unaccounted_joules.abs() < 1e-6);
    assert_eq!(summary.checks.requests_lost, None, "no request is played");
    summary
}

#[track_caller]
fn near(found: f64, wanted: f64) {
    assert!((found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{found}, expected {wanted}");
}

#[test]
fn a_cap_that_changes_within_an_epoch_counts_from_when_it_does() {
    // 60 W under 100 W for 4 s of each epoch, and under 50 W for 6 s; in the last under 100 W.
    let cap =
        "[power_cap]\nsteps = [[0, 100], [4, 50], [10, 100], [14, 50], [20, 100], [24, 50], [30, 100]]\n";
    let summary =
        play(&format!("{HEAD}{}{cap}after_end = \"hold\"\n", model("m", 60, "kind = \"saturated\"")));
    near(summary.energy_joules, 60.0 * 40.0);
    near(summary.cap_violation_seconds, 18.0);
    near(summary.cap_violation_joules, 180.0);
    near(summary.cap_watts_mean.unwrap(), (22.0 * 100.0 + 18.0 * 50.0) / 40.0);
}

#[test]
fn a_carbon_intensity_that_changes_within_an_epoch_counts_from_when_it_does() {
    let carbon =
        "[carbon_intensity]\nsteps = [[0, 100], [3, 700], [15, 100], [35, 500]]\nafter_end = \"hold\"\n";
    let summary = play(&format!("{HEAD}{}{carbon}", model("m", 60, "kind = \"saturated\"")));
    let gram_seconds = 3.0 * 100.0 + 12.0 * 700.0 + 20.0 * 100.0 + 5.0 * 500.0;
    near(summary.carbon_grams.unwrap(), 60.0 * gram_seconds / 3.6e6);
    assert_eq!(summary.models["m"].rows_completed, 4000);
}

#[test]
fn shared_parts_are_drawn_once_while_anything_runs() {
    let device = "[[devices]]\nname = \"gpu\"\nshared_idle_power_watts = 15\n";
    let two = |a: &str, b: &str| format!("{HEAD}{device}{}{}", model("a", 60, a), model("b", 90, b));
    let saturated = "kind = \"saturated\"";
    let rate = |rps: u32| format!("kind = \"constant\", rate_rps = {rps}");
    near(play(&two(saturated, saturated)).power_watts_mean, 20.0 + 15.0 + 25.0 + 55.0);
    // Alone, a model draws what its rows say, for the time it is busy.
    near(play(&two(&rate(50), &rate(0))).power_watts_mean, 20.0 + 0.5 * 40.0);
    // Busy half and quarter of the time: nothing runs for three eighths of it.
    let both = play(&two(&rate(50), &rate(25))).power_watts_mean;
    near(both, 20.0 + 0.5 * 25.0 + 0.25 * 55.0 + 0.625 * 15.0);
}

const RATES: &str = "kind = \"trace\", file = \"rates.csv\", format = \"rate-csv\"";

/// 10, 20, 30, 40 and 10 rows/s, each for 8 s, of which epochs of 10 s cut some.
fn with_rates() -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("rates.csv"),
        "seconds,rate_rps\n0,10\n8,20\n16,30\n24,40\n32,10\n40,10\n",
    )
    .unwrap();
    let text = format!("{HEAD}{}", model("m", 60, RATES));
    Loaded::parse(&text, "epochs.toml", folder.path()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_policy_is_shown_what_arrived_in_the_last_epoch() {
    struct Sees(Vec<u64>);
    impl Policy for Sees {
        fn name(&self) -> &'static str {
            "sees"
        }
        fn decide(&mut self, seen: &Observation) -> Decision {
            self.0.push(seen.models[0].arrived_rows);
            Decision::keep(Reason::Fixed, Duration::from_secs(1))
        }
    }
    let mut sees = Sees(Vec::new());
    epoch_level::run(&with_rates().plan, &mut sees, 1, &mut |_| ());
    // The first is shown its own, as there is none before it.
    assert_eq!(sees.0, [120, 120, 240, 360]);
    let mut sees = Sees(Vec::new());
    let saturated = format!("{HEAD}{}", model("m", 60, "kind = \"saturated\""));
    epoch_level::run(&load(&saturated).plan, &mut sees, 1, &mut |_| ());
    assert!(sees.0.iter().all(|rows| *rows == 1_000_000), "{:?}", sees.0);
}

#[test]
fn batches_that_a_policy_is_shown_are_whole_and_none_is_lost() {
    /// Batches, their rows and their time.
    struct Sees(Vec<(u64, u64, Duration)>);
    impl Policy for Sees {
        fn name(&self) -> &'static str {
            "sees"
        }
        fn decide(&mut self, seen: &Observation) -> Decision {
            let model = &seen.models[0];
            self.0.push((model.executed_batches, model.completed_rows, model.batches_took));
            Decision::keep(Reason::Fixed, Duration::from_secs(1))
        }
    }
    // 3.5 batches of 8 rows an epoch.
    let text =
        model("m", 60, "kind = \"constant\", rate_rps = 2.8").replace("batch_size = 1,", "batch_size = 8,");
    let mut sees = Sees(Vec::new());
    epoch_level::run(&load(&format!("{HEAD}{text}")).plan, &mut sees, 1, &mut |_| ());
    let batches: Vec<u64> = sees.0.iter().map(|seen| seen.0).collect();
    // There is no epoch before the first.
    assert_eq!(batches, [0, 3, 4, 3]);
    for (batches, rows, took) in sees.0 {
        assert_eq!((rows, took), (batches * 8, Duration::from_millis(10 * batches)));
    }
}

#[test]
fn foresight_is_the_mean_rate_of_each_epoch_and_nothing_drawn() {
    let future = foresight::of_epochs(&with_rates().plan);
    let at =
        |seconds: u64| future.offered_rps["m"].at(Timestamp::from_nanos(seconds * 1_000_000_000)).unwrap();
    for (seconds, rate) in [(0, 12.0), (9, 12.0), (10, 24.0), (20, 36.0), (30, 16.0), (39, 16.0)] {
        near(at(seconds), rate);
    }
}

#[test]
fn clients_that_wait_are_refused_before_anything_runs() {
    let text = format!("{HEAD}{}", model("m", 60, "kind = \"closed-loop\", clients = 4"));
    let error = Loaded::parse(&text, "epochs.toml", Path::new("")).unwrap_err().to_string();
    assert!(error.contains("models.m.workload: found closed-loop"), "{error}");
    assert!(error.contains("epoch level"), "{error}");
}
