//! A report on the terminal: a table, and beneath it what its figures rest on.

use wattle_core::carbon::act::INTENSITIES;
use wattle_core::provenance::Basis;
use wattle_core::units::{CarbonIntensity, Joules, Watts};
use wattle_ledger::report::{DeviceTold, KNOWN_ENOUGH, Line, Of, Report, crossovers, utc};

use crate::commands::simulate::figure;
use crate::output::say;
use crate::table::Table;

/// Electricity for which crossover powers are told, by ACT's names.
const CROSSOVERS: [&str; 4] = ["wind", "hydropower", "solar", "gas"];
/// Joules in a watt-hour.
const WATT_HOUR: f64 = 3600.0;

/// A column: its heading, and what it says of a row. A column that is empty in every row is left out.
type Column = (&'static str, fn(&Line) -> Option<f64>);

/// The columns of figures.
pub(super) const COLUMNS: [Column; 14] = [
    ("requests", |line| Some(line.requests as f64)),
    ("rows", |line| Some(line.rows as f64)),
    ("Wh", |line| Some(line.energy_joules / WATT_HOUR)),
    ("Wh with idle", |line| Some(line.energy_reserved_joules / WATT_HOUR)),
    ("gCO2e", |line| line.location_grams),
    ("with idle", |line| line.location_reserved_grams),
    ("market", |line| line.market_reserved_grams),
    ("made: busy", |line| line.embodied_busy_low_grams),
    ("made: reserved", |line| line.embodied_reserved_low_grams),
    ("to", |line| line.embodied_reserved_high_grams),
    ("SCI mg/request", |line| line.sci_low_grams_per_request.map(|grams| grams * 1e3)),
    ("to mg", |line| line.sci_high_grams_per_request.map(|grams| grams * 1e3)),
    ("fixed Wh", |line| line.baseline_energy_joules.map(|joules| joules / WATT_HOUR)),
    ("fixed gCO2e", |line| line.baseline_location_grams),
];

/// The columns that say something in any of `lines`.
pub(super) fn columns(lines: &[Line]) -> Vec<Column> {
    let says_something = |(_, of): &Column| lines.iter().any(|line| of(line).is_some());
    COLUMNS.into_iter().filter(says_something).collect()
}

/// What a row is called.
pub(super) fn name(line: &Line) -> String {
    match line.row_kind {
        "idle" => "(idle)".into(),
        "total" => "all".into(),
        _ if line.name.is_empty() => "(none)".into(),
        _ => line.name.clone(),
    }
}

/// The rows, and all of them together.
pub(super) fn lines(report: &Report) -> Vec<Line> {
    report.lines().into_iter().chain([report.total_line()]).collect()
}

/// Prints `report` and its notes.
pub(super) fn print(report: &Report, notes: &[String]) {
    if report.counted.is_some() {
        let lines = lines(report);
        let columns = columns(&lines);
        let has_periods = report.rows.iter().any(|row| row.period.is_some());
        let mut header = vec![report.by.name()];
        if has_periods {
            header.insert(0, "from (UTC)");
        }
        header.extend(columns.iter().map(|(heading, _)| *heading));
        let mut table = Table::new(&header);
        for line in &lines {
            let start = line.period_start.as_deref().filter(|_| line.row_kind != "total").unwrap_or("all");
            let start = has_periods.then(|| start.trim_end_matches(":00Z").to_owned());
            let figures = columns.iter().map(|(_, of)| count_or_figure(of(line)));
            table.row(start.into_iter().chain([name(line)]).chain(figures));
        }
        say(table);
    }
    notes.iter().for_each(say);
}

/// A count whole, another figure to four digits.
pub(super) fn count_or_figure(value: Option<f64>) -> String {
    match value {
        Some(count) if count.fract() == 0.0 && count.abs() < 1e15 => format!("{count:.0}"),
        other => figure(other),
    }
}

/// What the figures rest on, a sentence each.
pub(super) fn notes(report: &Report) -> Vec<String> {
    let Some(counted) = report.counted else {
        return vec!["nothing was counted in this range".into()];
    };
    let mut notes = vec![format!("counted from {} to {}", utc(counted.from), utc(counted.to))];
    for edge in &report.edges {
        notes.push(format!(
            "only a sum from {} to {} is left, which reaches over an end of the range: it is counted whole if it \
             starts within",
            utc(edge.from),
            utc(edge.to)
        ));
    }
    let sources = &report.total.sources;
    notes.extend(sources.power.iter().map(|source| format!("energy {source}")));
    notes.extend(sources.intensity.iter().map(|source| format!("carbon intensity by {source}")));
    notes.push(match report.total.reserved.known_share() {
        Some(share) if share >= 1.0 => "carbon is known for all of the energy".into(),
        Some(share) if share > 0.0 => format!(
            "carbon is known for {} % of the energy, and grams are of that part; scores take its mean for the rest, \
             where it is at least {:.0} %",
            figure(Some(share * 100.0)),
            KNOWN_ENOUGH * 100.0
        ),
        _ => "carbon is unknown: no intensity was known (wattle serve --carbon-intensity, --carbon-trace)".into(),
    });
    notes.extend(sources.pue.iter().cloned());
    if sources.market.is_empty() {
        notes.push("market-based: no contract is told (market_intensity_g_per_kwh in [accounting])".into());
    }
    notes.extend(sources.market.iter().map(|source| format!("market-based by {source}")));
    if let Some(share) =
        report.total.reserved.market_share().filter(|share| (f64::MIN_POSITIVE..1.0).contains(share))
    {
        let share = figure(Some(share * 100.0));
        notes.push(format!(
            "market-based grams are of {share} % of the energy: the rest had no contract or no known carbon"
        ));
    }
    notes.extend(report.devices.iter().flat_map(|device| device_notes(device, report.intensity)));
    notes.push(
        "with idle: idle energy and all reserved time of the device, shared by busy time, which the SCI counts \
         (its boundary: docs/carbon.md); else busy time alone. Where other programs run on the device, what they \
         draw is in idle"
            .into(),
    );
    match &report.baseline {
        None => {}
        Some(Err(why)) => notes.push(format!("no baseline: {why}")),
        Some(Ok(told)) => {
            notes.push(format!(
                "baseline {} is {}; compare with Wh and gCO2e, not with those with idle",
                told.policy, told.provenance
            ));
            notes.extend(against(report, told.provenance.basis));
        }
    }
    notes
}

/// How a device was made, and the powers below which that emits more than running it.
fn device_notes(device: &DeviceTold, mean: Option<CarbonIntensity>) -> Vec<String> {
    let name = &device.device;
    let Some(embodied) = device.accounting.as_ref().and_then(|accounting| accounting.embodied.as_ref())
    else {
        return vec![format!(
            "{name}: nothing is known of how it was made, so there is no SCI; name it in [accounting] of the \
             configuration (device = \"nvidia-a100-40gb\", or embodied_low_kilograms) and report with --config"
        )];
    };
    let mut made = format!("{name} was made with {:.1} kg", embodied.low.kilograms);
    if let Some(high) = &embodied.high {
        made += &format!(" to {:.1} kg", high.kilograms);
    }
    made += &format!(" over {} years: low end {}", embodied.lifetime_years, embodied.low.provenance);
    if let Some(high) = &embodied.high {
        made += &format!("; high end {}", high.provenance);
    }
    let known = INTENSITIES.iter().filter(|of| CROSSOVERS.contains(&of.name));
    let mut at: Vec<(String, CarbonIntensity)> =
        known.map(|of| (of.name.to_owned(), CarbonIntensity::new(of.grams_per_kwh))).collect();
    at.extend(mean.map(|mean| ("the mean here".to_owned(), mean)));
    let told: Vec<String> = crossovers(embodied, &at)
        .into_iter()
        .filter_map(|crossover| {
            let high = crossover.high.map_or_else(String::new, |high| format!(" to {}", watts(high)));
            Some(format!("{}{high} on {}", watts(crossover.low?), crossover.electricity))
        })
        .collect();
    let pue = device.accounting.as_ref().map_or(1.0, |accounting| accounting.pue);
    let site = if pue > 1.0 { " with the site" } else { "" };
    let drawn = device
        .power
        .map_or_else(String::new, |power| format!("; it drew {} on average{site}", watts(power * pue)));
    vec![made, format!("{name}: making it outweighs running it below {}{drawn}", told.join(", "))]
}

fn watts(power: Watts) -> String {
    format!("{} W", figure(Some(power.get())))
}

/// What was drawn against the baseline, all together.
fn against(report: &Report, of_baseline: Basis) -> Option<String> {
    let baseline = report.total.baseline.as_ref()?;
    // Idle energy holds what other programs drew, which no replay plays.
    let asked = report.rows.iter().filter(|row| row.of != Of::Idle);
    let (drawn, of_fixed) = asked.fold((Joules::ZERO, Joules::ZERO), |(drawn, of_fixed), row| {
        let fixed = row.baseline.as_ref().map_or(Joules::ZERO, |baseline| baseline.energy);
        (drawn + row.busy.energy, of_fixed + fixed)
    });
    let change = (drawn / of_fixed - 1.0) * 100.0;
    let watt_hours = |energy: Joules| figure(Some(energy.get() / WATT_HOUR));
    let mut text = format!(
        "requests drew {} Wh, under fixed they would have drawn {} Wh",
        watt_hours(drawn),
        watt_hours(of_fixed)
    );
    if change.is_finite() {
        text += &format!(" ({change:+.1} %)");
    }
    if let Some(basis) = report.total.basis {
        text += &format!("; {basis} against {of_baseline}");
    }
    if baseline.refused_rows > 0.0 {
        text += &format!("; fixed would not have answered {} rows", figure(Some(baseline.refused_rows)));
    }
    Some(text)
}
