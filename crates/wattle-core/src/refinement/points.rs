//! The operating points a model was at of late: what its profile predicts there, and what was off.

use std::time::Duration;

use super::tracker::left_after;
use super::{FORGOTTEN, STEP, bounded};
use crate::knob::ServingSetting;
use crate::operating_point::{OperatingPoint, ProfileRow};
use crate::profile::{PowerFigure, Profile};
use crate::time::Timestamp;
use crate::units::{Megahertz, Watts};

/// So many points of each model are remembered; of more, the one that was visited longest ago goes.
pub(super) const KEPT: usize = 64;
/// What is off at a point is remembered for so many half-lives of what is off everywhere.
const HALF_LIVES: u32 = 5;

/// Where the knobs of the device stand, and whether that is fully open.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct DeviceStands {
    pub(super) clock: Option<(Megahertz, bool)>,
    pub(super) units: Option<(u32, bool)>,
}

/// What distinguishes points.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Key {
    batch_size: u32,
    instances: u32,
    cores: u32,
    duty_cycle: f64,
    device: DeviceStands,
}

impl Key {
    fn of(batch_size: u32, setting: &ServingSetting, device: DeviceStands) -> Self {
        Self {
            batch_size,
            instances: setting.instances,
            cores: setting.cores_per_instance,
            duty_cycle: setting.duty_cycle,
            device,
        }
    }
}

/// One point, with the prediction of the profile as it was handed over.
#[derive(Debug, Clone)]
pub(super) struct Point {
    key: Key,
    /// As the profile has it; `None`: the profile does not tell of this point.
    at: Option<OperatingPoint>,
    /// How long a batch takes.
    pub(super) batch_seconds: Option<f64>,
    /// Power of the device, saturated, above idle; and whether the profile has no mean, so that a
    /// higher figure stands in.
    pub(super) above_idle: Option<Watts>,
    pub(super) is_bound: bool,
    /// Busy time over all time when it was profiled, saturated: what a server does between batches is no
    /// time of theirs, and the power that was profiled is a mean over both.
    pub(super) saturated_share: f64,
    /// What is off here beyond what is off everywhere, as logarithms.
    pub(super) time: f64,
    pub(super) power: f64,
    seen_at: Timestamp,
    /// Both as they were last handed over.
    handed: [f64; 2],
}

impl Point {
    fn new(key: Key, profile: &Profile, idle: Watts) -> Self {
        let row = locate(key, profile);
        let batch_seconds = row.as_ref().and_then(batch_seconds);
        let power = row.as_ref().and_then(|row| PowerFigure::Mean.of(row));
        let above_idle = power.map(|power| power - idle).filter(|above| *above > Watts::ZERO);
        Self {
            key,
            is_bound: row.as_ref().is_some_and(|row| row.power_watts_mean.is_none()),
            saturated_share: row.as_ref().and_then(saturated_share).unwrap_or(1.0),
            at: row.map(|row| row.point),
            batch_seconds: batch_seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0),
            above_idle: above_idle.filter(|above| above.get().is_finite()),
            time: 0.0,
            power: 0.0,
            seen_at: Timestamp::ZERO,
            handed: [0.0; 2],
        }
    }

    /// Rows of its batches.
    pub(super) fn batch_size(&self) -> u32 {
        self.key.batch_size
    }

    /// Whether it is a point of `setting`, of some batch size, with the device as it stands.
    pub(super) fn is_of(&self, setting: &ServingSetting, device: DeviceStands) -> bool {
        self.key == (Key { batch_size: self.key.batch_size, ..Key::of(0, setting, device) })
    }

    /// Remembers that so much more is off here, as logarithms.
    pub(super) fn remember(&mut self, now: Timestamp, half_life: Duration, time: f64, power: f64) {
        let left = self.left_at(now, half_life);
        self.time = bounded(self.time * left + time);
        self.power = bounded(self.power * left + power);
        self.seen_at = now;
    }

    /// What is off here as it is remembered at `now`: batch time and power, as logarithms.
    pub(super) fn rests_at(&self, now: Timestamp, half_life: Duration) -> [f64; 2] {
        let left = self.left_at(now, half_life);
        let of = |log: f64| if (log * left).abs() < FORGOTTEN { 0.0 } else { log * left };
        [of(self.time), of(self.power)]
    }

    /// Whether that is more than a little off what was handed over.
    pub(super) fn has_moved(&self, now: Timestamp, half_life: Duration) -> bool {
        let both = self.rests_at(now, half_life).into_iter().zip(self.handed);
        both.into_iter().any(|(now, handed)| (now - handed).abs() > STEP)
    }

    /// How much of what is off here is remembered at `now`.
    pub(super) fn left_at(&self, now: Timestamp, half_life: Duration) -> f64 {
        if self.time == 0.0 && self.power == 0.0 {
            return 1.0;
        }
        left_after(now.saturating_since(self.seen_at), half_life.saturating_mul(HALF_LIVES))
    }
}

