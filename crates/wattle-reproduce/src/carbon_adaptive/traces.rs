//! Carbon intensity and load by half hours: the user's files, or generated ones of a stated shape.

use std::f64::consts::TAU;
use std::path::Path;
use std::time::Duration;

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use wattle_core::provenance::Basis;
use wattle_core::signal::{AfterEnd, Signal, Trace};
use wattle_core::time::Timestamp;
use wattle_import::{CarbonKind, Format, Input};
use wattle_sim::workload::{TraceFormat, read_rates};

use super::{Scale, broken};
use crate::{ReproduceError, files};

/// Length of an epoch, and the step of the paper's carbon intensity.
pub(crate) const EPOCH: Duration = Duration::from_secs(1800);
const EPOCHS_A_DAY: u32 = 48;
const HOURS_A_WEEK: usize = 168;

/// Files of carbon intensity that are known, and the region that each is of.
const CARBON_FILES: [(&str, &str); 2] = [("ger_ci.csv", "Germany"), ("fr_ci.csv", "France")];
/// Days from the start of those files to the first of June.
const DAYS_TO_JUNE: u32 = 164;
/// A week of hourly requests.
const LOAD_FILE: &str = "hourly_volume.csv";

/// A month of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CarbonMonth {
    pub(crate) format: Format,
    pub(crate) kind: Option<CarbonKind>,
    /// Days from the start of the file to its first.
    pub(crate) day: u32,
    pub(crate) days: u32,
}

/// Carbon intensity in gCO2e/kWh, one value each half hour.
#[derive(Debug, Clone)]
pub(crate) struct CarbonTrace {
    /// What to call it in a row.
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
    pub(crate) basis: Basis,
    pub(crate) source: String,
}

impl CarbonTrace {
    /// The traces of the user's files, or the generated one.
    pub(crate) fn all_of(data: Option<&Path>, days: u32) -> Result<Vec<Self>, ReproduceError> {
        let mut traces = Vec::new();
        for (name, region) in CARBON_FILES {
            if let Some(path) = data.and_then(|folder| files::find(folder, name)) {
                let month = CarbonMonth { format: Format::Uk, kind: None, day: DAYS_TO_JUNE, days };
                traces.push(Self::read(&path, region, &month)?);
            }
        }
        if traces.is_empty() {
            traces.push(Self::generated(days));
        }
        Ok(traces)
    }

    /// The month of a file, called `region`.
    pub(crate) fn read(path: &Path, region: &str, month: &CarbonMonth) -> Result<Self, ReproduceError> {
        let CarbonMonth { format, kind, day, days } = *month;
        let wrong = |cause: String| ReproduceError::Data { file: path.to_owned(), cause };
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let input = Input { name: path.display().to_string(), bytes };
        let said = wattle_import::Options { kind, ..wattle_import::Options::default() };
        let imported = wattle_import::import(format, &[input], &said);
        let imported = imported.map_err(|error| wrong(error.to_string()))?;
        let points = imported.signals.into_iter().next().map(|signal| signal.points).unwrap_or_default();
        let points = points.into_iter().map(|(seconds, value)| (Duration::from_secs_f64(seconds), value));
        let trace =
            Trace::new(points.collect(), AfterEnd::Unknown).map_err(|error| wrong(error.to_string()))?;
        let start = EPOCH * EPOCHS_A_DAY * day;
        let signal = Signal::Trace(trace);
        let at = |epoch| signal.at(Timestamp::from_duration(start + EPOCH * epoch));
        let values: Option<Vec<f64>> = (0..days * EPOCHS_A_DAY).map(at).collect();
        let values = values.ok_or_else(|| {
            wrong(format!("found no {days} days from day {day} on, expected them; give a longer file"))
        })?;
        Ok(Self {
            name: region.into(),
            values,
            basis: Basis::Measured,
            source: format!("carbon intensity of {region}, {days} days from day {day} of its file"),
        })
    }

