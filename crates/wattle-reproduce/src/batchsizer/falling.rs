//! A cap that falls and rises again: the algorithm as printed and the one that recovers.

use std::time::Duration;

use wattle_core::signal::{AfterEnd, Signal, Trace};
use wattle_sim::experiment::in_parallel;

use super::jobs::NETWORKS;
use super::{Scale, broken, is_at_top_clock, loaded, play, rows_where};
use crate::ReproduceError;

/// The caps in watts, one after the other.
pub(super) const CAPS_WATTS: [f64; 3] = [200.0, 95.0, 200.0];
/// The search as printed, the recovering one, and the best of the same knob.
pub(super) const POLICIES: [&str; 3] = ["batch-sizer-printed", "batch-sizer", "oracle-under-cap"];

/// What one network shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recovery {
    pub(super) network: &'static str,
    /// Images per second before the cap falls and after it rose, by policy.
    pub(super) before: [f64; 3],
    /// See [`before`](Self::before).
    pub(super) after: [f64; 3],
    /// Batch limit of each second, by policy.
    pub(super) batch_sizes: [Vec<f64>; 3],
}

/// Runs all networks.
pub(super) fn run(scale: &Scale, threads: usize) -> Result<Vec<Recovery>, ReproduceError> {
    in_parallel(threads, scale.networks.min(NETWORKS.len()), |index| {
        let network = NETWORKS[index];
        let mut loaded = loaded(network)?;
        let phase = Duration::from_secs_f64(scale.cap_seconds);
        loaded.plan.span = phase * 3;
        loaded.plan.points = loaded.plan.span.as_secs() as usize;
        let points = (0u32..).zip(CAPS_WATTS).map(|(step, watts)| (phase * step, watts)).collect();
        let cap = Signal::Trace(Trace::new(points, AfterEnd::Hold).map_err(broken)?);
        let mut recovery =
            Recovery { network, before: [0.0; 3], after: [0.0; 3], batch_sizes: [const { Vec::new() }; 3] };
        for (index, policy) in POLICIES.iter().enumerate() {
            let profiles = rows_where(&loaded, is_at_top_clock);
            let outcome = play(&loaded.plan, policy, profiles, cap.clone())?;
            // The second half of a phase: a search has settled by then.
            let mean_in = |phase_index: f64| {
                let from = scale.cap_seconds * (phase_index + 0.5);
                let to = scale.cap_seconds * (phase_index + 1.0);
                let within =
                    outcome.points.iter().filter(|point| point.seconds > from && point.seconds <= to);
                let rps: Vec<f64> = within.map(|point| point.throughput_rps).collect();
                crate::traces::mean(&rps)
            };
            (recovery.before[index], recovery.after[index]) = (mean_in(0.0), mean_in(2.0));
            let sizes = outcome.points.iter().map(|point| f64::from(point.batch_size));
            recovery.batch_sizes[index] = sizes.collect();
        }
        Ok(recovery)
    })
}
