//! When a driver asks its policy. One rule for the control loop and for a replay.

use std::time::Duration;

use crate::time::Timestamp;
use crate::units::Watts;

/// Keeps track of when the policy was asked and wants to be asked again.
#[derive(Debug, Clone)]
pub struct Asking {
    asked_at: Timestamp,
    ask_at: Timestamp,
    asked_cap: Option<Watts>,
}

impl Asking {
    /// Nothing was asked yet; the first ask is due at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { asked_at: now, ask_at: now, asked_cap: None }
    }

    /// Whether to ask now: the policy's own time has come, the cap changed, or it is violated.
    pub fn is_due(&self, now: Timestamp, power_cap: Option<Watts>, is_violated: bool) -> bool {
        now >= self.ask_at || is_violated || power_cap != self.asked_cap
    }

    /// The policy was asked at `now` under `power_cap`, and wants to be asked again after `again_in`.
    pub fn asked(&mut self, now: Timestamp, power_cap: Option<Watts>, again_in: Duration) {
        self.asked_at = now;
        self.asked_cap = power_cap;
        self.ask_at = now + again_in;
    }

    /// When the policy was last asked.
    pub fn asked_at(&self) -> Timestamp {
        self.asked_at
    }

    /// When the policy wants to be asked next, if nothing happens before.
    pub fn ask_at(&self) -> Timestamp {
        self.ask_at
    }

    /// Makes the next ask due, as for a new policy.
    pub fn ask_at_once(&mut self) {
        self.ask_at = Timestamp::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_when_its_time_has_come_or_something_happened() {
        let at = |ms| Timestamp::from_duration(Duration::from_millis(ms));
        let cap = Some(Watts::new(100.0));
        let mut asking = Asking::new(at(0));
        assert!(asking.is_due(at(0), cap, false));
        asking.asked(at(0), cap, Duration::from_millis(250));
        assert!(!asking.is_due(at(100), cap, false));
        assert!(asking.is_due(at(100), cap, true), "violated");
        assert!(asking.is_due(at(100), None, false), "the cap changed");
        assert!(asking.is_due(at(250), cap, false));
        asking.ask_at_once();
        assert!(asking.is_due(at(1), cap, false));
    }
}
