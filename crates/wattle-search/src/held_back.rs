//! How wrong a surrogate is on rows that it was not shown.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use wattle_core::operating_point::ProfileRow;
use wattle_core::profile::PowerFigure;

use crate::question::Figures;
use crate::surrogate::{Estimate, Surrogate};

/// Up to so many rows each is held back alone; of more, a part of so many parts at a time.
const MOST_PARTS: usize = 12;

/// The time that fitting takes grows with the cube of the rows: so many tell how wrong it is as well as more.
const MOST_ROWS: usize = 300;

/// How wrong one figure was on the rows held back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorOf {
    /// Rows that the figure was predicted for: at most 300.
    pub points: usize,
    /// Median of the relative error.
    pub median: f64,
    /// 90th percentile of the relative error.
    pub p90: f64,
    /// Share of the rows whose figure lay within the interval, which should be 0.9.
    pub coverage: f64,
}

/// How wrong each figure was. `None`: no held-back row tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Errors {
    /// Of the throughput.
    pub throughput_rps: Option<ErrorOf>,
    /// Of the latency.
    pub latency_ms: Option<ErrorOf>,
    /// Of the power.
    pub power_watts: Option<ErrorOf>,
}

/// Holds back a part of `rows` after another (each row alone, up to 12), predicts it from the rest and
/// compares. Which rows are held back together, and which 300 of more than 300 rows are looked at, is drawn by
/// `seed`.
pub fn held_back(rows: &[ProfileRow], figure: PowerFigure, seed: u64) -> Errors {
    let mut shuffled: Vec<&ProfileRow> = rows.iter().collect();
    shuffled.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    shuffled.truncate(MOST_ROWS);
    let parts = shuffled.len().min(MOST_PARTS);
    let mut pairs = Vec::new();
    for part in 0..parts {
        let split = |is_held: bool| {
            let chosen =
                shuffled.iter().enumerate().filter(move |(index, _)| (index % parts == part) == is_held);
            chosen.map(|(_, row)| *row)
        };
        let shown: Vec<ProfileRow> = split(false).cloned().collect();
        let surrogate = Surrogate::fit(&shown, figure);
        for row in split(true) {
            if let Some(predicted) = surrogate.predict(&row.point) {
                pairs.push((predicted, Figures::of(row, figure)));
            }
        }
    }
    Errors {
        throughput_rps: ErrorOf::of(pairs.iter().map(|(a, b)| (a.throughput_rps, b.throughput_rps))),
        latency_ms: ErrorOf::of(pairs.iter().map(|(a, b)| (a.latency_ms, b.latency_ms))),
        power_watts: ErrorOf::of(pairs.iter().map(|(a, b)| (a.power_watts, b.power_watts))),
    }
}

impl ErrorOf {
    /// The errors of pairs of what was predicted and what was measured; pairs that lack one don't count.
    pub fn of(pairs: impl IntoIterator<Item = (Option<Estimate>, Option<f64>)>) -> Option<Self> {
        let mut errors = Vec::new();
        let mut inside = 0usize;
        for (estimate, measured) in pairs {
            let (Some(estimate), Some(measured)) = (estimate, measured) else { continue };
            if measured > 0.0 {
                errors.push((estimate.mean / measured - 1.0).abs());
                inside += usize::from((estimate.low..=estimate.high).contains(&measured));
            }
        }
        errors.sort_by(f64::total_cmp);
        let at = |share: f64| {
            errors.get(((errors.len().checked_sub(1)?) as f64 * share).round() as usize).copied()
        };
        Some(Self {
            points: errors.len(),
            median: at(0.5)?,
            p90: at(0.9)?,
            coverage: inside as f64 / errors.len() as f64,
        })
    }
}
