//! The price is the dual of the linear program; floor and budget are kept; what is unknown is told.

use proptest::prelude::*;

use super::*;
use crate::foresight::Foresight;
use crate::policies::oracle_carbon::OracleCarbon;
use crate::signal::{AfterEnd, Signal, Trace};
use crate::units::Joules;

/// Jung, Table 1: the ResNets, millijoules of one inference and error in percent.
const RESNETS: [(&str, f64, f64); 4] = [
    ("resnet34", 359.9321833, 8.58),
    ("resnet50", 420.6213298, 7.138),
    ("resnet101", 803.0948846, 6.454),
    ("resnet152", 1238.147188, 5.954),
];
const HALF_HOUR: u64 = 1800;
const A_DAY: usize = 48;

fn variants() -> Vec<Variant> {
    let variant = |(name, millijoules, error): &(&str, f64, f64)| Variant {
        model: (*name).into(),
        energy_joules_per_row: Joules::new(millijoules / 1e3),
        quality: 1.0 - error / 100.0,
    };
    RESNETS.iter().map(variant).collect()
}

fn options(set: impl FnOnce(&mut CarbonBudgetOptions)) -> PolicyOptions {
    let mut options =
        PolicyOptions { families: [("resnet".into(), variants())].into(), ..PolicyOptions::default() };
    set(&mut options.carbon_budget);
    options
}

fn floor(floor: f64, days: u32) -> PolicyOptions {
    options(|of| (of.quality_floor, of.period_days) = (Some(floor), Some(days)))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_duration(Duration::from_secs(seconds))
}

fn seen(seconds: u64, intensity: Option<f64>, active: &str, rows: u64) -> Observation {
    let mut names: Vec<ModelName> = RESNETS.iter().map(|(name, ..)| (*name).into()).collect();
    names.sort();
    Observation {
        now: at(seconds),
        power_cap: None,
        power_cap_ahead: Vec::new(),
        carbon_intensity: intensity.map(CarbonIntensity::new),
        carbon_intensity_age: None,
        carbon_intensity_ahead: Vec::new(),
        devices: Vec::new(),
        models: Vec::new(),
        families: vec![FamilyObservation {
            name: "resnet".into(),
            variants: names,
            active: active.into(),
            arrived_rows: rows,
        }],
    }
}

/// What a run came to.
#[derive(Debug, Default)]
struct Ran {
    rows: f64,
    quality: f64,
    grams: f64,
    /// Grams of each day.
    by_day: Vec<f64>,
    active: Vec<String>,
}

impl Ran {
    fn mean(&self) -> f64 {
        self.quality / self.rows
    }
}

/// Half hours of an intensity, if known, and of rows, each shown to `policy` when it is over.
fn run(policy: &mut CarbonBudget, course: &[(Option<f64>, u64)], true_intensity: &[f64]) -> Ran {
    let mut ran = Ran::default();
    let mut active = "resnet50".to_owned();
    let mut before = 0;
    for (slot, ((intensity, rows), grams_per_kwh)) in course.iter().zip(true_intensity).enumerate() {
        let decision = policy.decide(&seen(slot as u64 * HALF_HOUR, *intensity, &active, before));
        assert!(!decision.reasons.is_empty());
        if let Some(variant) = decision.variants.get("resnet") {
            assert_ne!(variant.as_str(), active, "a switch to what serves already");
            active = variant.as_str().to_owned();
        }
        let of = variants().into_iter().find(|variant| variant.model.as_str() == active).unwrap();
        let grams = (of.energy_joules_per_row * *rows as f64 * CarbonIntensity::new(*grams_per_kwh)).get();
        if slot % A_DAY == 0 {
            ran.by_day.push(0.0);
        }
        *ran.by_day.last_mut().unwrap() += grams;
        ran.rows += *rows as f64;
        ran.quality += of.quality * *rows as f64;
        ran.grams += grams;
        ran.active.push(active.clone());
        before = *rows;
    }
    ran
}

/// Intensity that is known at all times.
fn run_known(policy: &mut CarbonBudget, course: &[(f64, u64)]) -> Ran {
    let known: Vec<_> = course.iter().map(|(intensity, rows)| (Some(*intensity), *rows)).collect();
    run(policy, &known, &course.iter().map(|(intensity, _)| *intensity).collect::<Vec<_>>())
}

