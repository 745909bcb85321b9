//! The load of a model, counted by intervals.

use std::collections::VecDeque;
use std::time::Duration;

use crate::observation::ModelObservation;

/// The loads of the last intervals.
#[derive(Debug, Clone)]
pub(super) struct Loads {
    interval: Duration,
    kept: usize,
    arrived_rows: u64,
    elapsed: Duration,
    /// Rows per second of whole intervals, oldest first.
    rps: VecDeque<f64>,
}

impl Loads {
    /// Counts by `interval` and keeps the last `kept`, at least one.
    pub(super) fn new(interval: Duration, kept: u32) -> Self {
        let kept = usize::try_from(kept.max(1)).unwrap_or(1);
        Self { interval, kept, arrived_rows: 0, elapsed: Duration::ZERO, rps: VecDeque::new() }
    }

    /// Takes in what arrived since the last call; whether an interval is complete with it.
    pub(super) fn take_in(&mut self, seen: &ModelObservation) -> bool {
        self.arrived_rows += seen.arrived_rows;
        self.elapsed += seen.interval;
        if self.elapsed.is_zero() || self.elapsed < self.interval {
            return false;
        }
        self.rps.push_back(self.arrived_rows as f64 / self.elapsed.as_secs_f64());
        if self.rps.len() > self.kept {
            self.rps.pop_front();
        }
        (self.arrived_rows, self.elapsed) = (0, Duration::ZERO);
        true
    }

    /// The highest load of the intervals kept; `None` before the first is complete.
    pub(super) fn peak_rps(&self) -> Option<f64> {
        self.rps.iter().copied().reduce(f64::max)
    }
}
