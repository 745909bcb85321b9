//! The year by the hour: every network on every trace by every approach.

use wattle_core::foresight::Foresight;
use wattle_core::policies::{self, PolicyOptions};
use wattle_core::profile::PowerFigure;
use wattle_core::signal::Signal;
use wattle_sim::epoch_level;
use wattle_sim::experiment::in_parallel;
use wattle_sim::plan::Plan;
use wattle_sim::request_level::Outcome;

use super::{APPROACHES, FIGURE, MOST_INSTANCES, Scale, broken, loaded, policy_options};
use crate::ReproduceError;
use crate::traces::{MAX_WATTS, PowerTrace, STEP};

/// What one approach makes of one network on one trace.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cell {
    /// Mean throughput in images per second, parked hours included.
    pub(super) rps: f64,
    /// Share of the hours in which no point fitted.
    pub(super) parked_share: f64,
    /// Energy above the cap beyond what the idle device draws.
    pub(super) over_cap_joules: f64,
    /// Power of the idle device in watts.
    pub(super) idle_watts: f64,
}

/// By network, trace and approach.
pub(super) type Year = Vec<Vec<[Cell; APPROACHES.len()]>>;

/// Runs the year of every network, with rows that fit by `figure`.
pub(super) fn run(
    scale: &Scale,
    traces: &[&PowerTrace],
    figure: PowerFigure,
    threads: usize,
) -> Result<Year, ReproduceError> {
    in_parallel(threads, scale.networks.len(), |index| {
        let loaded = loaded(scale.networks[index], "epoch", "")?;
        let options = policy_options(&loaded, figure);
        traces.iter().map(|trace| of_trace(&loaded.plan, &options, trace)).collect()
    })
}

fn of_trace(
    plan: &Plan,
    options: &PolicyOptions,
    trace: &PowerTrace,
) -> Result<[Cell; APPROACHES.len()], ReproduceError> {
    let mut cells = [Cell::default(); APPROACHES.len()];
    let idle: f64 = plan.devices.iter().map(|device| device.played.idle_power().get()).sum();
    let idle_over = |watts: &f64| (idle - watts).max(0.0) * STEP.as_secs_f64();
    let idle_over: f64 = trace.watts.iter().map(idle_over).sum();
    for (cell, approach) in cells.iter_mut().zip(APPROACHES) {
        let cap = trace.signal(STEP).map_err(broken)?;
        let summary = play(plan, options, approach, cap, trace, 1)?.summary;
        *cell = Cell {
            rps: summary.throughput_rps_mean,
            parked_share: summary.parked_seconds / summary.span_seconds,
            over_cap_joules: summary.cap_violation_joules - idle_over,
            idle_watts: idle,
        };
    }
    Ok(cells)
}

/// Runs `plan` by `approach` under `cap`, for as long as `trace` is, with `points` of a time series.
pub(super) fn play(
    plan: &Plan,
    options: &PolicyOptions,
    approach: &str,
    cap: Signal,
    trace: &PowerTrace,
    points: usize,
) -> Result<Outcome, ReproduceError> {
    let mut plan = plan.clone();
    plan.span = trace.span();
    plan.points = points;
    plan.power_cap = Some(cap.clone());
    let mut options = options.clone();
    options.foresight = Some(Foresight { power_cap: Some(cap), ..Foresight::default() });
    let mut policy = policies::build(approach, &options).map_err(broken)?;
    Ok(epoch_level::run(&plan, policy.as_mut(), super::SEED, &mut |_| ()))
}

/// MobileNet-V1 under a cap that never limits: section 2.2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SinglePoints {
    /// Images per second, by approach.
    pub(super) rps: [f64; APPROACHES.len()],
    /// Mean power in watts, by approach.
    pub(super) watts: [f64; APPROACHES.len()],
    /// Instances that fit the memory.
    pub(super) most_instances: u32,
}

/// Runs MobileNet-V1 at the device's maximum power.
pub(super) fn single_points() -> Result<SinglePoints, ReproduceError> {
    let loaded = loaded("mobilenet_v1", "epoch", "")?;
    let options = policy_options(&loaded, FIGURE);
    let rows = loaded.profiles.values().flat_map(|profile| &profile.rows);
    let most_instances = rows.map(|row| row.point.instances).max().unwrap_or(MOST_INSTANCES);
    let mut points = SinglePoints { rps: [0.0; 4], watts: [0.0; 4], most_instances };
    for (index, approach) in APPROACHES.iter().enumerate() {
        let hour = PowerTrace {
            source: crate::traces::Source::Solar,
            watts: vec![MAX_WATTS],
            basis: wattle_core::provenance::Basis::Assumed,
            rests_on: String::new(),
            why: "",
        };
        let cap = Signal::Constant(MAX_WATTS);
        let summary = play(&loaded.plan, &options, approach, cap, &hour, 1)?.summary;
        points.rps[index] = summary.throughput_rps_mean;
        points.watts[index] = summary.power_watts_mean;
    }
    Ok(points)
}