/// Days of a sun that makes noon clean, all the same but for `weather`.
fn days(count: usize, weather: impl Fn(usize) -> f64) -> Vec<(f64, u64)> {
    let slot = |index: usize| {
        let hour = (index % A_DAY) as f64 / 2.0;
        let sun = (std::f64::consts::PI * (hour - 6.0) / 12.0).sin().max(0.0);
        let load = 1000.0 * (1.0 + 0.3 * (std::f64::consts::TAU * (hour - 20.0) / 24.0).cos());
        ((300.0 - 200.0 * sun) * weather(index / A_DAY), load as u64)
    };
    (0..count * A_DAY).map(slot).collect()
}

/// Grams of the best plan with foresight, with at least `quality`.
fn least_grams(course: &[(f64, u64)], quality: f64) -> f64 {
    let trace = |of: &dyn Fn(&(f64, u64)) -> f64| {
        let points =
            course.iter().zip(0..).map(|(slot, index)| (Duration::from_secs(index * HALF_HOUR), of(slot)));
        Signal::Trace(Trace::new(points.collect(), AfterEnd::Unknown).unwrap())
    };
    let mut options = options(|_| ());
    options.foresight = Some(Foresight {
        carbon_intensity: Some(trace(&|slot| slot.0)),
        offered_family_rps: [("resnet".into(), trace(&|slot| slot.1 as f64 / HALF_HOUR as f64))].into(),
        ..Foresight::default()
    });
    options.oracle_carbon.quality_floor = Some(quality);
    OracleCarbon::new(&options).unwrap().plans()["resnet"].grams.get()
}

#[test]
fn on_days_like_each_other_it_is_within_a_percent_of_the_least_possible() {
    let course = days(14, |_| 1.0);
    for quality in [0.925, 0.93, 0.935, 0.938] {
        let ran = run_known(&mut CarbonBudget::new(&floor(quality, 14)).unwrap(), &course);
        // But for half an hour of another variant.
        assert!(ran.mean() >= quality - 0.026 / course.len() as f64, "{} {quality}", ran.mean());
        let least = least_grams(&course, ran.mean() - 1e-9);
        assert!(ran.grams < least * 1.01, "{quality}: {} {least}", ran.grams);
    }
}

#[test]
fn weather_that_changes_costs_little() {
    let course = days(28, |day| [1.0, 0.7, 1.3, 1.1, 0.6, 0.9][day * 5 % 6]);
    let quality = 0.933;
    let mut policy = CarbonBudget::new(&floor(quality, 28)).unwrap();
    let ran = run_known(&mut policy, &course);
    let least = least_grams(&course, ran.mean() - 1e-9);
    assert!(ran.grams < least * 1.02, "{} {least}", ran.grams);
}

#[test]
fn the_forecast_is_believed_where_there_is_one() {
    // Two families of days: seen so far was dirt, and the rest of the period will be clean.
    let mut policy = CarbonBudget::new(&floor(0.93, 2)).unwrap();
    let mut told = CarbonBudget::new(&floor(0.93, 2)).unwrap();
    let chosen = |policy: &mut CarbonBudget, ahead: &[(Timestamp, CarbonIntensity)]| {
        let mut last = None;
        for slot in 0..48 {
            let mut seen = seen(slot * HALF_HOUR, Some(300.0), "resnet50", 1000);
            seen.carbon_intensity_ahead = ahead.to_vec();
            last = policy.decide(&seen).reasons.pop().and_then(|(variant, _)| variant);
        }
        last.unwrap()
    };
    let clean =
        [(at(48 * HALF_HOUR), CarbonIntensity::new(20.0)), (at(90 * HALF_HOUR), CarbonIntensity::new(21.0))];
    assert_eq!(chosen(&mut told, &clean).as_str(), "resnet34", "quality is cheaper tomorrow");
    assert_ne!(chosen(&mut policy, &[]).as_str(), "resnet34");
}

