//! Points drawn by lot, each once.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::probe::Probe;
use crate::search::{Next, Search, Task, Why};

/// Points drawn by lot.
pub(crate) struct Random {
    task: Task,
    /// Indexes of all points, shuffled.
    order: Vec<usize>,
}

impl Random {
    pub(crate) fn new(task: Task, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..task.space.points().len()).collect();
        order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
        Self { task, order }
    }
}

impl Search for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn next(&mut self, seen: &[Probe]) -> Next {
        self.task.first_unknown(self.order.iter().copied(), seen, Why::Drawn)
    }
}
