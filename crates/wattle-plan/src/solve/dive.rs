//! An answer from the program without whole numbers: the devices that it takes most of are fixed, and it is solved
//! anew over what is left, with new columns for that, until all is served.
//!
//! This is the diving heuristic of column generation (Sadykov and others, "Primal heuristics for branch and price",
//! 2019), without going back.

use super::TimeLeft;
use super::bound::{self, Bound, Ceilings, Goal, Pool};
use super::master;
use crate::instance::{Column, Instance};

/// Of the devices left, so many are fixed at once, at most: one in this many.
const FIXED_SHARE: usize = 8;
/// What the program takes so much of is fixed together with others.
const MUCH: f64 = 0.6;
/// Rounds of new columns after devices were fixed.
const ROUNDS: u32 = 8;
/// Columns whose reduced cost is over this share of their cost are left out: they are rarely taken.
const FAR: f64 = 0.25;

/// An answer; the last kind of device, nobody, serves whom it has no device for. `None`: time is up.
pub(super) fn dive(
    instance: &Instance,
    pool: &Pool,
    bound: &Bound,
    time: TimeLeft<'_>,
) -> Option<Vec<Column>> {
    let nobody = instance.kinds.len().checked_sub(1)?;
    let mut left = instance.clone();
    let mut need = vec![1.0; instance.models];
    let mut prices = bound.prices.clone();
    let penalty = instance.kinds[nobody].fixed;
    let mut pool = cut_down(instance, pool, &need, &prices, &bound.kind_prices);
    let mut chosen: Vec<Column> = Vec::new();
    while need.iter().any(|need| *need > 1e-9) {
        if time().is_zero() {
            break;
        }
        let columns: Vec<Column> = pool.0.values().cloned().collect();
        let taken = master::relaxed(&left, &columns, &need, penalty, time())?;
        let mut order: Vec<usize> = (0..columns.len()).filter(|index| taken[*index] > 1e-6).collect();
        order.sort_by(|a, b| taken[*b].total_cmp(&taken[*a]).then(a.cmp(b)));
        let devices: usize = taken.iter().sum::<f64>().ceil() as usize;
        let most = (devices / FIXED_SHARE).max(1);
        let (before, mut fixed) = (chosen.len(), 0);
        for index in order {
            let column = &columns[index];
            let is_whole = taken[index] > 1.0 - 1e-6;
            let times = taken[index].floor().max(1.0) as u32;
            if !is_whole && fixed > 0 && (fixed >= most || taken[index] < MUCH) {
                break;
            }
            for _ in 0..times {
                let cover = instance.cover(column);
                let is_needed = cover.iter().all(|(model, share)| need[*model] >= share - 1e-9);
                if left.kinds[column.kind].count == 0 || !is_needed {
                    continue;
                }
                cover.into_iter().for_each(|(model, share)| need[model] = (need[model] - share).max(0.0));
                left.kinds[column.kind].count -= 1;
                chosen.push(column.clone());
                fixed += usize::from(!is_whole);
            }
        }
        if chosen.len() == before {
            break;
        }
        for model in 0..instance.models {
            if need[model] <= 1e-9 {
                (need[model], prices[model]) = (0.0, 0.0);
            }
        }
        pool = cut_down(&left, &pool, &need, &prices, &[]);
        // A price that no device left can pay tells to make room for the model while there is some.
        let most = |need: &f64| if *need > 0.0 { penalty } else { 0.0 };
        let ceilings = Ceilings { prices: need.iter().map(most).collect(), most: penalty };
        let goal = Goal { close: 1e-3, enough: f64::INFINITY, rounds: ROUNDS };
        let after = bound::raise(&left, &mut pool, &need, ceilings, Some(prices.clone()), goal, time);
        prices = after.prices;
    }
    for (model, _) in need.iter().enumerate().filter(|(_, need)| **need > 1e-9) {
        chosen.push(instance.column(nobody, 0, 0, vec![(0, model)]));
    }
    instance.check(&chosen).ok().map(|()| chosen)
}

/// The columns of `pool` without the seats that nobody needs any more, and without those that cost far more than they are worth.
fn cut_down(left: &Instance, pool: &Pool, need: &[f64], prices: &[f64], kind_prices: &[f64]) -> Pool {
    let nobody = left.kinds.len().saturating_sub(1);
    let mut kept = Pool::default();
    for column in pool.0.values() {
        if column.kind == nobody || left.kinds[column.kind].count == 0 {
            continue;
        }
        let (mut need, mut seats, mut worth) = (need.to_vec(), Vec::new(), 0.0);
        for (seat, entry) in column.seats.iter().zip(left.entries(column)) {
            if need[entry.model] >= entry.share() - 1e-9 {
                need[entry.model] -= entry.share();
                worth += prices[entry.model] * entry.share();
                seats.push(*seat);
            }
        }
        if seats.is_empty() {
            continue;
        }
        let is_same = seats.len() == column.seats.len();
        let column = left.column(column.kind, column.clock, column.layout, seats);
        let kind_price = kind_prices.get(column.kind).copied().unwrap_or(0.0);
        if !is_same || column.cost + kind_price - worth <= FAR * column.cost {
            kept.add(left, column);
        }
    }
    kept
}
