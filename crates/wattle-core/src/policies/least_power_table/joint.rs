//! The setting of least power for all models of a device together, and how it is set.
//!
//! One clock and one number of units serve all. A point serves them when the shares that their loads
//! are of what each alone may ask of the point add up to at most one: exact for models that are
//! alike, an estimate for others. Power above idle adds up. Each model takes the batch size of least
//! power at the point, or, if the shares are too many then, the one of least share.

use std::collections::BTreeMap;

use super::{Candidate, DevicePoint, FreeKnobs, LeastPowerTable};
use crate::id::{DeviceId, ModelName};
use crate::knob::{DeviceKnob, DeviceSetting, ServingLimits};
use crate::observation::{DeviceObservation, Observation};
use crate::policies::{PolicyError, PolicyOptions, device_knobs};
use crate::policy::Decision;
use crate::units::{Megahertz, Watts};

/// The table of each model that has a profile, for `policy`, which turns the knobs in `free`.
pub(in crate::policies) fn tables_of(
    policy: &'static str,
    free: FreeKnobs,
    options: &PolicyOptions,
) -> Result<BTreeMap<ModelName, LeastPowerTable>, PolicyError> {
    let mut tables = BTreeMap::new();
    for (model, profile) in &options.profiles {
        let objective = options.latency_objectives.get(model).copied();
        let table = LeastPowerTable::build(profile, free, &options.least_power, objective)
            .map_err(|cause| PolicyError::NoTable { policy, model: model.clone(), cause })?;
        tables.insert(model.clone(), table);
    }
    Ok(tables)
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
            let has = |knob| self.0.iter().any(|device| device_knobs::range_of(device, knob).is_some());
            turned.into_iter().find(|(knob, turned)| *turned && !has(*knob)).map(|(knob, _)| knob)
        })
    }

    /// Whether some device takes all of `point`. A knob that it lacks stands at its full value.
    pub(in crate::policies) fn takes(self, point: DevicePoint, full: DevicePoint) -> bool {
        self.0.iter().any(|device| can_set(device, point, full))
    }
}

/// A value of each knob of the device, in its unit.
fn values(point: DevicePoint) -> [(DeviceKnob, Option<f64>); 2] {
    [
        (DeviceKnob::CoreClock, point.clock.map(Megahertz::get)),
        (DeviceKnob::ComputeUnits, point.units.map(f64::from)),
    ]
}

/// Whether `device` takes all of `point`. Steps further off than the same step are not taken for it: the
/// row's figures would not hold there.
fn can_set(device: &DeviceObservation, point: DevicePoint, full: DevicePoint) -> bool {
    values(point).into_iter().zip(values(full)).all(|((knob, value), (_, full))| {
        match (device_knobs::range_of(device, knob), value) {
            (_, None) => true,
            (None, Some(_)) => value == full,
            (Some(range), Some(value)) => device_knobs::takes(range, value),
        }
    })
}

/// Puts plans into decisions, and device knobs only when they change or the device failed to set them.
#[derive(Debug, Clone, Default)]
pub(in crate::policies) struct Applier {
    /// What was last asked of each device.
    asked: BTreeMap<DeviceId, Vec<DeviceSetting>>,
}

impl Applier {
    /// Adds the knobs of the devices at `point` to `decision`; `full` is the point of knobs not turned.
    /// A device that does not take the point is left alone.
    pub(in crate::policies) fn set_point(
        &mut self,
        point: DevicePoint,
        full: DevicePoint,
        seen: &Observation,
        decision: &mut Decision,
    ) {
        for device in seen.devices.iter().filter(|device| can_set(device, point, full)) {
            self.ask(device, values(point), decision);
        }
    }

    /// Opens each knob that `full` has as far as the device lets it: the profile's highest values may
    /// be more than the device takes, or less than it has.
    pub(in crate::policies) fn set_full(
        &mut self,
        full: DevicePoint,
        seen: &Observation,
        decision: &mut Decision,
    ) {
        for device in &seen.devices {
            let open = |(knob, value): (DeviceKnob, Option<f64>)| {
                (knob, value.and(device_knobs::range_of(device, knob)).map(|range| range.max))
            };
            self.ask(device, values(full).map(open), decision);
        }
    }

    fn ask(
        &mut self,
        device: &DeviceObservation,
        values: [(DeviceKnob, Option<f64>); 2],
        decision: &mut Decision,
    ) {
        let setting = |(knob, value): (DeviceKnob, Option<f64>)| {
            let range = device_knobs::range_of(device, knob)?;
            Some(device_knobs::setting(knob, device_knobs::at_most(range, value?)))
        };
        let settings: Vec<DeviceSetting> = values.into_iter().filter_map(setting).collect();
        let is_done = !device.settings_failed && self.asked.get(&device.id) == Some(&settings);
        if !settings.is_empty() && !is_done {
            self.asked.insert(device.id.clone(), settings.clone());
            decision.devices.insert(device.id.clone(), settings);
        }
    }
}
