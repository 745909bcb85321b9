//! Collects the values of an answer: converted, in order, each time once, and without what can't be.

use std::collections::BTreeMap;
use std::time::Duration;

use wattle_core::signal::{PointStatus, Quantity, SignalPoint};
use wattle_core::time::UnixTime;

use crate::provider::Fetched;
use crate::times;

/// Values further ahead than this are not kept: no source forecasts so far, and a clock or a unit of time
/// that is wrong looks like this.
const FURTHEST_AHEAD: Duration = Duration::from_secs(30 * 24 * 3600);

/// No electricity is as dirty: the dirtiest fuels cause some 1,100 g/kWh, a pound taken for a gram or a
/// megawatt-hour for a kilowatt-hour far more.
const MOST_GRAMS_PER_KILOWATT_HOUR: f64 = 5000.0;

/// More than any site draws.
const MOST_WATTS: f64 = 1e10;

/// Notes kept of one answer, at most.
const MOST_NOTES: usize = 20;

/// The values of one answer.
#[derive(Debug)]
pub(crate) struct Points {
    quantity: Quantity,
    /// Into the unit of the quantity.
    factor: f64,
    now: UnixTime,
    points: BTreeMap<UnixTime, SignalPoint>,
    /// What was left out: why, how often, and when first.
    tally: BTreeMap<String, (usize, UnixTime)>,
    notes: Vec<String>,
}

impl Points {
    /// For values that times `factor` are in the unit of `quantity`.
    pub(crate) fn new(quantity: Quantity, factor: f64, now: UnixTime) -> Self {
        Self { quantity, factor, now, points: BTreeMap::new(), tally: BTreeMap::new(), notes: Vec::new() }
    }

    /// Takes a value, or leaves it out if it can't be. `None` is a gap that the source told of. Of two at
    /// one time the surer counts, and of two as sure the later one.
    pub(crate) fn take(&mut self, at: UnixTime, value: Option<f64>, status: PointStatus) {
        let Some(value) = value else { return self.leave_out(at, "no value (null)".into()) };
        let value = value * self.factor;
        if !value.is_finite() {
            return self.leave_out(at, "no finite number".into());
        }
        if value < 0.0 {
            return self.leave_out(at, format!("less than 0 {}", self.quantity.unit()));
        }
        let most = match self.quantity {
            Quantity::CarbonIntensity => MOST_GRAMS_PER_KILOWATT_HOUR,
            Quantity::Power => MOST_WATTS,
            Quantity::StateOfCharge => 1.0,
        };
        if value > most {
            return self.leave_out(at, format!("more than {most} {}", self.quantity.unit()));
        }
        if at > self.now + FURTHEST_AHEAD {
            return self.leave_out(at, "a time more than 30 days ahead".into());
        }
        // Adding 0 makes 0 of -0.
        let point = SignalPoint { at, value: value + 0.0, status };
        match self.points.get(&at) {
            Some(known) if sureness(known.status) > sureness(status) => {}
            Some(known) if sureness(known.status) == sureness(status) && known.value != point.value => {
                self.points.insert(at, point);
                self.leave_out(at, "another value of the same time".into());
            }
            _ => {
                self.points.insert(at, point);
            }
        }
    }

    /// Leaves out what has a time but no use.
    fn leave_out(&mut self, at: UnixTime, why: String) {
        let (count, first) = self.tally.entry(why).or_insert((0, at));
        *count += 1;
        *first = at.min(*first);
    }

