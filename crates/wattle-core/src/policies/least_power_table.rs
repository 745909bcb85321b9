//! The table of CoFRIS: for each load, the setting of least power that keeps the tail latency.
//!
//! After "CoFRIS: Coordinated Frequency and Resource Scaling for GPU Inference Servers" (Chow, Wong).
//! Offline, for each step of load from none to the most that the device sustains at full clock with
//! all compute units, the clock and the number of units of least power that sustain the load and keep
//! the tail latency within the objective. Added here: the batch size as one more free knob, and
//! several models on one device.
//!
//! Measured and modelled. The paper measures power and tail latency at every load. A profile has them
//! at saturation only, so both are modelled at lower loads: see [`PowerAtLoad`] and [`Arrivals`].
//!
//! The objective. The paper's is a factor times the tail latency at full clock and all units. That
//! tail is the profile's here, in which nothing waits in a queue. Under Poisson arrivals, one by one,
//! twice that holds up to about an eighth of the full load only, on the full device too: above, the
//! device stays at full. Who bears longer tails for less power gives an objective in seconds, which
//! takes the factor's place, or has the wait at some load be part of the base: see
//! [`LeastPowerOptions::base_load`].

mod candidate;
mod joint;
mod loads;
mod scaler;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::PolicyError;
use crate::operating_point::{OperatingPoint, ProfileRow};
use crate::profile::Profile;
use crate::units::{Megahertz, Watts};
pub(super) use candidate::{Candidate, DevicePoint};
pub(super) use joint::{Applier, Load, Plan, Reach, full, full_device, least_power, tables_of};
pub use scaler::LeastPower;

/// How arrivals are taken to come, for the wait in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// As a Poisson process: M/D/1, and a bound on it for batches (see [`crate::queueing`]).
    #[default]
    Poisson,
    /// Evenly: nothing waits as long as the load is sustained, but for the batch in service. The tail
    /// is then that of the row alone, as in the paper's maps of latency.
    Even,
}

/// How power at a load below saturation is derived from a row of a profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerAtLoad {
    /// Idle power, and the row's power above it for the share of time that is busy. Where idle power
    /// is unknown: as [`Saturation`](Self::Saturation).
    #[default]
    Utilisation,
    /// The row's power whatever the load: never too low.
    Saturation,
}

/// Which knobs a table may turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeKnobs {
    /// The core clock; else it stays at its highest profiled value.
    pub clock: bool,
    /// The compute units in use; else all of them.
    pub units: bool,
    /// The largest batch; else [`LeastPowerOptions::batch_size`].
    pub batch_size: bool,
    /// Instances side by side; else one.
    pub instances: bool,
}

/// What can be set about the table and the policies that look it up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeastPowerOptions {
    /// Objective on the tail latency, as a factor of the base. At least 1.
    pub slo_factor: f64,
    /// The load, as a share of the most rows per second at full clock and all units, at which the
    /// base of the objective is taken. Zero: the tail of the profile alone. Else the wait at that load
    /// is part of the base, and long near the most: at 0.95 under Poisson arrivals, one by one, the
    /// base is 46 service times. In 0 to `headroom`.
    pub base_load: f64,
    /// A point sustains loads up to this share of its capacity. In (0, 1].
    pub headroom: f64,
    /// Steps of the table, as a share of the most rows per second. In (0, 1].
    pub rps_step_share: f64,
    /// Steps of the table in rows per second, in place of the share.
    pub rps_step: Option<f64>,
    /// The batch size, where it is not free. The paper's is 1.
    pub batch_size: u32,
    /// Whether the batch size is free too. Not so in the paper.
    pub batch_size_free: bool,
    /// How arrivals are taken to come.
    pub arrivals: Arrivals,
    /// How power at a load is derived.
    pub power_at_load: PowerAtLoad,
    /// Seconds between two looks at the load.
    pub interval_seconds: f64,
    /// The load that is looked up is the highest of so many intervals. 1: the last one as it is, as
    /// in the paper.
    pub peak_of_intervals: u32,
    /// So many intervals in a row must allow less power before it goes down. 1: at once, as in the
    /// paper. It always goes up at once.
    pub down_after_intervals: u32,
}

impl Default for LeastPowerOptions {
    fn default() -> Self {
        Self {
            slo_factor: 2.0,
            base_load: 0.0,
            headroom: 0.95,
            rps_step_share: 0.05,
            rps_step: None,
            batch_size: 1,
            batch_size_free: false,
            arrivals: Arrivals::Poisson,
            power_at_load: PowerAtLoad::Utilisation,
            interval_seconds: 0.5,
            peak_of_intervals: 4,
            down_after_intervals: 1,
        }
    }
}

