//! BatchSizer: the largest batch size whose power fits a cap that moves, found by bisection.
//!
//! After "BatchSizer: Power-Performance Trade-off for DNN Inference" (Nabavinejad, Reda,
//! Ebrahimi), in the form that its prose describes and that recovers when a cap that fell rises
//! again. Algorithm 1 as printed is in [`printed`].
//!
//! ```text
//!           max > cap: at once, to the middle of what is known to fit and here
//!         ┌────────────────────────────────────────────────────────────────────┐
//!   ┌─────▼─────┐  10 batches   ┌───────┐ alpha·cap <= max <= cap   ┌──────────┴┐
//!   │ gathering ├──────────────►│ judge ├──────────────────────────►│   hold    │
//!   └─────▲─────┘               └─┬───┬─┘ the next size is known    └───────────┘
//!         │ max < alpha·cap       │   └────to be over the cap────────────▲
//!         └───to the middle of────┘
//!             here and the smallest size known to be over the cap
//! ```
//!
//! What was seen at each size is remembered, and the bounds of the search are read from it under the
//! cap in force. So a cap that rises opens the search again by itself, and two neighbouring sizes of
//! which one is too small for the band and one too large for the cap are not tried for ever in turn.
//! There is one search for all models: the reading is the whole device's.

pub mod printed;
mod sizes;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::power_window::PowerWindow;
use crate::id::ModelName;
use crate::knob::ServingSetting;
use crate::observation::Observation;
use crate::policy::{Decision, Policy, Reason};
use crate::time::Timestamp;
use crate::units::Watts;

pub use sizes::{BatchSizes, BatchSizesError};

/// When to ask again: windows of batches are short.
const ASK_AGAIN_IN: Duration = Duration::from_millis(100);

/// Power at the size held must stay this far below what it was for the workload to count as lighter.
const LIGHTER: f64 = 0.9;

/// For so long it must stay there: a lull between two bursts is no lighter workload.
const LIGHTER_FOR: Duration = Duration::from_secs(5);

/// What can be set about the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSizerOptions {
    /// The sizes to choose from.
    pub batch_sizes: BatchSizes,
    /// Lower edge of the wanted band, as a share of the cap: the paper's alpha. In 0 to 1.
    pub band_low: f64,
    /// Batches that are seen before a size is judged to fit.
    pub window_batches: u64,
    /// After so many seconds a size seen over the cap may be tried again.
    pub reprobe_after_seconds: f64,
}

impl Default for BatchSizerOptions {
    fn default() -> Self {
        Self {
            batch_sizes: BatchSizes::default(),
            band_low: 0.8,
            window_batches: 10,
            reprobe_after_seconds: 300.0,
        }
    }
}

/// The recovering search.
#[derive(Debug, Clone)]
pub struct BatchSizer {
    options: BatchSizerOptions,
    reprobe_after: Duration,
    /// Index of the size in force.
    current: usize,
    window: PowerWindow,
    /// What was seen at each size, by its index, under the present conditions.
    seen_at: Vec<Option<Sighting>>,
    /// Knobs that others turn: when one moves, what was seen tells nothing any more.
    conditions: Vec<(ModelName, ServingSetting)>,
    /// Power at the size held when it was first held, at its highest.
    held_power: Option<Watts>,
    /// Since when power has been notably lower than that.
    lighter_since: Option<Timestamp>,
}

/// Highest power of a window at one size.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    power: Watts,
    at: Timestamp,
}

impl BatchSizer {
    /// A search that begins at the smallest size.
    pub fn new(options: BatchSizerOptions) -> Self {
        Self {
            seen_at: vec![None; options.batch_sizes.as_slice().len()],
            reprobe_after: Duration::try_from_secs_f64(options.reprobe_after_seconds)
                .unwrap_or(Duration::MAX),
            options,
            current: 0,
            window: PowerWindow::default(),
            conditions: Vec::new(),
            held_power: None,
            lighter_since: None,
        }
    }

    /// Forgets what no longer holds: all of it when someone else turned a knob, else what is old.
    fn forget_outdated(&mut self, seen: &Observation) {
        let own_knob_masked = |setting: ServingSetting| ServingSetting { batch_size: 0, ..setting };
        let same = self.conditions.len() == seen.models.len()
            && self.conditions.iter().zip(&seen.models).all(|((name, setting), model)| {
                *name == model.name && *setting == own_knob_masked(model.setting)
            });
        if !same {
            self.conditions = seen
                .models
                .iter()
                .map(|model| (model.name.clone(), own_knob_masked(model.setting)))
                .collect();
            self.seen_at.fill(None);
            self.forget_held();
        }
        for sighting in &mut self.seen_at {
            sighting.take_if(|sighting| seen.now - sighting.at > self.reprobe_after);
        }
    }

    fn forget_held(&mut self) {
        self.held_power = None;
        self.lighter_since = None;
    }