    /// Tells of something else that was left out.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.notes.len() < MOST_NOTES && !self.notes.contains(&what) {
            self.notes.push(what);
        }
    }

    /// Whether there is no value at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The most frequent time between two values, the shortest of equals. `None`: there are no two.
    pub(crate) fn usual_step(&self) -> Option<Duration> {
        let mut counts: BTreeMap<Duration, usize> = BTreeMap::new();
        let times: Vec<UnixTime> = self.points.keys().copied().collect();
        for pair in times.windows(2) {
            if let [earlier, later] = pair {
                *counts.entry(later.saturating_since(*earlier)).or_default() += 1;
            }
        }
        let most = counts.values().copied().max()?;
        counts.into_iter().find(|(_, count)| *count == most).map(|(step, _)| step)
    }

    /// All of it.
    pub(crate) fn finish(self, step: Option<Duration>, clock_ahead_seconds: Option<i64>) -> Fetched {
        let mut left_out: Vec<String> = self
            .tally
            .into_iter()
            .map(|(why, (count, first))| match count {
                1 => format!("the value of {}: {why}", times::iso(first)),
                _ => format!("{count} values from {} on: {why}", times::iso(first)),
            })
            .collect();
        left_out.extend(self.notes);
        Fetched { points: self.points.into_values().collect(), step, left_out, clock_ahead_seconds }
    }
}

/// The more the surer. Unlike what is settled, a status that is not told is surer than a forecast only.
pub(crate) const fn sureness(status: PointStatus) -> u8 {
    match status {
        PointStatus::Forecast => 0,
        PointStatus::Unknown => 1,
        PointStatus::Estimated => 2,
        PointStatus::Actual => 3,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn any_status() -> impl Strategy<Value = PointStatus> {
        prop_oneof![
            Just(PointStatus::Actual),
            Just(PointStatus::Estimated),
            Just(PointStatus::Forecast),
            Just(PointStatus::Unknown),
        ]
    }

    #[test]
    fn what_is_known_counts_more_than_a_forecast_whichever_comes_first() {
        for forecast_first in [true, false] {
            let mut points = Points::new(Quantity::CarbonIntensity, 1.0, NOW);
            let mut both = [(100.0, PointStatus::Forecast), (120.0, PointStatus::Actual)];
            if !forecast_first {
                both.reverse();
            }
            for (value, status) in both {
                points.take(NOW, Some(value), status);
            }
            let fetched = points.finish(None, None);
            assert_eq!(fetched.points, [SignalPoint { at: NOW, value: 120.0, status: PointStatus::Actual }]);
            assert_eq!(fetched.left_out, Vec::<String>::new());
        }
    }

    #[test]
    fn what_cannot_be_is_left_out_and_counted() {
        let mut points = Points::new(Quantity::CarbonIntensity, 1.0, NOW);
        for (offset, value) in [
            (0, Some(-1.0)),
            (1, Some(f64::NAN)),
            (2, Some(5001.0)),
            (3, None),
            (4, None),
            (99_999_999, Some(1.0)),
        ] {
            points.take(UnixTime::from_secs(NOW.as_secs() + offset), value, PointStatus::Unknown);
        }
        let fetched = points.finish(None, None);
        assert_eq!(fetched.points, []);
        assert_eq!(fetched.left_out.len(), 5, "{:?}", fetched.left_out);
        assert!(fetched.left_out.iter().any(|note| note.starts_with("2 values")), "{:?}", fetched.left_out);
    }

    proptest! {
        #[test]
        fn points_ascend_are_each_there_once_and_can_be(
            values in prop::collection::vec((-1000_i64..5_000_000, prop::option::of(any::<f64>()), any_status()), 0..60),
            factor in prop_oneof![Just(1.0), Just(0.453_592_37), Just(1e6)],
        ) {
            let mut points = Points::new(Quantity::Power, factor, NOW);
            for (offset, value, status) in values {
                points.take(UnixTime::from_secs(NOW.as_secs() + offset), value, status);
            }
            let fetched = points.finish(None, None);
            prop_assert!(fetched.points.windows(2).all(|pair| pair[0].at < pair[1].at));
            prop_assert!(fetched.points.iter().all(|point| (0.0..=MOST_WATTS).contains(&point.value)));
            prop_assert!(fetched.points.iter().all(|point| point.at <= NOW + FURTHEST_AHEAD));
        }
    }
}
