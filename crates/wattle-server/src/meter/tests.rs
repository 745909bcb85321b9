//! What is metered is booked, to whom it belongs, and told.

use super::*;
use crate::executor::{Asker, AskerCounts};
use wattle_core::provenance::Basis;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_duration(Duration::from_millis(ms))
}

fn reading(ms: u64, energy: f64) -> Reading {
    Reading { at: at(ms), energy: Some(Joules::new(energy)), power: None, own_share: None, utilization: None }
}

fn known() -> Provenance {
    Provenance::new(Basis::Measured, "a test")
}

fn meter() -> (Meter, EnergyRate) {
    meter_of((PowerSplit::default(), None))
}

fn meter_of(split: (PowerSplit, Option<f64>)) -> (Meter, EnergyRate) {
    let info = DeviceInfo {
        id: "cpu".into(),
        description: String::new(),
        knobs: vec![],
        power_provenance: known(),
        idle_power: Some((Watts::new(10.0), Provenance::new(Basis::Assumed, "a test"))),
        full_power: None,
    };
    let rate = EnergyRate::unknown();
    (Meter::new(&info, 2, &rate, CarbonAccounting::default(), split), rate)
}

#[test]
fn power_is_energy_over_the_time_between_two_readings() {
    let (mut meter, _) = meter();
    assert_eq!(meter.sample(&reading(0, 0.0)), None);
    let sample = meter.sample(&reading(100, 3.0)).unwrap();
    assert!((sample.power.get() - 30.0).abs() < 1e-9);
    assert_eq!(meter.sample(&reading(100, 3.0)), None, "no time passed, no power known");
}

#[test]
fn a_reading_that_tells_nothing_is_no_power_and_loses_no_energy() {
    let (mut meter, rate) = meter();
    meter.sample(&reading(0, 0.0));
    meter.book(at(0), &known(), &BTreeMap::new(), None, &rate, false);
    let nothing = |ms| Reading { energy: None, ..reading(ms, 0.0) };
    assert_eq!(meter.sample(&nothing(100)), None);
    assert_eq!(meter.sampled_until(), Some(at(0)));
    assert_eq!(meter.sample(&nothing(1000)), None);
    assert_eq!(meter.book(at(1000), &known(), &BTreeMap::new(), None, &rate, false), None);
    let sample = meter.sample(&reading(1500, 45.0)).unwrap();
    assert!((sample.power.get() - 30.0).abs() < 1e-9);
    let entry = meter.book(at(1500), &known(), &BTreeMap::new(), None, &rate, false).unwrap();
    assert!((entry.metered.get() - 45.0).abs() < 1e-9);
}

#[test]
fn an_entry_says_how_the_power_was_known_when_it_was_booked() {
    let (mut meter, rate) = meter();
    meter.sample(&reading(0, 0.0));
    meter.book(at(0), &known(), &BTreeMap::new(), None, &rate, false);
    meter.sample(&reading(1000, 30.0));
    let found_out = Provenance::new(Basis::Measured, "a counter, compared with power");
    let entry = meter.book(at(1000), &found_out, &BTreeMap::new(), None, &rate, false).unwrap();
    assert_eq!(entry.provenance, found_out);
    let source = rate.rates().source();
    assert!(source.starts_with("measured: a counter, compared with power; "), "{source}");
}

#[test]
fn a_device_without_a_counter_is_metered_by_its_power() {
    let (mut meter, rate) = meter();
    let reading = |ms| Reading { energy: None, power: Some(Watts::new(25.0)), ..reading(ms, 0.0) };
    meter.sample(&reading(0));
    meter.book(at(0), &known(), &BTreeMap::new(), None, &rate, false);
    assert_eq!(meter.sample(&reading(1000)).unwrap().power, Watts::new(25.0));
    let entry = meter.book(at(1000), &known(), &BTreeMap::new(), None, &rate, false).unwrap();
    assert!((entry.metered.get() - 25.0).abs() < 1e-9);
}

/// Statistics of a model with `counts` of each asker, of whose batches `told` millijoules were told.
fn stats_of(counts: &[(&Asker, AskerCounts)], told_mj: u64) -> StatsSnapshot {
    let all = counts.iter().fold(AskerCounts::default(), |sum, (_, counts)| sum.plus(*counts));
    StatsSnapshot {
        working_nanos: all.core_nanos,
        by_asker: counts.iter().map(|(asker, counts)| ((*asker).clone(), *counts)).collect(),
        told_nanojoules: told_mj * 1_000_000,
        told_core_nanos: all.core_nanos,
        ..StatsSnapshot::default()
    }
}