#[test]
fn under_an_intensity_that_never_changes_two_neighbours_share_the_time() {
    let course = vec![(200.0, 1000); 7 * A_DAY];
    let quality = 0.933;
    let ran = run_known(&mut CarbonBudget::new(&floor(quality, 7)).unwrap(), &course);
    assert!(ran.active.iter().all(|name| ["resnet50", "resnet101"].contains(&name.as_str())));
    assert!((ran.mean() - quality).abs() < 1e-4, "{}", ran.mean());
    // Every day has its share, not the last one alone.
    let better = |day: &[String]| day.iter().filter(|name| *name == "resnet101").count();
    for day in ran.active.chunks(A_DAY) {
        assert!((28..=34).contains(&better(day)), "{}", better(day));
    }
}

#[test]
fn missing_quality_is_carried_into_the_next_period_and_surplus_is_not() {
    let mut policy = CarbonBudget::new(&floor(0.93, 1)).unwrap();
    // Somebody else holds the worst variant all day long.
    for slot in 0..=A_DAY as u64 {
        policy.decide(&seen(slot * HALF_HOUR, Some(200.0), "resnet34", 1000));
    }
    let debt = policy.families["resnet"].debt;
    assert!((debt - 48_000.0 * (0.93 - 0.9142)).abs() < 1e-6, "{debt}");
    for slot in 49..=96 {
        policy.decide(&seen(slot * HALF_HOUR, Some(200.0), "resnet152", 1000));
    }
    let left = debt - 48_000.0 * (0.94046 - 0.93);
    assert!((policy.families["resnet"].debt - left).abs() < 1e-6);
    for slot in 97..=144 {
        policy.decide(&seen(slot * HALF_HOUR, Some(200.0), "resnet152", 1000));
    }
    assert_eq!(policy.families["resnet"].debt, 0.0);
}

#[test]
fn a_budget_of_each_day_is_kept_and_nearly_spent() {
    let course = days(10, |day| [1.0, 0.8, 1.2][day % 3]);
    // Between all least and all best.
    let budget = |share: f64| {
        let of = |variant: &Variant| -> f64 {
            let joules = |rows: u64| variant.energy_joules_per_row * rows as f64;
            course
                .iter()
                .map(|(intensity, rows)| (joules(*rows) * CarbonIntensity::new(*intensity)).get())
                .sum()
        };
        let all = variants();
        (of(&all[0]) * (1.0 - share) + of(&all[3]) * share) / 10.0
    };
    let grams = budget(0.5);
    let mut policy = CarbonBudget::new(&options(|of| of.carbon_budget_grams_per_day = Some(grams))).unwrap();
    let ran = run_known(&mut policy, &course);
    let half_hour = course.iter().map(|(intensity, rows)| *rows as f64 * 1.238147188 / 3.6e6 * intensity);
    let most = half_hour.fold(0.0, f64::max);
    for (day, spent) in ran.by_day.iter().enumerate().skip(1) {
        assert!(*spent <= grams + most, "day {day}: {spent} of {grams}");
        assert!(*spent >= grams - 2.0 * most, "day {day}: {spent} of {grams}");
    }
    // And quality is near the best possible for those grams: the plan for its quality emits as much.
    assert!(least_grams(&course, ran.mean() - 1e-9) > ran.grams * 0.97);
}

#[test]
fn a_spent_budget_leaves_the_least_energy_until_the_next_day() {
    let mut policy = CarbonBudget::new(&options(|of| of.carbon_budget_grams_per_day = Some(1.0))).unwrap();
    policy.decide(&seen(0, Some(300.0), "resnet152", 0));
    let decision = policy.decide(&seen(HALF_HOUR, Some(300.0), "resnet152", 100_000));
    assert_eq!(decision.variants["resnet"].as_str(), "resnet34");
    assert_eq!(decision.reasons[0].1.name(), "carbon_budget_spent");
    assert!(decision.reasons[0].1.to_string().contains("budget 1.0 gCO2e, spent 10.3"), "{decision:?}");
    let decision = policy.decide(&seen(86_400, Some(300.0), "resnet34", 0));
    assert_eq!(decision.reasons[0].1.name(), "variant_by_price", "a new day");
}

