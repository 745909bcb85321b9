//! Tests of the energy of a GPU.

use proptest::prelude::*;

use super::*;

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_duration(Duration::from_secs_f64(seconds))
}

/// Plays a GPU that draws `watts(t)`, read every `period`, whose counter tells `counter_mj(t)`.
fn play(
    meter: &mut EnergyMeter,
    (from, to): (f64, f64),
    period: f64,
    watts: impl Fn(f64) -> Option<f64>,
    counter_mj: impl Fn(f64) -> u64,
) -> Vec<Option<f64>> {
    let steps = ((to - from) / period).round() as u32;
    (0..=steps)
        .map(|step| {
            let seconds = from + f64::from(step) * period;
            let counter = if meter.is_counter_due(at(seconds)) {
                CounterReading::At(counter_mj(seconds))
            } else {
                CounterReading::NotAsked
            };
            meter.advance(at(seconds), watts(seconds).map(Watts::new), counter).map(Joules::get)
        })
        .collect()
}

fn last(told: &[Option<f64>]) -> f64 {
    told.iter().rev().flatten().next().copied().unwrap()
}

#[track_caller]
fn near(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found}, expected {expected} within {within}");
}

#[test]
fn an_agreeing_counter_is_trusted_after_two_seconds_and_asked_once_a_second() {
    let asked = std::cell::Cell::new(0);
    let mut meter = EnergyMeter::new();
    let counter = |t: f64| {
        asked.set(asked.get() + 1);
        5_000_000 + (t * 210_000.0) as u64
    };
    let told = play(&mut meter, (0.0, 10.0), 0.1, |_| Some(200.0), counter);
    assert_eq!(asked.get(), 11);
    // Two seconds by power, which is 5 % off, the rest by the counter, of which the last second is owed.
    near(last(&told), 2080.0, 20.0);
    let EnergySource::Counter { ratio, window } = *meter.source() else { panic!("{:?}", meter.source()) };
    near(ratio, 1.05, 1e-6);
    assert!(window >= CHECK_WINDOW && window < Duration::from_secs(4), "{window:?}");
}

#[test]
fn between_readings_of_the_counter_power_fills_in() {
    let mut meter = EnergyMeter::new();
    let told = play(&mut meter, (0.0, 10.0), 0.1, |_| Some(200.0), |t| (t * 210_000.0) as u64);
    for pair in told[30..].windows(2) {
        let step = pair[1].unwrap() - pair[0].unwrap();
        near(step, 20.0, 2.5); // no second of nothing, then one of everything
    }
}

#[test]
fn a_counter_that_disagrees_twice_is_given_up_and_power_tells_the_energy() {
    let mut meter = EnergyMeter::new();
    let told = play(&mut meter, (0.0, 20.0), 0.5, |_| Some(100.0), |t| (t * 57_000.0) as u64);
    let EnergySource::Power { because } = meter.source() else { panic!("{:?}", meter.source()) };
    assert!(because.contains("0.57"), "{because}");
    near(last(&told), 2000.0, 1e-6);
    for pair in told.windows(2) {
        near(pair[1].unwrap() - pair[0].unwrap(), 50.0, 1e-6); // and nothing is made up for at once
    }
}

#[test]
fn a_load_that_jumps_between_two_samples_is_no_disagreement() {
    let mut meter = EnergyMeter::new();
    // Three samples catch a peak that was a third as long as they say.
    let watts = |t: f64| if (0.51..=2.49).contains(&t) { 500.0 } else { 50.0 };
    let counter = |t: f64| (50.0 * t + 450.0 * (t - 1.51).clamp(0.0, 0.98)) as u64 * 1000;
    play(&mut meter, (0.0, 20.0), 0.5, |t| Some(watts(t)), counter);
    assert!(matches!(meter.source(), EnergySource::Counter { .. }), "{:?}", meter.source());
}

