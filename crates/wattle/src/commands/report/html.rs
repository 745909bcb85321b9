//! A report as a page: the table, plots over time, and what the figures rest on. It opens offline.

use std::collections::BTreeSet;

use wattle_core::carbon::{BOUNDARY_EXCLUDED, BOUNDARY_INCLUDED, METHOD};
use wattle_core::provenance::Provenance;
use wattle_ledger::query::{Period, SeriesPoint, Span};
use wattle_ledger::report::{Of, Report, Row, utc};
use wattle_sim::plot::{Axis, Line, LineKind, LinePlot};
use wattle_sim::report::{Block, Cell, Page, Plot, Table};

use super::text;

/// Lines of one plot, at most: more can't be told apart.
const MOST_LINES: usize = 8;
/// Rows of the table, at most; the CSV has all.
const MOST_ROWS: usize = 500;
/// Joules in a watt-hour.
const WATT_HOUR: f64 = 3600.0;
/// A day, in seconds.
const DAY: i64 = 86_400;

/// What is plotted over time.
pub(super) struct OverTime {
    /// The report by periods that suit the length of time.
    pub(super) periods: Report,
    /// The rows of the ledger.
    pub(super) points: Vec<SeriesPoint>,
}

/// The length of the periods of a plot over `counted`.
pub(super) fn period_for(counted: Option<Span>) -> Period {
    let seconds = counted.map_or(0, |span| span.to.as_secs().saturating_sub(span.from.as_secs()));
    match seconds {
        seconds if seconds <= 3 * 3600 => Period::Minute,
        seconds if seconds <= 10 * DAY => Period::Hour,
        seconds if seconds <= 800 * DAY => Period::Day,
        _ => Period::Month,
    }
}

/// The page of `report`.
pub(super) fn page(report: &Report, notes: &[String], over_time: &OverTime) -> Page {
    let heading = |text: &str| Block::Heading(text.into());
    let mut blocks = vec![heading("What was served")];
    if report.counted.is_none() {
        blocks.push(Block::Paragraph("Nothing was counted in this range.".into()));
    } else {
        blocks.extend(table(report));
        blocks.push(heading("Over time"));
        blocks.extend(plots(report, over_time));
    }
    blocks.push(heading("What it rests on"));
    blocks.push(Block::Table(sources(report)));
    blocks.extend(notes.iter().map(|note| Block::Note(format!("{note}."))));
    blocks.push(heading("The score"));
    blocks.push(Block::Paragraph(format!(
        "Software Carbon Intensity, (E x I + M) per R, by SCI 1.1 (ISO/IEC 21031:2024); R is a request, and in CSV and \
         JSON 1,000 rows too. {METHOD}."
    )));
    blocks.push(Block::Paragraph(format!("Included: {}.", BOUNDARY_INCLUDED.join("; "))));
    blocks.push(Block::Paragraph(format!("Left out: {}.", BOUNDARY_EXCLUDED.join("; "))));
    blocks.push(Block::Note(format!("Written by Wattle {}.", env!("CARGO_PKG_VERSION"))));
    let when =
        report.counted.map_or_else(String::new, |span| format!(", {} to {}", utc(span.from), utc(span.to)));
    Page { title: format!("Energy and carbon by {}{when}", report.by.name()), blocks }
}

fn table(report: &Report) -> Vec<Block> {
    let lines = text::lines(report);
    let columns = text::columns(&lines);
    let has_periods = report.rows.iter().any(|row| row.period.is_some());
    let first = if has_periods { vec!["from (UTC)".to_owned()] } else { Vec::new() };
    let headers = first
        .into_iter()
        .chain([report.by.name().to_owned()])
        .chain(columns.iter().map(|(heading, _)| (*heading).to_owned()));
    let (total, rows) = match lines.split_last() {
        Some((total, rows)) => (Some(total), rows),
        None => (None, [].as_slice()),
    };
    let shown = rows.iter().take(MOST_ROWS).chain(total).map(|line| {
        let start = line.period_start.as_deref().filter(|_| line.row_kind != "total").unwrap_or("all");
        let start = has_periods.then(|| Cell::Text(start.to_owned()));
        let figures = columns.iter().map(|(_, of)| match of(line) {
            None => Cell::Unknown,
            known => Cell::Number(text::count_or_figure(known)),
        });
        start.into_iter().chain([Cell::Text(text::name(line))]).chain(figures).collect()
    });
    let table = Table { caption: String::new(), headers: headers.collect(), rows: shown.collect() };
    let mut blocks = vec![Block::Table(table)];
    if rows.len() > MOST_ROWS {
        blocks.push(Block::Note(format!("The first {MOST_ROWS} of {} rows.", rows.len())));
    }
    blocks
}

