//! The highest power since a setting was made, with what belongs to the setting before kept out.
//!
//! A sample is a mean over an interval. One that began before a change tells of both settings, and
//! so does one taken while batches begun before the change still run. After a change downwards such
//! samples are too high and would be read as a violation by the new setting: they are dropped. After
//! a change upwards they are too low: they may prove a violation, but not that the setting fits.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::DeviceId;
use crate::observation::{ModelObservation, Observation};
use crate::time::Timestamp;
use crate::units::Watts;

/// After this long a change counts as made, even if batches begun before it might still run.
const LONGEST_SETTLING: Duration = Duration::from_secs(1);

/// When a window's own batches are this many times those in flight at the change, in number and in time,
/// the latter are too small a part of the readings to matter.
const OWN_PER_IN_FLIGHT: u32 = 4;

/// Power and batches since the setting in force was made.
#[derive(Debug, Clone, Default)]
pub(super) struct PowerWindow {
    since: Timestamp,
    /// The change went down: readings of the setting before are higher than those to come.
    went_down: bool,
    /// Batches that may have been running at the change.
    in_flight: u64,
    /// When they are done by their usual time; never later than [`LONGEST_SETTLING`].
    done_by: Timestamp,
    /// Whether those are known to be done.
    settled: bool,
    /// Whether batches ran when the change was made.
    ran_at_change: bool,
    batches_since_change: u64,
    batches: u64,
    devices: BTreeMap<DeviceId, DeviceWindow>,
    /// Samples of this setting that were last taken in, those of all devices added one by one.
    fresh: Vec<Watts>,
}

#[derive(Debug, Clone, Copy, Default)]
struct DeviceWindow {
    /// End of the last sample, which is the start of the next one.
    last_sample: Timestamp,
    power_max: Option<Watts>,
    /// Whether a sample that began after the change is among those counted.
    has_whole_sample: bool,
}

impl PowerWindow {
    /// A setting is made now, after `seen`.
    pub(super) fn restart(&mut self, seen: &Observation, went_down: bool) {
        self.since = seen.now;
        self.went_down = went_down;
        self.in_flight = seen
            .models
            .iter()
            .filter(|model| model.executed_batches > 0 || model.queued_rows > 0 || model.running_batches > 0)
            .map(|model| u64::from(model.setting.instances))
            .sum();
        self.done_by = seen.now + batch_time(seen).unwrap_or(LONGEST_SETTLING).min(LONGEST_SETTLING);
        self.ran_at_change = seen.models.iter().any(|model| model.running_batches > 0);
        self.settled = false;
        self.batches_since_change = 0;
        self.roll();
    }

    /// Begins the next window at the same setting.
    pub(super) fn roll(&mut self) {
        self.batches = 0;
        for device in self.devices.values_mut() {
            device.power_max = None;
            device.has_whole_sample = false;
        }
    }

    /// Takes in what was seen since the last call.
    pub(super) fn take_in(&mut self, seen: &Observation) {
        // The driver makes a change a little after it was decided.
        let made = seen.models.iter().map(|model| model.setting_since).max();
        if let Some(made) = made.filter(|made| *made > self.since) {
            self.since = made;
            self.roll();
        }
        let executed: u64 = seen.models.iter().map(|model| model.executed_batches).sum();
        self.batches += executed;
        self.batches_since_change += executed;
        let mostly_own = self.batches_since_change >= self.in_flight * u64::from(OWN_PER_IN_FLIGHT)
            && seen.now - self.since >= (self.done_by - self.since) * OWN_PER_IN_FLIGHT;
        let counts = !self.went_down || self.settled || mostly_own;
        // None has ended since and some still run: these are the old ones, however long they take.
        let old_ones_run = self.ran_at_change
            && self.batches_since_change == 0
            && seen.models.iter().any(|model| model.running_batches > 0);
        self.settled |= (self.batches_since_change >= self.in_flight && seen.now >= self.done_by)
            || (seen.now - self.since >= LONGEST_SETTLING && !old_ones_run);

        self.fresh.clear();
        for observed in &seen.devices {
            let mut nth = 0;
            if !self.devices.contains_key(&observed.id) {
                self.devices.insert(observed.id.clone(), DeviceWindow::default());
            }
            let Some(device) = self.devices.get_mut(&observed.id) else { continue };
            for sample in &observed.power_samples {
                let whole = device.last_sample >= self.since;
                let of_this_setting = if self.went_down { whole && counts } else { sample.at > self.since };
                device.last_sample = device.last_sample.max(sample.at);
                // A sensor that fails may say NaN: no reading.
                if of_this_setting && sample.power.get().is_finite() {
                    device.power_max =
                        Some(device.power_max.map_or(sample.power, |max| max.max(sample.power)));
                    device.has_whole_sample |= whole;
                    match self.fresh.get_mut(nth) {
                        Some(total) => *total += sample.power,
                        None => self.fresh.push(sample.power),
                    }
                    nth += 1;
                }
            }
        }
        // A device that went away has no power to wait for.
        if self.devices.len() > seen.devices.len() {
            self.devices.retain(|id, _| seen.devices.iter().any(|observed| observed.id == *id));
        }
    }

    /// Total power of the samples last taken in, one by one. Where a device gave fewer than another it
    /// adds nothing: what is told was drawn at least.
    pub(super) fn fresh(&self) -> &[Watts] {
        &self.fresh
    }

    /// Whether the batches begun before the change are known to be done.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Batches in this window.
    pub(super) fn batches(&self) -> u64 {
        self.batches
    }

    /// Batches since the setting was made.
    pub(super) fn batches_since_change(&self) -> u64 {
        self.batches_since_change
    }

    /// The highest power in this window, over all devices together (their maxima added); `None` until
    /// each gave a sample that lies wholly within the setting.
    pub(super) fn power_max(&self) -> Option<Watts> {
        if self.devices.is_empty() || !self.devices.values().all(|device| device.has_whole_sample) {
            return None;
        }
        self.devices.values().map(|device| device.power_max).sum()
    }

    /// Power seen over `cap`, if any. Devices that gave no sample can only add to it.
    pub(super) fn over(&self, cap: Watts) -> Option<Watts> {
        let known: Watts = self.devices.values().filter_map(|device| device.power_max).sum();
        (known > cap).then_some(known)
    }
}

/// How long a batch of the setting before takes, by Little's law over the models; the longest. `None`
/// where a model that ran ended none since the last ask.
fn batch_time(seen: &Observation) -> Option<Duration> {
    let ran = seen.models.iter().filter(|model| model.running_batches > 0 || model.executed_batches > 0);
    let time = |model: &ModelObservation| {
        let ended = u32::try_from(model.executed_batches).ok().filter(|ended| *ended > 0)?;
        Some(model.interval * model.running_batches.max(model.setting.instances) / ended)
    };
    ran.map(time).try_fold(Duration::ZERO, |longest, time| Some(longest.max(time?)))
}