#[test]
fn without_a_fresh_intensity_the_floor_is_kept_and_the_reason_says_so() {
    let mut policy = CarbonBudget::new(&floor(0.93, 1)).unwrap();
    let decision = policy.decide(&seen(0, None, "resnet34", 0));
    assert_eq!(decision.variants["resnet"].as_str(), "resnet101", "the least that is above the floor alone");
    assert_eq!(decision.reasons[0].1.name(), "variant_without_intensity");
    let mut old = seen(60, Some(100.0), "resnet101", 10);
    old.carbon_intensity_age = Some(Duration::from_secs(7201));
    let reason = policy.decide(&old).reasons.remove(0).1.to_string();
    assert!(reason.contains("carbon intensity is 7201 s old"), "{reason}");

    let course: Vec<_> =
        days(3, |_| 1.0).into_iter().map(|(of, rows)| ((of < 200.0).then_some(of), rows)).collect();
    let truth: Vec<f64> = days(3, |_| 1.0).iter().map(|(of, _)| *of).collect();
    let mut policy = CarbonBudget::new(&floor(0.932, 3)).unwrap();
    let ran = run(&mut policy, &course, &truth);
    assert!(ran.mean() >= 0.932 - 0.026 / 144.0, "{}", ran.mean());
}

#[test]
fn a_switch_that_gains_too_little_or_comes_too_soon_is_not_made() {
    let course = days(7, |_| 1.0);
    let switches = |set: &dyn Fn(&mut CarbonBudgetOptions)| {
        let options = options(|of| {
            (of.quality_floor, of.period_days) = (Some(0.932), Some(7));
            set(of);
        });
        let ran = run_known(&mut CarbonBudget::new(&options).unwrap(), &course);
        assert!(ran.mean() >= 0.932 - 1e-3, "{}", ran.mean());
        ran.active.windows(2).filter(|pair| pair[0] != pair[1]).count()
    };
    let free = switches(&|_| ());
    let dear = switches(&|of| of.switch_cost_grams = 0.002);
    let slow = switches(&|of| of.dwell_seconds = 4.0 * 3600.0);
    assert!(dear < free && slow < free, "{free} {dear} {slow}");

    let mut policy =
        CarbonBudget::new(&options(|of| (of.quality_floor, of.switch_cost_grams) = (Some(0.93), 1e9)))
            .unwrap();
    policy.decide(&seen(0, Some(100.0), "resnet152", 10));
    let decision = policy.decide(&seen(60, Some(300.0), "resnet152", 10));
    assert!(decision.variants.is_empty());
    assert!(decision.reasons[0].1.to_string().contains("resnet: hold, "), "{decision:?}");
}

#[test]
fn periods_begin_with_days_and_the_first_is_cut_short() {
    let hours = |hours: u64| at(hours * 3600);
    let periods = Periods::new(7, Duration::from_secs(10 * 3600));
    assert_eq!(periods.at(hours(0)), Period { start: hours(0), end: hours(6 * 24 + 10) });
    assert_eq!(periods.at(hours(154)), Period { start: hours(154), end: hours(154 + 168) });
    assert_eq!(periods.at(hours(500)).start, hours(154 + 2 * 168));
    let days = Periods::new(1, Duration::ZERO);
    assert_eq!(days.at(hours(25)), Period { start: hours(24), end: hours(48) });
    assert!((periods.at(hours(1)).days() - (6.0 + 10.0 / 24.0)).abs() < 1e-12);
}

