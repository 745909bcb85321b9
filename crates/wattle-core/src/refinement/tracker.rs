//! A robust running estimate of one ratio: what is seen, over what is predicted.
//!
//! Told seen over predicted, it answers by how much the prediction is to move, in its logarithm. The
//! first observations give their median. From then on each moves the prediction by its share of the
//! weight so far, which is half forgotten after each half-life, and outliers are bounded as in Huber's
//! estimator ("Robust estimation of a location parameter", 1964). A step in what is seen would be taken
//! for outliers; it is told from them by a run of observations on one side, and then the prediction
//! moves at once by the least of them.

use std::time::Duration;

use crate::time::Timestamp;

/// Nothing is said before so many observations.
pub(super) const ENOUGH: usize = 5;
/// So many observations in a row on one side are a step.
const RUN: u32 = 6;
/// No deviation smaller than this, as a share, makes a run, and none is taken for an outlier.
const SMALL: f64 = 0.02;
/// How many mean deviations make an observation of a run, and an outlier.
const OF_RUN: f64 = 1.5;
const OUTLIER: f64 = 3.0;
/// Over so many observations the mean deviation is taken.
const SCALE_MEMORY: f64 = 20.0;
/// An observation beyond this factor is taken for one at it.
const MOST: f64 = 9.0;
/// So long without an observation is no gap: drivers do not ask evenly.
const GRACE: Duration = Duration::from_secs(2);
/// So long what was told counts as of late.
const FRESH: Duration = Duration::from_secs(10);

/// The estimate's memory: what it was told, but for the prediction itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tracker {
    first: [f64; ENOUGH],
    count: usize,
    /// Mean deviation, as a share.
    scale: f64,
    /// Seconds that the estimate rests on.
    weight: f64,
    /// Observations in a row on one side, the sign of that side, and the least deviation of them.
    run: u32,
    side: f64,
    least: f64,
    /// End of the last observation.
    until: Timestamp,
}

/// What is left of something after `rest` if half is forgotten in each `half_life`.
pub(super) fn left_after(rest: Duration, half_life: Duration) -> f64 {
    if rest.is_zero() { 1.0 } else { 0.5f64.powf(rest.as_secs_f64() / half_life.as_secs_f64()) }
}

impl Tracker {
    /// Whether enough was told for anything to be said.
    pub(super) fn is_ready(&self) -> bool {
        self.count >= ENOUGH
    }

    /// Whether it was told something of late.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.is_ready() && now.saturating_since(self.until) <= FRESH
    }

    /// How much of the estimate is left at `now`: without anything new it is forgotten.
    pub(super) fn left_at(&self, now: Timestamp, half_life: Duration) -> f64 {
        left_after(now.saturating_since(self.until).saturating_sub(GRACE), half_life)
    }

    /// By how much the logarithm of the prediction is to move, given `ratio`, what was seen from `from`
    /// to `until` over what is now predicted for then. The caller has let the prediction be forgotten up
    /// to `from`, as [`left_at`](Self::left_at) says.
    pub(super) fn step(
        &mut self,
        ratio: f64,
        (from, until): (Timestamp, Timestamp),
        half_life: Duration,
    ) -> f64 {
        let seconds = until.saturating_since(from).as_secs_f64();
        if !(ratio.is_finite() && ratio > 0.0 && seconds > 0.0) {
            return 0.0;
        }
        let ratio = ratio.clamp(1.0 / MOST, MOST);
        self.weight *= self.left_at(from, half_life);
        self.until = until;
        if self.count < ENOUGH {
            return self.begin(ratio, seconds);
        }
        let miss = ratio - 1.0;
        if let Some(step) = self.step_of_run(miss) {
            self.weight = seconds * f64::from(RUN);
            return step;
        }
        let bound = (OUTLIER * self.scale).max(SMALL);
        let bounded = miss.clamp(-bound, bound);
        self.scale += (bounded.abs() - self.scale) / SCALE_MEMORY;
        let kept = 0.5f64.powf(seconds / half_life.as_secs_f64());
        self.weight = self.weight * kept + seconds;
        bounded * (seconds / self.weight)
    }

    /// One of the first observations; the last of them gives their median.
    fn begin(&mut self, ratio: f64, seconds: f64) -> f64 {
        if let Some(slot) = self.first.get_mut(self.count) {
            *slot = ratio;
        }
        self.count += 1;
        self.weight += seconds;
        if self.count < ENOUGH {
            return 0.0;
        }
        let middle = median(self.first);
        self.scale = median(self.first.map(|ratio| (ratio / middle - 1.0).abs()));
        middle.ln()
    }

    /// The step, if this observation is the last of a run.
    fn step_of_run(&mut self, miss: f64) -> Option<f64> {
        let side = miss.signum();
        if miss.abs() <= (OF_RUN * self.scale).max(SMALL) {
            self.run = 0;
            return None;
        }
        let goes_on = self.run > 0 && side == self.side;
        self.least = if goes_on { self.least.min(miss.abs()) } else { miss.abs() };
        self.run = if goes_on { self.run + 1 } else { 1 };
        self.side = side;
        if self.run < RUN {
            return None;
        }
        self.run = 0;
        Some((side * self.least).ln_1p())
    }
}

