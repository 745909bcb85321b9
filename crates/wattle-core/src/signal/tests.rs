//! Traces hold, end, repeat and are refused as documented.

use proptest::prelude::*;

use super::*;

fn at(signal: &Signal, seconds: f64) -> Option<f64> {
    signal.at(Timestamp::from_duration(Duration::from_secs_f64(seconds)))
}

fn trace(after_end: AfterEnd) -> Signal {
    let text = "# cap of the rack\nseconds,power_cap_watts\n10,100\n20,50\n40,80\n";
    Signal::Trace(Trace::parse(text, "cap.csv", "power_cap_watts", after_end).unwrap())
}

#[test]
fn a_value_holds_until_the_next_and_the_last_as_long_as_the_one_before() {
    // The last step, 20 s, is as long as the one before: the trace ends at 60 s.
    let inside = [(0.0, None), (9.9, None), (10.0, Some(100.0)), (39.9, Some(50.0)), (59.9, Some(80.0))];
    for after_end in [AfterEnd::Unknown, AfterEnd::Hold, AfterEnd::Repeat] {
        for (seconds, expected) in inside {
            assert_eq!(at(&trace(after_end), seconds), expected, "{after_end:?} at {seconds} s");
        }
    }
    for (after_end, at_60, at_75, at_1060) in [
        (AfterEnd::Unknown, None, None, None),
        (AfterEnd::Hold, Some(80.0), Some(80.0), Some(80.0)),
        (AfterEnd::Repeat, Some(100.0), Some(50.0), Some(100.0)),
    ] {
        let signal = trace(after_end);
        assert_eq!([at(&signal, 60.0), at(&signal, 75.0), at(&signal, 1060.0)], [at_60, at_75, at_1060]);
    }
}

#[test]
fn a_trace_of_one_value_never_ends() {
    let one = Signal::Trace(Trace::new(vec![(Duration::ZERO, 7.0)], AfterEnd::Unknown).unwrap());
    assert_eq!(at(&one, 1e6), Some(7.0));
}

#[test]
fn refuses_what_is_no_trace_and_says_where() {
    let check = |text: &str, expected: &str| {
        let error = Trace::parse(text, "cap.csv", "power_cap_watts", AfterEnd::Hold).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let header = "the header \"seconds,power_cap_watts\"";
    check(
        "",
        &format!("cap.csv, line 1: found the end of the file, expected {header} and at least one value"),
    );
    check(
        "seconds,power_cap_fraction\n0,1\n",
        &format!("cap.csv, line 1: found \"seconds,power_cap_fraction\", expected {header}"),
    );
    check(
        "seconds,power_cap_watts\n",
        "cap.csv, line 1: found the end of the file, expected at least one value",
    );
    check(
        "seconds,power_cap_watts\n0,1\n0,2\n",
        "cap.csv, line 3: found 0 seconds after 0, expected ascending seconds",
    );
    check("seconds,power_cap_watts\n0,-1\n", "cap.csv, line 2: found -1, expected a number of at least 0");
    check("seconds,power_cap_watts\n0,NaN\n", "cap.csv, line 2: found NaN, expected a number of at least 0");
    check(
        "seconds,power_cap_watts\n0,1,2\n",
        "cap.csv, line 2: found 3 cells, expected 2: seconds and power_cap_watts",
    );
    check(
        "# source\nseconds,power_cap_watts\nsoon,1\n",
        "cap.csv, line 3: found \"soon\", expected seconds as a number of at least 0",
    );
    assert_eq!(
        Trace::new(vec![], AfterEnd::Hold).unwrap_err().to_string(),
        "value 1 of the trace: found nothing, expected at least one value"
    );
}

#[test]
fn speeding_up_and_mapping_keep_the_shape() {
    let fast = trace(AfterEnd::Hold).sped_up(10.0).unwrap().map(|watts| watts * 2.0);
    assert_eq!([at(&fast, 0.9), at(&fast, 1.0), at(&fast, 2.0)], [None, Some(200.0), Some(100.0)]);
    assert_eq!(at(&Signal::Constant(3.0).sped_up(9.0).unwrap().map(|v| v + 1.0), 5.0), Some(4.0));
    for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(trace(AfterEnd::Hold).sped_up(factor), None, "{factor}");
    }
    assert_eq!(at(&trace(AfterEnd::Hold).map(|_| f64::NAN), 15.0), None, "NaN is unknown");
}

