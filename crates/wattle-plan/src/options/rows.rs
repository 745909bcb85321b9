//! Rows of profiles, measured or modelled, by device, model, slot and clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wattle_core::analytic::{self, Grid};
use wattle_core::operating_point::ProfileRow;
use wattle_core::profile::{PowerFigure, Profile, idle_power_of, partition};
use wattle_core::provenance::Basis;
use wattle_core::units::Megahertz;

use super::{Fitted, Slot, figures};
use crate::fleet::{Fleet, FleetError, Loaded};

/// Batch sizes of modelled profiles.
const BATCH_SIZES: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];

/// What a modelled profile is of: device, network, size and slot.
type ModelledKey = (usize, String, u64, Slot);

/// All rows of a fleet, modelled as they are asked for.
pub(super) struct Rows<'l> {
    loaded: &'l Loaded,
    modelled: BTreeMap<ModelledKey, Result<Arc<Profile>, String>>,
    notes: BTreeSet<String>,
}

/// Rows that differ in batch size only, and the number of their clock.
pub(super) type Group = (usize, Vec<Fitted>);

impl<'l> Rows<'l> {
    pub(super) fn new(loaded: &'l Loaded) -> Self {
        Self { loaded, modelled: BTreeMap::new(), notes: BTreeSet::new() }
    }

