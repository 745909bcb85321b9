//! Tests of series: by hand where it matters what is said, by properties for any answer and any clock.

use proptest::prelude::*;

use super::*;
use crate::signal::Quantity;

const HOUR: u64 = 3600;
const RULE: StalenessRule = StalenessRule {
    stale_after: Duration::from_secs(HOUR),
    give_up_after: Duration::from_secs(6 * HOUR),
    fallback: Fallback::Hold,
};

fn t(hours: f64) -> UnixTime {
    UnixTime::from_secs((hours * HOUR as f64) as i64)
}

fn point(hours: f64, value: f64, status: PointStatus) -> SignalPoint {
    SignalPoint { at: t(hours), value, status }
}

fn series() -> Series {
    let head = SignalHead::configured(Quantity::CarbonIntensity, "a test");
    Series::new(Arc::new(head), Duration::from_secs(HOUR))
}

fn of(points: &[SignalPoint], told_at: f64) -> Series {
    let mut series = series();
    series.merge(points, None, t(told_at));
    series
}

/// Value, age in hours, freshness.
fn said(series: &Series, now: f64, rule: &StalenessRule) -> Option<(f64, f64, Freshness)> {
    let reading = series.reading(t(now), rule)?;
    Some((reading.value, reading.age.as_secs_f64() / HOUR as f64, reading.freshness))
}

#[test]
fn a_value_is_fresh_in_its_interval_then_stale_then_held() {
    use PointStatus::Actual;
    let series = of(&[point(10.0, 100.0, Actual), point(11.0, 200.0, Actual)], 11.5);
    for (now, expected) in [
        (9.9, None),
        (10.0, Some((100.0, 0.0, Freshness::Fresh))),
        (11.5, Some((200.0, 0.0, Freshness::Fresh))),
        (12.5, Some((200.0, 0.5, Freshness::Fresh))),
        (13.5, Some((200.0, 1.5, Freshness::Stale))),
        (18.0, Some((200.0, 6.0, Freshness::Stale))),
        (18.5, Some((200.0, 6.5, Freshness::Held))),
        (1000.0, Some((200.0, 988.0, Freshness::Held))),
    ] {
        assert_eq!(said(&series, now, &RULE), expected, "at {now} h");
    }
}

#[test]
fn a_forecast_ages_from_when_it_was_told_and_is_held_where_it_was_given_up() {
    let ahead: Vec<_> = (0..48).map(|h| point(f64::from(h), f64::from(h), PointStatus::Forecast)).collect();
    let series = of(&ahead, 0.0);
    assert_eq!(said(&series, 0.5, &RULE), Some((0.0, 0.5, Freshness::Fresh)));
    assert_eq!(said(&series, 5.0, &RULE), Some((5.0, 5.0, Freshness::Stale)));
    assert_eq!(said(&series, 30.0, &RULE), Some((6.0, 30.0, Freshness::Held)), "that of 6 h, not of 30 h");
}

#[test]
fn each_fallback_stands_in_for_what_is_too_old() {
    let week = 168.0;
    let mut series = of(&[point(0.0, 50.0, PointStatus::Actual), point(1.0, 60.0, PointStatus::Actual)], 1.0);
    series.merge(&[point(week - 20.0, 70.0, PointStatus::Actual)], None, t(week - 20.0));
    let with = |fallback| StalenessRule { fallback, ..RULE };
    let now = week + 1.5;
    let last_week = said(&series, now, &with(Fallback::LastWeek));
    assert_eq!(last_week, Some((60.0, 167.5, Freshness::LastWeek)));
    assert_eq!(
        said(&series, now + week, &with(Fallback::LastWeek)).map(|of| of.0),
        Some(60.0),
        "two weeks old"
    );
    assert_eq!(said(&series, now + 5.0, &with(Fallback::LastWeek)), None, "a gap then, too");
    let constant = series.reading(t(now), &with(Fallback::Constant(9.0))).unwrap();
    assert_eq!((constant.value, constant.at, constant.freshness), (9.0, None, Freshness::Constant));
    assert_eq!(said(&series, now, &with(Fallback::Unknown)), None);
    assert_eq!(
        said(&self::series(), now, &with(Fallback::Constant(9.0))),
        Some((9.0, 0.0, Freshness::Constant))
    );
    assert_eq!(said(&self::series(), now, &RULE), None, "nothing to hold");
}

