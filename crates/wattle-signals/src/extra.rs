//! A request beside the main one: its refusal costs the present value nothing, and it is not asked often.

use std::time::Duration;

use wattle_core::time::UnixTime;

use crate::provider::FetchError;

/// After a refusal: a plan that lacks the endpoint is not bought within the hour.
const AFTER_REFUSAL: Duration = Duration::from_secs(24 * 3600);
const AFTER_TROUBLE: Duration = Duration::from_secs(15 * 60);
const AFTER_TOO_OFTEN: Duration = Duration::from_secs(3600);
/// A wait that is longer is of a clock that was set back.
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 24 * 3600);

/// When such a request is next worth sending.
#[derive(Debug)]
pub(crate) struct Extra {
    /// What it asks for, in words.
    what: &'static str,
    every: Duration,
    not_before: Option<UnixTime>,
}

impl Extra {
    pub(crate) fn new(what: &'static str, every: Duration) -> Self {
        Self { what, every, not_before: None }
    }

    /// Whether to ask now.
    pub(crate) fn is_due(&self, now: UnixTime) -> bool {
        self.not_before.is_none_or(|time| now >= time || time.saturating_since(now) > LONGEST_WAIT)
    }

    /// Asked, and answered.
    pub(crate) fn answered(&mut self, now: UnixTime) {
        self.not_before = Some(now + self.every);
    }

    /// Due again at once: the main request failed as well, so the whole is tried anew.
    pub(crate) fn reset(&mut self) {
        self.not_before = None;
    }

    /// Asked, and failed. What to tell of it.
    pub(crate) fn failed(&mut self, now: UnixTime, error: &FetchError) -> String {
        let wait = match error {
            FetchError::Refused { .. } => AFTER_REFUSAL,
            FetchError::TooOften { retry_after, .. } => retry_after.unwrap_or(AFTER_TOO_OFTEN),
            FetchError::Trouble { retry_after, .. } => retry_after.unwrap_or(AFTER_TROUBLE),
        }
        .max(self.every);
        self.not_before = Some(now + wait);
        let minutes = wait.as_secs().div_ceil(60);
        format!("{}: {}", self.what, told(error, minutes))
    }
}

fn told(error: &FetchError, minutes: u64) -> String {
    match error {
        FetchError::Refused { found, expected, .. } => {
            format!("found {found}, expected {expected}; not asked for {minutes} min")
        }
        FetchError::TooOften { .. } => format!("found HTTP 429; not asked for {minutes} min"),
        FetchError::Trouble { detail, .. } => format!("{detail}; not asked for {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_rests_for_a_day_and_a_clock_set_back_wakes_it() {
        let mut forecast = Extra::new("the forecast", Duration::from_secs(3600));
        let now = UnixTime::from_secs(1_700_000_000);
        assert!(forecast.is_due(now));
        let refused = FetchError::Refused {
            source_name: "x".into(),
            found: "HTTP 403".into(),
            expected: "a plan".into(),
        };
        assert!(forecast.failed(now, &refused).contains("HTTP 403"));
        assert!(!forecast.is_due(now + Duration::from_secs(3600)));
        assert!(forecast.is_due(now + AFTER_REFUSAL));
        assert!(forecast.is_due(now - Duration::from_secs(30 * 24 * 3600)));
    }

    #[test]
    fn the_wish_to_be_left_alone_is_kept() {
        let mut forecast = Extra::new("the forecast", Duration::from_secs(300));
        let now = UnixTime::from_secs(1_700_000_000);
        let too_often =
            FetchError::TooOften { source_name: "x".into(), retry_after: Some(Duration::from_secs(7200)) };
        forecast.failed(now, &too_often);
        assert!(!forecast.is_due(now + Duration::from_secs(7199)));
        assert!(forecast.is_due(now + Duration::from_secs(7200)));
    }
}
