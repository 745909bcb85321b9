//! The batch sizes that a search may choose from.

use serde::{Deserialize, Serialize};

use crate::id::ModelName;
use crate::knob::ServingChange;
use crate::observation::Observation;

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

    /// How many of the sizes any model can take: larger ones would change nothing. At least 1.
    pub(super) fn usable_count(&self, seen: &Observation) -> usize {
        let largest = seen.models.iter().map(|model| model.limits.max_batch_size).max().unwrap_or(1);
        self.0.iter().filter(|size| **size <= largest).count().max(1)
    }

    /// The size at `index`, from 0; the largest beyond.
    pub(super) fn at(&self, index: usize) -> u32 {
        self.0[index.min(self.0.len() - 1)]
    }

    /// What it takes for every model to have the size at `index`, or its own largest if that is less.
    pub(super) fn changes_to(
        &self,
        index: usize,
        seen: &Observation,
    ) -> impl Iterator<Item = (ModelName, ServingChange)> {
        let size = self.at(index);
        seen.models.iter().filter_map(move |model| {
            let batch_size = size.min(model.limits.max_batch_size.max(1));
            (batch_size != model.setting.batch_size).then(|| {
                let change = ServingChange { batch_size: Some(batch_size), ..ServingChange::default() };
                (model.name.clone(), change)
            })
        })
    }
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
