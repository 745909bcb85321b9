//! Every way to run a share of a model in a slice, that sustains its load and keeps its latency objective.
//!
//! ```text
//! latency     the row's tail, and the wait of the 99th percentile with Poisson arrivals (queueing)
//! busy        load / capacity of the smallest batch that keeps up: no larger ones run
//! draw        the row's power less P_S and P_OI, while it is busy
//! ```
//!
//! The rules are those of [`wattle_core::policies::least_power_table`]; that tells why. Everything is modelled, as
//! profiles are taken saturated.

mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use wattle_core::carbon;
use wattle_core::operating_point::ProfileRow;
use wattle_core::profile::PowerFigure;
use wattle_core::provenance::Basis;
use wattle_core::queueing::batch_wait_quantile_bound;
use wattle_core::units::Megahertz;

use crate::fleet::{FleetError, Loaded, Objective};
use crate::instance::{Clock, Entry, Instance, Kind};
use crate::layout;
use rows::{Group, Rows};

/// The share of requests whose latency is bounded.
const TAIL_SHARE: f64 = 0.99;
/// Idle power of what nobody knows the limit of, to weigh power against devices.
const MOST_WATTS: f64 = 2000.0;

/// A kind of slot of a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The device, uncut.
    Whole,
    /// A MIG slice of so many compute slices.
    Mig(u32),
    /// A partition by its name in profiles.
    Named(String),
    /// The device, uncut, with so many models on it.
    SharedBy(u32),
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.pad("whole"),
            Self::Mig(size) => f.pad(&format!("{size}g")),
            Self::Named(name) => f.pad(name),
            Self::SharedBy(count) => f.pad(&format!("shared by {count}")),
        }
    }
}

/// A way to run a share of a model in a slot at a clock: what stands behind an [`Entry`].
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Most rows that run together.
    pub batch_size: u32,
    /// Instances of the model in the slot.
    pub instances: u32,
    /// Rows per second of this share.
    pub load_rps: f64,
    /// Bound on the 99th percentile of latency.
    pub tail_ms: f64,
    /// How it is known.
    pub basis: Basis,
}

/// What is known of a kind of device, beside the numbers of the instance.
#[derive(Debug, Clone, PartialEq)]
pub struct KindFacts {
    /// Its name in the fleet.
    pub name: String,
    /// Its slots.
    pub slots: Vec<Slot>,
    /// Its clocks; `None`: left alone.
    pub clocks: Vec<Option<Megahertz>>,
    /// Embodied emissions of an hour, in grams; `None`: unknown.
    pub embodied_grams_per_hour: Option<f64>,
    /// What one costs that nobody uses; 0 where those don't count.
    pub idle_cost: f64,
}

/// A fleet as numbers, and what the numbers stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The numbers.
    pub instance: Instance,
    /// Kinds of devices, as in the instance.
    pub kinds: Vec<KindFacts>,
    /// Ways to run, by the tags of entries.
    pub choices: Vec<Choice>,
    /// Cost of devices that nobody uses, where they count: to be added to every value.
    pub idle_cost: f64,
    /// What is assumed or left out, for the reader.
    pub notes: Vec<String>,
    /// For each model, why it can't be served, where it can't.
    pub nowhere: BTreeMap<usize, String>,
}

/// What makes a fleet another one, for comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Restrict {
    /// No device is shared.
    pub alone: bool,
    /// So many times the devices there are, to have enough. 0: as many as there are.
    pub devices_times: u32,
}

/// Weighs watts and devices by the objective.
struct Weights {
    per_watt: f64,
    fixed: f64,
}

/// All options of `fleet`.
///
/// # Errors
/// Where a figure that the objective needs is unknown.
pub fn options(loaded: &Loaded, restrict: Restrict) -> Result<Options, FleetError> {
    options_with(loaded, restrict, &[])
}

