//! The choice fits the cap as far as is known, and what is known grows with what is seen.

mod device;
mod noise;

use proptest::prelude::*;

use super::*;
use crate::knob::ServingSetting;
use crate::operating_point::{Confidence, ProfileRow};
use crate::policies::plant::{Plant, TICK, model};
use crate::profile::{Conditions, ProfileHead};
use crate::provenance::Basis;

const IDLE: f64 = 20.0;

/// Batch size, instances, duty cycle, rows per second, power.
type Figures = (u32, u32, f64, f64, f64);

fn row((batch_size, instances, duty_cycle, rps, watts): Figures) -> ProfileRow {
    ProfileRow {
        point: OperatingPoint {
            duty_cycle: Some(duty_cycle),
            ..OperatingPoint::of_batch_and_instances(batch_size, instances)
        },
        throughput_rps: Some(rps),
        latency_ms_mean: None,
        latency_ms_p50: None,
        latency_ms_p95: None,
        latency_ms_p99: None,
        power_watts_mean: None,
        power_watts_p95: None,
        power_watts_max: Some(Watts::new(watts)),
        energy_joules_per_row: None,
        memory_bytes: None,
        basis: Basis::Measured,
        power_basis: Basis::Measured,
        samples: 1,
        confidence: Confidence::default(),
    }
}

fn profile(idle: Option<f64>, rows: impl IntoIterator<Item = ProfileRow>) -> Profile {
    let head = ProfileHead {
        model: "m".into(),
        device: "test".into(),
        runtime: "test".into(),
        idle_power_watts: idle.map(Watts::new),
        request_overhead_ms: None,
        quality: None,
        power_source: "test".into(),
        created: None,
        notes: None,
        conditions: Conditions::default(),
    };
    Profile { head, rows: rows.into_iter().collect() }
}

const ROWS: [Figures; 6] = [
    (1, 1, 0.5, 5.0, 30.0),
    (1, 1, 1.0, 10.0, 40.0),
    (1, 2, 1.0, 18.0, 60.0),
    (4, 1, 1.0, 30.0, 70.0),
    (8, 1, 1.0, 45.0, 90.0),
    (8, 2, 1.0, 60.0, 120.0),
];

fn policy(approach: Approach, names: &[&str]) -> BestUnderCap {
    let profiles = names.iter().map(|name| ((*name).into(), profile(Some(IDLE), ROWS.map(row)))).collect();
    BestUnderCap::new(approach, &BestUnderCapOptions::default(), &profiles)
}

/// Power as the profile says, times `factor` above idle; a parked model draws nothing.
fn power_of(settings: &[ServingSetting], factor: f64) -> f64 {
    let dynamic = |setting: &ServingSetting| {
        let of_setting = |row: &&Figures| {
            (row.0, row.1, row.2) == (setting.batch_size, setting.instances, setting.duty_cycle)
        };
        ROWS.iter().find(of_setting).map_or(0.0, |row| (row.4 - IDLE) * factor)
    };
    IDLE + settings.iter().map(dynamic).sum::<f64>()
}

fn plant(names: &[&str], factor: f64) -> Plant {
    Plant::new(names.iter().map(|name| model(name, 64)).collect(), move |settings| power_of(settings, factor))
}

fn setting(plant: &Plant, index: usize) -> (u32, u32, f64) {
    let setting = plant.models[index].setting;
    (setting.batch_size, setting.instances, setting.duty_cycle)
}

#[test]
fn each_approach_takes_the_best_of_its_rows_under_the_cap() {
    let check = |approach, cap, expected: Option<(u32, u32, f64)>| {
        let mut plant = plant(&["m"], 1.0);
        plant.cap = Some(cap);
        let decision = plant.tick(&mut policy(approach, &["m"]));
        match expected {
            Some(expected) => assert_eq!(setting(&plant, 0), expected, "{approach:?} at {cap} W"),
            None => {
                assert_eq!(plant.models[0].setting.instances, 0, "{approach:?} at {cap} W");
                assert!(matches!(decision.reasons[0].1, Reason::Parked { .. }));
            }
        }
    };
    check(Approach::MultiTenant, 300.0, Some((1, 2, 1.0)));
    check(Approach::MultiTenant, 59.0, Some((1, 1, 1.0)));
    check(Approach::MultiTenant, 39.0, Some((1, 1, 0.5)));
    check(Approach::MultiTenant, 29.0, None);
    check(Approach::Batching, 300.0, Some((8, 1, 1.0)));
    check(Approach::Batching, 89.0, Some((4, 1, 1.0)));
    check(Approach::Combination, 300.0, Some((8, 2, 1.0)));
    check(Approach::Combination, 69.0, Some((1, 2, 1.0)));
    check(Approach::Combination, 0.0, None);
}

