//! Forecasts of a quantity over time, from what was seen of it: a cap's next values, power's next level.
//!
//! Each says nothing where it has nothing to go by. None of them knows the future: the same forecast of
//! a cap that is noise is noise.
//!
//! For hours and days ahead there is [`pick`]: of several models, the one that was best of late at
//! forecasting the evenly stepped [`History`] of a signal, with intervals from its own errors.

mod back_test;
mod history;
mod models;
mod picked;
mod regression;
mod ridge;
mod scale;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

pub use back_test::{BackTest, Origins, Score, back_test};
pub use history::{History, HistoryError};
pub use models::Model;
pub use picked::{Forecast, ForecastPoint, Interval, NOMINAL_COVERAGE, Picked, pick};

/// Nothing is forecast further ahead than this.
pub const FURTHEST_AHEAD: Duration = Duration::from_secs(96 * 3600);

/// Changes that are remembered at most, however short a time they span: a day of two a second.
const MOST_CHANGES: usize = 200_000;
/// Changes that the learned interval rests on.
const CHANGES_FOR_AN_INTERVAL: usize = 9;
/// How far, as a share, times between changes may be off a multiple of the shortest.
const REGULAR: f64 = 0.1;

/// The changes that were seen of a quantity that holds its value until the next.
#[derive(Debug, Clone)]
pub struct ChangeHistory {
    /// After how long values are expected again.
    period: Duration,
    /// Each from its time on, ascending. The first is what was seen first, not a change.
    changes: VecDeque<(Timestamp, f64)>,
}

impl ChangeHistory {
    /// Nothing was seen yet of a quantity that may repeat itself after `period`. So long changes are
    /// remembered, the last 200,000 of them at most.
    pub fn new(period: Duration) -> Self {
        Self { period, changes: VecDeque::new() }
    }

    /// The quantity is `value` at `now`. Values that are no number are passed over, and so is a `now`
    /// that is earlier than the last.
    pub fn see(&mut self, now: Timestamp, value: f64) {
        let is_news =
            self.changes.back().is_none_or(|(at, last)| *last != value && now > *at) && value.is_finite();
        if is_news {
            self.changes.push_back((now, value));
            while self.changes.len() > MOST_CHANGES || self.is_first_outdated(now) {
                self.changes.pop_front();
            }
        }
    }

    /// Whether no forecast from `now` on needs the first change: a later one is a period old too.
    fn is_first_outdated(&self, now: Timestamp) -> bool {
        self.changes.len() > CHANGES_FOR_AN_INTERVAL + 1
            && self.changes.get(1).is_some_and(|(at, _)| *at + self.period <= now)
    }

    /// The same as one period ago: the changes then, from `now` to `horizon` later, each at its time.
    /// Empty until a period has been seen, and for good where a period has more changes than are
    /// remembered.
    pub fn seasonal(&self, now: Timestamp, horizon: Duration) -> Vec<(Timestamp, f64)> {
        let period = self.period;
        let first = self.changes.front().map(|(at, _)| *at);
        if period.is_zero() || first.is_none_or(|first| now - first < period) {
            return Vec::new();
        }
        let begins = self.changes.partition_point(|(at, _)| *at + period <= now);
        let changes = self.changes.range(begins..).map(|(at, value)| (*at + period, *value));
        changes.take_while(|(at, _)| *at <= now + horizon).collect()
    }

    /// The line through the last two values: the next change, where changes come at a regular interval,
    /// with the value that the last slope leads to by then. `None` until three changes were seen, when
    /// they come irregularly, or when none is due within `horizon`.
    pub fn trend(&self, now: Timestamp, horizon: Duration) -> Option<(Timestamp, f64)> {
        let interval = self.interval()?;
        let [.., (before_at, before), (last_at, last)] = self.last_changes::<2>()?;
        // A value that stays leaves no trace: then this or a later multiple of the interval is next.
        let missed = (now - last_at).as_nanos() / interval.as_nanos().max(1);
        let due = last_at + interval.saturating_mul(u32::try_from(missed + 1).ok()?);
        if due > now + horizon {
            return None;
        }
        let slope = (last - before) / (last_at - before_at).as_secs_f64();
        let value = last + slope * interval.as_secs_f64();
        value.is_finite().then_some((due, value.max(0.0)))
    }

    /// The time between changes, when it is regular: the shortest of late, of which all others must be
    /// multiples.
    fn interval(&self) -> Option<Duration> {
        let skipped = self.changes.len().saturating_sub(CHANGES_FOR_AN_INTERVAL);
        // The first entry is when the quantity was first seen: it may have held that value for long.
        let times: Vec<Timestamp> = self.changes.iter().skip(skipped.max(1)).map(|(at, _)| *at).collect();
        if times.len() < 3 {
            return None;
        }
        let gaps = || times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
        let shortest = gaps().reduce(f64::min).filter(|gap| *gap > 0.0)?;
        let is_regular = gaps().all(|gap| {
            let multiples = gap / shortest;
            (multiples - multiples.round()).abs() <= REGULAR
        });
        if !is_regular {
            return None;
        }
        Duration::try_from_secs_f64(shortest).ok().filter(|interval| !interval.is_zero())
    }

    fn last_changes<const N: usize>(&self) -> Option<[(Timestamp, f64); N]> {
        let first = self.changes.len().checked_sub(N)?;
        let last: Vec<_> = self.changes.range(first..).copied().collect();
        last.try_into().ok()
    }
}

/// Level, trend and spread of a quantity that is sampled (Holt's linear smoothing).
#[derive(Debug, Clone, Copy)]
pub struct Holt {
    level_gain: f64,
    trend_gain: f64,
    count: u32,
    last: Timestamp,
    level: f64,
    /// Per second.
    trend: f64,
    /// Mean square of what samples were off the level forecast for them.
    off_squared: f64,
}

impl Holt {
    /// Smooths with `level_gain` and `trend_gain`, each in 0 to 1: the share of what a sample was off
    /// that goes into the level, and of a step of the level that goes into the trend.
    pub fn new(level_gain: f64, trend_gain: f64) -> Self {
        Self {
            level_gain,
            trend_gain,
            count: 0,
            last: Timestamp::ZERO,
            level: 0.0,
            trend: 0.0,
            off_squared: 0.0,
        }
    }

    /// Takes in a sample. One that is no number is passed over, and so is one not later than the last.
    pub fn add(&mut self, at: Timestamp, value: f64) {
        if !value.is_finite() || (self.count > 0 && at <= self.last) {
            return;
        }
        if self.count == 0 {
            self.level = value;
        } else {
            let seconds = (at - self.last).as_secs_f64();
            let forecast = self.level + self.trend * seconds;
            let off = value - forecast;
            let level = forecast + self.level_gain * off;
            let step = (level - self.level) / seconds;
            self.trend += self.trend_gain * (step - self.trend);
            self.level = level;
            // A plain mean at first, so that the first samples do not weigh more than the rest.
            let gain = (1.0 / f64::from(self.count)).max(self.trend_gain);
            self.off_squared += gain * (off * off - self.off_squared);
        }
        self.last = at;
        self.count = self.count.saturating_add(1);
    }

    /// Samples taken in.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The smoothed value now.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// What is to be expected `ahead` of the last sample; `None` before the first.
    pub fn forecast(&self, ahead: Duration) -> Option<f64> {
        (self.count > 0).then_some(self.level + self.trend * ahead.as_secs_f64())
    }

    /// How far samples are off what was forecast for them, as a standard deviation.
    pub fn spread(&self) -> f64 {
        self.off_squared.sqrt()
    }
}
