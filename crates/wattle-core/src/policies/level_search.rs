//! The recovering bisection over the levels of one knob, ascending in power: of BatchSizer and DVFS.
//!
//! ```text
//!           max > cap: at once, to the middle of what is known to fit and here
//!         ┌────────────────────────────────────────────────────────────────────┐
//!   ┌─────▼─────┐  10 batches   ┌───────┐ alpha·cap <= max <= cap   ┌──────────┴┐
//!   │ gathering ├──────────────►│ judge ├──────────────────────────►│   hold    │
//!   └─────▲─────┘               └─┬───┬─┘ the next level is known   └───────────┘
//!         │ max < alpha·cap       │   └────to be over the cap────────────▲
//!         └───to the middle of────┘
//!             here and the lowest level known to be over the cap
//! ```
//!
//! What was seen at each level is remembered, and the bounds of the search are read from it under the
//! cap in force. So a cap that rises opens the search again by itself, and two neighbouring levels of
//! which one is too low for the band and one over the cap are not tried for ever in turn.
//! There is one search for all models: the reading is the whole device's.

mod saturation;

use std::time::Duration;

use super::power_window::PowerWindow;
use crate::id::ModelName;
use crate::knob::ServingSetting;
use crate::observation::Observation;
use crate::policy::{Level, Reason};
use crate::time::Timestamp;
use crate::units::Watts;
use saturation::{SaturationCheck, Step};

/// Power at the level held must stay this far below what it was for the workload to count as lighter.
const LIGHTER: f64 = 0.9;

/// For so long it must stay there: a lull between two bursts is no lighter workload.
const LIGHTER_FOR: Duration = Duration::from_secs(5);

/// What can be set about a search.
#[derive(Debug, Clone, Copy)]
pub(super) struct SearchOptions {
    /// Lower edge of the wanted band, as a share of the cap.
    pub(super) band_low: f64,
    /// Batches that are seen before a level is judged to fit.
    pub(super) window_batches: u64,
    /// After so long, what was seen at a level is forgotten.
    pub(super) reprobe_after: Duration,
    /// A level that is slower than a higher one by at most this share counts as no slower and is
    /// preferred; `None`: not looked at.
    pub(super) saturation_tolerance: Option<f64>,
}

/// The recovering search.
#[derive(Debug, Clone)]
pub(super) struct LevelSearch {
    options: SearchOptions,
    levels: Vec<Level>,
    /// Index of the level in force.
    current: usize,
    window: PowerWindow,
    /// What was seen at each level, by its index, under the present conditions.
    seen_at: Vec<Option<Sighting>>,
    /// Knobs that others turn: when one moves, what was seen tells nothing any more.
    conditions: Vec<(ModelName, ServingSetting)>,
    /// Power at the level held when it was first held, at its highest.
    held_power: Option<Watts>,
    /// Since when power has been notably lower than that.
    lighter_since: Option<Timestamp>,
    saturation: Option<SaturationCheck>,
}

/// Highest power of a window at one level.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    power: Watts,
    at: Timestamp,
}

impl LevelSearch {
    /// A search over `levels`, ascending, of which there is at least one. Begins at the lowest.
    pub(super) fn new(levels: Vec<Level>, options: SearchOptions) -> Self {
        Self {
            seen_at: vec![None; levels.len()],
            saturation: options.saturation_tolerance.map(|tolerance| {
                SaturationCheck::new(levels.len(), tolerance, options.window_batches, options.reprobe_after)
            }),
            levels,
            options,
            current: 0,
            window: PowerWindow::default(),
            conditions: Vec::new(),
            held_power: None,
            lighter_since: None,
        }
    }

    /// Index of the level that is to be in force.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// The level at `index`; the highest beyond.
    pub(super) fn level(&self, index: usize) -> Level {
        self.levels[index.min(self.levels.len() - 1)]
    }

    /// The levels, ascending.
    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The level in force is made now, after `seen`: what was read before is of another.
    pub(super) fn begin(&mut self, seen: &Observation) {
        self.window.restart(seen, true);
    }

    /// Takes in what was seen since the last call; call it each time, with or without a cap.
    pub(super) fn take_in(&mut self, seen: &Observation) {
        self.window.take_in(seen);
        self.forget_outdated(seen);
        if let Some(saturation) = &mut self.saturation {
            saturation.take_in(self.current, self.window.is_settled(), seen);
        }
    }

