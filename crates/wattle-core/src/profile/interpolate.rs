//! Reads a profile between its rows: along the batch size, with every other knob fixed.
//!
//! Figures of inference grow about evenly with each doubling of the batch, so the line is drawn over
//! log2(b). Outside the profiled batch sizes nothing is drawn at all.

use super::Profile;
use crate::operating_point::{OperatingPoint, ProfileRow};
use crate::provenance::Basis;
use crate::units::{Joules, Watts};

/// What a profile says of one operating point.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The figures at the point asked for. Drawn between rows, their basis is at best `Modelled` and
    /// a figure that either row lacks is unknown.
    pub row: ProfileRow,
    /// The batch sizes of the two rows that the figures are drawn between; `None`: a row of its own.
    pub between: Option<(u32, u32)>,
}

impl Profile {
    /// What is to be expected at `point`: its own row, or the line between the rows of the next
    /// smaller and the next larger batch size at the same other knobs. `None` when one of the two is
    /// missing: the profile never extrapolates.
    pub fn predict(&self, point: &OperatingPoint) -> Option<Prediction> {
        let mut below: Option<&ProfileRow> = None;
        let mut above: Option<&ProfileRow> = None;
        for row in self.rows_where(|candidate| candidate.differs_in_batch_only(point)) {
            let batch_size = row.point.batch_size;
            if batch_size == point.batch_size {
                return Some(Prediction { row: row.clone(), between: None });
            }
            if batch_size < point.batch_size
                && below.is_none_or(|nearest| batch_size > nearest.point.batch_size)
            {
                below = Some(row);
            }
            if batch_size > point.batch_size
                && above.is_none_or(|nearest| batch_size < nearest.point.batch_size)
            {
                above = Some(row);
            }
        }
        let (below, above) = (below?, above?);
        Some(Prediction {
            row: draw_between(below, above, point)?,
            between: Some((below.point.batch_size, above.point.batch_size)),
        })
    }
}

fn draw_between(below: &ProfileRow, above: &ProfileRow, point: &OperatingPoint) -> Option<ProfileRow> {
    let low = f64::from(below.point.batch_size).log2();
    let high = f64::from(above.point.batch_size).log2();
    let share = (f64::from(point.batch_size).log2() - low) / (high - low);
    if !share.is_finite() {
        return None; // a batch size of 0 has no logarithm
    }
    let line = |from: f64, to: f64| from * (1.0 - share) + to * share;
    let number = |of: fn(&ProfileRow) -> Option<f64>| Some(line(of(below)?, of(above)?));
    let watts =
        |of: fn(&ProfileRow) -> Option<Watts>| Some(Watts::new(line(of(below)?.get(), of(above)?.get())));
    Some(ProfileRow {
        point: point.clone(),
        throughput_rps: number(|row| row.throughput_rps),
        latency_ms_mean: number(|row| row.latency_ms_mean),
        latency_ms_p50: number(|row| row.latency_ms_p50),
        latency_ms_p95: number(|row| row.latency_ms_p95),
        latency_ms_p99: number(|row| row.latency_ms_p99),
        power_watts_mean: watts(|row| row.power_watts_mean),
        power_watts_p95: watts(|row| row.power_watts_p95),
        power_watts_max: watts(|row| row.power_watts_max),
        energy_joules_per_row: number(|row| row.energy_joules_per_row.map(Joules::get)).map(Joules::new),
        memory_bytes: number(|row| row.memory_bytes.map(|bytes| bytes as f64))
            .map(|bytes| bytes.round() as u64),
        basis: Basis::Modelled.max(below.basis).max(above.basis),
        power_basis: Basis::Modelled.max(below.power_basis).max(above.power_basis),
        samples: below.samples.min(above.samples),
    })
}
