//! The one real clock of the server. Everything pure is handed its timestamps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wattle_core::time::Timestamp;

/// Tells the time since the server started. Copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// Wall-clock time of the start, since the Unix epoch.
    started_unix: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        let started_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), started_unix }
    }

    /// Time since the start; never runs backwards.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_duration(self.start.elapsed())
    }

    /// `at` as wall-clock time since the Unix epoch.
    pub fn unix(&self, at: Timestamp) -> Duration {
        self.started_unix + at.since_start()
    }

    /// Time left until `at`; zero when it has passed.
    pub fn until(&self, at: Timestamp) -> Duration {
        at.saturating_since(self.now())
    }
}
