//! A device whose knobs are put back, whatever happens: the only way in which others turn knobs.
//!
//! Records how each knob stands before it is first turned, and puts it back on
//! [`restore`](Held::restore) and when dropped.

use std::collections::BTreeMap;

use wattle_core::knob::{DeviceKnob, DeviceSetting};
use wattle_core::time::Timestamp;

use crate::device::{Device, DeviceError, DeviceInfo, Inspection, KnobState, Reading};

/// A device, and how each knob that was turned stood before.
pub struct Held {
    device: Box<dyn Device>,
    found: BTreeMap<DeviceKnob, KnobState>,
}

impl Held {
    /// Holds `device`, none of whose knobs has been turned yet.
    pub fn new(device: Box<dyn Device>) -> Self {
        Self { device, found: BTreeMap::new() }
    }

    /// See [`Device::info`].
    pub fn info(&self) -> &DeviceInfo {
        self.device.info()
    }

    /// See [`Device::read`].
    pub fn read(&mut self, now: Timestamp) -> Result<Reading, DeviceError> {
        self.device.read(now)
    }

    /// See [`Device::inspect`].
    pub fn inspect(&mut self, now: Timestamp) -> Inspection {
        self.device.inspect(now)
    }

    /// Turns one knob: refuses what `info` doesn't list, records how the knob stands if this is its
    /// first turn, sets, and reads back. A value between two steps of a knob goes to the lower one, so
    /// that rounding never raises power.
    pub fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
        let setting = setting.with_value(self.device.info().accept(setting)?);
        let knob = setting.knob();
        if !self.found.contains_key(&knob) {
            let state = self.device.knob_state(knob)?;
            self.found.insert(knob, state);
        }
        self.device.apply(setting)
    }

    /// Puts every knob back as it was found. Tries all of them; tells the first failure. What failed is
    /// tried again at the next call; what was put back is not.
    pub fn restore(&mut self) -> Result<(), DeviceError> {
        let mut result = Ok(());
        let device = &mut self.device;
        self.found.retain(|knob, state| match device.put_back(*knob, state) {
            Ok(()) => false,
            Err(error) => {
                if result.is_ok() {
                    result = Err(error);
                }
                true
            }
        });
        result
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("device", self.info()).field("found", &self.found).finish()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            tracing::error!(device = %self.info().id, %error, "failed to put a knob back as it was found");
        }
    }
}
