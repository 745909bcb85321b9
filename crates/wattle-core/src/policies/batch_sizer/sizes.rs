//! The batch sizes that a search may choose from.

use serde::{Deserialize, Serialize};

use crate::id::ModelName;
use crate::knob::ServingChange;
use crate::observation::Observation;
use crate::operating_point::ProfileRow;
use crate::profile::Profile;

/// A set of batch sizes: at least one, ascending, none of them zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u32>", into = "Vec<u32>")]
pub struct BatchSizes(Vec<u32>);

/// A list that is no set of batch sizes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("batch sizes are {found:?}, expected at least one, ascending, each at least 1")]
pub struct BatchSizesError {
    /// What was given.
    pub found: Vec<u32>,
}

impl BatchSizes {
    /// The set of `sizes`, which must ascend.
    pub fn new(sizes: Vec<u32>) -> Result<Self, BatchSizesError> {
        let ascending = sizes.is_sorted_by(|a, b| a < b);
        if sizes.first().is_some_and(|first| *first >= 1) && ascending {
            Ok(Self(sizes))
        } else {
            Err(BatchSizesError { found: sizes })
        }
    }

    /// The sizes, ascending.
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }

    /// How many of the sizes are of use, given for each model the largest it takes and, where known,
    /// the size from which on it gains no more: larger ones would change nothing. At least 1.
    pub(super) fn usable_count(&self, models: impl Iterator<Item = (u32, Option<u32>)>) -> usize {
        let counts = models.map(|(largest, saturation)| {
            let taken = self.0.partition_point(|size| *size <= largest);
            let gaining = saturation.map(|saturation| self.0.partition_point(|size| *size < saturation) + 1);
            gaining.map_or(taken, |gaining| taken.min(gaining))
        });
        counts.max().unwrap_or(1).max(1)
    }

    /// The size at `index`, from 0; the largest beyond.
    pub(super) fn at(&self, index: usize) -> u32 {
        self.0[index.min(self.0.len() - 1)]
    }
}

/// What it takes for every model to have batches of `size`, or its own largest if that is less.
pub(in crate::policies) fn changes_to_size(
    size: u32,
    seen: &Observation,
) -> impl Iterator<Item = (ModelName, ServingChange)> {
    seen.models.iter().filter_map(move |model| {
        let batch_size = size.min(model.limits.max_batch_size.max(1));
        (batch_size != model.setting.batch_size).then(|| {
            let change = ServingChange { batch_size: Some(batch_size), ..ServingChange::default() };
            (model.name.clone(), change)
        })
    })
}

/// The batch size from which on throughput grows no more, by `profile`: the smallest that is at most
/// the share `tolerance` slower than the fastest. Of the profile's other knobs the largest such size
/// counts. `None` when throughput still grows at the largest size profiled, or is unknown.
pub(super) fn saturation(profile: &Profile, tolerance: f64) -> Option<u32> {
    let known = |row: &&ProfileRow| row.throughput_rps.is_some_and(f64::is_finite);
    let mut saturation = None;
    for (index, first) in profile.rows.iter().enumerate() {
        let is_alike = |row: &&ProfileRow| row.point.differs_in_batch_only(&first.point);
        if profile.rows[..index].iter().any(|row| is_alike(&row)) {
            continue; // counted already
        }
        let alike = || profile.rows[index..].iter().filter(is_alike).filter(known);
        if alike().count() < 2 {
            continue; // nothing to compare
        }
        let figures = || alike().map(|row| (row.point.batch_size, row.throughput_rps.unwrap_or(0.0)));
        let fastest = figures().map(|(_, rps)| rps).reduce(f64::max)?;
        let largest = figures().map(|(size, _)| size).max()?;
        let enough =
            figures().filter(|(_, rps)| *rps >= fastest * (1.0 - tolerance)).map(|(size, _)| size).min()?;
        if enough == largest {
            return None;
        }
        saturation = saturation.max(Some(enough));
    }
    saturation
}

impl Default for BatchSizes {
    /// Powers of two up to 256, as in the paper.
    fn default() -> Self {
        Self((0..=8).map(|power| 1 << power).collect())
    }
}

impl TryFrom<Vec<u32>> for BatchSizes {
    type Error = BatchSizesError;
    fn try_from(sizes: Vec<u32>) -> Result<Self, BatchSizesError> {
        Self::new(sizes)
    }
}

impl From<BatchSizes> for Vec<u32> {
    fn from(sizes: BatchSizes) -> Self {
        sizes.0
    }
}