    /// A grid of gas, wind and sun: a daily course with its highest in the evening and its lowest early in
    /// the morning, and weather that lasts for days. Round figures of no place: the paper tells none of
    /// South West England's. The mean of 200 g/kWh sets the grams and no ratio of them.
    pub(crate) fn generated(days: u32) -> Self {
        const MEAN: f64 = 200.0;
        const DAILY: f64 = 0.25;
        const WEATHER: f64 = 0.25;
        const WEATHER_LASTS_HOURS: f64 = 36.0;
        const LEAST: f64 = 0.2;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let memory = (-0.5 / WEATHER_LASTS_HOURS).exp();
        let mut weather: f64 = StandardNormal.sample(&mut random);
        let values = (0..days * EPOCHS_A_DAY).map(|epoch| {
            let hour = f64::from(epoch % EPOCHS_A_DAY) / 2.0;
            let daily = DAILY * (TAU * (hour - 18.0) / 24.0).cos();
            let noise: f64 = StandardNormal.sample(&mut random);
            weather = memory * weather + (1.0 - memory * memory).sqrt() * noise;
            MEAN * (1.0 + daily + WEATHER * weather).max(LEAST)
        });
        Self {
            name: "generated grid".into(),
            values: values.collect(),
            basis: Basis::Assumed,
            source: "generated carbon intensity: 200 g/kWh, daily course of a quarter of it, weather of a \
                     quarter of it that lasts for 36 hours"
                .into(),
        }
    }

    /// The trace as a signal that ends with its last half hour.
    pub(crate) fn signal(&self) -> Result<Signal, ReproduceError> {
        stepped(&self.values, "carbon intensity")
    }
}

/// Requests per second, one rate each half hour.
#[derive(Debug, Clone)]
pub(crate) struct LoadTrace {
    pub(crate) rates: Vec<f64>,
    pub(crate) basis: Basis,
    pub(crate) source: String,
}

impl LoadTrace {
    /// The week of the user's file over and over, or a generated load, scaled to the requests of `scale`.
    pub(crate) fn of(data: Option<&Path>, scale: &Scale) -> Result<Self, ReproduceError> {
        let epochs = scale.days * EPOCHS_A_DAY;
        let mut load = match data.and_then(|folder| files::find(folder, LOAD_FILE)) {
            Some(path) => Self::read(&path, epochs)?,
            None => Self::generated(epochs),
        };
        let mean = load.rates.iter().sum::<f64>() / load.rates.len() as f64;
        let wanted = scale.requests / (30.0 * 86_400.0);
        load.rates.iter_mut().for_each(|rate| *rate *= wanted / mean);
        Ok(load)
    }

    /// The same rate at all times.
    pub(crate) fn constant(scale: &Scale) -> Self {
        let epochs = scale.days * EPOCHS_A_DAY;
        Self {
            rates: vec![scale.requests / (30.0 * 86_400.0); epochs as usize],
            basis: Basis::Assumed,
            source: "a constant load".into(),
        }
    }

    fn read(path: &Path, epochs: u32) -> Result<Self, ReproduceError> {
        let wrong = |cause: String| ReproduceError::Data { file: path.to_owned(), cause };
        let read = read_rates(path, TraceFormat::HourlyCounts, 3600.0);
        let hours = read.map_err(|error| wrong(error.to_string()))?.segments;
        // Whole weeks: the file ends within an hour, and on another day of the week than it began.
        let week = hours.get(..HOURS_A_WEEK).ok_or_else(|| {
            wrong(format!("found {} hours, expected a week of {HOURS_A_WEEK} at least", hours.len()))
        })?;
        let hour = (0..epochs).map(|epoch| epoch as usize / 2 % HOURS_A_WEEK);
        Ok(Self {
            rates: hour.filter_map(|hour| week.get(hour)).map(|segment| segment.rate_rps).collect(),
            basis: Basis::Measured,
            source: "a week of a Twitter cache cluster's hourly counts, over and over".into(),
        })
    }

    /// A daily course with its highest in the evening, of 0.7 to 1.3 of its mean: round figures.
    pub(crate) fn generated(epochs: u32) -> Self {
        let rate = |epoch: u32| {
            let hour = f64::from(epoch % EPOCHS_A_DAY) / 2.0;
            1.0 + 0.3 * (TAU * (hour - 20.0) / 24.0).cos()
        };
        Self {
            rates: (0..epochs).map(rate).collect(),
            basis: Basis::Assumed,
            source: "generated load: daily course of 0.7 to 1.3 of its mean, highest at 20 h".into(),
        }
    }

    pub(crate) fn signal(&self) -> Result<Signal, ReproduceError> {
        stepped(&self.rates, "load")
    }
}

fn stepped(values: &[f64], what: &str) -> Result<Signal, ReproduceError> {
    let points = (0u32..).zip(values).map(|(epoch, value)| (EPOCH * epoch, *value)).collect();
    let trace = Trace::new(points, AfterEnd::Unknown);
    Ok(Signal::Trace(trace.map_err(|error| broken(format!("{what}: {error}")))?))
}
