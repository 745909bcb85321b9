//! The search that learns: what is expected of every point decides which one is measured.

use wattle_core::operating_point::ProfileRow;

use crate::knobs::Reading;
use crate::probe::Probe;
use crate::search::{Next, Search, Stop, Task, Why};
use crate::strategies::unknown_points;
use crate::surrogate::Surrogate;

/// The search that learns.
pub(crate) struct Sampled {
    task: Task,
    #[expect(dead_code, reason = "breaks ties")]
    seed: u64,
}

impl Sampled {
    pub(crate) fn new(task: Task, seed: u64) -> Self {
        Self { task, seed }
    }
}

impl Search for Sampled {
    fn name(&self) -> &'static str {
        "sampled"
    }

    fn next(&mut self, seen: &[Probe]) -> Next {
        if let Some(done) = self.task.spent(seen) {
            return done;
        }
        let unknown = unknown_points(&self.task.space, seen);
        let rows: Vec<ProfileRow> = seen.iter().filter_map(Probe::row).cloned().collect();
        let reading = Reading::of(self.task.space.points());
        if rows.is_empty() {
            let height = |point| reading.place(point).map_or(f64::INFINITY, |place| place.at.iter().sum());
            let lowest = unknown.into_iter().min_by(|a, b| f64::total_cmp(&height(a), &height(b)));
            return lowest.map_or(Next::Done(Stop::Exhausted), |point| Next::probe(point, Why::First));
        }
        let surrogate = Surrogate::fit(&rows, self.task.constraints.figure);
        let best = rows.iter().filter_map(|row| self.task.value_of(row)).fold(0.0, f64::max);
        let promising = unknown
            .into_iter()
            .filter_map(|point| {
                let predicted = surrogate.predict(point)?;
                self.task.constraints.are_kept_by(&predicted.worst()).then_some(())?;
                Some((point, self.task.question.value(&predicted.middle())?))
            })
            .reduce(|best, other| if other.1 > best.1 { other } else { best });
        match promising {
            Some((point, value)) => Next::probe(point, Why::Promising { expected_gain: value / best - 1.0 }),
            None => Next::Done(Stop::Exhausted),
        }
    }
}
