//! Every point, in the order of the space.

use crate::probe::Probe;
use crate::search::{Next, Search, Task, Why};

/// Every point in order.
pub(crate) struct Exhaustive {
    task: Task,
}

impl Exhaustive {
    pub(crate) fn new(task: Task) -> Self {
        Self { task }
    }
}

impl Search for Exhaustive {
    fn name(&self) -> &'static str {
        "exhaustive"
    }

    fn next(&mut self, seen: &[Probe]) -> Next {
        self.task.first_unknown(0..self.task.space.points().len(), seen, Why::InOrder)
    }
}
