//! Whether the next lower level is no slower: past some level throughput stops growing while power
//! still does.
//!
//! Throughput is judged only while every model with work had rows waiting the whole time: else it is
//! the clients' pace, not the level's. The next lower level is tried once, and what was measured there
//! and here is remembered until it is old or the conditions change, so that the two are not tried in
//! turn. Each lower level is compared with the fastest above it, so that small losses don't add up.

use std::time::Duration;

use crate::observation::Observation;
use crate::policy::{Level, Reason};
use crate::time::Timestamp;

/// A measurement that takes longer than this is given up: a probe would cost more than it can bring.
const LONGEST_MEASUREMENT: Duration = Duration::from_secs(60);
/// However small the tolerance, this many batches do for a measurement.
const MOST_BATCHES: f64 = 1000.0;
/// Throughput at the level held that moved by more than this share: the work is another.
const OTHER_WORK: f64 = 0.1;

/// The check, and what it has measured.
#[derive(Debug, Clone)]
pub(super) struct SaturationCheck {
    tolerance: f64,
    batches_needed: u64,
    reprobe_after: Duration,
    meter: Meter,
    /// Rows per second at each level, by its index.
    measured: Vec<Option<Measured>>,
    no_gain: Option<NoGain>,
    probe: Option<Probe>,
    next_probe: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    rps: f64,
    at: Timestamp,
}

/// A level that was found to be no faster than the next lower one.
#[derive(Debug, Clone, Copy)]
struct NoGain {
    from: usize,
    rps_below: f64,
    rps_from: f64,
    at: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Probe {
    /// The level held before; the one next below it is tried.
    held: usize,
    began: Option<Timestamp>,
}

/// What to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Try the level below `held`.
    Probe { held: usize, rps_held: f64 },
    /// Keep trying it.
    GoOn { held: usize, rps_held: f64 },
    /// Back to the level held: the one below is slower, or could not be measured.
    Back { held: usize, rps_held: f64, rps_below: Option<f64> },
    /// Stay at, or go to, the level below `from`: it is no slower.
    Keep { from: usize, rps_below: f64, rps_from: f64 },
}

impl Step {
    /// Index of the level to be in force, when it may be another.
    pub(super) fn goes_to(self) -> Option<usize> {
        match self {
            Self::Probe { held, .. } => Some(held - 1),
            Self::Back { held, .. } => Some(held),
            Self::Keep { from, .. } => Some(from - 1),
            Self::GoOn { .. } => None,
        }
    }

    pub(super) fn reason(self, levels: &[Level]) -> Reason {
        match self {
            Self::Probe { held, rps_held } | Self::GoOn { held, rps_held } => Reason::ProbingLower {
                level: levels[held - 1],
                level_held: levels[held],
                throughput_rps_held: rps_held,
            },
            Self::Back { held, rps_held, rps_below } => Reason::LowerIsSlower {
                level_from: levels[held - 1],
                level_to: levels[held],
                throughput_rps_from: rps_below,
                throughput_rps_to: rps_held,
            },
            Self::Keep { from, rps_below, rps_from } => Reason::Saturated {
                level: levels[from - 1],
                level_higher: levels[from],
                throughput_rps: rps_below,
                throughput_rps_higher: rps_from,
            },
        }
    }
}

impl SaturationCheck {
    pub(super) fn new(levels: usize, tolerance: f64, window_batches: u64, reprobe_after: Duration) -> Self {
        // A batch more or less at either end of a measurement, in both that are compared.
        let batches = (2.0 / tolerance).clamp(1.0, MOST_BATCHES);
        Self {
            tolerance,
            batches_needed: window_batches.max(batches.ceil() as u64),
            reprobe_after,
            meter: Meter::default(),
            measured: vec![None; levels],
            no_gain: None,
            probe: None,
            next_probe: Timestamp::ZERO,
        }
    }

    pub(super) fn forget_all(&mut self) {
        self.measured.fill(None);
        self.no_gain = None;
        self.next_probe = Timestamp::ZERO;
        self.meter = Meter::default();
    }

    /// The level is another from now on; a probe is over unless one begins.
    pub(super) fn moved(&mut self) {
        self.meter = Meter::default();
        self.probe = None;
    }

    /// `step` was made.
    pub(super) fn follow(&mut self, step: Step) {
        match step {
            Step::Probe { held, .. } => self.probe = Some(Probe { held, began: None }),
            Step::GoOn { .. } => {}
            Step::Back { .. } | Step::Keep { .. } => self.probe = None,
        }
    }

