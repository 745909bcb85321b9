//! The load over fifteen minutes: Facebook's day of jobs where the user has it, or a trace of its shape.

use std::path::Path;

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use wattle_core::provenance::Basis;
use wattle_sim::workload::{RateTrace, Segment, TraceFormat, read_rates};

use crate::{ReproduceError, files};

/// Length of the replay, as in the paper.
pub(super) const SPAN_SECONDS: f64 = 900.0;
/// SWIM's day, as it is published.
const SWIM_FILE: &str = "FB-2009_samples_24_times_1hr_0.tsv";
/// Jobs of the day are counted in bins of so many seconds. The paper doesn't tell its bins; a minute
/// would be squeezed to about the half second at which the policies look.
const BIN_SECONDS: f64 = 300.0;

/// Shape of SWIM's FB-2009 sample of a day, in bins of 300 s: what the generator aims at.
mod shape {
    /// Bins of a day.
    pub(super) const BINS: usize = 288;
    /// Standard deviation of the rate over its mean.
    pub(super) const VARIATION: f64 = 0.776;
    /// Correlation of a bin with the next.
    pub(super) const NEXT_BIN_CORRELATION: f64 = 0.640;
    /// Mean rate over the highest.
    pub(super) const MEAN_OVER_PEAK: f64 = 0.265;
}

/// A load over time as shares of the peak, and how it is known.
#[derive(Debug, Clone)]
pub(super) struct LoadTrace {
    /// Rates; the highest is 1.
    pub(super) rates: RateTrace,
    pub(super) basis: Basis,
    /// Where it comes from, in words.
    pub(super) source: String,
}

impl LoadTrace {
    /// The user's SWIM day if `data` has it, else the generated trace.
    pub(super) fn of(data: Option<&Path>) -> Result<Self, ReproduceError> {
        let Some(path) = data.and_then(|folder| files::find(folder, SWIM_FILE)) else {
            return Ok(Self::generated());
        };
        let read = read_rates(&path, TraceFormat::Swim, BIN_SECONDS);
        let mut rates =
            read.map_err(|error| ReproduceError::Data { file: path.clone(), cause: error.to_string() })?;
        // The day ends within its last bin.
        if rates.segments.len() > 1 {
            rates.segments.pop();
        }
        let (peak, seconds) = (rates.peak_rps(), rates.seconds());
        Ok(Self {
            rates: rates.times(1.0 / peak).stretched(SPAN_SECONDS / seconds),
            basis: Basis::Measured,
            source: format!("SWIM's FB-2009 day in bins of {BIN_SECONDS} s, squeezed to 15 minutes"),
        })
    }

    /// A lognormal process with one step of memory, of the shape of SWIM's FB-2009, cut off at the peak.
    pub(super) fn generated() -> Self {
        let variance = (1.0 + shape::VARIATION.powi(2)).ln();
        // Such that the rates, not their logarithms, correlate as wanted.
        let memory = (1.0 + shape::NEXT_BIN_CORRELATION * shape::VARIATION.powi(2)).ln() / variance;
        let peak = 1.0 / shape::MEAN_OVER_PEAK;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut state: f64 = StandardNormal.sample(&mut random);
        let seconds = SPAN_SECONDS / shape::BINS as f64;
        let segments = (0..shape::BINS).map(|_| {
            let rate = (variance.sqrt() * state - variance / 2.0).exp().min(peak) / peak;
            let noise: f64 = StandardNormal.sample(&mut random);
            state = memory * state + (1.0 - memory * memory).sqrt() * noise;
            Segment { seconds, rate_rps: rate }
        });
        let rates = RateTrace { segments: segments.collect(), repeat: false };
        let highest = rates.peak_rps();
        Self {
            rates: rates.times(1.0 / highest),
            basis: Basis::Assumed,
            source:
                "generated load: lognormal with memory, of the variation, correlation and mean over peak \
                     of SWIM's FB-2009 day in bins of 300 s"
                    .into(),
        }
    }

    /// The first `seconds` alone.
    pub(super) fn first(mut self, seconds: f64) -> Self {
        let mut left = seconds;
        self.rates.segments.retain(|segment| {
            let is_within = left > 0.0;
            left -= segment.seconds;
            is_within
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_trace_has_the_shape_that_it_names() {
        let trace = LoadTrace::generated().rates;
        assert!((trace.seconds() - SPAN_SECONDS).abs() < 1e-6);
        assert_eq!(trace.peak_rps(), 1.0);
        let rates: Vec<f64> = trace.segments.iter().map(|segment| segment.rate_rps).collect();
        let mean = trace.mean_rps();
        let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / rates.len() as f64;
        let next = rates.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum::<f64>();
        // A sample of 288: its figures scatter around those of the process.
        assert!((mean / shape::MEAN_OVER_PEAK - 1.0).abs() < 0.2, "{mean}");
        assert!((variance.sqrt() / mean / shape::VARIATION - 1.0).abs() < 0.2, "{}", variance.sqrt() / mean);
        let correlation = next / (variance * rates.len() as f64);
        assert!((correlation - shape::NEXT_BIN_CORRELATION).abs() < 0.15, "{correlation}");
    }
}
