//! What a device is in truth, where it is not as its profiles say.

use std::collections::BTreeMap;

use wattle_core::id::ModelName;
use wattle_core::played_device::PlayedDevice;
use wattle_core::profile::{Profile, idle_power_of};
use wattle_core::units::Watts;

use super::DeviceFile;
use super::check::number;
use super::files::Files;
use super::load::{ScenarioError, wrong};

/// A device over its profiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// Of power above idle.
    pub power_ratio: f64,
    /// Of the time that batches take.
    pub batch_time_ratio: f64,
}

impl Truth {
    /// The device is as its profiles say.
    pub const AS_PROFILED: Self = Self { power_ratio: 1.0, batch_time_ratio: 1.0 };

    /// What the scenario says of `device`.
    pub(super) fn read(device: &DeviceFile, files: &Files<'_>) -> Result<Self, ScenarioError> {
        let ratio = |key: &str, value: f64| {
            let place = format!("devices.{}.{key}", device.name);
            let value = number(files, &place, value)?;
            // Far beyond what any device is off by.
            let is_lawful = (0.01..=100.0).contains(&value);
            if is_lawful {
                Ok(value)
            } else {
                Err(wrong(files.name(), &place, &value.to_string(), "0.01 to 100"))
            }
        };
        Ok(Self {
            power_ratio: ratio("power_ratio", device.power_ratio)?,
            batch_time_ratio: ratio("batch_time_ratio", device.batch_time_ratio)?,
        })
    }

    /// Whether the device is as its profiles say.
    pub(super) fn is_as_profiled(self) -> bool {
        self == Self::AS_PROFILED
    }

    /// The profiles of one device as it would be profiled now.
    pub(crate) fn of(self, profiles: &BTreeMap<ModelName, Profile>) -> BTreeMap<ModelName, Profile> {
        let idle = idle_power_of(profiles.values()).unwrap_or(Watts::ZERO);
        let scaled = |profile: &Profile| profile.scaled(self.batch_time_ratio, self.power_ratio, idle);
        profiles.iter().map(|(name, profile)| (name.clone(), scaled(profile))).collect()
    }
}

/// A device that plays `profiles`, as it is in truth.
pub(super) fn played(
    profiles: &BTreeMap<ModelName, Profile>,
    truth: Truth,
    shared_idle: Watts,
    (file, device): (&str, &str),
) -> Result<PlayedDevice, ScenarioError> {
    let played = PlayedDevice::new(&truth.of(profiles)).map_err(|error| ScenarioError::Unfit {
        file: file.to_owned(),
        place: format!("devices.{device}"),
        cause: error.to_string(),
    })?;
    Ok(played.with_shared_idle(shared_idle))
}
