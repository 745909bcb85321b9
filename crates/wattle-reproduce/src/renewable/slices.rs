//! Inception-V3 over the solar trace in detail: loose and tight caps, and decisions for several hours.

use wattle_core::policies::cap_handling::CapHandlingMode;

use super::year::play;
use super::{APPROACHES, BATCHING, COMBINATION, FIGURE, broken, loaded, policy_options};
use crate::ReproduceError;
use crate::traces::{PowerTrace, STEP, mean};

/// Hours for which one decision stands.
pub(super) const SLICE_HOURS: [u32; 4] = [1, 3, 6, 24];

/// What is seen in detail.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Detail {
    /// Images per second of each hour, by approach.
    pub(super) rps: Vec<Vec<f64>>,
    /// Gain of Combination over Batching in percent, in the quarter of the hours of lowest caps and in
    /// that of highest.
    pub(super) gain_tight: Option<f64>,
    /// See [`gain_tight`](Self::gain_tight).
    pub(super) gain_loose: Option<f64>,
    /// Of decisions that stand for [`SLICE_HOURS`].
    pub(super) slices: Vec<Slice>,
}

/// Decisions that stand for some hours, whatever the cap does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slice {
    /// Throughput over that of hourly decisions.
    pub(super) throughput_ratio: f64,
    /// Energy above the cap over all energy.
    pub(super) over_cap_share: f64,
}

/// Runs the network of Fig. 5 on `trace`.
pub(super) fn run(trace: &PowerTrace) -> Result<Detail, ReproduceError> {
    let loaded = loaded("inception_v3", "epoch", "")?;
    let options = policy_options(&loaded, FIGURE);
    let mut rps = Vec::new();
    for approach in &APPROACHES[..=COMBINATION] {
        let cap = trace.signal(STEP).map_err(broken)?;
        let outcome = play(&loaded.plan, &options, approach, cap, trace, trace.watts.len())?;
        rps.push(outcome.points.iter().map(|point| point.throughput_rps).collect::<Vec<f64>>());
    }
    let mut order: Vec<usize> = (0..trace.watts.len()).collect();
    order.sort_by(|a, b| trace.watts[*a].total_cmp(&trace.watts[*b]));
    let quarter = order.len().div_ceil(4);
    let gain = |hours: &[usize]| {
        let mean_of = |approach: usize| {
            let values = hours.iter().filter_map(|hour| rps[approach].get(*hour).copied());
            mean(&values.collect::<Vec<f64>>())
        };
        let (combination, batching) = (mean_of(COMBINATION), mean_of(BATCHING));
        (batching > 0.0).then(|| (combination / batching - 1.0) * 100.0)
    };
    let (gain_tight, gain_loose) = (gain(&order[..quarter]), gain(&order[order.len() - quarter..]));

    let mut slices: Vec<Slice> = Vec::new();
    let mut hourly = None;
    for hours in SLICE_HOURS {
        let mut options = options.clone();
        options.cap_handling.mode = CapHandlingMode::None;
        options.cap_handling.time_slice_seconds = (STEP * hours).as_secs_f64();
        let cap = trace.signal(STEP).map_err(broken)?;
        let of = play(&loaded.plan, &options, APPROACHES[COMBINATION], cap, trace, 1)?.summary;
        let best = *hourly.get_or_insert(of.throughput_rps_mean);
        slices.push(Slice {
            throughput_ratio: of.throughput_rps_mean / best,
            over_cap_share: of.cap_violation_joules / of.energy_joules,
        });
    }
    Ok(Detail { rps, gain_tight, gain_loose, slices })
}
