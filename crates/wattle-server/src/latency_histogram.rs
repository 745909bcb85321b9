//! A histogram of latencies that many threads write without a lock.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets: upper bounds grow by the square root of two from 50 µs, the last takes the rest (> 70 s).
const BUCKETS: usize = 42;
const FIRST_BOUND_SECONDS: f64 = 50e-6;

/// Counts latencies in buckets that grow by the square root of two.
#[derive(Debug)]
pub struct LatencyHistogram {
    counts: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self { counts: array::from_fn(|_| AtomicU64::new(0)), sum_nanos: AtomicU64::new(0) }
    }
}

/// Upper bound of bucket `index` in seconds; infinite for the last.
fn bound_seconds(index: usize) -> f64 {
    if index + 1 == BUCKETS {
        return f64::INFINITY;
    }
    FIRST_BOUND_SECONDS * 2_f64.powf(index as f64 / 2.0)
}

impl LatencyHistogram {
    /// Counts one latency.
    pub fn record(&self, latency: Duration) {
        let ratio = latency.as_secs_f64() / FIRST_BOUND_SECONDS;
        let index = if ratio <= 1.0 { 0 } else { (2.0 * ratio.log2()).ceil() as usize };
        self.counts[index.min(BUCKETS - 1)].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(latency.as_nanos() as u64, Relaxed);
    }

    /// The counts now.
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            counts: self.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum_seconds: self.sum_nanos.load(Relaxed) as f64 / 1e9,
        }
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone, Default)]
pub struct HistogramSnapshot {
    counts: Vec<u64>,
    /// All latencies together, in seconds.
    pub sum_seconds: f64,
}

impl HistogramSnapshot {
    /// Latencies counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Upper bound in seconds and count of all latencies up to it, bucket by bucket.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        self.counts.iter().enumerate().scan(0, |sum, (index, count)| {
            *sum += count;
            Some((bound_seconds(index), *sum))
        })
    }

    /// The latency that a share `quantile` of all is at most, to within a bucket (interpolated within
    /// it); `None` when nothing was counted.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let rank = quantile * self.count() as f64;
        let (mut below, mut lower) = (0_u64, 0.0);
        for (bound, upto) in self.cumulative() {
            if upto > below && upto as f64 >= rank {
                let upper = if bound.is_finite() { bound } else { lower };
                let within = (rank - below as f64) / (upto - below) as f64;
                return Some((lower + (upper - lower) * within.clamp(0.0, 1.0)) * 1e3);
            }
            (below, lower) = (upto, bound);
        }
        None
    }

    /// Both together.
    pub fn plus(mut self, other: Self) -> Self {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
        self.sum_seconds += other.sum_seconds;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let histogram = LatencyHistogram::default();
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 1000);
        for quantile in [0.1, 0.5, 0.9, 0.99] {
            let found = snapshot.quantile_ms(quantile).unwrap();
            let truth = 1000.0 * quantile;
            assert!((found / truth).log2().abs() <= 0.5, "p{quantile}: {found} ms, truth {truth} ms");
        }
        assert_eq!(HistogramSnapshot::default().quantile_ms(0.5), None);
    }

    #[test]
    fn extremes_are_counted() {
        let histogram = LatencyHistogram::default();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::from_secs(1_000_000));
        assert_eq!(histogram.snapshot().count(), 2);
        assert_eq!(histogram.snapshot().cumulative().last(), Some((f64::INFINITY, 2)));
    }
}
