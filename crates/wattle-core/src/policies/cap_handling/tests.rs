//! Proactive handling acts before a cap falls, reactive when it fell, and none at the slices only.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::policies::best_under_cap::{Approach, BestUnderCap, BestUnderCapOptions};
use crate::policies::plant::{Plant, TICK, model};
use crate::profile::Profile;

/// What the policy inside was shown, each time it was asked.
type Shown = Arc<Mutex<Vec<Observation>>>;

/// Turns nothing and remembers what it was shown.
struct Watcher(Shown);

impl Policy for Watcher {
    fn name(&self) -> &'static str {
        "watcher"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        self.0.lock().unwrap().push(seen.clone());
        Decision::keep(Reason::Fixed, Duration::from_secs(600))
    }
}

fn watched(options: CapHandlingOptions) -> (Box<dyn Policy>, Shown) {
    let shown = Shown::default();
    (around(Box::new(Watcher(shown.clone())), &options), shown)
}

fn of_mode(mode: CapHandlingMode) -> CapHandlingOptions {
    CapHandlingOptions { mode, ..CapHandlingOptions::default() }
}

fn plant(power: f64) -> Plant {
    Plant::new(vec![model("m", 64)], move |_| power)
}

fn caps(shown: &Shown) -> Vec<f64> {
    shown.lock().unwrap().iter().map(|seen| seen.power_cap.unwrap().get()).collect()
}

fn second(seconds: f64) -> Timestamp {
    Timestamp::from_duration(Duration::from_secs_f64(seconds))
}

#[test]
fn none_asks_once_a_slice_with_all_that_was_counted_and_no_power() {
    let options = CapHandlingOptions { time_slice_seconds: 1.0, ..of_mode(CapHandlingMode::None) };
    let (mut policy, shown) = watched(options);
    let mut plant = plant(500.0);
    for tick in 1..=25 {
        plant.cap = Some(f64::from(tick));
        let decision = plant.tick(policy.as_mut());
        let asked = matches!(tick, 1 | 10 | 20);
        assert_eq!(decision.reasons[0].1 == Reason::Fixed, asked, "tick {tick}: {decision:?}");
        if !asked {
            assert_eq!(decision.reasons[0].1.name(), "between_slices");
        }
        let next = plant.now + decision.ask_again_in;
        assert_eq!(next.as_nanos() % 1_000_000_000, 0);
    }
    assert_eq!(caps(&shown), [1.0, 10.0, 20.0], "the cap at the start of the slice");
    let shown = shown.lock().unwrap();
    assert!(shown.iter().all(|seen| seen.devices[0].power_samples.is_empty()));
    let counted: Vec<u64> = shown.iter().map(|seen| seen.models[0].arrived_rows).collect();
    assert_eq!(counted, [100, 900, 1000]);
    assert_eq!(shown[2].models[0].interval, TICK * 10);
}

#[test]
fn reactive_shows_everything_as_it_is() {
    let (mut policy, shown) = watched(of_mode(CapHandlingMode::Reactive));
    let mut plant = plant(50.0);
    plant.cap_ahead = vec![(second(0.2), Watts::new(10.0))];
    let decisions = plant.run(policy.as_mut(), 3);
    assert_eq!(caps(&shown), [100.0; 3]);
    assert_eq!(decisions[0].ask_again_in, Duration::from_secs(600));
    assert_eq!(policy.name(), "watcher");
}

