//! Leaves a knob of the device alone for a while after it could not be turned.

use std::collections::BTreeMap;
use std::time::Duration;

use wattle_core::knob::{DeviceKnob, DeviceSetting};
use wattle_core::time::Timestamp;
use wattle_device::held::Held;

/// How long a knob is left alone after the first failure; doubled with each one that follows.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest it is left alone.
const LONGEST: Duration = Duration::from_secs(60);

/// The knobs that could not be turned, and until when each is left alone.
#[derive(Debug, Default)]
pub(super) struct BackOff(BTreeMap<DeviceKnob, Failing>);

#[derive(Debug)]
struct Failing {
    until: Timestamp,
    wait: Duration,
    said: String,
}

/// What became of a setting.
pub(super) enum Turn {
    /// It stands.
    Made,
    /// Its knob failed a moment ago and is left alone.
    LeftAlone,
    /// It failed as the last time, which was told.
    FailedAgain,
    /// It failed, and why.
    Failed(String),
}

impl BackOff {
    /// Turns one knob of `device`, unless it failed a moment ago.
    pub(super) fn turn(&mut self, device: &mut Held, setting: DeviceSetting, now: Timestamp) -> Turn {
        let knob = setting.knob();
        if self.leaves_alone(knob, now) {
            return Turn::LeftAlone;
        }
        match device.apply(setting) {
            Ok(()) => {
                if self.worked(knob) {
                    tracing::info!(device = %device.info().id, knob = knob.name(), "knob can be turned again");
                }
                Turn::Made
            }
            Err(error) => {
                let error = error.to_string();
                if self.failed(knob, now, &error) { Turn::Failed(error) } else { Turn::FailedAgain }
            }
        }
    }

    /// Whether `knob` is to be left alone at `now`.
    fn leaves_alone(&self, knob: DeviceKnob, now: Timestamp) -> bool {
        self.0.get(&knob).is_some_and(|failing| now < failing.until)
    }

    /// `knob` could not be turned. Tells whether that is news: the first time, or for another reason.
    fn failed(&mut self, knob: DeviceKnob, now: Timestamp, said: &str) -> bool {
        let before = self.0.get(&knob);
        let wait = before.map_or(SHORTEST, |failing| (failing.wait * 2).min(LONGEST));
        let is_news = before.is_none_or(|failing| failing.said != said);
        self.0.insert(knob, Failing { until: now + wait, wait, said: said.to_owned() });
        is_news
    }

    /// `knob` was turned. Tells whether it had failed before.
    fn worked(&mut self, knob: DeviceKnob) -> bool {
        self.0.remove(&knob).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOB: DeviceKnob = DeviceKnob::CoreClock;

    #[test]
    fn a_failing_knob_is_left_alone_twice_as_long_each_time_and_told_once() {
        let mut back_off = BackOff::default();
        let mut now = Timestamp::ZERO;
        let mut waits = Vec::new();
        for attempt in 0..9 {
            assert!(!back_off.leaves_alone(KNOB, now));
            assert_eq!(back_off.failed(KNOB, now, "no"), attempt == 0);
            assert!(!back_off.leaves_alone(DeviceKnob::PowerLimit, now), "only the knob that failed");
            let failed_at = now;
            while back_off.leaves_alone(KNOB, now) {
                now = now + Duration::from_secs(1);
            }
            waits.push((now - failed_at).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(back_off.failed(KNOB, now, "for another reason"));
    }

    #[test]
    fn a_knob_that_works_again_starts_anew() {
        let mut back_off = BackOff::default();
        assert!(!back_off.worked(KNOB));
        back_off.failed(KNOB, Timestamp::ZERO, "no");
        assert!(back_off.worked(KNOB));
        assert!(!back_off.leaves_alone(KNOB, Timestamp::ZERO));
        assert!(back_off.failed(KNOB, Timestamp::ZERO, "no"), "it is news again");
    }
}
