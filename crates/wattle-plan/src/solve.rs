//! The cheapest set of devices for an instance, and a bound that no set can go below.
//!
//! Devices with their tenants are columns of a set covering program. A bound comes from column generation
//! ([`bound`]). An answer comes from the columns found on the way. Then every column whose reduced cost is
//! under the distance of the two is listed: no other can be part of a better answer. Where
//! the list is short enough, the program over it is solved to the end, and the answer is proved. Else the
//! answer is made better by solving a few of its devices anew, again and again, and the distance is told.

mod bound;
mod dive;
mod enumerate;
mod exact;
mod feasible;
mod greedy;
mod master;
mod neighbours;
mod pricing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::instance::{Clock, Column, Entry, Instance, Kind};
use bound::{Bound, Ceilings, Goal, Pool};
use master::Chosen;

/// How much time is left.
pub type TimeLeft<'a> = &'a dyn Fn() -> Duration;

/// Values this close are the same.
const SAME: f64 = 1e-7;

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Solved {
    /// The devices in use.
    pub columns: Vec<Column>,
    /// What they cost together.
    pub value: f64,
    /// No answer costs less.
    pub bound: f64,
    /// Whether this is the cheapest answer, proved.
    pub proved: bool,
}

impl Solved {
    /// `(value - bound) / value`: how far the answer is from the best at most.
    pub fn gap(&self) -> f64 {
        if self.value > 0.0 { ((self.value - self.bound) / self.value).max(0.0) } else { 0.0 }
    }
}

/// No answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SolveError {
    /// Models that no slot of any device can serve.
    #[error("models {0:?} can be served on no device")]
    Nowhere(Vec<usize>),
    /// It is proved that the devices are too few.
    #[error("the devices are too few, which is proved: {least} models at least go unserved")]
    TooFew {
        /// So many models go unserved at least.
        least: usize,
        /// Models that contend for the devices.
        models: Vec<usize>,
        /// Kinds of devices of which more would help; empty: not known which.
        kinds: Vec<usize>,
    },
    /// None was found in the time: the best one found leaves these models unserved.
    #[error("no plan was found in the time given, and it is not proved that there is none")]
    NotFound(Vec<usize>),
}

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// The search ends at an answer whose gap is at most this. Small fleets are solved to the end all the same.
    pub enough_gap: f64,
    /// Times that a few devices are solved anew, at most.
    pub rounds: u32,
}

impl Default for Effort {
    fn default() -> Self {
        Self { enough_gap: 0.01, rounds: 2000 }
    }
}

impl Effort {
    fn is_enough(self, value: f64, bound: f64) -> bool {
        value - bound <= self.enough_gap * value
    }
}

/// Solves `instance` as well as `time` allows. The same input gives the same answer as long as time is not
/// what ends the search.
///
/// # Errors
/// Where a model can be served nowhere, where devices are too few, and where no answer was found.
pub fn solve(instance: &Instance, effort: Effort, time: TimeLeft<'_>) -> Result<Solved, SolveError> {
    if instance.models == 0 {
        return Ok(Solved { columns: Vec::new(), value: 0.0, bound: 0.0, proved: true });
    }
    let ceilings = first_columns(instance, &mut Pool::default())?;
    // Costs near one keep the programs well scaled.
    let mean = ceilings.iter().sum::<f64>() / ceilings.len() as f64;
    let scale = if mean.is_finite() && mean > 0.0 { mean } else { 1.0 };
    let mut scaled = instance.clone();
    for kind in &mut scaled.kinds {
        kind.fixed /= scale;
        kind.per_watt /= scale;
    }
    // Where no answer is known yet, some models are served by nobody, at a cost above that of any answer.
    let penalty = bound::most_cost(&scaled).max(1.0);
    scaled.kinds.push(nobody_of(instance.models, penalty));
    let mut pool = Pool::default();
    let ceilings = first_columns(&scaled, &mut pool)?;
    let solved = solve_scaled(&scaled, pool, &ceilings, effort, time)?;
    let unserved = unserved(&scaled, &solved.columns);
    if !unserved.is_empty() || solved.bound >= penalty {
        return Err(match solved.proved {
            true => SolveError::TooFew { least: unserved.len(), models: unserved, kinds: Vec::new() },
            // One whom nobody serves costs more than all devices do.
            false if solved.bound >= penalty => {
                SolveError::TooFew { least: 1, models: unserved, kinds: Vec::new() }
            }
            false => SolveError::NotFound(unserved),
        });
    }
    let mut columns = solved.columns;
    for column in &mut columns {
        column.cost = instance.cost(column.kind, column.clock, &column.seats);
    }
    let value = total(&columns);
    let bound = if solved.proved { value } else { (solved.bound * scale).min(value) };
    Ok(Solved { columns, value, bound, proved: solved.proved })
}

