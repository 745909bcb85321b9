//! Makes an answer better by solving a few of its devices anew, the others left as they are.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bound::{Ceilings, Goal, Pool};
use super::master::Chosen;
use super::{CLOSE, Effort, TimeLeft, bound, enumerate, first_columns, master, total};
use crate::instance::{Column, Entry, Instance};

/// Devices that are solved anew together.
const TOGETHER: usize = 4;
/// A round takes no longer than this.
const ROUND: Duration = Duration::from_millis(1500);

/// Improves `best` until it is near the `bound`, nothing has come of a while of rounds, or time is up.
pub(super) fn improve(
    instance: &Instance,
    best: &mut Vec<Column>,
    bound: f64,
    effort: Effort,
    time: TimeLeft<'_>,
) {
    let mut in_vain = 0;
    for round in 0..effort.rounds {
        let is_near = effort.is_enough(total(best), bound);
        if is_near || time().is_zero() || best.len() < 2 || in_vain > 3 * best.len() {
            return;
        }
        let chosen = pick(instance, best, round as usize);
        let is_small = chosen.len() <= 3 * TOGETHER;
        match is_small.then(|| anew(instance, best, &chosen, time)).flatten() {
            Some(better) => {
                *best = better;
                in_vain = 0;
            }
            None => in_vain += 1,
        }
    }
}

/// Which devices: one after another, each with others at ever new distances, and those that serve the rest of
/// a model of theirs.
fn pick(instance: &Instance, best: &[Column], round: usize) -> BTreeSet<usize> {
    let devices = best.len();
    let first = round % devices;
    let stride = 1 + (round / devices) * 7 + round * 3;
    let mut chosen: BTreeSet<usize> =
        (0..TOGETHER).map(|index| (first + index * index * stride + index) % devices).collect();
    // The kind that stands for nobody is the last: whoever it serves goes first.
    let nobody = instance.kinds.len().saturating_sub(1);
    let unserved: Vec<usize> = (0..devices).filter(|index| best[*index].kind == nobody).collect();
    if !unserved.is_empty() {
        chosen.insert(unserved[round % unserved.len()]);
    }
    loop {
        let models: BTreeSet<usize> =
            chosen.iter().flat_map(|index| instance.cover(&best[*index]).into_keys()).collect();
        let serves = |index: &usize| instance.cover(&best[*index]).keys().any(|model| models.contains(model));
        let all: BTreeSet<usize> = (0..devices).filter(serves).collect();
        if all == chosen {
            return chosen;
        }
        chosen = all;
    }
}

/// The answer with `chosen` of its devices solved anew; `None` where that makes it no cheaper.
fn anew(
    instance: &Instance,
    best: &[Column],
    chosen: &BTreeSet<usize>,
    time: TimeLeft<'_>,
) -> Option<Vec<Column>> {
    let (inside, outside): (Vec<_>, Vec<_>) =
        best.iter().enumerate().partition(|(index, _)| chosen.contains(index));
    let inside: Vec<Column> = inside.into_iter().map(|(_, column)| column.clone()).collect();
    let outside: Vec<Column> = outside.into_iter().map(|(_, column)| column.clone()).collect();
    let part = part_of(instance, &inside, &outside);
    let started = time();
    let left = || ROUND.saturating_sub(started.saturating_sub(time())).min(time());
    let mut pool = Pool::default();
    let ceilings = first_columns(&part.instance, &mut pool).ok()?;
    let limits = Ceilings { prices: ceilings, most: bound::most_cost(&part.instance) };
    let goal = Goal { close: CLOSE, enough: f64::INFINITY, rounds: bound::MOST_ROUNDS };
    let need = vec![1.0; part.instance.models];
    let lower = bound::raise(&part.instance, &mut pool, &need, limits, None, goal, &left);
    let known: Vec<Column> = inside.iter().map(|column| part.inward(column)).collect::<Option<_>>()?;
    let before = total(&inside);
    if before - lower.value <= 1e-6 * before {
        return None;
    }
    let room = before - lower.value;
    let most: Vec<f64> = lower.kind_prices.iter().map(|price| room - price).collect();
    let listed = enumerate::enumerate_up_to(&part.instance, &lower.prices, &most, (100_000, 3000), &left);
    for column in listed.into_iter().flatten().chain(known.iter().cloned()) {
        pool.add(&part.instance, column);
    }
    let columns: Vec<Column> = pool.0.into_values().collect();
    let better = match master::choose(&part.instance, &columns, Some(&known), left()) {
        Chosen::Best(better) | Chosen::Some(better) => better,
        Chosen::None | Chosen::GaveUp => return None,
    };
    if total(&better) >= before - 1e-9 * before {
        return None;
    }
    let better = better.iter().map(|column| part.outward(instance, column));
    let whole: Vec<Column> = outside.into_iter().map(Some).chain(better).collect::<Option<_>>()?;
    instance.check(&whole).ok().map(|()| whole)
}

/// Some of the models and devices of an instance.
struct Part {
    instance: Instance,
    /// By kind, clock and slot: the number in the whole of each entry.
    entries: Vec<Vec<Vec<Vec<usize>>>>,
}

/// The part that serves what `inside` does, with its devices and those that nobody uses.
fn part_of(instance: &Instance, inside: &[Column], outside: &[Column]) -> Part {
    let models: BTreeSet<usize> =
        inside.iter().flat_map(|column| instance.cover(column).into_keys()).collect();
    let mut place = vec![None; instance.models];
    for (index, model) in models.iter().enumerate() {
        place[*model] = Some(index);
    }
    let mut part = Instance { models: models.len(), kinds: instance.kinds.clone() };
    let mut entries = Vec::new();
    for (index, kind) in part.kinds.iter_mut().enumerate() {
        let used = outside.iter().filter(|column| column.kind == index).count();
        kind.count = kind.count.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX));
        let mut of_kind = Vec::new();
        for clock in &mut kind.clocks {
            let mut of_clock = Vec::new();
            for list in &mut clock.entries {
                let (mut numbers, mut kept) = (Vec::new(), Vec::new());
                for (number, entry) in list.iter().enumerate() {
                    if let Some(model) = place[entry.model] {
                        numbers.push(number);
                        kept.push(Entry { model, ..*entry });
                    }
                }
                *list = kept;
                of_clock.push(numbers);
            }
            of_kind.push(of_clock);
        }
        entries.push(of_kind);
    }
    Part { instance: part, entries }
}

impl Part {
    fn inward(&self, column: &Column) -> Option<Column> {
        let of = self.entries.get(column.kind)?.get(column.clock)?;
        let seat = |(slot, entry): &(usize, usize)| {
            Some((*slot, of.get(*slot)?.iter().position(|number| number == entry)?))
        };
        let seats = column.seats.iter().map(seat).collect::<Option<Vec<_>>>()?;
        Some(self.instance.column(column.kind, column.clock, column.layout, seats))
    }

    fn outward(&self, whole: &Instance, column: &Column) -> Option<Column> {
        let of = self.entries.get(column.kind)?.get(column.clock)?;
        let seat = |(slot, entry): &(usize, usize)| Some((*slot, *of.get(*slot)?.get(*entry)?));
        let seats = column.seats.iter().map(seat).collect::<Option<Vec<_>>>()?;
        Some(whole.column(column.kind, column.clock, column.layout, seats))
    }
}
