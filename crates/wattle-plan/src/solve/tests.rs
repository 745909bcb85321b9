//! Answers against those of trying everything.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::instance::{Clock, Entry, Kind};

fn no_limit() -> Duration {
    Duration::from_secs(3600)
}

/// The least cost, by trying every way to put every part of every model into every seat. Shares no code
/// with the solver but the cost of a device.
fn brute_force(instance: &Instance) -> Option<f64> {
    // Every single device with every set of tenants.
    let mut all: Vec<(usize, Vec<f64>, f64)> = Vec::new();
    for (kind_index, kind) in instance.kinds.iter().enumerate() {
        for clock in &kind.clocks {
            for layout in &kind.layouts {
                let mut sets: Vec<Vec<Entry>> = vec![Vec::new()];
                for slot in layout {
                    let more: Vec<Vec<Entry>> = sets
                        .iter()
                        .flat_map(|set| {
                            clock.entries[*slot].iter().map(|entry| [&set[..], &[*entry]].concat())
                        })
                        .collect();
                    sets.extend(more);
                }
                for set in sets.into_iter().filter(|set| !set.is_empty()) {
                    let mut cover = vec![0.0; instance.models];
                    set.iter().for_each(|entry| cover[entry.model] += 1.0 / f64::from(entry.parts));
                    if cover.iter().any(|share| *share > 1.0 + 1e-9) {
                        continue;
                    }
                    let cost = kind.fixed + kind.per_watt * Instance::power(kind, clock, set.iter());
                    all.push((kind_index, cover, cost));
                }
            }
        }
    }
    let mut left: Vec<u32> = instance.kinds.iter().map(|kind| kind.count).collect();
    let mut best = f64::INFINITY;
    choose(&all, &mut vec![0.0; instance.models], &mut left, 0.0, &mut best);
    best.is_finite().then_some(best)
}

fn choose(
    all: &[(usize, Vec<f64>, f64)],
    served: &mut Vec<f64>,
    left: &mut Vec<u32>,
    cost: f64,
    best: &mut f64,
) {
    if cost >= *best {
        return;
    }
    let Some(model) = served.iter().position(|share| *share < 1.0 - 1e-9) else {
        *best = cost;
        return;
    };
    for (kind, cover, added) in all.iter().filter(|(_, cover, _)| cover[model] > 0.0) {
        if left[*kind] > 0 {
            left[*kind] -= 1;
            let before = served.clone();
            served.iter_mut().zip(cover).for_each(|(have, more)| *have += more);
            choose(all, served, left, cost + added, best);
            *served = before;
            left[*kind] += 1;
        }
    }
}

prop_compose! {
    fn entry(models: usize)(
        model in 0..models, parts in 1u32..3, busy in 0.0..0.95f64, dynamic in 1.0..150.0f64,
    ) -> Entry {
        Entry { model, parts, busy, draw: busy * dynamic, tag: 0 }
    }
}

prop_compose! {
    fn kind(models: usize)(
        count in 0u32..3,
        fixed in 0.0..20.0f64,
        per_watt in 0.0..2.0f64,
        overlap in prop_oneof![Just(0.0), 0.001..0.006f64],
        layouts in prop::sample::subsequence(vec![vec![0], vec![1, 2], vec![2, 2, 2], vec![1, 1]], 1..4),
        clocks in prop::collection::vec(
            (10.0..60.0f64, prop_oneof![Just(0.0), 0.0..30.0f64],
             prop::collection::vec(prop::collection::vec(entry(models), 0..4), 3)),
            1..3,
        ),
    ) -> Kind {
        let clocks = clocks.into_iter().map(|(static_watts, shared_idle_watts, entries)| {
            Clock { static_watts, shared_idle_watts, entries }
        });
        Kind { count, fixed, per_watt, overlap, layouts, clocks: clocks.collect() }
    }
}

