//! `[models.workload]` and `[families.workload]`: who asks, and when.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::check::{MOST_CLIENTS, MOST_RPS, number, number_to, without};
use super::files::Files;
use super::load::{ScenarioError, wrong};
use crate::workload::{Source, TimestampFile, TraceFormat, read_rates};

const OF_RATES: &str = "trace and a format of rates, not timestamps,";
/// A repeated trace has more requests than this, each time.
const LEAST_REQUESTS: f64 = 1e-9;

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
    /// `trace` of rates: where in the file's own time, before it is stretched, the run begins. With `repeat`
    /// what is before comes after the end.
    pub start_seconds: Option<f64>,
    /// `trace` of rates: the whole file is stretched or squeezed to this length.
    pub lasts_seconds: Option<f64>,
    /// `trace` of rates: the highest rate of the whole file becomes this.
    pub peak_rps: Option<f64>,
    /// `trace` of rates: the mean rate of the whole file becomes this.
    pub mean_rps: Option<f64>,
    /// `trace`: every rate times this.
    pub scale: Option<f64>,
    /// `trace` of rates: whether it begins again after its end.
    pub repeat: Option<bool>,
    /// `trace` of rates: even distances within each stretch, in place of independent requests.
    pub even: Option<bool>,
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
        let key = |key: &str| format!("{place}.{key}");
        self.check_keys(place, files)?;
        if self.rows == 0 {
            return Err(wrong(files.name(), &key("rows"), "0", "at least 1"));
        }
        let rate = || {
            let rate = self
                .rate_rps
                .ok_or_else(|| wrong(files.name(), &key("rate_rps"), "nothing", "requests per second"))?;
            number_to(files, &key("rate_rps"), rate, MOST_RPS)
        };
        Ok(match self.kind {
            Kind::Saturated => Source::Saturated,
            Kind::Poisson => Source::Poisson { rate_rps: rate()? },
            Kind::Constant => Source::Constant { rate_rps: rate()? },
            Kind::ClosedLoop => {
                let clients = self.clients.unwrap_or(0);
                if !(1..=MOST_CLIENTS).contains(&clients) {
                    let found = self.clients.map_or("nothing".to_owned(), |clients| clients.to_string());
                    return Err(wrong(
                        files.name(),
                        &key("clients"),
                        &found,
                        &format!("1 to {MOST_CLIENTS}"),
                    ));
                }
                let think = number(files, &key("think_ms"), self.think_ms.unwrap_or(0.0))?;
                Source::ClosedLoop { clients, think: Duration::from_secs_f64((think / 1e3).min(1e9)) }
            }
            Kind::Trace => self.trace(place, files)?,
        })
    }

    /// Refuses keys of another kind of workload or trace, which would be of no effect.
    fn check_keys(&self, place: &str, files: &Files<'_>) -> Result<(), ScenarioError> {
        use Kind::{ClosedLoop, Constant, Poisson, Trace};
        let of_rates = self.format != Some(TraceFormat::Timestamps);
        for (key, is_given, kinds, of_format, where_to) in [
            ("rate_rps", self.rate_rps.is_some(), &[Poisson, Constant][..], true, "poisson or constant"),
            ("clients", self.clients.is_some(), &[ClosedLoop], true, "closed-loop"),
            ("think_ms", self.think_ms.is_some(), &[ClosedLoop], true, "closed-loop"),
            ("file", self.file.is_some(), &[Trace], true, "trace"),
            ("format", self.format.is_some(), &[Trace], true, "trace"),
            (
                "bin_seconds",
                self.bin_seconds.is_some(),
                &[Trace],
                self.format == Some(TraceFormat::Swim),
                "trace and the format swim",
            ),
            ("scale", self.scale.is_some(), &[Trace], true, "trace"),
            ("start_seconds", self.start_seconds.is_some(), &[Trace], of_rates, OF_RATES),
            ("lasts_seconds", self.lasts_seconds.is_some(), &[Trace], of_rates, OF_RATES),
            ("peak_rps", self.peak_rps.is_some(), &[Trace], of_rates, OF_RATES),
            ("mean_rps", self.mean_rps.is_some(), &[Trace], of_rates, OF_RATES),
            ("repeat", self.repeat.is_some(), &[Trace], of_rates, OF_RATES),
            ("even", self.even.is_some(), &[Trace], of_rates, OF_RATES),
        ] {
            let is_fit = kinds.contains(&self.kind) && of_format;
            let expected = format!("it with the kind {where_to} alone");
            without(files.name(), place, &[(key, is_given && !is_fit)], &expected)?;
        }
        Ok(())
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
        trace.repeat = self.repeat.unwrap_or(false);
        let own_seconds = trace.seconds();
        if !trace.has_arrivals() || !own_seconds.is_finite() {
            return Err(wrong(files.name(), place, "a trace without a request", "at least one"));
        }
        // The whole file is scaled; only then its start is cut.
        let factor = match (self.peak_rps, self.mean_rps, self.scale) {
            (None, None, None) => 1.0,
            (Some(peak), None, None) => {
                number_to(files, &key("peak_rps"), peak, MOST_RPS)? / trace.peak_rps()
            }
            (None, Some(mean), None) => {
                number_to(files, &key("mean_rps"), mean, MOST_RPS)? / trace.mean_rps()
            }
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
        trace = trace.times(factor);
        let peak = trace.peak_rps();
        if !(0.0..=MOST_RPS).contains(&peak) {
            let found = format!("a highest rate of {peak} requests a second");
            return Err(wrong(files.name(), place, &found, &format!("at most {MOST_RPS}")));
        }
        if let Some(start) = self.start_seconds {
            let start = number(files, &key("start_seconds"), start)?;
            if start >= own_seconds {
                let expected = format!("less than {own_seconds}, the length of the file");
                return Err(wrong(files.name(), &key("start_seconds"), &start.to_string(), &expected));
            }
            trace = trace.starting_at(start);
        }
        if let Some(lasts) = self.lasts_seconds {
            let lasts = number(files, &key("lasts_seconds"), lasts)?;
            if lasts <= 0.0 {
                return Err(wrong(files.name(), &key("lasts_seconds"), "0", "more than 0"));
            }
            trace = trace.stretched(lasts / own_seconds);
        }
        let requests = trace.seconds() * trace.mean_rps();
        if trace.repeat && factor > 0.0 && requests <= LEAST_REQUESTS {
            let found = format!("a repeated trace of {requests} requests");
            return Err(wrong(files.name(), place, &found, &format!("more than {LEAST_REQUESTS}")));
        }
        Ok(Source::Rates { trace, poisson: !self.even.unwrap_or(false) })
    }

    fn timestamps(&self, place: &str, files: &Files<'_>, path: &Path) -> Result<Source, ScenarioError> {
        // The load is scaled by time: the file is read as it is needed.
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
