//! What is known of a live signal: values put together from many answers, read as of any time.
//!
//! ```text
//! |- known -----------------------|        |- the source's own forecast ---|
//! |  in use  | fresh | stale      |  too old: held, last week, constant, unknown
//!                    stale_after  give_up_after
//! ```
//! A value is never used before its time, a gap is never filled without its age being told, and a time
//! that runs backwards makes nothing younger than now.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Freshness, PointStatus, SignalHead, SignalPoint, SignalReading};
use crate::time::UnixTime;

/// Values that are kept at most, the newest: two years of hours, ten weeks of five minutes.
pub const MOST_POINTS: usize = 20_000;
/// A week: after so long the same is expected again.
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// What stands in for a signal that is too old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// The last value that was in use.
    #[default]
    Hold,
    /// The value of the same time of the newest week that is known; unknown where none is.
    LastWeek,
    /// This value, in the unit of the signal.
    Constant(f64),
    /// Nothing: the value is unknown.
    Unknown,
}

/// When a signal is too old, and what is done then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StalenessRule {
    /// Older than this, a value is told to be stale.
    pub stale_after: Duration,
    /// Older than this, the fallback takes its place.
    pub give_up_after: Duration,
    /// What takes its place; also that of a signal of which nothing was ever known.
    pub fallback: Fallback,
}

/// A value that is known, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The value, in the unit of its quantity.
    pub value: f64,
    /// How the source came by it.
    pub status: PointStatus,
    /// When the source told it.
    pub told_at: UnixTime,
}

/// What is known of one signal, from whom, and for how long a value holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    head: Arc<SignalHead>,
    step: Duration,
    points: BTreeMap<UnixTime, Known>,
}

impl Series {
    /// Nothing is known yet. A value holds for `step`, or until the next one if that comes sooner; a step
    /// of zero is taken for a second.
    pub fn new(head: Arc<SignalHead>, step: Duration) -> Self {
        Self { head, step: step.max(Duration::from_secs(1)), points: BTreeMap::new() }
    }

    /// A series of `points` that were kept from earlier, the newest [`MOST_POINTS`] of them.
    pub fn of(
        head: Arc<SignalHead>,
        step: Duration,
        points: impl IntoIterator<Item = (UnixTime, Known)>,
    ) -> Self {
        let mut series = Self::new(head, step);
        series.points = points.into_iter().filter(|(_, known)| known.value.is_finite()).collect();
        series.forget();
        series
    }

    /// What it is of, and from whom.
    pub fn head(&self) -> &Arc<SignalHead> {
        &self.head
    }

    /// How long a value holds.
    pub fn step(&self) -> Duration {
        self.step
    }

