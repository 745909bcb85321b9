//! A fleet as numbers: what a device with given tenants draws and costs.
//!
//! ```text
//! power   P_S + P_OI (1 - Π(1 - u_i)) + (1 - Π(1 - κ u_i d_i)) / κ     with κ = 0: + Σ u_i d_i
//! cost    fixed + per_watt x power
//! ```
//!
//! A tenant is busy for a share `u` of the time and then draws `d` over the floor. Tenants are busy independently
//! of each other, so the mean of both products is the product of the means: this is the mean of
//! [`wattle_core::shared_power`] over time.

use std::collections::BTreeMap;

/// A tenant's mean draw of so much of 1/κ, at most: the overlap rule has no meaning beyond.
const MOST_OVERLAP: f64 = 0.999;

/// What is to be served, and what there is to serve it with.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Number of models; they are told by index.
    pub models: usize,
    /// Devices, by kind.
    pub kinds: Vec<Kind>,
}

/// Devices that are all alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// How many there are.
    pub count: u32,
    /// Cost of using one, whatever it draws.
    pub fixed: f64,
    /// Cost of each watt of mean power.
    pub per_watt: f64,
    /// κ, per watt: see [`wattle_core::shared_power`]. 0: draws add up.
    pub overlap: f64,
    /// The ways to cut it, each a list of kinds of slots, equal ones next to each other. Any slot may stay empty.
    pub layouts: Vec<Vec<usize>>,
    /// The clocks it can run at; all slots share one.
    pub clocks: Vec<Clock>,
}

/// A kind of device at one clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Clock {
    /// `P_S`, drawn whatever runs.
    pub static_watts: f64,
    /// `P_OI`, drawn while anything runs.
    pub shared_idle_watts: f64,
    /// What can be in a slot, by kind of slot.
    pub entries: Vec<Vec<Entry>>,
}

/// A share of a model's load, in a slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// The model.
    pub model: usize,
    /// The load is cut in so many parts, of which this is one.
    pub parts: u32,
    /// Share of the time that it is busy, in [0, 1).
    pub busy: f64,
    /// Mean draw over the floor, in watts: `u d`.
    pub draw: f64,
    /// What the caller knows it by.
    pub tag: usize,
}

impl Entry {
    /// The share of the model's load.
    pub fn share(&self) -> f64 {
        1.0 / f64::from(self.parts)
    }

    /// `-ln(1 - u)`.
    pub(crate) fn busy_exponent(&self) -> f64 {
        -(-self.busy.min(0.999_999)).ln_1p()
    }

    /// `-ln(1 - κ u d)`.
    pub(crate) fn draw_exponent(&self, overlap: f64) -> f64 {
        -(-(overlap * self.draw).min(MOST_OVERLAP)).ln_1p()
    }
}

/// One device in use: its kind, clock, cut, and who is in which slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Which kind of device.
    pub kind: usize,
    /// Which of its clocks.
    pub clock: usize,
    /// Which of its layouts.
    pub layout: usize,
    /// Kinds of slots with the number of the entry in each. Never empty.
    pub seats: Vec<(usize, usize)>,
    /// What it costs.
    pub cost: f64,
}

/// What tells columns apart that serve the same on the same kind: model and parts, sorted.
pub(crate) type CoverKey = (usize, Vec<(usize, u32)>);

