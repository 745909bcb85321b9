//! Sizes past which throughput grows no more are left, and the search does not go to and fro.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::policies::plant::Plant;
use crate::profile::Profile;

/// Throughput grows up to `best` rows together and no further; power always grows.
fn saturating_plant(best: u32) -> Plant {
    let mut plant = plant(256, by_doubling);
    plant.throughput = Some(Box::new(move |setting| 1000.0 * f64::from(setting.batch_size.min(best))));
    plant
}

fn checking() -> BatchSizer {
    built(BatchSizerOptions::default())
}

#[test]
fn a_size_that_is_no_faster_than_the_next_smaller_is_left_for_it() {
    let mut plant = saturating_plant(32);
    plant.cap = Some(190.0); // 64 draws 170 W, within the band
    let mut policy = checking();
    plant.run(&mut policy, 150);
    assert_eq!(plant.batch_size(), 32);
    let rest = plant.run(&mut policy, 2000);
    assert_eq!(moves(&rest), 0, "settled");
    // 32 is under the band now, and stays.
    plant.cap = Some(500.0);
    let rest = plant.run(&mut policy, 500);
    assert_eq!((plant.batch_size(), moves(&rest)), (32, 0));
    assert_eq!(last_reason(&rest).name(), "saturated");
}

#[test]
fn a_size_that_is_faster_is_kept_after_one_look_at_the_smaller() {
    let mut plant = saturating_plant(256);
    plant.cap = Some(190.0);
    let mut policy = checking();
    let decisions = plant.run(&mut policy, 200);
    let told = |name| decisions.iter().filter(|decision| decision.reasons[0].1.name() == name).count();
    assert_eq!((plant.batch_size(), told("lower_is_slower")), (64, 1));
    assert!(told("probing_lower") > 1);
    assert_eq!(moves(&plant.run(&mut policy, 2000)), 0);
}

#[test]
fn it_is_looked_at_again_when_the_work_is_another() {
    let mut plant = saturating_plant(32);
    plant.cap = Some(190.0);
    let mut policy = checking();
    plant.run(&mut policy, 150);
    assert_eq!(plant.batch_size(), 32);
    // Rows take half the time, and larger sizes are faster now.
    plant.throughput = Some(Box::new(|setting| 2000.0 * f64::from(setting.batch_size)));
    plant.cap = Some(250.0);
    plant.run(&mut policy, 300);
    assert_eq!(plant.batch_size(), 256);
}

#[test]
fn work_that_keeps_changing_is_looked_at_once_a_minute_at_most() {
    let pace = Rc::new(Cell::new(1000.0));
    let mut plant = plant(256, by_doubling);
    let of_plant = pace.clone();
    plant.throughput = Some(Box::new(move |setting| of_plant.get() * f64::from(setting.batch_size)));
    plant.cap = Some(190.0);
    let mut policy = checking();
    let mut looks = 0;
    for minute_of_looks in 1..=5 {
        for tick in 0..600 {
            pace.set(if tick % 80 < 40 { 1000.0 } else { 1500.0 });
            let turned = plant.tick(&mut policy);
            let is_look = turned.reasons[0].1.name() == "probing_lower" && turned.turns_something();
            looks += usize::from(is_look);
        }
        assert!(looks <= minute_of_looks + 1, "{looks} looks in {minute_of_looks} minutes");
    }
    assert!(looks > 0);
}

#[test]
fn without_rows_waiting_all_the_while_nothing_is_judged() {
    let mut plant = saturating_plant(1);
    plant.cap = Some(190.0);
    let mut policy = checking();
    for tick in 0..500 {
        plant.models[0].queued_rows = if tick % 3 == 0 { 0 } else { 100 };
        let decision = plant.tick(&mut policy);
        assert!(!matches!(decision.reasons[0].1, Reason::ProbingLower { .. } | Reason::Saturated { .. }));
    }
    assert_eq!(plant.batch_size(), 64);
}

#[test]
fn a_look_that_runs_out_of_work_goes_back_and_waits() {
    let mut plant = saturating_plant(256);
    plant.cap = Some(190.0);
    let mut policy = checking();
    while plant.tick(&mut policy).reasons[0].1.name() != "probing_lower" {}
    assert_eq!(plant.batch_size(), 32);
    plant.models[0].queued_rows = 0;
    plant.run(&mut policy, 20);
    plant.models[0].queued_rows = 100;
    assert_eq!(plant.batch_size(), 64);
    assert_eq!(moves(&plant.run(&mut policy, 1000)), 0);
}

#[test]
fn small_losses_do_not_add_up() {
    let mut plant = plant(256, by_doubling);
    // Each halving costs 1.5 %: less than the tolerance each, more than it from 256 to 64.
    plant.throughput =
        Some(Box::new(|setting| 1e6 * 0.985f64.powf(8.0 - f64::from(setting.batch_size).log2())));
    plant.cap = Some(500.0);
    plant.run(&mut checking(), 1000);
    assert_eq!(plant.batch_size(), 128);
}

#[test]
fn sizes_beyond_saturation_by_the_profile_are_not_used() {
    let text = "# wattle_profile = 1\n# model = \"m\"\n# device = \"d\"\n# runtime = \"r\"\n# power_source = \"none\"\n\
        batch_size,instances,throughput_rps,power_watts_max,basis,power_basis,samples\n\
        1,1,10,50,measured,measured,1\n8,1,70,60,measured,measured,1\n24,1,100,70,measured,measured,1\n\
        64,1,101,80,measured,measured,1\n";
    let saturated = Profile::parse(text, "test.csv").unwrap();
    let growing = Profile::parse(&text.replace("64,1,101", "64,1,190"), "test.csv").unwrap();
    let largest = |profile: Profile| {
        let mut plant = saturating_plant(256);
        plant.cap = Some(500.0);
        plant.run(&mut BatchSizer::new(BatchSizerOptions::default(), &[("m".into(), profile)].into()), 300);
        plant.batch_size()
    };
    assert_eq!(largest(saturated), 32, "24, or the next of the set");
    assert_eq!(largest(growing), 256, "the profile says nothing of sizes past 64");
}

#[test]
fn a_batch_that_runs_for_long_is_acted_on_before_it_ends() {
    let mut plant = plant(256, by_doubling);
    let mut policy = recovering();
    plant.cap = Some(200.0);
    // Nothing runs yet: the size is set, then a first batch begins that does not end.
    plant.models[0].executed_batches = 0;
    plant.models[0].running_batches = 0;
    plant.models[0].queued_rows = 0;
    plant.run(&mut policy, 20);
    plant.models[0].running_batches = 1;
    plant.cap = Some(40.0);
    let told = plant.tick(&mut policy);
    assert_eq!(told.reasons[0].1.name(), "cap_unreachable", "{told:?}");
}

#[test]
fn a_long_batch_of_the_size_before_is_not_held_against_the_smaller_one() {
    let mut plant = plant(256, by_doubling);
    let mut policy = recovering();
    plant.cap = Some(250.0);
    plant.run(&mut policy, 60);
    assert_eq!(plant.batch_size(), 256);
    // The cap falls, one move is made, and the old batch still runs at its power for 5 s.
    plant.cap = Some(160.0);
    plant.tick(&mut policy);
    let chosen = plant.batch_size();
    plant.models[0].executed_batches = 0;
    let old = plant.noise[0] * 210.0 / plant.power();
    plant.noise = vec![old];
    let decisions = plant.run(&mut policy, 50);
    assert_eq!((plant.batch_size(), moves(&decisions)), (chosen, 0));
}