    pub(super) fn fleet(&self) -> &'l Fleet {
        &self.loaded.fleet
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.notes.iter().cloned()
    }

    /// Power of the device at rest.
    pub(super) fn idle_watts(&self, device: usize) -> Result<f64, FleetError> {
        let (entry, spec) = (&self.loaded.fleet.devices[device], &self.loaded.devices[device].spec);
        let of_spec = || spec.loaded_idle_power_watts.as_ref().or(spec.idle_power_watts.as_ref());
        let profiles = || self.loaded.sources.iter().filter_map(|source| source.profiles.get(&entry.name));
        let idle = entry
            .idle_power_watts
            .or_else(|| of_spec().map(|figure| figure.value.get()))
            .or_else(|| idle_power_of(profiles().map(Arc::as_ref)).map(|watts| watts.get()));
        idle.ok_or_else(|| FleetError {
            file: self.loaded.file.clone(),
            place: format!("devices {:?}", entry.name),
            found: "power at rest unknown".to_owned(),
            expected: "it in the spec, a profile's head or here".to_owned(),
            help: "give idle_power_watts".to_owned(),
        })
    }

    /// How it is known what several models draw at once.
    pub(super) fn of_shared_power(&self, device: usize) -> Option<String> {
        let (entry, known) = (&self.loaded.fleet.devices[device], &self.loaded.devices[device].shared_power);
        let name = &entry.name;
        let adds_up = "what several models draw at once is added up, as no overlap is known";
        match (known, entry.overlap_per_watt) {
            (Some(known), Some(_)) => Some(format!("{name}: shared power {known}")),
            (Some(known), None) => Some(format!("{name}: shared power {known}; {adds_up}")),
            (None, Some(_)) => None,
            (None, None) => Some(format!("{name}: {adds_up}")),
        }
    }

    /// `P_OI` at a clock, given `P_S`.
    pub(super) fn shared_idle_watts(
        &self,
        device: usize,
        clock: Option<Megahertz>,
        idle: f64,
        notes: &mut Vec<String>,
    ) -> f64 {
        let (entry, spec) = (&self.loaded.fleet.devices[device], &self.loaded.devices[device].spec);
        if let Some(watts) = entry.shared_idle_power_watts {
            return watts;
        }
        let at = clock.or_else(|| spec.boost_clock_mhz.as_ref().map(|figure| figure.value));
        let clocked = spec.static_power_watts.as_ref().zip(at).and_then(|(curve, at)| curve.value.at(at));
        match clocked {
            Some(watts) => (watts - idle).max(0.0),
            None => {
                notes.push(format!(
                    "{}: the idle draw of parts that all slices share is unknown and counted with each model: too \
                     high where several share",
                    entry.name
                ));
                0.0
            }
        }
    }

    /// The clocks that any model has rows at, ascending; `None` first.
    pub(super) fn clocks(&mut self, device: usize) -> Result<Vec<Option<Megahertz>>, FleetError> {
        let entry = &self.loaded.fleet.devices[device];
        let mut clocks: BTreeSet<Option<u64>> = BTreeSet::new();
        let bits = |clock: Megahertz| clock.get().to_bits();
        for model in 0..self.loaded.fleet.models.len() {
            if let Some(profile) = self.loaded.sources[model].profiles.get(&entry.name) {
                clocks.extend(profile.rows.iter().map(|row| row.point.core_clock_mhz.map(bits)));
            } else if self.loaded.sources[model].network.is_some() {
                clocks.extend(self.modelled_clocks(device).into_iter().map(|clock| Some(bits(clock))));
            }
        }
        if let Some(wanted) = &entry.clocks_mhz {
            let wanted: BTreeSet<Option<u64>> = wanted.iter().map(|clock| Some(clock.to_bits())).collect();
            let kept: BTreeSet<_> = clocks.intersection(&wanted).copied().collect();
            if kept.is_empty() && !clocks.is_empty() {
                let known: Vec<String> =
                    clocks.iter().flatten().map(|bits| f64::from_bits(*bits).to_string()).collect();
                return Err(FleetError {
                    file: self.loaded.file.clone(),
                    place: format!("devices {:?}, clocks_mhz", entry.name),
                    found: "no clock at which a model has rows".to_owned(),
                    expected: format!("some of {}", known.join(", ")),
                    help: "correct them".to_owned(),
                });
            }
            clocks = kept;
        }
        Ok(clocks.into_iter().map(|bits| bits.map(|bits| Megahertz::new(f64::from_bits(bits)))).collect())
    }

    /// The clocks that profiles are modelled at.
    fn modelled_clocks(&self, device: usize) -> Vec<Megahertz> {
        let (entry, spec) = (&self.loaded.fleet.devices[device], &self.loaded.devices[device].spec);
        let of_spec = || spec.core_clocks_mhz.as_ref().map(|figure| figure.value.clone());
        let boost = || spec.boost_clock_mhz.as_ref().map(|figure| vec![figure.value]);
        let wanted =
            || entry.clocks_mhz.as_ref().map(|all| all.iter().map(|clock| Megahertz::new(*clock)).collect());
        wanted().or_else(of_spec).or_else(boost).unwrap_or_default()
    }

    /// The rows of a model in a slot, by clock and by all but the batch size, batch sizes ascending.
    ///
    /// Errors: why there can be none.
    pub(super) fn groups(
        &mut self,
        device: usize,
        model: usize,
        slot: &Slot,
        clocks: &[Option<Megahertz>],
    ) -> Result<Vec<Group>, String> {
        let loaded = self.loaded;
        let (entry, source) = (&loaded.fleet.devices[device], &loaded.sources[model]);
        let wanted = Wanted { loaded, device, model, slot, clocks };
        if let Some(profile) = source.profiles.get(&entry.name) {
            return Ok(wanted.groups(&profile.rows));
        }
        if source.network.is_none() {
            return Err(format!("no profile for {:?}, and no network to model one of", entry.name));
        }
        match self.modelled(device, model, slot)? {
            Some(profile) => Ok(wanted.groups(&profile.rows)),
            None => Ok(Vec::new()),
        }
    }

    /// The modelled profile of a model in a slot; `None` for slots that can't be modelled.
    fn modelled(&mut self, device: usize, model: usize, slot: &Slot) -> Result<Option<Arc<Profile>>, String> {
        let loaded = self.loaded;
        let (entry, spec) = (&loaded.fleet.models[model], &loaded.devices[device].spec);
        let of_slot = match slot {
            Slot::Mig(size) => Slot::Mig(*size),
            Slot::Whole | Slot::SharedBy(_) => Slot::Whole,
            Slot::Named(_) => return Ok(None),
        };
        let Some(network) = &loaded.sources[model].network else { return Ok(None) };
        let sizes = format!("{:?}", entry.batch_sizes);
        let key = (device, format!("{} {sizes}", network.name), entry.size.to_bits(), of_slot.clone());
        if let Some(known) = self.modelled.get(&key) {
            return known.clone().map(Some);
        }
        let grid = Grid {
            batch_sizes: entry.batch_sizes.clone().unwrap_or_else(|| BATCH_SIZES.to_vec()),
            instances: vec![1],
            clocks: self.modelled_clocks(device),
            units: Vec::new(),
        };
        let made = match of_slot {
            Slot::Mig(size) => analytic::profile_on_slice(spec, network, &grid, size),
            _ => analytic::profile(spec, network, &grid),
        };
        let made = made.map(Arc::new).map_err(|error| error.to_string());
        self.notes.insert(format!(
            "{} on {}: modelled from published figures, good for shapes and within a factor of two or three",
            network.name, loaded.fleet.devices[device].name
        ));
        self.modelled.insert(key, made.clone());
        made.map(Some)
    }

    /// Why a model has no row on a device at all.
    pub(super) fn why_none(&mut self, device: usize, model: usize) -> String {
        let entry = &self.loaded.fleet.devices[device];
        let rows = match self.loaded.sources[model].profiles.get(&entry.name) {
            Some(profile) => profile.rows.clone(),
            None => match self.modelled(device, model, &Slot::Whole) {
                Ok(Some(profile)) => profile.rows.clone(),
                Ok(None) => return "nothing is known of it there".to_owned(),
                Err(reason) => return reason,
            },
        };
        if rows.is_empty() {
            return "it does not fit the memory".to_owned();
        }
        let lacks = |what: &str| format!("no row of its profile tells its {what}");
        if rows.iter().all(|row| PowerFigure::Mean.of(row).is_none()) {
            return lacks("power");
        }
        if rows.iter().all(|row| row.throughput_rps.is_none()) {
            return lacks("throughput");
        }
        "no row of its profile is of a slot, clock and batch size that may be used, with throughput, power and latency"
            .to_owned()
    }
}