/// How each kind of figure is known.
fn sources(report: &Report) -> Table {
    let of = &report.total.sources;
    let kinds: [(&str, &BTreeSet<String>); 4] = [
        ("carbon intensity", &of.intensity),
        ("market-based intensity", &of.market),
        ("site", &of.pue),
        ("making the device", &of.embodied),
    ];
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    if let Some(basis) = report.total.basis {
        for source in &of.power {
            // The source begins with its basis; the cell shows it apart.
            let source = source.split_once(": ").map_or(source.as_str(), |(_, source)| source);
            rows.push(vec![Cell::Text("energy".into()), Cell::Provenance(Provenance::new(basis, source))]);
        }
    }
    for (kind, sources) in kinds {
        rows.extend(sources.iter().map(|source| vec![Cell::Text(kind.into()), Cell::Text(source.clone())]));
        if sources.is_empty() {
            rows.push(vec![Cell::Text(kind.into()), Cell::Unknown]);
        }
    }
    let headers = ["figure", "known from"].map(String::from).to_vec();
    Table { caption: "Where the figures are from".into(), headers, rows }
}

fn plots(report: &Report, over_time: &OverTime) -> Vec<Block> {
    let Some(start) = report.counted.map(|span| span.from.as_secs()) else { return Vec::new() };
    let periods = &over_time.periods;
    let at = |row: &Row| row.period.map_or(0.0, |period| (period.from.as_secs() - start) as f64);
    let mut names = BTreeSet::new();
    names.extend(periods.rows.iter().map(|row| &row.of));
    let names: Vec<&Of> = names.into_iter().collect();
    let by_name = |value: &dyn Fn(&Row) -> Option<f64>| -> Vec<Line> {
        let line = |of: &&Of| {
            let rows = periods.rows.iter().filter(|row| row.of == **of);
            let points = rows.map(|row| (at(row), value(row))).collect();
            Line { name: told(of), kind: LineKind::Step, points }
        };
        names.iter().take(MOST_LINES).map(line).collect()
    };
    let plot = |label: &str, unit: &str, lines: Vec<Line>, caption: &str| {
        let svg = LinePlot::over_time(label, Axis::from_zero(label, unit), lines).svg();
        Plot { svg, alternative: format!("{label} over time"), caption: caption.into() }
    };
    let of_period = "Each step is a period; time is from the start of the range.";
    let mut plots = vec![
        plot("energy", "Wh", by_name(&|row| Some(row.busy.energy.get() / WATT_HOUR)), of_period),
        plot(
            "emissions",
            "gCO2e",
            by_name(&|row| row.busy.location.map(|known| known.grams.get())),
            "Location-based, of the energy whose carbon is known.",
        ),
    ];
    if periods.rows.iter().any(|row| row.busy.market.is_some()) {
        let market = by_name(&|row| row.busy.market.map(|known| known.grams.get()));
        plots.push(plot("market-based emissions", "gCO2e", market, ""));
    }
    let point = |point: &SeriesPoint, value: Option<f64>| ((point.span.from.as_secs() - start) as f64, value);
    let series = |name: &str, value: &dyn Fn(&SeriesPoint) -> Option<f64>| Line {
        name: name.into(),
        kind: LineKind::Step,
        points: over_time.points.iter().map(|of| point(of, value(of))).collect(),
    };
    let intensity = series("", &|of| of.intensity.map(|intensity| intensity.mean.get()));
    if intensity.points.iter().any(|(_, value)| value.is_some()) {
        plots.push(plot("carbon intensity", "g/kWh", vec![intensity], "Of the grid, by the sources below."));
    }
    let power = vec![
        series("mean", &|of| of.power.map(|power| power.get())),
        series("idle", &|of| of.idle_power.map(|power| power.get())),
    ];
    plots.push(plot("power", "W", power, "Of the device, and the part of it that nobody asked for."));
    let mut idle = Line { name: String::new(), kind: LineKind::Step, points: Vec::new() };
    idle.points.extend(idle_shares(periods, &at));
    plots.push(plot("idle share", "", vec![idle], "Energy that nobody asked for, of all energy."));
    let mut blocks = vec![Block::Pairs(plots)];
    if names.len() > MOST_LINES {
        blocks.push(Block::Note(format!("The first {MOST_LINES} of {} are plotted.", names.len())));
    }
    blocks
}

/// Of each period, the share of its energy that nobody asked for.
fn idle_shares<'a>(
    report: &'a Report,
    at: &'a impl Fn(&Row) -> f64,
) -> impl Iterator<Item = (f64, Option<f64>)> + 'a {
    report.rows.chunk_by(|one, other| one.period == other.period).filter_map(move |rows| {
        let energy = |is_counted: &dyn Fn(&Row) -> bool| {
            rows.iter().filter(|row| is_counted(row)).map(|row| row.busy.energy.get()).sum::<f64>()
        };
        let share = energy(&|row| row.of == Of::Idle) / energy(&|_| true);
        Some((at(rows.first()?), share.is_finite().then_some(share)))
    })
}

fn told(of: &Of) -> String {
    match of {
        Of::Named(name) => name.clone(),
        Of::Unnamed => "(none)".into(),
        Of::Idle => "(idle)".into(),
    }
}
