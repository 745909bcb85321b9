//! No schedule does better, by brute force, by duality, and against the rule that knows no future.

use proptest::prelude::*;

use super::*;
use crate::family::Variant;
use crate::foresight::Foresight;
use crate::observation::FamilyObservation;
use crate::policies::carbon_adaptive::{CarbonAdaptive, Direction};
use crate::signal::{AfterEnd, Signal, Trace};
use crate::time::Timestamp;
use crate::units::{CarbonIntensity, Joules};

const PIECE_SECONDS: u64 = 1800;

fn trace(values: &[f64]) -> Signal {
    let points =
        values.iter().zip(0..).map(|(value, index)| (Duration::from_secs(index * PIECE_SECONDS), *value));
    Signal::Trace(Trace::new(points.collect(), AfterEnd::Hold).unwrap())
}

fn variants(figures: &[(f64, f64)]) -> Vec<Variant> {
    let named = figures.iter().enumerate();
    let variant = |(index, (joules, quality)): (usize, &(f64, f64))| Variant {
        model: format!("v{index}").into(),
        energy_joules_per_row: Joules::new(*joules),
        quality: *quality,
    };
    named.map(variant).collect()
}

fn options(figures: &[(f64, f64)], intensities: &[f64], loads: &[f64]) -> PolicyOptions {
    let foresight = Foresight {
        carbon_intensity: Some(trace(intensities)),
        offered_family_rps: [("f".into(), trace(loads))].into(),
        ..Foresight::default()
    };
    PolicyOptions {
        families: [("f".into(), variants(figures))].into(),
        foresight: Some(foresight),
        ..PolicyOptions::default()
    }
}

fn floor_plan(options: &PolicyOptions, floor: f64) -> Result<FamilyPlan, PolicyError> {
    let oracle_carbon = OracleCarbonOptions { quality_floor: Some(floor), ..OracleCarbonOptions::default() };
    let oracle = OracleCarbon::new(&PolicyOptions { oracle_carbon, ..options.clone() })?;
    Ok(oracle.plans()["f"].clone())
}

fn budget_plan(options: &PolicyOptions, grams: f64) -> Result<FamilyPlan, PolicyError> {
    let oracle_carbon =
        OracleCarbonOptions { carbon_budget_grams: Some(grams), ..OracleCarbonOptions::default() };
    let oracle = OracleCarbon::new(&PolicyOptions { oracle_carbon, ..options.clone() })?;
    Ok(oracle.plans()["f"].clone())
}

/// Grams and mean quality of serving variant `choice(piece)` in each piece.
fn outcome(
    figures: &[(f64, f64)],
    intensities: &[f64],
    loads: &[f64],
    choice: impl Fn(usize) -> usize,
) -> (f64, f64) {
    let (mut grams, mut quality, mut rows) = (0.0, 0.0, 0.0);
    for (piece, (intensity, load)) in intensities.iter().zip(loads).enumerate() {
        let (joules, good) = figures[choice(piece)];
        let here = load * PIECE_SECONDS as f64;
        grams += here * joules / 3.6e6 * intensity;
        quality += here * good;
        rows += here;
    }
    (grams, quality / rows)
}

#[test]
fn a_trace_that_begins_before_the_run_is_planned_to_its_end_and_no_further() {
    let figures = [(1.0, 0.8), (3.0, 0.9)];
    let mut late = options(&figures, &[500.0, 300.0, 100.0, 200.0], &[7.0, 2.0, 2.0, 2.0]);
    let foresight = late.foresight.as_mut().unwrap();
    let start = Duration::from_secs(PIECE_SECONDS);
    foresight.carbon_intensity = foresight.carbon_intensity.take().map(|signal| signal.starting_at(start));
    for load in foresight.offered_family_rps.values_mut() {
        *load = load.clone().starting_at(start);
    }
    let from_then = options(&figures, &[300.0, 100.0, 200.0], &[2.0; 3]);
    assert_eq!(floor_plan(&late, 0.85).unwrap(), floor_plan(&from_then, 0.85).unwrap());
}

#[test]
fn quality_is_bought_where_electricity_is_clean_and_one_piece_is_cut() {
    // Two variants, three half hours of equal load: a mean quality of 0.85 is half the steps.
    let options = options(&[(1.0, 0.8), (3.0, 0.9)], &[300.0, 100.0, 200.0], &[2.0; 3]);
    let plan = floor_plan(&options, 0.85).unwrap();
    let at = |seconds| Timestamp::from_duration(Duration::from_secs(seconds));
    let expected =
        [(0, "v0"), (1800, "v1"), (3600 + 900, "v0")].map(|(start, name)| (at(start), name.into()));
    assert_eq!(plan.schedule(), expected);
    assert!((plan.mean_quality.unwrap() - 0.85).abs() < 1e-12);
    // 3600 rows a piece: 1 J at 300, 3 J at 100, 2 J at 200 on average.
    assert!((plan.grams.get() - 3600.0 / 3.6e6 * (300.0 + 300.0 + 400.0)).abs() < 1e-12);
    assert_eq!(plan.variant_at(at(9_999_999)).unwrap().as_str(), "v0", "the last one, for ever");
}

