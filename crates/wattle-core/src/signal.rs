//! A quantity over time: a power cap, a carbon intensity. Constant, or a trace.
//!
//! Knows no unit but the one in the name of the column: the caller makes watts or grams of the
//! number. Live sources are drivers; they hand over plain values.

mod reading;
pub mod series;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::time::Timestamp;

pub use reading::{
    EmissionScope, Freshness, IntensityKind, PointStatus, Quantity, SignalHead, SignalPoint, SignalReading,
};

/// So many steps of a trace are looked at ahead, at most: what a policy is told must fit in memory.
pub const MOST_STEPS_AHEAD: usize = 10_000;

/// A quantity over time.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    /// The same at all times.
    Constant(f64),
    /// Values that hold until the next one.
    Trace(Trace),
}

/// What a trace says past its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterEnd {
    /// Nothing: the value is unknown.
    Unknown,
    /// Its last value, for ever.
    Hold,
    /// The trace again, from its first value.
    Repeat,
}

/// Values at ascending offsets in the trace's own time, each held until the next. A run begins at 0 of
/// that time, or where [`Signal::starting_at`] says.
///
/// The last value is held for as long as the one before it; a trace of one value never ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Never empty, offsets ascending.
    points: Vec<(Duration, f64)>,
    after_end: AfterEnd,
    /// Where in the trace's own time the run begins.
    start: Duration,
}

/// A trace that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("value {index} of the trace: found {found}, expected {expected}")]
pub struct TraceError {
    /// Which value, counted from 1.
    pub index: usize,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

/// A file that is no trace of the quantity asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: found {found}, expected {expected}")]
pub struct SignalError {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: u64,
    /// What stands there.
    pub found: String,
    /// What could stand there.
    pub expected: String,
}

impl Trace {
    /// A trace of `points`: at least one, offsets ascending, values finite and not negative.
    pub fn new(points: Vec<(Duration, f64)>, after_end: AfterEnd) -> Result<Self, TraceError> {
        if points.is_empty() {
            return Err(TraceError {
                index: 1,
                found: "nothing".into(),
                expected: "at least one value".into(),
            });
        }
        let mut previous = None;
        for (index, (offset, value)) in points.iter().enumerate() {
            check_next(previous, *offset, *value).map_err(|(found, expected)| TraceError {
                index: index + 1,
                found,
                expected,
            })?;
            previous = Some(*offset);
        }
        Ok(Self { points, after_end, start: Duration::ZERO })
    }

    /// Reads a trace from CSV text whose header is `seconds,<column>`. Lines that start with `#` are
    /// comments. `file_name` is for errors only.
    pub fn parse(
        text: &str,
        file_name: &str,
        column: &str,
        after_end: AfterEnd,
    ) -> Result<Self, SignalError> {
        let wrong = |line: u64, found: String, expected: String| SignalError {
            file: file_name.to_owned(),
            line,
            found,
            expected,
        };
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let mut header_seen = false;
        let mut points: Vec<(Duration, f64)> = Vec::new();
        let mut line = 1;
        for record in reader.records() {
            let record = record.map_err(|error| {
                let line = error.position().map_or(line, csv::Position::line);
                wrong(line, error.to_string(), "CSV text".into())
            })?;
            line = record.position().map_or(line, csv::Position::line);
            let cells: Vec<&str> = record.iter().collect();
            if !header_seen {
                if cells != ["seconds", column] {
                    let expected = format!("the header \"seconds,{column}\"");
                    return Err(wrong(line, format!("{:?}", cells.join(",")), expected));
                }
                header_seen = true;
                continue;
            }
            let [seconds, value] = cells[..] else {
                return Err(wrong(
                    line,
                    format!("{} cells", cells.len()),
                    format!("2: seconds and {column}"),
                ));
            };
            let offset = seconds
                .parse()
                .ok()
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| {
                wrong(line, format!("{seconds:?}"), "seconds as a number of at least 0".into())
            })?;
            let value: f64 = value.parse().map_err(|_| {
                wrong(line, format!("{value:?}"), format!("{column} as a number of at least 0"))
            })?;
            check_next(points.last().map(|(offset, _)| *offset), offset, value)
                .map_err(|(found, expected)| wrong(line, found, expected))?;
            points.push((offset, value));
        }
        if points.is_empty() {
            let expected = if header_seen {
                "at least one value".to_owned()
            } else {
                format!("the header \"seconds,{column}\" and at least one value")
            };
            return Err(wrong(line, "the end of the file".into(), expected));
        }
        Ok(Self { points, after_end, start: Duration::ZERO })
    }

    /// The values with their offsets in the trace's own time, wherever in it the run begins.
    pub fn points(&self) -> &[(Duration, f64)] {
        &self.points
    }

    /// How long after the start of the run the last value stops to hold, for the first time where the
    /// trace repeats. `None` for a trace of one value, which never ends.
    pub fn end(&self) -> Option<Duration> {
        Some(self.own_end()?.saturating_sub(self.in_first_pass(self.start)))
    }

