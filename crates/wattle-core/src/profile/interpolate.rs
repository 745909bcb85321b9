//! Reads a profile along the batch size, with every other knob fixed, and draws rows from rows.
//!
//! The rule is that of [`Predictor`](super::Predictor), which reads over all knobs at once: between rows
//! every figure is a power law. Outside the profiled batch sizes nothing is drawn at all.

use super::Profile;
use crate::operating_point::{Confidence, OperatingPoint, ProfileRow};
use crate::provenance::Basis;
use crate::units::{Joules, Watts};

/// What a profile says of one operating point.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The figures at the point asked for. Drawn between rows, their basis is at best `Modelled`, a
    /// figure that one of these rows lacks is unknown, and the samples are the fewest of any.
    pub row: ProfileRow,
    /// Which of [`Profile::rows`] the figures are drawn between, ascending; empty: a row of its own.
    pub between: Vec<usize>,
}

impl Profile {
    /// What is to be expected at `point`: its own row, or what a power law of the batch size gives between
    /// the rows of the next smaller and the next larger batch size at the same other knobs. `None` when
    /// one of the two is missing: the profile never extrapolates. The simulated device plays by it.
    ///
    /// The same as [`Predictor::predict`](super::Predictor::predict) for rows that differ in batch size
    /// alone, where the two neighbours are found without a search.
    pub fn predict(&self, point: &OperatingPoint) -> Option<Prediction> {
        let mut below: Option<(usize, &ProfileRow)> = None;
        let mut above: Option<(usize, &ProfileRow)> = None;
        for (index, row) in self.rows.iter().enumerate() {
            if !row.point.differs_in_batch_only(point) {
                continue;
            }
            let batch_size = row.point.batch_size;
            if batch_size == point.batch_size {
                return Some(Prediction { row: row.clone(), between: Vec::new() });
            }
            if batch_size < point.batch_size
                && below.is_none_or(|(_, nearest)| batch_size > nearest.point.batch_size)
            {
                below = Some((index, row));
            }
            if batch_size > point.batch_size
                && above.is_none_or(|(_, nearest)| batch_size < nearest.point.batch_size)
            {
                above = Some((index, row));
            }
        }
        let ((below_index, below), (above_index, above)) = (below?, above?);
        let low = f64::from(below.point.batch_size).log2();
        let high = f64::from(above.point.batch_size).log2();
        let share = (f64::from(point.batch_size).log2() - low) / (high - low);
        if !share.is_finite() {
            return None; // a batch size of 0 has no logarithm
        }
        Some(Prediction {
            row: draw(point, &[(below, 1.0 - share), (above, share)])?,
            between: vec![below_index.min(above_index), below_index.max(above_index)],
        })
    }
}

/// The row at `point`: each figure is the geometric mean of that figure of the rows, by their weights,
/// which sum to 1. `None` when there is no row.
pub(super) fn draw(point: &OperatingPoint, parts: &[(&ProfileRow, f64)]) -> Option<ProfileRow> {
    let number = |of: fn(&ProfileRow) -> Option<f64>| {
        let values: Option<Vec<_>> =
            parts.iter().map(|(row, weight)| of(row).map(|value| (value, *weight))).collect();
        values.map(|values| geometric_mean(&values))
    };
    let worst = |of: fn(&ProfileRow) -> Basis| parts.iter().map(|(row, _)| of(row)).max();
    Some(ProfileRow {
        point: point.clone(),
        throughput_rps: number(|row| row.throughput_rps),
        latency_ms_mean: number(|row| row.latency_ms_mean),
        latency_ms_p50: number(|row| row.latency_ms_p50),
        latency_ms_p95: number(|row| row.latency_ms_p95),
        latency_ms_p99: number(|row| row.latency_ms_p99),
        power_watts_mean: number(|row| row.power_watts_mean.map(Watts::get)).map(Watts::new),
        power_watts_p95: number(|row| row.power_watts_p95.map(Watts::get)).map(Watts::new),
        power_watts_max: number(|row| row.power_watts_max.map(Watts::get)).map(Watts::new),
        energy_joules_per_row: number(|row| row.energy_joules_per_row.map(Joules::get)).map(Joules::new),
        memory_bytes: number(|row| row.memory_bytes.map(|bytes| bytes as f64))
            .map(|bytes| bytes.round() as u64),
        basis: Basis::Modelled.max(worst(|row| row.basis)?),
        power_basis: Basis::Modelled.max(worst(|row| row.power_basis)?),
        samples: parts.iter().map(|(row, _)| row.samples).min()?,
        confidence: Confidence::default(),
    })
}

/// The geometric mean of values by their weights, never outside their range. A value of 0 has no
/// logarithm: then the plain mean.
fn geometric_mean(values: &[(f64, f64)]) -> f64 {
    if values.iter().any(|(value, _)| *value <= 0.0) {
        return values.iter().map(|(value, weight)| value * weight).sum();
    }
    let drawn = values.iter().map(|(value, weight)| value.ln() * weight).sum::<f64>().exp();
    let least = values.iter().map(|(value, _)| *value).fold(f64::INFINITY, f64::min);
    let most = values.iter().map(|(value, _)| *value).fold(0.0, f64::max);
    drawn.max(least).min(most)
}