/// The kind of device that stands for nobody: each serves one model whole, at a `penalty`.
fn nobody_of(models: usize, penalty: f64) -> Kind {
    let entry = |model| Entry { model, parts: 1, busy: 0.0, draw: 0.0, tag: 0 };
    let clock =
        Clock { static_watts: 0.0, shared_idle_watts: 0.0, entries: vec![(0..models).map(entry).collect()] };
    Kind {
        count: u32::try_from(models.saturating_mul(64)).unwrap_or(u32::MAX),
        fixed: penalty,
        per_watt: 0.0,
        overlap: 0.0,
        layouts: vec![vec![0]],
        clocks: vec![clock],
    }
}

fn solve_scaled(
    instance: &Instance,
    mut pool: Pool,
    ceilings: &[f64],
    effort: Effort,
    time: TimeLeft<'_>,
) -> Result<Solved, SolveError> {
    let whole = time();
    let for_bound = || time().saturating_sub(whole.mul_f64(1.0 - BOUND_SHARE));
    // What a first answer spends on each model is a fair guess of its price.
    let first = greedy::greedy(instance, ceilings);
    let start = first.as_ref().map(|first| spent_on(instance, first));
    for column in first.iter().flatten() {
        pool.add(instance, column.clone());
    }
    if first.as_deref().is_none_or(|first| !unserved(instance, first).is_empty()) {
        let lacks = feasible::least_unserved(instance, &pool, &for_bound);
        if lacks.value > feasible::OVER_ZERO {
            return Err(feasible::too_few(instance, &lacks));
        }
    }
    let limits = Ceilings { prices: ceilings.to_vec(), most: bound::most_cost(instance) };
    let goal = Goal { close: CLOSE, enough: f64::INFINITY, rounds: bound::MOST_ROUNDS };
    let bound =
        bound::raise(instance, &mut pool, &vec![1.0; instance.models], limits, start, goal, &for_bound);
    let mut known = greedy::greedy(instance, &bound.prices);
    if let Some(first) = first {
        take_better(&mut known, first);
    }
    for column in known.iter().flatten() {
        pool.add(instance, column.clone());
    }
    if instance.models > exact::MOST_MODELS {
        // Better than branch and bound over all columns where they are many.
        if let Some(found) = dive::dive(instance, &pool, &bound, time) {
            take_better(&mut known, trimmed(instance, found));
        }
    } else {
        let columns: Vec<Column> = pool.0.values().cloned().collect();
        match master::choose(instance, &columns, known.as_deref(), time().mul_f64(MASTER_SHARE)) {
            Chosen::Best(better) | Chosen::Some(better) => take_better(&mut known, trimmed(instance, better)),
            Chosen::None | Chosen::GaveUp => {}
        }
    }
    let is_near = known.as_deref().is_some_and(|known| effort.is_enough(total(known), bound.value));
    if (!is_near || instance.models <= QUICKLY_PROVED)
        && let Some(solved) = prove(instance, &bound, &mut known, time)?
    {
        return Ok(solved);
    }
    let Some(mut best) = known else { return Err(SolveError::NotFound(Vec::new())) };
    neighbours::improve(instance, &mut best, bound.value, effort, time);
    let is_near = effort.is_enough(total(&best), bound.value);
    let mut known = Some(best);
    if !is_near && let Some(solved) = prove(instance, &bound, &mut known, time)? {
        return Ok(solved);
    }
    let best = known.ok_or(SolveError::NotFound(Vec::new()))?;
    let value = total(&best);
    let proved = value - bound.value <= SAME * value;
    Ok(Solved { columns: best, value, bound: bound.value.min(value), proved })
}

/// Fleets of so many models are often proved soon, so that is tried even where the answer is near enough.
const QUICKLY_PROVED: usize = 40;
/// A bound is good enough when the program over the columns known is so little above it, as a share.
const CLOSE: f64 = 1e-3;
/// Of all time, what the bound may take.
const BOUND_SHARE: f64 = 0.6;
/// Of the time left, what one program with whole numbers may take.
const MASTER_SHARE: f64 = 0.25;

