//! One replay of fifteen minutes: which policy, how it plans, and what it came to.

use std::collections::BTreeMap;
use std::time::Duration;

use wattle_core::gating::Gating;
use wattle_core::knob::{ServingLimits, ServingSetting};
use wattle_core::played_device::PlayedDevice;
use wattle_core::policies::least_power_table::{
    Arrivals, FreeKnobs, LeastPowerOptions, LeastPowerTable, PowerAtLoad,
};
use wattle_core::policies::{self, PolicyOptions};
use wattle_core::profile::Profile;
use wattle_core::provenance::{Basis, Provenance};
use wattle_sim::foresight;
use wattle_sim::plan::{CarbonForecast, DevicePlan, ModelPlan, Plan, Spread, Stream, Target};
use wattle_sim::request_level::{self, Outcome};
use wattle_sim::scenario::Truth;
use wattle_sim::workload::{RateTrace, Source};

use super::broken;
use super::device::Board;
use crate::ReproduceError;

/// How often the load is looked at, and the control tick.
const POLL: Duration = Duration::from_millis(500);
/// Every knob: for the objective, which is of the full device whatever the policy turns.
const ALL_KNOBS: FreeKnobs = FreeKnobs { clock: true, units: true, batch_size: true, instances: true };

/// What the device draws between two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Between {
    /// All that is clocked and not gated: the clock is set and stays, as in the paper's power model.
    Clocked,
    /// What a device with nothing loaded draws, whatever the clock.
    Idle,
}

/// One replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Case {
    pub(super) policy: &'static str,
    /// What the profile that the policy plans with gates.
    pub(super) gating: Gating,
    /// The objective as a multiple of the base.
    pub(super) factor: f64,
    pub(super) arrivals: Arrivals,
    pub(super) between: Between,
    pub(super) batch_size_free: bool,
    /// The load looked up is the highest of so many half seconds; 1 in the paper.
    pub(super) peak_of_intervals: u32,
}

impl Case {
    /// The paper's setting: requests at even distances, a device that stays clocked, batch 1, the last half
    /// second looked up.
    pub(super) fn of(policy: &'static str, factor: f64) -> Self {
        Self {
            policy,
            gating: policies::gating_of(policy),
            factor,
            arrivals: Arrivals::Even,
            between: Between::Clocked,
            batch_size_free: false,
            peak_of_intervals: 1,
        }
    }

    fn options(&self) -> LeastPowerOptions {
        LeastPowerOptions {
            slo_factor: self.factor,
            // Under Poisson arrivals the wait of a busy device belongs to the base: else nothing keeps it.
            base_load: 0.95,
            arrivals: self.arrivals,
            batch_size_free: self.batch_size_free,
            power_at_load: match self.between {
                Between::Clocked => PowerAtLoad::Saturation,
                Between::Idle => PowerAtLoad::Utilisation,
            },
            peak_of_intervals: self.peak_of_intervals,
            interval_seconds: POLL.as_secs_f64(),
            ..LeastPowerOptions::default()
        }
    }
}

/// What a replay came to.
#[derive(Debug, Clone)]
pub(super) struct Replayed {
    /// Mean power if the device gated nothing, engines, or units.
    watts: [f64; 3],
    pub(super) slo_ms: f64,
    pub(super) p95_ms: f64,
    /// Share of answers later than the objective, in percent.
    pub(super) late_percent: f64,
    /// Requests that got no answer.
    pub(super) lost: u64,
    /// Seconds spent at each number of active units.
    pub(super) seconds_at_units: BTreeMap<u32, f64>,
}

impl Replayed {
    /// Mean power with `gating` on the device.
    pub(super) fn watts(&self, gating: Gating) -> f64 {
        let [ungated, by_engine, by_unit] = self.watts;
        match gating {
            Gating::None => ungated,
            Gating::ShaderEngine => by_engine,
            Gating::ComputeUnit => by_unit,
        }
    }
}

/// One workload on the board, ready to be replayed.
pub(super) struct Workload<'a> {
    pub(super) network: &'static str,
    board: &'a Board,
    /// Ungated, at batch 1.
    pub(super) profile: Profile,
    /// Ungated, at several batch sizes.
    batched: Profile,
    trace: &'a RateTrace,
}

impl<'a> Workload<'a> {
    pub(super) fn new(
        network: &'static str,
        board: &'a Board,
        trace: &'a RateTrace,
    ) -> Result<Self, ReproduceError> {
        let profile = board.profile(network, &[1])?;
        let batched = board.profile(network, &[1, 2, 4, 8])?;
        Ok(Self { network, board, profile, batched, trace })
    }