#[test]
fn deciding_looks_the_plan_up_and_asks_again_at_the_next_switch() {
    let mut options = options(&[(1.0, 0.8), (3.0, 0.9)], &[300.0, 100.0], &[2.0; 2]);
    options.oracle_carbon.quality_floor = Some(0.85);
    let mut oracle = OracleCarbon::new(&options).unwrap();
    let seen = |seconds: u64, serving: &[&str]| Observation {
        now: Timestamp::from_duration(Duration::from_secs(seconds)),
        power_cap: None,
        power_cap_ahead: Vec::new(),
        carbon_intensity_age: None,
        carbon_intensity_ahead: Vec::new(),
        carbon_intensity: None,
        devices: Vec::new(),
        models: Vec::new(),
        families: vec![FamilyObservation {
            name: "f".into(),
            variants: serving.iter().map(|name| (*name).into()).collect(),
            active: "v0".into(),
            arrived_rows: 0,
        }],
    };
    let decision = oracle.decide(&seen(1790, &["v0", "v1"]));
    assert!(decision.variants.is_empty(), "it serves already");
    assert_eq!(decision.ask_again_in, Duration::from_secs(10));
    let decision = oracle.decide(&seen(1800, &["v0", "v1"]));
    assert_eq!(decision.variants["f"].as_str(), "v1");
    let decision = oracle.decide(&seen(1800, &["v0"]));
    assert_eq!((decision.variants.len(), decision.reasons[0].1.name()), (0, "no_variant"));
}

#[test]
fn what_is_not_known_or_cannot_be_kept_is_an_error_that_says_so() {
    let figures = [(1.0, 0.8), (3.0, 0.9)];
    let whole = options(&figures, &[300.0, 100.0], &[2.0; 2]);
    let says = |result: Result<FamilyPlan, PolicyError>, text: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    says(floor_plan(&whole, 0.95), "quality_floor is 0.95, expected at most the quality of the best variant");
    says(floor_plan(&whole, 1.5), "quality_floor is 1.5, expected a number in 0 to 1");
    says(budget_plan(&whole, 0.01), "carbon_budget_grams is 0.01, expected at least the grams");
    says(floor_plan(&PolicyOptions { foresight: None, ..whole.clone() }, 0.8), "which only a replay knows");
    assert!(OracleCarbon::new(&whole).unwrap_err().to_string().contains("quality_floor is not set"));
    let mut endless = whole;
    endless.foresight = Some(Foresight {
        carbon_intensity: Some(Signal::Constant(1.0)),
        offered_family_rps: [("f".into(), Signal::Constant(1.0))].into(),
        ..Foresight::default()
    });
    says(floor_plan(&endless, 0.8), "traces with an end");
}

#[test]
fn a_budget_is_shared_by_families_where_it_buys_most_quality() {
    let mut options = options(&[(1.0, 0.8), (3.0, 0.9)], &[100.0, 100.0], &[1.0; 2]);
    let cheap = Foresight {
        offered_family_rps: [("f".into(), trace(&[1.0; 2])), ("g".into(), trace(&[1.0; 2]))].into(),
        ..options.foresight.take().unwrap()
    };
    options.foresight = Some(cheap);
    options.families.insert("g".into(), variants(&[(1.0, 0.8), (2.0, 0.9)]));
    let least = 2.0 * 3600.0 / 3.6e6 * 100.0;
    // What is left over the least is enough for all of g's better variant and half of f's.
    options.oracle_carbon.carbon_budget_grams = Some(least + 3600.0 / 3.6e6 * 100.0 * 2.0);
    let oracle = OracleCarbon::new(&options).unwrap();
    assert!((oracle.plans()["g"].mean_quality.unwrap() - 0.9).abs() < 1e-9);
    assert!((oracle.plans()["f"].mean_quality.unwrap() - 0.85).abs() < 1e-9);
}

prop_compose! {
    fn problem(most_pieces: usize)(pieces in 2..=most_pieces)(
        figures in prop::collection::vec((0.1f64..5.0, 0.1f64..1.0), 1..4),
        intensities in prop::collection::vec(prop_oneof![Just(0.0), 1.0f64..800.0], pieces),
        loads in prop::collection::vec(0.1f64..10.0, pieces),
        want in 0.0f64..=1.0,
    ) -> (Vec<(f64, f64)>, Vec<f64>, Vec<f64>, f64) {
        (figures, intensities, loads, want)
    }
}

