//! Keeps what both engines tell: power against the cap, the ledger, carbon, and the time series.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use wattle_core::cap_account::CapAccount;
use wattle_core::carbon::CarbonAccounting;
use wattle_core::id::ModelName;
use wattle_core::ledger::{Account, Activity, MeteredInterval, Totals, attribute};
use wattle_core::provenance::Provenance;
use wattle_core::signal::{Quantity, SignalHead, SignalReading};
use wattle_core::time::Timestamp;
use wattle_core::units::{CarbonIntensity, Joules, Watts};

/// One point of the time series: what happened since the point before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// End of the stretch.
    pub seconds: f64,
    /// Mean power.
    pub power_watts: f64,
    /// Highest mean power of a tick.
    pub power_watts_max: f64,
    /// The cap at the end.
    pub power_cap_watts: Option<f64>,
    /// Carbon intensity at the end.
    pub carbon_intensity_g_per_kwh: Option<f64>,
    /// Rows that arrived per second.
    pub offered_rps: f64,
    /// Rows answered per second.
    pub throughput_rps: f64,
    /// Mean latency of the requests answered.
    pub latency_ms_mean: Option<f64>,
    /// Longest latency of the requests answered.
    pub latency_ms_max: Option<f64>,
    /// Rows that waited at the end.
    pub queued_rows: u64,
    /// Largest batch size set, over the models.
    pub batch_size: u32,
    /// Instances set, over the models together.
    pub instances: u32,
    /// Core clock of the first device, where it turns.
    pub core_clock_mhz: Option<f64>,
    /// Compute units of the first device, where they turn.
    pub compute_units: Option<u32>,
    /// Variant that answers for the first family.
    pub variant: Option<ModelName>,
}

/// The stretch of the next point, as it fills.
#[derive(Debug, Clone, Default)]
pub struct Stretch {
    /// Rows that arrived.
    pub arrived_rows: u64,
    /// Rows answered.
    pub completed_rows: u64,
    /// Requests answered.
    pub completed_requests: u64,
    /// Their latencies together, in nanoseconds.
    pub latency_nanos: u128,
    /// The longest, in nanoseconds.
    pub latency_nanos_max: u64,
}

/// Where the knobs stand and what waits, for a point.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// See [`Point::queued_rows`].
    pub queued_rows: u64,
    /// See [`Point::batch_size`].
    pub batch_size: u32,
    /// See [`Point::instances`].
    pub instances: u32,
    /// See [`Point::core_clock_mhz`].
    pub core_clock_mhz: Option<f64>,
    /// See [`Point::compute_units`].
    pub compute_units: Option<u32>,
    /// See [`Point::variant`].
    pub variant: Option<ModelName>,
}

/// Counts power and energy, and makes the time series.
#[derive(Debug)]
pub struct Recorder {
    /// Power against the cap.
    pub cap: CapAccount,
    /// The ledger, all entries added up.
    pub totals: Totals,
    /// The time series so far.
    pub points: Vec<Point>,
    /// The stretch of the next point.
    pub stretch: Stretch,
    provenance: Provenance,
    carbon_head: Arc<SignalHead>,
    accounting: CarbonAccounting,
    idle: Watts,
    every: Duration,
    next_point: Timestamp,
    last_point: Timestamp,
    stretch_energy: Joules,
    stretch_power_max: Watts,
}

impl Recorder {
    /// Counts on devices that draw `idle` with nothing to do; one point each `every`.
    pub fn new(provenance: Provenance, idle: Watts, every: Duration) -> Self {
        Self {
            cap: CapAccount::default(),
            totals: Totals::default(),
            points: Vec::new(),
            stretch: Stretch::default(),
            provenance,
            carbon_head: Arc::new(SignalHead::configured(Quantity::CarbonIntensity, "the scenario")),
            accounting: CarbonAccounting::default(),
            idle,
            every,
            next_point: Timestamp::ZERO + every,
            last_point: Timestamp::ZERO,
            stretch_energy: Joules::ZERO,
            stretch_power_max: Watts::ZERO,
        }
    }

    /// Counts `energy` of an interval that is not longer than a tick, with `cap` in force.
    pub fn drawn(&mut self, energy: Joules, interval: Duration, cap: Option<Watts>) {
        if interval.is_zero() {
            return;
        }
        let power = energy / interval;
        self.cap.add(power, interval, cap);
        self.stretch_energy += energy;
        self.stretch_power_max = self.stretch_power_max.max(power);
    }

    /// Books one ledger entry.
    pub fn book(
        &mut self,
        (start, end): (Timestamp, Timestamp),
        energy: Joules,
        activity: &BTreeMap<Account, Activity>,
        carbon_intensity: Option<CarbonIntensity>,
    ) {
        let provenance = self.provenance.clone();
        let interval =
            MeteredInterval { start, end, energy, idle_power: self.idle, own_share: None, provenance };
        let carbon_intensity =
            carbon_intensity.map(|intensity| SignalReading::configured(intensity.get(), &self.carbon_head));
        self.totals.add(&attribute(&interval, activity, carbon_intensity, &self.accounting));
    }

    /// Whether the next point is due at `now`.
    pub fn is_point_due(&self, now: Timestamp) -> bool {
        now >= self.next_point
    }

    /// Makes a point of the stretch up to `now`.
    pub fn point(
        &mut self,
        now: Timestamp,
        cap: Option<Watts>,
        carbon_intensity: Option<CarbonIntensity>,
        standing: Standing,
    ) {
        let seconds = (now - self.last_point).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let stretch = std::mem::take(&mut self.stretch);
        let is_any = stretch.completed_requests > 0;
        self.points.push(Point {
            seconds: now.as_secs_f64(),
            power_watts: self.stretch_energy.get() / seconds,
            power_watts_max: self.stretch_power_max.get(),
            power_cap_watts: cap.map(Watts::get),
            carbon_intensity_g_per_kwh: carbon_intensity.map(CarbonIntensity::get),
            offered_rps: stretch.arrived_rows as f64 / seconds,
            throughput_rps: stretch.completed_rows as f64 / seconds,
            latency_ms_mean: is_any
                .then(|| stretch.latency_nanos as f64 / stretch.completed_requests as f64 / 1e6),
            latency_ms_max: is_any.then(|| stretch.latency_nanos_max as f64 / 1e6),
            queued_rows: standing.queued_rows,
            batch_size: standing.batch_size,
            instances: standing.instances,
            core_clock_mhz: standing.core_clock_mhz,
            compute_units: standing.compute_units,
            variant: standing.variant,
        });
        self.stretch_energy = Joules::ZERO;
        self.stretch_power_max = Watts::ZERO;
        self.last_point = now;
        while self.next_point <= now {
            self.next_point = self.next_point + self.every;
        }
    }
}
