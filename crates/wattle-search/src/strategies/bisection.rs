//! BatchSizer's search: the batch size alone, halving what is left of the sizes.
//!
//! After "BatchSizer: Power-Performance Trade-off for DNN Inference" (Nabavinejad, Reda, Ebrahimi): start
//! at the smallest size; within the bounds, go to the middle (rounded up) of this size and the largest
//! that may still fit; over one, to the middle (rounded down) of the smallest and this. As in the policy
//! of that name the interval shrinks from both ends, so it ends. The paper holds as soon as power is in
//! 80 to 100 % of the cap; a search for the best goes on until no size is left between, and then looks
//! at the next smaller size, which may be no slower (the paper's saturation).
//!
//! Every other knob stays at its default: fully open, and one instance.

use crate::knobs::{Place, Reading};
use crate::probe::Probe;
use crate::search::{Next, Search, Stop, Task, Why};
use crate::strategies::{Known, Seen};

/// Bisection over the batch size.
pub(crate) struct Bisection {
    task: Task,
    /// Indexes of the points at the default of the other knobs, by ascending batch size.
    line: Vec<usize>,
}

impl Bisection {
    pub(crate) fn new(task: Task) -> Self {
        let points = task.space.points();
        let reading = Reading::of(points);
        // The fewest instances, and of the other knobs the most open; a knob that is not set is open.
        let openness = |place: &Place| -> Vec<f64> {
            let open =
                place.at.iter().zip(place.is_set).map(|(at, is_set)| if is_set { *at } else { f64::MAX });
            let mut open: Vec<f64> = open.skip(1).collect();
            if let Some(instances) = open.first_mut() {
                *instances = -*instances;
            }
            open
        };
        let best = points
            .iter()
            .filter_map(|point| Some((point, reading.place(point)?)))
            .reduce(|best, other| if openness(&other.1) > openness(&best.1) { other } else { best })
            .map_or(points.first(), |(point, _)| Some(point));
        let is_on_line = |index: &usize| {
            best.zip(points.get(*index)).is_some_and(|(best, point)| point.differs_in_batch_only(best))
        };
        let mut line: Vec<usize> = (0..points.len()).filter(is_on_line).collect();
        line.sort_by_key(|index| points.get(*index).map(|point| point.batch_size));
        Self { task, line }
    }
}

impl Search for Bisection {
    fn name(&self) -> &'static str {
        "bisection"
    }

    fn next(&mut self, seen: &[Probe]) -> Next {
        if let Some(done) = self.task.spent(seen) {
            return done;
        }
        let seen = Seen::of(seen);
        let points = self.task.space.points();
        // Played again from the start each time: what was seen tells where it stands.
        let (mut fits, mut too_large) = (None, self.line.len());
        let mut current = 0;
        while fits.map_or(0, |fits| fits + 1) < too_large {
            let Some(point) = self.line.get(current).and_then(|index| points.get(*index)) else { break };
            let fitting = match seen.known(point) {
                Known::Nothing => return Next::probe(point, Why::Halves),
                Known::Row(row) => self
                    .task
                    .constraints
                    .are_kept_by(&crate::question::Figures::of(row, self.task.constraints.figure)),
                Known::CannotRun => false,
            };
            if fitting {
                fits = Some(current);
                current = (current + too_large).div_ceil(2).min(too_large.saturating_sub(1));
            } else {
                too_large = current;
                current = fits.map_or(0, |fits| (fits + too_large) / 2);
            }
        }
        let below =
            fits.and_then(|fits| self.line.get(fits.checked_sub(1)?)).and_then(|index| points.get(*index));
        match below {
            Some(point) if matches!(seen.known(point), Known::Nothing) => Next::probe(point, Why::Neighbour),
            _ => Next::Done(Stop::Converged),
        }
    }
}
