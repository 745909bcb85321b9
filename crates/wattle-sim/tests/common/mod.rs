//! Runs of scenarios that stand in the test itself.

use std::path::Path;

use wattle_core::policies::fixed::Fixed;
use wattle_core::policy::Policy;
use wattle_sim::plan::Plan;
use wattle_sim::request_level::{self, Outcome};
use wattle_sim::scenario::Loaded;
use wattle_sim::summary::Summary;

/// The run that `text` tells.
pub(crate) fn plan(text: &str) -> Plan {
    Loaded::parse(text, "test.toml", Path::new("")).unwrap_or_else(|error| panic!("{error}\n{text}")).plan
}

/// Plays every request of `plan` under `policy`, and checks what must hold in any run.
pub(crate) fn play(plan: &Plan, policy: &mut dyn Policy, seed: u64) -> Outcome {
    let outcome = request_level::run(plan, policy, seed, &mut |_| ()).unwrap();
    keeps_its_books(&outcome);
    outcome
}

/// The figures of `text` with knobs that stay as they are.
#[allow(dead_code, reason = "not every test file plays with fixed knobs")]
pub(crate) fn fixed(text: &str, seed: u64) -> Summary {
    play(&plan(text), &mut Fixed, seed).summary
}

/// No request is lost, Little's law holds, and energy is the integral of power, attributed in full.
pub(crate) fn keeps_its_books(outcome: &Outcome) {
    let summary = &outcome.summary;
    let checks = &summary.checks;
    assert_eq!(checks.requests_lost, Some(0));
    let (l, lambda_w) = (checks.in_system_mean.unwrap(), checks.arrivals_times_latency.unwrap());
    assert!((l - lambda_w).abs() <= 1e-6 * l.max(1e-6), "L = {l}, lambda W = {lambda_w}");
    let mut before = 0.0;
    let integral = outcome.points.iter().map(|point| {
        let seconds = point.seconds - std::mem::replace(&mut before, point.seconds);
        point.power_watts * seconds
    });
    near("the integral of power", integral.sum(), summary.energy_joules, 1e-9);
    near(
        "mean power times span",
        summary.power_watts_mean * summary.span_seconds,
        summary.energy_joules,
        1e-9,
    );
    let unaccounted = checks.energy_unaccounted_joules;
    assert!(unaccounted.abs() <= 1e-9 * summary.energy_joules.max(1.0), "{unaccounted} J in nobody's name");
    let by_model: f64 = summary.models.values().map(|model| model.energy_joules).sum();
    assert!(by_model <= summary.energy_joules * (1.0 + 1e-9));
}

/// Checks that `found` is within the share `by` of `wanted`.
#[track_caller]
pub(crate) fn near(what: &str, found: f64, wanted: f64, by: f64) {
    assert!(
        (found - wanted).abs() <= by * wanted.abs(),
        "{what}: {found}, expected {wanted}: {:+.3} %",
        (found / wanted - 1.0) * 100.0
    );
}