fn worked(core_ms: u64, requests: u64) -> AskerCounts {
    AskerCounts { core_nanos: core_ms * 1_000_000, rows: requests, requests }
}

#[test]
fn an_entry_closes_after_a_second_and_its_books_close_too() {
    let (mut meter, rate) = meter();
    let name = ModelName::from("m");
    let nobody = Asker::default();
    let stats = |core_ms, requests| {
        BTreeMap::from([(name.clone(), stats_of(&[(&nobody, worked(core_ms, requests))], 0))])
    };
    meter.sample(&reading(0, 0.0));
    assert_eq!(meter.book(at(0), &known(), &stats(0, 0), None, &rate, false), None);
    for tick in 1..10 {
        meter.sample(&reading(tick * 100, tick as f64 * 3.0));
        assert_eq!(meter.book(at(tick * 100), &known(), &stats(0, 0), None, &rate, false), None);
    }
    meter.sample(&reading(1000, 30.0));
    let entry = meter.book(at(1000), &known(), &stats(500, 4), None, &rate, false).unwrap();
    let attributed = entry.by_account[&Account::of_model(name.clone())].energy();
    assert!((entry.metered.get() - 30.0).abs() < 1e-9);
    assert!((attributed.get() - 20.0).abs() < 1e-9, "{attributed}");
    assert!(((attributed + entry.idle).get() - 30.0).abs() < 1e-9);
    let second = rate.of_core_time(&name, Duration::from_secs(1)).unwrap();
    assert!((second.get() - 40.0).abs() < 1e-9);
}

#[test]
fn a_reading_that_cannot_be_is_passed_over_and_loses_no_energy() {
    let (mut meter, rate) = meter();
    meter.sample(&reading(0, 0.0));
    meter.book(at(0), &known(), &BTreeMap::new(), None, &rate, false);
    for (ms, energy) in [(100, f64::NAN), (200, f64::INFINITY), (300, -5.0)] {
        assert_eq!(meter.sample(&reading(ms, energy)), None, "{energy}");
        assert_eq!(meter.sampled_until(), Some(at(0)));
    }
    let sample = meter.sample(&reading(1000, 30.0)).unwrap();
    assert!((sample.power.get() - 30.0).abs() < 1e-9);
    // A counter that began anew: not a negative power, and from there on it counts.
    assert_eq!(meter.sample(&reading(1100, 1.0)), None);
    assert!((meter.sample(&reading(1200, 3.0)).unwrap().power.get() - 20.0).abs() < 1e-9);
    let entry = meter.book(at(1200), &known(), &BTreeMap::new(), None, &rate, true).unwrap();
    assert!((entry.metered.get() - 32.0).abs() < 1e-9);
}

/// Books one second of 30 J, 10 of them idle, in which `stats` was done since nothing was.
fn booked(meter: &mut Meter, rate: &EnergyRate, stats: BTreeMap<ModelName, StatsSnapshot>) -> LedgerEntry {
    let nothing: BTreeMap<_, _> = stats.keys().map(|name| (name.clone(), StatsSnapshot::default())).collect();
    meter.sample(&reading(0, 0.0));
    meter.book(at(0), &known(), &nothing, None, rate, false);
    meter.sample(&reading(1000, 30.0));
    meter.book(at(1000), &known(), &stats, None, rate, false).unwrap()
}

#[test]
fn energy_goes_to_who_asked_by_the_core_time_of_its_rows() {
    let (mut meter, rate) = meter();
    let nobody = Asker::default();
    let gold = Asker { family: Some("f".into()), class: Some("gold".into()) };
    let m = stats_of(&[(&nobody, worked(100, 1)), (&gold, worked(300, 3))], 0);
    let entry = booked(&mut meter, &rate, BTreeMap::from([("m".into(), m)]));
    let of = |family: Option<&str>, class: Option<&str>| {
        let (family, class) = (family.map(Into::into), class.map(Into::into));
        entry.by_account[&Account { model: "m".into(), family, class }]
    };
    assert!((of(None, None).energy().get() - 5.0).abs() < 1e-9);
    let gold = of(Some("f"), Some("gold"));
    assert!((gold.energy().get() - 15.0).abs() < 1e-9);
    assert_eq!((gold.rows, gold.requests), (3, 3));
}