#[test]
fn models_with_traffic_share_what_the_cap_leaves_above_idle() {
    let mut plant = plant(&["a", "b", "c"], 1.0);
    plant.models[1].setting.instances = 0;
    plant.models[2].setting.instances = 0; // so that it draws nothing either
    plant.models[1].arrived_rows = 0;
    plant.models[1].queued_rows = 0;
    plant.models[1].running_batches = 0;
    plant.cap = Some(120.0);
    let mut policy = policy(Approach::Combination, &["a", "b"]);
    let decision = plant.tick(&mut policy);
    assert_eq!(setting(&plant, 0), (8, 2, 1.0), "alone with traffic and a profile");
    let names: Vec<&str> = decision.reasons.iter().map(|(_, reason)| reason.name()).collect();
    assert_eq!(names, ["best_under_cap", "no_traffic", "no_profile"]);
    assert_eq!(setting(&plant, 1), (4, 0, 1.0), "left alone");

    plant.models[1].queued_rows = 1;
    plant.tick(&mut policy);
    assert_eq!([setting(&plant, 0), setting(&plant, 1)], [(4, 1, 1.0), (4, 1, 1.0)], "50 W each above idle");
}

#[test]
fn points_that_the_server_cannot_set_are_passed_over() {
    let mut plant = plant(&["m"], 1.0);
    plant.cap = Some(300.0);
    plant.models[0].limits.max_instances = 1;
    plant.models[0].limits.max_batch_size = 4;
    plant.tick(&mut policy(Approach::Combination, &["m"]));
    assert_eq!(setting(&plant, 0), (4, 1, 1.0));
    let mut at_600_mhz = row(ROWS[0]);
    at_600_mhz.point.core_clock_mhz = Some(crate::units::Megahertz::new(600.0));
    let profiles = [("m".into(), profile(None, [at_600_mhz]))].into();
    let mut policy = BestUnderCap::new(Approach::Combination, &BestUnderCapOptions::default(), &profiles);
    assert_eq!(plant.tick(&mut policy).reasons[0].1, Reason::NoProfile);
}

#[test]
fn a_violation_lowers_the_next_choice_at_once_and_is_remembered() {
    let mut plant = plant(&["m"], 1.4);
    plant.cap = Some(92.0); // the profile says 90 W for (8, 1), in truth 118 W; (4, 1) draws 90 W
    let mut policy = policy(Approach::Combination, &["m"]);
    plant.tick(&mut policy);
    assert_eq!(setting(&plant, 0), (8, 1, 1.0));
    plant.tick(&mut policy);
    assert_eq!(setting(&plant, 0), (4, 1, 1.0));
    let over: usize = (0..3000)
        .filter(|_| {
            plant.tick(&mut policy);
            plant.power() > 92.0
        })
        .count();
    assert!(over <= 8, "in five minutes the point was tried again {over} times");
}

#[test]
fn the_further_over_the_cap_the_further_down_at_once() {
    let mut plant = plant(&["m"], 20.0);
    plant.cap = Some(300.0);
    let mut policy = policy(Approach::Combination, &["m"]);
    plant.tick(&mut policy);
    assert_eq!(plant.power(), 2020.0);
    plant.tick(&mut policy);
    assert_eq!(setting(&plant, 0), (1, 1, 0.5), "220 W; all other points are over");
}

#[test]
fn one_sample_that_is_over_costs_two_seconds_however_often_that_happens() {
    let mut plant = plant(&["m"], 1.0);
    plant.cap = Some(92.0);
    // One of 150 samples, 15 s apart, is 10 % too high.
    plant.noise = [vec![1.0; 149], vec![1.1]].concat();
    let mut policy = policy(Approach::Combination, &["m"]);
    plant.tick(&mut policy);
    let below = (0..3000).filter(|_| {
        plant.tick(&mut policy);
        setting(&plant, 0) != (8, 1, 1.0)
    });
    let below = below.count();
    assert!((20 * 18..=20 * 22).contains(&below), "{below} of 3000 ticks");
}

#[test]
fn the_reading_of_the_setting_before_is_not_held_against_the_new_one() {
    let mut plant = plant(&["m"], 1.0);
    plant.sample_lag = TICK / 2;
    plant.cap = Some(120.0);
    let mut policy = policy(Approach::Combination, &["m"]);
    plant.run(&mut policy, 20);
    plant.cap = Some(70.0);
    for _ in 0..30 {
        plant.tick(&mut policy);
        assert_eq!(plant.power(), 70.0, "120 W at a cap of 70 W is the old point's");
    }
}

#[test]
fn going_up_waits_for_the_dwell_unless_the_cap_rose() {
    let mut policy = policy(Approach::Combination, &["a", "b"]);
    let mut plant = plant(&["a", "b"], 1.0);
    plant.cap = Some(120.0);
    plant.tick(&mut policy);
    assert_eq!(setting(&plant, 0), (4, 1, 1.0));
    plant.models[1].limits.max_batch_size = 0; // b can take no row any more: its share is free
    plant.models[1].setting.instances = 0;
    plant.tick(&mut policy);
    assert_eq!(setting(&plant, 0), (4, 1, 1.0), "too young");
    plant.run(&mut policy, 10);
    assert_eq!(setting(&plant, 0), (8, 2, 1.0));
    plant.cap = Some(50.0);
    plant.tick(&mut policy);
    assert_eq!(setting(&plant, 0), (1, 1, 1.0), "down at once");
    plant.cap = Some(95.0);
    plant.tick(&mut policy);
    assert_eq!(setting(&plant, 0), (8, 1, 1.0), "the cap rose");
}

