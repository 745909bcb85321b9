//! The device that pays best at given prices of models, exactly enough for a lower bound.
//!
//! Cost is a concave function of two sums over the tenants (see [`crate::instance`]): of `-ln(1 - u)` and
//! of `-ln(1 - κ u d)`. A concave function is the least of its tangents, so the cheapest device is the
//! cheapest over a list of tangents, for each of which costs add up and the best tenants are found
//! by dynamic programming. Between two tangents the least of them is too high by at most
//! a known amount, which is taken off: what is told is never more than the true minimum.

use std::collections::BTreeMap;

use crate::instance::{Clock, Column, Entry, Instance, Kind};

/// Tangents for the shared idle power.
const IDLE_TANGENTS: u32 = 16;
/// Tangents for the overlap of draws, where there is any.
const OVERLAP_TANGENTS: u32 = 12;

/// What pricing finds.
pub(crate) struct Priced {
    /// By kind: no device of it costs less, less the prices of what it serves.
    pub(crate) least: Vec<f64>,
    /// The best devices found, one for each kind, clock and tangent, each once.
    pub(crate) columns: Vec<Column>,
}

/// A tangent of `1 - exp(-s)`: `offset + slope x s`.
#[derive(Clone, Copy)]
struct Tangent {
    offset: f64,
    slope: f64,
}

/// So many tangents of `1 - exp(-s)`, and how much the least of them is too high at most.
fn tangents(count: u32) -> (Vec<Tangent>, f64) {
    // Evenly spaced in exp(-s/2), which makes the gaps about equal; the last lies flat at 1.
    let exponentials: Vec<f64> =
        (0..=count).map(|index| (1.0 - f64::from(index) / f64::from(count)).powi(2)).collect();
    let tangent = |slope: f64| {
        let at = if slope > 0.0 { -slope.ln() } else { 0.0 };
        Tangent { offset: 1.0 - slope * (1.0 + at), slope }
    };
    let all: Vec<Tangent> = exponentials.into_iter().map(tangent).collect();
    let gap = |pair: &[Tangent]| match pair {
        [a, b] => {
            let crossing = (b.offset - a.offset) / (a.slope - b.slope);
            a.offset + a.slope * crossing - (1.0 - (-crossing).exp())
        }
        _ => 0.0,
    };
    let most = all.windows(2).map(gap).fold(0.0, f64::max);
    (all, most)
}

/// The tangents to look at: one that is exact where the term is not there.
fn tangents_of(is_there: bool, count: u32) -> (Vec<Tangent>, f64) {
    if is_there { tangents(count) } else { (vec![Tangent { offset: 0.0, slope: 0.0 }], 0.0) }
}

/// Prices every kind of device; `prices` are of whole models.
pub(crate) fn price(instance: &Instance, prices: &[f64]) -> Priced {
    let mut priced = Priced { least: vec![f64::INFINITY; instance.kinds.len()], columns: Vec::new() };
    for (index, kind) in instance.kinds.iter().enumerate() {
        let mut best_of_kind: Option<(f64, usize, Tangent, Tangent)> = None;
        for (clock_index, clock) in kind.clocks.iter().enumerate() {
            let (idle, idle_gap) = tangents_of(clock.shared_idle_watts > 0.0, IDLE_TANGENTS);
            let (overlap, overlap_gap) = tangents_of(kind.overlap > 0.0, OVERLAP_TANGENTS);
            let overlap_gap = if kind.overlap > 0.0 { overlap_gap / kind.overlap } else { 0.0 };
            let gap = kind.per_watt * (clock.shared_idle_watts * idle_gap + overlap_gap);
            let figures = figures_of(kind, clock, prices);
            let mut best: Option<Column> = None;
            let mut best_cost = f64::INFINITY;
            for idle in &idle {
                for overlap in &overlap {
                    let search = Search::new(kind, clock, &figures, *idle, *overlap);
                    let (value, layout, seats) = search.best();
                    let least = search.base - value;
                    priced.least[index] = priced.least[index].min(least - gap);
                    if seats.is_empty() {
                        continue;
                    }
                    let column = instance.column(index, clock_index, layout, seats);
                    let reduced = column.cost - worth(instance, &column, prices);
                    if reduced < best_cost {
                        (best, best_cost) = (Some(column), reduced);
                    }
                    if best_of_kind.is_none_or(|(known, ..)| reduced < known) {
                        best_of_kind = Some((reduced, clock_index, *idle, *overlap));
                    }
                }
            }
            priced.columns.extend(best);
        }
        if let Some((_, clock, idle, overlap)) = best_of_kind {
            disjoint(instance, index, clock, (idle, overlap), prices, &mut priced.columns);
        }
    }
    priced
}

