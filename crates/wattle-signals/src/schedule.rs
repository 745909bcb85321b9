//! When a source is asked next: politely, and later each time that it fails.
//!
//! All of it is a function of what happened and a seed, so that it is the same in every test.

use std::time::Duration;

use crate::provider::FetchError;

/// A day, over which requests are counted.
const DAY: Duration = Duration::from_secs(86_400);
/// The first wait after a failure, unless the source is asked more often than that anyway.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// Failures make the wait no longer than this, unless the source is asked less often than that anyway.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// How long a source that refuses is left alone at least: somebody has to mend something first.
const AFTER_REFUSAL: Duration = Duration::from_secs(15 * 60);
/// The longest that a source can ask to be left alone: what it says beyond that is no use to anybody.
const LONGEST_RETRY_AFTER: Duration = DAY;

/// How a source may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How often it is worth asking.
    pub interval: Duration,
    /// How many requests it grants in a day, if that is limited.
    pub max_requests_per_day: Option<u32>,
    /// How many requests it takes to ask once, at most; 0: nobody is asked.
    pub requests_each: u32,
    /// Of jitter. Another for each server, so that they do not all come back at once.
    pub seed: u64,
}

impl Pace {
    /// The shortest time between two asks: the interval, or longer where the quota does not last.
    pub fn shortest(&self) -> Duration {
        let interval = self.interval.max(Duration::from_secs(1));
        let of_quota = self
            .max_requests_per_day
            .map(|most| DAY.saturating_mul(self.requests_each) / most.max(1))
            .unwrap_or_default();
        interval.max(of_quota)
    }

    /// How long to wait after an ask that ended with `error`, or with none, the `failures`-th in a row.
    ///
    /// Doubled with each failure from half a minute to a quarter of an hour, of which a random half is
    /// taken off at most; longer where the source says so (`Retry-After`), a day at most; and never less
    /// than the quota allows.
    pub fn wait(&self, error: Option<&FetchError>, failures: u32) -> Duration {
        let Some(error) = error else { return self.shortest() };
        let (least, retry_after) = match error {
            FetchError::TooOften { retry_after, .. } => (self.interval, *retry_after),
            FetchError::Trouble { retry_after, .. } => (Duration::ZERO, *retry_after),
            FetchError::Refused { .. } => (AFTER_REFUSAL, None),
        };
        let wait =
            back_off(failures, self.interval.min(FIRST_WAIT), self.interval.max(LONGEST_WAIT), self.seed);
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let of_quota = if self.max_requests_per_day.is_some() { self.shortest() } else { Duration::ZERO };
        wait.max(least).max(asked).max(of_quota).max(Duration::from_secs(1))
    }
}

/// Exponential back-off with jitter: `first` doubled with each failure after the first, at most `longest`,
/// times a number from 0.5 to 1 that `seed` and `failures` give.
pub fn back_off(failures: u32, first: Duration, longest: Duration, seed: u64) -> Duration {
    let doubled = first.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(longest).mul_f64(0.5 + 0.5 * share(seed, failures))
}

/// A number from 0 to 1: SplitMix64 (Steele, Lea, Flood 2014) of the seed, `step` steps on.
fn share(seed: u64, step: u32) -> f64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(step) + 1));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn pace(interval: u64, quota: Option<u32>) -> Pace {
        Pace { interval: seconds(interval), max_requests_per_day: quota, requests_each: 1, seed: 7 }
    }

    fn trouble(retry_after: Option<u64>) -> FetchError {
        FetchError::Trouble {
            source_name: "s".into(),
            detail: "d".into(),
            retry_after: retry_after.map(seconds),
        }
    }

    fn too_often(retry_after: Option<u64>) -> FetchError {
        FetchError::TooOften { source_name: "s".into(), retry_after: retry_after.map(seconds) }
    }

    #[test]
    fn a_source_that_answers_is_asked_at_its_interval_or_as_often_as_the_quota_lasts() {
        assert_eq!(pace(300, None).wait(None, 0), seconds(300));
        assert_eq!(pace(300, Some(100)).wait(None, 0), seconds(864));
        assert_eq!(Pace { requests_each: 3, ..pace(300, Some(100)) }.wait(None, 0), seconds(2592));
        assert_eq!(pace(3600, Some(100)).wait(None, 0), seconds(3600));
        assert_eq!(pace(300, Some(0)).wait(None, 0), seconds(86_400), "a quota of none is one a day");
        assert_eq!(pace(0, None).wait(None, 0), seconds(1));
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_quarter_of_an_hour() {
        let waits: Vec<u64> =
            (1..=8).map(|failures| pace(60, None).wait(Some(&trouble(None)), failures).as_secs()).collect();
        for (wait, most) in waits.iter().zip([30, 60, 120, 240, 480, 900, 900, 900]) {
            assert!(*wait >= most / 2 && *wait <= most, "{waits:?}");
        }
        let daily = pace(86_400, None).wait(Some(&trouble(None)), 40);
        assert!(
            daily >= seconds(43_200),
            "a source that is asked once a day is not asked more often: {daily:?}"
        );
    }

    #[test]
    fn what_the_source_asks_for_is_honoured() {
        assert_eq!(pace(60, None).wait(Some(&trouble(Some(4000))), 1), seconds(4000));
        assert_eq!(pace(60, None).wait(Some(&too_often(Some(4000))), 1), seconds(4000));
        assert_eq!(pace(60, None).wait(Some(&too_often(Some(u64::MAX))), 1), seconds(86_400));
        assert!(pace(600, None).wait(Some(&too_often(None)), 1) >= seconds(600));
        let refused =
            FetchError::Refused { source_name: "s".into(), found: "f".into(), expected: "e".into() };
        assert!(pace(1, None).wait(Some(&refused), 1) >= AFTER_REFUSAL);
        assert!(pace(300, Some(100)).wait(Some(&trouble(None)), 1) >= seconds(864), "retries count, too");
    }

    proptest! {
        #[test]
        fn jitter_takes_off_half_at_most_and_differs_between_seeds(failures in 1u32..100, seed: u64) {
            let wait = back_off(failures, seconds(1), seconds(900), seed);
            let most = seconds(1).saturating_mul(1 << (failures - 1).min(20)).min(seconds(900));
            prop_assert!(wait >= most / 2 && wait <= most);
            prop_assert_eq!(wait, back_off(failures, seconds(1), seconds(900), seed), "the same each time");
            prop_assert!(wait != back_off(failures, seconds(1), seconds(900), seed ^ 1));
        }
    }
}
