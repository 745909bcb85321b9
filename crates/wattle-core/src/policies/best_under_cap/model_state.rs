//! What is remembered of one model: its choice in force, and which of its points were over the cap.

use std::time::Duration;

use crate::policies::candidates::{Candidate, Candidates};
use crate::policy::Reason;
use crate::time::Timestamp;
use crate::units::Watts;

/// However often a point was over the cap, it is tried again after this long.
const LONGEST_BAR: Duration = Duration::from_secs(600);
/// For so many times its length it is remembered after its end that there was a bar.
const REMEMBERED: u32 = 4;

/// One model.
#[derive(Debug, Clone)]
pub(super) struct ModelState {
    pub(super) candidates: Candidates,
    pub(super) choice: Option<Choice>,
    pub(super) last_traffic: Option<Timestamp>,
    bar: Option<Bar>,
}

/// A choice in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    /// `None`: parked.
    pub(super) candidate: Option<Candidate>,
    pub(super) since: Timestamp,
    /// The cap it was made or last confirmed under.
    pub(super) cap: Watts,
}

/// Points from this power up are known to be over the cap.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bar {
    /// Power above idle by the profile.
    dynamic: Watts,
    /// Total power that was seen.
    seen: Watts,
    until: Timestamp,
    stands_for: Duration,
}

/// What all models have to keep to in one decision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) cap: Watts,
    pub(super) idle: Watts,
    /// Each model's share of what the cap leaves above idle power.
    pub(super) share: Watts,
    pub(super) now: Timestamp,
}

impl ModelState {
    pub(super) fn new(candidates: Candidates) -> Self {
        Self { candidates, choice: None, last_traffic: None, bar: None }
    }

    /// Whether a request came or waited within the last `dwell`.
    pub(super) fn has_traffic(&self, now: Timestamp, dwell: Duration) -> bool {
        self.last_traffic.is_some_and(|last| now - last <= dwell)
    }

    /// `candidate` was in force when `seen` was drawn, `excess` times what is left above idle: bars it,
    /// and all that would be over if their power were as much too low, for `stands_for`, or twice as long
    /// as before if it was barred of late.
    pub(super) fn raise_bar(
        &mut self,
        candidate: &Candidate,
        (seen, excess): (Watts, f64),
        now: Timestamp,
        stands_for: Duration,
    ) {
        let again = |bar: &Bar| {
            bar.dynamic <= candidate.dynamic && now < bar.until + bar.stands_for.saturating_mul(REMEMBERED)
        };
        let doubled = self.bar.filter(again).map(|bar| bar.stands_for.saturating_mul(2));
        let stands_for = doubled.map_or(stands_for, |doubled| doubled.min(LONGEST_BAR.max(stands_for)));
        let dynamic = candidate.dynamic / excess.max(1.0);
        self.bar = Some(Bar { dynamic, seen, until: now + stands_for, stands_for });
    }

    /// Goes on with `candidates`, which are those of before with other figures.
    pub(super) fn refine(&mut self, candidates: Candidates) {
        let power = |of: &Candidates| of.most_hungry().map(|most| most.dynamic);
        if let (Some(bar), Some(before), Some(now)) =
            (&mut self.bar, power(&self.candidates), power(&candidates))
            && before > Watts::ZERO
        {
            bar.dynamic = bar.dynamic * (now / before);
        }
        if let Some(choice) = &mut self.choice
            && let Some(candidate) = &mut choice.candidate
            && let Some(now) = candidates.same_point(candidate)
        {
            *candidate = now;
        }
        self.candidates = candidates;
    }

    /// Whether the point keeps to the bounds, as far as is known.
    fn fits(&self, candidate: &Candidate, bounds: &Bounds) -> bool {
        // Under a cap below idle power nothing fits, not even a row that noise put there.
        bounds.cap >= bounds.idle && candidate.dynamic <= bounds.share && !self.bars(candidate, bounds)
    }

    fn bars(&self, candidate: &Candidate, bounds: &Bounds) -> bool {
        self.bar.is_some_and(|bar| {
            candidate.dynamic >= bar.dynamic && bounds.now < bar.until && bounds.cap < bar.seen
        })
    }

    /// The point for now: the best that fits, unless the present one fits too and is too young.
    pub(super) fn choose(&mut self, bounds: &Bounds, dwell: Duration) -> Option<Candidate> {
        let best = self.candidates.best(|candidate| self.fits(candidate, bounds));
        if let Some(present) = &mut self.choice {
            let candidate = present.candidate;
            if candidate == best {
                present.cap = bounds.cap;
                return best;
            }
            let young = bounds.now - present.since < dwell && bounds.cap <= present.cap;
            let still_fits = match &self.choice.and_then(|choice| choice.candidate) {
                // Whatever fits now goes up from being parked.
                None => true,
                Some(candidate) => self.fits(candidate, bounds) && self.candidates.can_be_set(candidate),
            };
            if young && still_fits {
                return candidate;
            }
        }
        self.choice = Some(Choice { candidate: best, since: bounds.now, cap: bounds.cap });
        best
    }

    pub(super) fn reason(&self, candidate: Option<Candidate>, bounds: &Bounds) -> Reason {
        let bound_watts = bounds.idle + bounds.share;
        if let Some(candidate) = candidate {
            return candidate.reason(bounds.cap, bound_watts);
        }
        let least = self.candidates.least_hungry();
        let profiled = least.map_or(bounds.idle, |least| bounds.idle + least.dynamic);
        let barred = self.bar.filter(|_| least.is_some_and(|least| self.bars(least, bounds)));
        let least_watts = barred.map_or(profiled, |bar| profiled.max(bar.seen));
        Reason::Parked { cap_watts: bounds.cap, bound_watts, least_watts }
    }
}
