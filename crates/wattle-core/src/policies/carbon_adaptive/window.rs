//! The lowest and the highest of a value within a trailing window.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// Extremes of what was seen in the last `length`.
///
/// A value that a later one undercuts (or exceeds) can never be the lowest (or highest) again and is
/// dropped at once. So little is kept, however often a value is seen.
#[derive(Debug, Clone)]
pub(super) struct Extremes {
    length: Duration,
    /// Ascending in time and value: the first is the lowest.
    lows: VecDeque<(Timestamp, f64)>,
    /// Ascending in time, descending in value: the first is the highest.
    highs: VecDeque<(Timestamp, f64)>,
}

impl Extremes {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, lows: VecDeque::new(), highs: VecDeque::new() }
    }

    /// `value` is seen `now`; what is older than the window is forgotten.
    pub(super) fn take_in(&mut self, now: Timestamp, value: f64) {
        keep_better(&mut self.lows, now, value, |last| last >= value);
        keep_better(&mut self.highs, now, value, |last| last <= value);
        for kept in [&mut self.lows, &mut self.highs] {
            while kept.front().is_some_and(|(at, _)| now.saturating_since(*at) > self.length) {
                kept.pop_front();
            }
        }
    }

    /// The lowest and the highest; `None` when nothing was seen.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        Some((self.lows.front()?.1, self.highs.front()?.1))
    }
}

fn keep_better(
    kept: &mut VecDeque<(Timestamp, f64)>,
    now: Timestamp,
    value: f64,
    is_beaten: impl Fn(f64) -> bool,
) {
    while kept.back().is_some_and(|(_, last)| is_beaten(*last)) {
        kept.pop_back();
    }
    kept.push_back((now, value));
}
