//! The linear program behind the plan, solved by taking the cheapest steps first.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::family::{Variant, joules_per_quality, lower_hull};
use crate::id::ModelName;
use crate::signal::Signal;
use crate::time::Timestamp;
use crate::units::{CarbonIntensity, GramsCo2e, Joules};

/// What is foreseen of one family: its load and the carbon intensity, piece by piece.
#[derive(Debug, Clone)]
pub(super) struct Course {
    /// Variants worth serving, by ascending energy and quality.
    pub(super) hull: Vec<Variant>,
    pub(super) pieces: Vec<Piece>,
}

/// A time in which intensity and load stay as they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    start: Timestamp,
    length: Duration,
    pub(super) rows: f64,
    pub(super) intensity: CarbonIntensity,
}

impl Piece {
    pub(super) fn grams(&self, energy_per_row: Joules) -> f64 {
        (energy_per_row * self.rows * self.intensity).get()
    }
}

impl Course {
    /// Cuts time where `intensity` or `load` changes, until the end of the load, or else of the
    /// intensity. Times in which either is unknown have no part in the plan. `None`: neither has an end.
    pub(super) fn new(variants: &[Variant], intensity: &Signal, load: &Signal) -> Option<Self> {
        let end_of = |signal: &Signal| match signal {
            Signal::Constant(_) => None,
            Signal::Trace(trace) => trace.end(),
        };
        let end = end_of(load).or(end_of(intensity))?;
        let mut cuts: BTreeSet<Timestamp> = [Timestamp::ZERO].into();
        for signal in [intensity, load] {
            cuts.extend(signal.changes_ahead(Timestamp::ZERO, end).into_iter().map(|(at, _)| at));
            cuts.extend(end_of(signal).map(Timestamp::from_duration));
        }
        let end = Timestamp::from_duration(end);
        let nexts = cuts.range(..).skip(1).copied().chain([end]);
        let piece = |(start, next): (&Timestamp, Timestamp)| {
            let length = next.min(end) - *start;
            let rows = load.at(*start)? * length.as_secs_f64();
            Some(Piece {
                start: *start,
                length,
                rows,
                intensity: CarbonIntensity::new(intensity.at(*start)?),
            })
        };
        let pieces = cuts.iter().zip(nexts).filter(|(start, _)| **start < end).filter_map(piece).collect();
        Some(Self { hull: lower_hull(variants), pieces })
    }

    /// All rows.
    pub(super) fn rows(&self) -> f64 {
        self.pieces.iter().map(|piece| piece.rows).sum()
    }
}

/// What bounds the plan.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// At least so much quality, as a sum over rows.
    Quality(f64),
    /// At most so many grams.
    Grams(f64),
}

/// One step along the hull in one piece.
struct Step {
    course: usize,
    piece: usize,
    to: usize,
    grams: f64,
    quality: f64,
    /// Grams for a unit of quality, but for a constant factor.
    price: f64,
}

/// What one family is served with, over the whole trace.
#[derive(Debug, Clone, PartialEq)]
pub struct FamilyPlan {
    /// From when on which variant serves, ascending.
    schedule: Vec<(Timestamp, ModelName)>,
    /// Emissions that the plan leads to.
    pub grams: GramsCo2e,
    /// Mean quality over all rows; `None` when there are none.
    pub mean_quality: Option<f64>,
}

impl FamilyPlan {
    /// From when on which variant serves, ascending.
    pub fn schedule(&self) -> &[(Timestamp, ModelName)] {
        &self.schedule
    }

    /// The variant for `now`; the first one before the schedule begins. `None` when it is empty.
    pub fn variant_at(&self, now: Timestamp) -> Option<&ModelName> {
        let begun = self.schedule.partition_point(|(start, _)| *start <= now);
        self.schedule.get(begun.saturating_sub(1)).map(|(_, variant)| variant)
    }

