//! The search converges, stays converged and comes back; the printed one sticks.

mod saturation;

use proptest::prelude::*;

use super::printed::PrintedBatchSizer;
use super::*;
use crate::knob::ServingSetting;
use crate::policies::plant::{Plant, TICK, model};
use crate::policy::Decision;

/// 50 W when loaded, 20 W for each doubling: 1 -> 50 W, 4 -> 90 W, 8 -> 110 W, 256 -> 210 W.
fn by_doubling(batch_size: u32) -> f64 {
    50.0 + 20.0 * f64::from(batch_size).log2()
}

fn plant(max_batch_size: u32, power: impl Fn(u32) -> f64 + 'static) -> Plant {
    Plant::new(vec![model("m", max_batch_size)], move |settings| power(settings[0].batch_size))
}

/// The search alone, without the look at the next smaller size.
fn search_only() -> BatchSizerOptions {
    BatchSizerOptions { saturation_check: false, ..BatchSizerOptions::default() }
}

fn built(options: BatchSizerOptions) -> BatchSizer {
    BatchSizer::new(options, &BTreeMap::new())
}

fn recovering() -> BatchSizer {
    built(search_only())
}

fn last_reason(decisions: &[Decision]) -> &Reason {
    &decisions.last().unwrap().reasons[0].1
}

fn moves(decisions: &[Decision]) -> usize {
    decisions.iter().filter(|decision| decision.turns_something()).count()
}

#[test]
fn the_printed_search_sticks_after_the_cap_fell_and_rose_and_ours_recovers() {
    let run = |policy: &mut dyn Policy| {
        let mut plant = plant(256, by_doubling);
        [200.0, 95.0, 200.0].map(|cap| {
            plant.cap = Some(cap);
            plant.run(policy, 60);
            plant.batch_size()
        })
    };
    assert_eq!(run(&mut recovering()), [64, 4, 128]);
    assert_eq!(run(&mut PrintedBatchSizer::new(BatchSizerOptions::default())), [64, 4, 16]);
}

#[test]
fn the_printed_search_sticks_for_good_once_the_smallest_size_was_over() {
    let mut policy = PrintedBatchSizer::new(BatchSizerOptions::default());
    let mut plant = plant(256, by_doubling);
    plant.cap = Some(40.0);
    plant.run(&mut policy, 30);
    plant.cap = Some(300.0);
    let decisions = plant.run(&mut policy, 30);
    assert_eq!(plant.batch_size(), 1);
    assert!(matches!(last_reason(&decisions), Reason::NothingToGain { .. }));
}

#[test]
fn neighbours_under_the_band_and_over_the_cap_do_not_make_it_bounce() {
    // At a cap of 100 W: 8 draws 70 W, under the band; 16 draws 110 W, over the cap.
    let mut plant = plant(256, |batch_size| if batch_size <= 8 { 70.0 } else { 110.0 });
    let mut policy = recovering();
    plant.run(&mut policy, 20);
    assert_eq!(plant.batch_size(), 8);
    let decisions = plant.run(&mut policy, 2000);
    assert_eq!(moves(&decisions), 0);
    assert_eq!(
        last_reason(&decisions).to_string(),
        "70.0 W under the cap of 100.0 W: batch size 8 is the best, 16 drew 110.0 W"
    );
}

#[test]
fn a_size_that_was_over_is_tried_again_after_a_while_or_when_the_work_is_lighter() {
    let bound_of = |options: BatchSizerOptions, lighter: f64| {
        let factor = std::rc::Rc::new(std::cell::Cell::new(1.0));
        let inside = factor.clone();
        let mut plant = plant(256, move |b| inside.get() * if b <= 8 { 70.0 } else { 110.0 });
        let mut policy = built(options);
        plant.run(&mut policy, 20);
        factor.set(lighter);
        plant.run(&mut policy, 100);
        plant.batch_size()
    };
    assert_eq!(bound_of(search_only(), 1.0), 8);
    assert_eq!(bound_of(search_only(), 0.95), 8, "not notably lighter");
    assert_eq!(bound_of(search_only(), 0.8), 64, "all above 8 draw 88 W now");
    // Tried again each second, it is found to be over again, and the search ends at 8 again.
    let soon = BatchSizerOptions { reprobe_after_seconds: 1.0, ..search_only() };
    let mut plant = plant(256, |batch_size| if batch_size <= 8 { 70.0 } else { 110.0 });
    let mut policy = built(soon);
    plant.run(&mut policy, 20);
    assert!(moves(&plant.run(&mut policy, 100)) > 5);
}

