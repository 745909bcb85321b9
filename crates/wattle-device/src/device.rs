//! The seam of all devices. Knobs are data: a new knob adds no method.

use serde::Serialize;
use wattle_core::id::DeviceId;
use wattle_core::knob::{DeviceKnob, DeviceSetting, KnobRange};
use wattle_core::provenance::Provenance;
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};

/// One piece of hardware that draws power.
///
/// A driver owns its knobs: it records each value before it first changes it, and puts every knob
/// back on [`restore`](Device::restore) and when dropped.
pub trait Device: Send {
    /// What it is and which knobs it has, each with its range. Constant while open.
    fn info(&self) -> &DeviceInfo;

    /// Takes one sample. `now` is the driver's time, for devices that integrate or play power.
    fn read(&mut self, now: Timestamp) -> Result<Reading, DeviceError>;

    /// Turns one knob: refuses what `info` doesn't list, sets, and reads back. A value between two
    /// steps of a knob goes to the lower one, so that rounding never raises power.
    fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError>;

    /// Puts every knob back as it was found. The owner calls it on every way out; calling it twice
    /// does nothing more.
    fn restore(&mut self) -> Result<(), DeviceError>;
}

/// What a device is. Constant while the device is open.
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

    /// The value to turn `setting`'s knob to, in the unit of the setting: as asked, or the step below
    /// it where the knob has steps.
    ///
    /// # Errors
    /// [`DeviceError::NoSuchKnob`] and [`DeviceError::OutOfRange`].
    pub fn accept(&self, setting: DeviceSetting) -> Result<f64, DeviceError> {
        let knob = setting.knob();
        let Some(range) = self.range(knob) else {
            let available = self.knobs.iter().map(|range| range.knob).collect();
            return Err(DeviceError::NoSuchKnob { device: self.id.clone(), knob, available });
        };
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
