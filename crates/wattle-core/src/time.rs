//! Points in time that only a driver can make.
//!
//! Nobody in this crate can ask what time it is: the control loop stamps real time, a replay stamps
//! virtual time, and the same code reads both.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds since the driver's own start (its run's zero).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The start of the run.
    pub const ZERO: Self = Self(0);

    /// The instant `nanos` nanoseconds after the start of the run.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `since_start` after the start of the run; saturates after some 580 years.
    pub fn from_duration(since_start: Duration) -> Self {
        Self(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the start of the run.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the start of the run.
    pub fn as_secs_f64(self) -> f64 {
        self.since_start().as_secs_f64()
    }

    /// Time since the start of the run.
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Time passed since `earlier`; zero when `earlier` is not earlier.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, after: Duration) -> Self {
        Self::from_duration(self.since_start().saturating_add(after))
    }
}

impl Sub for Timestamp {
    type Output = Duration;
    /// Time between the two; zero when the right one is later.
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

/// Whole seconds since 1970-01-01 00:00 UTC, as the world counts them: what live signals are stamped with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(i64);

impl UnixTime {
    /// The instant `seconds` after 1970-01-01 00:00 UTC.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970-01-01 00:00 UTC.
    pub const fn as_secs(self) -> i64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` is not earlier.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        let seconds = self.0.saturating_sub(earlier.0);
        Duration::from_secs(if seconds > 0 { seconds.unsigned_abs() } else { 0 })
    }
}

impl Add<Duration> for UnixTime {
    type Output = Self;
    /// Saturates; fractions of a second are dropped.
    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(after.as_secs()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for UnixTime {
    type Output = Self;
    /// Saturates; fractions of a second are dropped.
    fn sub(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(before.as_secs()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.as_secs_f64())
    }
}
