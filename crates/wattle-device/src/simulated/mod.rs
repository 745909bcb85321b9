//! A device made of profiles: plays the time and power of hardware that isn't there.
//!
//! Ships to users, for trying Wattle out and for replays. The runtime side is [`SimulatedLoad`]. Knows
//! no clock: all times are given.

mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use wattle_core::id::{DeviceId, ModelName};
use wattle_core::knob::{DeviceKnob, DeviceSetting, KnobRange};
use wattle_core::played_device::{Knobs, PlayedDevice};
use wattle_core::profile::Profile;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::time::Timestamp;
use wattle_core::units::{Megahertz, Watts};

use crate::device::{
    Access, Device, DeviceError, DeviceInfo, Inspection, KnobState, KnobView, Reading, SensorView,
};

pub use self::load::{SimulatedError, SimulatedLoad};
pub use wattle_core::played_device::{RunToken, UnplayableProfile};

/// A device that plays profiles.
#[derive(Debug)]
pub struct SimulatedDevice {
    info: DeviceInfo,
    load: Arc<SimulatedLoad>,
}

impl SimulatedDevice {
    /// A device `id` that plays `profiles` as [`PlayedDevice`] does, and the side by which a runtime
    /// tells it what it runs.
    ///
    /// # Errors
    /// Where the profiles leave open what the device would do.
    pub fn new(
        id: DeviceId,
        profiles: &BTreeMap<ModelName, Profile>,
    ) -> Result<(Self, Arc<SimulatedLoad>), UnplayableProfile> {
        Self::with_shared_idle(id, profiles, Watts::ZERO)
    }

    /// The same, whose models share parts that draw `shared_idle` once while anything runs, as
    /// [`PlayedDevice::with_shared_idle`] has it.
    ///
    /// # Errors
    /// Where the profiles leave open what the device would do.
    pub fn with_shared_idle(
        id: DeviceId,
        profiles: &BTreeMap<ModelName, Profile>,
        shared_idle: Watts,
    ) -> Result<(Self, Arc<SimulatedLoad>), UnplayableProfile> {
        let device = PlayedDevice::new(profiles)?.with_shared_idle(shared_idle);
        let info = info(id, profiles, &device);
        let load = Arc::new(SimulatedLoad::new(device));
        Ok((Self { info, load: Arc::clone(&load) }, load))
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
        let knobs = self.load.knobs();
        self.load.turn(match setting {
            DeviceSetting::CoreClock(clock) => Knobs { clock: Some(clock), ..knobs },
            DeviceSetting::ComputeUnits(units) => Knobs { units: Some(units), ..knobs },
            DeviceSetting::PowerLimit(_) => knobs, // never among the knobs, so never accepted
        });
        Ok(())
    }

    fn knob_state(&mut self, knob: DeviceKnob) -> Result<KnobState, DeviceError> {
        let value = self.stands(knob).map(|value| (knob.name().to_owned(), value.to_string()));
        Ok(KnobState(value.into_iter().collect()))
    }

    fn put_back(&mut self, knob: DeviceKnob, state: &KnobState) -> Result<(), DeviceError> {
        let recorded = state.0.get(knob.name());
        let Some(value) = recorded.and_then(|value| value.parse::<f64>().ok()) else {
            return Err(DeviceError::State {
                device: self.info.id.clone(),
                knob,
                found: format!("{:?}", state.0),
                expected: "the name of the knob and a number",
            });
        };
        let knobs = self.load.knobs();
        self.load.turn(match knob {
            DeviceKnob::CoreClock => Knobs { clock: Some(Megahertz::new(value)), ..knobs },
            DeviceKnob::ComputeUnits => Knobs { units: Some(value as u32), ..knobs },
            DeviceKnob::PowerLimit => knobs,
        });
        Ok(())
    }

    fn inspect(&mut self, now: Timestamp) -> Inspection {
        let sample = self.load.sample(now);
        let sensor = |name, unit, reading| SensorView {
            name,
            unit,
            source: self.info.power_provenance.to_string(),
            reading: Access::Here(reading),
        };
        let knob = |range: &KnobRange| KnobView {
            knob: range.knob,
            unit: range.knob.unit(),
            source: "played".into(),
            range: Some(range.clone()),
            stands: Access::Here(self.stands(range.knob)),
            turnable: Access::Here(()),
        };
        Inspection {
            sensors: vec![
                sensor("power_instant", "W", sample.power.get()),
                sensor("energy", "J", sample.energy.get()),
            ],
            knobs: self.info.knobs.iter().map(knob).collect(),
            facts: Vec::new(),
        }
    }
}

impl SimulatedDevice {
    /// Where `knob` stands; `None` where it has never been set.
    fn stands(&self, knob: DeviceKnob) -> Option<f64> {
        let knobs = self.load.knobs();
        match knob {
            DeviceKnob::CoreClock => knobs.clock.map(Megahertz::get),
            DeviceKnob::ComputeUnits => knobs.units.map(f64::from),
            DeviceKnob::PowerLimit => None,
        }
    }
}

/// What the device says of itself.
fn info(id: DeviceId, profiles: &BTreeMap<ModelName, Profile>, device: &PlayedDevice) -> DeviceInfo {
    let sources: Vec<_> = profiles
        .iter()
        .map(|(model, Profile { head, .. })| format!("{model} on {} ({})", head.device, head.power_source))
        .collect();
    // Playing a figure makes it modelled at best; one that was assumed stays so.
    let basis = device.power_basis().map_or(Basis::Modelled, |basis| basis.max(Basis::Modelled));
    let provenance = Provenance::new(basis, format!("played from the profile of {}", sources.join(", of ")));
    let mut devices: Vec<_> = profiles.values().map(|profile| profile.head.device.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    DeviceInfo {
        id,
        description: format!("simulated {}", devices.join(" and ")),
        knobs: device.knob_ranges(),
        idle_power: Some((device.idle_power(), provenance.clone())),
        full_power: Some((device.full_power(), provenance.clone())),
        power_provenance: provenance,
    }
}
