//! The search over clocks converges and recovers, and a device without the knob is left alone.

use proptest::prelude::*;

use super::*;
use crate::policies::plant::{Plant, core_clock, model};

/// 50 W when loaded, and the square of the clock: 544 MHz -> 68 W, 1531 MHz -> 191 W.
fn plant() -> Plant {
    let mut plant = Plant::with_device(vec![model("m", 64)], |_, device| {
        50.0 + 60.0 * (device.core_clock_mhz / 1000.0).powi(2)
    });
    plant.knobs = vec![core_clock()];
    plant
}

fn dvfs() -> Dvfs {
    Dvfs::new(&DvfsOptions::default())
}

#[test]
fn finds_the_highest_clock_under_a_cap_that_falls_and_rises_at_a_batch_size_of_16() {
    let mut policy = dvfs();
    let mut plant = plant();
    let clocks = [300.0, 105.0, 160.0].map(|cap| {
        plant.cap = Some(cap);
        plant.run(&mut policy, 60);
        let power = plant.power();
        assert!(power <= cap && (power >= 0.8 * cap || plant.device.core_clock_mhz == 1531.0));
        plant.device.core_clock_mhz
    });
    assert_eq!(plant.batch_size(), 16);
    assert_eq!(clocks, [1531.0, 835.0, 1189.0]);
    let rest = plant.run(&mut policy, 100);
    assert!(rest.iter().all(|decision| !decision.turns_something()));
}

#[test]
fn a_violation_is_told_with_the_clocks() {
    let mut policy = dvfs();
    let mut plant = plant();
    plant.cap = Some(300.0);
    plant.run(&mut policy, 60);
    plant.cap = Some(100.0);
    let told = plant.tick(&mut policy).reasons[0].1.to_string();
    assert_eq!(told, "190.6 W over the cap of 100.0 W: core clock 1531 MHz -> 734 MHz");
}

#[test]
fn a_clock_that_the_device_failed_to_set_is_asked_for_again() {
    let mut policy = dvfs();
    let mut plant = plant();
    plant.cap = Some(105.0);
    plant.run(&mut policy, 160);
    let mut seen = plant.observe();
    assert!(policy.decide(&seen).devices.is_empty());
    seen.devices[0].settings_failed = true;
    let clock = DeviceSetting::CoreClock(Megahertz::new(plant.device.core_clock_mhz));
    assert_eq!(policy.decide(&seen).devices, [("cpu".into(), vec![clock])].into());
}

#[test]
fn the_batch_size_is_the_models_largest_where_16_is_more_than_it_takes() {
    let mut plant = plant();
    plant.models[0].limits.max_batch_size = 8;
    plant.run(&mut dvfs(), 5);
    assert_eq!(plant.batch_size(), 8);
}

#[test]
fn without_a_clock_to_turn_it_says_so_and_keeps_still() {
    let mut plant = plant();
    plant.knobs.clear();
    for decision in plant.run(&mut dvfs(), 5) {
        assert!(!decision.turns_something());
        assert_eq!(decision.reasons[0].1, Reason::NoKnob { knob: DeviceKnob::CoreClock });
    }
}

proptest! {
    #[test]
    fn whatever_is_read_clocks_are_ones_that_the_device_takes(
        powers in proptest::collection::vec(prop_oneof![Just(f64::NAN), 0.0..300.0f64], 1..40),
        caps in proptest::collection::vec(proptest::option::of(prop_oneof![Just(0.0), Just(f64::NAN), 0.0..300.0f64]), 1..40),
        has_steps: bool,
    ) {
        // The plant fails on a clock out of range or between steps.
        let mut plant = plant();
        if !has_steps {
            plant.knobs[0].steps.clear();
        }
        plant.noise = powers;
        let mut policy = dvfs();
        for cap in &caps {
            plant.cap = *cap;
            plant.run(&mut policy, 5);
        }
        plant.models.clear();
        plant.run(&mut policy, 2);
        plant.knobs.clear();
        plant.run(&mut policy, 2);
    }
}