impl LeastPowerOptions {
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let number = |option, found: f64, lawful: bool, expected| {
            let error = PolicyError::Option { option, found: found.to_string(), expected };
            if lawful { Ok(()) } else { Err(error) }
        };
        let within = |found: f64| found > 0.0 && found <= 1.0;
        let finite = |found: f64, low: f64| found.is_finite() && found >= low;
        number("slo_factor", self.slo_factor, finite(self.slo_factor, 1.0), "a number of at least 1")?;
        let headroom = self.headroom;
        number("headroom", headroom, within(headroom), "a number over 0 and at most 1")?;
        let is_base = (0.0..=headroom).contains(&self.base_load);
        number("base_load", self.base_load, is_base, "a number in 0 to headroom")?;
        // Finer steps than these make a table of no more use, and a very long one.
        let share = self.rps_step_share;
        number("rps_step_share", share, within(share) && share >= 1e-4, "a number in 0.0001 to 1")?;
        if let Some(step) = self.rps_step {
            number("rps_step", step, step.is_finite() && step > 0.0, "rows per second as a number over 0")?;
        }
        let seconds = self.interval_seconds;
        number(
            "interval_seconds",
            seconds,
            seconds.is_finite() && seconds > 0.0,
            "seconds as a number over 0",
        )?;
        for (option, found) in [
            ("batch_size", self.batch_size),
            ("peak_of_intervals", self.peak_of_intervals),
            ("down_after_intervals", self.down_after_intervals),
        ] {
            number(option, f64::from(found), found >= 1, "a whole number of at least 1")?;
        }
        Ok(())
    }
}

/// A profile that no table can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The profile has no row for the base of the objective.
    #[error(
        "the profile has no row with throughput, latency and power at batch size {batch_size}, one instance, \
         the highest core_clock_mhz and the most compute_units; profile that point too, or set batch_size to \
         one that is profiled"
    )]
    NoFullRow {
        /// The batch size asked for.
        batch_size: u32,
    },
    /// The profile has one value only of each knob that is free.
    #[error(
        "the profile has one point only of the knobs that are free; profile more clocks or compute units"
    )]
    NothingToChoose,
}

/// One line of the table: what to set at a load, and what the profile leads to expect.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableRow {
    /// Rows per second.
    pub rps: f64,
    /// Core clock; `None`: not profiled, left alone.
    pub core_clock_mhz: Option<Megahertz>,
    /// Compute units in use; `None`: not profiled, left alone.
    pub compute_units: Option<u32>,
    /// The largest batch.
    pub batch_size: u32,
    /// Instances side by side.
    pub instances: u32,
    /// Power of the device at this load (modelled).
    pub predicted_watts: Watts,
    /// Tail latency at this load in milliseconds (modelled); `None` where the load is not sustained.
    pub predicted_tail_ms: Option<f64>,
    /// Whether the load is sustained within the objective. If not, this is the full setting.
    pub meets_slo: bool,
}

/// For each load the setting of least power, for one model on one device.
#[derive(Debug, Clone)]
pub struct LeastPowerTable {
    slo_seconds: f64,
    step_rps: f64,
    max_rps: f64,
    idle: Option<Watts>,
    full_point: DevicePoint,
    full: Candidate,
    candidates: BTreeMap<DevicePoint, Vec<Candidate>>,
    rows: Vec<TableRow>,
}

