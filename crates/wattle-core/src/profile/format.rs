//! The profile file: a TOML head on lines that start with `#`, then CSV.
//!
//! ```text
//! # wattle_profile = 1
//! # model = "resnet50"
//! # device = "2 cores of a Xeon 8581C"
//! # runtime = "rten 0.27"
//! # power_source = "RAPL package-0"
//! batch_size,instances,throughput_rps,power_watts_max,basis,power_basis,samples
//! 1,1,41.2,38.5,measured,measured,412
//! ```
//!
//! Columns have the names of the fields of [`OperatingPoint`] and [`ProfileRow`]; an empty cell, or a
//! column that is not there, is "unknown". Any CSV tool reads the rows if told that `#` is a comment.

mod cell;
mod head;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Profile;
use crate::nearest::nearest;
use crate::operating_point::{Confidence, OperatingPoint, ProfileRow};
use cell::{Cell, number_text, text_of};

/// The version of the format that this code reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// Every column, in the order in which they are written.
pub const COLUMNS: [&str; 25] = [
    "batch_size",
    "instances",
    "cores_per_instance",
    "duty_cycle",
    "core_clock_mhz",
    "compute_units",
    "partition",
    "variant",
    "throughput_rps",
    "latency_ms_mean",
    "latency_ms_p50",
    "latency_ms_p95",
    "latency_ms_p99",
    "power_watts_mean",
    "power_watts_p95",
    "power_watts_max",
    "energy_joules_per_row",
    "memory_bytes",
    "basis",
    "power_basis",
    "samples",
    "windows",
    "throughput_rps_ci95",
    "power_watts_ci95",
    "power_samples",
];

/// Columns that every row needs.
const REQUIRED: [&str; 5] = ["batch_size", "instances", "basis", "power_basis", "samples"];

/// A profile file that can't be used: where, what was found, what was expected, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}, {place}: found {found}, expected {expected}; {help}")]
pub struct ProfileError {
    /// The file.
    pub file: Box<str>,
    /// The line, counted from 1.
    pub line: u64,
    /// Where in the line: `column "…"`, `key "…"`, `head` or `rows`.
    pub place: Box<str>,
    /// What stands there.
    pub found: Box<str>,
    /// What could stand there.
    pub expected: Box<str>,
    /// What to do.
    pub help: Box<str>,
}

/// Makes errors of one file.
#[derive(Clone, Copy)]
struct Blame<'a>(&'a str);

impl Blame<'_> {
    fn error(
        self,
        line: u64,
        place: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
        help: impl Into<String>,
    ) -> ProfileError {
        ProfileError {
            file: self.0.into(),
            line,
            place: place.into().into(),
            found: found.into().into(),
            expected: expected.into().into(),
            help: help.into().into(),
        }
    }

    /// An unknown key or column, with the nearest known one.
    fn unknown(self, line: u64, what: &str, found: &str, known: &[&str]) -> ProfileError {
        let nearest = nearest(found, known.iter().copied()).unwrap_or_default();
        self.error(
            line,
            format!("{what} {found:?}"),
            format!("an unknown {what}"),
            format!("one of: {}", known.join(", ")),
            format!("did you mean {nearest:?}?"),
        )
    }
}

impl Profile {
    /// Reads a profile from `text`; `file_name` is for errors only.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ProfileError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let blame = Blame(file_name);
        let mut head_text = String::new();
        let mut head_lines = 0;
        let mut rows_start = 0;
        for line in text.split_inclusive('\n') {
            let bare = line.trim_end_matches(['\n', '\r']);
            let Some(toml) = bare.strip_prefix('#').or(bare.trim().is_empty().then_some("")) else { break };
            head_text.push_str(toml.strip_prefix(' ').unwrap_or(toml));
            head_text.push('\n');
            head_lines += 1;
            rows_start += line.len();
        }
        let head = head::parse(&head_text, head_lines, blame)?;
        let rows = parse_rows(&text[rows_start..], head_lines, blame)?;
        Ok(Self { head, rows })
    }

    /// The profile as the text of a file. [`parse`](Self::parse) of it gives the same profile again.
    pub fn to_text(&self) -> String {
        let mut text = head::to_text(&self.head);
        let _ = writeln!(text, "{}", COLUMNS.join(","));
        for row in &self.rows {
            let cells: Vec<String> = COLUMNS.iter().map(|column| quoted(&cell_of(row, column))).collect();
            let _ = writeln!(text, "{}", cells.join(","));
        }
        text
    }
}

fn parse_rows(text: &str, lines_before: u64, blame: Blame<'_>) -> Result<Vec<ProfileRow>, ProfileError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut columns: Option<Vec<&'static str>> = None;
    let mut rows = Vec::new();
    let mut first_seen = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = lines_before + error.position().map_or(1, csv::Position::line);
            blame.error(line, "rows", error.to_string(), "CSV text", "correct the line")
        })?;
        let line = lines_before + record.position().map_or(1, csv::Position::line);
        let Some(columns) = &columns else {
            columns = Some(parse_header(&record, line, blame)?);
            continue;
        };
        if record.len() != columns.len() {
            return Err(blame.error(
                line,
                "rows",
                format!("{} cells", record.len()),
                format!("{}, one for each column", columns.len()),
                "add the missing cells (an empty one is \"unknown\") or remove the extra ones",
            ));
        }
        let row = parse_row(columns, &record, line, blame)?;
        if let Some(first) = first_seen.insert(point_key(&row.point), line) {
            return Err(blame.error(
                line,
                "rows",
                format!("the same operating point as line {first}"),
                "each operating point once",
                "delete one of the two rows",
            ));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        let line = lines_before + 1 + u64::from(columns.is_some());
        return Err(blame.error(
            line,
            "rows",
            "no row",
            "a line of column names, then at least one row",
            "profile the model again",
        ));
    }
    Ok(rows)
}

