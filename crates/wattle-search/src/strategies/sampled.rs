//! The search that learns: what is expected of every point decides which one is measured.
//!
//! It starts where the least power is likely and goes on to the point of the largest expected improvement
//! (Jones, Schonlau, Welch, "Efficient Global Optimization of Expensive Black-Box Functions", 1998), times
//! the probability that the point keeps its bounds (Gardner et al., "Bayesian Optimization with Inequality
//! Constraints", 2014). Power and memory are bounds that a probe itself must keep: a point is measured only
//! where even the upper end of the 90 % interval of its prediction is within them. So it expands from the
//! lowest corner as far as what was learned makes safe. Where no safe point is expected to gain but another
//! might, it measures the safe point whose power is least known, which may make the other safe. Where nothing at
//! all is surely safe, it takes one careful step at a time: to the point of the best chance whose most likely
//! power is within the bound, but for what meters err by. It needs no luck: the seed only breaks ties.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use wattle_core::operating_point::{OperatingPoint, ProfileRow};
use wattle_core::units::Watts;

use crate::knobs::Reading;
use crate::memory::chance_of_memory;
use crate::probe::Probe;
use crate::question::Question;
use crate::search::{Next, Search, Stop, Task, Why};
use crate::strategies::unknown_points;
use crate::surrogate::{Estimate, LnFigures, Normal, Surrogate};

/// Expected improvements below this share of the best are not worth a measurement.
const LEAST_GAIN: f64 = 0.001;

/// Above a bound by less than this share is within what meters err by.
const METERS_ERR: f64 = 0.05;

/// Where the best chance of a point that keeps the bounds is less, only the chance counts.
const FAIR_CHANCE: f64 = 0.2;

/// The search that learns.
pub(crate) struct Sampled {
    task: Task,
    seed: u64,
}

/// A point that may be measured, and how promising it is.
struct Choice<'a> {
    point: &'a OperatingPoint,
    /// Probability that it keeps every bound.
    chance: f64,
    /// How little is known of the figures that a probe itself must keep: the deviation of their logarithm.
    doubt: f64,
    /// Whether even the upper ends of their intervals keep these.
    is_safe: bool,
    /// Whether at least what is most likely does, but for what meters err by.
    is_near: bool,
    /// Natural logarithm of its value.
    value: Normal,
}

impl Sampled {
    pub(crate) fn new(task: Task, seed: u64) -> Self {
        Self { task, seed }
    }

    /// The point of the least product of all knobs.
    fn first(&self, unknown: &[&OperatingPoint]) -> Next {
        let reading = Reading::of(self.task.space.points());
        let height = |point| reading.place(point).map_or(f64::INFINITY, |place| place.at.iter().sum());
        let lowest = unknown.iter().min_by(|a, b| f64::total_cmp(&height(a), &height(b)));
        lowest.map_or(Next::Done(Stop::Exhausted), |point| Next::probe(point, Why::First))
    }

    /// `point` as a choice; `None` where nothing is known of it.
    fn choice<'a>(
        &self,
        point: &'a OperatingPoint,
        expected: &LnFigures,
        seen: &[Probe],
    ) -> Option<Choice<'a>> {
        let constraints = &self.task.constraints;
        let bounds = [
            (expected.power, constraints.cap.map(Watts::get)),
            (expected.memory, constraints.memory_bytes.map(|bytes| bytes as f64)),
        ];
        let (mut chance, mut doubt) = (chance_of_memory(point, seen), 0.0);
        let (mut is_safe, mut is_near) = (true, true);
        for (figure, bound) in bounds {
            // A figure that no row tells can't be kept within a bound by any search.
            if let (Some(figure), Some(bound)) = (figure, bound) {
                let estimate = Estimate::of(figure);
                is_safe &= estimate.high <= bound;
                is_near &= estimate.mean <= bound * (1.0 + METERS_ERR);
                chance *= figure.chance_below(bound.ln());
                doubt += figure.deviation;
            }
        }
        if let (Some(latency), Some(bound)) = (expected.latency, constraints.latency_ms) {
            chance *= latency.chance_below(bound.ln());
        }
        let value = match self.task.question {
            Question::MostThroughput => expected.throughput?,
            Question::LeastPowerAt { load_rps } => {
                chance *= 1.0 - expected.throughput?.chance_below(load_rps.ln());
                let power = expected.power?;
                Normal { mean: -power.mean, ..power }
            }
            Question::LeastEnergyPerRow => {
                let (throughput, power) = (expected.throughput?, expected.power?);
                Normal {
                    mean: throughput.mean - power.mean,
                    deviation: throughput.deviation.hypot(power.deviation),
                }
            }
        };
        Some(Choice { point, chance, doubt, is_safe, is_near, value })
    }
}