#[test]
fn acts_on_a_violation_within_the_tick_it_is_seen() {
    let mut plant = plant(256, by_doubling);
    let mut policy = recovering();
    plant.cap = Some(200.0);
    plant.run(&mut policy, 40);
    plant.cap = Some(100.0);
    plant.models[0].executed_batches = 1; // no full window
    let decision = plant.tick(&mut policy);
    assert_eq!(decision.reasons[0].1.name(), "over_cap");
    assert!(plant.batch_size() < 128);
}

#[test]
fn readings_that_straddle_a_change_are_not_held_against_the_new_size() {
    let mut plant = plant(256, by_doubling);
    plant.sample_lag = TICK / 2;
    let mut policy = built(BatchSizerOptions { band_low: 0.95, ..search_only() });
    plant.cap = Some(211.0);
    plant.run(&mut policy, 60);
    assert_eq!(plant.batch_size(), 256);
    // From 256 (210 W) the search goes to 32 (150 W). Read halfway, 180 W: over the cap, but not by 32.
    plant.cap = Some(155.0);
    let decisions = plant.run(&mut policy, 20);
    assert_eq!(plant.batch_size(), 32);
    assert_eq!(moves(&decisions), 1);
}

#[test]
fn an_unreachable_cap_is_said_and_not_searched_for() {
    let mut plant = plant(256, by_doubling);
    plant.cap = Some(40.0);
    let mut policy = recovering();
    let decisions = plant.run(&mut policy, 50);
    assert_eq!((plant.batch_size(), moves(&decisions)), (1, 1));
    assert!(matches!(last_reason(&decisions), Reason::CapUnreachable { .. }));
    plant.cap = Some(500.0);
    let decisions = plant.run(&mut policy, 20);
    assert_eq!(plant.batch_size(), 256);
    assert!(matches!(last_reason(&decisions), Reason::NothingToGain { .. }));
}

#[test]
fn nothing_is_judged_without_batches_or_readings_or_a_cap() {
    let mut policy = recovering();
    let mut idle = plant(256, |_| 500.0);
    idle.models[0].executed_batches = 0;
    idle.models[0].queued_rows = 0;
    idle.models[0].running_batches = 0;
    let decisions = idle.run(&mut policy, 20);
    assert_eq!(last_reason(&decisions).name(), "gathering", "power that is not ours");

    let mut policy = recovering();
    let mut blind = plant(256, |_| f64::NAN);
    let decisions = blind.run(&mut policy, 20);
    assert_eq!((last_reason(&decisions).name(), blind.batch_size()), ("no_power_reading", 1));

    let mut uncapped = plant(256, by_doubling);
    uncapped.cap = None;
    let decisions = uncapped.run(&mut recovering(), 20);
    assert_eq!((last_reason(&decisions).name(), moves(&decisions)), ("no_cap", 0));
}

#[test]
fn each_model_gets_the_size_or_its_own_largest() {
    let models = vec![model("large", 64), model("small", 3)];
    let mut plant = Plant::new(models, |settings| settings.iter().map(|s| f64::from(s.batch_size)).sum());
    let decisions = plant.run(&mut recovering(), 40);
    assert_eq!(plant.models.iter().map(|m| m.setting.batch_size).collect::<Vec<_>>(), [64, 3]);
    assert!(matches!(last_reason(&decisions), Reason::NothingToGain { .. }));
}

#[test]
fn someone_elses_turn_of_a_knob_opens_the_search_again() {
    // Two instances draw twice as much: at 100 W, 8 fits with one, 1 with two.
    let power =
        |settings: &[ServingSetting]| f64::from(settings[0].batch_size * settings[0].instances) * 12.0;
    let mut plant = Plant::new(vec![model("m", 256)], power);
    let mut policy = recovering();
    plant.models[0].setting.instances = 8;
    plant.run(&mut policy, 30);
    assert_eq!(plant.batch_size(), 1);
    plant.models[0].setting.instances = 1;
    plant.models[0].setting_since = plant.now;
    plant.run(&mut policy, 30);
    assert_eq!(plant.batch_size(), 8);
}

