//! A CSV file as a signal, for `wattle signals --trace`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use wattle_core::signal::series::{Fallback, Known, Series, StalenessRule};
use wattle_core::signal::{AfterEnd, PointStatus, Quantity, SignalHead, Trace};
use wattle_core::time::UnixTime;
use wattle_signals::outlook::Outlook;
use wattle_signals::poller::Snapshot;
use wattle_signals::provider::Provider as _;
use wattle_signals::providers::csv_file::{CsvConfig, CsvFile};
use wattle_signals::unit::Unit;

use super::AHEAD;
use super::report::Report;
use crate::exit::ConfigError;

/// Later than any time of a file: a trace is read as of its end, whatever the clock says.
const AFTER_ALL: UnixTime = UnixTime::from_secs(i64::MAX);

/// The report of the file at `path`, as of the end of its last value. The forecast learns from its columns
/// `seen`, too.
pub(super) fn report(path: &Path, seen: &[String]) -> Result<Report> {
    read(path, seen).with_context(|| path.display().to_string()).context(ConfigError)
}

fn read(path: &Path, seen: &[String]) -> Result<Report> {
    let (series, beside) = series(path, seen)?;
    let last = series.points().next_back().map(|(at, _)| at).unwrap_or_default();
    let outlook = Outlook::with_seen(&series, last, &beside)
        .with_context(|| format!("--seen {}", seen.join(",")))?
        .map(Arc::new);
    let known = Snapshot {
        series,
        outlook,
        failures_total: 0,
        last_error: None,
        answered_at: None,
        next_ask: last,
        clock_ahead_seconds: None,
    };
    let rule = StalenessRule {
        stale_after: Duration::ZERO,
        give_up_after: Duration::ZERO,
        fallback: Fallback::Unknown,
    };
    Ok(Report::of("trace", &known, &rule, last, AHEAD))
}

/// The values of a column, each at its time.
type Column = Vec<(UnixTime, f64)>;

/// The values of the file at `path`, and those of its columns `seen`.
fn series(path: &Path, seen: &[String]) -> Result<(Series, Vec<Column>)> {
    let text = std::fs::read_to_string(path).context("failed to read")?;
    let header = text
        .trim_start_matches('\u{feff}')
        .lines()
        .find(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty())
        .unwrap_or_default();
    let columns: Vec<&str> = header.split(',').map(str::trim).collect();
    let unit_of = |column: &str| {
        if column.ends_with("_g_per_kwh") {
            Some(Unit::GramsPerKilowattHour)
        } else if column.ends_with("_watts") {
            Some(Unit::Watts)
        } else {
            None
        }
    };
    let mut values = columns.iter().filter_map(|column| Some((*column, unit_of(column)?)));
    let (Some((column, unit)), None) = (values.next(), values.next()) else {
        return Err(anyhow!(
            "found the columns {header:?}, expected `seconds` or `time`, and one whose name ends with _g_per_kwh or \
             _watts"
        ));
    };
    if columns.first() == Some(&"seconds") {
        if !seen.is_empty() {
            return Err(anyhow!(
                "found --seen and the column seconds, expected a column `time`: a trace of seconds has one column more"
            ));
        }
        let trace = Trace::parse(&text, &path.display().to_string(), column, AfterEnd::Hold)?;
        return Ok((of_trace(&trace, unit.quantity(), start_of(&text), path), Vec::new()));
    }
    let open = |column: &str, unit: Unit| {
        let config = CsvConfig {
            file: path.to_owned(),
            time_column: None,
            value_column: column.to_owned(),
            unit,
            times_are_utc: false,
            step_seconds: None,
            interval_seconds: 1,
            zone: None,
            kind: None,
            scope: None,
        };
        CsvFile::new(&config, unit.quantity(), Path::new(""))
    };
    let mut file = open(column, unit)?;
    let fetched = file.fetch(UnixTime::from_secs(i64::MIN), AFTER_ALL)?;
    let step = fetched.step.unwrap_or(Duration::from_secs(3600));
    let head = SignalHead { source: format!("{}{}", file.head().source, with(seen)), ..file.head().clone() };
    let mut series = Series::new(Arc::new(head), step);
    series.merge(&fetched.points, None, AFTER_ALL);
    let left_out = fetched.left_out.join("; ");
    if series.is_empty() {
        return Err(anyhow!("found no value that can be used ({left_out}), expected some"));
    }
    if !left_out.is_empty() {
        tracing::warn!(file = %path.display(), left_out, "values of the trace were left out");
    }
    // Their unit is of no matter here.
    let beside = seen.iter().map(|column| open(column, unit)?.numbers()).collect::<Result<_, _>>()?;
    Ok((series, beside))
}

/// The columns that were seen beside, in words.
fn with(seen: &[String]) -> String {
    if seen.is_empty() { String::new() } else { format!(", seen with {}", seen.join(", ")) }
}

/// When second 0 of a trace is, as `wattle import` tells it in a comment.
fn start_of(text: &str) -> Option<UnixTime> {
    let start = text.lines().find_map(|line| line.strip_prefix("# start: "))?;
    let time: jiff::Timestamp = start.split(';').next()?.trim().parse().ok()?;
    Some(UnixTime::from_secs(time.as_second()))
}

/// A trace that counts seconds from `start`, or from any midnight UTC where that is not told.
fn of_trace(trace: &Trace, quantity: Quantity, start: Option<UnixTime>, path: &Path) -> Series {
    let assumed = if start.is_some() { "" } else { ", its second 0 assumed to be midnight UTC" };
    let head = SignalHead::configured(quantity, format!("the trace {}{assumed}", path.display()));
    let start = start.unwrap_or_default();
    let points = trace.points();
    // As far apart as the values are that lie closest.
    let step = points.windows(2).map(|two| two[1].0 - two[0].0).min().unwrap_or(Duration::from_secs(3600));
    let known = points.iter().map(|(offset, value)| {
        let at = start + *offset;
        (at, Known { value: *value, status: PointStatus::Unknown, told_at: at })
    });
    Series::of(Arc::new(head), step, known)
}
