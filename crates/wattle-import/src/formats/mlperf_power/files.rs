//! The files of a result, each by itself.

use serde_json::Value;

use crate::error::{Blame, ImportError, quoted};
use crate::oddity::{BadRows, Oddities};
use crate::table::Figure;

/// What the load generator says of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Summary {
    pub(super) scenario: String,
    pub(super) valid: bool,
    /// Inferences per second.
    pub(super) qps: f64,
    pub(super) latency_ms_mean: Option<f64>,
    pub(super) latency_ms_p50: Option<f64>,
    pub(super) latency_ms_p95: Option<f64>,
    pub(super) latency_ms_p99: Option<f64>,
    /// Fewest queries of a valid run.
    pub(super) least_queries: Option<u32>,
}

/// What is known of a system.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SystemFacts {
    pub(super) name: Option<String>,
    pub(super) framework: Option<String>,
    pub(super) notes: Option<String>,
}

/// Reads `mlperf_log_summary.txt`.
pub(super) fn summary(text: &str, blame: Blame<'_>) -> Result<Summary, ImportError> {
    let value =
        |key: &str| text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == key);
    let needed = |key: &str| {
        value(key).map(|(_, value)| value.trim()).ok_or_else(|| {
            let place = Some(format!("line {key:?}"));
            blame.at(
                None,
                place,
                "no such line",
                "the load generator's summary",
                "give the file as it was written",
            )
        })
    };
    let number = |key: &str| value(key).and_then(|(_, value)| Figure::of(value).value());
    let millis = |key: &str| number(key).filter(|nanos| *nanos > 0.0).map(|nanos| nanos / 1e6);
    let scenario = needed("Scenario")?.to_owned();
    let rate = ["QPS w/ loadgen overhead", "Samples per second", "Completed samples per second"];
    let Some(qps) = rate.iter().find_map(|key| number(key)).filter(|qps| *qps > 0.0) else {
        let expected = "one of these, over 0: QPS w/ loadgen overhead, Samples per second";
        return Err(blame.file("no rate of inferences", expected, "give a single-stream or offline result"));
    };
    Ok(Summary {
        valid: needed("Result is")? == "VALID",
        scenario,
        qps,
        latency_ms_mean: millis("Mean latency (ns)"),
        latency_ms_p50: millis("50.00 percentile latency (ns)"),
        latency_ms_p95: millis("95.00 percentile latency (ns)"),
        latency_ms_p99: millis("99.00 percentile latency (ns)"),
        least_queries: number("min_query_count").map(|count| count as u32),
    })
}

/// Reads `spl.txt`: the meter's watts, in order.
pub(super) fn wall_power(
    text: &str,
    blame: Blame<'_>,
    oddities: &mut Oddities,
) -> Result<Vec<f64>, ImportError> {
    let mut bad = BadRows::new(blame);
    let mut watts = Vec::new();
    let mut total = 0;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        total += 1;
        let number = index as u64 + 1;
        let mut cells = line.split(',').map(str::trim);
        let cell = if cells.any(|cell| cell == "Watts") { cells.next() } else { None };
        match cell.map(Figure::of) {
            Some(Figure::Value(value)) if value > 0.0 => watts.push(value),
            Some(Figure::Value(_)) => {
                oddities.add(blame.0, "readings of zero or less", Some(number), "taken as not measured");
            }
            _ => bad.add(number, "Watts", line, "Time,…,Watts,… as the meter writes it"),
        }
    }
    bad.finish(total, oddities)?;
    if watts.is_empty() {
        let expected = "lines of Time,…,Watts,… as the meter writes them";
        return Err(blame.file("no reading", expected, "give the file as it was written"));
    }
    Ok(watts)
}

/// Reads `accuracy.txt`: the share of right answers.
pub(super) fn accuracy(text: &str, blame: Blame<'_>) -> Result<f64, ImportError> {
    let after = text.split_once("accuracy=").map(|(_, after)| after);
    let percent =
        after.and_then(|after| after.split_once('%')).and_then(|(percent, _)| Figure::of(percent).value());
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| (percent * 1e7).round() / 1e9)
        .ok_or_else(|| {
            let found = quoted(text.lines().next().unwrap_or(""));
            blame.at(Some(1), None, found, "accuracy=PERCENT%", "give the file as it was written")
        })
}

/// Reads `systems/SYSTEM.json`.
pub(super) fn system(text: &str, blame: Blame<'_>) -> Result<SystemFacts, ImportError> {
    let whole: Value = serde_json::from_str(text).map_err(|error| {
        let line = Some(error.line() as u64);
        blame.at(
            line,
            None,
            error.to_string(),
            "JSON that describes a system",
            "give the file as it was written",
        )
    })?;
    let text = |key: &str| {
        whole.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty()).map(str::to_owned)
    };
    Ok(SystemFacts { name: text("system_name"), framework: text("framework"), notes: text("hw_notes") })
}
