//! CoFRIS: clock and compute units together under a bound on the tail latency.
//!
//! "CoFRIS: Coordinated Frequency and Resource Scaling for GPU Inference Servers" (Chow, Wong). Its eight
//! workloads on an AMD MI50 by the analytic model, its policies on the server's own code, fifteen minutes
//! request by request. Savings by power gating are modelled, as they are in the paper; what is left of
//! them on a board that gates nothing stands beside them.
//!
//! ```text
//! profile (9 clocks x 60 units) ── gated in a model ──> the policy plans with it
//!        └─ what a batch adds to the clocked device ──> played, request by request
//! power = that + power of all that is clocked, read three ways: nothing, engines, units gated
//! ```

mod device;
mod replay;
mod rows;
#[cfg(test)]
mod tests;
mod trace;

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};

use wattle_core::gating::Gating;
use wattle_core::policies::least_power_table::{Arrivals, LeastPowerOptions};
use wattle_sim::experiment::in_parallel;

use crate::{Options, Reproduction, ReproduceError};
use device::{Board, NETWORKS};
use replay::{Between, Case, Replayed, Workload};
use rows::{Results, WorkloadResults};
use trace::LoadTrace;

/// The policies that the paper compares with its baseline, in its order.
const POLICIES: [&str; 5] =
    ["frequency-scaling", "resource-scaling-se", "resource-scaling-cu", "cofris-se", "cofris-cu"];
/// Objectives as multiples of the base; the last is the paper's usual one.
const FACTORS: [f64; 3] = [1.25, 1.5, 2.0];
/// The paper's usual objective.
const USUAL: f64 = 2.0;

/// A defect of Wattle: something bundled doesn't hold together.
fn broken(cause: impl Display) -> ReproduceError {
    ReproduceError::Broken { name: "cofris", cause: cause.to_string() }
}

/// How much is run: all of it, or a part for tests.
struct Scale {
    networks: Vec<&'static str>,
    /// Numbers of compute units to choose from; all if empty.
    units: Vec<u32>,
    seconds: f64,
}

impl Scale {
    fn full() -> Self {
        Self { networks: NETWORKS.to_vec(), units: Vec::new(), seconds: trace::SPAN_SECONDS }
    }
}

/// Runs the experiment.
///
/// # Errors
/// When a file of the user's data can't be used.
pub fn run(options: &Options, progress: &(dyn Fn(f64) + Sync)) -> Result<Reproduction, ReproduceError> {
    run_at(&Scale::full(), options, progress)
}

fn run_at(
    scale: &Scale,
    options: &Options,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Reproduction, ReproduceError> {
    let trace = LoadTrace::of(options.data.as_deref())?.first(scale.seconds);
    let board = Board::new(&scale.units)?;
    let cases = cases();
    let workloads: Vec<Workload<'_>> = scale
        .networks
        .iter()
        .map(|network| Workload::new(network, &board, &trace.rates))
        .collect::<Result<_, _>>()?;
    let done = AtomicUsize::new(0);
    let runs = workloads.len() * cases.len();
    let replays: Vec<Replayed> = in_parallel(options.threads, runs, |index| {
        let replayed = workloads[index / cases.len()].replay(&cases[index % cases.len()])?;
        progress((done.fetch_add(1, Ordering::Relaxed) + 1) as f64 / runs as f64);
        Ok::<_, ReproduceError>(replayed)
    })?;
    let each = workloads.iter().zip(replays.chunks(cases.len()));
    let workloads = each.map(|(workload, replays)| {
        let replays = cases.iter().copied().zip(replays.iter().cloned()).collect();
        WorkloadResults::new(workload, replays)
    });
    let results = Results { workloads: workloads.collect::<Result<_, _>>()?, trace: &trace };
    rows::reproduction(&results)
}

/// Every replay of one workload.
fn cases() -> Vec<Case> {
    let mut cases = vec![baseline()];
    cases.extend(FACTORS.iter().flat_map(|factor| POLICIES.map(|policy| Case::of(policy, *factor))));
    cases.extend(FACTORS.iter().flat_map(|factor| POLICIES.map(|policy| carefully(policy, *factor))));
    cases.extend([oracle(), without_gating(), with_batches(), with_batches_and_deep_idle()]);
    cases.extend(["fixed"].into_iter().chain(POLICIES).map(with_poisson));
    cases.extend(["fixed"].into_iter().chain(POLICIES).map(with_deep_idle));
    cases
}

fn baseline() -> Case {
    Case::of("fixed", USUAL)
}

/// What perfect foresight of the load would make of gating by unit.
fn oracle() -> Case {
    Case { gating: Gating::ComputeUnit, ..Case::of("oracle-least-power", USUAL) }
}

/// The policy on a board as it is: it plans without gating.
fn without_gating() -> Case {
    Case { gating: Gating::None, ..Case::of("cofris-cu", USUAL) }
}

/// The batch size is free too.
fn with_batches() -> Case {
    Case { batch_size_free: true, ..Case::of("cofris-cu", USUAL) }
}

fn with_batches_and_deep_idle() -> Case {
    Case { batch_size_free: true, ..with_deep_idle("cofris-cu") }
}

/// Wattle's own defaults: the load looked up is the highest of the last intervals.
fn carefully(policy: &'static str, factor: f64) -> Case {
    let peak_of_intervals = LeastPowerOptions::default().peak_of_intervals;
    Case { peak_of_intervals, ..Case::of(policy, factor) }
}

/// Requests come independently of each other.
fn with_poisson(policy: &'static str) -> Case {
    Case { arrivals: Arrivals::Poisson, ..carefully(policy, USUAL) }
}

/// The device falls to idle power between two requests.
fn with_deep_idle(policy: &'static str) -> Case {
    Case { between: Between::Idle, ..Case::of(policy, USUAL) }
}
