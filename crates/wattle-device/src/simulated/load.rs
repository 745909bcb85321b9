//! What a simulated device runs at the moment, shared by the device, which is read, and the simulated
//! runtime, which says what it runs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wattle_core::id::ModelName;
use wattle_core::knob::DeviceKnob;
use wattle_core::played_device::{Knobs, OutsideProfile, PlayedDevice, RunToken};
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Megahertz, Watts};

/// What a simulated device runs. The runtime calls [`begin`](Self::begin), lets the latency pass, and
/// calls [`end`](Self::end).
#[derive(Debug)]
pub struct SimulatedLoad(Mutex<State>);

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
    device: PlayedDevice,
    sampled_at: Option<Timestamp>,
    busy_when_sampled: Duration,
}

impl SimulatedLoad {
    /// Nothing runs yet on `device`.
    pub(super) fn new(device: PlayedDevice) -> Self {
        Self(Mutex::new(State { device, sampled_at: None, busy_when_sampled: Duration::ZERO }))
    }

    /// See [`PlayedDevice::begin`].
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
        let device = &mut self.lock().device;
        let Some(index) = device.index_of(model.as_str()) else {
            let known = device.models().cloned().collect();
            return Err(SimulatedError::UnknownModel { model: model.clone(), known });
        };
        device.begin(index, rows, cores, now).map_err(|OutsideProfile { smallest, largest }| {
            SimulatedError::OutsideProfile { model: model.clone(), rows, smallest, largest }
        })
    }

    /// The batch of `token` stopped at `now`, finished or not.
    pub fn end(&self, token: RunToken, now: Timestamp) {
        self.lock().device.end(token, now);
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
        self.lock().device.knobs()
    }

    /// Turns the knobs. Settings come without a time, so they count from the latest event on.
    pub(super) fn turn(&self, knobs: Knobs) {
        self.lock().device.turn(knobs);
    }

    pub(super) fn sample(&self, now: Timestamp) -> Sample {
        let state = &mut *self.lock();
        let device = &mut state.device;
        let before = state.sampled_at.or(device.at()).unwrap_or(now);
        device.advance(now);
        let elapsed = now - before;
        let busy = device.busy().saturating_sub(state.busy_when_sampled);
        state.sampled_at = device.at();
        state.busy_when_sampled = device.busy();
        let utilization = (!elapsed.is_zero()).then(|| busy.as_secs_f64() / elapsed.as_secs_f64());
        Sample {
            energy: device.energy(),
            power: device.power(),
            utilization: utilization.map(|share| share.min(1.0)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is whole before the next can panic, so a poisoned state still adds up.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