/// As [`options`], and models cut in `also` so many parts, where that is not what they are cut in anyway.
pub(crate) fn options_with(
    loaded: &Loaded,
    restrict: Restrict,
    also: &[(usize, u32)],
) -> Result<Options, FleetError> {
    let fleet = &loaded.fleet;
    let mut made = Options {
        instance: Instance { models: fleet.models.len(), kinds: Vec::new() },
        kinds: Vec::new(),
        choices: Vec::new(),
        idle_cost: 0.0,
        notes: Vec::new(),
        nowhere: BTreeMap::new(),
    };
    let mut reasons: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut rows = Rows::new(loaded);
    let mut fits = Vec::new();
    // The fewest parts in which each kind of device carries a model. More would only help to fill corners.
    let mut cuts: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); fleet.models.len()];
    for (model, parts) in also {
        cuts[*model].insert(*parts);
    }
    let devices: f64 = fleet.devices.iter().map(|entry| f64::from(entry.count)).sum();
    for (index, entry) in fleet.devices.iter().enumerate() {
        let (slots, layouts) = ways_to_cut(loaded, index, restrict, &mut made.notes);
        let idle = rows.idle_watts(index)?;
        made.notes.extend(rows.of_shared_power(index));
        let embodied = embodied_grams_per_hour(loaded, index);
        if embodied.is_none() && fleet.objective == Objective::Carbon {
            return Err(FleetError {
                file: loaded.file.clone(),
                place: format!("devices {:?}", entry.name),
                found: "embodied emissions or lifetime unknown".to_owned(),
                expected: "both, to plan for least carbon".to_owned(),
                help: "give embodied_kilograms_co2e and lifetime_years, or plan for energy".to_owned(),
            });
        }
        let weights = match fleet.objective {
            Objective::Carbon => {
                Weights { per_watt: loaded.intensity * fleet.pue / 1e3, fixed: embodied.unwrap_or(0.0) }
            }
            Objective::Energy => Weights { per_watt: fleet.pue, fixed: 0.0 },
            // All power of all devices weighs less than one device.
            Objective::Devices => Weights { per_watt: 0.5 / (MOST_WATTS * devices.max(1.0)), fixed: 1.0 },
        };
        let count = entry.count.saturating_mul(restrict.devices_times.max(1));
        let counts = fleet.idle_counts && fleet.objective != Objective::Devices;
        let idle_cost = if counts { weights.fixed + weights.per_watt * idle } else { 0.0 };
        made.idle_cost += idle_cost * f64::from(entry.count);
        let clocks = rows.clocks(index)?;
        let mut kind = Kind {
            count,
            fixed: weights.fixed - idle_cost,
            per_watt: weights.per_watt,
            overlap: entry.overlap_per_watt.unwrap_or(0.0),
            layouts,
            clocks: Vec::new(),
        };
        for clock in &clocks {
            let shared_idle = rows.shared_idle_watts(index, *clock, idle, &mut made.notes);
            kind.clocks.push(Clock {
                static_watts: idle,
                shared_idle_watts: shared_idle,
                entries: vec![Vec::new(); slots.len()],
            });
        }
        for (model, cuts) in cuts.iter_mut().enumerate() {
            let found = Fits::find(&mut rows, index, model, &slots, &clocks);
            match found {
                Ok(_) if entry.count == 0 => {
                    reasons.entry(model).or_default().push(format!("{}: its count is 0", entry.name));
                }
                Ok(found) => {
                    cuts.extend(found.least.iter().flatten().copied().min());
                    fits.push(found);
                }
                Err(reason) => {
                    reasons.entry(model).or_default().push(format!("{}: {reason}", entry.name));
                }
            }
        }
        made.instance.kinds.push(kind);
        made.kinds.push(KindFacts {
            name: entry.name.clone(),
            slots,
            clocks,
            embodied_grams_per_hour: embodied,
            idle_cost,
        });
    }
    for found in &fits {
        if let Some(kind) = made.instance.kinds.get_mut(found.device) {
            found.fill(loaded, &cuts[found.model], kind, &mut made.choices);
        }
    }
    for kind in &mut made.instance.kinds {
        kind.count = kind.count.min(most_used(kind, fleet.models.len()));
    }
    for (model, why) in reasons {
        if why.len() == fleet.devices.len() {
            made.nowhere.insert(model, why.join("; "));
        }
    }
    made.notes.extend(rows.notes());
    made.notes.sort();
    made.notes.dedup();
    Ok(made)
}

/// No more devices than this are of any use: each part of each model on one of its own.
fn most_used(kind: &Kind, models: usize) -> u32 {
    let mut parts = vec![0; models];
    for entry in kind.clocks.iter().flat_map(|clock| clock.entries.iter().flatten()) {
        parts[entry.model] = entry.parts.max(parts[entry.model]);
    }
    parts.iter().sum()
}

fn embodied_grams_per_hour(loaded: &Loaded, device: usize) -> Option<f64> {
    let (entry, spec) = (loaded.fleet.devices.get(device)?, &loaded.devices.get(device)?.spec);
    let of_spec = |figure: &Option<wattle_core::device_spec::Figure<f64>>| figure.as_ref().map(|f| f.value);
    let kilograms = entry.embodied_kilograms_co2e.or_else(|| of_spec(&spec.embodied_kilograms_co2e))?;
    let years = entry.lifetime_years.or_else(|| of_spec(&spec.lifetime_years))?;
    Some(carbon::embodied(kilograms, years, std::time::Duration::from_secs(3600)).get())
}

