//! What can be turned, and how far.
//!
//! Device knobs are turned in a driver (`wattle-device`), serving knobs in the executor
//! (`wattle-server`). A policy turns both with one hand.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Megahertz, Watts};

/// One knob of a device, set to one value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceSetting {
    /// Compute units in use: cores of a CPU, CUs or SMs of a GPU.
    ComputeUnits(u32),
    /// Highest core clock.
    CoreClock(Megahertz),
    /// The hardware's own power limit: a backstop, never the main actuator.
    PowerLimit(Watts),
}

impl DeviceSetting {
    /// The value asked for, in the unit of the setting.
    pub fn value(&self) -> f64 {
        match self {
            Self::ComputeUnits(units) => f64::from(*units),
            Self::CoreClock(clock) => clock.get(),
            Self::PowerLimit(limit) => limit.get(),
        }
    }

    /// The same knob set to another value, in the unit of the setting.
    pub fn with_value(&self, value: f64) -> Self {
        match self {
            Self::ComputeUnits(_) => Self::ComputeUnits(value as u32),
            Self::CoreClock(_) => Self::CoreClock(Megahertz::new(value)),
            Self::PowerLimit(_) => Self::PowerLimit(Watts::new(value)),
        }
    }

    /// Which knob this setting turns.
    pub const fn knob(&self) -> DeviceKnob {
        match self {
            Self::ComputeUnits(_) => DeviceKnob::ComputeUnits,
            Self::CoreClock(_) => DeviceKnob::CoreClock,
            Self::PowerLimit(_) => DeviceKnob::PowerLimit,
        }
    }
}

/// A knob that a device may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKnob {
    /// See [`DeviceSetting::ComputeUnits`].
    ComputeUnits,
    /// See [`DeviceSetting::CoreClock`].
    CoreClock,
    /// See [`DeviceSetting::PowerLimit`].
    PowerLimit,
}

impl DeviceKnob {
    /// The knob's name, as in files and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ComputeUnits => "compute_units",
            Self::CoreClock => "core_clock",
            Self::PowerLimit => "power_limit",
        }
    }

    /// The unit of the knob's values, for people.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::ComputeUnits => "units",
            Self::CoreClock => "MHz",
            Self::PowerLimit => "W",
        }
    }
}

impl std::fmt::Display for DeviceKnob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// How far one knob of a device turns. Values are in the unit of its [`DeviceSetting`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnobRange {
    /// Which knob.
    pub knob: DeviceKnob,
    /// Smallest value the device takes.
    pub min: f64,
    /// Largest value the device takes.
    pub max: f64,
    /// The only values it takes, ascending; empty when any value in the range will do.
    pub steps: Vec<f64>,
}

impl KnobRange {
    /// The value to turn the knob to when `asked` for one: as asked, or the step below it where the knob
    /// has steps, so that rounding never raises power. `None` out of its range.
    pub fn accept(&self, asked: f64) -> Option<f64> {
        (self.min..=self.max)
            .contains(&asked)
            .then(|| self.steps.iter().copied().rfind(|step| *step <= asked).unwrap_or(asked))
    }
}

/// Every serving knob of one model, as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ServingSetting {
    /// Most rows that run together, `b`. At least 1.
    pub batch_size: u32,
    /// Instances that run batches side by side, `m`. Zero parks the model: requests wait.
    pub instances: u32,
    /// Compute threads of one instance. At least 1.
    pub cores_per_instance: u32,
    /// Share of time in which the instances may compute, in (0, 1]. Below 1, an instance stays idle
    /// after each batch (idle injection), which lowers power where no clock can be turned.
    pub duty_cycle: f64,
    /// How long a batch that is not full waits for more rows. Zero: never.
    #[serde(rename = "max_queue_delay_us", with = "micros")]
    pub max_queue_delay: Duration,
    /// Most requests that wait. The next one is refused.
    pub max_queue_size: u32,
}

impl ServingSetting {
    /// How long an instance stays idle after computing for `busy`, to keep its duty cycle.
    pub fn rest_after(&self, busy: Duration) -> Duration {
        busy.mul_f64((1.0 / self.duty_cycle - 1.0).clamp(0.0, 1000.0))
    }
}