/// Busy time over all time at a row, by Little's law. No less than a half: where batches were that far
/// apart, they were not full, or it was not saturated.
fn saturated_share(row: &ProfileRow) -> Option<f64> {
    let in_flight = f64::from(row.point.batch_size) * f64::from(row.point.instances);
    let of_time = row.throughput_rps? * row.latency_ms_mean? / 1e3 / in_flight;
    let share = of_time / row.point.duty_cycle.unwrap_or(1.0);
    share.is_finite().then(|| share.clamp(0.5, 1.0))
}

/// How long a batch takes at a row.
fn batch_seconds(row: &ProfileRow) -> Option<f64> {
    let by_throughput = || {
        let in_flight = f64::from(row.point.batch_size) * f64::from(row.point.instances);
        Some(in_flight * row.point.duty_cycle.unwrap_or(1.0) / row.throughput_rps?)
    };
    row.latency_ms_mean.map(|ms| ms / 1e3).or_else(by_throughput)
}

/// What the profile says of the point. A knob that no row gives is taken to be at its default, which for
/// one of the device is fully open.
fn locate(key: Key, profile: &Profile) -> Option<ProfileRow> {
    let clocks = [key.device.clock.map(|(clock, _)| clock), None];
    let units = [key.device.units.map(|(units, _)| units), None];
    let may_leave_clock = key.device.clock.is_none_or(|(_, is_open)| is_open);
    let may_leave_units = key.device.units.is_none_or(|(_, is_open)| is_open);
    for core_clock_mhz in clocks.into_iter().filter(|clock| clock.is_some() || may_leave_clock) {
        for compute_units in units.into_iter().filter(|units| units.is_some() || may_leave_units) {
            for cores_per_instance in [Some(key.cores), None] {
                let point = OperatingPoint {
                    cores_per_instance,
                    duty_cycle: Some(key.duty_cycle),
                    core_clock_mhz,
                    compute_units,
                    ..OperatingPoint::of_batch_and_instances(key.batch_size, key.instances)
                };
                if let Some(found) = profile.predict(&point) {
                    return Some(found.row);
                }
            }
        }
    }
    None
}

/// The points of one model, the last visited first.
#[derive(Debug, Clone, Default)]
pub(super) struct Points(Vec<Point>);

impl Points {
    /// Visits the point of `setting` with batches of `batch_size` rows. Makes it the first.
    pub(super) fn visit(
        &mut self,
        batch_size: u32,
        setting: &ServingSetting,
        device: DeviceStands,
        profile: &Profile,
        idle: Watts,
    ) {
        let key = Key::of(batch_size, setting, device);
        match self.0.iter().position(|point| point.key == key) {
            Some(0) => {}
            Some(at) => self.0[..=at].rotate_right(1),
            None => {
                self.0.truncate(KEPT - 1);
                self.0.insert(0, Point::new(key, profile, idle));
            }
        }
    }

    /// The point visited last.
    pub(super) fn last(&self) -> Option<&Point> {
        self.0.first()
    }

    /// As [`last`](Self::last), to be changed.
    pub(super) fn last_mut(&mut self) -> Option<&mut Point> {
        self.0.first_mut()
    }

    /// What is remembered of the row at `point`.
    pub(super) fn of(&self, point: &OperatingPoint) -> Option<&Point> {
        self.0.iter().find(|known| {
            known.key.batch_size == point.batch_size
                && known
                    .at
                    .as_ref()
                    .is_some_and(|at| at.batch_size == point.batch_size && at.differs_in_batch_only(point))
        })
    }

    /// All are handed over.
    pub(super) fn handed(&mut self, now: Timestamp, half_life: Duration) {
        for point in &mut self.0 {
            point.handed = point.rests_at(now, half_life);
        }
    }

    /// Whether there is nothing to forget at any point.
    pub(super) fn is_neutral(&self, now: Timestamp, half_life: Duration) -> bool {
        let nothing = [0.0; 2];
        self.0.iter().all(|point| point.rests_at(now, half_life) == nothing && point.handed == nothing)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