    /// Forgets which sizes were over the cap once the workload has been lighter for a while.
    fn watch_for_lighter_work(&mut self, power: Watts, now: Timestamp) {
        let held = self.held_power.map_or(power, |held| held.max(power));
        self.held_power = Some(held);
        if power >= held * LIGHTER {
            self.lighter_since = None;
            return;
        }
        if now - *self.lighter_since.get_or_insert(now) >= LIGHTER_FOR {
            self.seen_at.fill(None);
            self.forget_held();
        }
    }

    /// Index of the smallest size known to be over `cap`: an exclusive upper bound.
    fn smallest_over(&self, cap: Watts) -> Option<usize> {
        self.seen_at.iter().position(|sighting| sighting.is_some_and(|sighting| sighting.power > cap))
    }

    fn move_to(&mut self, index: usize, seen: &Observation) {
        self.window.restart(seen, index < self.current);
        self.forget_held();
        self.current = index;
    }

    /// Power is over the cap: to the middle of the largest size known to fit and the smallest that
    /// does not, which is never above the present one.
    fn go_down(&mut self, power: Watts, cap: Watts, seen: &Observation) -> Reason {
        self.seen_at[self.current] = Some(Sighting { power, at: seen.now });
        if self.current == 0 {
            // The window goes on: no search can help, and every new reading is told.
            self.window.roll();
            return Reason::CapUnreachable { power_watts_max: power, cap_watts: cap };
        }
        let over = self.smallest_over(cap).unwrap_or(self.current);
        let fits = self.seen_at[..over].iter().rposition(Option::is_some).unwrap_or(0);
        let from = self.current;
        self.move_to((fits + over) / 2, seen);
        Reason::OverCap {
            power_watts_max: power,
            cap_watts: cap,
            batch_size_from: self.options.batch_sizes.at(from),
            batch_size_to: self.options.batch_sizes.at(self.current),
        }
    }

    /// A full window fits the cap: hold, or go up if there is room.
    fn judge(&mut self, power: Watts, cap: Watts, usable: usize, seen: &Observation) -> Reason {
        self.watch_for_lighter_work(power, seen.now);
        self.seen_at[self.current] = Some(Sighting { power, at: seen.now });
        self.window.roll();
        let band_low = cap * self.options.band_low;
        if power >= band_low {
            return Reason::WithinBand { power_watts_max: power, band_watts_low: band_low, cap_watts: cap };
        }
        if self.current + 1 >= usable {
            return Reason::NothingToGain { power_watts_max: power, cap_watts: cap };
        }
        let over = self.seen_at[self.current..usable].iter().enumerate().find_map(|(ahead, sighting)| {
            sighting.filter(|s| s.power > cap).map(|s| (self.current + ahead, s))
        });
        let largest = match over {
            Some((index, sighting)) if index == self.current + 1 => {
                return Reason::Converged {
                    power_watts_max: power,
                    cap_watts: cap,
                    batch_size: self.options.batch_sizes.at(self.current),
                    batch_size_over: self.options.batch_sizes.at(index),
                    power_watts_over: sighting.power,
                };
            }
            Some((index, _)) => index - 1,
            None => usable - 1,
        };
        let from = self.current;
        self.move_to((from + largest).div_ceil(2), seen);
        Reason::BelowBand {
            power_watts_max: power,
            band_watts_low: band_low,
            cap_watts: cap,
            batch_size_from: self.options.batch_sizes.at(from),
            batch_size_to: self.options.batch_sizes.at(self.current),
        }
    }

    fn step(&mut self, cap: Watts, usable: usize, seen: &Observation) -> Reason {
        let gathering = Reason::Gathering {
            batches_seen: self.window.batches(),
            batches_needed: self.options.window_batches,
        };
        let busy = seen.models.iter().any(|model| model.executed_batches > 0 || model.queued_rows > 0);
        if !busy || self.window.batches_since_change() == 0 {
            return gathering; // power that no batch of this size drew says nothing about it
        }
        if let Some(power) = self.window.over(cap) {
            return self.go_down(power, cap, seen);
        }
        match self.window.power_max() {
            _ if self.window.batches() < self.options.window_batches => gathering,
            None => Reason::NoPowerReading,
            Some(power) => self.judge(power, cap, usable, seen),
        }
    }
}

impl Policy for BatchSizer {
    fn name(&self) -> &'static str {
        "batch-sizer"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        self.window.take_in(seen);
        let Some(cap) = seen.power_cap else { return Decision::keep(Reason::NoCap, ASK_AGAIN_IN) };
        self.forget_outdated(seen);
        let usable = self.options.batch_sizes.usable_count(seen);
        if self.current >= usable {
            self.move_to(usable - 1, seen);
        }
        let reason = self.step(cap, usable, seen);
        let mut decision = Decision::keep(reason, ASK_AGAIN_IN);
        decision.serving.extend(self.options.batch_sizes.changes_to(self.current, seen));
        decision
    }
}
