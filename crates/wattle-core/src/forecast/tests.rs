//! Each forecaster on what is constant, steps, ramps and repeats daily.

use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn hour(hours: f64) -> Timestamp {
    Timestamp::from_duration(Duration::from_secs_f64(hours * 3600.0))
}

fn seen(values: impl IntoIterator<Item = f64>) -> ChangeHistory {
    let mut history = ChangeHistory::new(DAY);
    for (index, value) in values.into_iter().enumerate() {
        history.see(hour(index as f64), value);
        history.see(hour(index as f64 + 0.5), value);
    }
    history
}

#[test]
fn what_is_constant_is_expected_to_change_never() {
    let history = seen([100.0; 60]);
    assert_eq!(history.seasonal(hour(59.9), HOUR), []);
    assert_eq!(history.trend(hour(59.9), HOUR), None);
}

#[test]
fn a_day_that_repeats_is_expected_at_the_same_hours() {
    let of_hour = |hour: usize| [50.0, 80.0, 120.0, 90.0][hour % 24 / 6];
    let history = seen((0..50).map(of_hour));
    assert_eq!(history.seasonal(hour(53.9), HOUR), [(hour(54.0), 80.0)]);
    assert_eq!(history.seasonal(hour(54.0), HOUR), [], "it is there");
    let half_a_day = history.seasonal(hour(53.9), HOUR * 12);
    assert_eq!(half_a_day, [(hour(54.0), 80.0), (hour(60.0), 120.0)]);
    assert_eq!(seen([1.0, 2.0, 3.0]).seasonal(hour(2.9), DAY), [], "not a day old");
}

#[test]
fn a_day_of_fast_changes_is_remembered_whole_and_no_longer() {
    // Every 5 s another value: 17,280 changes a day.
    let steps_a_day = DAY.as_secs() / 5;
    let at = |step: u64| Timestamp::from_duration(Duration::from_secs(step * 5));
    let value = |step: u64| (step % steps_a_day) as f64;
    let mut history = ChangeHistory::new(DAY);
    for step in 0..steps_a_day * 3 {
        if step > 0 && step % 1000 == 0 {
            let next = history.seasonal(at(step - 1), Duration::from_secs(5));
            let wanted = if step > steps_a_day { vec![(at(step), value(step))] } else { Vec::new() };
            assert_eq!(next, wanted, "at step {step}");
        }
        history.see(at(step), value(step));
    }
    assert!(history.changes.len() as u64 <= steps_a_day + 1);
}

#[test]
fn a_ramp_of_hourly_steps_is_drawn_on() {
    let history = seen([100.0, 90.0, 80.0, 70.0, 60.0]);
    assert_eq!(history.trend(hour(4.5), HOUR), Some((hour(5.0), 50.0)));
    assert_eq!(history.trend(hour(4.5), HOUR / 4), None, "beyond the horizon");
    // The change did not come: the next is expected an hour later.
    assert_eq!(history.trend(hour(5.5), HOUR), Some((hour(6.0), 50.0)));
    let to_zero = seen([90.0, 60.0, 30.0, 10.0, 5.0, 1.0]);
    assert_eq!(to_zero.trend(hour(5.5), HOUR), Some((hour(6.0), 0.0)));
}

#[test]
fn a_step_that_is_missed_out_is_no_irregular_change() {
    let history = seen([100.0, 90.0, 80.0, 80.0, 60.0, 50.0]);
    assert_eq!(history.trend(hour(5.5), HOUR), Some((hour(6.0), 40.0)));
}

#[test]
fn changes_at_any_time_are_not_forecast() {
    let mut history = ChangeHistory::new(DAY);
    for (at, value) in [(0.0, 100.0), (1.0, 90.0), (2.37, 80.0), (3.0, 70.0), (4.81, 60.0)] {
        history.see(hour(at), value);
    }
    assert_eq!(history.trend(hour(4.9), HOUR), None);
}

fn second(seconds: f64) -> Timestamp {
    Timestamp::from_duration(Duration::from_secs_f64(seconds))
}

fn smoothed(values: impl Fn(usize) -> f64) -> Holt {
    let mut holt = Holt::new(0.2, 0.05);
    for index in 0..500 {
        holt.add(second(index as f64 * 0.1), values(index));
    }
    holt
}

#[test]
fn a_constant_has_no_trend_and_no_spread_a_ramp_goes_on_and_noise_is_spread() {
    let near = |found: f64, wanted: f64, by: f64| assert!((found - wanted).abs() < by, "{found}, {wanted}");
    let ahead = Duration::from_secs(2);
    let constant = smoothed(|_| 100.0);
    assert_eq!((constant.forecast(ahead), constant.spread()), (Some(100.0), 0.0));
    let ramp = smoothed(|index| 100.0 + index as f64 * 0.1); // 1 W a second, 149.9 W at the end
    near(ramp.forecast(ahead).unwrap(), 151.9, 0.1);
    near(ramp.spread(), 0.0, 0.1);
    let noisy = smoothed(|index| if index % 2 == 0 { 103.0 } else { 97.0 });
    near(noisy.forecast(ahead).unwrap(), 100.0, 2.0);
    near(noisy.spread(), 3.0, 0.6);
    let step = smoothed(|index| if index < 250 { 100.0 } else { 150.0 });
    near(step.forecast(ahead).unwrap(), 150.0, 1.0);
    assert_eq!(Holt::new(0.2, 0.05).forecast(ahead), None);
}

proptest! {
    #[test]
    fn whatever_is_seen_a_forecast_is_finite_and_lies_ahead(
        values in proptest::collection::vec(prop_oneof![Just(f64::NAN), Just(f64::INFINITY), 0.0..1e6f64], 0..40),
        gaps in proptest::collection::vec(0u64..5000, 1..10),
        horizon in 0u64..100_000,
    ) {
        let (mut history, mut holt) = (ChangeHistory::new(Duration::from_secs(7000)), Holt::new(0.2, 0.05));
        let mut now = Timestamp::ZERO;
        for (index, value) in values.iter().enumerate() {
            now = now + Duration::from_secs(gaps[index % gaps.len()]);
            history.see(now, *value);
            holt.add(now, *value);
            let horizon = Duration::from_secs(horizon);
            let trend = history.trend(now, horizon);
            let seasonal = history.seasonal(now, horizon);
            for (at, value) in trend.into_iter().chain(seasonal) {
                prop_assert!(at > now && at <= now + horizon && value.is_finite() && value >= 0.0);
            }
            prop_assert!(holt.spread().is_finite());
        }
    }
}
