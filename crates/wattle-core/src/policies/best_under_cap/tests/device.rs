//! Rows at other settings of the device are chosen only where the device can be turned.

use super::*;
use crate::policies::plant::core_clock;
use crate::units::Megahertz;

fn at_clock(figures: Figures, clock: f64) -> ProfileRow {
    let mut row = row(figures);
    row.point.core_clock_mhz = Some(Megahertz::new(clock));
    row
}

fn profiles(names: &[&str]) -> BTreeMap<ModelName, Profile> {
    let rows = || {
        [
            row((8, 1, 1.0, 45.0, 90.0)),
            row((4, 1, 1.0, 20.0, 70.0)),
            at_clock((8, 1, 1.0, 40.0, 75.0), 1063.0),
            at_clock((8, 1, 1.0, 30.0, 60.0), 734.0),
            at_clock((8, 1, 1.0, 44.0, 74.0), 1000.0), // no step of the device
        ]
    };
    names.iter().map(|name| ((*name).into(), profile(Some(IDLE), rows()))).collect()
}

fn turning(names: &[&str], device_knobs: bool) -> BestUnderCap {
    let options = BestUnderCapOptions { device_knobs, ..BestUnderCapOptions::default() };
    BestUnderCap::new(Approach::Combination, &options, &profiles(names))
}

fn plant_with_clock(names: &[&str]) -> Plant {
    let mut plant = Plant::new(names.iter().map(|name| model(name, 64)).collect(), |_| 30.0);
    plant.knobs = vec![core_clock()];
    plant.device.core_clock_mhz = 1531.0;
    plant
}

#[test]
fn the_clock_is_turned_with_the_serving_knobs_and_opened_again() {
    let mut plant = plant_with_clock(&["m"]);
    let mut policy = turning(&["m"], true);
    for (cap, clock, batch_size) in
        [(80.0, 1063.0, 8), (65.0, 734.0, 8), (100.0, 1531.0, 8), (74.0, 734.0, 8), (95.0, 1531.0, 8)]
    {
        plant.cap = Some(cap);
        let decision = plant.tick(&mut policy);
        assert_eq!((plant.device.core_clock_mhz, plant.batch_size()), (clock, batch_size), "at {cap} W");
        assert_eq!(decision.devices.len(), 1);
        assert!(plant.tick(&mut policy).devices.is_empty(), "asked once");
    }
    let told = plant.tick(&mut policy).reasons[0].1.to_string();
    assert!(told.starts_with("b=8 m=1 duty=1.00:"), "{told}");
}

#[test]
fn without_the_option_or_the_knob_these_rows_are_passed_over() {
    let mut plant = plant_with_clock(&["m"]);
    plant.cap = Some(80.0);
    plant.tick(&mut turning(&["m"], false));
    assert_eq!((plant.device.core_clock_mhz, plant.batch_size()), (1531.0, 4));
    plant.knobs.clear();
    let decision = plant.tick(&mut turning(&["m"], true));
    assert!(decision.devices.is_empty());
    assert_eq!(plant.batch_size(), 4);
}

#[test]
fn two_models_share_a_device_whose_knobs_are_open() {
    let mut plant = plant_with_clock(&["a", "b"]);
    let mut policy = turning(&["a", "b"], true);
    plant.models[1].arrived_rows = 0;
    plant.models[1].queued_rows = 0;
    plant.models[1].running_batches = 0;
    plant.cap = Some(80.0);
    plant.tick(&mut policy);
    assert_eq!(plant.device.core_clock_mhz, 1063.0, "a has the device to itself");
    plant.models[1].queued_rows = 1;
    plant.cap = Some(160.0);
    plant.run(&mut policy, 20);
    assert_eq!(plant.device.core_clock_mhz, 1531.0);
    assert_eq!([setting(&plant, 0).0, setting(&plant, 1).0], [8, 8], "70 W each above idle");
}
