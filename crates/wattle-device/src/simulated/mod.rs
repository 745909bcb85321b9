//! A device made of profiles: plays the time and power of hardware that isn't there.
//!
//! Ships to users, for trying Wattle out and for replays. The runtime side is [`SimulatedLoad`]. Knows
//! no clock: all times are given.

mod load;
mod played_model;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use wattle_core::id::{DeviceId, ModelName};
use wattle_core::knob::{DeviceKnob, DeviceSetting, KnobRange};
use wattle_core::profile::Profile;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::time::Timestamp;
use wattle_core::units::{Megahertz, Watts};

use self::played_model::{Knobs, PlayedModel};
use crate::device::{Device, DeviceError, DeviceInfo, Reading};

pub use self::load::{RunToken, SimulatedError, SimulatedLoad};
pub use self::played_model::UnplayableProfile;

/// A device that plays profiles. Puts its knobs back when dropped.
#[derive(Debug)]
pub struct SimulatedDevice {
    info: DeviceInfo,
    load: Arc<SimulatedLoad>,
    as_found: Knobs,
}

impl SimulatedDevice {
    /// A device `id` that plays `profiles`, and the side by which a runtime tells it what it runs.
    ///
    /// Power = idle + what each model's running batches add to it, by the model's own profile. Its
    /// knobs are those that rows differ in (core clock, compute units), each at its highest at first.
    /// Rows with a duty cycle below 1 are not played: idle injection happens in real time.
    ///
    /// # Errors
    /// Where the profiles leave open what the device would do.
    pub fn new(
        id: DeviceId,
        profiles: &BTreeMap<ModelName, Profile>,
    ) -> Result<(Self, Arc<SimulatedLoad>), UnplayableProfile> {
        // Each profile was taken with its own model loaded, so the lowest is nearest to truly idle.
        let idles = profiles.values().filter_map(|profile| profile.head.idle_power_watts);
        let idle = idles.reduce(Watts::min).ok_or(UnplayableProfile::NoIdlePower)?;
        let mut models = BTreeMap::new();
        for (name, profile) in profiles {
            models.insert(name.clone(), PlayedModel::new(name.clone(), profile)?);
        }
        let clocks = models.values().map(|model| model.clocks.as_slice());
        let units = models.values().map(|model| model.units.as_slice());
        let nothing_shared = |column| UnplayableProfile::NothingShared { column };
        let clocks = shared(clocks).ok_or_else(|| nothing_shared("core_clock_mhz"))?;
        let units = shared(units).ok_or_else(|| nothing_shared("compute_units"))?;
        for clock in options(&clocks) {
            for units in options(&units) {
                let knobs = Knobs { clock: clock.map(Megahertz::new), units };
                models.values().try_for_each(|model| model.check(knobs))?;
            }
        }
        let info = info(id, profiles, &models, idle, &clocks, &units);
        let as_found =
            Knobs { clock: clocks.last().copied().map(Megahertz::new), units: units.last().copied() };
        let load = Arc::new(SimulatedLoad::new(models, idle, as_found));
        Ok((Self { info, load: Arc::clone(&load), as_found }, load))
    }
}

impl Device for SimulatedDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn read(&mut self, now: Timestamp) -> Result<Reading, DeviceError> {
        let sample = self.load.sample(now);
        let is_busy = sample.utilization.is_some_and(|utilization| utilization > 0.0);
        Ok(Reading {
            at: now,
            energy: Some(sample.energy),
            power: Some(sample.power),
            own_share: is_busy.then_some(1.0), // nobody else can reach this device
            utilization: sample.utilization,
        })
    }

    fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
        let value = self.info.accept(setting)?;
        let knobs = self.load.knobs();
        self.load.turn(match setting {
            DeviceSetting::CoreClock(_) => Knobs { clock: Some(Megahertz::new(value)), ..knobs },
            DeviceSetting::ComputeUnits(_) => Knobs { units: Some(value as u32), ..knobs },
            DeviceSetting::PowerLimit(_) => knobs, // never among the knobs, so never accepted
        });
        Ok(())
    }

    fn restore(&mut self) -> Result<(), DeviceError> {
        self.load.turn(self.as_found);
        Ok(())
    }
}

impl Drop for SimulatedDevice {
    fn drop(&mut self) {
        self.load.turn(self.as_found);
    }
}

/// What the device says of itself.
fn info(
    id: DeviceId,
    profiles: &BTreeMap<ModelName, Profile>,
    models: &BTreeMap<ModelName, PlayedModel>,
    idle: Watts,
    clocks: &[f64],
    units: &[u32],
) -> DeviceInfo {
    let units: Vec<_> = units.iter().copied().map(f64::from).collect();
    let knobs = [(DeviceKnob::ComputeUnits, units), (DeviceKnob::CoreClock, clocks.to_vec())];
    let knobs = knobs.into_iter().filter_map(|(knob, steps)| {
        Some(KnobRange { knob, min: *steps.first()?, max: *steps.last()?, steps })
    });
    let sources: Vec<_> = profiles
        .iter()
        .map(|(model, Profile { head, .. })| format!("{model} on {} ({})", head.device, head.power_source))
        .collect();
    // Playing a figure makes it modelled at best; one that was assumed stays so.
    let basis = models.values().map(|model| model.power_basis).fold(Basis::Modelled, Basis::max);
    let provenance = Provenance::new(basis, format!("played from the profile of {}", sources.join(", of ")));
    let mut devices: Vec<_> = profiles.values().map(|profile| profile.head.device.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    let full = idle + models.values().map(|model| model.most_above(idle)).sum();
    DeviceInfo {
        id,
        description: format!("simulated {}", devices.join(" and ")),
        knobs: knobs.collect(),
        idle_power: Some((idle, provenance.clone())),
        full_power: Some((full, provenance.clone())),
        power_provenance: provenance,
    }
}

/// The values that all non-empty `lists` share, in their order; `None` where there are lists but no
/// shared value. An empty list is of a model that the knob does nothing to.
fn shared<'a, T: Copy + PartialEq + 'a>(lists: impl Iterator<Item = &'a [T]>) -> Option<Vec<T>> {
    let mut lists = lists.filter(|list| !list.is_empty());
    let Some(first) = lists.next() else { return Some(Vec::new()) };
    let rest: Vec<_> = lists.collect();
    let values: Vec<_> =
        first.iter().copied().filter(|value| rest.iter().all(|list| list.contains(value))).collect();
    (!values.is_empty()).then_some(values)
}

/// Every value, or one `None` where there is no value.
fn options<T: Copy>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() { vec![None] } else { values.iter().copied().map(Some).collect() }
}
