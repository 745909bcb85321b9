//! A device whose knobs are put back, whatever happens: the only way in which others turn knobs.
//!
//! Records how each knob stands before it is first turned, and puts it back on
//! [`restore`](Held::restore) and when dropped. With a lease folder, what is recorded also stands in a
//! file, so that another process can put it back if this one is killed. With a watch, it is put back if
//! whoever turns the knobs stalls.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use wattle_core::knob::{DeviceKnob, DeviceSetting};
use wattle_core::time::Timestamp;

use crate::deadman::{DeadMan, Reopen, Stalls, Watched};
use crate::device::{Device, DeviceError, DeviceInfo, Inspection, KnobState, Reading};
use crate::lease::{Hold, Lease, LeaseError, LeaseFolder};

/// A device, and how each knob that was turned stood before.
pub struct Held {
    device: Box<dyn Device>,
    watched: Arc<Watched>,
    hold: Option<Hold>,
    watch: Option<DeadMan>,
    /// Stalls that were told of already.
    told_stalls: u64,
}

impl Held {
    /// Holds `device`, none of whose knobs has been turned yet. What is recorded ends with this process.
    pub fn new(device: Box<dyn Device>) -> Self {
        Self { device, watched: Arc::default(), hold: None, watch: None, told_stalls: 0 }
    }

    /// Holds `device`, so that no other process can, and records in `folder` how its knobs stand before
    /// they are turned. For a device that [needs a lease](needs_lease).
    ///
    /// # Errors
    /// [`LeaseError::InUse`] where another process holds it, and [`LeaseError::Left`] where one was
    /// killed and what it left is not [put back](crate::recover::recover) yet.
    pub fn with_lease(device: Box<dyn Device>, folder: &LeaseFolder) -> Result<Self, LeaseError> {
        let id = device.info().id.clone();
        let hold = folder.hold(&id)?;
        if hold.file().exists() {
            return Err(LeaseError::Left { device: id, path: hold.file().into() });
        }
        let mut held = Self::new(device);
        held.hold = Some(hold);
        Ok(held)
    }

    /// From now on the knobs are put back, by a thread of its own and a device that `reopen` opens, when
    /// no [`beat`](Self::beat) came for `timeout` while one is turned.
    ///
    /// # Errors
    /// Where the thread can't be started.
    pub fn watch(&mut self, timeout: Duration, reopen: Reopen) -> std::io::Result<()> {
        let device = self.info().id.clone();
        self.watch = Some(DeadMan::watch(device, Arc::clone(&self.watched), timeout, reopen)?);
        Ok(())
    }

    /// A sign of life of whoever turns the knobs.
    pub fn beat(&self) {
        self.watched.beat();
    }

    /// Whether the knobs were put back for want of a beat since this was last asked: what they were set
    /// to is void.
    pub fn take_stall(&mut self) -> bool {
        let stalls = self.watched.knobs().stalls;
        std::mem::replace(&mut self.told_stalls, stalls) != stalls
    }

    /// How often that happened, for another thread to look at.
    pub fn stalls(&self) -> Stalls {
        Stalls(Arc::clone(&self.watched))
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
    ///
    /// # Errors
    /// Those of the driver; [`DeviceError::NotRecorded`], and the knob is not turned; and
    /// [`DeviceError::Stalled`] where the knobs were put back for want of a beat in the meantime, and so
    /// is this one.
    pub fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
        let setting = setting.with_value(self.device.info().accept(setting)?);
        let knob = setting.knob();
        let found = self.record(knob)?;
        let stalls = {
            let mut knobs = self.watched.knobs();
            if knobs.are_being_put_back {
                return Err(self.stalled(knob));
            }
            knobs.are_turned = true;
            knobs.stalls
        };
        if let Some(watch) = &self.watch {
            watch.wake();
        }
        let applied = self.device.apply(setting);
        let is_void = {
            let knobs = self.watched.knobs();
            // Put back during a stall that was counted before, too: several knobs are turned between two beats.
            knobs.are_being_put_back || knobs.stalls != stalls || !knobs.are_turned
        };
        if is_void {
            // The driver hung, and the setting may have been made after the knob was put back.
            self.device.put_back(knob, &found)?;
            return Err(self.stalled(knob));
        }
        applied
    }

    /// Puts every knob back as it was found. Tries all of them; tells the first failure. What failed is
    /// tried again at the next call; what was put back is not.
    pub fn restore(&mut self) -> Result<(), DeviceError> {
        let found = self.watched.knobs().found.clone();
        let mut result = Ok(());
        let mut changed = false;
        for (knob, state) in found {
            match self.device.put_back(knob, &state) {
                Ok(()) => {
                    self.watched.knobs().found.remove(&knob);
                    changed = true;
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        {
            let mut knobs = self.watched.knobs();
            knobs.are_turned = !knobs.found.is_empty();
        }
        if changed && let Err(error) = self.write_lease() {
            tracing::warn!(device = %self.info().id, %error, "knobs are put back, but their lease still stands");
        }
        result
    }

    /// How `knob` stood before its first turn. Recorded, in the file too, if this is the first.
    fn record(&mut self, knob: DeviceKnob) -> Result<KnobState, DeviceError> {
        if let Some(found) = self.watched.knobs().found.get(&knob) {
            return Ok(found.clone());
        }
        let found = self.device.knob_state(knob)?;
        self.watched.knobs().found.insert(knob, found.clone());
        if !is_of_process(&found)
            && let Err(source) = self.write_lease()
        {
            self.watched.knobs().found.remove(&knob);
            return Err(DeviceError::NotRecorded { knob, source });
        }
        Ok(found)
    }

    /// Makes the lease file say what is recorded; there is none where nothing is.
    fn write_lease(&self) -> Result<(), LeaseError> {
        let Some(hold) = &self.hold else { return Ok(()) };
        let mut found = self.watched.knobs().found.clone();
        found.retain(|_, state| !is_of_process(state));
        if found.is_empty() {
            return hold.remove();
        }
        let info = self.info();
        hold.write(&Lease::new(info.id.clone(), info.description.clone(), found))
    }

    fn stalled(&self, knob: DeviceKnob) -> DeviceError {
        DeviceError::Stalled { device: self.info().id.clone(), knob }
    }
}

/// Whether a knob of `device` stays as it is turned when this process ends. Where all end with it, as a
/// budget of threads does, several processes can turn theirs side by side.
pub fn needs_lease(device: &mut dyn Device) -> bool {
    let knobs: Vec<_> = device.info().knobs.iter().map(|range| range.knob).collect();
    // One whose state can't be read now may stay as well.
    knobs.into_iter().any(|knob| device.knob_state(knob).map_or(true, |state| !is_of_process(&state)))
}

/// Whether a knob that stands so ends with the process: there is nothing to put back in another one.
fn is_of_process(state: &KnobState) -> bool {
    state.0.is_empty()
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("device", self.info())
            .field("found", &self.watched.knobs().found)
            .finish()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            tracing::error!(device = %self.info().id, %error, "failed to put a knob back as it was found");
        }
    }
}
