//! BatchSizer: the largest batch size whose power fits a cap that moves, found by bisection.
//!
//! After "BatchSizer: Power-Performance Trade-off for DNN Inference" (Nabavinejad, Reda,
//! Ebrahimi), in the form that its prose describes and that recovers when a cap that fell rises
//! again: the search is the one of all policies that turn one knob. Algorithm 1 as printed is in
//! [`printed`].
//!
//! Sizes past which throughput grows no more are not used: those that a profile tells of are left
//! out, and online a size is compared with the next smaller one, of which the smaller is kept if it
//! is no slower.

pub mod printed;
mod sizes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::level_search::{LevelSearch, SearchOptions};
use crate::id::ModelName;
use crate::observation::Observation;
use crate::policy::{Decision, Level, Policy, Reason};
use crate::profile::Profile;

pub(super) use sizes::changes_to_size;
pub use sizes::{BatchSizes, BatchSizesError};

/// When to ask again: windows of batches are short.
const ASK_AGAIN_IN: Duration = Duration::from_millis(100);

/// What can be set about the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSizerOptions {
    /// The sizes to choose from.
    pub batch_sizes: BatchSizes,
    /// Lower edge of the wanted band, as a share of the cap: the paper's alpha. In 0 to 1.
    pub band_low: f64,
    /// Batches that are seen before a size is judged to fit.
    pub window_batches: u64,
    /// After so many seconds a size seen over the cap, or found to be no faster, may be tried again.
    pub reprobe_after_seconds: f64,
    /// Whether sizes past which throughput grows no more are left out. Not in the printed one.
    pub saturation_check: bool,
    /// A size slower than a larger one by at most this share counts as no slower. In 0 to 1.
    pub saturation_tolerance: f64,
}

impl Default for BatchSizerOptions {
    fn default() -> Self {
        Self {
            batch_sizes: BatchSizes::default(),
            band_low: 0.8,
            window_batches: 10,
            reprobe_after_seconds: 300.0,
            saturation_check: true,
            saturation_tolerance: 0.02,
        }
    }
}

/// The recovering search over batch sizes.
#[derive(Debug, Clone)]
pub struct BatchSizer {
    batch_sizes: BatchSizes,
    search: LevelSearch,
    /// The batch size from which on, by its profile, a model's throughput grows no more.
    saturation: BTreeMap<ModelName, u32>,
}

impl BatchSizer {
    /// A search that begins at the smallest size. Sizes from which, by `profiles`, no model gains are
    /// left out.
    pub fn new(options: BatchSizerOptions, profiles: &BTreeMap<ModelName, Profile>) -> Self {
        let levels = options.batch_sizes.as_slice().iter().map(|size| Level::BatchSize(*size)).collect();
        let tolerance = options.saturation_check.then_some(options.saturation_tolerance);
        let saturation = tolerance.map(|tolerance| {
            let of_profile = |(name, profile): (&ModelName, &Profile)| {
                Some((name.clone(), sizes::saturation(profile, tolerance)?))
            };
            profiles.iter().filter_map(of_profile).collect()
        });
        let search = SearchOptions {
            band_low: options.band_low,
            window_batches: options.window_batches,
            reprobe_after: Duration::try_from_secs_f64(options.reprobe_after_seconds)
                .unwrap_or(Duration::MAX),
            saturation_tolerance: tolerance,
        };
        Self {
            batch_sizes: options.batch_sizes,
            search: LevelSearch::new(levels, search),
            saturation: saturation.unwrap_or_default(),
        }
    }

    /// How many of the sizes any model can take and gain from.
    fn usable_count(&self, seen: &Observation) -> usize {
        self.batch_sizes.usable_count(
            seen.models
                .iter()
                .map(|model| (model.limits.max_batch_size, self.saturation.get(&model.name).copied())),
        )
    }
}

impl Policy for BatchSizer {
    fn name(&self) -> &'static str {
        "batch-sizer"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        self.search.take_in(seen);
        let Some(cap) = seen.power_cap.filter(|cap| !cap.get().is_nan()) else {
            return Decision::keep(Reason::NoCap, ASK_AGAIN_IN);
        };
        let reason = self.search.step(cap, self.usable_count(seen), seen);
        let mut decision = Decision::keep(reason, ASK_AGAIN_IN);
        decision.serving.extend(changes_to_size(self.batch_sizes.at(self.search.current()), seen));
        decision
    }
}