fn parse_header(
    record: &csv::StringRecord,
    line: u64,
    blame: Blame<'_>,
) -> Result<Vec<&'static str>, ProfileError> {
    let mut columns: Vec<&'static str> = Vec::new();
    for found in record {
        let found = found.trim();
        let Some(column) = COLUMNS.iter().find(|column| **column == found) else {
            return Err(blame.unknown(line, "column", found, &COLUMNS));
        };
        if columns.contains(column) {
            return Err(blame.error(
                line,
                format!("column {found:?}"),
                "the column twice",
                "each column once",
                "remove one of the two",
            ));
        }
        columns.push(column);
    }
    for required in REQUIRED {
        if !columns.contains(&required) {
            return Err(blame.error(
                line,
                format!("column {required:?}"),
                "no such column",
                format!("all of: {}", REQUIRED.join(", ")),
                "add the column and fill it in every row",
            ));
        }
    }
    Ok(columns)
}

fn parse_row(
    columns: &[&'static str],
    record: &csv::StringRecord,
    line: u64,
    blame: Blame<'_>,
) -> Result<ProfileRow, ProfileError> {
    let cell = |column: &'static str| {
        let index = columns.iter().position(|name| *name == column);
        Cell { text: index.and_then(|index| record.get(index)).unwrap_or(""), column, line, blame }
    };
    Ok(ProfileRow {
        point: OperatingPoint {
            batch_size: cell("batch_size").required(Cell::count)?,
            instances: cell("instances").required(Cell::count)?,
            cores_per_instance: cell("cores_per_instance").count()?,
            duty_cycle: cell("duty_cycle").share()?,
            core_clock_mhz: cell("core_clock_mhz").clock()?,
            compute_units: cell("compute_units").count()?,
            partition: cell("partition").name(),
            variant: cell("variant").name(),
        },
        throughput_rps: cell("throughput_rps").amount()?,
        latency_ms_mean: cell("latency_ms_mean").amount()?,
        latency_ms_p50: cell("latency_ms_p50").amount()?,
        latency_ms_p95: cell("latency_ms_p95").amount()?,
        latency_ms_p99: cell("latency_ms_p99").amount()?,
        power_watts_mean: cell("power_watts_mean").watts()?,
        power_watts_p95: cell("power_watts_p95").watts()?,
        power_watts_max: cell("power_watts_max").watts()?,
        energy_joules_per_row: cell("energy_joules_per_row").joules()?,
        memory_bytes: cell("memory_bytes").whole()?,
        basis: cell("basis").required(Cell::basis)?,
        power_basis: cell("power_basis").required(Cell::basis)?,
        samples: cell("samples").required(Cell::whole)?,
        confidence: Confidence {
            windows: cell("windows").whole()?,
            throughput_rps_ci95: cell("throughput_rps_ci95").amount()?,
            power_watts_ci95: cell("power_watts_ci95").watts()?,
            power_samples: cell("power_samples").whole()?,
        },
    })
}

/// The text of one cell, before quoting; empty for unknown.
pub(super) fn cell_of(row: &ProfileRow, column: &str) -> String {
    let point = &row.point;
    match column {
        "batch_size" => point.batch_size.to_string(),
        "instances" => point.instances.to_string(),
        "cores_per_instance" => text_of(point.cores_per_instance),
        "duty_cycle" => text_of(point.duty_cycle),
        "core_clock_mhz" => number_text(point.core_clock_mhz.map(|clock| clock.get())),
        "compute_units" => text_of(point.compute_units),
        "partition" => text_of(point.partition.as_deref()),
        "variant" => text_of(point.variant.as_deref()),
        "throughput_rps" => number_text(row.throughput_rps),
        "latency_ms_mean" => number_text(row.latency_ms_mean),
        "latency_ms_p50" => number_text(row.latency_ms_p50),
        "latency_ms_p95" => number_text(row.latency_ms_p95),
        "latency_ms_p99" => number_text(row.latency_ms_p99),
        "power_watts_mean" => number_text(row.power_watts_mean.map(|power| power.get())),
        "power_watts_p95" => number_text(row.power_watts_p95.map(|power| power.get())),
        "power_watts_max" => number_text(row.power_watts_max.map(|power| power.get())),
        "energy_joules_per_row" => number_text(row.energy_joules_per_row.map(|energy| energy.get())),
        "memory_bytes" => text_of(row.memory_bytes),
        "basis" => row.basis.to_string(),
        "power_basis" => row.power_basis.to_string(),
        "samples" => row.samples.to_string(),
        "windows" => text_of(row.confidence.windows),
        "throughput_rps_ci95" => number_text(row.confidence.throughput_rps_ci95),
        "power_watts_ci95" => number_text(row.confidence.power_watts_ci95.map(|power| power.get())),
        "power_samples" => text_of(row.confidence.power_samples),
        other => unreachable!("{other} is not in COLUMNS"),
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// The point as something that can be compared exactly; no duty cycle is the same as one of 1.
pub(super) fn point_key(point: &OperatingPoint) -> impl Ord + Clone + use<> {
    (
        (point.batch_size, point.instances, point.cores_per_instance),
        point.duty_cycle.unwrap_or(1.0).to_bits(),
        point.core_clock_mhz.map(|clock| clock.get().to_bits()),
        point.compute_units,
        (point.partition.clone(), point.variant.clone()),
    )
}
