//! One row of a profile as a choice: what it sustains, and its tail latency and power at a load.

use std::cmp::Ordering;

use super::{Arrivals, LeastPowerOptions, PowerAtLoad};
use crate::knob::{ServingChange, ServingLimits};
use crate::load_power::power_at_utilization;
use crate::operating_point::{OperatingPoint, ProfileRow};
use crate::profile::PowerFigure;
use crate::queueing::batch_wait_quantile_bound;
use crate::units::{Megahertz, Watts};

/// The share of requests whose wait counts into the tail.
const TAIL_SHARE: f64 = 0.99;

/// Where the knobs of the device stand. `None`: not profiled, left alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::policies) struct DevicePoint {
    pub(in crate::policies) clock: Option<Megahertz>,
    pub(in crate::policies) units: Option<u32>,
}

impl DevicePoint {
    pub(super) fn of(point: &OperatingPoint) -> Self {
        Self { clock: point.core_clock_mhz, units: point.compute_units }
    }

    /// Clocks are never negative, so their bits have their order.
    fn key(self) -> (Option<u64>, Option<u32>) {
        (self.clock.map(|clock| clock.get().to_bits()), self.units)
    }
}

impl Eq for DevicePoint {}

impl PartialOrd for DevicePoint {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DevicePoint {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Which latency of a row is its tail. One for a whole table: figures of different kinds do not compare.
#[derive(Debug, Clone, Copy)]
pub(super) struct TailFigure(fn(&ProfileRow) -> Option<f64>);

impl TailFigure {
    /// The highest percentile that `base` has, or its mean.
    pub(super) fn of(base: &ProfileRow) -> Option<Self> {
        let figures: [fn(&ProfileRow) -> Option<f64>; 3] =
            [|row| row.latency_ms_p99, |row| row.latency_ms_p95, |row| row.latency_ms_mean];
        figures.into_iter().find(|figure| figure(base).is_some()).map(Self)
    }
}

/// Makes candidates of the rows of one profile.
pub(super) struct Maker<'a> {
    pub(super) rows: &'a [&'a ProfileRow],
    pub(super) tail: TailFigure,
    pub(super) idle: Option<Watts>,
    pub(super) options: &'a LeastPowerOptions,
}

impl Maker<'_> {
    /// The candidate of `row`; `None` when a figure is unknown or makes no sense.
    pub(super) fn make(&self, row: &ProfileRow) -> Option<Candidate> {
        let (capacity_rps, power) = rate_and_power(row)?;
        let mut smaller: Vec<(f64, Watts)> = self
            .rows
            .iter()
            .filter(|other| {
                other.point.batch_size < row.point.batch_size && other.point.differs_in_batch_only(&row.point)
            })
            .filter_map(|other| rate_and_power(other).filter(|(rps, _)| *rps < capacity_rps))
            .collect();
        smaller.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let idle = match self.options.power_at_load {
            PowerAtLoad::Utilisation => self.idle,
            PowerAtLoad::Saturation => None,
        };
        let tail_ms = (self.tail.0)(row).filter(|tail| tail.is_finite() && *tail > 0.0)?;
        Some(Candidate {
            batch_size: row.point.batch_size,
            instances: row.point.instances,
            change: row.point.serving_change(),
            capacity_rps,
            tail_seconds: tail_ms / 1e3,
            power,
            idle,
            smaller,
            limit_rps: None,
        })
    }
}

fn rate_and_power(row: &ProfileRow) -> Option<(f64, Watts)> {
    let power = PowerFigure::Mean.of(row).filter(|power| power.get().is_finite())?;
    let rps = row.throughput_rps.filter(|rps| rps.is_finite() && *rps > 0.0)?;
    (row.point.batch_size > 0 && row.point.instances > 0).then_some((rps, power))
}

