//! BatchSizer's Algorithm 1 as printed, for comparison: it sticks after a cap has fallen and risen.
//!
//! `maxBS` only ever shrinks: line 15 and line 19 lower it, no line raises it. Indexes are from 1,
//! line 12 does not keep lines 14 to 21 from running, and nothing is done before the window is full.
//! Only `PowerReading` is read as "since the last change of batch size": never emptied, as printed, it
//! would remember one spike for ever.

use super::{ASK_AGAIN_IN, BatchSizerOptions, changes_to_size};
use crate::observation::Observation;
use crate::policies::power_window::PowerWindow;
use crate::policy::{Decision, Level, Policy, Reason};
use crate::units::Watts;

/// The search as printed.
#[derive(Debug, Clone)]
pub struct PrintedBatchSizer {
    options: BatchSizerOptions,
    min_bs: usize,
    /// `None` until the first observation says how many sizes there are.
    max_bs: Option<usize>,
    current_bs: usize,
    power_reading: PowerWindow,
}

impl PrintedBatchSizer {
    /// A search that begins at the smallest size.
    pub fn new(options: BatchSizerOptions) -> Self {
        Self { options, min_bs: 1, max_bs: None, current_bs: 1, power_reading: PowerWindow::default() }
    }

    /// Lines 5 to 21.
    fn step(&mut self, max_reading: Watts, cap: Watts, n: usize) -> Reason {
        let max_bs = self.max_bs.unwrap_or(n);
        let band_low = cap * self.options.band_low;
        let from = self.current_bs;
        if max_reading < band_low {
            self.min_bs = self.current_bs;
            self.current_bs = (self.min_bs + max_bs).div_ceil(2);
        } else if max_reading > cap {
            self.max_bs = Some(self.current_bs);
            if self.current_bs == self.min_bs {
                self.min_bs = 1;
            }
            self.current_bs = (self.min_bs + self.current_bs) / 2;
        } else {
            return Reason::WithinBand {
                power_watts_max: max_reading,
                band_watts_low: band_low,
                cap_watts: cap,
            };
        }
        let (level_from, level_to) = (self.level(from), self.level(self.current_bs));
        match (max_reading > cap, self.current_bs == from) {
            (true, true) => Reason::CapUnreachable { power_watts_max: max_reading, cap_watts: cap },
            (false, true) => Reason::NothingToGain { power_watts_max: max_reading, cap_watts: cap },
            (true, false) => {
                Reason::OverCap { power_watts_max: max_reading, cap_watts: cap, level_from, level_to }
            }
            (false, false) => Reason::BelowBand {
                power_watts_max: max_reading,
                band_watts_low: band_low,
                cap_watts: cap,
                level_from,
                level_to,
            },
        }
    }

    fn level(&self, index_from_1: usize) -> Level {
        Level::BatchSize(self.options.batch_sizes.at(index_from_1 - 1))
    }
}

impl Policy for PrintedBatchSizer {
    fn name(&self) -> &'static str {
        "batch-sizer-printed"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        self.power_reading.take_in(seen);
        let Some(cap) = seen.power_cap.filter(|cap| !cap.get().is_nan()) else {
            return Decision::keep(Reason::NoCap, ASK_AGAIN_IN);
        };
        let largest = seen.models.iter().map(|model| (model.limits.max_batch_size, None));
        let n = self.options.batch_sizes.usable_count(largest);
        let max_bs = *self.max_bs.get_or_insert(n);
        // A model that takes less than it did can't be told from the algorithm's own bounds.
        self.max_bs = Some(max_bs.min(n));
        let reason = if self.power_reading.batches() < self.options.window_batches {
            Reason::Gathering {
                batches_seen: self.power_reading.batches(),
                batches_needed: self.options.window_batches,
            }
        } else if let Some(max_reading) = self.power_reading.power_max() {
            let from = self.current_bs;
            let reason = self.step(max_reading, cap, n);
            if self.current_bs != from {
                self.power_reading.restart(seen, self.current_bs < from);
            }
            reason
        } else {
            Reason::NoPowerReading
        };
        let mut decision = Decision::keep(reason, ASK_AGAIN_IN);
        let size = self.options.batch_sizes.at(self.current_bs - 1);
        decision.serving.extend(changes_to_size(size, seen));
        decision
    }
}