    /// Measures throughput at the level in force, once all batches are of it.
    pub(super) fn take_in(&mut self, current: usize, is_settled: bool, seen: &Observation) {
        let is_old = |at: Timestamp| seen.now - at > self.reprobe_after;
        self.no_gain.take_if(|found| is_old(found.at));
        for measured in &mut self.measured {
            measured.take_if(|measured| is_old(measured.at));
        }
        if !is_settled {
            self.meter = Meter::default();
            return;
        }
        let Some(rps) = self.meter.take_in(seen, self.batches_needed) else { return };
        let before = self.measured[current].map(|measured| measured.rps);
        if before.is_some_and(|before| (rps / before - 1.0).abs() > OTHER_WORK) {
            self.measured.fill(None);
            self.no_gain = None;
            // Work that keeps changing is not to be probed anew at each change.
            self.next_probe = self.next_probe.max(seen.now + LONGEST_MEASUREMENT);
        }
        self.measured[current] = Some(Measured { rps, at: seen.now });
    }

    /// Index from which on levels are known to be no faster than the one below them.
    pub(super) fn no_gain_from(&self) -> Option<usize> {
        self.no_gain.map(|found| found.from)
    }

    /// Why `current` is not left for a higher level, when that is known to be no faster.
    pub(super) fn known(&self, current: usize, levels: &[Level]) -> Option<Reason> {
        let NoGain { from, rps_below, rps_from, .. } =
            self.no_gain.filter(|found| current + 1 >= found.from)?;
        Some(Step::Keep { from, rps_below, rps_from }.reason(levels))
    }

    /// What to do while a lower level is tried; `None` when none is.
    pub(super) fn judge_probe(&mut self, now: Timestamp) -> Option<Step> {
        let probe = self.probe.as_mut()?;
        let held = probe.held;
        let began = *probe.began.get_or_insert(now);
        let Some(rps_held) = self.fastest_from(held) else {
            // What it was to be compared with is forgotten.
            self.probe = None;
            return None;
        };
        match self.measured[held - 1] {
            Some(below) => Some(self.compare(held, below.rps, rps_held, now)),
            None if self.meter.ran_empty || now - began > LONGEST_MEASUREMENT => {
                self.next_probe = now + self.reprobe_after;
                Some(Step::Back { held, rps_held, rps_below: None })
            }
            None => Some(Step::GoOn { held, rps_held }),
        }
    }

    /// What to do at the level held; `None`: stay.
    pub(super) fn judge_held(&mut self, current: usize, now: Timestamp) -> Option<Step> {
        self.measured[current]?;
        let below = current.checked_sub(1)?;
        let rps_held = self.fastest_from(current)?;
        match self.measured[below] {
            Some(below) => match self.compare(current, below.rps, rps_held, now) {
                Step::Keep { from, rps_below, rps_from } => Some(Step::Keep { from, rps_below, rps_from }),
                _ => None,
            },
            None if now >= self.next_probe => Some(Step::Probe { held: current, rps_held }),
            None => None,
        }
    }

    fn compare(&mut self, held: usize, rps_below: f64, rps_held: f64, now: Timestamp) -> Step {
        if rps_below < rps_held * (1.0 - self.tolerance) {
            return Step::Back { held, rps_held, rps_below: Some(rps_below) };
        }
        self.no_gain = Some(NoGain { from: held, rps_below, rps_from: rps_held, at: now });
        Step::Keep { from: held, rps_below, rps_from: rps_held }
    }

    /// Most rows per second known at `index` or above.
    fn fastest_from(&self, index: usize) -> Option<f64> {
        self.measured[index..].iter().flatten().map(|measured| measured.rps).reduce(f64::max)
    }
}

/// Rows and batches while rows wait.
#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    since: Option<Timestamp>,
    rows: u64,
    batches: u64,
    /// The queue was empty at least once since the level was made.
    ran_empty: bool,
}

impl Meter {
    /// Rows per second, when `batches_needed` have been seen with rows waiting all the while.
    fn take_in(&mut self, seen: &Observation, batches_needed: u64) -> Option<f64> {
        let mut active = seen
            .models
            .iter()
            .filter(|model| model.queued_rows > 0 || model.running_batches > 0 || model.executed_batches > 0)
            .peekable();
        let is_saturated = active.peek().is_some() && active.all(|model| model.queued_rows > 0);
        let Some(since) = self.since.filter(|_| is_saturated) else {
            let ran_empty = self.ran_empty || !is_saturated;
            *self = Self { since: is_saturated.then_some(seen.now), ran_empty, ..Self::default() };
            return None;
        };
        self.rows += seen.models.iter().map(|model| model.completed_rows).sum::<u64>();
        self.batches += seen.models.iter().map(|model| model.executed_batches).sum::<u64>();
        let time = seen.now - since;
        if self.batches < batches_needed {
            if time > LONGEST_MEASUREMENT {
                *self = Self::default();
            }
            return None;
        }
        let rps = self.rows as f64 / time.as_secs_f64();
        *self = Self { since: Some(seen.now), ..Self::default() };
        (rps.is_finite() && rps > 0.0).then_some(rps)
    }
}
