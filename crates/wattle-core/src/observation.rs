//! All that a policy may see.
//!
//! The control loop fills it from the meter and the executor, a replay from its simulated node. It
//! carries readings and counts, never handles: a policy that holds an observation can change nothing.

use std::time::Duration;

use crate::id::{DeviceId, FamilyName, ModelName};
use crate::knob::{KnobRange, ServingLimits, ServingSetting};
use crate::provenance::Provenance;
use crate::time::Timestamp;
use crate::units::{CarbonIntensity, Watts};

/// What the driver saw since it last asked.
#[derive(Debug, Clone)]
pub struct Observation {
    /// When the driver asks.
    pub now: Timestamp,
    /// The power cap in force, over all devices together; `None` when there is none.
    pub power_cap: Option<Watts>,
    /// Caps that the driver expects within its horizon, each from its time until the next, ascending.
    /// Empty: no forecast, or no change expected.
    pub power_cap_ahead: Vec<(Timestamp, Watts)>,
    /// Carbon intensity of the electricity, when known.
    pub carbon_intensity: Option<CarbonIntensity>,
    /// How old that value is; zero where it is of now, `None` where that is not known.
    pub carbon_intensity_age: Option<Duration>,
    /// Carbon intensities that the driver expects, each from its time until the next, ascending. Empty:
    /// no forecast.
    pub carbon_intensity_ahead: Vec<(Timestamp, CarbonIntensity)>,
    /// Each device, in the order of their names.
    pub devices: Vec<DeviceObservation>,
    /// Each model that serves, in the order of their names.
    pub models: Vec<ModelObservation>,
    /// Each family that clients may ask for, in the order of their names.
    pub families: Vec<FamilyObservation>,
}

/// One device, as seen since the driver last asked.
#[derive(Debug, Clone)]
pub struct DeviceObservation {
    /// Which device.
    pub id: DeviceId,
    /// Power samples since the last ask, oldest first, so that a policy can take their maximum.
    /// Empty: nothing new was read, or the sensor fails.
    pub power_samples: Vec<PowerSample>,
    /// How power is known on this device.
    pub power_provenance: Provenance,
    /// Which knobs the device has, and how far they turn.
    pub knobs: Vec<KnobRange>,
    /// A setting could not be made in the last decision that turned a knob of this device: where its
    /// knobs stand is not known.
    pub settings_failed: bool,
}

/// Power over one sampling interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerSample {
    /// End of the interval.
    pub at: Timestamp,
    /// Mean power over the interval.
    pub power: Watts,
}

/// One model, as seen since the driver last asked.
#[derive(Debug, Clone)]
pub struct ModelObservation {
    /// Which model.
    pub name: ModelName,
    /// Where its serving knobs stand.
    pub setting: ServingSetting,
    /// How far its serving knobs turn.
    pub limits: ServingLimits,
    /// Rows that wait now.
    pub queued_rows: u64,
    /// Rows that arrived since the last ask.
    pub arrived_rows: u64,
    /// Rows answered since the last ask.
    pub completed_rows: u64,
    /// Batches executed since the last ask.
    pub executed_batches: u64,
    /// Time that these batches took, all together.
    pub batches_took: Duration,
    /// Batches that run now.
    pub running_batches: u32,
    /// Time in which batches ran since the last ask, of all instances together; with that of batches
    /// that run now.
    pub busy: Duration,
    /// Since the last ask.
    pub interval: Duration,
    /// When a serving knob of this model was last turned.
    pub setting_since: Timestamp,
}

/// One family, as seen since the driver last asked.
#[derive(Debug, Clone)]
pub struct FamilyObservation {
    /// Which family.
    pub name: FamilyName,
    /// Its variants that serve, in the order of their names.
    pub variants: Vec<ModelName>,
    /// The variant that answers now.
    pub active: ModelName,
    /// Rows that were asked of the family since the last ask.
    pub arrived_rows: u64,
}

impl Observation {
    /// The highest total power since the last ask, or `None` if any device gave no sample.
    ///
    /// Devices are sampled independently, so their maxima are added: an upper bound of the total.
    pub fn power_max(&self) -> Option<Watts> {
        self.power_max_since(Timestamp::ZERO)
    }

    /// As [`power_max`](Self::power_max), of samples that ended after `since` only.
    pub fn power_max_since(&self, since: Timestamp) -> Option<Watts> {
        if self.devices.is_empty() {
            return None;
        }
        self.devices
            .iter()
            .map(|device| {
                let fresh = device.power_samples.iter().filter(|sample| sample.at > since);
                fresh.map(|sample| sample.power).reduce(Watts::max)
            })
            .sum::<Option<Watts>>()
    }
}
