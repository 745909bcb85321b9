//! Whether the devices are enough at all: the same program, where devices are free and nobody serves at a price of 1.
//!
//! The bound of that program is a number of models that no plan serves; over 0 it proves that there is no
//! plan.

use super::TimeLeft;
use super::bound::{self, Bound, Ceilings, Pool};
use super::{SolveError, nobody_of};
use crate::instance::{Clock, Entry, Instance};

/// A bound over this is over 0: it is a sum of a few hundred prices between 0 and 1.
pub(super) const OVER_ZERO: f64 = 1e-5;

/// The program of `instance`, whose last kind stands for nobody.
pub(super) fn free_of_cost(instance: &Instance) -> Instance {
    let mut free = instance.clone();
    free.kinds.pop();
    for kind in &mut free.kinds {
        (kind.fixed, kind.per_watt, kind.overlap) = (0.0, 0.0, 0.0);
        for index in 0..kind.clocks.len() {
            let (clocks, clock) = (&kind.clocks, &kind.clocks[index]);
            let has_all = |other: usize| {
                let is_first = other < index || !serves_all_of(clock, &clocks[other]);
                other != index && is_first && serves_all_of(&clocks[other], clock)
            };
            // Clocks that serve no more than others do need not be looked at.
            if (0..clocks.len()).any(has_all) {
                kind.clocks[index].entries.iter_mut().for_each(Vec::clear);
            }
            kind.clocks[index].shared_idle_watts = 0.0;
        }
    }
    free.kinds.push(nobody_of(instance.models, 1.0));
    free
}

/// Whether what `less` serves in each kind of slot, `more` does too.
fn serves_all_of(more: &Clock, less: &Clock) -> bool {
    less.entries.iter().enumerate().all(|(slot, entries)| {
        entries.iter().all(|entry| {
            let same = |other: &Entry| (other.model, other.parts) == (entry.model, entry.parts);
            more.entries.get(slot).is_some_and(|list| list.iter().any(same))
        })
    })
}

/// How many models go unserved at least, with the prices that prove it. `pool` has devices to begin with.
pub(super) fn least_unserved(instance: &Instance, pool: &Pool, time: TimeLeft<'_>) -> Bound {
    let free = free_of_cost(instance);
    let nobody = free.kinds.len().saturating_sub(1);
    let mut found = Pool::default();
    for model in 0..free.models {
        found.add(&free, free.column(nobody, 0, 0, vec![(0, model)]));
    }
    for column in pool.0.values().filter(|column| column.kind != nobody) {
        found.add(&free, free.column(column.kind, column.clock, column.layout, column.seats.clone()));
    }
    let ceilings = Ceilings { prices: vec![1.0; free.models], most: 1.0 };
    let goal = bound::Goal { close: 1e-4, enough: OVER_ZERO, rounds: bound::MOST_ROUNDS };
    bound::raise(&free, &mut found, &vec![1.0; free.models], ceilings, None, goal, time)
}

/// What to tell of a bound over 0: whole models go unserved, and only those with a price contend for what lacks.
pub(super) fn too_few(instance: &Instance, bound: &Bound) -> SolveError {
    let with_price = |prices: &[f64]| (0..prices.len()).filter(|index| prices[*index] > OVER_ZERO).collect();
    let is_device = |kind: &usize| kind + 1 < instance.kinds.len();
    let mut kinds: Vec<usize> = with_price(&bound.kind_prices);
    kinds.retain(is_device);
    let least = (bound.value - OVER_ZERO).ceil().max(1.0) as usize;
    SolveError::TooFew { least, models: with_price(&bound.prices), kinds }
}
