//! A plan as tables and lines.

use wattle_plan::explain::Range;
use wattle_plan::fleet::{Loaded, Objective};
use wattle_plan::plan::Plan;
use wattle_plan::replan::Decision;

use super::Told;
use crate::commands::simulate::figure;
use crate::output::say;
use crate::table::Table;

/// The objective's unit, of an hour and of the horizon.
fn units(objective: Objective) -> (&'static str, &'static str) {
    match objective {
        Objective::Carbon => ("gCO2e/h", "gCO2e"),
        Objective::Energy => ("W", "Wh"),
        Objective::Devices => ("devices", "device-hours"),
    }
}

/// Everything.
pub(super) fn print(loaded: &Loaded, told: &Told) {
    print_plan(loaded, &told.plan);
    if let Some(made) = &told.decision {
        say("");
        say(decision(loaded, made));
    }
    if !told.comparisons.is_empty() {
        say("\nCompared (modelled), at the same loads and carbon intensity:");
        let mut table = Table::new(&["", "devices", "W", "gCO2e/h"]);
        for compared in &told.comparisons {
            match &compared.plan {
                Some(plan) => table.row(totals(&compared.name, plan)),
                None => table.row([compared.name.clone(), "-".into(), "-".into(), "-".into()]),
            }
        }
        table.row(totals("this plan", &told.plan));
        say(table);
        for compared in &told.comparisons {
            if let Some(why) = &compared.why_none {
                say(format_args!("{}: {why}", compared.name));
            }
        }
    }
    if !told.drivers.is_empty() {
        let unit = units(loaded.fleet.objective).0;
        say("\nWhat decides (modelled): the best plan when one thing changes");
        let mut table = Table::new(&["changed", unit, "shares otherwise", "saves over keeping this plan, %"]);
        for driver in &told.drivers {
            table.row([
                driver.change.clone(),
                figure(driver.value),
                match (driver.value, driver.flips) {
                    (None, _) => "no plan found".into(),
                    (_, true) => "yes".into(),
                    (_, false) => "no".into(),
                },
                figure(driver.best_over_kept.map(|ratio| ((1.0 - ratio) * 1e4).round() / 100.0)),
            ]);
        }
        say(table);
    }
    ranges("Who shares, by carbon intensity in g/kWh (modelled):", &told.flips_by_carbon_intensity);
    ranges("Who shares, by hour of the horizon (modelled):", &told.hours);
    ranges("Who shares, by load as a factor of the fleet's (modelled):", &told.flips_by_load);
}

fn totals(name: &str, plan: &Plan) -> [String; 4] {
    let totals = &plan.totals;
    [
        name.to_owned(),
        totals.devices.to_string(),
        figure(Some(totals.power_watts)),
        figure(totals.grams_per_hour()),
    ]
}

fn ranges(title: &str, ranges: &[Range]) {
    if ranges.is_empty() {
        return;
    }
    say(format_args!("\n{title}"));
    for range in ranges {
        let proved = if range.proved { "" } else { " (not proved)" };
        let (from, to) = (figure(Some(range.from)), figure(Some(range.to)));
        let devices = range.devices.map_or("no plan".to_owned(), |devices| match devices {
            1 => "1 device".to_owned(),
            many => format!("{many} devices"),
        });
        say(format_args!("  {from} to {to}: {devices}{proved}: {}", range.assignment));
    }
}

/// The devices of a plan, and what they come to.
pub(super) fn print_plan(loaded: &Loaded, plan: &Plan) {
    let mut table = Table::new(&[
        "device", "MHz", "W", "gCO2e/h", "slot", "model", "share", "batch", "m", "rows/s", "busy %",
        "p99 ms", "SLO ms",
    ]);
    for device in &plan.devices {
        for (index, tenant) in device.tenants.iter().enumerate() {
            let of_device = |text: String| if index == 0 { text } else { String::new() };
            let grams = device.embodied_grams_per_hour.map(|grams| grams + device.operational_grams_per_hour);
            table.row([
                of_device(format!("{} {}", device.kind, device.number)),
                of_device(figure(device.core_clock_mhz)),
                of_device(figure(Some(device.power_watts))),
                of_device(figure(grams)),
                tenant.slot.clone(),
                tenant.model.clone(),
                figure(Some(tenant.share)),
                tenant.batch_size.to_string(),
                tenant.instances.to_string(),
                figure(Some(tenant.load_rps)),
                figure(Some(tenant.utilization * 100.0)),
                figure(Some(tenant.latency_ms_p99)),
                figure(Some(tenant.slo_ms)),
            ]);
        }
    }
    say(table);
    let totals = &plan.totals;
    say(format_args!(
        "\n{} of {} devices, {} W; operational {} gCO2e/h at {} g/kWh x PUE {}, embodied {} gCO2e/h",
        totals.devices,
        loaded.fleet.devices.iter().map(|entry| u64::from(entry.count)).sum::<u64>(),
        figure(Some(totals.power_watts)),
        figure(Some(totals.operational_grams_per_hour)),
        figure(Some(plan.carbon_intensity_g_per_kwh)),
        plan.pue,
        figure(totals.embodied_grams_per_hour),
    ));
    let unit = units(plan.objective).0;
    let value = figure(Some(plan.value));
    match plan.proved {
        true => say(format_args!("least {unit}: {value}, proved: no plan of these options is better")),
        false => say(format_args!(
            "least {unit} found: {value}; no plan has less than {}, so it is within {} % of the best",
            figure(Some(plan.bound)),
            figure(Some(plan.gap * 100.0)),
        )),
    }
    say(format_args!(
        "all figures {} at worst; carbon intensity {}; devices not in use {}",
        plan.basis,
        plan.carbon_intensity_known,
        if loaded.fleet.idle_counts { "idle and count" } else { "are off and don't count" },
    ));
    for note in &plan.notes {
        say(format_args!("- {note}"));
    }
}

/// Whether to change, with the figures.
pub(super) fn decision(loaded: &Loaded, decision: &Decision) -> String {
    let unit = units(loaded.fleet.objective).1;
    let cost = figure(Some(decision.cost));
    let changed = decision.devices_changed;
    match (decision.gain, decision.change) {
        (None, _) => format!(
            "change: the current plan can't keep all objectives now; {changed} devices change, for {cost} {unit}"
        ),
        (Some(gain), true) => format!(
            "change: {changed} devices change for {cost} {unit}, and {} {unit} are saved in {} h",
            figure(Some(gain)),
            loaded.fleet.horizon_hours
        ),
        (Some(gain), false) => format!(
            "keep the current plan: changing {changed} devices costs {cost} {unit}, and {} {unit} would be saved in {} h; \
             the plan above is the one that would be changed to",
            figure(Some(gain)),
            loaded.fleet.horizon_hours
        ),
    }
}
