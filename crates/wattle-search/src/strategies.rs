//! The searches, one to a file, and what they share.

mod bisection;
mod coordinate_descent;
mod exhaustive;
mod random;
mod sampled;

use std::collections::BTreeMap;

use wattle_core::operating_point::{OperatingPoint, ProfileRow};

use crate::knobs::{Key, key};
use crate::memory::is_out_of_memory;
use crate::probe::Probe;
use crate::question::Figures;
use crate::search::{Next, Stop, Task, Why};
use crate::space::Space;

pub(crate) use bisection::Bisection;
pub(crate) use coordinate_descent::CoordinateDescent;
pub(crate) use exhaustive::Exhaustive;
pub(crate) use random::Random;
pub(crate) use sampled::Sampled;

/// What is known of a point.
#[derive(Debug, Clone, Copy)]
enum Known<'a> {
    /// Nothing: it may be probed.
    Nothing,
    /// It was measured.
    Row(&'a ProfileRow),
    /// It can't run, by its own probe or by that of a smaller point.
    CannotRun,
}

/// All probes so far, found by their points.
struct Seen<'a> {
    all: &'a [Probe],
    by_point: BTreeMap<Key, &'a Probe>,
}

impl<'a> Seen<'a> {
    fn of(all: &'a [Probe]) -> Self {
        Self { all, by_point: all.iter().map(|probe| (key(&probe.point), probe)).collect() }
    }

    fn known(&self, point: &OperatingPoint) -> Known<'a> {
        match self.by_point.get(&key(point)) {
            Some(probe) => probe.row().map_or(Known::CannotRun, Known::Row),
            None if is_out_of_memory(point, self.all) => Known::CannotRun,
            None => Known::Nothing,
        }
    }
}

impl Task {
    /// The end of the budget, once it is spent.
    fn spent(&self, seen: &[Probe]) -> Option<Next> {
        (seen.len() >= self.budget).then_some(Next::Done(Stop::Budget { probes: seen.len() }))
    }

    /// The value of `row` where it keeps the constraints.
    fn value_of(&self, row: &ProfileRow) -> Option<f64> {
        self.question.value_within(&Figures::of(row, self.constraints.figure), &self.constraints)
    }

    /// The first of `order`, indexes of points, of which nothing is known.
    fn first_unknown(&self, order: impl IntoIterator<Item = usize>, seen: &[Probe], why: Why) -> Next {
        if let Some(done) = self.spent(seen) {
            return done;
        }
        let seen = Seen::of(seen);
        let points = self.space.points();
        let mut unknown = order.into_iter().filter_map(|index| points.get(index));
        match unknown.find(|point| matches!(seen.known(point), Known::Nothing)) {
            Some(point) => Next::probe(point, why),
            None => Next::Done(Stop::Exhausted),
        }
    }
}

/// The points of `space` that may still be probed: neither probed nor known to be out of memory.
pub(crate) fn unknown_points<'a>(space: &'a Space, seen: &[Probe]) -> Vec<&'a OperatingPoint> {
    let seen = Seen::of(seen);
    space.points().iter().filter(|point| matches!(seen.known(point), Known::Nothing)).collect()
}
