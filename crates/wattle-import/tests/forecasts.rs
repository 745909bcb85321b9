//! Day-ahead forecasts of published carbon intensities. They are looked for in the folder that
//! `WATTLE_DATA` names, and a test is passed over, with a note, where it is not set.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]
#![allow(clippy::print_stdout, reason = "says what it passed over, and its figures")]

#[path = "zones/mod.rs"]
mod zones;

use std::path::PathBuf;

use wattle_core::forecast::{History, Model, back_test, pick};
use zones::{CISO, DAY, ERCO, ISNE, ZONES, last_year};

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("WATTLE_DATA").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("passed over: WATTLE_DATA names no folder of published files");
    }
    folder
}

/// MAPE of `model` for the 24 hours from each midnight (universal time) of the last year.
fn mape(history: &History, model: Model) -> f64 {
    let test = back_test(history, model, last_year(history, DAY), DAY).unwrap();
    test.score.mean_absolute_percentage_error.unwrap()
}

fn seasonal_naive(history: &History) -> f64 {
    mape(history, Model::SeasonalNaiveDay).min(mape(history, Model::SeasonalNaiveWeek))
}

#[test]
fn day_ahead_with_the_mix_seen_is_a_quarter_better_than_seasonal_naive_for_ciso() {
    let Some(data) = data() else { return };
    let history = CISO.history_with_mix(&data, &["nat_gas", "nuclear", "hydro", "solar", "wind"]);
    let (learned, naive) = (mape(&history, Model::Regression), seasonal_naive(&history));
    println!("CISO with the mix: {learned:.2} % against {naive:.2} %");
    assert!(learned < 0.75 * naive, "{learned} {naive}");
}

#[test]
fn day_ahead_from_the_intensity_alone_beats_seasonal_naive_in_every_zone() {
    let Some(data) = data() else { return };
    // The half-hourly and quarter-hourly series take too long here: the benchmark has them.
    for zone in ZONES.iter().filter(|zone| !zone.name.ends_with(" 2020")) {
        let history = zone.history(&data);
        let (learned, naive) = (mape(&history, Model::Regression), seasonal_naive(&history));
        println!("{}: {learned:.2} % against {naive:.2} %", zone.name);
        assert!(learned < 0.85 * naive, "{}: {learned} {naive}", zone.name);
    }
}

#[test]
fn the_regression_is_picked_most_days_and_intervals_hold_about_80_percent_of_what_comes() {
    let Some(data) = data() else { return };
    let (mut inside, mut values, mut learned, mut picks) = (0, 0, 0, 0);
    for zone in [CISO, ISNE, ERCO] {
        let whole = zone.history(&data);
        for days in 1..=6 {
            let history = whole.until(whole.end() - DAY * days * 30);
            let picked = pick(&history, DAY).unwrap();
            assert_eq!(picked.scores().len(), Model::ALL.len());
            learned += u32::from(picked.model() == Model::Regression);
            picks += 1;
            let made = picked.forecast(&history).unwrap();
            for (point, came) in made.points.iter().zip(&whole.values()[history.values().len()..]) {
                let (interval, came) = (point.interval.unwrap(), came.unwrap());
                inside += u32::from((interval.low..=interval.high).contains(&came));
                values += 1;
            }
        }
    }
    let held = f64::from(inside) / f64::from(values);
    println!("{learned} of {picks} times the regression; {:.0} % of {values} values held", 100.0 * held);
    assert!(3 * learned > 2 * picks);
    // 18 days: those of one day are off together. The benchmark has whole years.
    assert!((0.65..0.95).contains(&held), "{held}");
}
