//! What is to be expected of points that were not measured, learned from those that were.

mod gaussian_process;

use wattle_core::operating_point::{OperatingPoint, ProfileRow};
use wattle_core::profile::PowerFigure;

use crate::knobs::{Place, Reading};
use crate::question::Figures;
use gaussian_process::{GaussianProcess, Normal};

/// Standard normal quantile of 95 %: 90 % lie within so many standard deviations.
const Z90: f64 = 1.644_853_626_951_472_2;

/// A figure that is predicted: never measured, at best modelled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The most likely value (the median of what is expected).
    pub mean: f64,
    /// Lower end of the interval that holds the value with a probability of 90 %.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

/// What is predicted of a point. `None`: too few rows tell the figure.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Predicted {
    /// Rows answered per second.
    pub throughput_rps: Option<Estimate>,
    /// Latency of a batch in milliseconds, of the kind that [`latency_ms_of`](crate::latency_ms_of) gives.
    pub latency_ms: Option<Estimate>,
    /// Power of the device in watts, of the figure asked for.
    pub power_watts: Option<Estimate>,
    /// Memory of the device in bytes.
    pub memory_bytes: Option<Estimate>,
}

/// A model of one model on one device over all its knobs, fitted to measured rows.
#[derive(Debug, Clone)]
pub struct Surrogate {
    reading: Reading,
    throughput: Option<GaussianProcess>,
    latency: Option<GaussianProcess>,
    power: Option<GaussianProcess>,
    memory: Option<GaussianProcess>,
}

impl Surrogate {
    /// A surrogate of `rows`, for this power `figure`. With too few rows it predicts nothing.
    pub fn fit(rows: &[ProfileRow], figure: PowerFigure) -> Self {
        let reading = Reading::of(rows.iter().map(|row| &row.point));
        let read: Vec<(Place, Figures)> = rows
            .iter()
            .filter_map(|row| Some((reading.place(&row.point)?, Figures::of(row, figure))))
            .collect();
        let fit = |of: fn(&Figures) -> Option<f64>| {
            let known = read.iter().filter_map(|(place, figures)| {
                Some((place.clone(), of(figures).filter(|value| *value > 0.0)?.ln()))
            });
            GaussianProcess::fit(known.collect())
        };
        Self {
            throughput: fit(|figures| figures.throughput_rps),
            latency: fit(|figures| figures.latency_ms),
            power: fit(|figures| figures.power_watts),
            memory: fit(|figures| figures.memory_bytes),
            reading,
        }
    }

    /// What is to be expected at `point`. `None` where nothing at all can be said.
    pub fn predict(&self, point: &OperatingPoint) -> Option<Predicted> {
        let place = self.reading.place(point)?;
        let estimate = |process: &Option<GaussianProcess>| {
            process.as_ref().map(|process| Estimate::of(process.at(&place)))
        };
        let predicted = Predicted {
            throughput_rps: estimate(&self.throughput),
            latency_ms: estimate(&self.latency),
            power_watts: estimate(&self.power),
            memory_bytes: estimate(&self.memory),
        };
        (predicted != Predicted::default()).then_some(predicted)
    }
}

impl Estimate {
    /// The estimate whose logarithm is `normal`.
    fn of(normal: Normal) -> Self {
        Self {
            mean: normal.mean.exp(),
            low: (normal.mean - Z90 * normal.deviation).exp(),
            high: (normal.mean + Z90 * normal.deviation).exp(),
        }
    }
}