#[test]
fn a_counter_that_runs_backwards_is_given_up_and_nothing_is_taken_back() {
    let mut meter = EnergyMeter::new();
    let before = last(&play(&mut meter, (0.0, 5.0), 0.1, |_| Some(100.0), |t| 9_000_000 + (t * 1e5) as u64));
    let told = play(&mut meter, (5.1, 10.0), 0.1, |_| Some(100.0), |t| (t * 1e5) as u64);
    assert!(matches!(meter.source(), EnergySource::Power { because } if because.contains("backwards")));
    near(before, 500.0, 1.0);
    near(last(&told), 1000.0, 1.0);
}

#[test]
fn a_counter_that_jumps_is_given_up() {
    let mut meter = EnergyMeter::new();
    let jumps = |t: f64| (t * 1e5) as u64 + if t > 5.0 { 1_000_000_000 } else { 0 };
    let told = play(&mut meter, (0.0, 10.0), 0.1, |_| Some(100.0), jumps);
    assert!(matches!(meter.source(), EnergySource::Power { because } if because.contains("jumped")));
    near(last(&told), 1000.0, 1.0);
}

#[test]
fn a_counter_that_stands_still_while_power_is_drawn_is_given_up() {
    let mut meter = EnergyMeter::new();
    let told = play(&mut meter, (0.0, 20.0), 0.1, |_| Some(100.0), |t| (t.min(4.0) * 1e5) as u64);
    assert!(matches!(meter.source(), EnergySource::Power { because } if because.contains("stood still")));
    near(last(&told), 2000.0, 1.0);
}

#[test]
fn without_power_the_counter_alone_tells_the_energy_unchecked() {
    let mut meter = EnergyMeter::new();
    let told = play(&mut meter, (0.0, 10.0), 0.1, |_| None, |t| (t * 1e5) as u64);
    assert_eq!(*meter.source(), EnergySource::CounterUnchecked);
    near(last(&told), 1000.0, 1e-6);
    // Unknown between two readings of the counter: a reading of no energy would be one of no power.
    assert_eq!(told.iter().flatten().count(), 11);
    // And it counts on when it was reset.
    let told = play(&mut meter, (10.1, 20.0), 0.1, |_| None, |t| ((t - 10.0) * 1e5) as u64);
    near(last(&told), 2000.0, 200.0);
    assert!(last(&told) <= 2000.0);
}

#[test]
fn without_counter_and_power_the_energy_is_unknown() {
    let mut meter = EnergyMeter::new();
    assert_eq!(meter.advance(at(0.0), None, CounterReading::Absent), None);
    assert!(!meter.is_counter_due(at(9.0)));
    assert_eq!(meter.advance(at(1.0), None, CounterReading::NotAsked), None);
}

proptest! {
    /// Whatever the sensors say, energy never runs backwards, and is never more than sensors account for.
    #[test]
    fn energy_never_runs_backwards(
        samples in prop::collection::vec(
            (0.0..3.0_f64, prop::option::of(0.0..1000.0_f64), prop::option::of(0..u64::MAX)), 1..60
        )
    ) {
        let mut meter = EnergyMeter::new();
        let (mut seconds, mut before) = (0.0, Joules::ZERO);
        for (step, watts, counter) in samples {
            seconds += step;
            let counter = match counter {
                _ if !meter.is_counter_due(at(seconds)) => CounterReading::NotAsked,
                Some(at_mj) => CounterReading::At(at_mj),
                None => CounterReading::Absent,
            };
            if let Some(told) = meter.advance(at(seconds), watts.map(Watts::new), counter) {
                prop_assert!(told >= before, "{told:?} after {before:?}");
                // No power, no counter beyond any GPU: 10 kW and a second's worth of it at most.
                prop_assert!(told.get() <= 10_000.0 * (2.0 * seconds + 1.0) + 1000.0 * seconds, "{told:?}");
                before = told;
            }
        }
    }
}
