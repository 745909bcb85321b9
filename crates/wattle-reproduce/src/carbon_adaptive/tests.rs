//! The paper's arithmetic to its printed digits, all rows of a small run, and what holds by construction.

use std::path::Path;

use wattle_core::policies::carbon_adaptive::IntensityWindow;

use super::published::*;
use super::*;

const SMALL: Scale = Scale { days: 3, requests: 1e6, check_seconds: 7200.0 };

fn run_small(threads: usize) -> Reproduction {
    run_at(&SMALL, &Options { data: None, threads }, &|_| ()).unwrap()
}

/// `value` as printed with `digits` after the point, the rest cut off.
fn cut(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).trunc() / factor
}

#[test]
fn section_4_follows_from_its_own_numbers_to_the_printed_digit() {
    let gain = |network: usize| gain_percent(RESNETS[network].error_percent);
    assert_eq!(format!("{:.2}", gain(RESNET101)), "9.58");
    assert_eq!(cut(gain(RESNET152), 2), 16.58);
    // The error is printed rounded: an error of 6.567 % is printed so and gives the gain that is printed.
    assert_eq!(format!("{:.2}", gain_percent(6.567)), "8.00");
    assert_eq!(format!("{:.2}", 6.567), format!("{HEURISTIC_ERROR_PERCENT:.2}"));
    let heuristic = HEURISTIC_GAIN_PERCENT / GRAMS_HEURISTIC;
    let large = gain(RESNET152) / GRAMS_RESNET152;
    assert_eq!(format!("{heuristic:.5}"), format!("{EFFICIENCY_HEURISTIC:.5}"));
    assert_eq!(format!("{large:.4}"), format!("{EFFICIENCY_RESNET152:.4}"));
    assert_eq!(format!("{:.0}", (heuristic / large - 1.0) * 100.0), "80");
    // Two networks alone differ in grams as in energy.
    let ratio =
        grams_per_millijoule(RESNET152, GRAMS_RESNET152) / grams_per_millijoule(RESNET101, GRAMS_RESNET101);
    assert!((ratio - 1.0).abs() < 1e-3, "{ratio}");
}

#[test]
fn a_small_run_gives_every_row_the_same_on_any_number_of_threads() {
    let one = run_small(1);
    assert_eq!(one, run_small(2));
    assert_eq!(one.name, "carbon-adaptive");
    for row in &one.rows {
        assert!(row.ours.is_some(), "{}", row.figure);
        assert!(!row.rests_on.is_empty() && !row.unit.is_empty(), "{}", row.figure);
    }
    let published = one.rows.iter().filter(|row| row.published.is_some()).count();
    assert!(published >= 10, "{published}");
}

fn small() -> (LoadTrace, CarbonTrace) {
    (LoadTrace::of(None, &SMALL).unwrap(), CarbonTrace::generated(SMALL.days))
}

#[test]
fn grams_of_one_network_are_energy_times_requests_times_intensity() {
    let (load, carbon) = small();
    let month = Month::new(&load, &carbon).unwrap();
    let sum: f64 = load.rates.iter().zip(&carbon.values).map(|(rate, grams)| rate * 1800.0 * grams).sum();
    for (index, network) in RESNETS.iter().enumerate() {
        let served = month.alone(index).unwrap();
        let expected = sum * network.millijoules / 1e3 / 3.6e6;
        assert!((served.grams / expected - 1.0).abs() < 1e-6, "{} {expected}", served.grams);
        assert!((served.error_percent - network.error_percent).abs() < 1e-9);
    }
}

#[test]
fn no_run_beats_the_oracle_at_its_own_error_rate() {
    let (load, carbon) = small();
    let month = Month::new(&load, &carbon).unwrap();
    let mut runs: Vec<replay::Served> = (0..RESNETS.len()).map(|index| month.alone(index).unwrap()).collect();
    for rule in RULES {
        runs.push(month.under(rule, IntensityWindow::Trailing).unwrap());
        runs.push(month.under(rule, IntensityWindow::Whole).unwrap());
    }
    for served in runs {
        // A part in a million: rows are counted whole.
        let least = month.least_grams(served.error_percent * (1.0 + 1e-6)).unwrap();
        assert!(served.grams >= least * (1.0 - 1e-5), "{} {least}", served.grams);
    }
}

#[test]
fn the_rule_as_printed_emits_more_for_each_answer_of_one_network_than_the_rule_as_meant() {
    let (load, carbon) = small();
    let month = Month::new(&load, &carbon).unwrap();
    let [meant, printed] = RULES.map(|rule| month.under(rule, IntensityWindow::Whole).unwrap());
    // Grams over those of the same shares at any time: under 1 as it is meant, over 1 as it is printed.
    let alone: Vec<f64> = (0..RESNETS.len()).map(|index| month.alone(index).unwrap().grams).collect();
    let blind = |served: &replay::Served| -> f64 {
        served.shares.iter().zip(&alone).map(|(share, grams)| share * grams).sum()
    };
    assert!(meant.grams < blind(&meant), "{} {}", meant.grams, blind(&meant));
    assert!(printed.grams > blind(&printed), "{} {}", printed.grams, blind(&printed));
}

#[test]
fn the_scenario_rests_on_the_generated_traces_and_on_table_1() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/carbon-adaptive");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let csv = |column: &str, values: &[f64]| {
        let mut text = format!("seconds,{column}\n");
        for (index, value) in values.iter().enumerate() {
            text.push_str(&format!("{},{value:.4}\n", index * 1800));
        }
        text
    };
    assert_eq!(
        read("carbon-intensity.csv"),
        csv("carbon_intensity_g_per_kwh", &CarbonTrace::generated(7).values)
    );
    assert_eq!(read("load.csv"), csv("rate_rps", &LoadTrace::generated(48).rates));
    let scenario = wattle_sim::scenario::Loaded::read(&folder.join("carbon-adaptive.toml")).unwrap();
    let variants = scenario.families.values().next().unwrap();
    for network in &RESNETS {
        let variant = variants.iter().find(|variant| variant.model.as_str() == network.name).unwrap();
        assert!((variant.energy_joules_per_row.get() * 1e3 / network.millijoules - 1.0).abs() < 1e-6);
        assert!((1.0 - variant.quality - network.error_percent / 100.0).abs() < 1e-9);
    }
}
