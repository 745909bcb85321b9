//! Caps handled at request level: at each slice of time, when a change is seen, or before.
//!
//! The wind trace runs fast: a step of the trace is a minute, not an hour. What a violation costs at
//! each fall of the cap is the same as at full length, and falls come sixty times as often.

use std::time::Duration;

use wattle_core::foresight::Foresight;
use wattle_core::policies::cap_handling::{CapForecast, CapHandlingMode, CapHandlingOptions};
use wattle_core::policies::{self};
use wattle_core::profile::PowerFigure;
use wattle_sim::experiment::in_parallel;
use wattle_sim::request_level;

use super::{APPROACHES, COMBINATION, ORACLE, SEED, Scale, broken, loaded, policy_options};
use crate::ReproduceError;
use crate::traces::PowerTrace;

/// Standard deviation of a power sample's error, as a share: a reading of nvidia-smi is good to within
/// 5 W, some 1.5 % of a full RTX 3090.
pub(super) const SENSOR_NOISE: f64 = 0.01;
/// The network that is played.
pub(super) const NETWORK: &str = "inception_v3";
/// How its batch times spread.
const SPREAD: &str = "spread = \"lognormal\"\nvariation = 0.05";

/// One way to handle the cap.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Way {
    /// Its name.
    pub(super) name: &'static str,
    /// The policy.
    policy: &'static str,
    mode: CapHandlingMode,
    forecast: CapForecast,
    /// Steps of the trace for which a decision stands, for the mode `none`.
    slice_steps: u32,
    /// Which power of a row has to fit.
    figure: PowerFigure,
}

/// The ways that are compared.
pub(super) const WAYS: [Way; 9] = [
    way("none, each step", CapHandlingMode::None, CapForecast::Driver, 1),
    way("none, every 6 steps", CapHandlingMode::None, CapForecast::Driver, 6),
    way("reactive", CapHandlingMode::Reactive, CapForecast::Driver, 1),
    way("proactive", CapHandlingMode::Proactive, CapForecast::Driver, 1),
    way("proactive, by the trend", CapHandlingMode::Proactive, CapForecast::Trend, 1),
    Way { policy: APPROACHES[ORACLE], ..way("oracle", CapHandlingMode::Reactive, CapForecast::Driver, 1) },
    by_mean(way("none, each step, by mean power", CapHandlingMode::None, CapForecast::Driver, 1)),
    by_mean(way("reactive, by mean power", CapHandlingMode::Reactive, CapForecast::Driver, 1)),
    by_mean(way("proactive, by mean power", CapHandlingMode::Proactive, CapForecast::Driver, 1)),
];
pub(super) const REACTIVE: usize = 2;
pub(super) const PROACTIVE: usize = 3;
pub(super) const ORACLE_WAY: usize = 5;

const fn way(name: &'static str, mode: CapHandlingMode, forecast: CapForecast, slice_steps: u32) -> Way {
    Way { name, policy: APPROACHES[COMBINATION], mode, forecast, slice_steps, figure: PowerFigure::Max }
}

const fn by_mean(way: Way) -> Way {
    Way { figure: PowerFigure::Mean, ..way }
}

/// What a way gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Handled {
    /// Images per second.
    pub(super) rps: f64,
    /// Energy above the cap in joules.
    pub(super) over_cap_joules: f64,
    /// All energy in joules.
    pub(super) joules: f64,
    /// Share of time over the cap.
    pub(super) over_cap_share: f64,
}

/// Plays the first steps of `trace` in each of [`WAYS`].
pub(super) fn run(scale: &Scale, trace: &PowerTrace, threads: usize) -> Result<Vec<Handled>, ReproduceError> {
    let trace = trace.clone().first(scale.steps);
    let loaded = loaded(NETWORK, "request", SPREAD)?;
    let cap = trace.signal(scale.step).map_err(broken)?;
    let mut plan = loaded.plan.clone();
    plan.span = scale.step * u32::try_from(trace.watts.len()).unwrap_or(u32::MAX);
    plan.points = 1;
    plan.power_cap = Some(cap.clone());
    // What a schedule tells: the caps of the next two steps.
    plan.cap_horizon = scale.step * 2;
    in_parallel(threads, WAYS.len(), |index| {
        let way = &WAYS[index];
        let mut options = policy_options(&loaded, way.figure);
        options.foresight = Some(Foresight { power_cap: Some(cap.clone()), ..Foresight::default() });
        options.cap_handling = CapHandlingOptions {
            mode: way.mode,
            forecast: way.forecast,
            time_slice_seconds: (scale.step * way.slice_steps).as_secs_f64(),
            ..CapHandlingOptions::default()
        };
        let mut policy = policies::build(way.policy, &options).map_err(broken)?;
        let outcome = request_level::run(&plan, policy.as_mut(), SEED, &mut |_| ()).map_err(broken)?;
        let of = outcome.summary;
        Ok(Handled {
            rps: of.throughput_rps_mean,
            over_cap_joules: of.cap_violation_joules,
            joules: of.energy_joules,
            over_cap_share: of.cap_violation_seconds / of.span_seconds,
        })
    })
}

/// How long a step of the trace is, in words.
pub(super) fn told(step: Duration) -> String {
    format!("steps of {} s in place of an hour", step.as_secs_f64())
}
