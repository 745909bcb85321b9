//! What is asked of the operating points, and which of them may be used.

use wattle_core::operating_point::ProfileRow;
use wattle_core::profile::PowerFigure;
use wattle_core::units::Watts;

/// What a point must keep to be used. `None`: no such bound.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Constraints {
    /// Most power of the device.
    pub cap: Option<Watts>,
    /// Which power figure counts, for the cap and for the question.
    pub figure: PowerFigure,
    /// Highest latency of a batch: the 99th percentile, or what stands in for it.
    pub latency_ms: Option<f64>,
    /// Most memory of the device.
    pub memory_bytes: Option<u64>,
}

/// What is sought among the points that keep the constraints.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Question {
    /// The most rows per second.
    MostThroughput,
    /// The least power among the points that sustain a load.
    LeastPowerAt {
        /// The load, in rows per second.
        load_rps: f64,
    },
    /// The least energy of a row, idle power included.
    LeastEnergyPerRow,
}

/// The 99th percentile of the latency of `row`, else the 95th, else the mean, else the median.
pub fn latency_ms_of(row: &ProfileRow) -> Option<f64> {
    row.latency_ms_p99.or(row.latency_ms_p95).or(row.latency_ms_mean).or(row.latency_ms_p50)
}

/// The figures of a point that questions and constraints are about, measured or predicted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) throughput_rps: Option<f64>,
    pub(crate) latency_ms: Option<f64>,
    pub(crate) power_watts: Option<f64>,
    pub(crate) memory_bytes: Option<f64>,
}

impl Figures {
    /// The figures of `row`.
    pub(crate) fn of(row: &ProfileRow, figure: PowerFigure) -> Self {
        let known = |value: Option<f64>| value.filter(|value| value.is_finite());
        Self {
            throughput_rps: known(row.throughput_rps),
            latency_ms: known(latency_ms_of(row)),
            power_watts: known(figure.of(row).map(Watts::get)),
            memory_bytes: row.memory_bytes.map(|bytes| bytes as f64),
        }
    }
}

impl Constraints {
    /// Whether `figures` keep every bound. A figure that is bounded and not known does not keep it.
    pub(crate) fn are_kept_by(&self, figures: &Figures) -> bool {
        let within = |figure: Option<f64>, bound: Option<f64>| {
            bound.is_none_or(|bound| figure.is_some_and(|figure| figure <= bound))
        };
        within(figures.power_watts, self.cap.map(Watts::get))
            && within(figures.latency_ms, self.latency_ms)
            && within(figures.memory_bytes, self.memory_bytes.map(|bytes| bytes as f64))
    }
}

impl Question {
    /// How good `figures` are: the more the better. `None`: they don't answer, or not enough is known.
    pub(crate) fn value(self, figures: &Figures) -> Option<f64> {
        let value = match self {
            Self::MostThroughput => figures.throughput_rps?,
            Self::LeastPowerAt { load_rps } => {
                figures.throughput_rps.filter(|rps| *rps >= load_rps)?;
                1.0 / figures.power_watts?
            }
            Self::LeastEnergyPerRow => figures.throughput_rps? / figures.power_watts?,
        };
        (value.is_finite() && value > 0.0).then_some(value)
    }

    /// The value of `figures` where they keep `constraints` too.
    pub(crate) fn value_within(self, figures: &Figures, constraints: &Constraints) -> Option<f64> {
        self.value(figures).filter(|_| constraints.are_kept_by(figures))
    }
}
