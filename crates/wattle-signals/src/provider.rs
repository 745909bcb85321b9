//! The seam of sources: one implementation each.

use std::time::Duration;

use wattle_core::signal::{SignalHead, SignalPoint};
use wattle_core::time::UnixTime;

/// Asks one source. Blocking; called on a thread of the signal's own, never more often than
/// [`interval`](Self::interval) says.
pub trait Provider: Send {
    /// What its points are of, and from whom.
    fn head(&self) -> &SignalHead;

    /// How often there can be something new, and so how often it is worth asking.
    fn interval(&self) -> Duration;

    /// How many requests one [`fetch`](Self::fetch) sends at most: quotas count requests. 0: it asks
    /// nobody.
    fn most_requests(&self) -> u32 {
        1
    }

    /// Asks for what was from `since` on, what is, and what is forecast, as far as the source tells; older
    /// points may come along, and what an earlier fetch of this provider told need not come again. `now` is
    /// the time by this machine's clock.
    fn fetch(&mut self, since: UnixTime, now: UnixTime) -> Result<Fetched, FetchError>;
}

/// What a source answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fetched {
    /// Values, each from its time until the next: times ascending, none twice, values finite and in the
    /// unit of the head's quantity. A forecast follows what is known. Gaps are left as gaps.
    pub points: Vec<SignalPoint>,
    /// How long one value holds, and so when the last one ends.
    pub step: Option<Duration>,
    /// What was left out of the answer and why, for the log: nulls, values that can't be.
    pub left_out: Vec<String>,
    /// By how much the source's clock is ahead of this machine's, in seconds, where it told (`Date`).
    pub clock_ahead_seconds: Option<i64>,
}

/// Why a source gave nothing. What it says never holds a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Asked too often, or out of quota.
    #[error("{source_name}: found HTTP 429 or a spent quota, expected an answer; asked again {}", match .retry_after { Some(wait) => format!("in {} s", wait.as_secs()), None => "later, each time later".into() })]
    TooOften {
        /// Who.
        source_name: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The source can't be asked or is in trouble: worth trying again.
    #[error("{source_name}: {detail}; tried again later")]
    Trouble {
        /// Who.
        source_name: String,
        /// What happened.
        detail: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The source refuses or answers what makes no sense: trying again is of little use until somebody
    /// mends something.
    #[error("{source_name}: found {found}, expected {expected}")]
    Refused {
        /// Who.
        source_name: String,
        /// What was found.
        found: String,
        /// What was expected, and what to do.
        expected: String,
    },
}