#[test]
fn a_hungry_model_is_booked_and_told_more_where_profiles_tell_so() {
    let watts = |name: &str, watts| (ModelName::from(name), Watts::new(watts));
    let split = PowerSplit {
        idle_power: None,
        shared_idle_power: Some(Watts::new(4.0)),
        watts_per_core: BTreeMap::from([watts("light", 5.0), watts("heavy", 15.0)]),
    };
    let (mut meter, rate) = meter_of((split, None));
    let nobody = Asker::default();
    let both = ["light", "heavy"].map(|name| (name.into(), stats_of(&[(&nobody, worked(500, 1))], 0)));
    let entry = booked(&mut meter, &rate, both.into());
    let of = |name: &str| entry.by_account[&Account::of_model(name.into())];
    // 20 J above idle: 4 shared, of the rest 1 : 3.
    assert!(
        (of("light").energy().get() - 6.0).abs() < 1e-9 && (of("heavy").energy().get() - 14.0).abs() < 1e-9
    );
    assert!((of("heavy").shared.get() - 2.0).abs() < 1e-9);
    let second = |name: &str| rate.of_core_time(&name.into(), Duration::from_secs(1)).unwrap().get();
    assert!((second("light") - 12.0).abs() < 1e-9 && (second("heavy") - 28.0).abs() < 1e-9);
    assert!((second("unheard of") - 20.0).abs() < 1e-9, "without a profile: as the mean");
    assert!(
        meter.split().1 && rate.rates().source().ends_with("weighted by the power of its model's profile")
    );
}

#[test]
fn uncertainty_is_how_far_off_requests_were_told_and_unknown_until_seen() {
    let (mut meter, rate) = meter_of((PowerSplit::default(), Some(0.05)));
    let nobody = Asker::default();
    assert_eq!(rate.rates().uncertainty(), None);
    // 20 J were booked, 19 told.
    let stats = stats_of(&[(&nobody, worked(500, 1))], 19_000);
    booked(&mut meter, &rate, BTreeMap::from([("m".into(), stats)]));
    let seen = rate.rates().uncertainty().unwrap();
    assert!((seen - 0.05f64.hypot(0.05)).abs() < 1e-9, "{seen}");
    assert_eq!(rate.rates().basis(), Basis::Modelled);
}

#[test]
fn carbon_is_told_by_the_reading_in_force_with_what_the_site_adds() {
    use wattle_core::signal::{EmissionScope, Freshness, IntensityKind, PointStatus, Quantity, SignalHead};
    let rate = EnergyRate::unknown();
    assert_eq!(rate.carbon(), None);
    let head = SignalHead::configured(Quantity::CarbonIntensity, "a test").into();
    let accounting = CarbonAccounting { pue: 1.5, ..CarbonAccounting::default() };
    rate.set_carbon(Some(&SignalReading::configured(360.0, &head)), &accounting);
    let carbon = rate.carbon().unwrap();
    assert!((carbon.of(Joules::new(1000.0)).get() - 0.15).abs() < 1e-12);
    assert_eq!(carbon.source, "a test, PUE 1.5");
    let head = SignalHead {
        zone: Some("DE".into()),
        kind: IntensityKind::Average,
        scope: EmissionScope::LifeCycle,
        ..SignalHead::configured(Quantity::CarbonIntensity, "a provider")
    };
    let mut reading = SignalReading::configured(360.0, &head.into());
    (reading.status, reading.freshness) = (PointStatus::Forecast, Freshness::Stale);
    rate.set_carbon(Some(&reading), &accounting);
    let told = "a provider, zone DE, average, life-cycle, forecast, stale, PUE 1.5";
    assert_eq!(rate.carbon().unwrap().source, told);
    rate.set_carbon(None, &accounting);
    assert_eq!(rate.carbon(), None);
}

#[test]
fn idle_power_that_is_told_goes_before_what_the_device_says() {
    let idle_power = Some((Watts::new(25.0), Provenance::new(Basis::Modelled, "a profile")));
    let (mut meter, rate) = meter_of((PowerSplit { idle_power, ..PowerSplit::default() }, None));
    let nobody = Asker::default();
    let m = stats_of(&[(&nobody, worked(500, 1))], 0);
    let entry = booked(&mut meter, &rate, BTreeMap::from([("m".into(), m)]));
    assert!((entry.idle.get() - 25.0).abs() < 1e-9, "{entry:?}");
}
