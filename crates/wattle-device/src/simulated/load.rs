//! What a simulated device runs at the moment, and the energy of it.
//!
//! Shared by the device, which is read, and the simulated runtime, which says what it runs. Power is
//! constant between two events, so energy is exact.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wattle_core::id::ModelName;
use wattle_core::knob::DeviceKnob;
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Megahertz, Watts};

use super::played_model::{Knobs, PlayedModel};

/// What a simulated device runs. The runtime calls [`begin`](Self::begin), lets the latency pass, and
/// calls [`end`](Self::end).
#[derive(Debug)]
pub struct SimulatedLoad {
    models: BTreeMap<ModelName, PlayedModel>,
    idle: Watts,
    state: Mutex<State>,
}

/// One batch that runs, until it is given to [`SimulatedLoad::end`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the batch draws power until it is ended"]
pub struct RunToken(u64);

/// A batch can't be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulatedError {
    /// The device has no profile of the model.
    #[error("the simulated device has no profile of {model}; it has {known:?}")]
    UnknownModel {
        /// The model asked for.
        model: ModelName,
        /// The models there are.
        known: Vec<ModelName>,
    },
    /// The profile has no batch as small or as large, and is never stretched.
    #[error("a batch of {rows} is outside the profile of {model}, which has {smallest} to {largest} rows")]
    OutsideProfile {
        /// Which model.
        model: ModelName,
        /// Rows asked for.
        rows: u32,
        /// Smallest batch that is profiled with as many instances and these knobs.
        smallest: u32,
        /// Largest batch that is profiled there.
        largest: u32,
    },
}

/// One sample of the load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) energy: Joules,
    pub(super) power: Watts,
    /// Share of the time since the last sample in which anything ran. `None` when no time passed.
    pub(super) utilization: Option<f64>,
}

#[derive(Debug)]
struct State {
    knobs: Knobs,
    runs: BTreeMap<u64, Run>,
    next_run: u64,
    /// Power since `at`.
    power: Watts,
    /// The latest event.
    at: Option<Timestamp>,
    energy: Joules,
    sampled_at: Timestamp,
    busy_since_sample: Duration,
}

#[derive(Debug)]
struct Run {
    model: ModelName,
    rows: u32,
    cores: u32,
}

impl SimulatedLoad {
    /// Nothing runs, on a device that draws `idle` then. Every model must have a curve wherever
    /// `knobs` will stand.
    pub(super) fn new(models: BTreeMap<ModelName, PlayedModel>, idle: Watts, knobs: Knobs) -> Self {
        let state = State {
            knobs,
            runs: BTreeMap::new(),
            next_run: 0,
            power: idle,
            at: None,
            energy: Joules::ZERO,
            sampled_at: Timestamp::ZERO,
            busy_since_sample: Duration::ZERO,
        };
        Self { models, idle, state: Mutex::new(state) }
    }

    /// A batch of `rows` rows of `model` starts at `now` on at most `cores` compute threads, which
    /// matter only where the profile tells `cores_per_instance`. Gives how long it takes.
    ///
    /// The latency is that of the batches running and the knobs as they stand now; what changes later
    /// changes the power, not the latency of what runs already.
    ///
    /// # Errors
    /// Where the profile doesn't tell. Nothing then runs.
    pub fn begin(
        &self,
        model: &ModelName,
        rows: u32,
        cores: u32,
        now: Timestamp,
    ) -> Result<(RunToken, Duration), SimulatedError> {
        let Some(played) = self.models.get(model) else {
            let known = self.models.keys().cloned().collect();
            return Err(SimulatedError::UnknownModel { model: model.clone(), known });
        };
        let mut state = self.lock();
        let running = state.running(model) + 1;
        let plays = played.play(rows, cores, running, state.knobs).map_err(|(smallest, largest)| {
            SimulatedError::OutsideProfile { model: model.clone(), rows, smallest, largest }
        })?;
        state.advance(now);
        let run = state.next_run;
        state.next_run += 1;
        state.runs.insert(run, Run { model: model.clone(), rows, cores });
        state.power = self.power_of(&state);
        Ok((RunToken(run), plays.latency))
    }

    /// The batch of `token` stopped at `now`, finished or not.
    pub fn end(&self, token: RunToken, now: Timestamp) {
        let mut state = self.lock();
        state.advance(now);
        state.runs.remove(&token.0);
        state.power = self.power_of(&state);
    }

    /// Where a knob of the device stands, in the unit of its setting; `None` where it has no such knob.
    pub fn knob(&self, knob: DeviceKnob) -> Option<f64> {
        let knobs = self.knobs();
        match knob {
            DeviceKnob::CoreClock => knobs.clock.map(Megahertz::get),
            DeviceKnob::ComputeUnits => knobs.units.map(f64::from),
            DeviceKnob::PowerLimit => None,
        }
    }

    pub(super) fn knobs(&self) -> Knobs {
        self.lock().knobs
    }

    /// Turns the knobs. Settings come without a time, so they count from the latest event on.
    pub(super) fn turn(&self, knobs: Knobs) {
        let mut state = self.lock();
        state.knobs = knobs;
        state.power = self.power_of(&state);
    }

    pub(super) fn sample(&self, now: Timestamp) -> Sample {
        let mut state = self.lock();
        state.advance(now);
        let at = state.at.unwrap_or(now);
        let elapsed = at - state.sampled_at;
        let busy = std::mem::take(&mut state.busy_since_sample);
        state.sampled_at = at;
        let utilization = (!elapsed.is_zero()).then(|| busy.as_secs_f64() / elapsed.as_secs_f64());
        Sample {
            energy: state.energy,
            power: state.power,
            utilization: utilization.map(|share| share.min(1.0)),
        }
    }

    fn power_of(&self, state: &State) -> Watts {
        let above_idle = state.runs.values().filter_map(|run| {
            let running = state.running(&run.model);
            let plays = self.models.get(&run.model)?.play_on(run.rows, run.cores, running, state.knobs);
            Some(plays.share_above(self.idle))
        });
        self.idle + above_idle.sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is whole before the next can panic, so a poisoned state still adds up.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets time pass to `now`. Time never runs backwards: threads may report a little out of order,
    /// and the later report then counts from the earlier one's time.
    fn advance(&mut self, now: Timestamp) {
        let Some(at) = self.at else {
            self.at = Some(now);
            self.sampled_at = now;
            return;
        };
        let elapsed = now - at;
        self.energy += self.power * elapsed;
        if !self.runs.is_empty() {
            self.busy_since_sample += elapsed;
        }
        self.at = Some(at.max(now));
    }

    fn running(&self, model: &ModelName) -> u32 {
        self.runs.values().filter(|run| run.model == *model).count() as u32
    }
}
