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
use wattle_core::knob::DeviceSetting;
use wattle_core::played_device::{Knobs, PlayedDevice};
use wattle_core::profile::Profile;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::time::Timestamp;
use wattle_core::units::Megahertz;

use crate::device::{Device, DeviceError, DeviceInfo, Reading};

pub use self::load::{SimulatedError, SimulatedLoad};
pub use wattle_core::played_device::{RunToken, UnplayableProfile};

/// A device that plays profiles. Puts its knobs back when dropped.
#[derive(Debug)]
pub struct SimulatedDevice {
    info: DeviceInfo,
    load: Arc<SimulatedLoad>,
    as_found: Knobs,
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
        let device = PlayedDevice::new(profiles)?;
        let info = info(id, profiles, &device);
        let as_found = device.knobs();
        let load = Arc::new(SimulatedLoad::new(device));
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
