//! Runs whose figures can be worked out by hand: closed loops, duty cycles, caps, families, epochs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{fixed, near, plan, play};
use wattle_core::id::FamilyName;
use wattle_core::knob::ServingChange;
use wattle_core::observation::Observation;
use wattle_core::policies::fixed::Fixed;
use wattle_core::policy::{Decision, Policy, Reason};
use wattle_sim::epoch_level;

/// One model whose rows are (batch size, instances, ms, W); the device draws 20 W with nothing to do.
fn model(name: &str, keys: &str, rows: &[(u32, u32, f64, f64)]) -> String {
    let row = |(batch_size, instances, ms, watts): &(u32, u32, f64, f64)| {
        format!(
            "{{ batch_size = {batch_size}, instances = {instances}, latency_ms_mean = {ms}, \
             power_watts_mean = {watts} }}"
        )
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!("[[models]]\nname = \"{name}\"\nidle_power_watts = 20\n{keys}\nrows = [{}]\n", rows.join(", "))
}

#[test]
fn a_closed_loop_obeys_the_interactive_law() {
    let rows = [(1, 1, 10.0, 60.0), (1, 2, 16.0, 100.0)];
    // So many clients, each asks 30 ms after its answer; service 10 ms: an instance serves up to 4.
    for (clients, instances, rps) in [(1, 1, 25.0), (4, 1, 100.0), (9, 1, 100.0), (20, 2, 125.0)] {
        let keys = format!(
            "instances = {instances}\nworkload = {{ kind = \"closed-loop\", clients = {clients}, think_ms = 30 }}"
        );
        let summary = fixed(&format!("span_seconds = 400\n{}", model("m", &keys, &rows)), 1);
        near("throughput", summary.throughput_rps_mean, rps, 0.001);
        // N = X (R + Z)
        let latency_ms = f64::from(clients) / rps * 1e3 - 30.0;
        near("latency", summary.latency_ms_mean.unwrap(), latency_ms, 0.002);
    }
}

#[test]
fn a_duty_cycle_of_a_half_halves_throughput_and_dynamic_energy() {
    let run = |duty: f64| {
        let keys = format!("duty_cycle = {duty}\nworkload = {{ kind = \"saturated\" }}");
        fixed(&format!("span_seconds = 100\n{}", model("m", &keys, &[(4, 1, 10.0, 60.0)])), 1)
    };
    let (whole, half) = (run(1.0), run(0.5));
    near("throughput", whole.throughput_rps_mean, 400.0, 0.001);
    near("throughput", half.throughput_rps_mean, 200.0, 0.001);
    near("energy", whole.energy_joules, 6000.0, 0.001);
    near("dynamic energy", half.energy_joules - 2000.0, 2000.0, 0.001);
}

#[test]
fn energy_of_a_few_requests_is_as_worked_out_by_hand() {
    // One request each 100 ms, 10 ms at 60 W: 0.4 J above idle each.
    let keys = "overhead_ms = 5\nobjective_ms = 14\nworkload = { kind = \"constant\", rate_rps = 10 }";
    let summary = fixed(&format!("span_seconds = 10.05\n{}", model("m", keys, &[(1, 1, 10.0, 60.0)])), 1);
    assert_eq!((summary.requests_total, summary.requests_completed), (100, 100));
    assert_eq!(summary.objective_misses, 100, "10 ms and 5 ms of overhead are over 14 ms");
    near("latency", summary.latency_ms_mean.unwrap(), 15.0, 1e-9);
    near("energy", summary.energy_joules, 20.0 * 10.05 + 100.0 * 0.4, 1e-9);
    near("energy of the model", summary.models["m"].energy_joules, 40.0, 1e-9);
    near("energy per row", summary.energy_joules_per_row.unwrap(), 2.41, 1e-9);
}

#[test]
fn requests_end_in_time_or_not_at_all() {
    // 200 a second come, 100 are served: the queue of 10 is full all the time, and 95 ms to 105 ms long.
    let keys = "max_queue_size = 10\nworkload = { kind = \"constant\", rate_rps = 200 }";
    let summary = fixed(&format!("span_seconds = 100\n{}", model("m", keys, &[(1, 1, 10.0, 60.0)])), 1);
    near("throughput", summary.throughput_rps_mean, 100.0, 0.001);
    near("refused", summary.requests_rejected as f64, 10_000.0, 0.002);
    near("latency", summary.latency_ms_mean.unwrap(), 105.0, 0.05);
    // With a queue without end, those go whose time of 50 ms is over.
    let keys = "timeout_ms = 50\nmax_queue_size = 100000\nworkload = { kind = \"constant\", rate_rps = 200 }";
    let summary = fixed(&format!("span_seconds = 100\n{}", model("m", keys, &[(1, 1, 10.0, 60.0)])), 1);
    near("throughput", summary.throughput_rps_mean, 100.0, 0.001);
    near("expired", summary.requests_expired as f64, 10_000.0, 0.002);
    near("latency", summary.latency_ms_mean.unwrap(), 60.0, 0.1);
    assert!(summary.requests_unfinished <= 12, "the dead leave: {}", summary.requests_unfinished);
}

const STEPPING_CAP: &str = "[power_cap]\nsteps = [[0, 100], [50, 50], [80, 100]]\n";

fn saturated_at_60_watts() -> String {
    let rows = [(1, 1, 10.0, 40.0), (8, 1, 20.0, 60.0)];
    let model = model("m", "workload = { kind = \"saturated\" }", &rows);
    format!("span_seconds = 100\n{model}{STEPPING_CAP}")
}

#[test]
fn a_cap_that_nobody_heeds_is_violated_from_step_to_step() {
    let summary = fixed(&saturated_at_60_watts(), 1);
    near("seconds over the cap", summary.cap_violation_seconds, 30.0, 1e-9);
    near("joules over the cap", summary.cap_violation_joules, 300.0, 1e-6);
    near("mean cap", summary.cap_watts_mean.unwrap(), 0.7 * 100.0 + 0.3 * 50.0, 1e-9);
}

/// Heeds a cap below 60 W by batches of one.
struct Heeding;

impl Policy for Heeding {
    fn name(&self) -> &'static str {
        "heeding"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let mut decision = Decision::keep(Reason::Fixed, Duration::from_secs(1000));
        let size = if seen.power_cap.is_some_and(|cap| cap.get() < 60.0) { 1 } else { 8 };
        let change = ServingChange { batch_size: Some(size), ..ServingChange::default() };
        decision.serving.insert(seen.models[0].name.clone(), change);
        decision
    }
}