prop_compose! {
    fn fleet()(models in 1usize..5)(kinds in prop::collection::vec(kind(models), 1..3), models in Just(models))
        -> Instance
    {
        let mut left = 3;
        let kinds = kinds.into_iter().map(|mut kind| {
            kind.count = kind.count.min(left);
            left -= kind.count;
            kind
        });
        Instance { models, kinds: kinds.collect() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_answer_is_that_of_trying_everything(instance in fleet()) {
        let expected = brute_force(&instance);
        match solve(&instance, Effort::default(), &no_limit) {
            Ok(solved) => {
                let expected = expected.expect("the solver found an answer where there is none");
                prop_assert!(instance.check(&solved.columns).is_ok(), "{:?}", instance.check(&solved.columns));
                prop_assert!((solved.value - expected).abs() <= 1e-6 * expected.max(1e-3), "{} for {expected}", solved.value);
                prop_assert!(solved.proved);
            }
            Err(error) => prop_assert!(expected.is_none(), "{error} for {expected:?}"),
        }
    }

    #[test]
    fn no_answer_is_below_the_bound(instance in fleet()) {
        let mut pool = Pool::default();
        if let (Some(expected), Ok(ceilings)) = (brute_force(&instance), first_columns(&instance, &mut pool)) {
            let limits = Ceilings { prices: ceilings, most: bound::most_cost(&instance) };
            let goal = Goal { close: CLOSE, enough: f64::INFINITY, rounds: bound::MOST_ROUNDS };
            let need = vec![1.0; instance.models];
            let bound = bound::raise(&instance, &mut pool, &need, limits, None, goal, &no_limit);
            prop_assert!(bound.value <= expected + 1e-6 * expected.max(1.0), "{} over {expected}", bound.value);
        }
    }

    #[test]
    fn a_bound_at_any_prices_holds(instance in fleet(), prices in prop::collection::vec(0.0..200.0f64, 5)) {
        if let Some(expected) = brute_force(&instance) {
            let prices = &prices[..instance.models];
            let least = pricing::price(&instance, prices).least;
            let counts = instance.kinds.iter().map(|kind| f64::from(kind.count));
            let bound = prices.iter().sum::<f64>()
                + counts.zip(&least).filter(|(count, _)| *count > 0.0).map(|(count, least)| count * least.min(0.0)).sum::<f64>();
            prop_assert!(bound <= expected + 1e-9 * expected.max(1.0), "{bound} over {expected}");
        }
    }

    #[test]
    fn diving_ends_at_a_lawful_answer_that_is_not_below_the_least_cost(instance in fleet()) {
        let mut with_nobody = instance.clone();
        let penalty = bound::most_cost(&instance).max(1.0);
        with_nobody.kinds.push(nobody_of(instance.models, penalty));
        let mut pool = Pool::default();
        let prices = first_columns(&with_nobody, &mut pool).unwrap();
        let limits = Ceilings { prices, most: penalty };
        let goal = Goal { close: CLOSE, enough: f64::INFINITY, rounds: bound::MOST_ROUNDS };
        let need = vec![1.0; instance.models];
        let bound = bound::raise(&with_nobody, &mut pool, &need, limits, None, goal, &no_limit);
        let found = dive::dive(&with_nobody, &pool, &bound, &no_limit).expect("an answer, with nobody where need be");
        prop_assert!(with_nobody.check(&found).is_ok());
        if unserved(&with_nobody, &found).is_empty() {
            let least = brute_force(&instance).expect("diving found an answer where there is none");
            prop_assert!(total(&found) >= least - 1e-6 * least.max(1.0));
        }
    }

    #[test]
    fn devices_are_called_too_few_only_where_there_is_no_answer(instance in fleet()) {
        let mut with_nobody = instance.clone();
        with_nobody.kinds.push(nobody_of(instance.models, 1e4));
        let mut pool = Pool::default();
        first_columns(&with_nobody, &mut pool).unwrap();
        let lacks = feasible::least_unserved(&with_nobody, &pool, &no_limit);
        if lacks.value > feasible::OVER_ZERO {
            prop_assert!(brute_force(&instance).is_none());
        }
    }
}
