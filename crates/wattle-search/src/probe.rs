//! One measurement that was tried, and what came of it.

use wattle_core::operating_point::{OperatingPoint, ProfileRow};

/// What came of one probe.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The figures of the point.
    Measured(Box<ProfileRow>),
    /// The device has too little memory for it.
    OutOfMemory,
    /// Anything else went wrong; this says what.
    Failed(String),
}

/// One measurement that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Where the knobs stood.
    pub point: OperatingPoint,
    /// What came of it.
    pub outcome: Outcome,
}

impl Probe {
    /// A probe that gave `row`.
    pub fn measured(row: ProfileRow) -> Self {
        Self { point: row.point.clone(), outcome: Outcome::Measured(Box::new(row)) }
    }

    /// The row measured, if one was.
    pub fn row(&self) -> Option<&ProfileRow> {
        match &self.outcome {
            Outcome::Measured(row) => Some(row),
            Outcome::OutOfMemory | Outcome::Failed(_) => None,
        }
    }
}