#[test]
fn a_policy_that_heeds_the_cap_is_over_it_for_half_a_tick_and_the_batch_in_flight() {
    let plan = plan(&saturated_at_60_watts());
    let summary = play(&plan, &mut Heeding, 1).summary;
    // Ticks of 100 ms are off the step by half; a batch of 20 ms that runs is not stopped.
    let seconds = summary.cap_violation_seconds;
    assert!((0.05 - 1e-9..=0.05 + 0.1 + 1e-9).contains(&seconds), "{seconds}");
    assert!(
        (0.5 - 1e-9..=0.5 + 0.2 + 1e-9).contains(&summary.cap_violation_joules),
        "{}",
        summary.cap_violation_joules
    );
    let rows = 70.0 * 400.0 + 30.0 * 100.0;
    near("throughput", summary.throughput_rps_mean, rows / 100.0, 0.001);
}

/// Rests no more from half a second on.
struct Awakes;

impl Policy for Awakes {
    fn name(&self) -> &'static str {
        "awakes"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let mut decision = Decision::keep(Reason::Fixed, Duration::ZERO);
        if seen.now.as_secs_f64() >= 0.5 {
            let change = ServingChange { duty_cycle: Some(1.0), ..ServingChange::default() };
            decision.serving.insert(seen.models[0].name.clone(), change);
        }
        decision
    }
}

#[test]
fn an_instance_that_rests_goes_on_when_its_duty_cycle_is_turned_up() {
    // 10 ms of work, then 990 ms of rest; the tick after half a second is at 0.505 s.
    let keys = "duty_cycle = 0.01\nworkload = { kind = \"saturated\" }";
    let text = format!("span_seconds = 1\ntick_ms = 10\n{}", model("m", keys, &[(1, 1, 10.0, 60.0)]));
    assert_eq!(play(&plan(&text), &mut Awakes, 1).summary.batches_total, 1 + 50);
}

#[test]
fn energy_is_split_by_core_time() {
    let rows = [(1, 1, 10.0, 60.0)];
    let keys = |cores: u32| format!("cores_per_instance = {cores}\nworkload = {{ kind = \"saturated\" }}");
    let (a, b) = (model("a", &keys(3), &rows), model("b", &keys(1), &rows));
    let summary = fixed(&format!("span_seconds = 10\n{a}{b}"), 1);
    near("energy", summary.energy_joules, 10.0 * (20.0 + 40.0 + 40.0), 1e-9);
    near("three cores", summary.models["a"].energy_joules, 600.0, 1e-9);
    near("one core", summary.models["b"].energy_joules, 200.0, 1e-9);
}

const FAMILY: &str = "[[families]]\nname = \"f\"\nactive = \"large\"\nvariants = [\
    { model = \"large\", energy_joules_per_row = 1.0, quality = 0.8 }, \
    { model = \"small\", energy_joules_per_row = 0.5, quality = 0.6 }]\n";