/// The slots of a kind of device, and the ways to cut it into them.
fn ways_to_cut(
    loaded: &Loaded,
    device: usize,
    restrict: Restrict,
    notes: &mut Vec<String>,
) -> (Vec<Slot>, Vec<Vec<usize>>) {
    let (Some(entry), Some(known)) = (loaded.fleet.devices.get(device), loaded.devices.get(device)) else {
        return (Vec::new(), Vec::new());
    };
    let mut slots: Vec<Slot> = Vec::new();
    let mut layouts: Vec<Vec<usize>> = Vec::new();
    let mut number = |slot: Slot| {
        let place = slots.iter().position(|known| *known == slot);
        place.unwrap_or_else(|| {
            slots.push(slot);
            slots.len() - 1
        })
    };
    if entry.whole {
        layouts.push(vec![number(Slot::Whole)]);
    }
    let slices = known.spec.mig_slices.as_ref().map(|figure| figure.value);
    let cut = entry.mig.unwrap_or(slices.is_some());
    match slices {
        Some(slices) if cut => {
            let fullest = layout::fullest(slices);
            if fullest.is_empty() {
                notes.push(format!("{}: how a device of {slices} slices is cut is not known", entry.name));
            }
            for sizes in fullest {
                layouts.push(sizes.into_iter().map(|size| number(Slot::Mig(size))).collect());
            }
        }
        None if cut => notes.push(format!("{}: its spec tells no mig_slices, so it is not cut", entry.name)),
        _ => {}
    }
    for names in &entry.layouts {
        let mut layout: Vec<usize> = names.iter().map(|name| number(Slot::Named(name.clone()))).collect();
        layout.sort_unstable();
        layouts.push(layout);
    }
    match &entry.sharing {
        Some(sharing) => {
            for count in 2..=sharing.most {
                layouts.push(vec![number(Slot::SharedBy(count)); count as usize]);
            }
            notes.push(format!(
                "{}: sharing without partitions, each neighbour slowing by {} (assumed: {})",
                entry.name, sharing.slowdown_per_neighbour, sharing.source
            ));
        }
        None => notes.push(format!(
            "{}: sharing without partitions (MPS, time slices) is not offered: what neighbours do to each other \
             is not known; give sharing, or layouts with profiles of it",
            entry.name
        )),
    }
    if restrict.alone {
        // A slot of a device of its own; the smaller ones too, as it may as well be cut.
        let mut alone: Vec<Vec<usize>> = layouts.iter().flatten().map(|slot| vec![*slot]).collect();
        alone.retain(|layout| {
            !matches!(layout.first().and_then(|slot| slots.get(*slot)), Some(Slot::SharedBy(_)))
        });
        alone.sort_unstable();
        alone.dedup();
        layouts = alone;
    }
    (slots, layouts)
}

/// Where one model fits on one kind of device.
struct Fits {
    device: usize,
    model: usize,
    /// By slot: rows that differ in batch size only, with the numbers of their clocks.
    groups: Vec<Vec<Group>>,
    /// By slot: the fewest parts in which it carries the model at some clock.
    least: Vec<Option<u32>>,
}

/// A row as it is in a slot.
#[derive(Debug, Clone, Copy)]
struct Fitted {
    batch_size: u32,
    instances: u32,
    capacity_rps: f64,
    tail_seconds: f64,
    watts: f64,
    /// The share of the time that it may be busy, at most.
    most_busy: f64,
    basis: Basis,
}

impl Fits {
    /// Looks at every slot. Errors: why the model fits none.
    fn find(
        rows: &mut Rows<'_>,
        device: usize,
        model: usize,
        slots: &[Slot],
        clocks: &[Option<Megahertz>],
    ) -> Result<Self, String> {
        let fleet = rows.fleet();
        let (entry, most, headroom) = (&fleet.models[model], fleet.most_replicas, fleet.headroom);
        let (load, slo) = (entry.load_rps, entry.slo_ms / 1e3);
        let mut found = Self { device, model, groups: Vec::new(), least: Vec::new() };
        let mut near: Option<Near> = None;
        for slot in slots {
            let groups = rows.groups(device, model, slot, clocks)?;
            let fits = |parts: u32| {
                let load = load / f64::from(parts);
                groups.iter().any(|(_, group)| chosen(group, load, slo, 0.0, headroom).is_some())
            };
            found.least.push((1..=most).find(|parts| fits(*parts)));
            for (_, group) in &groups {
                near = Near::better(near, Near::of(group));
            }
            found.groups.push(groups);
        }
        if found.least.iter().any(Option::is_some) {
            return Ok(found);
        }
        Err(near.map_or_else(|| rows.why_none(device, model), |near| near.told(load, slo, most)))
    }

