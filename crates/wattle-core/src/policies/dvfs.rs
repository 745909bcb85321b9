//! DVFS: the highest core clock whose power fits a cap that moves, at a fixed batch size.
//!
//! What BatchSizer is compared with in its paper (Nabavinejad, Reda, Ebrahimi): the same search, over
//! the clocks of the device in place of the batch sizes. The batch size is 16 there.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::batch_sizer::changes_to_size;
use super::device_knobs;
use super::level_search::{LevelSearch, SearchOptions};
use crate::id::DeviceId;
use crate::knob::{DeviceKnob, DeviceSetting};
use crate::observation::Observation;
use crate::policy::{Decision, Level, Policy, Reason};
use crate::units::Megahertz;

/// When to ask again: windows of batches are short.
const ASK_AGAIN_IN: Duration = Duration::from_millis(100);
/// Clocks to choose from where the device takes any: as many as the paper's device has.
const LEVELS: usize = 10;

/// What can be set about the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DvfsOptions {
    /// Batch size of all models, or the largest a model takes if that is less. At least 1.
    pub batch_size: u32,
    /// Lower edge of the wanted band, as a share of the cap. In 0 to 1.
    pub band_low: f64,
    /// Batches that are seen before a clock is judged to fit.
    pub window_batches: u64,
    /// After so many seconds a clock seen over the cap may be tried again.
    pub reprobe_after_seconds: f64,
}

impl Default for DvfsOptions {
    fn default() -> Self {
        Self { batch_size: 16, band_low: 0.8, window_batches: 10, reprobe_after_seconds: 300.0 }
    }
}

/// The search over core clocks. All devices that let their clock be turned have the same one, as far
/// as each takes it; the levels are those of the first.
#[derive(Debug, Clone)]
pub struct Dvfs {
    batch_size: u32,
    options: SearchOptions,
    /// `None` until a device is seen.
    search: Option<LevelSearch>,
    /// The clock last asked of each device.
    asked: BTreeMap<DeviceId, f64>,
}

impl Dvfs {
    /// A search that begins at the lowest clock.
    pub fn new(options: &DvfsOptions) -> Self {
        Self {
            batch_size: options.batch_size,
            options: SearchOptions {
                band_low: options.band_low,
                window_batches: options.window_batches,
                reprobe_after: Duration::try_from_secs_f64(options.reprobe_after_seconds)
                    .unwrap_or(Duration::MAX),
                saturation_tolerance: None,
            },
            search: None,
            asked: BTreeMap::new(),
        }
    }

    /// The search over the clocks that can be set now; `None` when none can.
    fn search(&mut self, seen: &Observation) -> Option<&mut LevelSearch> {
        let range =
            seen.devices.iter().find_map(|device| device_knobs::range_of(device, DeviceKnob::CoreClock))?;
        let levels: Vec<Level> = device_knobs::levels(range, LEVELS)
            .into_iter()
            .map(|clock| Level::CoreClockMhz(Megahertz::new(clock)))
            .collect();
        if self.search.as_ref().is_none_or(|search| search.levels() != levels) {
            let mut search = LevelSearch::new(levels, self.options);
            search.begin(seen);
            self.search = Some(search);
        }
        self.search.as_mut()
    }

    /// Sets `clock` on every device that has the knob, where it was not asked for already, or failed.
    fn set_clock(&mut self, clock: f64, seen: &Observation, decision: &mut Decision) {
        for device in &seen.devices {
            let Some(range) = device_knobs::range_of(device, DeviceKnob::CoreClock) else { continue };
            let own = device_knobs::at_most(range, clock);
            if device.settings_failed || self.asked.get(&device.id) != Some(&own) {
                self.asked.insert(device.id.clone(), own);
                let setting = DeviceSetting::CoreClock(Megahertz::new(own));
                decision.devices.insert(device.id.clone(), vec![setting]);
            }
        }
    }
}

impl Policy for Dvfs {
    fn name(&self) -> &'static str {
        "dvfs"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let Some(search) = self.search(seen) else {
            return Decision::keep(Reason::NoKnob { knob: DeviceKnob::CoreClock }, ASK_AGAIN_IN);
        };
        search.take_in(seen);
        let Some(cap) = seen.power_cap.filter(|cap| !cap.get().is_nan()) else {
            return Decision::keep(Reason::NoCap, ASK_AGAIN_IN);
        };
        let reason = search.step(cap, usize::MAX, seen);
        let level = search.level(search.current());
        let mut decision = Decision::keep(reason, ASK_AGAIN_IN);
        if let Level::CoreClockMhz(clock) = level {
            self.set_clock(clock.get(), seen, &mut decision);
        }
        decision.serving.extend(changes_to_size(self.batch_size, seen));
        decision
    }
}