/// Adds the best device at a clock and tangents, then the best of whom it leaves, and so on: together they tell the prices of all
/// models at once, where many devices of nearly the same tenants tell those of a few.
fn disjoint(
    instance: &Instance,
    kind_index: usize,
    clock_index: usize,
    (idle, overlap): (Tangent, Tangent),
    prices: &[f64],
    columns: &mut Vec<Column>,
) {
    let Some(kind) = instance.kinds.get(kind_index) else { return };
    let Some(clock) = kind.clocks.get(clock_index) else { return };
    let mut left = prices.to_vec();
    for _ in 0..kind.count.min(instance.models as u32) {
        let figures = figures_of(kind, clock, &left);
        let (_, layout, seats) = Search::new(kind, clock, &figures, idle, overlap).best();
        if seats.is_empty() {
            return;
        }
        let column = instance.column(kind_index, clock_index, layout, seats);
        if column.cost >= worth(instance, &column, prices) {
            return;
        }
        instance.entries(&column).for_each(|entry| left[entry.model] = 0.0);
        columns.push(column);
    }
}

/// The prices of what `column` serves.
pub(crate) fn worth(instance: &Instance, column: &Column, prices: &[f64]) -> f64 {
    instance.entries(column).map(|entry| prices[entry.model] * entry.share()).sum()
}

/// The best tenants where costs add up.
struct Search<'a> {
    kind: &'a Kind,
    clock: &'a Clock,
    /// Entries that are worth more than they cost, best first, by kind of slot.
    lists: Vec<Vec<(f64, usize)>>,
    /// Cost of the device with nobody on it, at these tangents.
    base: f64,
}

/// What a search needs of an entry: what it is worth, and its two sums in watts at a slope of 1.
struct Figures {
    price: f64,
    idle_watts: f64,
    draw_watts: f64,
}

fn figures_of(kind: &Kind, clock: &Clock, prices: &[f64]) -> Vec<Vec<Figures>> {
    let figures = |entry: &Entry| Figures {
        price: prices[entry.model] * entry.share(),
        idle_watts: clock.shared_idle_watts * entry.busy_exponent(),
        draw_watts: match kind.overlap > 0.0 {
            true => entry.draw_exponent(kind.overlap) / kind.overlap,
            false => entry.draw,
        },
    };
    clock.entries.iter().map(|entries| entries.iter().map(figures).collect()).collect()
}

impl<'a> Search<'a> {
    fn new(
        kind: &'a Kind,
        clock: &'a Clock,
        figures: &[Vec<Figures>],
        idle: Tangent,
        overlap: Tangent,
    ) -> Self {
        let draw_slope = if kind.overlap > 0.0 { overlap.slope } else { 1.0 };
        let value = |of: &Figures| {
            of.price - kind.per_watt * (idle.slope * of.idle_watts + draw_slope * of.draw_watts)
        };
        let list = |figures: &Vec<Figures>| {
            let values = figures.iter().enumerate().map(|(index, of)| (value(of), index));
            let mut list: Vec<(f64, usize)> = values.filter(|(value, _)| *value > 0.0).collect();
            list.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            list
        };
        let overlap_watts = if kind.overlap > 0.0 { overlap.offset / kind.overlap } else { 0.0 };
        let floor = clock.static_watts + clock.shared_idle_watts * idle.offset + overlap_watts;
        let lists = figures.iter().map(list).collect();
        Self { kind, clock, lists, base: kind.fixed + kind.per_watt * floor }
    }

    /// The most that tenants of one device are worth over their cost, its layout and they themselves.
    ///
    /// What is told is never too little. Where a model has entries in different numbers of parts it may be too
    /// much; then seats are left out of the answer until no model has more than all of it.
    fn best(&self) -> (f64, usize, Vec<(usize, usize)>) {
        let most_slots = self.kind.layouts.iter().map(Vec::len).max().unwrap_or(0);
        let candidates = self.candidates(most_slots);
        let mut best = (0.0, 0, Vec::new());
        for (index, slots) in self.kind.layouts.iter().enumerate() {
            let most =
                |slot: &usize| self.lists.get(*slot).and_then(|list| list.first()).map_or(0.0, |b| b.0);
            if slots.iter().map(most).sum::<f64>() <= best.0 {
                continue;
            }
            let (value, seats) = fill(slots, &candidates);
            if value > best.0 {
                best = (value, index, seats);
            }
        }
        let mut seats: Vec<(usize, usize)> = Vec::new();
        for (slot, entry) in best.2 {
            if fits(&self.clock.entries, &seats, slot, entry) {
                seats.push((slot, entry));
            }
        }
        (best.0, best.1, seats)
    }

