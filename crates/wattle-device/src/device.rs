//! The seam of all devices. Knobs are data: a new knob adds no method.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wattle_core::id::DeviceId;
use wattle_core::knob::{DeviceKnob, DeviceSetting, KnobRange};
use wattle_core::provenance::Provenance;
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};

use crate::lease::LeaseError;

/// One piece of hardware that draws power.
///
/// A driver turns knobs and forgets: that each is put back on every way out is the work of
/// [`Held`](crate::held::Held), by way of [`knob_state`](Device::knob_state) and
/// [`put_back`](Device::put_back).
pub trait Device: Send {
    /// What it is and which knobs it has, each with its range. Constant while open, but for how its power is
    /// known, which some drivers find out while they read.
    fn info(&self) -> &DeviceInfo;

    /// Takes one sample. `now` is the driver's time, for devices that integrate or play power.
    fn read(&mut self, now: Timestamp) -> Result<Reading, DeviceError>;

    /// Turns one knob and reads it back. `setting` is one that [`DeviceInfo::accept`] lets through, with
    /// the value it gives: [`Held`](crate::held::Held) sees to that.
    fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError>;

    /// How a knob that `info` lists stands, so that [`put_back`](Device::put_back) can make it so again:
    /// after this process has ended, too, and by another. Empty where the knob ends with this process,
    /// as a budget of threads does, and nowhere else.
    fn knob_state(&mut self, knob: DeviceKnob) -> Result<KnobState, DeviceError>;

    /// Makes a knob stand as `state` says, and reads back. Tries all of it; tells the first failure.
    fn put_back(&mut self, knob: DeviceKnob, state: &KnobState) -> Result<(), DeviceError>;

    /// Every sensor and knob, for people: how it reads now, where it comes from, what it would need.
    fn inspect(&mut self, now: Timestamp) -> Inspection;
}

/// How a knob stands, in the words of its driver: what of the device, and its value, such as
/// `policy0` and `2400000`. Only the driver that wrote it reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KnobState(pub BTreeMap<String, String>);

/// Everything there is to see of a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Inspection {
    /// What can be read.
    pub sensors: Vec<SensorView>,
    /// What can be turned, or could be with the right permission.
    pub knobs: Vec<KnobView>,
    /// Facts in words, such as the version of the driver, reasons to throttle, partitions, topology.
    pub facts: Vec<(&'static str, Access<String>)>,
}

/// One sensor, as it reads now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SensorView {
    /// What it measures, such as `power_instant`.
    pub name: &'static str,
    /// The unit of the reading, such as `W`.
    pub unit: &'static str,
    /// The counter, file or call it comes from.
    pub source: String,
    /// What it reads.
    pub reading: Access<f64>,
}

/// One knob, as it stands now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnobView {
    /// Which knob.
    pub knob: DeviceKnob,
    /// The unit of its values, such as `MHz`.
    pub unit: &'static str,
    /// The file or call that turns it.
    pub source: String,
    /// How far it turns, when that is known.
    pub range: Option<KnobRange>,
    /// Where it stands; `None` inside where nothing limits it.
    pub stands: Access<Option<f64>>,
    /// Whether this process may turn it.
    pub turnable: Access<()>,
}

/// What can be had here, or why not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access<T> {
    /// Here it is.
    Here(T),
    /// The machine has no such thing, as virtual machines have no clocks.
    Absent {
        /// What was looked for, and where.
        because: String,
    },
    /// It is there, but not for this user.
    Denied {
        /// What was refused.
        because: String,
        /// The capability or command that grants it.
        fix: String,
    },
    /// It is there, but failed.
    Failed {
        /// What the system said.
        because: String,
    },
}

/// What a device is. Constant while the device is open, but for how its power is known.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceInfo {
    /// Its name, unique on this machine.
    pub id: DeviceId,
    /// Its model, such as `Intel(R) Xeon(R) …`, as the hardware tells it.
    pub description: String,
    /// Its knobs, each with its range.
    pub knobs: Vec<KnobRange>,
    /// How its power is known.
    pub power_provenance: Provenance,
    /// What it draws with nothing to do, and how that is known. `None`: not known.
    pub idle_power: Option<(Watts, Provenance)>,
    /// The most it draws, where that is known.
    pub full_power: Option<(Watts, Provenance)>,
}

impl DeviceInfo {
    /// How far `knob` turns on this device, or `None` where it has no such knob.
    pub fn range(&self, knob: DeviceKnob) -> Option<&KnobRange> {
        self.knobs.iter().find(|range| range.knob == knob)
    }

    /// The error of being asked for a knob that is not here.
    pub fn no_such_knob(&self, knob: DeviceKnob) -> DeviceError {
        let available = self.knobs.iter().map(|range| range.knob).collect();
        DeviceError::NoSuchKnob { device: self.id.clone(), knob, available }
    }

