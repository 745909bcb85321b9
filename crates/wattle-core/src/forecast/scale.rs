//! In which terms a quantity is learned and errors are counted: as a ratio, or in its own unit.

/// How a value is transformed before anything is learned of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// By its logarithm, so that errors are ratios. Values below the floor count as the floor.
    Ratio {
        /// Over 0.
        floor: f64,
    },
    /// As it is: for what is zero at times, as the power of a solar plant is at night.
    Plain,
}

/// A quantity that falls below this share of its mean is not looked at in ratios.
const NEARLY_ZERO: f64 = 0.01;

impl Scale {
    /// The scale for a quantity of which `begin` was seen first. It never changes after, so that no
    /// forecast hangs on what came later.
    pub(super) fn of(begin: &[f64]) -> Self {
        let mean = begin.iter().sum::<f64>() / begin.len().max(1) as f64;
        let least = begin.iter().copied().fold(f64::INFINITY, f64::min);
        if mean > 0.0 && least > NEARLY_ZERO * mean {
            Self::Ratio { floor: NEARLY_ZERO * mean }
        } else {
            Self::Plain
        }
    }

    pub(super) fn apply(self, value: f64) -> f64 {
        match self {
            Self::Ratio { floor } => value.max(floor).ln(),
            Self::Plain => value,
        }
    }

    /// Back to the quantity's own unit, in which nothing is below 0.
    pub(super) fn undo(self, transformed: f64) -> f64 {
        match self {
            Self::Ratio { .. } => transformed.exp(),
            Self::Plain => transformed.max(0.0),
        }
    }
}
