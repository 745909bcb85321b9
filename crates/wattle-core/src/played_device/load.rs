//! The batches of one model that run on a played device, and the power they add.

use super::model::{CurveIndex, Knobs, PlayedModel};
use crate::units::Watts;

/// One batch that runs, until it is given to [`PlayedDevice::end`](super::PlayedDevice::end).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the batch draws power until it is ended"]
pub struct RunToken {
    model: usize,
    run: u64,
}

impl RunToken {
    pub(super) fn new(model: usize, run: u64) -> Self {
        Self { model, run }
    }

    pub(super) fn model(&self) -> usize {
        self.model
    }
}

/// The batches of one model.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelLoad {
    runs: Vec<Run>,
    above_floor: Watts,
    /// The curve for so many running batches of so many threads, by their number less one. Forgotten
    /// when a knob turns or batches of other threads begin.
    curves: Vec<Option<CurveIndex>>,
    curves_cores: u32,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    run: u64,
    rows: u32,
    cores: u32,
}

impl ModelLoad {
    pub(super) fn running(&self) -> u32 {
        self.runs.len() as u32
    }

    pub(super) fn above_floor(&self) -> Watts {
        self.above_floor
    }

    pub(super) fn add(&mut self, token: &RunToken, rows: u32, cores: u32) {
        self.runs.push(Run { run: token.run, rows, cores });
    }

    /// Whether the batch ran.
    pub(super) fn remove(&mut self, token: RunToken) -> bool {
        let Some(index) = self.runs.iter().position(|run| run.run == token.run) else { return false };
        self.runs.swap_remove(index);
        true
    }

    pub(super) fn forget_curves(&mut self) {
        self.curves.clear();
    }

    /// The curve that `running` batches of `cores` threads each play on.
    pub(super) fn curve(
        &mut self,
        model: &PlayedModel,
        cores: u32,
        running: u32,
        knobs: Knobs,
    ) -> CurveIndex {
        if self.curves_cores != cores {
            self.curves.clear();
            self.curves_cores = cores;
        }
        let slot = running.saturating_sub(1) as usize;
        if self.curves.len() <= slot {
            self.curves.resize(slot + 1, None);
        }
        *self.curves[slot].get_or_insert_with(|| model.curve(cores, running, knobs))
    }

    /// Works out anew what the batches add to `floor`.
    pub(super) fn weigh(&mut self, model: &PlayedModel, floor: Watts, knobs: Knobs) {
        let running = self.running();
        let mut above_floor = Watts::ZERO;
        for index in 0..self.runs.len() {
            let run = self.runs[index];
            let curve = self.curve(model, run.cores, running, knobs);
            above_floor += model.play_nearest(run.rows, running, curve).share_above(floor);
        }
        self.above_floor = above_floor;
    }
}