fn median(mut values: [f64; ENOUGH]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[ENOUGH / 2]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HALF_LIFE: Duration = Duration::from_secs(60);

    /// The prediction after each of `seen`, a quarter of a second apart.
    fn predictions(seen: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let (mut tracker, mut log, mut from) = (Tracker::default(), 0.0f64, Timestamp::ZERO);
        let mut follow = |seen: f64| {
            let until = from + Duration::from_millis(250);
            log += tracker.step(seen / log.exp(), (from, until), HALF_LIFE);
            from = until;
            log.exp()
        };
        seen.into_iter().map(&mut follow).collect()
    }

    #[test]
    fn nothing_is_said_before_enough_was_seen_and_exact_readings_are_then_met() {
        let found = predictions([1.2; 10]);
        assert_eq!(found[ENOUGH - 2], 1.0);
        assert!((found[ENOUGH - 1] - 1.2).abs() < 1e-12);
        assert!((found[9] - 1.2).abs() < 1e-12);
    }

    #[test]
    fn a_step_is_met_within_a_run_of_observations() {
        let seen = [vec![1.0; 200], vec![1.2; 7]].concat();
        let found = predictions(seen);
        assert!((found[200 + RUN as usize] - 1.2).abs() < 1e-3, "{:?}", &found[200..]);
    }

    #[test]
    fn a_median_of_the_first_is_no_worse_for_one_outlier() {
        let found = predictions([1.1, 9.0, 1.1, 1.1, 1.1]);
        assert!((found[4] - 1.1).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn one_outlier_moves_it_by_less_than_half_a_percent(
            outlier in prop_oneof![0.001..0.9f64, 1.1..1000.0f64],
            steady in 0.5..2.0f64,
            before in 20usize..200,
        ) {
            let seen = [vec![steady; before], vec![outlier * steady]].concat();
            let found = predictions(seen);
            let moved = found[before] / found[before - 1];
            prop_assert!((moved - 1.0).abs() < 0.005, "{moved}");
        }

        #[test]
        fn noise_is_averaged_away(noise in proptest::collection::vec(-0.05..0.05f64, 200..300)) {
            let last = *predictions(noise.iter().map(|noise| 1.2 * (1.0 + noise))).last().unwrap();
            prop_assert!((last / 1.2 - 1.0).abs() < 0.03, "{last}");
        }

        #[test]
        fn whatever_is_told_the_step_is_a_number(
            told in proptest::collection::vec(
                prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(0.0), Just(-1.0), Just(1e-300), Just(1e300), 0.0..9.0f64],
                0..100,
            ),
        ) {
            let (mut tracker, mut from) = (Tracker::default(), Timestamp::ZERO);
            for ratio in told {
                let until = from + Duration::from_millis(250);
                let step = tracker.step(ratio, (from, until), HALF_LIFE);
                prop_assert!(step.is_finite() && step.abs() <= MOST.ln());
                from = until;
            }
        }
    }
}