/// A change of some serving knobs of one model; `None` leaves the knob alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServingChange {
    /// See [`ServingSetting::batch_size`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// See [`ServingSetting::instances`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// See [`ServingSetting::cores_per_instance`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores_per_instance: Option<u32>,
    /// See [`ServingSetting::duty_cycle`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duty_cycle: Option<f64>,
    /// See [`ServingSetting::max_queue_delay`].
    #[serde(rename = "max_queue_delay_us", with = "option_micros", skip_serializing_if = "Option::is_none")]
    pub max_queue_delay: Option<Duration>,
    /// See [`ServingSetting::max_queue_size`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queue_size: Option<u32>,
}

impl ServingChange {
    /// `setting` with this change made.
    pub fn apply_to(&self, setting: ServingSetting) -> ServingSetting {
        ServingSetting {
            batch_size: self.batch_size.unwrap_or(setting.batch_size),
            instances: self.instances.unwrap_or(setting.instances),
            cores_per_instance: self.cores_per_instance.unwrap_or(setting.cores_per_instance),
            duty_cycle: self.duty_cycle.unwrap_or(setting.duty_cycle),
            max_queue_delay: self.max_queue_delay.unwrap_or(setting.max_queue_delay),
            max_queue_size: self.max_queue_size.unwrap_or(setting.max_queue_size),
        }
    }

    /// Whether this change turns nothing of `setting`.
    pub fn is_noop_for(&self, setting: ServingSetting) -> bool {
        self.apply_to(setting) == setting
    }
}

/// A serving knob was given a value it can't take.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{knob} is {found}, expected {expected}")]
pub struct SettingError {
    /// Which knob, by its name in files.
    pub knob: &'static str,
    /// What was given.
    pub found: String,
    /// What it takes.
    pub expected: String,
}

/// How far the serving knobs of one model turn on this server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ServingLimits {
    /// Largest batch the model takes; 1 when it can't be batched.
    pub max_batch_size: u32,
    /// Most instances that may be asked for.
    pub max_instances: u32,
    /// Most compute threads one instance may have.
    pub max_cores_per_instance: u32,
}

impl ServingLimits {
    /// Checks that every knob of `setting` is within what it takes.
    pub fn check(&self, setting: &ServingSetting) -> Result<(), SettingError> {
        let within = |knob, found: u32, min: u32, max: u32| {
            if (min..=max).contains(&found) {
                return Ok(());
            }
            Err(SettingError { knob, found: found.to_string(), expected: format!("{min} to {max}") })
        };
        within("batch_size", setting.batch_size, 1, self.max_batch_size)?;
        within("instances", setting.instances, 0, self.max_instances)?;
        within("cores_per_instance", setting.cores_per_instance, 1, self.max_cores_per_instance)?;
        within("max_queue_size", setting.max_queue_size, 1, u32::MAX)?;
        if !(setting.duty_cycle > 0.0 && setting.duty_cycle <= 1.0) {
            return Err(SettingError {
                knob: "duty_cycle",
                found: setting.duty_cycle.to_string(),
                expected: "more than 0 and at most 1".into(),
            });
        }
        Ok(())
    }
}

/// Durations as whole microseconds, the unit Triton's clients use for queue delays.
mod micros {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_micros)
    }
}

/// As [`micros`], for a knob that may be left alone.
mod option_micros {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::micros::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> ServingSetting {
        ServingSetting {
            batch_size: 8,
            instances: 1,
            cores_per_instance: 1,
            duty_cycle: 1.0,
            max_queue_delay: Duration::ZERO,
            max_queue_size: 100,
        }
    }

    #[test]
    fn limits_name_the_knob_what_was_found_and_what_is_expected() {
        let limits = ServingLimits { max_batch_size: 32, max_instances: 2, max_cores_per_instance: 2 };
        assert_eq!(limits.check(&setting()), Ok(()));
        let check = |change: ServingChange, expected: &str| {
            assert_eq!(limits.check(&change.apply_to(setting())).unwrap_err().to_string(), expected);
        };
        check(
            ServingChange { batch_size: Some(0), ..Default::default() },
            "batch_size is 0, expected 1 to 32",
        );
        check(ServingChange { instances: Some(3), ..Default::default() }, "instances is 3, expected 0 to 2");
        check(
            ServingChange { duty_cycle: Some(f64::NAN), ..Default::default() },
            "duty_cycle is NaN, expected more than 0 and at most 1",
        );
    }

    #[test]
    fn a_change_leaves_the_other_knobs_alone() {
        let change = ServingChange { instances: Some(2), ..Default::default() };
        assert_eq!(change.apply_to(setting()), ServingSetting { instances: 2, ..setting() });
        assert!(!change.is_noop_for(setting()));
        assert!(ServingChange::default().is_noop_for(setting()));
    }
}
