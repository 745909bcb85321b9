//! A plan in the words of the fleet, to be printed and kept as PLAN.json.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wattle_core::provenance::{Basis, Provenance};

use crate::fleet::{Loaded, Objective};
use crate::instance::{Column, Instance};
use crate::options::Options;
use crate::solve::Solved;

/// The version of PLAN.json that this code writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// A share of a model in a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// The model.
    pub model: String,
    /// The share of its load, in (0, 1].
    pub share: f64,
    /// Where: `whole`, a slice such as `3g`, or a partition by its name.
    pub slot: String,
    /// Most rows that run together.
    pub batch_size: u32,
    /// Instances of the model in the slot.
    pub instances: u32,
    /// Load of this share, in rows per second.
    pub load_rps: f64,
    /// Share of the time that it is busy.
    pub utilization: f64,
    /// Bound on the 99th percentile of latency, modelled.
    pub latency_ms_p99: f64,
    /// Its objective.
    pub slo_ms: f64,
    /// How its figures are known.
    pub basis: Basis,
}

/// A device in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedDevice {
    /// Which kind, by its name in the fleet.
    pub kind: String,
    /// Which of its kind, counted from 1.
    pub number: u32,
    /// Core clock of the whole device; `None`: left alone.
    pub core_clock_mhz: Option<f64>,
    /// Mean power, modelled.
    pub power_watts: f64,
    /// Operational emissions of an hour, the site's overhead included.
    pub operational_grams_per_hour: f64,
    /// Embodied emissions of an hour; `None`: unknown.
    pub embodied_grams_per_hour: Option<f64>,
    /// Who is on it.
    pub tenants: Vec<Tenant>,
}

/// What a plan comes to. All are means over the horizon.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Devices in use.
    pub devices: u32,
    /// Power of all devices that count.
    pub power_watts: f64,
    /// Operational emissions of an hour, the site's overhead included.
    pub operational_grams_per_hour: f64,
    /// Embodied emissions of an hour; `None` where any device's is unknown.
    pub embodied_grams_per_hour: Option<f64>,
}

impl Totals {
    /// Operational and embodied emissions of an hour.
    pub fn grams_per_hour(&self) -> Option<f64> {
        Some(self.operational_grams_per_hour + self.embodied_grams_per_hour?)
    }
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`FORMAT_VERSION`].
    pub wattle_plan: u32,
    /// What is least.
    pub objective: Objective,
    /// Carbon intensity that it was made for, in grams per kilowatt-hour.
    pub carbon_intensity_g_per_kwh: f64,
    /// How that is known.
    pub carbon_intensity_known: Provenance,
    /// Power usage effectiveness.
    pub pue: f64,
    /// The objective's value: grams an hour, watts, or devices (with a little for their power).
    pub value: f64,
    /// No plan of this fleet has less.
    pub bound: f64,
    /// `(value - bound) / value`.
    pub gap: f64,
    /// Whether no plan is better, proved.
    pub proved: bool,
    /// How all figures are known: the worst of what they rest on.
    pub basis: Basis,
    /// Sums.
    pub totals: Totals,
    /// The devices in use.
    pub devices: Vec<PlannedDevice>,
    /// What is assumed or left out.
    pub notes: Vec<String>,
}

/// The plan that `solved` means.
pub fn plan(loaded: &Loaded, options: &Options, solved: &Solved) -> Plan {
    let mut columns: Vec<&Column> = solved.columns.iter().collect();
    columns.sort_by_key(|column| (column.kind, options.instance.key(column).1));
    let mut numbers: BTreeMap<usize, u32> = BTreeMap::new();
    let devices: Vec<PlannedDevice> = columns
        .into_iter()
        .map(|column| {
            let number = numbers.entry(column.kind).or_default();
            *number += 1;
            device(loaded, options, column, *number)
        })
        .collect();
    let of_tenants = devices.iter().flat_map(|device| device.tenants.iter().map(|tenant| tenant.basis));
    let of_devices = loaded.devices.iter().filter_map(|device| device.shared_power.as_ref());
    let basis = of_tenants.chain(of_devices.map(|known| known.basis)).max();
    // Devices that the fleet has not do not idle when they are free: each costs all that it costs.
    let beyond: f64 = (loaded.fleet.devices.iter().zip(&options.kinds).enumerate())
        .map(|(kind, (entry, facts))| {
            let used = numbers.get(&kind).copied().unwrap_or(0);
            facts.idle_cost * f64::from(used.saturating_sub(entry.count))
        })
        .sum();
    let (value, bound) = (solved.value + options.idle_cost + beyond, solved.bound + options.idle_cost);
    Plan {
        wattle_plan: FORMAT_VERSION,
        objective: loaded.fleet.objective,
        carbon_intensity_g_per_kwh: loaded.intensity,
        carbon_intensity_known: loaded.intensity_known.clone(),
        pue: loaded.fleet.pue,
        value,
        bound,
        gap: if value > 0.0 { ((value - bound) / value).max(0.0) } else { 0.0 },
        proved: solved.proved && beyond <= 0.0,
        basis: basis.unwrap_or(Basis::Modelled).max(Basis::Modelled),
        totals: totals(loaded, options, &devices),
        devices,
        notes: options.notes.clone(),
    }
}

