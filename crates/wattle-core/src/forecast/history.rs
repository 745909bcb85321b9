//! What was seen of a quantity at an even step, and what else was seen or is known ahead beside it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::FURTHEST_AHEAD;
use crate::time::UnixTime;

const DAY_SECONDS: i64 = 86_400;
/// Of points that go further back than this, the earlier ones are dropped.
const MOST_DAYS: i64 = 5 * 366;

/// Values of a quantity at an even step, with gaps, and further series that may help to forecast it.
///
/// The value of a step holds from the step's beginning to its end. A gap is a gap: nothing is scored
/// against it. Models look back on a filled-in series, where a gap has the value of the same time a day
/// before, or the last value.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    first: UnixTime,
    step_seconds: i64,
    known: Vec<Option<f64>>,
    filled: Vec<f64>,
    seen: Vec<Vec<f64>>,
    known_ahead: Vec<Vec<f64>>,
}

/// Values that make no history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("history, {field}: found {found}, expected {expected}")]
pub struct HistoryError {
    /// Which part: the step, a value by its number (counted from 1), the first time.
    pub field: String,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl History {
    /// The history of `values`, the first of which begins at `first`, a step each. Gaps before the first
    /// known value are left out.
    ///
    /// Fails unless `step` divides the hour and is at least 5 minutes, and each value is finite and at
    /// least 0.
    pub fn new(first: UnixTime, step: Duration, values: Vec<Option<f64>>) -> Result<Self, HistoryError> {
        let step_seconds = checked_step(step)?;
        check_values(&values, true)?;
        let gaps = values.iter().take_while(|value| value.is_none()).count();
        let first = UnixTime::from_secs(first.as_secs().saturating_add(step_seconds * gaps as i64));
        let known: Vec<Option<f64>> = values.into_iter().skip(gaps).collect();
        let filled = filled(&known, (DAY_SECONDS / step_seconds) as usize, known.len());
        Ok(Self { first, step_seconds, known, filled, seen: Vec::new(), known_ahead: Vec::new() })
    }

    /// The history of values at times of any order: of each step the mean of the values whose times fall
    /// into it. Steps begin at whole multiples of `step` since 1970. Values of more than five years
    /// before the last are dropped.
    ///
    /// Fails as [`new`](Self::new) does.
    pub fn of_points(
        points: impl IntoIterator<Item = (UnixTime, f64)>,
        step: Duration,
    ) -> Result<Self, HistoryError> {
        let (first, values) = means(points, checked_step(step)?);
        Self::new(first, step, values)
    }

    /// Adds a series of the same step that was seen beside this one and may explain it, such as the share
    /// of wind in what was generated. Only what was seen before a forecast is made is used for it.
    ///
    /// `first` is when its first value begins: no later than the history, whole steps before it. Fails
    /// otherwise, and on values that are not finite.
    pub fn with_seen(mut self, first: UnixTime, values: &[Option<f64>]) -> Result<Self, HistoryError> {
        self.seen.push(self.aligned(first, values, self.known.len())?);
        Ok(self)
    }

    /// As [`with_seen`](Self::with_seen), of values at times of any order, put into steps as
    /// [`of_points`](Self::of_points) does. Values of the time after this history are not used.
    pub fn with_seen_points(
        self,
        points: impl IntoIterator<Item = (UnixTime, f64)>,
    ) -> Result<Self, HistoryError> {
        let end = self.end();
        let (first, values) = means(points.into_iter().filter(|(at, _)| *at < end), self.step_seconds);
        self.with_seen(first, &values)
    }

    /// Adds a series of the same step that is known ahead, such as a weather forecast. A forecast for a
    /// time uses the value of that very time. So in a back-test it must hold what was *forecast* then, not
    /// what came of it. Beyond its end it is taken to be as a day before.
    ///
    /// Fails as [`with_seen`](Self::with_seen) does.
    pub fn with_known_ahead(mut self, first: UnixTime, values: &[Option<f64>]) -> Result<Self, HistoryError> {
        let most = self.known.len() + (FURTHEST_AHEAD.as_secs() as i64 / self.step_seconds) as usize;
        self.known_ahead.push(self.aligned(first, values, most)?);
        Ok(self)
    }

    /// `values` from the beginning of the history on, `length` of them, gaps filled in.
    fn aligned(
        &self,
        first: UnixTime,
        values: &[Option<f64>],
        length: usize,
    ) -> Result<Vec<f64>, HistoryError> {
        check_values(values, false)?;
        let before = self.first.as_secs().saturating_sub(first.as_secs());
        let skipped = usize::try_from(before / self.step_seconds).ok();
        let Some(skipped) = skipped.filter(|_| before >= 0 && before % self.step_seconds == 0) else {
            return Err(HistoryError {
                field: "the first time of a series beside it".into(),
                found: format!("{} s after the history's own", -before),
                expected: format!("the same or earlier by whole steps of {} s", self.step_seconds),
            });
        };
        if values.iter().take(skipped + 1).all(Option::is_none) {
            return Err(HistoryError {
                field: "the first value of a series beside it".into(),
                found: "none".into(),
                expected: "a value where the history begins, or before".into(),
            });
        }
        let whole = filled(values, self.steps_a_day(), skipped + length);
        Ok(whole.into_iter().skip(skipped).collect())
    }

    /// What was known at `time`: the steps that had ended by then. What is known ahead stays.
    pub fn until(&self, time: UnixTime) -> Self {
        let length = self.index_of(time).min(self.known.len());
        Self {
            known: self.known[..length].to_vec(),
            filled: self.filled[..length].to_vec(),
            seen: self.seen.iter().map(|series| series[..length].to_vec()).collect(),
            ..self.clone()
        }
    }

    /// When the first step begins.
    pub fn first(&self) -> UnixTime {
        self.first
    }

    /// When the last step ends, and so when the first that is forecast begins.
    pub fn end(&self) -> UnixTime {
        self.time_of(self.known.len())
    }

    /// How long one value holds.
    pub fn step(&self) -> Duration {
        Duration::from_secs(self.step_seconds.unsigned_abs())
    }

    /// The values, `None` where there is a gap.
    pub fn values(&self) -> &[Option<f64>] {
        &self.known
    }

    /// The values, gaps filled in from before.
    pub(super) fn filled(&self) -> &[f64] {
        &self.filled
    }

    /// Series seen beside this one, as long as it is.
    pub(super) fn seen(&self) -> &[Vec<f64>] {
        &self.seen
    }

    /// Series known ahead, [`FURTHEST_AHEAD`] longer than this one.
    pub(super) fn known_ahead(&self) -> &[Vec<f64>] {
        &self.known_ahead
    }

    pub(super) fn steps_a_day(&self) -> usize {
        (DAY_SECONDS / self.step_seconds) as usize
    }

    /// Steps in `ahead`, of which at most [`FURTHEST_AHEAD`] is looked at.
    pub(super) fn steps_in(&self, ahead: Duration) -> usize {
        (ahead.min(FURTHEST_AHEAD).as_secs() / self.step_seconds.unsigned_abs()) as usize
    }

    /// When step `index` begins.
    pub(super) fn time_of(&self, index: usize) -> UnixTime {
        self.first + Duration::from_secs(self.step_seconds.unsigned_abs().saturating_mul(index as u64))
    }

    /// Steps that had ended by `time`.
    pub(super) fn index_of(&self, time: UnixTime) -> usize {
        let since = time.as_secs().saturating_sub(self.first.as_secs());
        usize::try_from(since.div_euclid(self.step_seconds)).unwrap_or(0)
    }

    /// The day of the week in universal time, 0 to 6, in which step `index` begins.
    pub(super) fn weekday(&self, index: usize) -> usize {
        self.time_of(index).as_secs().div_euclid(DAY_SECONDS).rem_euclid(7) as usize
    }
}

fn checked_step(step: Duration) -> Result<i64, HistoryError> {
    let seconds = step.as_secs();
    if step.subsec_nanos() == 0 && seconds >= 300 && 3600_u64.is_multiple_of(seconds) {
        return Ok(seconds as i64);
    }
    Err(HistoryError {
        field: "the step".into(),
        found: format!("{} s", step.as_secs_f64()),
        expected: "5 to 60 minutes that divide the hour: 300, 600, 900, 1800 or 3600 s, say".into(),
    })
}

fn check_values(values: &[Option<f64>], not_negative: bool) -> Result<(), HistoryError> {
    let is_bad = |value: f64| !value.is_finite() || (not_negative && value < 0.0);
    match values.iter().enumerate().find(|(_, value)| value.is_some_and(is_bad)) {
        None => Ok(()),
        Some((index, value)) => Err(HistoryError {
            field: format!("value {}", index + 1),
            found: value.unwrap_or_default().to_string(),
            expected: if not_negative { "a number of at least 0" } else { "a finite number" }.into(),
        }),
    }
}

/// Of each step the mean of the values whose times fall into it, from the first step that has one, no more
/// than [`MOST_DAYS`] before the last. Says when that begins.
fn means(
    points: impl IntoIterator<Item = (UnixTime, f64)>,
    step_seconds: i64,
) -> (UnixTime, Vec<Option<f64>>) {
    let points: Vec<(i64, f64)> =
        points.into_iter().map(|(at, value)| (at.as_secs().div_euclid(step_seconds), value)).collect();
    let Some(last) = points.iter().map(|(slot, _)| *slot).max() else {
        return (UnixTime::default(), Vec::new());
    };
    let earliest = last.saturating_sub(MOST_DAYS * DAY_SECONDS / step_seconds);
    let kept = || points.iter().filter(|(slot, _)| *slot >= earliest);
    let first = kept().map(|(slot, _)| *slot).min().unwrap_or(last);
    let mut sums = vec![(0.0, 0_u32); (last - first + 1) as usize];
    for (slot, value) in kept() {
        let (sum, count) = &mut sums[(slot - first) as usize];
        *sum += value;
        *count += 1;
    }
    let mean = |(sum, count): (f64, u32)| (count > 0).then(|| sum / f64::from(count));
    (UnixTime::from_secs(first.saturating_mul(step_seconds)), sums.into_iter().map(mean).collect())
}

/// `length` values of `known`; where one is missing, that of the same time a day before, or the last.
fn filled(known: &[Option<f64>], steps_a_day: usize, length: usize) -> Vec<f64> {
    let mut filled: Vec<f64> = Vec::with_capacity(length);
    for index in 0..length {
        let day_before = || index.checked_sub(steps_a_day).and_then(|before| filled.get(before)).copied();
        let value = known.get(index).copied().flatten().or_else(day_before);
        let value = value.or_else(|| filled.last().copied()).unwrap_or(0.0);
        filled.push(value);
    }
    filled
}