/// One row as a choice.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::policies) struct Candidate {
    pub(in crate::policies) batch_size: u32,
    pub(in crate::policies) instances: u32,
    /// The serving knobs of the row.
    pub(in crate::policies) change: ServingChange,
    /// Rows per second, saturated.
    pub(in crate::policies) capacity_rps: f64,
    /// Tail latency of a batch, without waiting.
    pub(in crate::policies) tail_seconds: f64,
    /// Power, saturated.
    pub(super) power: Watts,
    /// Idle power, where power at a load is drawn from it.
    idle: Option<Watts>,
    /// Capacity and power with smaller batches, by ascending capacity.
    smaller: Vec<(f64, Watts)>,
    /// The most rows per second within the objective and the headroom; `None`: not even none.
    pub(super) limit_rps: Option<f64>,
}

impl Candidate {
    /// Whether this server can set it.
    pub(in crate::policies) fn is_within(&self, limits: &ServingLimits) -> bool {
        self.batch_size <= limits.max_batch_size
            && self.instances <= limits.max_instances
            && self.change.cores_per_instance.is_none_or(|cores| cores <= limits.max_cores_per_instance)
    }

    /// The share of this point's sustainable load that `rps` is; over 1: not sustained.
    pub(super) fn share_of(&self, rps: f64) -> f64 {
        match self.limit_rps {
            Some(_) if rps <= 0.0 => 0.0,
            Some(limit) => rps / limit,
            None => f64::INFINITY,
        }
    }

    /// Power at a load of `rps`.
    ///
    /// A server that does not wait for batches to fill runs no larger ones than the load makes
    /// necessary. So power at a load is that of the smallest profiled batch that keeps up with it.
    pub(in crate::policies) fn power_at(&self, rps: f64) -> Watts {
        let Some(idle) = self.idle else { return self.power };
        let smallest = self.smaller.iter().find(|(capacity, _)| *capacity >= rps);
        let (capacity, power) = smallest.copied().unwrap_or((self.capacity_rps, self.power));
        // Noise can put a row under idle power.
        power_at_utilization(idle, power.max(idle), (rps / capacity).clamp(0.0, 1.0))
    }

    /// Tail latency at a load of `rps` in seconds: that of the row, and the wait of the 99th percentile.
    /// `None`: the load is more than the point sustains.
    ///
    /// The sum of two tails is more than the tail of the sum, and batches are taken as full: both err
    /// on the safe side. Each instance is taken to have its own queue, which waits longer than one
    /// queue for all.
    pub(in crate::policies) fn tail_at(&self, rps: f64, arrivals: Arrivals) -> Option<f64> {
        let instances = f64::from(self.instances);
        let batch_seconds = f64::from(self.batch_size) * instances / self.capacity_rps;
        let rps_each = rps / instances;
        let wait = match arrivals {
            Arrivals::Poisson => {
                batch_wait_quantile_bound(rps_each, batch_seconds, self.batch_size, TAIL_SHARE)?
            }
            Arrivals::Even if rps > self.capacity_rps => return None,
            Arrivals::Even if self.batch_size == 1 || rps_each * batch_seconds <= 1.0 => 0.0,
            Arrivals::Even => batch_seconds,
        };
        Some(self.tail_seconds + wait)
    }

    /// Finds the most rows per second that keep the tail within `slo_seconds`.
    pub(super) fn limit_to(&mut self, slo_seconds: f64, options: &LeastPowerOptions) {
        // Drawn from the same figure as the objective itself: rounding must not decide.
        let keeps = |rps: f64| {
            self.tail_at(rps, options.arrivals).is_some_and(|tail| tail <= slo_seconds * (1.0 + 1e-9))
        };
        let most = self.capacity_rps * options.headroom;
        self.limit_rps = if keeps(most) {
            Some(most)
        } else if keeps(0.0) {
            let (mut low, mut high) = (0.0, most);
            for _ in 0..40 {
                let middle = (low + high) / 2.0;
                if keeps(middle) { low = middle } else { high = middle }
            }
            Some(low)
        } else {
            None
        };
    }
}
