//! What the regression learns, and that it knows no future.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{FURTHEST_AHEAD, Model, Origins, back_test};
use super::*;
use crate::time::UnixTime;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const FIRST: UnixTime = UnixTime::from_secs(1_577_836_800);

/// The same number in -1 to 1 for the same `index`, without a pattern.
fn noise(index: usize) -> f64 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 32)) % 20_001) as f64 / 10_000.0 - 1.0
}

fn history(days: usize, value: impl Fn(usize) -> f64) -> History {
    History::new(FIRST, HOUR, (0..days * 24).map(|hour| Some(value(hour))).collect()).unwrap()
}

/// Mean absolute error of the 24 h from each midnight of the last `days` days.
fn off(history: &History, model: Model, days: u32) -> f64 {
    let origins = Origins { first: history.end() - DAY * days, until: history.end(), every: DAY };
    back_test(history, model, origins, DAY).unwrap().score.mean_absolute_error
}

fn shape(hour: usize) -> f64 {
    200.0 + 80.0 * (hour as f64 / 24.0 * std::f64::consts::TAU).sin()
}

#[test]
fn a_perfect_daily_pattern_is_forecast_nearly() {
    let history = history(60, shape);
    assert!(off(&history, Model::SeasonalNaiveDay, 10) < 1e-9);
    assert!(off(&history, Model::Regression, 10) < 0.01);
}

#[test]
fn a_weekend_that_differs_is_learned() {
    let history = history(120, |hour| if hour / 24 % 7 < 2 { 0.7 * shape(hour) } else { shape(hour) });
    assert!(off(&history, Model::SeasonalNaiveDay, 28) > 10.0);
    assert!(off(&history, Model::Regression, 28) < 5.0);
}

#[test]
fn noise_around_a_pattern_is_averaged_out() {
    let history = history(200, |hour| shape(hour) * (1.0 + 0.2 * noise(hour)));
    let (naive, learned) = (off(&history, Model::SeasonalNaiveDay, 60), off(&history, Model::Regression, 60));
    assert!(learned < 0.85 * naive, "{learned} {naive}");
}

#[test]
fn a_series_seen_beside_it_that_leads_by_a_day_is_used() {
    let wind = |day: usize| 0.4 * noise(day);
    let value = |hour: usize| shape(hour) * (1.0 + wind((hour / 24).saturating_sub(1)));
    let alone = history(150, value);
    let beside: Vec<Option<f64>> = (0..150 * 24).map(|hour| Some(wind(hour / 24))).collect();
    let with = alone.clone().with_seen(FIRST, &beside).unwrap();
    let (alone, with) = (off(&alone, Model::Regression, 40), off(&with, Model::Regression, 40));
    assert!(with < 0.5 * alone, "{with} {alone}");
}

#[test]
fn a_series_known_ahead_is_used_at_the_time_it_is_of() {
    let wind = |hour: usize| 0.4 * noise(hour);
    let alone = history(150, |hour| shape(hour) * (1.0 + wind(hour)));
    let beside: Vec<Option<f64>> = (0..160 * 24).map(|hour| Some(wind(hour))).collect();
    let with = alone.clone().with_known_ahead(FIRST, &beside).unwrap();
    let (alone, with) = (off(&alone, Model::Regression, 40), off(&with, Model::Regression, 40));
    assert!(with < 0.5 * alone, "{with} {alone}");
}

#[test]
fn what_is_zero_at_night_is_forecast_at_no_less() {
    let sun = |hour: usize| {
        let height = (hour as f64 / 24.0 * std::f64::consts::TAU).sin();
        if height > 0.0 { 300.0 * height * (1.0 + 0.3 * noise(hour)) } else { 0.0 }
    };
    let history = history(80, sun);
    let made = forecasts(&history, 80 * 24, 80 * 24 + 1, 24).unwrap().remove(0);
    assert!(made.iter().all(|value| *value >= 0.0), "{made:?}");
    assert!(made[13..23].iter().all(|value| *value < 15.0), "{made:?}");
}

#[test]
fn too_short_a_history_gives_nothing_and_four_days_ahead_are_given() {
    let history = history(60, shape);
    assert_eq!(forecasts(&history, 41 * 24, 41 * 24 + 1, 24), None);
    assert!(forecasts(&history, 42 * 24, 42 * 24 + 1, 24).is_some());
    assert_eq!(forecasts(&history, 5, 6, 24), None);
    let leads = history.steps_in(FURTHEST_AHEAD);
    let made = forecasts(&history, 60 * 24, 60 * 24 + 1, leads).unwrap().remove(0);
    assert!(made.len() == 96 && made.iter().enumerate().all(|(hour, made)| (made - shape(hour)).abs() < 0.1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_comes_after_the_origin_changes_no_forecast(
        values in prop::collection::vec(prop::option::weighted(0.97, 0.0..500.0_f64), 55 * 24),
        later in prop::collection::vec(prop::option::weighted(0.8, 0.0..5000.0_f64), 10 * 24),
        origin in 48 * 24..50_usize * 24,
    ) {
        let whole = History::new(FIRST, HOUR, values.clone()).unwrap();
        let skipped = values.iter().take_while(|value| value.is_none()).count();
        let changed: Vec<_> =
            values[..skipped + origin].iter().copied().chain(later).collect();
        let changed = History::new(FIRST, HOUR, changed).unwrap();
        let cut = whole.until(whole.time_of(origin));
        let of = |history: &History| forecasts(history, origin, origin + 1, 30);
        prop_assert_eq!(of(&whole), of(&changed));
        prop_assert_eq!(of(&whole), of(&cut));
        // With many gaps at one time of the day too little is learned of it.
        let made = of(&whole);
        let is_learned = |made: &Vec<Vec<f64>>| made[0].iter().all(|value| value.is_finite() && *value >= 0.0);
        prop_assert!(made.is_none_or(|made| is_learned(&made)));
    }
}
