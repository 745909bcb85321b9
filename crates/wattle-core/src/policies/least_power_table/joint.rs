//! The setting of least power for all models of a device together, and how it is set.
//!
//! One clock and one number of units serve all. A point serves them when the shares that their loads
//! are of what each alone may ask of the point add up to at most one: exact for models that are
//! alike, an estimate for others. Power above idle adds up. Each model takes the batch size of least
//! power at the point, or, if the shares are too many then, the one of least share.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Candidate, DevicePoint, FreeKnobs, LeastPowerOptions, LeastPowerTable};
use crate::id::ModelName;
use crate::knob::{DeviceKnob, DeviceSetting, KnobRange, ServingLimits};
use crate::observation::{DeviceObservation, Observation};
use crate::policy::Decision;
use crate::profile::Profile;
use crate::units::{Megahertz, Watts};

/// The table of each model that one can be made of.
pub(in crate::policies) fn tables_of(
    profiles: &BTreeMap<ModelName, Profile>,
    free: FreeKnobs,
    options: &LeastPowerOptions,
    objectives: &BTreeMap<ModelName, Duration>,
) -> BTreeMap<ModelName, LeastPowerTable> {
    let table = |name: &ModelName, profile: &Profile| {
        LeastPowerTable::build(profile, free, options, objectives.get(name).copied()).ok()
    };
    profiles.iter().filter_map(|(name, profile)| Some((name.clone(), table(name, profile)?))).collect()
}

/// A model's load and what it may be served with.
#[derive(Clone, Copy)]
pub(in crate::policies) struct Load<'a> {
    pub(in crate::policies) table: &'a LeastPowerTable,
    pub(in crate::policies) rps: f64,
    pub(in crate::policies) limits: &'a ServingLimits,
}

/// A setting of the device, with one candidate for each load.
#[derive(Debug, Clone)]
pub(in crate::policies) struct Plan<'a> {
    pub(in crate::policies) device: DevicePoint,
    pub(in crate::policies) chosen: Vec<&'a Candidate>,
    pub(in crate::policies) power: Watts,
}

/// The choice for one model alone that can set everything.
pub(super) fn least_power_alone(table: &LeastPowerTable, rps: f64) -> Option<(DevicePoint, &Candidate)> {
    static NO_LIMITS: ServingLimits =
        ServingLimits { max_batch_size: u32::MAX, max_instances: u32::MAX, max_cores_per_instance: u32::MAX };
    let plan = least_power(&[Load { table, rps, limits: &NO_LIMITS }], |_| true)?;
    Some((plan.device, plan.chosen.first()?))
}

/// The point of least power that serves all `loads`; of equals the one of least power when saturated.
/// `None`: no point that `can_set` does, or there is no load to serve.
pub(in crate::policies) fn least_power<'a>(
    loads: &[Load<'a>],
    can_set: impl Fn(DevicePoint) -> bool,
) -> Option<Plan<'a>> {
    let points = loads.first()?.table.candidates.keys().copied().filter(|point| can_set(*point));
    let plans = points.filter_map(|device| {
        let chosen = serve_at(device, loads)?;
        let saturated = chosen.iter().map(|candidate| candidate.power.get()).sum::<f64>();
        Some((Plan { device, power: power_of(loads, &chosen), chosen }, saturated))
    });
    plans
        .min_by(|(a, a_saturated), (b, b_saturated)| {
            a.power.get().total_cmp(&b.power.get()).then(a_saturated.total_cmp(b_saturated))
        })
        .map(|(plan, _)| plan)
}

/// One candidate for each load at `device`; `None` when the point can't serve them all.
fn serve_at<'a>(device: DevicePoint, loads: &[Load<'a>]) -> Option<Vec<&'a Candidate>> {
    let best = |rank: fn(&Candidate, f64) -> (f64, f64)| -> Option<Vec<&'a Candidate>> {
        let one = |load: &Load<'a>| {
            let able =
                load.table.candidates.get(&device)?.iter().filter(|candidate| {
                    candidate.is_within(load.limits) && candidate.share_of(load.rps) <= 1.0
                });
            able.min_by(|a, b| {
                let (a, b) = (rank(a, load.rps), rank(b, load.rps));
                a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
            })
        };
        let chosen: Vec<&Candidate> = loads.iter().map(one).collect::<Option<_>>()?;
        let share: f64 = loads.iter().zip(&chosen).map(|(load, one)| one.share_of(load.rps)).sum();
        (share <= 1.0 + 1e-9).then_some(chosen)
    };
    // Of batch sizes that draw the same at this load, the one that answers soonest.
    best(|candidate, rps| (candidate.power_at(rps).get(), candidate.tail_seconds))
        .or_else(|| best(|candidate, rps| (candidate.share_of(rps), candidate.tail_seconds)))
}