#[test]
fn options_out_of_their_range_are_told_with_what_is_expected() {
    let error = |set: &dyn Fn(&mut CarbonBudgetOptions)| {
        CarbonBudget::new(&options(|of| {
            of.quality_floor = Some(0.93);
            set(of);
        }))
        .unwrap_err()
        .to_string()
    };
    assert!(
        error(&|of| of.quality_floor = None).contains("quality_floor is not set, expected a mean quality")
    );
    assert!(error(&|of| of.quality_floor = Some(1.1)).contains("0 to 1"));
    assert!(error(&|of| of.quality_floor = Some(0.95)).contains("the best variant of every family"));
    assert!(
        error(&|of| of.carbon_budget_grams_per_day = Some(1.0)).contains("nothing, beside quality_floor")
    );
    assert!(error(&|of| of.period_days = Some(0)).contains("1 to 366"));
    assert!(error(&|of| of.history_days = 400).contains("carbon_budget.history_days is 400"));
    assert!(error(&|of| of.day_starts_at_seconds = Some(86_400.0)).contains("under 86400"));
    assert!(error(&|of| of.interval_seconds = 0.0).contains("over 0"));
    assert!(error(&|of| of.dwell_seconds = f64::NAN).contains("at least 0"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Weak duality, and no gap: what the price selects is the best plan for what it comes to.
    #[test]
    fn the_price_selects_the_best_plan_for_its_own_quality(
        course in prop::collection::vec((1.0f64..900.0, 1u64..5000), 2..60), share in 0.0f64..1.0,
    ) {
        let hull = lower_hull(&variants());
        let pieces: Vec<Piece> = course
            .iter()
            .map(|(intensity, rows)| Piece { intensity: CarbonIntensity::new(*intensity), rows: *rows as f64 })
            .collect();
        let rows: f64 = pieces.iter().map(|piece| piece.rows).sum();
        let wanted = 0.9142 + share * (0.94046 - 0.9142);
        let price = Price::of(&[Expected { hull: &hull, pieces: &pieces }], Limit::Quality(wanted * rows));
        let (mut quality, mut grams) = (0.0, 0.0);
        for piece in &pieces {
            let reach = price.reach(&hull, piece.intensity);
            let share = if reach.is_next_at_price { price.share } else { 0.0 };
            for (place, share) in [(reach.sure, 1.0 - share), (reach.sure + 1, share)] {
                let Some(variant) = hull.get(place) else { continue };
                quality += piece.rows * variant.quality * share;
                grams += (variant.energy_joules_per_row * piece.rows * piece.intensity).get() * share;
            }
        }
        prop_assert!((quality / rows - wanted).abs() < 1e-9, "{} {wanted}", quality / rows);
        let least = least_grams(&course, wanted - 1e-12);
        prop_assert!((grams / least - 1.0).abs() < 1e-6, "{grams} {least}");
        // The same price keeps these grams as a budget.
        let budget = Price::of(&[Expected { hull: &hull, pieces: &pieces }], Limit::Grams(grams));
        prop_assert!((budget.grams - price.grams).abs() <= 1e-6 * price.grams || share < 1e-6);
    }

    #[test]
    fn no_input_breaks_it_and_what_it_chooses_serves(
        course in prop::collection::vec(
            (prop_oneof![Just(None), Just(Some(f64::NAN)), Just(Some(-1.0)), (0.0f64..900.0).prop_map(Some)],
             0u64..5000, 0u64..200_000, 0u64..20_000),
            1..40,
        ),
        by_floor in any::<bool>(), dwell in 0.0f64..4000.0, cost in 0.0f64..1.0, day_start in 0.0f64..86_000.0,
    ) {
        let options = options(|of| {
            if by_floor { of.quality_floor = Some(0.93) } else { of.carbon_budget_grams_per_day = Some(5.0) }
            (of.dwell_seconds, of.switch_cost_grams) = (dwell, cost);
            of.day_starts_at_seconds = Some(day_start);
            of.period_days = Some(1);
        });
        let mut policy = CarbonBudget::new(&options).unwrap();
        let (mut now, mut active) = (0, "resnet50".to_owned());
        for (intensity, rows, gap, age) in course {
            let mut seen = seen(now, intensity, &active, rows);
            seen.carbon_intensity_age = Some(Duration::from_secs(age));
            let ahead = CarbonIntensity::new(intensity.unwrap_or(50.0));
            seen.carbon_intensity_ahead = vec![(at(now + 60), ahead), (at(now + 4000), CarbonIntensity::new(7.0))];
            let decision = policy.decide(&seen);
            prop_assert!(decision.reasons.iter().all(|(_, reason)| !reason.to_string().is_empty()));
            prop_assert!(decision.ask_again_in <= Duration::from_secs(60));
            if let Some(variant) = decision.variants.get("resnet") {
                prop_assert!(seen.families[0].variants.contains(variant));
                active = variant.as_str().to_owned();
            }
            now += gap;
        }
    }
}