/// After 50 s the small variant answers.
struct Switches;

impl Policy for Switches {
    fn name(&self) -> &'static str {
        "switches"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let mut decision = Decision::keep(Reason::Fixed, Duration::from_secs(1));
        // What is asked of the family is seen at the variant that answers.
        let seconds = seen.now.as_secs_f64();
        let is_told = seconds > 10.0 && !(50.0..52.0).contains(&seconds);
        for model in seen.models.iter().filter(|_| is_told) {
            assert_eq!(model.arrived_rows > 0, model.name == seen.families[0].active, "at {seconds} s");
        }
        if seconds >= 50.0 {
            decision.variants = BTreeMap::from([(FamilyName::from("f"), "small".into())]);
        }
        decision
    }
}

fn family(level: &str, workload: &str) -> String {
    let large = model("large", "quality = 0.8", &[(1, 1, 10.0, 120.0)]);
    let small = model("small", "quality = 0.6", &[(1, 1, 5.0, 100.0)]);
    let epoch = if level == "epoch" { "epoch_seconds = 10\n" } else { "" };
    format!("level = \"{level}\"\nspan_seconds = 100\n{epoch}{large}{small}{FAMILY}workload = {workload}\n")
}

#[test]
fn a_family_asks_its_active_variant_at_both_levels() {
    for level in ["request", "epoch"] {
        let plan = plan(&family(level, "{ kind = \"constant\", rate_rps = 50 }"));
        let summary = match level {
            "request" => play(&plan, &mut Switches, 1).summary,
            _ => epoch_level::run(&plan, &mut Switches, 1, &mut |_| ()).summary,
        };
        for name in ["large", "small"] {
            near(name, summary.models[name].rows_completed as f64, 2500.0, 0.01);
        }
        // 1 J and 0.4 J above idle for each answer.
        near(level, summary.energy_joules, 2000.0 + 2500.0 * (1.0 + 0.4), 0.005);
        near("quality", summary.quality_mean.unwrap(), 0.7, 0.005);
    }
}

#[test]
fn epochs_add_up_as_worked_out_by_hand() {
    // m: 2 instances x 4 rows in 20 ms, 400 rows/s at most, 120 W; asked for 100, 500 and 0.
    let two = [(4, 1, 10.0, 80.0), (4, 2, 20.0, 120.0)];
    let keys = "instances = 2\noverhead_ms = 1\nworkload = { kind = \"constant\", rate_rps = 100 }";
    let saturated = [(2, 1, 10.0, 60.0)];
    let other = model("n", "duty_cycle = 0.5\nworkload = { kind = \"saturated\" }", &saturated);
    let head = "level = \"epoch\"\nspan_seconds = 100\nepoch_seconds = 10\n";
    let text = format!(
        "{head}{}{other}[power_cap]\nsteps = [[0, 70], [30, 40], [60, 200]]\n",
        model("m", keys, &two)
    );
    let outcome = epoch_level::run(&plan(&text), &mut Fixed, 1, &mut |_| ());
    let summary = &outcome.summary;
    // m: a quarter of the time 100 W above idle; n: half the time 40 W.
    let watts = 20.0 + 25.0 + 20.0;
    near("energy", summary.energy_joules, watts * 100.0, 1e-9);
    near("m", summary.models["m"].rows_completed as f64, 10_000.0, 1e-9);
    near("m", summary.models["m"].latency_ms_mean.unwrap(), 21.0, 1e-9);
    near("n", summary.models["n"].rows_completed as f64, 10_000.0, 1e-9);
    near("over the cap", summary.cap_violation_seconds, 30.0, 1e-9);
    near("over the cap", summary.cap_violation_joules, 30.0 * 25.0, 1e-9);
    assert!(summary.checks.energy_unaccounted_joules.abs() < 1e-6);
    let integral: f64 = outcome.points.iter().map(|point| point.power_watts * 10.0).sum();
    near("the integral of power", integral, summary.energy_joules, 1e-9);
}

#[test]
fn an_epoch_serves_what_it_can_and_refuses_the_rest() {
    let keys = "workload = { kind = \"constant\", rate_rps = 500 }";
    let head = "level = \"epoch\"\nspan_seconds = 95\nepoch_seconds = 10\n";
    let text = format!("{head}{}", model("m", keys, &[(4, 1, 10.0, 80.0)]));
    let summary = epoch_level::run(&plan(&text), &mut Fixed, 1, &mut |_| ()).summary;
    assert_eq!((summary.requests_total, summary.requests_completed), (47_500, 38_000));
    assert_eq!(summary.requests_rejected, 9500);
    near("energy", summary.energy_joules, 80.0 * 95.0, 1e-9);
}