    fn ungated(&self, case: &Case) -> &Profile {
        if case.batch_size_free { &self.batched } else { &self.profile }
    }

    /// The table that `case` looks up, over all knobs.
    pub(super) fn table(&self, case: &Case) -> Result<LeastPowerTable, ReproduceError> {
        let gated = self.board.gated(self.ungated(case), case.gating)?;
        let free = FreeKnobs { batch_size: case.batch_size_free, instances: false, ..ALL_KNOBS };
        LeastPowerTable::build(&gated, free, &case.options(), None).map_err(broken)
    }

    /// The most requests per second at full clock with all units, one by one.
    pub(super) fn max_rps(&self) -> Result<f64, ReproduceError> {
        let full = self.profile.rows.iter().filter_map(|row| row.throughput_rps);
        full.reduce(f64::max).ok_or_else(|| broken("a profile without throughput"))
    }

    /// Latency of one request at full clock with all units, in milliseconds.
    pub(super) fn base_ms(&self) -> Result<f64, ReproduceError> {
        let full = self.profile.rows.iter().filter_map(|row| row.latency_ms_mean);
        full.reduce(f64::min).ok_or_else(|| broken("a profile without latency"))
    }

    /// Plays `case`.
    pub(super) fn replay(&self, case: &Case) -> Result<Replayed, ReproduceError> {
        let ungated = self.ungated(case);
        let planned = self.board.gated(ungated, case.gating)?;
        let played = match case.between {
            Between::Clocked => self.board.above_clocked(ungated)?,
            Between::Idle => planned.clone(),
        };
        let slo = objective(&self.profile, case)?;
        let mut plan = self.plan(case, &played, slo)?;
        plan.streams[0].source = Source::Rates {
            trace: self.trace.clone().times(self.max_rps()?),
            poisson: case.arrivals == Arrivals::Poisson,
        };
        let mut options = PolicyOptions {
            profiles: [(self.network.into(), planned)].into(),
            latency_objectives: [(self.network.into(), slo)].into(),
            least_power: case.options(),
            ..PolicyOptions::default()
        };
        // Larger batches raise the most that is sustained, and with it the steps of the table; here they stay.
        options.least_power.rps_step = Some(self.max_rps()? * options.least_power.rps_step_share);
        let seed = 1;
        if case.policy.starts_with("oracle-") {
            options.foresight = Some(foresight::of_requests(&plan, seed).map_err(broken)?);
        }
        let mut policy = policies::build(case.policy, &options).map_err(broken)?;
        let outcome = request_level::run(&plan, policy.as_mut(), seed, &mut |_| ()).map_err(broken)?;
        self.metered(case, slo, &outcome)
    }

    fn plan(&self, case: &Case, played: &Profile, slo: Duration) -> Result<Plan, ReproduceError> {
        let name = self.network.into();
        let device = PlayedDevice::new(&[(name, played.clone())].into()).map_err(broken)?;
        let span = Duration::from_secs_f64(self.trace.seconds());
        let largest = played.rows.iter().map(|row| row.point.batch_size).max().unwrap_or(1);
        let limits = ServingLimits { max_batch_size: largest, max_instances: 1, max_cores_per_instance: 1 };
        let setting = ServingSetting {
            batch_size: if case.batch_size_free { largest } else { 1 },
            instances: 1,
            cores_per_instance: 1,
            duty_cycle: 1.0,
            max_queue_delay: Duration::ZERO,
            max_queue_size: u32::MAX,
        };
        let model = ModelPlan {
            name: self.network.into(),
            device: 0,
            index: 0,
            setting,
            limits,
            spread: Spread::Constant,
            overhead: Duration::ZERO,
            timeout: None,
            objective: Some(slo),
            quality: None,
        };
        let device = DevicePlan {
            id: "amd-mi50".into(),
            played: device,
            truth: Truth::AS_PROFILED,
            provenance: Provenance::new(Basis::Modelled, "analytic model"),
            sensor_noise: 0.0,
        };
        Ok(Plan {
            span,
            step: POLL,
            devices: vec![device],
            models: vec![model],
            families: Vec::new(),
            streams: vec![Stream {
                target: Target::Model(0),
                source: Source::Saturated,
                rows: 1,
                priority: 1,
            }],
            power_cap: None,
            cap_horizon: Duration::ZERO,
            carbon_horizon: Duration::ZERO,
            carbon_forecast: CarbonForecast::Perfect,
            carbon_intensity: None,
            points: usize::MAX, // one each tick
        })
    }