impl Choice<'_> {
    /// Expected improvement on `best`, as a share of it.
    fn gain(&self, best: f64) -> f64 {
        let Normal { mean, deviation } = self.value;
        let ahead = (mean - best.ln()) / deviation;
        let middle = mean - best.ln() + deviation * deviation / 2.0;
        let gain = middle.exp() * normal_share_below(ahead + deviation) - normal_share_below(ahead);
        self.chance * gain.max(0.0)
    }
}

impl Normal {
    /// The probability of a value of at most `bound`.
    fn chance_below(self, bound: f64) -> f64 {
        normal_share_below((bound - self.mean) / self.deviation)
    }
}

/// The standard normal distribution function.
fn normal_share_below(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

impl Search for Sampled {
    fn name(&self) -> &'static str {
        "sampled"
    }

    fn next(&mut self, seen: &[Probe]) -> Next {
        if let Some(done) = self.task.spent(seen) {
            return done;
        }
        let mut unknown = unknown_points(&self.task.space, seen);
        if unknown.is_empty() {
            return Next::Done(Stop::Exhausted);
        }
        let rows: Vec<ProfileRow> = seen.iter().filter_map(Probe::row).cloned().collect();
        if rows.is_empty() {
            return self.first(&unknown);
        }
        unknown.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(self.seed));
        let surrogate = Surrogate::fit_over(&self.task.space, &rows, self.task.constraints.figure);
        let choices: Vec<Choice<'_>> = unknown
            .into_iter()
            .filter_map(|point| self.choice(point, &surrogate.ln_figures(point)?, seen))
            .collect();
        let best = rows.iter().filter_map(|row| self.task.value_of(row)).reduce(f64::max);
        let fair = choices.iter().any(|choice| choice.is_safe && choice.chance > FAIR_CHANCE);
        let score = |choice: &Choice<'_>| match best {
            Some(best) => choice.gain(best),
            None if fair => choice.chance * choice.value.mean.exp(),
            None => choice.chance,
        };
        // What could be gained at all: points that are not safe yet may become so as more is learned.
        let most = choices.iter().map(score).fold(0.0, f64::max);
        if best.is_some() && most < LEAST_GAIN {
            return Next::Done(Stop::NoGain { expected_gain: most });
        }
        let safe = || choices.iter().filter(|choice| choice.is_safe);
        match (largest(safe(), score), best) {
            // Nothing is surely safe, as where the cap is little above the least power. One careful step at a
            // time tells more than giving up.
            (None, _) => {
                match largest(choices.iter().filter(|choice| choice.is_near), |choice| choice.chance) {
                    Some((choice, _)) => {
                        Next::probe(choice.point, Why::Feasible { probability: choice.chance })
                    }
                    None => Next::Done(match self.task.constraints.cap {
                        Some(cap) => Stop::NothingUnderCap { cap },
                        None => Stop::Exhausted,
                    }),
                }
            }
            (Some((choice, _)), None) => {
                Next::probe(choice.point, Why::Feasible { probability: choice.chance })
            }
            (Some((choice, gain)), Some(_)) if gain >= LEAST_GAIN => {
                Next::probe(choice.point, Why::Promising { expected_gain: gain })
            }
            // Nothing safe is better, but something else may be: what is learned here may make it safe.
            (Some((choice, _)), Some(_)) => {
                let doubtful = largest(safe(), |choice| choice.doubt * choice.chance);
                Next::probe(doubtful.map_or(choice.point, |(choice, _)| choice.point), Why::Learn)
            }
        }
    }
}

/// The choice of the largest score, the first of equals, and its score.
fn largest<'a, 'p>(
    choices: impl Iterator<Item = &'a Choice<'p>>,
    score: impl Fn(&Choice<'p>) -> f64,
) -> Option<(&'a Choice<'p>, f64)>
where
    'p: 'a,
{
    choices
        .map(|choice| (choice, score(choice)))
        .reduce(|best, other| if other.1 > best.1 { other } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_has_its_known_shares() {
        for (z, share) in [(0.0, 0.5), (1.0, 0.841_344_7), (-1.644_853_6, 0.05), (3.0, 0.998_650_1)] {
            assert!((normal_share_below(z) - share).abs() < 1e-6, "{z}");
        }
    }
}
