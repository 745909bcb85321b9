//! Accounting periods: whole days, counted from the start of a day.

use std::time::Duration;

use crate::time::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// One accounting period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

impl Period {
    /// Its length; the first may begin within a day.
    pub(super) fn days(&self) -> f64 {
        (self.end - self.start).as_secs_f64() / DAY.as_secs_f64()
    }
}

/// Where accounting periods begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Periods {
    length: Duration,
    first_end: Timestamp,
}

impl Periods {
    /// Periods of `days`, the first of them cut short if the run begins within a day. `day_start`: when, after
    /// the start of the run, a day begins.
    pub(super) fn new(days: u32, day_start: Duration) -> Self {
        let length = DAY * days;
        let cut = if day_start.is_zero() { Duration::ZERO } else { DAY.saturating_sub(day_start) };
        Self { length, first_end: Timestamp::from_duration(length.saturating_sub(cut)) }
    }

    /// The period that `now` is in.
    pub(super) fn at(&self, now: Timestamp) -> Period {
        if now < self.first_end {
            return Period { start: Timestamp::ZERO, end: self.first_end };
        }
        let length = u64::try_from(self.length.as_nanos()).unwrap_or(u64::MAX).max(1);
        let into = now.as_nanos().saturating_sub(self.first_end.as_nanos()) % length;
        let start = Timestamp::from_nanos(now.as_nanos() - into);
        Period { start, end: start + self.length }
    }
}
