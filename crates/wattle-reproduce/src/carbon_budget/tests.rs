//! A small run, what holds by construction, and the zones of measured data where there are any.

use super::*;
use crate::carbon_adaptive::traces::CarbonTrace;

const SMALL: Scale = Scale { days: 6, requests: 1e7, check_seconds: 7200.0 };

fn run_small(threads: usize) -> Reproduction {
    run_at(&SMALL, &Options { data: None, threads }, &|_| ()).unwrap()
}

#[test]
fn a_small_run_gives_every_row_the_same_on_any_number_of_threads() {
    let one = run_small(1);
    assert_eq!(one, run_small(2));
    for row in &one.rows {
        assert!(row.ours.is_some_and(f64::is_finite), "{}", row.figure);
        assert!(!row.rests_on.is_empty() && !row.unit.is_empty(), "{}", row.figure);
    }
}

/// What holds of any month: the floor is kept but for half an hour, and nobody beats the linear program.
fn check(month: &Month<'_>, results: &Results, of: &str) {
    let floor = results.adaptive.error_percent;
    // ResNet34 in place of ResNet152 for the half hour of most load.
    let most = month.load.rates.iter().copied().fold(0.0, f64::max);
    let slack = (8.58 - 5.954) * most / month.load.rates.iter().sum::<f64>();
    for served in &results.budget {
        assert!(served.error_percent <= floor + slack, "{of}: {} {floor}", served.error_percent);
        // A part in a million: rows are counted whole.
        let least = month.least_grams(served.error_percent * (1.0 + 1e-6)).unwrap();
        assert!(served.grams >= least * (1.0 - 1e-5), "{of}: {} {least}", served.grams);
    }
}

#[test]
fn a_day_request_by_request_comes_to_what_it_does_by_half_hours() {
    let (load, carbon) = (LoadTrace::of(None, &SMALL).unwrap(), CarbonTrace::generated(SMALL.days));
    let month = Month::new(&load, &carbon).unwrap();
    let [grams, error] = month.request_level_over_epoch_level("carbon-budget", 0.933, 86_400.0).unwrap();
    assert!((grams - 1.0).abs() < 0.02 && (error - 1.0).abs() < 0.01, "{grams} {error}");
}

#[test]
fn the_floor_is_kept_and_less_is_emitted_than_by_the_rule_of_the_paper() {
    let (load, carbon) = (LoadTrace::of(None, &SMALL).unwrap(), CarbonTrace::generated(SMALL.days));
    let month = Month::new(&load, &carbon).unwrap();
    let results = Results::of(&month, &FORECASTS).unwrap();
    check(&month, &results, "generated");
    for served in &results.budget {
        assert!(served.grams < results.adaptive.grams, "{} {}", served.grams, results.adaptive.grams);
    }
}

#[test]
fn in_june_four_measured_zones_are_near_the_least_possible_and_well_ahead_of_the_rule_of_the_paper() {
    let Some(data) = std::env::var_os("WATTLE_DATA").map(std::path::PathBuf::from) else {
        eprintln!("skipped: WATTLE_DATA names no folder of measured data");
        return;
    };
    let load = LoadTrace::of(Some(&data), &Scale::FULL).unwrap();
    let zones = ZoneMonth::all_of(Some(&data), Scale::FULL.days).unwrap();
    let (mut near, mut ahead) = (0, 0);
    for zone in zones.iter().filter(|zone| zone.month.starts_with("June")) {
        let month = Month::new(&load, &zone.carbon).unwrap();
        let results = Results::of(&month, &FORECASTS[..1]).unwrap();
        check(&month, &results, &zone.zone);
        let [budget, ..] = &results.budget[..] else { panic!("no run") };
        near += u32::from(results.beyond_least_percent(budget) <= 2.0);
        ahead += u32::from(results.points_of(budget) - results.points_of(&results.adaptive) >= 10.0);
    }
    assert!(near >= 4 && ahead >= 4, "{near} zones near, {ahead} ahead, of {}", zones.len());
}