proptest! {
    #[test]
    fn any_time_has_a_value_of_the_trace_or_none(
        steps in proptest::collection::vec((1u64..10_000_000_000, 0.0..500.0f64), 1..20),
        at_nanos: u64,
        after_end in prop_oneof![Just(AfterEnd::Unknown), Just(AfterEnd::Hold), Just(AfterEnd::Repeat)],
        factor in 1e-9..1e9f64,
    ) {
        let mut offset = Duration::ZERO;
        let points: Vec<_> = steps
            .iter()
            .map(|(step, value)| {
                offset += Duration::from_nanos(*step);
                (offset, *value)
            })
            .collect();
        let signal = Signal::Trace(Trace::new(points.clone(), after_end).unwrap());
        for signal in [signal.clone(), signal.sped_up(factor).unwrap()] {
            let value = signal.at(Timestamp::from_nanos(at_nanos));
            prop_assert!(value.is_none_or(|value| points.iter().any(|(_, of_trace)| *of_trace == value)));
        }
    }
}

#[test]
fn a_run_may_begin_anywhere_in_a_trace() {
    let points =
        |step: f64| (0..4).map(move |i| (Duration::from_secs_f64(f64::from(i) * step), f64::from(i)));
    for after_end in [AfterEnd::Hold, AfterEnd::Repeat, AfterEnd::Unknown] {
        let signal = Signal::Trace(Trace::new(points(10.0).collect(), after_end).unwrap());
        let later = signal.clone().starting_at(Duration::from_secs(15));
        for seconds in [0.0, 4.9, 5.0, 14.0, 15.0, 24.9, 25.0, 70.0] {
            assert_eq!(at(&later, seconds), at(&signal, seconds + 15.0), "{after_end:?} at {seconds}");
        }
    }
    let repeating = Signal::Trace(Trace::new(points(10.0).collect(), AfterEnd::Repeat).unwrap());
    let later = repeating.clone().starting_at(Duration::from_secs(15));
    for seconds in [25.0, 34.0, 36.0, 44.9, 46.0, 90.0] {
        assert_eq!(at(&later, seconds), at(&repeating, seconds + 15.0), "again, at {seconds}");
    }
    assert_eq!(Signal::Constant(3.0).starting_at(Duration::from_secs(9)), Signal::Constant(3.0));
}

#[test]
fn the_end_is_counted_from_where_the_run_begins() {
    // The trace's own end is at 60 s, and its first value at 10 s.
    for (after_end, of_ends) in [
        (AfterEnd::Hold, [60, 45, 0, 0]),
        (AfterEnd::Unknown, [60, 45, 0, 0]),
        (AfterEnd::Repeat, [60, 45, 50, 40]),
    ] {
        for (start, end) in [0, 15, 60, 120].into_iter().zip(of_ends) {
            let Signal::Trace(trace) = trace(after_end).starting_at(Duration::from_secs(start)) else {
                panic!("it was a trace")
            };
            assert_eq!(trace.end(), Some(Duration::from_secs(end)), "{after_end:?} from {start} s");
        }
    }
}

#[test]
fn the_changes_ahead_are_those_of_the_value_within_the_horizon() {
    let seconds = Duration::from_secs;
    let points = vec![(seconds(0), 5.0), (seconds(10), 5.0), (seconds(20), 3.0), (seconds(30), 4.0)];
    let ahead = |after_end, now: u64, horizon: u64| {
        let signal = Signal::Trace(Trace::new(points.clone(), after_end).unwrap());
        let ahead = signal.changes_ahead(Timestamp::from_duration(seconds(now)), seconds(horizon));
        ahead.into_iter().map(|(at, value)| (at.as_secs_f64(), value)).collect::<Vec<_>>()
    };
    assert_eq!(ahead(AfterEnd::Hold, 0, 100), [(20.0, 3.0), (30.0, 4.0)], "the second 5 changes nothing");
    assert_eq!(ahead(AfterEnd::Hold, 0, 19), []);
    assert_eq!(ahead(AfterEnd::Repeat, 35, 30), [(40.0, 5.0), (60.0, 3.0)]);
    assert_eq!(ahead(AfterEnd::Unknown, 35, 30), []);
    assert!(Signal::Constant(1.0).changes_ahead(Timestamp::ZERO, seconds(9)).is_empty());
    let seesaw = vec![(Duration::ZERO, 1.0), (Duration::from_nanos(1), 2.0)];
    let seesaw = Signal::Trace(Trace::new(seesaw, AfterEnd::Repeat).unwrap());
    assert_eq!(seesaw.changes_ahead(Timestamp::ZERO, seconds(1_000_000)).len(), MOST_STEPS_AHEAD);
}