impl Instance {
    /// The entries on the device of `column`.
    pub fn entries<'a>(&'a self, column: &'a Column) -> impl Iterator<Item = &'a Entry> + 'a {
        let clock = self.kinds.get(column.kind).and_then(|kind| kind.clocks.get(column.clock));
        column.seats.iter().filter_map(move |(slot, entry)| clock?.entries.get(*slot)?.get(*entry))
    }

    /// How much of each model's load `column` serves.
    pub fn cover(&self, column: &Column) -> BTreeMap<usize, f64> {
        let mut cover = BTreeMap::new();
        for entry in self.entries(column) {
            *cover.entry(entry.model).or_insert(0.0) += entry.share();
        }
        cover
    }

    pub(crate) fn key(&self, column: &Column) -> CoverKey {
        let mut served: Vec<_> = self.entries(column).map(|entry| (entry.model, entry.parts)).collect();
        served.sort_unstable();
        (column.kind, served)
    }

    /// Mean power of a device of `kind` at `clock` with `entries` on it.
    pub fn power<'a>(kind: &Kind, clock: &Clock, entries: impl Iterator<Item = &'a Entry>) -> f64 {
        let (mut busy, mut sum, mut overlapping) = (0.0, 0.0, 0.0);
        for entry in entries {
            busy += entry.busy_exponent();
            sum += entry.draw;
            overlapping += entry.draw_exponent(kind.overlap);
        }
        let draw = if kind.overlap > 0.0 { -(-overlapping).exp_m1() / kind.overlap } else { sum };
        clock.static_watts + clock.shared_idle_watts * -(-busy).exp_m1() + draw
    }

    /// What a device costs with `seats` taken.
    pub(crate) fn cost(&self, kind: usize, clock: usize, seats: &[(usize, usize)]) -> f64 {
        let Some((of, at)) = self.kinds.get(kind).and_then(|of| Some((of, of.clocks.get(clock)?))) else {
            return f64::INFINITY;
        };
        let entries = seats.iter().filter_map(|(slot, entry)| at.entries.get(*slot)?.get(*entry));
        of.fixed + of.per_watt * Self::power(of, at, entries)
    }

    /// A column of these seats, with its cost.
    pub(crate) fn column(
        &self,
        kind: usize,
        clock: usize,
        layout: usize,
        seats: Vec<(usize, usize)>,
    ) -> Column {
        let cost = self.cost(kind, clock, &seats);
        Column { kind, clock, layout, seats, cost }
    }

    /// Whether `columns` are a lawful answer: every model served whole, no more devices than there are, every
    /// slot of its layout taken once, no more of a model on a device than all of it. Written apart from what
    /// finds answers, to check it; tells the first fault.
    pub fn check(&self, columns: &[Column]) -> Result<(), String> {
        let mut served = vec![0.0; self.models];
        let mut used = vec![0u32; self.kinds.len()];
        for (index, column) in columns.iter().enumerate() {
            let fault = |what: &str| Err(format!("device {}: {what}", index + 1));
            let Some(kind) = self.kinds.get(column.kind) else { return fault("no such kind") };
            let Some(layout) = kind.layouts.get(column.layout) else { return fault("no such layout") };
            let Some(clock) = kind.clocks.get(column.clock) else { return fault("no such clock") };
            used[column.kind] += 1;
            let mut free = layout.clone();
            for (slot, entry) in &column.seats {
                let Some(place) = free.iter().position(|have| have == slot) else {
                    return fault("a slot that its layout has not");
                };
                free.remove(place);
                let Some(entry) = clock.entries.get(*slot).and_then(|entries| entries.get(*entry)) else {
                    return fault("no such entry");
                };
                served[entry.model] += entry.share();
            }
            if column.seats.is_empty() {
                return fault("nobody on it");
            }
            if self.cover(column).values().any(|share| *share > 1.0 + 1e-9) {
                return fault("more than all of a model");
            }
            let cost = self.cost(column.kind, column.clock, &column.seats);
            if (cost - column.cost).abs() > 1e-9 * cost.abs().max(1.0) {
                return fault("a cost that is not its own");
            }
        }
        if let Some(kind) = (0..self.kinds.len()).find(|kind| used[*kind] > self.kinds[*kind].count) {
            return Err(format!("kind {kind}: {} used of {}", used[kind], self.kinds[kind].count));
        }
        match served.iter().position(|share| *share < 1.0 - 1e-9) {
            Some(model) => Err(format!("model {model}: {} of it served", served[model])),
            None => Ok(()),
        }
    }
}