    /// When the last value stops to hold, in the trace's own time.
    fn own_end(&self) -> Option<Duration> {
        let [.., (before_last, _), (last, _)] = self.points[..] else { return None };
        Some(last.saturating_add(last.saturating_sub(before_last)))
    }

    /// `offset` of the trace's own time, taken back into the first pass where the trace repeats.
    fn in_first_pass(&self, offset: Duration) -> Duration {
        match (self.after_end, self.own_end()) {
            (AfterEnd::Repeat, Some(end)) if offset >= end => {
                let first = self.points[0].0;
                let period = end.saturating_sub(first).as_nanos().max(1);
                let into = (offset - first).as_nanos() % period;
                first + Duration::from_nanos(u64::try_from(into).unwrap_or(u64::MAX))
            }
            _ => offset,
        }
    }

    /// When the next value begins after `time`; `None` when there is no other.
    fn next_change(&self, time: Timestamp) -> Option<Timestamp> {
        let elapsed = time.since_start().saturating_add(self.start);
        let offset = self.in_first_pass(elapsed);
        let base = elapsed.saturating_sub(offset);
        let index = self.points.partition_point(|(start, _)| *start <= offset);
        let next = match (self.points.get(index), self.after_end) {
            (Some((start, _)), _) => *start,
            (None, AfterEnd::Hold) => return None,
            (None, _) => self.own_end().filter(|end| *end > offset)?,
        };
        Some(Timestamp::from_duration(base.saturating_add(next).saturating_sub(self.start)))
    }

    fn at(&self, time: Timestamp) -> Option<f64> {
        let offset = self.in_first_pass(time.since_start().saturating_add(self.start));
        if self.after_end == AfterEnd::Unknown && self.own_end().is_some_and(|end| offset >= end) {
            return None;
        }
        let index = self.points.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        Some(self.points[index].1)
    }
}

impl Signal {
    /// The value at `time`. `None`: unknown, as before the first value of a trace.
    pub fn at(&self, time: Timestamp) -> Option<f64> {
        let value = match self {
            Self::Constant(value) => Some(*value),
            Self::Trace(trace) => trace.at(time),
        };
        value.filter(|value| value.is_finite())
    }

    /// The changes of the value after `now` and up to `horizon` later, each at its time. Empty for a
    /// constant. A trace that ends within the horizon and is unknown from then on gives no more. Of a
    /// trace with very many steps in the horizon only the first [`MOST_STEPS_AHEAD`] are looked at.
    pub fn changes_ahead(&self, now: Timestamp, horizon: Duration) -> Vec<(Timestamp, f64)> {
        let Self::Trace(trace) = self else { return Vec::new() };
        let until = now + horizon;
        let mut changes = Vec::new();
        let mut last = self.at(now);
        let mut at = now;
        for _ in 0..MOST_STEPS_AHEAD {
            let Some(next) = trace.next_change(at).filter(|next| *next <= until) else { break };
            let value = self.at(next);
            if let Some(value) = value.filter(|_| value != last) {
                changes.push((next, value));
            }
            (last, at) = (value, next);
        }
        changes
    }

    /// When the value next changes after `now`, or may; `None` when it never does.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Constant(_) => None,
            Self::Trace(trace) => trace.next_change(now),
        }
    }

    /// The signal with its time running `factor` times as fast: a day's trace sped up 24 times takes
    /// an hour. `None` unless `factor` is finite and over 0.
    pub fn sped_up(self, factor: f64) -> Option<Self> {
        if !(factor.is_finite() && factor > 0.0) {
            return None;
        }
        let Self::Trace(mut trace) = self else { return Some(self) };
        let faster = |offset: Duration| {
            Duration::try_from_secs_f64(offset.as_secs_f64() / factor).unwrap_or(Duration::MAX)
        };
        for (offset, _) in &mut trace.points {
            *offset = faster(*offset);
        }
        trace.start = faster(trace.start);
        Some(Self::Trace(trace))
    }

    /// The signal as seen by a run that begins at `start` of the trace's own time.
    pub fn starting_at(self, start: Duration) -> Self {
        match self {
            Self::Trace(trace) => Self::Trace(Trace { start: trace.start.saturating_add(start), ..trace }),
            constant => constant,
        }
    }

    /// The signal with every value put through `convert`. A value that it makes NaN or infinite is
    /// unknown from then on.
    pub fn map(self, convert: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(convert(value)),
            Self::Trace(mut trace) => {
                for (_, value) in &mut trace.points {
                    *value = convert(*value);
                }
                Self::Trace(trace)
            }
        }
    }
}

/// Whether a value may follow; if not, what was found and what was expected.
fn check_next(previous: Option<Duration>, offset: Duration, value: f64) -> Result<(), (String, String)> {
    if !(value.is_finite() && value >= 0.0) {
        return Err((value.to_string(), "a number of at least 0".into()));
    }
    match previous {
        Some(previous) if offset <= previous => Err((
            format!("{} seconds after {}", offset.as_secs_f64(), previous.as_secs_f64()),
            "ascending seconds".into(),
        )),
        _ => Ok(()),
    }
}
