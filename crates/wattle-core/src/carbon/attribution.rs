//! Whose a device's time is: only what it computed for an account, or all that it was kept for it.

use serde::{Deserialize, Serialize};

/// Which time of a device counts for an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attribution {
    /// The time in which it computed for the account: the customer's view of ACT. What is idle is nobody's.
    BusyTime,
    /// All time in which it was kept ready, idle too, shared out by what each account used of it: the view of
    /// the SCI.
    ReservedTime,
}

/// An account's share of a device's time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TimeShare {
    /// By [`Attribution::BusyTime`]. All accounts together have at most 1.
    pub busy: f64,
    /// By [`Attribution::ReservedTime`]. All accounts together have 1, or 0 where none was busy.
    pub reserved: f64,
}

impl TimeShare {
    /// The share by `attribution`.
    pub const fn by(self, attribution: Attribution) -> f64 {
        match attribution {
            Attribution::BusyTime => self.busy,
            Attribution::ReservedTime => self.reserved,
        }
    }
}

/// The share of each account in `device_seconds`, by the seconds for which each kept the device busy.
///
/// Where accounts were busy for more than there was, because several ran at once, each has its part of the
/// whole. Seconds that are no number or below 0 count as none.
pub fn time_shares(busy_seconds: &[f64], device_seconds: f64) -> Vec<TimeShare> {
    let usable = |seconds: f64| if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    // Shares are taken of the largest first, so that the sum of huge times can't overflow.
    let largest = busy_seconds.iter().copied().map(usable).fold(0.0, f64::max);
    if largest <= 0.0 {
        return vec![TimeShare::default(); busy_seconds.len()];
    }
    let all: f64 = busy_seconds.iter().map(|seconds| usable(*seconds) / largest).sum();
    let whole = all.max(usable(device_seconds) / largest);
    let share = |seconds: &f64| {
        let part = usable(*seconds) / largest;
        TimeShare { busy: part / whole, reserved: part / all }
    };
    busy_seconds.iter().map(share).collect()
}