/// Power of the device: idle power once, and what each model adds to it.
fn power_of(loads: &[Load<'_>], chosen: &[&Candidate]) -> Watts {
    let idle = loads.iter().filter_map(|load| load.table.idle).fold(Watts::ZERO, Watts::max);
    let added =
        |(load, candidate): (&Load<'_>, &&Candidate)| (candidate.power_at(load.rps) - idle).max(Watts::ZERO);
    idle + loads.iter().zip(chosen).map(added).sum()
}

/// Full clock and all units, over the tables of all `loads`.
pub(in crate::policies) fn full_device(loads: &[Load<'_>]) -> DevicePoint {
    let points = || loads.iter().map(|load| load.table.full_point);
    DevicePoint {
        clock: points().filter_map(|point| point.clock).reduce(Megahertz::max),
        units: points().filter_map(|point| point.units).max(),
    }
}

/// Full clock and all units, with the candidate of most throughput for each load; `None` without any.
pub(in crate::policies) fn full<'a>(loads: &[Load<'a>]) -> Option<Plan<'a>> {
    let most = |load: &Load<'a>| {
        let at_full = load.table.candidates.get(&load.table.full_point).into_iter().flatten();
        let able = at_full.filter(|candidate| candidate.is_within(load.limits));
        able.max_by(|a, b| a.capacity_rps.total_cmp(&b.capacity_rps)).unwrap_or(&load.table.full)
    };
    let chosen: Vec<&Candidate> = loads.iter().map(most).collect();
    let plan = Plan { device: full_device(loads), power: power_of(loads, &chosen), chosen };
    (!loads.is_empty()).then_some(plan)
}

/// Which points the devices of an observation can be set to.
///
/// An observation does not tell which device a model runs on, so every device that takes a point is
/// set to it.
#[derive(Clone, Copy)]
pub(in crate::policies) struct Reach<'a>(pub(in crate::policies) &'a [DeviceObservation]);

impl Reach<'_> {
    /// A knob that the tables turn and no device has.
    pub(in crate::policies) fn missing<'t>(
        self,
        mut tables: impl Iterator<Item = &'t LeastPowerTable>,
    ) -> Option<DeviceKnob> {
        tables.find_map(|table| {
            let points = || table.candidates.keys();
            let full = table.full_point;
            let turned = [
                (DeviceKnob::CoreClock, points().any(|point| point.clock != full.clock)),
                (DeviceKnob::ComputeUnits, points().any(|point| point.units != full.units)),
            ];
            let has = |knob| self.0.iter().any(|device| range(device, knob).is_some());
            turned.into_iter().find(|(knob, turned)| *turned && !has(*knob)).map(|(knob, _)| knob)
        })
    }

    /// Whether some device takes all of `point`. A knob that it lacks stands at its full value.
    pub(in crate::policies) fn takes(self, point: DevicePoint, full: DevicePoint) -> bool {
        self.0.iter().any(|device| takes(device, point, full))
    }
}

fn range(device: &DeviceObservation, knob: DeviceKnob) -> Option<&KnobRange> {
    device.knobs.iter().find(|range| range.knob == knob)
}

fn takes(device: &DeviceObservation, point: DevicePoint, full: DevicePoint) -> bool {
    // To the row's own value, not to a step near it: the figures of the row would not hold there.
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs();
    let one = |knob, value: Option<f64>, full: Option<f64>| match (range(device, knob), value) {
        (_, None) => true,
        (None, Some(_)) => value == full,
        (Some(range), Some(value)) => range.accept(value).is_some_and(|taken| near(taken, value)),
    };
    let clock = |point: DevicePoint| point.clock.map(Megahertz::get);
    one(DeviceKnob::CoreClock, clock(point), clock(full))
        && one(DeviceKnob::ComputeUnits, point.units.map(f64::from), full.units.map(f64::from))
}

/// Puts plans into decisions, and device knobs only when they change.
#[derive(Debug, Clone, Default)]
pub(in crate::policies) struct Applier {
    set: Option<DevicePoint>,
}

impl Applier {
    /// Adds the knobs of the device at `point` to `decision`; `full` is the point of knobs not turned.
    pub(in crate::policies) fn set_device(
        &mut self,
        point: DevicePoint,
        full: DevicePoint,
        seen: &Observation,
        decision: &mut Decision,
    ) {
        if self.set == Some(point) {
            return;
        }
        for device in seen.devices.iter().filter(|device| takes(device, point, full)) {
            let clock = point.clock.map(DeviceSetting::CoreClock);
            let units = point.units.map(DeviceSetting::ComputeUnits);
            let settings = [clock, units].into_iter().flatten();
            let settings: Vec<DeviceSetting> =
                settings.filter(|setting| range(device, setting.knob()).is_some()).collect();
            if !settings.is_empty() {
                decision.devices.insert(device.id.clone(), settings);
                self.set = Some(point);
            }
        }
    }
}
