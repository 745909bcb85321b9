//! Which point to use, by what was measured and by what is predicted.

use wattle_core::operating_point::{OperatingPoint, ProfileRow};
use wattle_core::units::Watts;

use crate::probe::Probe;
use crate::question::{Constraints, Figures, Question};
use crate::space::Space;
use crate::surrogate::{Estimate, Predicted, Surrogate};

/// A point that was not measured, and what is predicted of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Where to put the knobs.
    pub point: OperatingPoint,
    /// What is predicted there: modelled, never measured.
    pub predicted: Predicted,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The best of the measured rows that keep the constraints. `None`: none does.
    pub measured: Option<ProfileRow>,
    /// A point that was not measured, is predicted to keep the constraints even at the wrong end of its
    /// interval, to sustain the load there if one was asked for, and to be better than the measured one. `None`: there is none.
    pub predicted: Option<Candidate>,
}

/// The answer under one cap.
#[derive(Debug, Clone, PartialEq)]
pub struct FrontPoint {
    /// The cap.
    pub cap: Watts,
    /// The answer under it.
    pub answer: Answer,
}

/// The answer to `question` under `constraints`, by the probes `seen` of points of `space`.
pub fn answer(space: &Space, seen: &[Probe], question: Question, constraints: &Constraints) -> Answer {
    Predictions::of(space, seen, constraints).answer(seen, question, constraints)
}

/// The answers to `question` under each of `caps`, all from the same probes: the whole front.
/// The cap of `constraints` itself does not count.
pub fn front(
    space: &Space,
    seen: &[Probe],
    question: Question,
    constraints: &Constraints,
    caps: &[Watts],
) -> Vec<FrontPoint> {
    let predictions = Predictions::of(space, seen, constraints);
    let under = |cap: &Watts| {
        let constraints = Constraints { cap: Some(*cap), ..*constraints };
        FrontPoint { cap: *cap, answer: predictions.answer(seen, question, &constraints) }
    };
    caps.iter().map(under).collect()
}

/// What is predicted of every point that was not probed and can run.
struct Predictions(Vec<Candidate>);

impl Predictions {
    fn of(space: &Space, seen: &[Probe], constraints: &Constraints) -> Self {
        let unseen = crate::strategies::unknown_points(space, seen);
        if unseen.is_empty() {
            // To learn from all points of a large space takes long, and is for nothing here.
            return Self(Vec::new());
        }
        let rows: Vec<ProfileRow> = seen.iter().filter_map(Probe::row).cloned().collect();
        let surrogate = Surrogate::fit_over(space, &rows, constraints.figure);
        let predicted = unseen.into_iter().filter_map(|point| {
            Some(Candidate { predicted: surrogate.predict(point)?, point: point.clone() })
        });
        Self(predicted.collect())
    }

    fn answer(&self, seen: &[Probe], question: Question, constraints: &Constraints) -> Answer {
        let measured = seen
            .iter()
            .filter_map(Probe::row)
            .filter_map(|row| {
                Some((row, question.value_within(&Figures::of(row, constraints.figure), constraints)?))
            })
            .reduce(|best, other| if other.1 > best.1 { other } else { best });
        let least = measured.map_or(0.0, |(_, value)| value);
        let predicted = self
            .0
            .iter()
            .filter_map(|candidate| {
                let value = question.value(&candidate.predicted.middle())?;
                let worst = candidate.predicted.worst();
                let keeps = constraints.are_kept_by(&worst) && question.value(&worst).is_some();
                (keeps && value > least).then_some((candidate, value))
            })
            .reduce(|best, other| if other.1 > best.1 { other } else { best });
        Answer {
            measured: measured.map(|(row, _)| row.clone()),
            predicted: predicted.map(|(candidate, _)| candidate.clone()),
        }
    }
}

impl Predicted {
    /// The most likely figures.
    pub(crate) fn middle(&self) -> Figures {
        self.figures(|estimate| estimate.mean, |estimate| estimate.mean)
    }

    /// The figures at the end of their intervals at which constraints are hardest to keep.
    pub(crate) fn worst(&self) -> Figures {
        self.figures(|estimate| estimate.low, |estimate| estimate.high)
    }

    fn figures(&self, gain: fn(&Estimate) -> f64, cost: fn(&Estimate) -> f64) -> Figures {
        Figures {
            throughput_rps: self.throughput_rps.as_ref().map(gain),
            latency_ms: self.latency_ms.as_ref().map(cost),
            power_watts: self.power_watts.as_ref().map(cost),
            memory_bytes: self.memory_bytes.as_ref().map(cost),
        }
    }
}