    /// Who can be among the best tenants: for each kind of slot as many as a device has slots, for of more than those one is
    /// always free. A model's n-th seat needs an entry of n parts or more, so it stands once for each.
    fn candidates(&self, most_slots: usize) -> Vec<Candidate> {
        let mut all: BTreeMap<(usize, u32), Candidate> = BTreeMap::new();
        for (slot, list) in self.lists.iter().enumerate() {
            let mut found = 0;
            for (value, index) in list {
                if found >= most_slots {
                    break;
                }
                let Some(entry) = self.clock.entries.get(slot).and_then(|entries| entries.get(*index)) else {
                    continue;
                };
                for copy in 0..entry.parts {
                    let values =
                        all.entry((entry.model, copy)).or_insert_with(|| vec![None; self.lists.len()]);
                    if let Some(known @ None) = values.get_mut(slot) {
                        *known = Some((*value, *index));
                        found += 1;
                    }
                }
            }
        }
        all.into_values().collect()
    }
}

/// What a tenant is worth in each kind of slot, and by which entry.
type Candidate = Vec<Option<(f64, usize)>>;

/// The best tenants for a layout, by dynamic programming: candidate after candidate takes a slot or none, and a state is
/// how many slots of each kind are taken.
fn fill(slots: &[usize], candidates: &[Candidate]) -> (f64, Vec<(usize, usize)>) {
    let mut kinds: Vec<(usize, usize, usize)> = Vec::new(); // kind of slot, how many, stride
    for slot in slots {
        match kinds.iter_mut().find(|(kind, ..)| kind == slot) {
            Some((_, count, _)) => *count += 1,
            None => kinds.push((*slot, 1, 0)),
        }
    }
    let mut states = 1;
    for (_, count, stride) in &mut kinds {
        *stride = states;
        states *= *count + 1;
    }
    let mut values = vec![f64::NEG_INFINITY; states];
    values[0] = 0.0;
    let mut taken: Vec<Vec<Option<usize>>> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let mut takes = vec![None; states];
        // From full to empty, so that no candidate sits twice.
        for state in (0..states).rev() {
            for (number, (kind, count, stride)) in kinds.iter().enumerate() {
                if state / stride % (count + 1) == 0 {
                    continue;
                }
                let Some((worth, _)) = candidate.get(*kind).copied().flatten() else { continue };
                let value = values[state - stride] + worth;
                if value > values[state] {
                    values[state] = value;
                    takes[state] = Some(number);
                }
            }
        }
        taken.push(takes);
    }
    let best = (0..states).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(0);
    let (mut state, mut seats) = (best, Vec::new());
    for (candidate, takes) in candidates.iter().zip(&taken).rev() {
        if let Some((kind, _, stride)) = takes[state].and_then(|number| kinds.get(number)) {
            if let Some((_, entry)) = candidate.get(*kind).copied().flatten() {
                seats.push((*kind, entry));
            }
            state -= stride;
        }
    }
    (values[best], seats)
}

/// Whether the entry leaves no model with more than all of it on the device.
pub(crate) fn fits(entries: &[Vec<Entry>], seats: &[(usize, usize)], slot: usize, entry: usize) -> bool {
    let get = |(slot, entry): &(usize, usize)| entries.get(*slot).and_then(|list| list.get(*entry));
    let Some(added) = get(&(slot, entry)) else { return false };
    let there = seats.iter().filter_map(get).filter(|other| other.model == added.model);
    there.map(Entry::share).sum::<f64>() + added.share() <= 1.0 + 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_the_tangents_is_too_high_by_no_more_than_told_and_never_too_low() {
        let (all, gap) = tangents(IDLE_TANGENTS);
        assert!(gap < 0.002, "{gap}");
        for step in 0..4000 {
            let s = f64::from(step) * 0.005;
            let least = all.iter().map(|t| t.offset + t.slope * s).fold(f64::INFINITY, f64::min);
            let exact = 1.0 - (-s).exp();
            assert!(least >= exact - 1e-12 && least <= exact + gap + 1e-12, "{s}: {least} for {exact}");
        }
    }
}
