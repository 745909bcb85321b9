//! What makes a history, and what of it is known when.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
/// A Thursday, 00:00 in universal time.
const FIRST: UnixTime = UnixTime::from_secs(20_000 * 3600 * 24 - 6 * 86_400);

fn hours(values: &[Option<f64>]) -> History {
    History::new(FIRST, HOUR, values.to_vec()).unwrap()
}

#[test]
fn a_step_has_to_divide_the_hour_and_a_value_has_to_be_at_least_0() {
    for seconds in [0, 1, 299, 420, 5400, 86_400] {
        let error = History::new(FIRST, Duration::from_secs(seconds), vec![]).unwrap_err();
        assert!(error.to_string().starts_with("history, the step: found"), "{error}");
    }
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        let error = History::new(FIRST, HOUR, vec![Some(1.0), Some(bad)]).unwrap_err();
        assert!(error.to_string().contains("value 2"), "{error}");
    }
}

#[test]
fn gaps_at_the_beginning_are_left_out() {
    let history = hours(&[None, None, Some(5.0), None, Some(7.0)]);
    assert_eq!(history.first(), FIRST + HOUR * 2);
    assert_eq!(history.end(), FIRST + HOUR * 5);
    assert_eq!(history.values(), [Some(5.0), None, Some(7.0)]);
    assert_eq!(hours(&[None, None]).values(), []);
}

#[test]
fn a_gap_is_filled_from_the_day_before_or_the_last_value_and_stays_a_gap() {
    let mut values: Vec<Option<f64>> = (0..50).map(|hour| Some(f64::from(hour))).collect();
    (values[3], values[30]) = (None, None);
    let history = hours(&values);
    assert_eq!((history.filled()[3], history.filled()[30]), (2.0, 6.0));
    assert_eq!((history.values()[3], history.values()[30]), (None, None));
}

#[test]
fn points_of_a_step_are_averaged_and_steps_without_one_are_gaps() {
    let at = |minutes: u64| FIRST + Duration::from_secs(60 * minutes);
    let points = [(at(125), 9.0), (at(0), 1.0), (at(30), 3.0)];
    let history = History::of_points(points, HOUR).unwrap();
    assert_eq!((history.first(), history.values()), (FIRST, &[Some(2.0), None, Some(9.0)][..]));
    assert!(History::of_points([], HOUR).unwrap().values().is_empty());
}

#[test]
fn points_seen_beside_are_put_into_the_same_steps_and_end_with_the_history() {
    let at = |minutes: u64| FIRST + Duration::from_secs(60 * minutes);
    let history = hours(&[Some(1.0), Some(2.0), Some(3.0)]);
    let seen = [(at(0), -4.0), (at(30), -2.0), (at(125), 9.0), (at(500), 1.0)];
    let with = history.clone().with_seen_points(seen).unwrap();
    assert_eq!(with, history.clone().with_seen(FIRST, &[Some(-3.0), None, Some(9.0)]).unwrap());
    let late = history.with_seen_points([(at(60), 1.0)]).unwrap_err().to_string();
    assert!(late.contains("3600 s after the history's own"), "{late}");
}

#[test]
fn a_point_of_a_wrong_century_does_not_fill_the_memory() {
    let points = [(UnixTime::from_secs(i64::MIN), 1.0), (FIRST, 2.0), (FIRST + HOUR, 3.0)];
    assert_eq!(History::of_points(points, HOUR).unwrap().values(), [Some(2.0), Some(3.0)]);
}

#[test]
fn only_steps_that_had_ended_are_known_at_a_time() {
    let history = hours(&[Some(1.0), Some(2.0), Some(3.0)]);
    let at = |minutes: u64| history.until(FIRST + Duration::from_secs(60 * minutes)).values().len();
    assert_eq!([at(0), at(59), at(60), at(179), at(180), at(900)], [0, 0, 1, 2, 3, 3]);
    assert_eq!(history.until(FIRST - HOUR).values().len(), 0);
}

#[test]
fn a_series_beside_it_is_aligned_by_its_time_and_reaches_as_far_as_it_may() {
    let history = hours(&[Some(1.0), Some(2.0)]);
    let beside: Vec<Option<f64>> = (0..6).map(|hour| Some(f64::from(hour))).collect();
    let seen = history.clone().with_seen(FIRST - HOUR, &beside).unwrap();
    assert_eq!(seen.seen()[0], [1.0, 2.0], "no further than the history");
    let ahead = history.clone().with_known_ahead(FIRST - HOUR, &beside).unwrap();
    assert_eq!((ahead.known_ahead()[0].len(), ahead.known_ahead()[0][4]), (2 + 96, 5.0));
    let late = history.clone().with_seen(FIRST + HOUR, &beside).unwrap_err();
    assert!(late.to_string().contains("3600 s after"), "{late}");
    assert!(history.clone().with_seen(FIRST - Duration::from_secs(60), &beside).is_err());
    assert!(history.clone().with_seen(FIRST, &[None, Some(1.0)]).is_err(), "nothing where it begins");
    assert!(history.with_seen(FIRST, &[Some(f64::NAN)]).is_err());
}

#[test]
fn weekdays_are_those_of_universal_time() {
    let history = hours(&[Some(1.0); 200]);
    assert_eq!(history.weekday(0), history.weekday(23));
    assert_eq!(history.weekday(0), history.weekday(168));
    assert_ne!(history.weekday(23), history.weekday(24));
}