#[test]
fn proactive_shows_a_lower_cap_by_the_lead_before_it_comes_and_a_higher_one_when_it_is_there() {
    let (mut policy, shown) = watched(of_mode(CapHandlingMode::Proactive));
    let mut plant = plant(10.0);
    plant.models[0].running_batches = 0; // batches take no time
    plant.cap_ahead = vec![(second(2.0), Watts::new(60.0)), (second(4.0), Watts::new(90.0))];
    let first = plant.tick(policy.as_mut());
    assert_eq!(first.ask_again_in, Duration::from_millis(900), "asked again a second before it falls");
    plant.run(policy.as_mut(), 18);
    let told = plant.tick(policy.as_mut()).reasons.last().unwrap().1.clone();
    plant.cap = Some(60.0);
    plant.run(policy.as_mut(), 20);
    plant.cap = Some(90.0);
    plant.run(policy.as_mut(), 10);
    let expected: Vec<f64> = [vec![100.0; 9], vec![60.0; 31], vec![90.0; 10]].concat();
    assert_eq!(caps(&shown), expected);
    // At 2.0 s it is the cap of the observation before it changes: the change is due now.
    assert!(told.to_string().starts_with("cap of 100.0 W"), "{told}");
}

#[test]
fn the_time_that_batches_take_is_added_to_the_lead() {
    let (mut policy, shown) = watched(of_mode(CapHandlingMode::Proactive));
    let mut plant = plant(10.0);
    plant.models[0].running_batches = 1;
    // A batch ends every two seconds.
    plant.cap_ahead = vec![(second(20.0), Watts::new(60.0))];
    for tick in 1..200 {
        plant.models[0].executed_batches = u64::from(tick % 20 == 0);
        plant.tick(policy.as_mut());
    }
    let first_low = caps(&shown).iter().position(|cap| *cap == 60.0).unwrap() + 1;
    assert!((167..=173).contains(&first_low), "tick {first_low}: 3 s before");
}

/// 50 W with one row, 20 W more for each doubling.
fn profile_by_doubling() -> String {
    let head = "# wattle_profile = 1\n# model = \"m\"\n# device = \"d\"\n# runtime = \"r\"\n# power_source = \"none\"\n\
         batch_size,instances,throughput_rps,power_watts_max,basis,power_basis,samples\n";
    let row = |doubling: u32| {
        let rps = 10.0 * 1.4f64.powi(doubling as i32);
        format!("{},1,{rps},{},modelled,modelled,1\n", 1 << doubling, 50 + 20 * doubling)
    };
    head.to_owned() + &(0..9).map(row).collect::<String>()
}

/// Over 20 steps of a minute each: energy above the cap in joules, rows answered.
fn over_steps(mode: CapHandlingMode, forecast: CapForecast, cap_of_step: fn(usize) -> f64) -> (f64, f64) {
    const STEP: Duration = Duration::from_secs(60);
    let options = CapHandlingOptions { forecast, period_seconds: 4.0 * 60.0, ..of_mode(mode) };
    let inner = BestUnderCap::new(
        Approach::Combination,
        &BestUnderCapOptions::default(),
        &[("m".into(), Profile::parse(&profile_by_doubling(), "test.csv").unwrap())].into(),
    );
    let mut policy = around(Box::new(inner), &options);
    let mut plant =
        Plant::new(vec![model("m", 256)], |settings| 50.0 + 20.0 * f64::from(settings[0].batch_size).log2());
    let (mut joules, mut rows) = (0.0, 0.0);
    for step in 0..20 {
        let next = Timestamp::ZERO + STEP * (step as u32 + 1);
        plant.cap = Some(cap_of_step(step));
        plant.cap_ahead = match forecast {
            CapForecast::Driver => vec![(next, Watts::new(cap_of_step(step + 1)))],
            _ => Vec::new(),
        };
        for _ in 0..600 {
            let over = plant.power() - plant.cap.unwrap();
            joules += over.max(0.0) * TICK.as_secs_f64();
            rows += f64::from(plant.batch_size()).sqrt();
            plant.tick(policy.as_mut());
        }
    }
    (joules, rows)
}

/// Four caps that repeat.
fn repeating(step: usize) -> f64 {
    [220.0, 150.0, 180.0, 110.0][step % 4]
}

