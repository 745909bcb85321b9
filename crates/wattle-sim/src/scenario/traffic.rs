//! `[models.workload]` and `[families.workload]`: who asks, and when.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::load::{Files, ScenarioError, wrong};
use crate::workload::{RateTrace, Source, TimestampFile, TraceFormat, read_rates};

/// A workload, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadFile {
    /// What kind it is.
    pub kind: Kind,
    /// `poisson`, `constant`: requests per second.
    pub rate_rps: Option<f64>,
    /// `closed-loop`: clients that wait for their answers.
    pub clients: Option<u32>,
    /// `closed-loop`: how long each waits after an answer; 0 by default.
    pub think_ms: Option<f64>,
    /// `trace`: the file.
    pub file: Option<String>,
    /// `trace`: what the file looks like.
    pub format: Option<TraceFormat>,
    /// `trace` of SWIM: length of the bins its jobs are counted in, of its own time; 60 by default.
    pub bin_seconds: Option<f64>,
    /// `trace`: where in the file's own time the run begins.
    pub start_seconds: Option<f64>,
    /// `trace`: the whole file is stretched or squeezed to this length.
    pub lasts_seconds: Option<f64>,
    /// `trace` of rates: its highest rate becomes this.
    pub peak_rps: Option<f64>,
    /// `trace` of rates: its mean rate becomes this.
    pub mean_rps: Option<f64>,
    /// `trace` of rates: every rate times this.
    pub scale: Option<f64>,
    /// `trace` of rates: whether it begins again after its end.
    #[serde(default)]
    pub repeat: bool,
    /// `trace` of rates: even distances within each stretch, in place of independent requests.
    #[serde(default)]
    pub even: bool,
    /// Rows of each request; 1 by default.
    #[serde(default = "one")]
    pub rows: u32,
    /// Priority of each request; 1 goes first.
    #[serde(default = "one")]
    pub priority: u32,
}

/// The kinds of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Always more than is served.
    Saturated,
    /// Independent requests at a mean rate.
    Poisson,
    /// Requests at even distances.
    Constant,
    /// Clients that wait for their answers.
    ClosedLoop,
    /// A file.
    Trace,
}

fn one() -> u32 {
    1
}

impl WorkloadFile {
    /// The source of requests that it says. `place` is for errors.
    pub(super) fn source(&self, place: &str, files: &mut Files<'_>) -> Result<Source, ScenarioError> {
        if self.rows == 0 {
            return Err(wrong(files.name(), place, "rows = 0", "at least 1"));
        }
        let key = |key: &str| format!("{place}.{key}");
        let rate = || {
            let rate = self
                .rate_rps
                .ok_or_else(|| wrong(files.name(), &key("rate_rps"), "nothing", "requests per second"))?;
            number(files, &key("rate_rps"), rate)
        };
        Ok(match self.kind {
            Kind::Saturated => Source::Saturated,
            Kind::Poisson => Source::Poisson { rate_rps: rate()? },
            Kind::Constant => Source::Constant { rate_rps: rate()? },
            Kind::ClosedLoop => {
                let clients = self.clients.filter(|clients| *clients > 0);
                let clients = clients
                    .ok_or_else(|| wrong(files.name(), &key("clients"), "none", "at least 1 client"))?;
                let think = number(files, &key("think_ms"), self.think_ms.unwrap_or(0.0))?;
                Source::ClosedLoop { clients, think: Duration::from_secs_f64((think / 1e3).min(1e9)) }
            }
            Kind::Trace => self.trace(place, files)?,
        })
    }

    fn trace(&self, place: &str, files: &mut Files<'_>) -> Result<Source, ScenarioError> {
        let key = |key: &str| format!("{place}.{key}");
        let (Some(file), Some(format)) = (&self.file, self.format) else {
            let expected = "file, and format: swim, hourly-counts, counts-per-second, timestamps or rate-csv";
            return Err(wrong(files.name(), place, "a trace without both", expected));
        };
        let path = files.record(file)?;
        if format == TraceFormat::Timestamps {
            return self.timestamps(place, files, &path);
        }
        let bin = number(files, &key("bin_seconds"), self.bin_seconds.unwrap_or(60.0))?;
        if bin <= 0.0 {
            return Err(wrong(files.name(), &key("bin_seconds"), "0", "more than 0"));
        }
        let mut trace = read_rates(&path, format, bin)?;
        trace.repeat = self.repeat;
        if let Some(start) = self.start_seconds {
            trace = without_start(trace, number(files, &key("start_seconds"), start)?);
        }
        if let Some(lasts) = self.lasts_seconds {
            trace = trace.lasting(number(files, &key("lasts_seconds"), lasts)?);
        }
        if !trace.has_arrivals() || !trace.seconds().is_finite() {
            return Err(wrong(files.name(), place, "a trace without a request", "at least one"));
        }
        let factor = match (self.peak_rps, self.mean_rps, self.scale) {
            (None, None, None) => 1.0,
            (Some(peak), None, None) => number(files, &key("peak_rps"), peak)? / trace.peak_rps(),
            (None, Some(mean), None) => number(files, &key("mean_rps"), mean)? / trace.mean_rps(),
            (None, None, Some(scale)) => number(files, &key("scale"), scale)?,
            _ => {
                return Err(wrong(
                    files.name(),
                    place,
                    "several of peak_rps, mean_rps and scale",
                    "one of them at most",
                ));
            }
        };
        Ok(Source::Rates { trace: trace.times(factor), poisson: !self.even })
    }

    fn timestamps(&self, place: &str, files: &Files<'_>, path: &Path) -> Result<Source, ScenarioError> {
        for (key, given) in [
            ("peak_rps", self.peak_rps.is_some()),
            ("mean_rps", self.mean_rps.is_some()),
            ("start_seconds", self.start_seconds.is_some()),
            ("lasts_seconds", self.lasts_seconds.is_some()),
        ] {
            if given {
                let place = format!("{place}.{key}");
                let expected =
                    "scale alone: timestamps are read as they are needed, so the load is scaled by time";
                return Err(wrong(files.name(), &place, "a scaling of rates", expected));
            }
        }
        let scale = number(files, &format!("{place}.scale"), self.scale.unwrap_or(1.0))?;
        if scale <= 0.0 {
            return Err(wrong(files.name(), &format!("{place}.scale"), "0", "more than 0"));
        }
        let file = TimestampFile { path: path.to_owned(), time_factor: 1.0 / scale };
        // Read once through, so that a wrong line is told before anything runs.
        let mut open = file.open()?;
        while open.next_arrival()?.is_some() {}
        Ok(Source::Timestamps(file))
    }
}

/// The trace from `seconds` of its own time on.
fn without_start(mut trace: RateTrace, seconds: f64) -> RateTrace {
    let mut left = seconds;
    while let Some(first) = trace.segments.first_mut() {
        if first.seconds > left {
            first.seconds -= left;
            break;
        }
        left -= first.seconds;
        trace.segments.remove(0);
    }
    trace
}

pub(super) fn number(files: &Files<'_>, place: &str, value: f64) -> Result<f64, ScenarioError> {
    if value.is_finite() && (0.0..=1e15).contains(&value) {
        return Ok(value);
    }
    Err(wrong(files.name(), place, &value.to_string(), "a number of at least 0"))
}
