//! What a search is, and how one is asked for by name.

use std::fmt;

use wattle_core::nearest::nearest;
use wattle_core::operating_point::OperatingPoint;
use wattle_core::units::Watts;

use crate::probe::Probe;
use crate::question::{Constraints, Question};
use crate::space::Space;
use crate::strategies::{Bisection, CoordinateDescent, Exhaustive, Random, Sampled};

/// The names by which searches are asked for.
pub const STRATEGIES: [&str; 5] = ["sampled", "bisection", "random", "coordinate-descent", "exhaustive"];

/// Says which point to measure next.
pub trait Search: Send {
    /// Its name, one of [`STRATEGIES`].
    fn name(&self) -> &'static str;

    /// The next point, given every probe so far in the order in which they were made. Probes that an
    /// earlier run made count too, so a search can be taken up again.
    fn next(&mut self, seen: &[Probe]) -> Next;
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Measure this point.
    Probe {
        /// Where to put the knobs.
        point: Box<OperatingPoint>,
        /// Why this one.
        why: Why,
    },
    /// Nothing more is worth measuring.
    Done(Stop),
}

impl Next {
    /// Measure `point`.
    pub(crate) fn probe(point: &OperatingPoint, why: Why) -> Self {
        Self::Probe { point: Box::new(point.clone()), why }
    }
}

/// Why a point is measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// The first of all: the one that is likely to draw the least power.
    First,
    /// To learn how the figures change: it is where least is known, and predicted to keep the cap.
    Learn,
    /// It may be better than the best so far, by this share of it in the mean.
    Promising {
        /// Expected improvement as a share of the best value so far.
        expected_gain: f64,
    },
    /// Nothing measured keeps the constraints yet, and this point does with this probability.
    Feasible {
        /// Probability that it keeps every constraint.
        probability: f64,
    },
    /// The middle of the batch sizes left.
    Halves,
    /// One step along a knob from the best so far.
    Neighbour,
    /// Drawn by lot.
    Drawn,
    /// The next in order.
    InOrder,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.pad("likely to draw the least power"),
            Self::Learn => f.pad("least is known there"),
            Self::Promising { expected_gain } => {
                write!(f, "expected to gain {:.1} % on the best so far", expected_gain * 100.0)
            }
            Self::Feasible { probability } => {
                write!(f, "keeps the constraints with a probability of {:.0} %", probability * 100.0)
            }
            Self::Halves => f.pad("the middle of the batch sizes left"),
            Self::Neighbour => f.pad("one step from the best so far"),
            Self::Drawn => f.pad("drawn by lot"),
            Self::InOrder => f.pad("the next in order"),
        }
    }
}

/// Why nothing more is measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Stop {
    /// As many points were probed as may be.
    Budget {
        /// How many.
        probes: usize,
    },
    /// Every point was probed, or is known to be out of memory.
    Exhausted,
    /// No other point is expected to be better by a share worth the measurement.
    NoGain {
        /// The largest expected improvement left, as a share of the best value.
        expected_gain: f64,
    },
    /// Every point left is predicted to be over the cap, or too likely to be.
    NothingUnderCap {
        /// The cap.
        cap: Watts,
    },
    /// The search has ended where it ends.
    Converged,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Budget { probes } => write!(f, "the budget of {probes} probes is spent"),
            Self::Exhausted => f.pad("every point was probed or is out of memory"),
            Self::NoGain { expected_gain } => {
                write!(f, "no other point is expected to gain more than {:.2} %", expected_gain * 100.0)
            }
            Self::NothingUnderCap { cap } => write!(f, "no other point is predicted to stay under {cap}"),
            Self::Converged => f.pad("no step from the best is better"),
        }
    }
}

/// A search that can't be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BuildError {
    /// No search has the name.
    #[error("unknown search {found:?}, did you mean {nearest:?}? known: {}", STRATEGIES.join(", "))]
    UnknownName {
        /// The name asked for.
        found: String,
        /// The nearest known name.
        nearest: &'static str,
    },
    /// A number is none that can be used.
    #[error("{what} is {found}, expected {expected}")]
    BadNumber {
        /// What it is of.
        what: &'static str,
        /// The number.
        found: f64,
        /// What it may be.
        expected: &'static str,
    },
}

/// The search called `name` over `space`, for `question` under `constraints`, of at most `budget` probes.
///
/// # Errors
/// When no search has the name, the budget is 0, or a bound or load is not a number over 0.
pub fn build(
    name: &str,
    space: Space,
    question: Question,
    constraints: Constraints,
    budget: usize,
    seed: u64,
) -> Result<Box<dyn Search>, BuildError> {
    check(question, &constraints, budget)?;
    let task = Task { space, question, constraints, budget };
    Ok(match name {
        "sampled" => Box::new(Sampled::new(task, seed)),
        "bisection" => Box::new(Bisection::new(task)),
        "random" => Box::new(Random::new(task, seed)),
        "coordinate-descent" => Box::new(CoordinateDescent::new(task)),
        "exhaustive" => Box::new(Exhaustive::new(task)),
        _ => {
            let nearest = nearest(name, STRATEGIES).unwrap_or_default();
            return Err(BuildError::UnknownName { found: name.to_owned(), nearest });
        }
    })
}

fn check(question: Question, constraints: &Constraints, budget: usize) -> Result<(), BuildError> {
    let load = match question {
        Question::LeastPowerAt { load_rps } => Some(load_rps),
        Question::MostThroughput | Question::LeastEnergyPerRow => None,
    };
    let numbers = [
        ("the power cap in watts", constraints.cap.map(Watts::get)),
        ("the bound on latency in milliseconds", constraints.latency_ms),
        ("the load in rows per second", load),
        ("the budget of probes", Some(budget as f64)),
        ("the bound on memory in bytes", constraints.memory_bytes.map(|bytes| bytes as f64)),
    ];
    for (what, number) in numbers {
        if let Some(found) = number.filter(|number| !(number.is_finite() && *number > 0.0)) {
            return Err(BuildError::BadNumber { what, found, expected: "a number over 0" });
        }
    }
    Ok(())
}

/// What every search is about.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) space: Space,
    pub(crate) question: Question,
    pub(crate) constraints: Constraints,
    pub(crate) budget: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Axes;
    use wattle_core::profile::PowerFigure;

    fn build_with(name: &str, cap: f64, budget: usize) -> Result<Box<dyn Search>, BuildError> {
        let space = Space::product(&Axes::default()).unwrap();
        let constraints =
            Constraints { cap: Some(Watts::new(cap)), figure: PowerFigure::Mean, ..Constraints::default() };
        build(name, space, Question::MostThroughput, constraints, budget, 1)
    }

    #[test]
    fn every_name_builds_the_search_of_that_name() {
        for name in STRATEGIES {
            assert_eq!(build_with(name, 100.0, 5).unwrap().name(), name);
        }
    }

    #[test]
    fn what_cannot_be_built_is_told_with_what_was_meant() {
        let error = build_with("sample", 100.0, 5).err().unwrap().to_string();
        assert!(error.contains("did you mean \"sampled\""), "{error}");
        let error = build_with("random", f64::NAN, 5).err().unwrap().to_string();
        assert!(error.contains("the power cap in watts is NaN"), "{error}");
        let error = build_with("random", 100.0, 0).err().unwrap().to_string();
        assert!(error.contains("the budget of probes is 0"), "{error}");
    }
}
