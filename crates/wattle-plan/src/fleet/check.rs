//! Whether the values of a fleet make sense, each by itself.

use std::collections::BTreeSet;

use super::{DeviceEntry, Fleet, FleetError, Grid, ModelEntry, SOURCES};
use wattle_core::nearest::nearest;

/// Devices of a kind, at most: more are a slip of the pen.
const MOST_DEVICES: u32 = 100_000;

/// Where a trace may begin, at most: beyond, no time is counted.
const MOST_START_SECONDS: f64 = 1e10;

struct Blame<'a>(&'a str);

impl Blame<'_> {
    fn unless(
        &self,
        is_fine: bool,
        place: &str,
        found: impl ToString,
        expected: &str,
    ) -> Result<(), FleetError> {
        if is_fine { Ok(()) } else { Err(self.error(place, found, expected, "correct it")) }
    }

    fn error(&self, place: &str, found: impl ToString, expected: &str, help: &str) -> FleetError {
        FleetError {
            file: self.0.to_owned(),
            place: place.to_owned(),
            found: found.to_string(),
            expected: expected.to_owned(),
            help: help.to_owned(),
        }
    }
}

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn is_amount(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

pub(super) fn check(fleet: &Fleet, file: &str) -> Result<(), FleetError> {
    let blame = Blame(file);
    let pue = fleet.pue;
    blame.unless(pue.is_finite() && pue >= 1.0, "pue", pue, "a number of at least 1")?;
    let hours = fleet.horizon_hours;
    blame.unless(
        is_positive(hours) && hours <= 1e6,
        "horizon_hours",
        hours,
        "hours over 0, at most a million",
    )?;
    let headroom = fleet.headroom;
    blame.unless(
        is_positive(headroom) && headroom <= 1.0,
        "headroom",
        headroom,
        "a number over 0, at most 1",
    )?;
    let replicas = fleet.most_replicas;
    blame.unless((1..=64).contains(&replicas), "most_replicas", replicas, "a whole number in 1 to 64")?;
    let change = fleet.change;
    blame.unless(is_amount(change.seconds), "change.seconds", change.seconds, "a number of at least 0")?;
    blame.unless(is_amount(change.joules), "change.joules", change.joules, "a number of at least 0")?;
    grid(&fleet.grid, &blame)?;
    blame.unless(!fleet.devices.is_empty(), "devices", "none", "at least one [[devices]]")?;
    blame.unless(!fleet.models.is_empty(), "models", "none", "at least one [[models]]")?;
    let mut names = BTreeSet::new();
    for entry in &fleet.devices {
        device(entry, &blame)?;
        let place = format!("devices, name {:?}", entry.name);
        blame.unless(names.insert(&entry.name), &place, "it twice", "each name once")?;
    }
    let mut names = BTreeSet::new();
    for entry in &fleet.models {
        model(entry, fleet, &blame)?;
        let place = format!("models, name {:?}", entry.name);
        blame.unless(names.insert(&entry.name), &place, "it twice", "each name once")?;
    }
    Ok(())
}

fn grid(grid: &Grid, blame: &Blame<'_>) -> Result<(), FleetError> {
    let given = [grid.intensity_g_per_kwh.is_some(), grid.source.is_some(), grid.trace.is_some()];
    let given = given.into_iter().filter(|is_given| *is_given).count();
    blame.unless(
        given == 1,
        "grid",
        format!("{given} of them"),
        "one of intensity_g_per_kwh, source, trace",
    )?;
    if let Some(value) = grid.intensity_g_per_kwh {
        blame.unless(is_amount(value), "grid.intensity_g_per_kwh", value, "a number of at least 0")?;
    }
    if let Some(source) = &grid.source
        && !SOURCES.iter().any(|(known, _)| known == source)
    {
        let names: Vec<&str> = SOURCES.iter().map(|(known, _)| *known).collect();
        let near = nearest(source, names.iter().copied()).unwrap_or_default();
        let expected = format!("one of {}", names.join(", "));
        let help = format!("did you mean {near:?}?");
        return Err(blame.error("grid.source", format!("{source:?}"), &expected, &help));
    }
    if let Some(start) = grid.start_seconds {
        blame.unless(grid.trace.is_some(), "grid.start_seconds", start, "it only with trace")?;
        let is_fine = is_amount(start) && start <= MOST_START_SECONDS;
        blame.unless(is_fine, "grid.start_seconds", start, "a number in 0 to 1e10")?;
    }
    Ok(())
}

fn device(entry: &DeviceEntry, blame: &Blame<'_>) -> Result<(), FleetError> {
    let place = |key: &str| format!("devices {:?}, {key}", entry.name);
    blame.unless(!entry.name.trim().is_empty(), "devices, name", "nothing", "a name")?;
    let count = entry.count;
    blame.unless(count <= MOST_DEVICES, &place("count"), count, "at most 100000")?;
    for (key, value) in [
        ("idle_power_watts", entry.idle_power_watts),
        ("embodied_kilograms_co2e", entry.embodied_kilograms_co2e),
        ("lifetime_years", entry.lifetime_years),
    ] {
        if let Some(value) = value {
            blame.unless(is_positive(value), &place(key), value, "a number over 0")?;
        }
    }
    for (key, value) in [
        ("shared_idle_power_watts", entry.shared_idle_power_watts),
        ("overlap_per_watt", entry.overlap_per_watt),
    ] {
        if let Some(value) = value {
            blame.unless(is_amount(value), &place(key), value, "a number of at least 0")?;
        }
    }
    if entry.shared_power.is_some() {
        let figures = [entry.idle_power_watts, entry.shared_idle_power_watts, entry.overlap_per_watt];
        let expected =
            "the file alone: idle_power_watts, shared_idle_power_watts and overlap_per_watt are in it";
        let place = place("shared_power");
        blame.unless(figures.iter().all(Option::is_none), &place, "figures beside it", expected)?;
    }
    if let Some(clocks) = &entry.clocks_mhz {
        let is_fine = !clocks.is_empty() && clocks.iter().all(|clock| is_positive(*clock));
        blame.unless(is_fine, &place("clocks_mhz"), format!("{clocks:?}"), "numbers over 0, one at least")?;
    }
    for layout in &entry.layouts {
        let is_fine = !layout.is_empty() && layout.len() <= 16 && layout.iter().all(|name| !name.is_empty());
        blame.unless(is_fine, &place("layouts"), format!("{layout:?}"), "lists of 1 to 16 partitions")?;
    }
    if let Some(sharing) = &entry.sharing {
        let (most, slowdown) = (sharing.most, sharing.slowdown_per_neighbour);
        blame.unless((2..=8).contains(&most), &place("sharing.most"), most, "a whole number in 2 to 8")?;
        let key = place("sharing.slowdown_per_neighbour");
        blame.unless(is_amount(slowdown), &key, slowdown, "a number of at least 0")?;
    }
    Ok(())
}

fn model(entry: &ModelEntry, fleet: &Fleet, blame: &Blame<'_>) -> Result<(), FleetError> {
    let place = |key: &str| format!("models {:?}, {key}", entry.name);
    blame.unless(!entry.name.trim().is_empty(), "models, name", "nothing", "a name")?;
    let (load, slo, size) = (entry.load_rps, entry.slo_ms, entry.size);
    blame.unless(is_positive(load), &place("load_rps"), load, "rows per second over 0")?;
    blame.unless(is_positive(slo), &place("slo_ms"), slo, "milliseconds over 0")?;
    blame.unless(is_positive(size), &place("size"), size, "a number over 0")?;
    let is_modelled = entry.network.is_some();
    blame.unless(
        is_modelled || !entry.profiles.is_empty(),
        &place("profiles"),
        "neither network nor profiles",
        "one of the two, or both",
    )?;
    blame.unless(
        is_modelled || size == 1.0,
        &place("size"),
        size,
        "it only with network: a profile has its own",
    )?;
    if let Some(sizes) = &entry.batch_sizes {
        let is_fine = !sizes.is_empty() && sizes.iter().all(|size| *size > 0);
        blame.unless(is_fine, &place("batch_sizes"), format!("{sizes:?}"), "numbers of at least 1")?;
    }
    for device in entry.profiles.keys() {
        if !fleet.devices.iter().any(|known| known.name == *device) {
            let near =
                nearest(device, fleet.devices.iter().map(|known| known.name.as_str())).unwrap_or_default();
            let help = format!("did you mean {near:?}?");
            return Err(blame.error(
                &place("profiles"),
                format!("{device:?}"),
                "the name of a device",
                &help,
            ));
        }
    }
    Ok(())
}