#[test]
fn what_is_settled_replaces_forecasts_and_stays() {
    use PointStatus::{Actual, Estimated, Forecast};
    let mut series =
        of(&[point(1.0, 10.0, Forecast), point(2.0, 20.0, Forecast), point(3.0, 30.0, Forecast)], 0.5);
    series.merge(&[point(1.0, 11.0, Estimated), point(3.0, 33.0, Forecast)], None, t(1.5));
    let values = |series: &Series| series.points().map(|(at, of)| (at, of.value)).collect::<Vec<_>>();
    assert_eq!(values(&series), [(t(1.0), 11.0), (t(3.0), 33.0)], "the forecast of 2 h was withdrawn");
    series.merge(&[point(1.0, 12.0, Actual)], None, t(2.5));
    series.merge(&[point(1.0, 99.0, Estimated), point(1.0, 98.0, Forecast)], None, t(3.5));
    assert_eq!(values(&series), [(t(1.0), 12.0), (t(3.0), 33.0)]);
    series.merge(&[point(1.0, 13.0, Actual), point(2.0, f64::NAN, Actual)], None, t(4.5));
    assert_eq!(values(&series), [(t(1.0), 13.0), (t(3.0), 33.0)], "corrected by the source");
}

#[test]
fn the_forecast_of_the_source_ends_at_its_first_gap() {
    use PointStatus::Forecast;
    let series = of(&[1.0, 2.0, 3.0, 5.0, 6.0].map(|h| point(h, h, Forecast)), 0.5);
    let ahead = |now: f64, horizon: f64, oldest: f64| {
        let hours = |hours: f64| Duration::from_secs_f64(hours * HOUR as f64);
        series.ahead(t(now), hours(horizon), hours(oldest)).iter().map(|p| p.value).collect::<Vec<_>>()
    };
    assert_eq!(ahead(1.0, 24.0, 6.0), [2.0, 3.0]);
    assert_eq!(ahead(0.5, 2.0, 6.0), [1.0, 2.0]);
    assert_eq!(ahead(4.5, 24.0, 6.0), [5.0, 6.0]);
    assert_eq!(ahead(4.5, 24.0, 3.0), [] as [f64; 0], "told 4 hours ago");
    assert_eq!(ahead(3.5, 24.0, 6.0), [] as [f64; 0], "a gap from 4 on");
}

#[test]
fn what_was_is_what_was_settled_or_else_what_was_forecast() {
    use PointStatus::{Actual, Forecast};
    let mut series = of(&[point(1.0, 1.0, Actual), point(5.0, 5.0, Actual)], 5.0);
    series.merge(&[point(6.0, 6.0, Forecast)], None, t(5.0));
    assert_eq!(series.settled(t(9.0)).collect::<Vec<_>>(), [(t(1.0), 1.0), (t(5.0), 5.0)]);
    let only_forecasts = of(&[point(6.0, 6.0, Forecast), point(7.0, 7.0, Forecast)], 5.0);
    assert_eq!(only_forecasts.settled(t(6.5)).collect::<Vec<_>>(), [(t(6.0), 6.0)]);
    assert_eq!(self::series().settled(t(1.0)).next(), None);
}

#[test]
fn the_source_is_asked_for_what_is_not_settled_yet() {
    use PointStatus::{Actual, Estimated};
    let long = Duration::from_secs(28 * 86_400);
    assert_eq!(series().ask_since(t(1000.0), long), t(1000.0 - 672.0));
    let mut series =
        of(&[point(990.0, 1.0, Actual), point(995.0, 1.0, Estimated), point(999.0, 1.0, Actual)], 999.0);
    assert_eq!(series.ask_since(t(1000.0), long), t(995.0));
    series.merge(&[point(995.0, 1.0, Actual)], None, t(1000.0));
    assert_eq!(series.ask_since(t(1000.0), long), t(999.0));
    assert_eq!(series.ask_since(t(5000.0), long), t(5000.0 - 672.0), "no further back than that");
}

#[test]
fn no_more_is_kept_than_fits() {
    let many: Vec<_> = (0..MOST_POINTS as i64 + 5)
        .map(|i| SignalPoint { at: UnixTime::from_secs(i), value: 1.0, status: PointStatus::Actual })
        .collect();
    let mut series = series();
    series.merge(&many, None, t(0.0));
    assert_eq!(series.points().count(), MOST_POINTS);
    assert_eq!(series.points().next().unwrap().0, UnixTime::from_secs(5));
}

#[test]
fn a_step_without_end_is_no_trouble() {
    let head = SignalHead::configured(Quantity::CarbonIntensity, "a test");
    let mut series = Series::new(Arc::new(head), Duration::MAX);
    series.merge(&[point(1.0, 5.0, PointStatus::Actual)], None, t(1.0));
    assert_eq!(series.ask_since(t(2.0), Duration::from_secs(9000)), t(1.0));
    assert_eq!(said(&series, 1e6, &RULE), Some((5.0, 0.0, Freshness::Fresh)));
}