    /// Adds the entries of the model, its load cut as in `cuts`, to `kind`.
    fn fill(&self, loaded: &Loaded, cuts: &BTreeSet<u32>, kind: &mut Kind, choices: &mut Vec<Choice>) {
        let fleet = &loaded.fleet;
        let entry = &fleet.models[self.model];
        let (load, slo) = (entry.load_rps, entry.slo_ms / 1e3);
        for (slot, groups) in self.groups.iter().enumerate() {
            let Some(least) = self.least.get(slot).copied().flatten() else { continue };
            for (clock, group) in groups {
                let Some(at) = kind.clocks.get_mut(*clock) else { continue };
                let floor = at.static_watts + at.shared_idle_watts;
                for parts in cuts.iter().copied().filter(|parts| *parts >= least) {
                    let load = load / f64::from(parts);
                    let Some((choice, busy, draw)) = chosen(group, load, slo, floor, fleet.headroom) else {
                        continue;
                    };
                    let Some(list) = at.entries.get_mut(slot) else { continue };
                    let entry = Entry { model: self.model, parts, busy, draw, tag: choices.len() };
                    let same = |other: &Entry| other.model == entry.model && other.parts == entry.parts;
                    // Nothing chooses what is busier and draws more.
                    if list.iter().any(|other| same(other) && other.busy <= busy && other.draw <= draw) {
                        continue;
                    }
                    list.retain(|other| !(same(other) && busy <= other.busy && draw <= other.draw));
                    list.push(entry);
                    choices.push(choice);
                }
            }
        }
    }
}

/// How `load` rows per second run with the rows of `group`, which differ in batch size only: the choice,
/// the share of time busy, and the mean draw over `floor`. `None`: they don't keep up, or are too slow.
fn chosen(group: &[Fitted], load: f64, slo: f64, floor: f64, headroom: f64) -> Option<(Choice, f64, f64)> {
    let keeps = group.iter().find_map(|fitted| {
        if load > fitted.capacity_rps * headroom * fitted.most_busy || fitted.tail_seconds > slo {
            return None;
        }
        let instances = f64::from(fitted.instances);
        let batch_seconds = f64::from(fitted.batch_size) * instances / fitted.capacity_rps;
        let wait = batch_wait_quantile_bound(load / instances, batch_seconds, fitted.batch_size, TAIL_SHARE)?;
        let tail = fitted.tail_seconds + wait;
        (tail <= slo * (1.0 + 1e-9)).then_some((fitted, tail))
    });
    let (fitted, tail) = keeps?;
    let smallest = group
        .iter()
        .find(|other| other.batch_size <= fitted.batch_size && other.capacity_rps * other.most_busy >= load)
        .unwrap_or(fitted);
    let busy = load / smallest.capacity_rps;
    let draw = busy * (smallest.watts - floor).max(0.0);
    let choice = Choice {
        batch_size: fitted.batch_size,
        instances: fitted.instances,
        load_rps: load,
        tail_ms: tail * 1e3,
        basis: fitted.basis.max(Basis::Modelled),
    };
    Some((choice, busy, draw))
}

/// How near a model comes to being served: for the reason told where it is not.
#[derive(Debug, Clone, Copy)]
struct Near {
    capacity_rps: f64,
    tail_seconds: f64,
}

impl Near {
    fn of(group: &[Fitted]) -> Option<Self> {
        let tail_seconds = group.iter().map(|fitted| fitted.tail_seconds).reduce(f64::min)?;
        let capacity_rps = group.iter().map(|fitted| fitted.capacity_rps).reduce(f64::max)?;
        Some(Self { capacity_rps, tail_seconds })
    }

    fn better(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(Self {
                capacity_rps: a.capacity_rps.max(b.capacity_rps),
                tail_seconds: a.tail_seconds.min(b.tail_seconds),
            }),
            (a, b) => a.or(b),
        }
    }

    fn told(self, load: f64, slo: f64, most: u32) -> String {
        if self.tail_seconds > slo {
            return format!(
                "a batch takes {:.1} ms at least, the objective is {:.1} ms",
                self.tail_seconds * 1e3,
                slo * 1e3
            );
        }
        format!(
            "{load} rows/s, in {most} parts at most, can't be kept within {:.1} ms: a slot takes {:.1} rows/s at most, \
             a batch {:.1} ms at least, before any wait",
            slo * 1e3,
            self.capacity_rps,
            self.tail_seconds * 1e3
        )
    }
}

/// Power of a row, rows per second and tail, where all are known and make sense.
fn figures(row: &ProfileRow, tail_ms: Option<f64>) -> Option<(f64, f64, f64)> {
    let watts = PowerFigure::Mean.of(row)?.get();
    let rps = row.throughput_rps.filter(|rps| rps.is_finite() && *rps > 0.0)?;
    let tail = tail_ms.filter(|tail| tail.is_finite() && *tail > 0.0)?;
    (watts.is_finite() && row.point.batch_size > 0 && row.point.instances > 0).then_some((
        watts,
        rps,
        tail / 1e3,
    ))
}