    /// When the next variant takes over after `now`.
    pub(super) fn next_switch(&self, now: Timestamp) -> Option<Timestamp> {
        let begun = self.schedule.partition_point(|(start, _)| *start <= now);
        self.schedule.get(begun).map(|(start, _)| *start)
    }
}

/// The best plan for `courses` together within `limit`, one for each; `None` when none keeps it.
pub(super) fn plan_within(courses: &[&Course], limit: Limit) -> Option<Vec<FamilyPlan>> {
    let (mut grams, mut quality) = (0.0, 0.0);
    let mut steps: Vec<Step> = Vec::new();
    for (course_index, course) in courses.iter().enumerate() {
        for (piece_index, piece) in course.pieces.iter().enumerate() {
            let Some(least) = course.hull.first() else { continue };
            grams += piece.grams(least.energy_joules_per_row);
            quality += piece.rows * least.quality;
            for (index, pair) in course.hull.windows(2).enumerate().filter(|_| piece.rows > 0.0) {
                let [from, to] = pair else { continue };
                steps.push(Step {
                    course: course_index,
                    piece: piece_index,
                    to: index + 1,
                    grams: piece.grams(to.energy_joules_per_row - from.energy_joules_per_row),
                    quality: piece.rows * (to.quality - from.quality),
                    price: piece.intensity.get() * joules_per_quality(from, to),
                });
            }
        }
    }
    // Stable: steps of one piece and price stay in the order of the hull.
    steps.sort_by(|a, b| a.price.total_cmp(&b.price));

    // For each course and piece: the variant that serves, and the share of the next better one.
    let mut served: Vec<Vec<(usize, f64)>> =
        courses.iter().map(|course| vec![(0, 0.0); course.pieces.len()]).collect();
    let mut missing = match limit {
        Limit::Quality(wanted) => wanted - quality,
        Limit::Grams(budget) => budget - grams,
    };
    let tolerance = 1e-9
        * match limit {
            Limit::Quality(wanted) => wanted,
            Limit::Grams(budget) => budget,
        };
    if matches!(limit, Limit::Grams(_)) && missing < -tolerance {
        return None;
    }
    for step in &steps {
        let size = match limit {
            Limit::Quality(_) if missing <= 0.0 => break,
            Limit::Quality(_) => step.quality,
            Limit::Grams(_) => step.grams,
        };
        let share = if size <= missing { 1.0 } else { (missing / size).max(0.0) };
        if let Some(piece) = served.get_mut(step.course).and_then(|pieces| pieces.get_mut(step.piece)) {
            *piece = if share < 1.0 { (step.to - 1, share) } else { (step.to, 0.0) };
        }
        missing -= size * share;
        if share < 1.0 {
            missing = 0.0;
            break;
        }
    }
    if matches!(limit, Limit::Quality(_)) && missing > tolerance {
        return None;
    }
    Some(courses.iter().zip(served).map(|(course, served)| lay_out(course, &served)).collect())
}

/// The schedule that serves each piece of `course` as `served` says, and what it comes to.
fn lay_out(course: &Course, served: &[(usize, f64)]) -> FamilyPlan {
    let mut plan = FamilyPlan { schedule: Vec::new(), grams: GramsCo2e::ZERO, mean_quality: None };
    let mut quality = 0.0;
    for (piece, (index, share)) in course.pieces.iter().zip(served) {
        // The better variant first, for its share of the time.
        let cut = piece.start + piece.length.mul_f64(*share);
        for (start, index, share) in [(piece.start, index + 1, *share), (cut, *index, 1.0 - share)] {
            let Some(variant) = course.hull.get(index).filter(|_| share > 0.0) else { continue };
            plan.grams += GramsCo2e::new(piece.grams(variant.energy_joules_per_row) * share);
            quality += piece.rows * variant.quality * share;
            if plan.schedule.last().is_none_or(|(_, last)| *last != variant.model) {
                plan.schedule.push((start, variant.model.clone()));
            }
        }
    }
    plan.mean_quality = Some(quality / course.rows()).filter(|quality| quality.is_finite());
    plan
}