#[test]
fn sizes_that_are_no_set_are_refused() {
    for sizes in [vec![], vec![0, 1], vec![2, 1], vec![1, 1]] {
        assert_eq!(BatchSizes::new(sizes.clone()), Err(BatchSizesError { found: sizes }));
    }
}

fn any_sizes() -> impl Strategy<Value = BatchSizes> {
    proptest::collection::btree_set(1u32..600, 1..24)
        .prop_map(|sizes| BatchSizes::new(sizes.into_iter().collect()).unwrap())
}

proptest! {
    #[test]
    fn converges_on_any_set_within_log2_n_and_a_few_steps_and_stays(
        batch_sizes in any_sizes(),
        cap in 1.0..800.0f64,
        exponent in 0.2..1.5f64,
        lag in 0u64..100,
    ) {
        let sizes = batch_sizes.as_slice().to_vec();
        let mut plant = plant(1000, move |b| 20.0 + f64::from(b).powf(exponent));
        plant.cap = Some(cap);
        plant.sample_lag = Duration::from_millis(lag);
        let mut policy = built(BatchSizerOptions { batch_sizes, ..search_only() });
        let steps = sizes.len().ilog2() as usize + 4;
        plant.run(&mut policy, steps * 3);
        let rest = plant.run(&mut policy, 200);
        prop_assert_eq!(moves(&rest), 0, "moves on after {} steps", steps);
        let largest_fitting = sizes.iter().rev().find(|b| plant.power_at(ServingSetting {
            batch_size: **b, ..plant.models[0].setting
        }) <= cap);
        let held = plant.batch_size();
        match largest_fitting {
            None => prop_assert_eq!(held, sizes[0]),
            // Any size in the band will do; under it, only the largest that fits.
            Some(largest) => prop_assert!(
                plant.power() <= cap && (plant.power() >= 0.8 * cap || held == *largest),
                "holds {} of {:?}", held, sizes
            ),
        }
    }

    #[test]
    fn whatever_power_does_sizes_are_of_the_set_and_a_violation_never_goes_up(
        batch_sizes in any_sizes(),
        powers in proptest::collection::vec(0.0..300.0f64, 1..40),
        caps in proptest::collection::vec(proptest::option::of(0.0..300.0f64), 1..40),
        batches in proptest::collection::vec(0u64..20, 1..10),
        max_batch_size in 600..700u32,
    ) {
        let sizes = batch_sizes.as_slice().to_vec();
        let options = BatchSizerOptions { batch_sizes, ..search_only() };
        let mut policies: [Box<dyn Policy>; 2] =
            [Box::new(built(options.clone())), Box::new(PrintedBatchSizer::new(options))];
        for policy in &mut policies {
            // Not monotone in the batch size at all.
            let powers = powers.clone();
            let mut plant = plant(max_batch_size, move |b| powers[b as usize % powers.len()]);
            let mut steady_moves = 0;
            for tick in 0..300 {
                plant.models[0].executed_batches = batches[tick % batches.len()];
                if tick < 100 {
                    plant.cap = caps[tick % caps.len()];
                }
                let before = plant.batch_size();
                let decision = plant.tick(policy.as_mut());
                let after = plant.batch_size();
                if decision.turns_something() {
                    prop_assert!(sizes.contains(&after));
                    steady_moves += usize::from(tick >= 200);
                }
                if tick > 0 && matches!(decision.reasons[0].1, Reason::OverCap { .. }) {
                    prop_assert!(after < before);
                }
            }
            prop_assert!(steady_moves == 0 || policy.name() != "batch-sizer", "still spinning: {steady_moves}");
        }
    }

    #[test]
    fn the_same_observations_give_the_same_decisions(caps in proptest::collection::vec(30.0..250.0f64, 1..60)) {
        let run = || {
            let (mut plant, mut policy) = (plant(256, by_doubling), recovering());
            caps.iter().map(|cap| { plant.cap = Some(*cap); plant.tick(&mut policy) }).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}
