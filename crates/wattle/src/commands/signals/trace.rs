//! A CSV file as a signal, for `wattle signals --trace`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;
use wattle_core::signal::series::{Fallback, Known, Series, StalenessRule};
use wattle_core::signal::{AfterEnd, PointStatus, Quantity, SignalHead, Trace};
use wattle_core::time::UnixTime;
use wattle_signals::config::{SourceConfig, build};
use wattle_signals::live::wall_clock;
use wattle_signals::outlook::Outlook;
use wattle_signals::poller::Snapshot;

use super::AHEAD;
use super::report::Report;
use crate::exit::ConfigError;

/// The report of the file at `path`, as of the end of its last value.
pub(super) fn report(path: &Path) -> Result<Report> {
    let series = read(path).with_context(|| path.display().to_string()).context(ConfigError)?;
    let last = series.points().next_back().map(|(at, _)| at).unwrap_or_default();
    let outlook = Outlook::of(&series, last).map(Arc::new);
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

fn read(path: &Path) -> Result<Series> {
    let text = std::fs::read_to_string(path).context("failed to read")?;
    let header = text
        .trim_start_matches('\u{feff}')
        .lines()
        .find(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty())
        .unwrap_or_default();
    let columns: Vec<&str> = header.split(',').map(str::trim).collect();
    let unit_of = |column: &str| {
        if column.ends_with("_g_per_kwh") {
            Some((Quantity::CarbonIntensity, "g/kWh"))
        } else if column.ends_with("_watts") {
            Some((Quantity::Power, "W"))
        } else {
            None
        }
    };
    let mut values = columns.iter().filter_map(|column| Some((*column, unit_of(column)?)));
    let (Some((column, (quantity, unit))), None) = (values.next(), values.next()) else {
        return Err(anyhow!(
            "found the columns {header:?}, expected `seconds` or `time`, and one whose name ends with _g_per_kwh or \
             _watts"
        ));
    };
    if columns.first() == Some(&"seconds") {
        let trace = Trace::parse(&text, &path.display().to_string(), column, AfterEnd::Hold)?;
        return Ok(of_trace(&trace, quantity, start_of(&text), path));
    }
    let keys = json!({ "source": "csv", "file": path, "value_column": column, "unit": unit });
    let config: SourceConfig = serde_json::from_value(keys)?;
    let mut provider = build(&config, quantity, Path::new(""))?;
    let now = wall_clock();
    let fetched = provider.fetch(UnixTime::from_secs(i64::MIN), now)?;
    let step = fetched.step.unwrap_or(Duration::from_secs(3600));
    let mut series = Series::new(Arc::new(provider.head().clone()), step);
    series.merge(&fetched.points, None, now);
    if series.is_empty() {
        return Err(anyhow!(
            "found no value that can be used ({}), expected some",
            fetched.left_out.join("; ")
        ));
    }
    Ok(series)
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
