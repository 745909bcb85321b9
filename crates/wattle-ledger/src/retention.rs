//! How long rows are kept before coarser ones stand for them.

use std::time::Duration;

/// How long seconds, minutes and hours are kept as such. Days are kept for ever.
///
/// With the defaults and 20 accounts busy every second of a year there are
///
/// - 7 200 seconds (2 h), 10 080 minutes (7 days), 9 600 hours (400 days): 26 880 rows;
/// - each with 20 parts: 537 600 of some 80 bytes with all around them, 43 MB; with 60 accounts 130 MB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Rows as booked, about a second each, before minutes stand for them.
    pub seconds: Duration,
    /// Minutes, before hours stand for them.
    pub minutes: Duration,
    /// Hours, before days (UTC) stand for them.
    pub hours: Duration,
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

impl Default for Retention {
    fn default() -> Self {
        Self { seconds: HOUR * 2, minutes: DAY * 7, hours: DAY * 400 }
    }
}

/// A retention under which a row would be replaced twice at once.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{finer} are kept for {finer_seconds} s and {coarser} for {coarser_seconds} s: expected the coarser rows to be kept at least as long as the finer"
)]
pub struct RetentionError {
    /// The finer rows.
    pub finer: &'static str,
    /// For how long these are kept.
    pub finer_seconds: u64,
    /// The coarser rows.
    pub coarser: &'static str,
    /// For how long those are kept.
    pub coarser_seconds: u64,
}

impl Retention {
    /// Itself, when no finer row is to be kept longer than a coarser one.
    ///
    /// # Errors
    ///
    /// When one is.
    pub fn checked(self) -> Result<Self, RetentionError> {
        let levels = [("seconds", self.seconds), ("minutes", self.minutes), ("hours", self.hours)];
        for pair in levels.windows(2) {
            if let [(finer, finer_for), (coarser, coarser_for)] = *pair
                && finer_for > coarser_for
            {
                return Err(RetentionError {
                    finer,
                    finer_seconds: finer_for.as_secs(),
                    coarser,
                    coarser_seconds: coarser_for.as_secs(),
                });
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_finer_rows_are_kept_no_longer_than_coarser_ones() {
        assert_eq!(Retention::default().checked(), Ok(Retention::default()));
        let error = Retention { minutes: HOUR, ..Retention::default() }.checked().unwrap_err().to_string();
        assert!(error.contains("seconds are kept for 7200 s and minutes for 3600 s"), "{error}");
    }
}