fn any_status() -> impl Strategy<Value = PointStatus> {
    use PointStatus::{Actual, Estimated, Forecast, Unknown};
    prop_oneof![Just(Actual), Just(Estimated), Just(Forecast), Just(Unknown)]
}

fn any_answers() -> impl Strategy<Value = Vec<(Vec<SignalPoint>, Option<u64>, i64)>> {
    let value = prop_oneof![4 => 0.0..900.0f64, 1 => Just(f64::NAN)];
    let point = (0i64..40_000, value, any_status()).prop_map(|(at, value, status)| SignalPoint {
        at: UnixTime::from_secs(at),
        value,
        status,
    });
    let answer =
        (proptest::collection::vec(point, 0..20), proptest::option::of(0u64..5000), -9000i64..50_000);
    proptest::collection::vec(answer, 0..6)
}

fn any_fallback() -> impl Strategy<Value = Fallback> {
    use Fallback::{Constant, Hold, LastWeek, Unknown};
    prop_oneof![Just(Hold), Just(LastWeek), (0.0..900.0f64).prop_map(Constant), Just(Unknown)]
}

proptest! {
    #[test]
    fn whatever_is_told_and_whenever_no_reading_is_of_the_future_and_none_hides_its_age(
        answers in any_answers(),
        now in prop_oneof![-10_000i64..2_000_000, any::<i64>()],
        fallback in any_fallback(),
        stale in 0u64..9000,
        give_up in 0u64..9000,
    ) {
        let rule = StalenessRule {
            stale_after: Duration::from_secs(stale),
            give_up_after: Duration::from_secs(give_up),
            fallback,
        };
        let mut series = series();
        for (points, step, told_at) in &answers {
            series.merge(points, step.map(Duration::from_secs), UnixTime::from_secs(*told_at));
        }
        let now = UnixTime::from_secs(now);
        if let Some(reading) = series.reading(now, &rule) {
            prop_assert!(reading.value.is_finite());
            prop_assert!(reading.at.is_none_or(|at| at <= now), "a value of the future: {reading:?}");
            prop_assert_eq!(reading.at.is_none(), reading.freshness == Freshness::Constant);
            match reading.freshness {
                Freshness::Fresh => prop_assert!(reading.age <= rule.stale_after.min(rule.give_up_after)),
                Freshness::Stale => {
                    prop_assert!(reading.age > rule.stale_after && reading.age <= rule.give_up_after);
                }
                Freshness::Held => prop_assert!(reading.age > rule.give_up_after),
                Freshness::LastWeek | Freshness::Constant => {}
            }
            // A value past its interval tells so.
            if let Some(at) = reading.at {
                prop_assert!(reading.age >= now.saturating_since(at + series.step()));
            }
        }
        let ahead = series.ahead(now, Duration::from_secs(20_000), Duration::MAX);
        prop_assert!(ahead.iter().all(|point| point.at > now));
        prop_assert!(ahead.windows(2).all(|two| two[0].at < two[1].at && two[1].at <= two[0].at + series.step()));
        prop_assert!(series.settled(now).all(|(at, _)| at <= now));
        let since = series.ask_since(now, Duration::from_secs(9000));
        prop_assert!(since <= now && now.saturating_since(since) <= Duration::from_secs(9000));
    }

    #[test]
    fn what_was_settled_is_never_undone_by_a_forecast(
        answers in any_answers(),
        at in 0i64..40_000,
    ) {
        let mut series = series();
        let actual = SignalPoint { at: UnixTime::from_secs(at), value: 1234.5, status: PointStatus::Actual };
        series.merge(&[actual], None, UnixTime::from_secs(0));
        for (points, step, told_at) in &answers {
            let points: Vec<_> =
                points.iter().map(|point| SignalPoint { status: PointStatus::Forecast, ..*point }).collect();
            series.merge(&points, step.map(Duration::from_secs), UnixTime::from_secs(*told_at));
        }
        let kept = series.points().find(|(time, _)| *time == actual.at);
        prop_assert_eq!(kept.map(|(_, known)| known.value), Some(1234.5));
    }

    #[test]
    fn what_was_kept_is_the_same_series_again(answers in any_answers()) {
        let mut series = series();
        for (points, step, told_at) in &answers {
            series.merge(points, step.map(Duration::from_secs), UnixTime::from_secs(*told_at));
        }
        let again = Series::of(Arc::clone(series.head()), series.step(), series.points().collect::<Vec<_>>());
        prop_assert_eq!(again, series);
    }
}
