//! A device that is not as its profiles say: what a policy under a cap makes of it, with and without
//! refinement.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use wattle_sim::experiment::{Experiment, Overrides};
use wattle_sim::request_level::Outcome;
use wattle_sim::scenario::Loaded;

/// A device of 20 W idle with one model, saturated, whose power ascends with its batch size.
fn scenario(device: &str, cap: &str, policy: &str) -> String {
    let rows: Vec<String> = (0..20)
        .map(|step| {
            let (size, watts) = (1 + step * 3, 60 + step * 8);
            let latency_ms = 4.0 + 0.5 * f64::from(size);
            format!(
                "{{ batch_size = {size}, instances = 1, latency_ms_mean = {latency_ms}, throughput_rps = {}, \
                 power_watts_mean = {watts} }}",
                f64::from(size) / latency_ms * 1e3
            )
        })
        .collect();
    format!(
        "span_seconds = 300\noracle = true\n[[devices]]\nname = \"gpu\"\n{device}\n[[models]]\nname = \"m\"\n\
         idle_power_watts = 20\nworkload = {{ kind = \"saturated\" }}\nrows = [{}]\n[power_cap]\n{cap}\n\
         [[policies]]\nname = \"combination\"\n{policy}\n",
        rows.join(", ")
    )
}

fn run(device: &str, cap: &str, policy: &str) -> Outcome {
    let text = scenario(device, cap, policy);
    let loaded = Loaded::parse(&text, "s.toml", Path::new("")).unwrap_or_else(|error| panic!("{error}"));
    let experiment = Experiment::new(loaded, &Overrides::default()).unwrap();
    experiment.run(1, &|_| ()).unwrap().pop().unwrap()
}

const OFF: &str = "power_ratio = 1.2\nsensor_noise = 0.01";
const WITHOUT: &str = "refinement = { enabled = false }";
/// Another cap each five seconds.
const STEPS: &str = "steps = [[0, 190], [5, 130], [10, 210], [15, 100], [20, 160]]\nafter_end = \"repeat\"";

fn told(outcome: &Outcome, word: &str) -> usize {
    outcome.decisions.iter().flat_map(|told| &told.because).filter(|because| because.contains(word)).count()
}

#[test]
fn a_device_that_draws_a_fifth_more_is_kept_under_the_cap_only_with_refinement() {
    let (with, without) = (run(OFF, STEPS, ""), run(OFF, STEPS, WITHOUT));
    let seconds = |outcome: &Outcome| outcome.summary.cap_violation_seconds;
    let joules = |outcome: &Outcome| outcome.summary.cap_violation_joules;
    println!(
        "with: {:.2} s, {:.1} J, {} turned; without: {:.2} s, {:.1} J, {} turned",
        seconds(&with),
        joules(&with),
        with.summary.decisions_turned,
        seconds(&without),
        joules(&without),
        without.summary.decisions_turned
    );
    assert!(seconds(&with) * 5.0 < seconds(&without), "{} s of {} s", seconds(&with), seconds(&without));
    assert!(with.summary.decisions_turned < without.summary.decisions_turned);
}

#[test]
fn a_drift_that_lasts_is_told_once() {
    let outcome = run(OFF, "constant = 150", "");
    let drift: Vec<f64> = outcome
        .decisions
        .iter()
        .filter(|told| told.because.iter().any(|because| because.contains("times what the profile says")))
        .map(|told| told.seconds)
        .collect();
    let [at] = drift[..] else { panic!("{drift:?}") };
    assert!((10.0..15.0).contains(&at), "{at}");
    assert_eq!(told(&outcome, "as the profile says again"), 0);
}

#[test]
fn under_a_constant_cap_throughput_is_nearly_that_of_one_who_knows_the_device() {
    let outcome = run("power_ratio = 1.2\nbatch_time_ratio = 1.1", "constant = 150", "");
    let oracle = outcome.summary.oracle.as_ref().unwrap();
    let ratio = oracle.ratio.unwrap();
    assert!((0.97..=1.0 + 1e-9).contains(&ratio), "{ratio}");
    assert!(outcome.summary.cap_violation_seconds < 3.0, "{} s", outcome.summary.cap_violation_seconds);
}

#[test]
fn on_a_device_as_profiled_refinement_changes_nothing() {
    let (with, without) = (run("", STEPS, ""), run("", STEPS, WITHOUT));
    assert_eq!(with.summary.throughput_rps_mean, without.summary.throughput_rps_mean);
    assert_eq!(with.summary.energy_joules, without.summary.energy_joules);
    assert_eq!(with.summary.decisions_turned, without.summary.decisions_turned);
}

#[test]
fn the_same_seed_gives_the_same_run_with_refinement_too() {
    let text = |outcome: &Outcome| {
        serde_json::to_string(&(&outcome.summary, &outcome.points, &outcome.decisions)).unwrap()
    };
    assert_eq!(text(&run(OFF, STEPS, "")), text(&run(OFF, STEPS, "")));
}

#[test]
fn a_ratio_that_no_device_has_is_refused() {
    let told = |device: &str| {
        let text = scenario(device, STEPS, "");
        Loaded::parse(&text, "s.toml", Path::new("")).unwrap_err().to_string()
    };
    assert_eq!(told("power_ratio = 0"), "s.toml, devices.gpu.power_ratio: found 0, expected 0.01 to 100");
    assert!(told("batch_time_ratio = -1").contains("devices.gpu.batch_time_ratio"));
}