/// Which rows are wanted.
struct Wanted<'a> {
    loaded: &'a Loaded,
    device: usize,
    model: usize,
    slot: &'a Slot,
    clocks: &'a [Option<Megahertz>],
}

impl Wanted<'_> {
    /// Whether a row is one of the slot.
    fn is_of_slot(&self, row: &ProfileRow) -> bool {
        match (self.slot, row.point.partition.as_deref()) {
            (Slot::Whole | Slot::SharedBy(_), None) => true,
            (Slot::Mig(size), Some(name)) => match partition::size(name) {
                Some((partition::Notation::ShareOf(whole), part)) => {
                    let slices = self.loaded.devices[self.device].spec.mig_slices.as_ref();
                    part == *size && slices.is_some_and(|slices| slices.value == whole)
                }
                Some((partition::Notation::MigProfile, part)) => part == *size,
                _ => false,
            },
            (Slot::Named(wanted), Some(name)) => wanted == name,
            _ => false,
        }
    }

    /// The figures of `rows` in the slot, grouped.
    fn groups(&self, rows: &[ProfileRow]) -> Vec<Group> {
        let fleet = &self.loaded.fleet;
        let sizes = fleet.models[self.model].batch_sizes.as_ref();
        // Figures of different kinds do not compare: one for the whole profile, the highest that any row has.
        let tails: [fn(&ProfileRow) -> Option<f64>; 3] =
            [|row| row.latency_ms_p99, |row| row.latency_ms_p95, |row| row.latency_ms_mean];
        let Some(tail) = tails.into_iter().find(|tail| rows.iter().any(|row| tail(row).is_some())) else {
            return Vec::new();
        };
        let most_units = rows.iter().filter_map(|row| row.point.compute_units).max();
        let is_plain = |row: &&ProfileRow| {
            let point = &row.point;
            point.variant.is_none()
                && point.duty_cycle.unwrap_or(1.0) >= 1.0
                && (point.compute_units.is_none() || point.compute_units == most_units)
        };
        let mut groups: BTreeMap<(usize, u32, Option<u32>), Vec<Fitted>> = BTreeMap::new();
        for row in rows.iter().filter(is_plain) {
            let point = &row.point;
            let Some(clock) = self.clocks.iter().position(|clock| *clock == point.core_clock_mhz) else {
                continue;
            };
            let is_wanted = sizes.is_none_or(|sizes| sizes.contains(&point.batch_size));
            if !(is_wanted && self.is_of_slot(row)) {
                continue;
            }
            let Some((watts, capacity_rps, tail_seconds)) = figures(row, tail(row)) else { continue };
            let fitted = Fitted {
                batch_size: point.batch_size,
                instances: point.instances,
                capacity_rps,
                tail_seconds,
                watts,
                most_busy: 1.0,
                basis: row.basis.max(row.power_basis),
            };
            if let Some(fitted) = self.beside_others(fitted, row) {
                groups.entry((clock, point.instances, point.cores_per_instance)).or_default().push(fitted);
            }
        }
        let sorted = |((clock, ..), mut group): ((usize, u32, Option<u32>), Vec<Fitted>)| {
            group.sort_by_key(|fitted| fitted.batch_size);
            (clock, group)
        };
        groups.into_iter().map(sorted).collect()
    }

    /// The figures with neighbours on the same device; `None` where its memory may not do.
    fn beside_others(&self, alone: Fitted, row: &ProfileRow) -> Option<Fitted> {
        let (Slot::SharedBy(count), Some(sharing)) =
            (self.slot, &self.loaded.fleet.devices[self.device].sharing)
        else {
            return Some(alone);
        };
        let memory = self.loaded.devices[self.device].spec.memory_bytes.as_ref()?.value;
        if row.memory_bytes? > memory / u64::from(*count) {
            return None;
        }
        let slower = 1.0 + sharing.slowdown_per_neighbour * f64::from(count - 1);
        Some(Fitted {
            capacity_rps: alone.capacity_rps / slower,
            tail_seconds: alone.tail_seconds * slower,
            // Together they can't be busy for more than all of the time.
            most_busy: 1.0 / f64::from(*count),
            basis: Basis::Assumed,
            ..alone
        })
    }
}