/// Lists all that can be part of a better answer than the `known`, and solves that. `None`: too much to list, or
/// the time ran out.
fn prove(
    instance: &Instance,
    bound: &Bound,
    known: &mut Option<Vec<Column>>,
    time: TimeLeft<'_>,
) -> Result<Option<Solved>, SolveError> {
    let room = match known {
        Some(known) => total(known) - bound.value,
        None => bound::most_cost(instance) - bound.value,
    };
    let room = room.max(0.0) + SAME * bound.value.abs().max(1.0);
    let most: Vec<f64> = bound.kind_prices.iter().map(|price| room - price).collect();
    let Some(mut columns) = enumerate::enumerate(instance, &bound.prices, &most, time) else {
        return Ok(None);
    };
    // The known answer is one of the list but for rounding.
    let mut pool = Pool::default();
    for column in columns.drain(..).chain(known.iter().flatten().cloned()) {
        pool.add(instance, column);
    }
    let columns: Vec<Column> = pool.0.into_values().collect();
    let most_value = bound.value + room;
    let chosen = match exact::cheapest(instance, &columns, bound, most_value, time) {
        Some(Some(best)) => Chosen::Best(best),
        Some(None) => Chosen::None,
        None => master::choose(instance, &columns, known.as_deref(), time().mul_f64(MASTER_SHARE)),
    };
    match chosen {
        Chosen::Best(best) => {
            let best = trimmed(instance, best);
            let value = total(&best);
            Ok(Some(Solved { columns: best, value, bound: value, proved: true }))
        }
        Chosen::Some(better) => {
            take_better(known, trimmed(instance, better));
            Ok(None)
        }
        Chosen::None | Chosen::GaveUp => Ok(None),
    }
}

/// Adds, for each model, its cheapest device alone to the pool, and tells what it costs to serve it so.
fn first_columns(instance: &Instance, pool: &mut Pool) -> Result<Vec<f64>, SolveError> {
    let mut alone = vec![f64::INFINITY; instance.models];
    let mut columns: Vec<Option<Column>> = vec![None; instance.models];
    for (kind_index, kind) in instance.kinds.iter().enumerate().filter(|(_, kind)| kind.count > 0) {
        for (clock_index, clock) in kind.clocks.iter().enumerate() {
            for (slot, entries) in clock.entries.iter().enumerate() {
                let Some(layout) = kind.layouts.iter().position(|layout| layout.contains(&slot)) else {
                    continue;
                };
                for (index, entry) in entries.iter().enumerate() {
                    let column = instance.column(kind_index, clock_index, layout, vec![(slot, index)]);
                    let cost = column.cost * f64::from(entry.parts);
                    if cost < alone[entry.model] {
                        alone[entry.model] = cost;
                        columns[entry.model] = Some(column);
                    }
                }
            }
        }
    }
    let nowhere: Vec<usize> = (0..instance.models).filter(|model| alone[*model].is_infinite()).collect();
    if !nowhere.is_empty() {
        return Err(SolveError::Nowhere(nowhere));
    }
    for column in columns.into_iter().flatten() {
        pool.add(instance, column);
    }
    Ok(alone)
}

/// Whom nobody serves: the last kind of device stands for that.
fn unserved(instance: &Instance, columns: &[Column]) -> Vec<usize> {
    let is_nobody = |column: &&Column| column.kind + 1 == instance.kinds.len();
    let mut models: Vec<usize> = columns
        .iter()
        .filter(is_nobody)
        .flat_map(|column| instance.entries(column).map(|entry| entry.model))
        .collect();
    models.sort_unstable();
    models
}

fn total(columns: &[Column]) -> f64 {
    columns.iter().map(|column| column.cost).sum()
}

/// What the devices of `columns` cost, divided among who is on them by what each would add alone.
fn spent_on(instance: &Instance, columns: &[Column]) -> Vec<f64> {
    let mut spent = vec![0.0; instance.models];
    for column in columns {
        let alone = |seat: &(usize, usize)| instance.cost(column.kind, column.clock, &[*seat]);
        let sum: f64 = column.seats.iter().map(alone).sum();
        for (seat, entry) in column.seats.iter().zip(instance.entries(column)) {
            if sum > 0.0 {
                spent[entry.model] += column.cost * alone(seat) / sum;
            }
        }
    }
    spent
}

/// Takes the seats away that serve what others serve already.
fn trimmed(instance: &Instance, columns: Vec<Column>) -> Vec<Column> {
    let mut served = vec![0.0; instance.models];
    for column in &columns {
        instance.cover(column).into_iter().for_each(|(model, share)| served[model] += share);
    }
    let trim = |column: Column| {
        let shares: Vec<(usize, f64)> =
            instance.entries(&column).map(|entry| (entry.model, entry.share())).collect();
        let mut seats = Vec::new();
        for (seat, (model, share)) in column.seats.iter().zip(shares) {
            if served[model] - share >= 1.0 - 1e-9 {
                served[model] -= share;
            } else {
                seats.push(*seat);
            }
        }
        let left = instance.column(column.kind, column.clock, column.layout, seats);
        (!left.seats.is_empty()).then_some(left)
    };
    columns.into_iter().filter_map(trim).collect()
}

fn take_better(known: &mut Option<Vec<Column>>, better: Vec<Column>) {
    if known.as_ref().is_none_or(|known| total(&better) < total(known)) {
        *known = Some(better);
    }
}