#[test]
fn a_model_whose_batch_still_runs_keeps_its_share() {
    let mut plant = plant(&["a", "b"], 1.0);
    plant.cap = Some(120.0);
    let mut policy = policy(Approach::Combination, &["a", "b"]);
    plant.tick(&mut policy);
    for model in &mut plant.models[..1] {
        (model.arrived_rows, model.queued_rows, model.executed_batches, model.running_batches) = (0, 0, 0, 1);
    }
    plant.run(&mut policy, 30);
    assert_eq!([setting(&plant, 0), setting(&plant, 1)], [(4, 1, 1.0), (4, 1, 1.0)], "50 W each above idle");
}

#[test]
fn below_idle_power_nothing_runs_though_a_row_lies_there() {
    let mut below = row(ROWS[0]);
    below.power_watts_max = Some(Watts::new(IDLE - 1.0));
    let profiles = [("m".into(), profile(Some(IDLE), [below]))].into();
    let mut policy = BestUnderCap::new(Approach::Combination, &BestUnderCapOptions::default(), &profiles);
    let mut plant = plant(&["m"], 1.0);
    plant.cap = Some(IDLE - 5.0);
    plant.tick(&mut policy);
    assert_eq!(plant.models[0].setting.instances, 0);
}

#[test]
fn says_so_when_even_parked_models_leave_power_over_the_cap() {
    let mut plant = plant(&["m"], 1.0);
    plant.cap = Some(10.0);
    let decisions = plant.run(&mut policy(Approach::Combination, &["m"]), 30);
    let names: Vec<&str> =
        decisions.last().unwrap().reasons.iter().map(|(_, reason)| reason.name()).collect();
    assert_eq!(names, ["parked", "cap_unreachable"]);
}

fn any_rows() -> impl Strategy<Value = Vec<Figures>> {
    let row = (1u32..64, 1u32..8, prop_oneof![Just(1.0), 0.1..1.0f64], 0.0..1e4f64, IDLE..300.0f64);
    proptest::collection::vec(row, 1..30)
}

proptest! {
    #[test]
    fn what_is_chosen_fits_the_cap_and_a_model_is_parked_only_if_nothing_fits(
        rows_of_models in proptest::collection::vec(any_rows(), 1..4),
        caps in proptest::collection::vec(0.0..400.0f64, 1..40),
        factor in 0.5..5.0f64,
        approach in prop_oneof![Just(Approach::MultiTenant), Just(Approach::Batching), Just(Approach::Combination)],
    ) {
        let names: Vec<String> = (0..rows_of_models.len()).map(|i| format!("m{i}")).collect();
        let profiles: BTreeMap<ModelName, Profile> = names
            .iter()
            .zip(&rows_of_models)
            .map(|(name, rows)| (name.as_str().into(), profile(Some(IDLE), rows.iter().copied().map(row))))
            .collect();
        let run = || -> Result<Vec<Decision>, TestCaseError> {
            let mut policy = BestUnderCap::new(approach, &BestUnderCapOptions::default(), &profiles);
            let all_rows = rows_of_models.clone();
            let models = names.iter().map(|name| model(name, 64)).collect();
            let mut plant = Plant::new(models, move |settings| {
                let dynamic = |(rows, setting): (&Vec<Figures>, &ServingSetting)| {
                    let at = |r: &&Figures| (r.0, r.1, r.2) == (setting.batch_size, setting.instances, setting.duty_cycle);
                    rows.iter().find(at).map_or(0.0, |row| (row.4 - IDLE) * factor)
                };
                IDLE + all_rows.iter().zip(settings).map(dynamic).sum::<f64>()
            });
            let mut decisions = Vec::new();
            let mut seen_over = false;
            for cap in &caps {
                plant.cap = Some(*cap);
                seen_over |= plant.power() > *cap;
                let decision = plant.tick(&mut policy);
                let mut predicted = IDLE;
                for (_, reason) in &decision.reasons {
                    match reason {
                        Reason::BestUnderCap { predicted_watts, .. } => {
                            predicted += predicted_watts.get() - IDLE;
                        }
                        // Parked only when the least hungry point does not fit either, or when it
                        // did not a moment ago and the cap has not risen since.
                        Reason::Parked { bound_watts, least_watts, .. } => {
                            let parked_before = plant.models.iter().any(|m| m.setting.instances == 0);
                            prop_assert!(least_watts >= bound_watts || (seen_over && parked_before));
                        }
                        _ => {}
                    }
                }
                let chosen = decision.reasons.iter().any(|(_, r)| matches!(r, Reason::BestUnderCap { .. }));
                prop_assert!(!chosen || predicted <= cap + 1e-6, "{predicted} W over {cap} W");
                decisions.push(decision);
            }
            Ok(decisions)
        };
        prop_assert_eq!(run()?, run()?, "the same observations, the same decisions");
    }
}