impl LeastPowerTable {
    /// The table of `profile` over the knobs in `free`, whose power figures are taken as they are
    /// (gated or not). `objective` bounds the tail latency in place of the factor.
    ///
    /// Rows with a partition, a variant or a duty cycle below 1 are passed over, and so are rows
    /// without throughput, power or the tail figure: the highest percentile of latency that the base
    /// row has, or its mean.
    pub fn build(
        profile: &Profile,
        free: FreeKnobs,
        options: &LeastPowerOptions,
        objective: Option<Duration>,
    ) -> Result<Self, TableError> {
        let usable: Vec<&ProfileRow> = profile.rows_where(plain).collect();
        let full_point = DevicePoint {
            clock: usable.iter().filter_map(|row| row.point.core_clock_mhz).reduce(Megahertz::max),
            units: usable.iter().filter_map(|row| row.point.compute_units).max(),
        };
        let no_full_row = TableError::NoFullRow { batch_size: options.batch_size };
        let is_base = |row: &&&ProfileRow| {
            row.point.batch_size == options.batch_size
                && row.point.instances == 1
                && DevicePoint::of(&row.point) == full_point
        };
        let base = usable.iter().find(is_base).ok_or_else(|| no_full_row.clone())?;
        let tail = candidate::TailFigure::of(base).ok_or_else(|| no_full_row.clone())?;
        let idle = profile.head.idle_power_watts;
        let maker = candidate::Maker { rows: &usable, tail, idle, options };
        let base = maker.make(base).ok_or_else(|| no_full_row.clone())?;
        let base_tail = base.tail_at(options.base_load * base.capacity_rps, options.arrivals);
        let slo_seconds = match objective {
            Some(objective) => objective.as_secs_f64(),
            None => base_tail.ok_or_else(|| no_full_row.clone())? * options.slo_factor,
        };

        let mut candidates: BTreeMap<DevicePoint, Vec<Candidate>> = BTreeMap::new();
        for row in &usable {
            let device = DevicePoint::of(&row.point);
            let allowed = (free.clock || device.clock == full_point.clock)
                && (free.units || device.units == full_point.units)
                && (free.batch_size || row.point.batch_size == options.batch_size)
                && (free.instances || row.point.instances == 1);
            // A point that leaves alone what others set is not known well enough.
            let whole = device.clock.is_some() == full_point.clock.is_some()
                && device.units.is_some() == full_point.units.is_some();
            if let Some(mut candidate) = maker.make(row).filter(|_| allowed && whole) {
                candidate.limit_to(slo_seconds, options);
                candidates.entry(device).or_default().push(candidate);
            }
        }
        if candidates.values().map(Vec::len).sum::<usize>() < 2 {
            return Err(TableError::NothingToChoose);
        }
        let at_full = candidates.get(&full_point).into_iter().flatten();
        let max_rps = at_full.clone().map(|full| full.capacity_rps).fold(base.capacity_rps, f64::max);
        let full = at_full.max_by(|a, b| a.capacity_rps.total_cmp(&b.capacity_rps)).unwrap_or(&base).clone();
        // No finer than what the share may be: a table of a million lines helps nobody.
        let step_rps = options.rps_step.unwrap_or(max_rps * options.rps_step_share).max(max_rps * 1e-4);
        let mut table =
            Self { slo_seconds, step_rps, max_rps, idle, full_point, full, candidates, rows: Vec::new() };
        table.rows = table.steps().map(|rps| table.row_at(rps, options)).collect();
        Ok(table)
    }

    /// The loads of the table: every whole step up to the most, and the most.
    fn steps(&self) -> impl Iterator<Item = f64> + use<> {
        let (step, max) = (self.step_rps, self.max_rps);
        let whole = (0u32..)
            .map(move |count| f64::from(count) * step)
            .take_while(move |rps| *rps < max * (1.0 - 1e-9));
        whole.chain([max])
    }

    fn row_at(&self, rps: f64, options: &LeastPowerOptions) -> TableRow {
        let chosen = joint::least_power_alone(self, rps);
        let (device, candidate) = chosen.unwrap_or((self.full_point, &self.full));
        TableRow {
            rps,
            core_clock_mhz: device.clock,
            compute_units: device.units,
            batch_size: candidate.batch_size,
            instances: candidate.instances,
            predicted_watts: candidate.power_at(rps),
            predicted_tail_ms: candidate.tail_at(rps, options.arrivals).map(|tail| tail * 1e3),
            meets_slo: chosen.is_some(),
        }
    }

    /// The lines of the table, by ascending load.
    pub fn rows(&self) -> &[TableRow] {
        &self.rows
    }

    /// The line for a load of `rps`: the nearest step that is no lower. `None` above the table.
    pub fn look_up(&self, rps: f64) -> Option<&TableRow> {
        self.rows.get(self.rows.partition_point(|row| row.rps < rps * (1.0 - 1e-9)))
    }

    /// The bound on the tail latency.
    pub fn slo(&self) -> Duration {
        Duration::try_from_secs_f64(self.slo_seconds).unwrap_or(Duration::MAX)
    }

    /// Rows per second at full clock and all units, saturated.
    pub fn max_rps(&self) -> f64 {
        self.max_rps
    }
}

/// Whether only clock, units, batch size and instances distinguish the point (and threads, which are
/// set as they come).
fn plain(point: &OperatingPoint) -> bool {
    point.partition.is_none() && point.variant.is_none() && point.duty_cycle.unwrap_or(1.0) >= 1.0
}