/// A ramp, down and up.
fn ramp(step: usize) -> f64 {
    [210.0, 180.0, 150.0, 120.0, 90.0, 120.0, 150.0, 180.0][step % 8]
}

#[test]
fn proactive_has_a_fifth_of_the_violation_at_most_and_loses_little_throughput() {
    let check = |forecast, cap_of_step: fn(usize) -> f64, share: f64| {
        let (reactive, all_rows) = over_steps(CapHandlingMode::Reactive, forecast, cap_of_step);
        let (proactive, rows) = over_steps(CapHandlingMode::Proactive, forecast, cap_of_step);
        assert!(reactive > 0.0);
        assert!(proactive <= share * reactive, "{forecast:?}: {proactive} J of {reactive} J");
        assert!(rows > 0.97 * all_rows, "{forecast:?}: {rows} rows of {all_rows}");
    };
    check(CapForecast::Driver, repeating, 0.2);
    check(CapForecast::Driver, ramp, 0.2);
    // The first period is not known, nor are the first steps and turns of a ramp.
    check(CapForecast::Seasonal, repeating, 0.4);
    check(CapForecast::Trend, ramp, 0.6);
}

#[test]
fn noise_is_kept_clear_of_the_cap() {
    let over = |mode| {
        let (mut policy, shown) = watched(of_mode(mode));
        let mut plant = plant(99.0);
        plant.noise = vec![1.02, 0.98, 1.01, 0.99];
        plant.run(policy.as_mut(), 200);
        *caps(&shown).last().unwrap()
    };
    assert_eq!(over(CapHandlingMode::Reactive), 100.0);
    let shown = over(CapHandlingMode::Proactive);
    assert!((95.0..99.0).contains(&shown), "{shown} W");
    // Power far below the cap needs no margin, however noisy.
    let (mut policy, shown) = watched(of_mode(CapHandlingMode::Proactive));
    let mut quiet = plant(40.0);
    quiet.noise = vec![1.5, 0.5];
    quiet.run(policy.as_mut(), 200);
    assert!(caps(&shown).iter().all(|cap| *cap == 100.0));
}

proptest! {
    #[test]
    fn whatever_is_seen_no_cap_above_the_real_one_is_shown(
        mode in prop_oneof![Just(CapHandlingMode::None), Just(CapHandlingMode::Reactive), Just(CapHandlingMode::Proactive)],
        forecast in prop_oneof![Just(CapForecast::Driver), Just(CapForecast::Seasonal), Just(CapForecast::Trend)],
        caps in proptest::collection::vec(proptest::option::of(prop_oneof![Just(0.0), Just(f64::NAN), Just(f64::INFINITY), 0.0..300.0f64]), 1..40),
        noise in proptest::collection::vec(prop_oneof![Just(f64::NAN), 0.0..3.0f64], 1..20),
        ahead in proptest::collection::vec((0.0..10.0f64, prop_oneof![Just(f64::NAN), 0.0..300.0f64]), 0..5),
        period_seconds in 0.0..5.0f64,
    ) {
        let options = CapHandlingOptions { forecast, period_seconds, time_slice_seconds: 0.5, ..of_mode(mode) };
        let (mut policy, shown) = watched(options);
        let mut plant = plant(100.0);
        plant.noise = noise;
        plant.cap_ahead = ahead.iter().map(|(at, cap)| (second(*at), Watts::new(*cap))).collect();
        for cap in &caps {
            plant.cap = *cap;
            let before = shown.lock().unwrap().len();
            let decision = plant.tick(policy.as_mut());
            prop_assert!(!decision.reasons.is_empty());
            let shown = shown.lock().unwrap();
            if let (Some(last), Some(cap)) = (shown.get(before), cap) {
                let last = last.power_cap.unwrap().get();
                prop_assert!(cap.is_nan() || (0.0..=*cap).contains(&last), "{last} W shown at {cap} W");
            }
        }
        plant.models.clear();
        plant.tick(policy.as_mut());
    }
}
