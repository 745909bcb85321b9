//! How a figure is known. Every figure shown to a user carries one of these.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a figure is known, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Read from a sensor or counted.
    Measured,
    /// Computed by a model from measured inputs.
    Modelled,
    /// Taken from a table or a setting, not from this machine.
    Assumed,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Measured => "measured",
            Self::Modelled => "modelled",
            Self::Assumed => "assumed",
        })
    }
}

/// How a figure is known, and from where: which counter, which model, whose table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Measured, modelled or assumed.
    pub basis: Basis,
    /// Which counter, which model fitted on what, or whose table.
    pub source: String,
}

impl Provenance {
    /// A figure known on `basis` from `source`.
    pub fn new(basis: Basis, source: impl Into<String>) -> Self {
        Self { basis, source: source.into() }
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.basis, self.source)
    }
}