    /// Adds the power of the clocked device to what batches added to it.
    ///
    /// Exact but for the time before the first point, in which the knobs are taken to be full.
    fn metered(&self, case: &Case, slo: Duration, outcome: &Outcome) -> Result<Replayed, ReproduceError> {
        let full = self.board.fully_clocked().ok_or_else(|| broken("a board without a full point"))?;
        let all = self.board.units.last().copied().unwrap_or(0);
        let (mut units, mut clocked, mut from) = (all, full, 0.0);
        let mut joules = [0.0; 3];
        let mut seconds_at_units = BTreeMap::new();
        for point in &outcome.points {
            let seconds = point.seconds - from;
            let watts = [clocked.ungated, clocked.by_engine, clocked.by_unit];
            joules.iter_mut().zip(watts).for_each(|(joules, watts)| *joules += watts * seconds);
            *seconds_at_units.entry(units).or_insert(0.0) += seconds;
            // A point tells where the knobs stand from then on.
            if let (Some(clock), Some(now)) = (point.core_clock_mhz, point.compute_units) {
                units = now;
                clocked =
                    self.board.clocked(clock, now).ok_or_else(|| broken("knobs off the board's grid"))?;
            }
            from = point.seconds;
        }
        let summary = &outcome.summary;
        let watts = match case.between {
            Between::Clocked => joules.map(|joules| (joules + summary.energy_joules) / summary.span_seconds),
            // Played gated, as it was planned.
            Between::Idle => [summary.power_watts_mean; 3],
        };
        let answered = summary.requests_completed.max(1) as f64;
        Ok(Replayed {
            watts,
            slo_ms: slo.as_secs_f64() * 1e3,
            p95_ms: summary.latency_ms_p95.ok_or_else(|| broken("a replay without an answer"))?,
            late_percent: summary.objective_misses as f64 / answered * 100.0,
            lost: summary.requests_total - summary.requests_completed - summary.requests_unfinished,
            seconds_at_units,
        })
    }
}

/// The objective of `case`: of the full device without gating and at batch 1, so the same for all policies.
fn objective(profile: &Profile, case: &Case) -> Result<Duration, ReproduceError> {
    let options = LeastPowerOptions { batch_size_free: false, ..case.options() };
    let free = FreeKnobs { batch_size: false, instances: false, ..ALL_KNOBS };
    Ok(LeastPowerTable::build(profile, free, &options, None).map_err(broken)?.slo())
}

/// What the profile and the table show without a replay.
impl Workload<'_> {
    /// The profile at batch 1 with `gating`.
    pub(super) fn gated(&self, gating: Gating) -> Result<Profile, ReproduceError> {
        self.board.gated(&self.profile, gating)
    }

    /// The clocks in MHz and the numbers of units of the board.
    pub(super) fn axes(&self) -> (Vec<f64>, Vec<f64>) {
        let clocks = self.board.clocks.iter().map(|clock| clock.get()).collect();
        (clocks, self.board.units.iter().copied().map(f64::from).collect())
    }

    /// Latency at the lowest clock with all units, in milliseconds.
    pub(super) fn slowest_ms(&self) -> Result<f64, ReproduceError> {
        let (lowest, all) = (self.board.clocks.first().copied(), self.board.units.last().copied());
        let row = self
            .profile
            .rows_where(|point| point.core_clock_mhz == lowest && point.compute_units == all)
            .next();
        row.and_then(|row| row.latency_ms_mean).ok_or_else(|| broken("no row at the lowest clock"))
    }

    /// Mean number of units over the lines of the table of `policy` that meet the usual objective.
    pub(super) fn mean_table_units(&self, policy: &'static str) -> Result<f64, ReproduceError> {
        let table = self.table(&Case::of(policy, super::USUAL))?;
        let chosen = table.rows().iter().filter(|row| row.meets_slo && row.rps > 0.0);
        let units: Vec<f64> = chosen.filter_map(|row| row.compute_units.map(f64::from)).collect();
        Ok(units.iter().sum::<f64>() / units.len() as f64)
    }

    /// Power at full clock, gated by engine less gated by unit, in percent of the first: the mean over the
    /// numbers of units.
    pub(super) fn unit_over_engine_percent(&self) -> Result<f64, ReproduceError> {
        let by_engine = self.gated(Gating::ShaderEngine)?;
        let by_unit = self.gated(Gating::ComputeUnit)?;
        let full = self.board.clocks.last().copied();
        let pairs = by_engine.rows.iter().zip(&by_unit.rows);
        let saved: Vec<f64> = pairs
            .filter(|(row, _)| row.point.core_clock_mhz == full)
            .filter_map(|(engine, unit)| {
                Some((1.0 - unit.power_watts_mean? / engine.power_watts_mean?) * 100.0)
            })
            .collect();
        Ok(saved.iter().sum::<f64>() / saved.len() as f64)
    }
}
