//! How to split power among models for most throughput together: exact for one model, by dynamic
//! programming over a power grid for several.
//!
//! On the grid each point's power above idle is rounded up, so a split never needs more than there is.
//! It is the best to within a grid step a model.

use crate::policies::candidates::Candidate;
use crate::units::Watts;

/// Step of the grid.
const GRID_WATTS: f64 = 0.1;
/// Most steps: where all points together need more, the grid is coarser.
const MOST_STEPS: f64 = 100_000.0;

/// The fronts of all models at one setting of the device, and the best split of any power.
#[derive(Debug, Clone)]
pub(super) struct Split {
    /// Of each model, ascending in power above idle and in throughput; empty: it can only be parked.
    fronts: Vec<Vec<Candidate>>,
    /// `None` when at most one model has points.
    table: Option<Table>,
}

/// By model and steps of power for it and those before it: which point it has.
#[derive(Debug, Clone)]
struct Table {
    step_watts: f64,
    /// Rows per second of all models together, by steps.
    most: Vec<f64>,
    /// By model, by steps: 0 is parked, else the place in its front, from 1.
    choices: Vec<Vec<u32>>,
}

impl Split {
    pub(super) fn new(fronts: Vec<Vec<Candidate>>) -> Self {
        let with_points = fronts.iter().filter(|front| !front.is_empty()).count();
        Self { table: (with_points > 1).then(|| Table::new(&fronts)), fronts }
    }

    /// Most rows per second of all models together for `left` above idle.
    pub(super) fn most(&self, left: Watts) -> f64 {
        match &self.table {
            Some(table) => table.steps(left).map_or(0.0, |steps| table.most[steps]),
            None => self.choose(left).iter().flatten().map(|candidate| candidate.throughput_rps).sum(),
        }
    }

    /// The point of each model for that; `None`: parked.
    pub(super) fn choose(&self, left: Watts) -> Vec<Option<Candidate>> {
        let Some(table) = &self.table else {
            let best = |front: &Vec<Candidate>| {
                front[..front.partition_point(|candidate| candidate.dynamic <= left)].last().copied()
            };
            return self.fronts.iter().map(best).collect();
        };
        let mut chosen = vec![None; self.fronts.len()];
        let Some(steps) = table.steps(left) else { return chosen };
        // The least power that answers as much.
        let mut steps = table.most.partition_point(|most| *most < table.most[steps]);
        for (index, front) in self.fronts.iter().enumerate().rev() {
            let choice = table.choices[index][steps] as usize;
            chosen[index] = choice.checked_sub(1).map(|place| front[place]);
            if let Some(candidate) = chosen[index] {
                steps -= table.need(&candidate);
            }
        }
        chosen
    }

    /// Power above idle of the least hungry point of the model at `index`.
    pub(super) fn least(&self, index: usize) -> Option<Watts> {
        self.fronts.get(index)?.first().map(|candidate| candidate.dynamic)
    }
}

impl Table {
    fn new(fronts: &[Vec<Candidate>]) -> Self {
        let hungriest = fronts.iter().filter_map(|front| front.last());
        let total: f64 = hungriest.map(|candidate| candidate.dynamic.get()).sum();
        let step_watts = GRID_WATTS.max(total / MOST_STEPS);
        // A step more a model, for what is rounded up.
        let steps = (total / step_watts).ceil() as usize + fronts.len();
        let mut table = Self { step_watts, most: vec![0.0; steps + 1], choices: Vec::new() };
        for front in fronts {
            let needs: Vec<usize> = front.iter().map(|candidate| table.need(candidate)).collect();
            let mut most = table.most.clone();
            let mut choices = vec![0u32; steps + 1];
            for (place, (candidate, need)) in front.iter().zip(needs).enumerate() {
                for at in need..=steps {
                    let together = table.most[at - need] + candidate.throughput_rps;
                    if together > most[at] {
                        most[at] = together;
                        choices[at] = place as u32 + 1;
                    }
                }
            }
            table.most = most;
            table.choices.push(choices);
        }
        table
    }

    /// Whole steps in `left`; `None` when there is nothing to split.
    fn steps(&self, left: Watts) -> Option<usize> {
        // A hair is allowed for, or 0.3 W are two steps of 0.1 W.
        let steps = (left.get() / self.step_watts + 1e-6).floor();
        (steps >= 0.0).then(|| (steps as usize).min(self.most.len() - 1))
    }

    fn need(&self, candidate: &Candidate) -> usize {
        (candidate.dynamic.get() / self.step_watts - 1e-6).ceil().max(0.0) as usize
    }
}
