//! Variants of one model that answer the same question at different cost and quality.

use serde::{Deserialize, Serialize};

use crate::id::ModelName;
use crate::units::Joules;

/// One variant of a family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// The model that answers.
    pub model: ModelName,
    /// Energy of one answer, `E` in the papers.
    pub energy_joules_per_row: Joules,
    /// How good its answers are, as a share in 0 to 1: accuracy, say. 1 - quality is the error rate.
    pub quality: f64,
}