    /// All that is known, ascending.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = (UnixTime, Known)> + '_ {
        self.points.iter().map(|(at, known)| (*at, *known))
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Takes in an answer that came at `told_at`. What is settled replaces forecasts and stays; of equals
    /// the newer one counts. A forecast of earlier that the answer passes over is withdrawn. Values that
    /// are no number are passed over.
    pub fn merge(&mut self, answer: &[SignalPoint], step: Option<Duration>, told_at: UnixTime) {
        if let Some(step) = step.filter(|step| *step >= Duration::from_secs(1)) {
            self.step = step;
        }
        let times = || answer.iter().filter(|point| point.value.is_finite()).map(|point| point.at);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return };
        let overtaken = self.points.range(first..=last).filter(|(_, known)| is_forecast(known.status));
        for at in overtaken.map(|(at, _)| *at).collect::<Vec<_>>() {
            self.points.remove(&at);
        }
        for point in answer.iter().filter(|point| point.value.is_finite()) {
            let news = Known { value: point.value, status: point.status, told_at };
            let old = self.points.get(&point.at);
            if old.is_none_or(|old| rank(news.status) >= rank(old.status)) {
                self.points.insert(point.at, news);
            }
        }
        self.forget();
    }

    /// Drops the oldest, where there are too many.
    fn forget(&mut self) {
        while self.points.len() > MOST_POINTS {
            self.points.pop_first();
        }
    }

    /// From when on it is worth asking the source at `now`: since the first value of the last days that is
    /// not settled, or else since the newest, but never for more than `longest`.
    pub fn ask_since(&self, now: UnixTime, longest: Duration) -> UnixTime {
        let earliest = now - longest;
        let recent = now - self.step.saturating_mul(3).max(Duration::from_secs(2 * 86_400));
        let unsettled =
            self.points.range(recent..).find(|(_, known)| rank(known.status) < rank(PointStatus::Actual));
        let since = unsettled.or_else(|| self.points.range(..=now).next_back()).map(|(at, _)| *at);
        since.map_or(earliest, |since| since.clamp(earliest.min(now), now))
    }

    /// The value whose time has come last by `now`.
    fn last(&self, now: UnixTime) -> Option<(UnixTime, Known)> {
        self.points.range(..=now).next_back().map(|(at, known)| (*at, *known))
    }

    /// How old a value is at `now`: since the end of its interval, or for a forecast since it was told, if
    /// that is longer.
    fn age(&self, at: UnixTime, known: &Known, now: UnixTime) -> Duration {
        let past_its_end = now.saturating_since(at + self.step);
        if is_forecast(known.status) {
            past_its_end.max(now.saturating_since(known.told_at))
        } else {
            past_its_end
        }
    }

    /// What the signal says at `now`; `None`: unknown.
    pub fn reading(&self, now: UnixTime, rule: &StalenessRule) -> Option<SignalReading> {
        let Some((at, known)) = self.last(now) else {
            return self.fallen_back(now, Duration::ZERO, None, rule.fallback);
        };
        let age = self.age(at, &known, now);
        if age <= rule.give_up_after {
            let freshness = if age > rule.stale_after { Freshness::Stale } else { Freshness::Fresh };
            return Some(self.said(at, &known, age, freshness));
        }
        // What was in use when it was given up: a forecast goes on beyond that time.
        let given_up = if is_forecast(known.status) {
            self.last((known.told_at + rule.give_up_after).min(now)).unwrap_or((at, known))
        } else {
            (at, known)
        };
        self.fallen_back(now, age, Some(given_up), rule.fallback)
    }

    /// What stands in for a signal of which the last value is as old as `silence`.
    fn fallen_back(
        &self,
        now: UnixTime,
        silence: Duration,
        last: Option<(UnixTime, Known)>,
        fallback: Fallback,
    ) -> Option<SignalReading> {
        match fallback {
            Fallback::Unknown => None,
            Fallback::Hold => {
                let (at, known) = last?;
                Some(self.said(at, &known, silence.max(self.age(at, &known, now)), Freshness::Held))
            }
            Fallback::LastWeek => {
                let (at, known) = self.of_an_earlier_week(now)?;
                Some(self.said(at, &known, now.saturating_since(at + self.step), Freshness::LastWeek))
            }
            Fallback::Constant(value) => Some(SignalReading {
                value,
                at: None,
                age: silence,
                status: PointStatus::Unknown,
                freshness: Freshness::Constant,
                head: Arc::clone(&self.head),
            }),
        }
    }

    /// The value whose interval holds the same time of the newest week that has one.
    fn of_an_earlier_week(&self, now: UnixTime) -> Option<(UnixTime, Known)> {
        let first = *self.points.keys().next()?;
        let mut then = now - WEEK;
        // Times of the world need few rounds; a clock gone wild needs none that help.
        for _ in 0..1000 {
            if then < first {
                return None;
            }
            if let Some((at, known)) = self.last(then).filter(|(at, _)| then < *at + self.step) {
                return Some((at, known));
            }
            then = then - WEEK;
        }
        None
    }

    fn said(&self, at: UnixTime, known: &Known, age: Duration, freshness: Freshness) -> SignalReading {
        SignalReading {
            value: known.value,
            at: Some(at),
            age,
            status: known.status,
            freshness,
            head: Arc::clone(&self.head),
        }
    }

    /// What the source itself says of the time after `now`, up to `horizon` later, ascending: each from its
    /// time until the next. It ends at the first gap, and is empty where the gap begins right after the
    /// value of `now`. Values that were told longer ago than `oldest` are left out.
    pub fn ahead(&self, now: UnixTime, horizon: Duration, oldest: Duration) -> Vec<SignalPoint> {
        let after = self.points.range(now..=now + horizon).filter(|(at, _)| **at > now);
        let usable = after.filter(|(_, known)| now.saturating_since(known.told_at) <= oldest);
        let mut ahead = Vec::new();
        let mut ends = now + self.step;
        for (at, known) in usable {
            if *at > ends {
                break;
            }
            ends = *at + self.step;
            ahead.push(SignalPoint { at: *at, value: known.value, status: known.status });
        }
        ahead
    }

    /// What was, up to `now`, ascending. Forecasts of the source count only where it tells nothing else.
    pub fn settled(&self, now: UnixTime) -> impl DoubleEndedIterator<Item = (UnixTime, f64)> + '_ {
        let past = self.points.range(..=now);
        let tells_only_forecasts = past.clone().all(|(_, known)| is_forecast(known.status));
        past.filter(move |(_, known)| tells_only_forecasts || !is_forecast(known.status))
            .map(|(at, known)| (*at, known.value))
    }
}

const fn is_forecast(status: PointStatus) -> bool {
    matches!(status, PointStatus::Forecast)
}

/// What replaces what. A source that does not tell is taken at its word.
const fn rank(status: PointStatus) -> u8 {
    match status {
        PointStatus::Forecast => 0,
        PointStatus::Estimated => 1,
        PointStatus::Unknown | PointStatus::Actual => 2,
    }
}
