//! What is known of one model on one device: operating points and what was seen at each.
//!
//! A profile answers from its rows and between them, never beyond them: outside its hull it says
//! "unknown". Reading and writing the file is in [`mod@format`].

pub mod diff;
mod enclosing;
pub mod format;
mod interpolate;
mod knobs;
pub mod merge;
mod overview;
pub mod partition;
mod predictor;
mod scale;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::id::ModelName;
use crate::operating_point::{OperatingPoint, ProfileRow};
use crate::units::Watts;

pub use format::ProfileError;
pub use interpolate::Prediction;
pub use knobs::{KnobValue, PointKnob};
pub use overview::{BasisCounts, LeaveOneOut, nearest_rank};
pub use predictor::Predictor;
pub(crate) use scale::scale;

/// Operating points of one model on one device, and what was seen at each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// What was profiled, and how.
    pub head: ProfileHead,
    /// One row for each point, in the order of the file. No two have the same point.
    pub rows: Vec<ProfileRow>,
}

/// What was profiled, and how. The keys of the file's head have the names of these fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileHead {
    /// The model.
    pub model: ModelName,
    /// The device, in words.
    pub device: String,
    /// What executed the model, with its version.
    pub runtime: String,
    /// Power of the device with the model loaded and nothing to do, when known.
    pub idle_power_watts: Option<Watts>,
    /// Mean time a request spends outside queue and instance: network and front end, when known.
    pub request_overhead_ms: Option<f64>,
    /// How good the model's answers are, as a share in 0 to 1 (accuracy, say), when known.
    pub quality: Option<f64>,
    /// Which counter or model the power figures come from.
    pub power_source: String,
    /// When the profile was made, as text.
    pub created: Option<String>,
    /// Anything else worth knowing, such as where published rows come from.
    pub notes: Option<String>,
    /// What else has to be the same for another profile to be comparable.
    #[serde(flatten)]
    pub conditions: Conditions,
}

/// Under which conditions a profile was measured. Where two profiles of one model differ in these,
/// their figures may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// The device's driver or kernel, with its version.
    pub driver: Option<String>,
    /// SHA-256 of the model's file, in hexadecimal.
    pub model_sha256: Option<String>,
    /// Sensors that were read, each with its source.
    pub sensors: Option<String>,
    /// What surrounded the device: temperature, other load, cooling.
    pub ambient: Option<String>,
}

/// Which power figure of a row counts. Where it is unknown the next in the list of each stands in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerFigure {
    /// The highest power, else the 95th percentile, else the mean. For caps that must hold always.
    #[default]
    Max,
    /// The 95th percentile, else the highest, else the mean.
    P95,
    /// The mean, else the 95th percentile, else the highest. For budgets of energy.
    Mean,
}

impl PowerFigure {
    /// This figure of `row`, or what stands in for it; `None` when the row has no power at all.
    pub fn of(self, row: &ProfileRow) -> Option<Watts> {
        let (mean, p95, max) = (row.power_watts_mean, row.power_watts_p95, row.power_watts_max);
        match self {
            Self::Max => max.or(p95).or(mean),
            Self::P95 => p95.or(max).or(mean),
            Self::Mean => mean.or(p95).or(max),
        }
    }
}

/// Idle power of the device that all `profiles` were taken on: the lowest that any of them tells, as
/// each was taken with its own model loaded and the lowest is nearest to truly idle. `None`: none tells.
///
/// What a row draws above idle is its power less this, for the rows of every one of them.
pub fn idle_power_of<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Option<Watts> {
    profiles.into_iter().filter_map(|profile| profile.head.idle_power_watts).reduce(Watts::min)
}

impl Profile {
    /// The row at `point`. A duty cycle that is not given counts as 1.
    pub fn row_at(&self, point: &OperatingPoint) -> Option<&ProfileRow> {
        self.rows
            .iter()
            .find(|row| row.point.batch_size == point.batch_size && row.point.differs_in_batch_only(point))
    }

    /// The rows whose point is `wanted`, in the order of the file.
    pub fn rows_where<'a>(
        &'a self,
        wanted: impl Fn(&OperatingPoint) -> bool + 'a,
    ) -> impl Iterator<Item = &'a ProfileRow> {
        self.rows.iter().filter(move |row| wanted(&row.point))
    }

    /// The `wanted` row of most throughput whose power is at most `bound`; of equals the one of
    /// least power. Rows whose throughput or power is unknown are passed over.
    pub fn best_within(
        &self,
        bound: Watts,
        figure: PowerFigure,
        wanted: impl Fn(&ProfileRow) -> bool,
    ) -> Option<&ProfileRow> {
        let fitting = self.rows.iter().filter(|row| wanted(row)).filter_map(|row| {
            let power = figure.of(row).filter(|power| *power <= bound)?;
            Some((row, row.throughput_rps?, power))
        });
        fitting
            .min_by(|(_, a_rps, a_power), (_, b_rps, b_power)| {
                b_rps.total_cmp(a_rps).then(a_power.get().total_cmp(&b_power.get()))
            })
            .map(|(row, ..)| row)
    }

    /// The `wanted` row of least power.
    pub fn least_hungry(
        &self,
        figure: PowerFigure,
        wanted: impl Fn(&ProfileRow) -> bool,
    ) -> Option<&ProfileRow> {
        self.rows
            .iter()
            .filter(|row| wanted(row))
            .filter_map(|row| Some((row, figure.of(row)?)))
            .min_by(|(_, a), (_, b)| a.get().total_cmp(&b.get()))
            .map(|(row, _)| row)
    }
}
