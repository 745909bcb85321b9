//! All devices that can be part of an answer better than the one known.

use std::collections::BTreeMap;

use super::TimeLeft;
use super::exact::MOST_MODELS;
use super::pricing::fits;
use crate::instance::{Clock, Column, CoverKey, Entry, Instance, Kind};

/// Steps of the search, at most; a fleet that takes more is too large to list.
const MOST_STEPS: u64 = 8_000_000;
/// Columns listed, at most: where the rest is dynamic programming, and where it is branch and bound.
const MOST_COLUMNS: (usize, usize) = (400_000, 6_000);
/// Steps between two looks at the clock.
const LOOK: u64 = 4096;

/// As [`enumerate_up_to`], up to what can be solved to the end.
pub(crate) fn enumerate(
    instance: &Instance,
    prices: &[f64],
    most: &[f64],
    time: TimeLeft<'_>,
) -> Option<Vec<Column>> {
    let few = instance.models <= MOST_MODELS;
    let columns = if few { MOST_COLUMNS.0 } else { MOST_COLUMNS.1 };
    enumerate_up_to(instance, prices, most, (MOST_STEPS, columns), time)
}

/// Every column whose cost, less the prices of what it serves, is at most `most` of its kind; of those
/// that serve the same on the same kind the cheapest. `None`: too many to list.
pub(crate) fn enumerate_up_to(
    instance: &Instance,
    prices: &[f64],
    most: &[f64],
    limits: (u64, usize),
    time: TimeLeft<'_>,
) -> Option<Vec<Column>> {
    let mut found = BTreeMap::new();
    let mut steps = 0;
    for (index, kind) in instance.kinds.iter().enumerate() {
        for (clock_index, clock) in kind.clocks.iter().enumerate() {
            let values = least_values(kind, clock, prices);
            for (layout, slots) in kind.layouts.iter().enumerate() {
                let best = |slot: &usize| {
                    values.get(*slot).map_or(0.0, |list| list.iter().map(|value| value.0).fold(0.0, f64::max))
                };
                let mut rest = vec![0.0; slots.len() + 1];
                for place in (0..slots.len()).rev() {
                    rest[place] = rest[place + 1] + best(&slots[place]);
                }
                let mut listing = Listing {
                    instance,
                    prices,
                    place: (index, clock_index, layout),
                    slots,
                    entries: &clock.entries,
                    values: &values,
                    rest,
                    most: most[index],
                    seats: Vec::new(),
                    limits,
                    time,
                    steps: &mut steps,
                    found: &mut found,
                };
                if !listing.fill(0, 0, 0.0) {
                    return None;
                }
            }
        }
    }
    Some(found.into_values().collect())
}

/// What each entry is worth at most over what it adds to the cost, whoever else is there; best first.
fn least_values(kind: &Kind, clock: &Clock, prices: &[f64]) -> Vec<Vec<(f64, usize)>> {
    let all = || clock.entries.iter().flatten();
    let most_draw = all().map(|entry| entry.draw).fold(0.0, f64::max);
    let slots = kind.layouts.iter().map(Vec::len).max().unwrap_or(0);
    // The last of them adds least: what the others leave of 1/κ.
    let left = (1.0 - kind.overlap * most_draw).max(0.0).powi(slots.saturating_sub(1) as i32);
    let value = |entry: &Entry| prices[entry.model] * entry.share() - kind.per_watt * entry.draw * left;
    let list = |entries: &Vec<Entry>| {
        let mut list: Vec<(f64, usize)> =
            entries.iter().enumerate().map(|(index, entry)| (value(entry), index)).collect();
        list.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        list
    };
    clock.entries.iter().map(list).collect()
}

struct Listing<'a> {
    instance: &'a Instance,
    prices: &'a [f64],
    /// Kind, clock and layout.
    place: (usize, usize, usize),
    slots: &'a [usize],
    entries: &'a [Vec<Entry>],
    values: &'a [Vec<(f64, usize)>],
    rest: Vec<f64>,
    most: f64,
    seats: Vec<(usize, usize)>,
    /// Steps and columns, at most.
    limits: (u64, usize),
    time: TimeLeft<'a>,
    steps: &'a mut u64,
    found: &'a mut BTreeMap<CoverKey, Column>,
}

impl Listing<'_> {
    /// Fills the slot at `place` and all after it. `false`: given up.
    fn fill(&mut self, place: usize, from: usize, worth: f64) -> bool {
        *self.steps += 1;
        let is_late = self.steps.is_multiple_of(LOOK) && (self.time)().is_zero();
        if *self.steps > self.limits.0 || is_late {
            return false;
        }
        let (kind, clock, layout) = self.place;
        let cost = self.instance.cost(kind, clock, &self.seats);
        if cost - worth - self.rest[place] > self.most {
            return true;
        }
        let Some(&slot) = self.slots.get(place) else {
            return self.seats.is_empty() || self.note(layout, cost, worth);
        };
        let is_equal_next = self.slots.get(place + 1) == Some(&slot);
        let list = self.values.get(slot).map_or(&[][..], Vec::as_slice);
        for (offset, (value, entry)) in list.iter().enumerate().skip(from) {
            if cost - worth - value - self.rest[place + 1] > self.most {
                break;
            }
            if !fits(self.entries, &self.seats, slot, *entry) {
                continue;
            }
            let added = self.entries[slot][*entry];
            self.seats.push((slot, *entry));
            let price = self.prices[added.model] * added.share();
            let goes_on = self.fill(place + 1, if is_equal_next { offset } else { 0 }, worth + price);
            self.seats.pop();
            if !goes_on {
                return false;
            }
        }
        let next = (place..self.slots.len()).find(|next| self.slots[*next] != slot);
        self.fill(next.unwrap_or(self.slots.len()), 0, worth)
    }

    fn note(&mut self, layout: usize, cost: f64, worth: f64) -> bool {
        if cost - worth > self.most {
            return true;
        }
        let (kind, clock, _) = self.place;
        let column = Column { kind, clock, layout, seats: self.seats.clone(), cost };
        let key = self.instance.key(&column);
        if self.found.get(&key).is_none_or(|known| cost < known.cost) {
            self.found.insert(key, column);
        }
        self.found.len() <= self.limits.1
    }
}