    /// One step of the search among the first `usable` levels, at least one.
    pub(super) fn step(&mut self, cap: Watts, usable: usize, seen: &Observation) -> Reason {
        let usable = usable.clamp(1, self.levels.len());
        if self.current >= usable {
            self.move_to(usable - 1, seen);
        }
        let gathering = Reason::Gathering {
            batches_seen: self.window.batches(),
            batches_needed: self.options.window_batches,
        };
        // A batch that runs draws power of this level too, long before it ends.
        let runs = seen.models.iter().any(|model| model.running_batches > 0);
        let busy =
            runs || seen.models.iter().any(|model| model.executed_batches > 0 || model.queued_rows > 0);
        if !busy || (self.window.batches_since_change() == 0 && !runs) {
            return gathering; // power that no batch of this level drew says nothing about it
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

    /// Forgets what no longer holds: all of it when someone else turned a knob, else what is old.
    fn forget_outdated(&mut self, seen: &Observation) {
        // The searches set the batch size themselves.
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
            self.forget_all();
        }
        for sighting in &mut self.seen_at {
            sighting.take_if(|sighting| seen.now - sighting.at > self.options.reprobe_after);
        }
    }

    fn forget_all(&mut self) {
        self.seen_at.fill(None);
        self.forget_held();
        if let Some(saturation) = &mut self.saturation {
            saturation.forget_all();
        }
    }

    fn forget_held(&mut self) {
        self.held_power = None;
        self.lighter_since = None;
    }

    /// Forgets which levels were over the cap once the workload has been lighter for a while.
    fn watch_for_lighter_work(&mut self, power: Watts, now: Timestamp) {
        let held = self.held_power.map_or(power, |held| held.max(power));
        self.held_power = Some(held);
        if power >= held * LIGHTER {
            self.lighter_since = None;
            return;
        }
        if now - *self.lighter_since.get_or_insert(now) >= LIGHTER_FOR {
            self.forget_all();
        }
    }

    /// Index of the lowest level known to be over `cap`: an exclusive upper bound.
    fn lowest_over(&self, cap: Watts) -> Option<usize> {
        self.seen_at.iter().position(|sighting| sighting.is_some_and(|sighting| sighting.power > cap))
    }

    fn move_to(&mut self, index: usize, seen: &Observation) {
        self.window.restart(seen, index < self.current);
        self.forget_held();
        self.current = index;
        if let Some(saturation) = &mut self.saturation {
            saturation.moved();
        }
    }

    /// Power is over the cap: to the middle of the highest level known to fit and the lowest that
    /// does not, which is never above the present one.
    fn go_down(&mut self, power: Watts, cap: Watts, seen: &Observation) -> Reason {
        self.seen_at[self.current] = Some(Sighting { power, at: seen.now });
        if self.current == 0 {
            // The window goes on: no search can help, and every new reading is told.
            self.window.roll();
            return Reason::CapUnreachable { power_watts_max: power, cap_watts: cap };
        }
        let over = self.lowest_over(cap).unwrap_or(self.current);
        let fits = self.seen_at[..over].iter().rposition(Option::is_some).unwrap_or(0);
        let from = self.current;
        self.move_to((fits + over) / 2, seen);
        Reason::OverCap {
            power_watts_max: power,
            cap_watts: cap,
            level_from: self.level(from),
            level_to: self.level(self.current),
        }
    }

    /// A full window fits the cap: hold, or go up if there is room.
    fn judge(&mut self, power: Watts, cap: Watts, usable: usize, seen: &Observation) -> Reason {
        self.watch_for_lighter_work(power, seen.now);
        self.seen_at[self.current] = Some(Sighting { power, at: seen.now });
        self.window.roll();
        let saturated = self.saturation.as_ref().and_then(|check| check.known(self.current, &self.levels));
        if let Some(probed) = self.saturation.as_mut().and_then(|check| check.judge_probe(seen.now)) {
            return self.follow(probed, seen);
        }
        let band_low = cap * self.options.band_low;
        let held = if power >= band_low {
            Reason::WithinBand { power_watts_max: power, band_watts_low: band_low, cap_watts: cap }
        } else if let Some(saturated) = saturated {
            saturated
        } else if self.current + 1 >= usable {
            Reason::NothingToGain { power_watts_max: power, cap_watts: cap }
        } else {
            let over = self.seen_at[self.current..usable].iter().enumerate().find_map(|(ahead, sighting)| {
                sighting.filter(|s| s.power > cap).map(|s| (self.current + ahead, s))
            });
            let no_gain = self.saturation.as_ref().and_then(SaturationCheck::no_gain_from);
            let highest = match over {
                Some((index, sighting)) if index == self.current + 1 => {
                    return self.hold(
                        Reason::Converged {
                            power_watts_max: power,
                            cap_watts: cap,
                            level: self.level(self.current),
                            level_over: self.level(index),
                            power_watts_over: sighting.power,
                        },
                        seen,
                    );
                }
                Some((index, _)) => index - 1,
                None => usable - 1,
            };
            // Above the present level, or it would be known as saturated.
            let highest = no_gain.map_or(highest, |index| highest.min(index - 1));
            let from = self.current;
            self.move_to((from + highest).div_ceil(2), seen);
            return Reason::BelowBand {
                power_watts_max: power,
                band_watts_low: band_low,
                cap_watts: cap,
                level_from: self.level(from),
                level_to: self.level(self.current),
            };
        };
        self.hold(held, seen)
    }

    /// Holds for `reason`, unless the next lower level may be as fast.
    fn hold(&mut self, reason: Reason, seen: &Observation) -> Reason {
        match self.saturation.as_mut().and_then(|check| check.judge_held(self.current, seen.now)) {
            Some(step) => self.follow(step, seen),
            None => reason,
        }
    }

    fn follow(&mut self, step: Step, seen: &Observation) -> Reason {
        if let Some(index) = step.goes_to().filter(|index| *index != self.current) {
            self.move_to(index, seen);
        }
        if let Some(saturation) = &mut self.saturation {
            saturation.follow(step);
        }
        step.reason(&self.levels)
    }
}
