//! Plays every request: arrivals, queue, late batching, instances, service times, control ticks.
//!
//! ```text
//! arrival -> queue -> (an instance is free) batch -> played device -> completion -> latency
//! tick    -> power sample -> account -> (due?) observation -> policy -> knobs
//! ```
//! Events at one time go in the order: batches end, requests arrive, waits end, control ticks.

mod control;
mod model_state;
mod node;

use wattle_core::policy::Policy;

use crate::decisions::DecisionTold;
use crate::plan::Plan;
use crate::recorder::Point;
use crate::summary::Summary;
use crate::workload::WorkloadError;

/// What a run gives.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its figures.
    pub summary: Summary,
    /// Its time series.
    pub points: Vec<Point>,
    /// Decisions that turned something or had a new reason, the first of them up to a limit.
    pub decisions: Vec<DecisionTold>,
}

/// Runs `plan` with `policy` and `seed`, telling `progress` the share that is done.
///
/// # Errors
/// When a file of requests can't be read on.
pub fn run(
    plan: &Plan,
    policy: &mut dyn Policy,
    seed: u64,
    progress: &mut dyn FnMut(f64),
) -> Result<Outcome, WorkloadError> {
    node::Node::new(plan, seed)?.run(control::Control::new(plan, policy, seed), progress)
}