fn device(loaded: &Loaded, options: &Options, column: &Column, number: u32) -> PlannedDevice {
    let facts = options.kinds.get(column.kind);
    let kind = options.instance.kinds.get(column.kind);
    let watts = kind.and_then(|kind| {
        let clock = kind.clocks.get(column.clock)?;
        Some(Instance::power(kind, clock, options.instance.entries(column)))
    });
    let watts = watts.unwrap_or(0.0);
    let mut tenants: Vec<Tenant> = options
        .instance
        .entries(column)
        .zip(&column.seats)
        .filter_map(|(entry, (slot, _))| {
            let choice = options.choices.get(entry.tag)?;
            let model = loaded.fleet.models.get(entry.model)?;
            Some(Tenant {
                model: model.name.clone(),
                share: entry.share(),
                slot: facts?.slots.get(*slot)?.to_string(),
                batch_size: choice.batch_size,
                instances: choice.instances,
                load_rps: choice.load_rps,
                utilization: entry.busy,
                latency_ms_p99: choice.tail_ms,
                slo_ms: model.slo_ms,
                basis: choice.basis,
            })
        })
        .collect();
    tenants.sort_by(|a, b| b.slot.cmp(&a.slot).then(a.model.cmp(&b.model)));
    PlannedDevice {
        kind: facts.map(|facts| facts.name.clone()).unwrap_or_default(),
        number,
        core_clock_mhz: facts
            .and_then(|facts| facts.clocks.get(column.clock).copied().flatten())
            .map(|clock| clock.get()),
        power_watts: watts,
        operational_grams_per_hour: watts / 1e3 * loaded.fleet.pue * loaded.intensity,
        embodied_grams_per_hour: facts.and_then(|facts| facts.embodied_grams_per_hour),
        tenants,
    }
}

/// Sums over devices in use, and over those that idle where they count.
fn totals(loaded: &Loaded, options: &Options, devices: &[PlannedDevice]) -> Totals {
    let mut power: f64 = devices.iter().map(|device| device.power_watts).sum();
    let mut embodied: Option<f64> = devices.iter().map(|device| device.embodied_grams_per_hour).sum();
    if loaded.fleet.idle_counts {
        for ((entry, facts), kind) in
            loaded.fleet.devices.iter().zip(&options.kinds).zip(&options.instance.kinds)
        {
            let used = devices.iter().filter(|device| device.kind == entry.name).count();
            let free = (entry.count as usize).saturating_sub(used) as f64;
            power += free * kind.clocks.first().map_or(0.0, |clock| clock.static_watts);
            embodied = embodied.zip(facts.embodied_grams_per_hour).map(|(sum, of_one)| sum + free * of_one);
        }
    }
    Totals {
        devices: u32::try_from(devices.len()).unwrap_or(u32::MAX),
        power_watts: power,
        operational_grams_per_hour: power / 1e3 * loaded.fleet.pue * loaded.intensity,
        embodied_grams_per_hour: embodied,
    }
}

impl Plan {
    /// Who is with whom, on which kind of device and in which slots: what is laborious to change. Clocks
    /// and batch sizes, which change at once, are left out.
    pub fn assignment(&self) -> Vec<(String, Vec<(String, String)>)> {
        let of = |device: &PlannedDevice| {
            let mut tenants: Vec<(String, String)> =
                device.tenants.iter().map(|tenant| (tenant.model.clone(), tenant.slot.clone())).collect();
            tenants.sort();
            (device.kind.clone(), tenants)
        };
        let mut all: Vec<_> = self.devices.iter().map(of).collect();
        all.sort();
        all
    }
}
