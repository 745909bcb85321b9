//! Year-long hourly power caps of three renewable sources: made by a documented generator, or measured.
//!
//! "Opportunities of Renewable Energy Powered DNN Inference" (Nabavinejad, Guo) takes three traces whose
//! maximum is the device's 350 W and gives their mean and standard deviation in Table 1. It states no
//! rule that leads there, and the traces can't be shipped. [`generate`] makes traces of those figures;
//! [`measured`] makes them of a grid's hourly generation by a stated rule.

pub mod generate;
pub mod measured;
#[cfg(test)]
mod tests;

use std::time::Duration;

use wattle_core::provenance::Basis;
use wattle_core::signal::{AfterEnd, Signal, Trace, TraceError};

/// Maximum of every trace: power of the device in the paper, in watts.
pub const MAX_WATTS: f64 = 350.0;

/// Length of a step.
pub const STEP: Duration = Duration::from_secs(3600);

/// The sources, in the order of Table 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Water.
    Hydro,
    /// Sun.
    Solar,
    /// Wind.
    Wind,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hydro, Self::Solar, Self::Wind];

    /// Its name, as in files of generation by source.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hydro => "hydro",
            Self::Solar => "solar",
            Self::Wind => "wind",
        }
    }

    /// The trace that the paper took.
    pub const fn published(self) -> Published {
        let (trace, mean_watts, deviation_watts) = match self {
            Self::Hydro => ("US-MIDA-2020", 145.9, 84.23),
            Self::Solar => ("US-CAL-2020", 239.57, 76.1),
            Self::Wind => ("SE-2020", 172.92, 81.96),
        };
        Published { trace, mean_watts, deviation_watts }
    }
}

/// A row of Table 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// Name of the trace.
    pub trace: &'static str,
    /// Mean in watts.
    pub mean_watts: f64,
    /// Standard deviation in watts.
    pub deviation_watts: f64,
}

/// One trace: a cap for each hour, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct PowerTrace {
    /// What it is a trace of.
    pub source: Source,
    /// The cap of each hour, in watts. Never empty.
    pub watts: Vec<f64>,
    /// How it is known.
    pub basis: Basis,
    /// Where it comes from and what was done to it.
    pub rests_on: String,
    /// Why it is as near to Table 1 as it is.
    pub why: &'static str,
}

impl PowerTrace {
    /// Mean in watts.
    pub fn mean(&self) -> f64 {
        mean(&self.watts)
    }

    /// Standard deviation in watts, of the hours as they are.
    pub fn deviation(&self) -> f64 {
        deviation(&self.watts)
    }

    /// How long it is.
    pub fn span(&self) -> Duration {
        STEP * u32::try_from(self.watts.len()).unwrap_or(u32::MAX)
    }

    /// The first `hours` of it, at least one.
    #[must_use]
    pub fn first(mut self, hours: usize) -> Self {
        self.watts.truncate(hours.max(1));
        self
    }

    /// The trace as a cap whose steps are `step` long.
    ///
    /// # Errors
    /// When a value is no power.
    pub fn signal(&self, step: Duration) -> Result<Signal, TraceError> {
        let points = (0u32..).zip(&self.watts).map(|(hour, watts)| (step * hour, *watts)).collect();
        Ok(Signal::Trace(Trace::new(points, AfterEnd::Hold)?))
    }
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub(crate) fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}