    /// The value to turn `setting`'s knob to, in the unit of the setting: as asked, or the step below
    /// it where the knob has steps.
    ///
    /// # Errors
    /// [`DeviceError::NoSuchKnob`] and [`DeviceError::OutOfRange`].
    pub fn accept(&self, setting: DeviceSetting) -> Result<f64, DeviceError> {
        let knob = setting.knob();
        let range = self.range(knob).ok_or_else(|| self.no_such_knob(knob))?;
        range.accept(setting.value()).ok_or_else(|| DeviceError::OutOfRange {
            device: self.id.clone(),
            knob,
            found: setting.value(),
            min: range.min,
            max: range.max,
        })
    }
}

/// One sample of one device. `None` is unknown, never zero.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// When it was taken.
    pub at: Timestamp,
    /// Energy drawn since the device's first reading. Cumulative; never runs backwards.
    pub energy: Option<Joules>,
    /// Power now, where the device tells it apart from energy.
    pub power: Option<Watts>,
    /// Share of the device's busy time since the last reading that is this process's own, in [0, 1].
    pub own_share: Option<f64>,
    /// Share of the device that was busy since the last reading, in [0, 1].
    pub utilization: Option<f64>,
}

/// A device could not be read or turned.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A file of the system could not be read or written.
    #[error("failed to {action} {path}: {source}{hint}")]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Which file.
        path: String,
        /// What to do about it, starting with `; `, or empty.
        hint: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the system holds something else than a driver of this kind writes.
    #[error("{path} holds {found:?}, expected {expected}")]
    Content {
        /// Which file.
        path: String,
        /// What stands in it.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The device has no such knob.
    #[error("{device} has no knob {knob:?}; it has {available:?}")]
    NoSuchKnob {
        /// Which device.
        device: DeviceId,
        /// The knob asked for.
        knob: DeviceKnob,
        /// The knobs it has.
        available: Vec<DeviceKnob>,
    },
    /// The value is out of the knob's range.
    #[error("{device}: {knob:?} of {found} is out of its range, {min} to {max}")]
    OutOfRange {
        /// Which device.
        device: DeviceId,
        /// Which knob.
        knob: DeviceKnob,
        /// The value asked for.
        found: f64,
        /// Smallest value it takes.
        min: f64,
        /// Largest value it takes.
        max: f64,
    },
    /// A driver's library or service failed or refused.
    #[error("{device}: failed to {action}: {said}{hint}")]
    Driver {
        /// Which device.
        device: DeviceId,
        /// What was tried, such as `read the power`.
        action: String,
        /// What the library said.
        said: String,
        /// What to do about it, starting with `; `, or empty.
        hint: &'static str,
    },
    /// The device takes no more commands, as a GPU that fell off its bus.
    #[error("{device} is lost: {said}; reset or replace it, then start again")]
    Lost {
        /// Which device.
        device: DeviceId,
        /// What the driver said.
        said: String,
    },
    /// What was recorded of a knob can't be put back, because it isn't what this driver records.
    #[error("{device}: {knob:?} was recorded as {found}, expected {expected}; put it back by hand")]
    State {
        /// Which device.
        device: DeviceId,
        /// Which knob.
        knob: DeviceKnob,
        /// What was recorded.
        found: String,
        /// What this driver records.
        expected: &'static str,
    },
    /// How a knob stands could not be recorded, so it was not turned.
    #[error("{knob:?} was not turned: {source}")]
    NotRecorded {
        /// Which knob.
        knob: DeviceKnob,
        /// What failed.
        source: LeaseError,
    },
    /// The dead man's switch put the knobs back, because whoever turned them gave no sign of life.
    #[error(
        "{device}: {knob:?} stands as it was found, because the control loop stalled; what it was set to is void"
    )]
    Stalled {
        /// Which device.
        device: DeviceId,
        /// Which knob.
        knob: DeviceKnob,
    },
    /// The device took the value but reads back another.
    #[error("{device}: {knob:?} was set to {wanted} but reads back {found}")]
    ReadBack {
        /// Which device.
        device: DeviceId,
        /// Which knob.
        knob: DeviceKnob,
        /// The value written.
        wanted: f64,
        /// The value read.
        found: f64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_core::provenance::Basis;
    use wattle_core::units::Megahertz;

    #[test]
    fn a_setting_is_refused_out_of_range_and_rounded_down_to_a_step_within_it() {
        let info = DeviceInfo {
            id: "cpu".into(),
            description: String::new(),
            knobs: vec![KnobRange {
                knob: DeviceKnob::CoreClock,
                min: 800.0,
                max: 2400.0,
                steps: vec![800.0, 1600.0, 2400.0],
            }],
            power_provenance: Provenance::new(Basis::Assumed, "test"),
            idle_power: None,
            full_power: None,
        };
        let accept = |mhz| info.accept(DeviceSetting::CoreClock(Megahertz::new(mhz)));
        assert_eq!(accept(800.0).unwrap(), 800.0);
        assert_eq!(accept(2399.0).unwrap(), 1600.0);
        assert_eq!(accept(2400.0).unwrap(), 2400.0);
        assert!(matches!(accept(799.0), Err(DeviceError::OutOfRange { .. })));
        assert!(matches!(accept(f64::NAN), Err(DeviceError::OutOfRange { .. })));
        assert_eq!(
            info.accept(DeviceSetting::ComputeUnits(1)).unwrap_err().to_string(),
            "cpu has no knob ComputeUnits; it has [CoreClock]"
        );
    }
}