proptest! {
    #[test]
    fn no_choice_by_whole_pieces_does_better_and_the_plan_is_less_than_one_step_from_one(
        (figures, intensities, loads, want) in problem(5),
    ) {
        let options = options(&figures, &intensities, &loads);
        let best_quality = figures.iter().map(|one| one.1).fold(0.0, f64::max);
        let floor = best_quality * want;
        let plan = floor_plan(&options, floor).unwrap();
        prop_assert!(plan.mean_quality.unwrap() >= floor - 1e-9);
        let (count, pieces) = (figures.len(), intensities.len());
        let mut least = f64::INFINITY;
        let mut best_for_grams = 0.0f64;
        for code in 0..count.pow(pieces as u32) {
            let choice = |piece: usize| code / count.pow(piece as u32) % count;
            let (grams, quality) = outcome(&figures, &intensities, &loads, choice);
            if quality >= floor { least = least.min(grams) }
            if grams <= plan.grams.get() { best_for_grams = best_for_grams.max(quality) }
        }
        prop_assert!(plan.grams.get() <= least + 1e-9 * least.max(1.0));
        // The other way round: for the grams of the plan, no choice is of better quality than the plan for them.
        let same = budget_plan(&options, plan.grams.get()).unwrap();
        prop_assert!(same.grams.get() <= plan.grams.get() * (1.0 + 1e-9) + 1e-12);
        prop_assert!(same.mean_quality.unwrap() >= best_for_grams.max(plan.mean_quality.unwrap()) - 1e-9);
        let rows = |piece: usize| loads[piece] * PIECE_SECONDS as f64;
        let dearest = figures.iter().map(|one| one.0).fold(0.0, f64::max);
        let largest_step = (0..pieces).map(|piece| rows(piece) * dearest / 3.6e6 * intensities[piece]);
        prop_assert!(least <= plan.grams.get() + largest_step.fold(0.0, f64::max) + 1e-9);
    }

    /// Weak duality: for any price of quality, grams less what the price pays for quality beyond the
    /// floor is a lower bound of any schedule, however fine. The best price closes the gap.
    #[test]
    fn a_price_of_quality_proves_that_no_finer_schedule_does_better(
        (figures, intensities, loads, want) in problem(12),
    ) {
        let least_quality = figures.iter().map(|one| one.1).fold(1.0, f64::min);
        let best_quality = figures.iter().map(|one| one.1).fold(0.0, f64::max);
        let floor = least_quality + (best_quality - least_quality) * want;
        let plan = floor_plan(&options(&figures, &intensities, &loads), floor).unwrap();
        let bound = |price: f64| {
            let piece = |(intensity, load): (&f64, &f64)| {
                let rows = load * PIECE_SECONDS as f64;
                let one = |(joules, quality): &(f64, f64)| {
                    rows * (joules / 3.6e6 * intensity - price * (quality - floor))
                };
                figures.iter().map(one).fold(f64::INFINITY, f64::min)
            };
            intensities.iter().zip(&loads).map(piece).sum::<f64>()
        };
        // The bound is concave and bends at the prices of steps: one of those is the best.
        let mut prices = vec![0.0];
        for intensity in &intensities {
            for a in &figures {
                for b in &figures {
                    prices.push(intensity * (b.0 - a.0) / (b.1 - a.1) / 3.6e6);
                }
            }
        }
        let lawful = prices.into_iter().filter(|price| price.is_finite() && *price >= 0.0);
        let best = lawful.map(bound).fold(f64::NEG_INFINITY, f64::max);
        let grams = plan.grams.get();
        prop_assert!((grams - best).abs() <= 1e-6 * grams.max(1e-3), "{} grams, bound {}", grams, best);
    }

    #[test]
    fn it_never_emits_more_than_carbon_adaptive_at_the_same_mean_quality(
        (figures, intensities, loads, _) in problem(24),
    ) {
        let options = options(&figures, &intensities, &loads);
        let mut policy = CarbonAdaptive::new(Direction::LowIsLarge, &options).unwrap();
        let mut active = 0;
        let mut choices = Vec::new();
        for (piece, intensity) in intensities.iter().enumerate() {
            let seconds = Duration::from_secs(piece as u64 * PIECE_SECONDS);
            let seen = Observation {
                now: Timestamp::from_duration(seconds),
                power_cap: None,
                power_cap_ahead: Vec::new(),
                carbon_intensity_age: None,
                carbon_intensity_ahead: Vec::new(),
                carbon_intensity: Some(CarbonIntensity::new(*intensity)),
                devices: Vec::new(),
                models: Vec::new(),
                families: vec![FamilyObservation {
                    name: "f".into(),
                    variants: options.families["f"].iter().map(|one| one.model.clone()).collect(),
                    active: format!("v{active}").into(),
                    arrived_rows: 0,
                }],
            };
            if let Some(chosen) = policy.decide(&seen).variants.get("f") {
                active = options.families["f"].iter().position(|one| one.model == *chosen).unwrap();
            }
            choices.push(active);
        }
        let (grams, quality) = outcome(&figures, &intensities, &loads, |piece| choices[piece]);
        let plan = floor_plan(&options, quality * (1.0 - 1e-12)).unwrap();
        prop_assert!(plan.grams.get() <= grams * (1.0 + 1e-9) + 1e-12, "{:?} against {}", plan.grams, grams);
    }
}
