//! The seam of all policies: what was seen goes in, settings with their reason come out.

mod reason;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::id::{DeviceId, FamilyName, ModelName};
use crate::knob::{DeviceSetting, ServingChange};
use crate::observation::Observation;
use crate::profile::Profile;
use crate::refinement::Refinement;
use crate::units::Megahertz;

pub use reason::{CarbonLimit, Reason};

/// Decides the knobs. The same observations give the same decisions: a policy has no clock, does no
/// I/O, and has no luck but its seed. It may remember what it saw.
pub trait Policy: Send {
    /// The name it is asked for by, such as `batch-sizer`.
    fn name(&self) -> &'static str;

    /// Decides what to turn, given what was seen since the last call.
    fn decide(&mut self, seen: &Observation) -> Decision;

    /// Plans with `profiles` from now on, in place of those it was made with: the same models and
    /// operating points, with figures as they are seen to be. A policy without profiles does nothing.
    fn refine(&mut self, _profiles: &BTreeMap<ModelName, Profile>) {}

    /// What is known of how far its profiles are off; `None` where that is not followed.
    fn refinement(&self) -> Option<&Refinement> {
        None
    }
}

/// What to turn, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// Device knobs to turn.
    pub devices: BTreeMap<DeviceId, Vec<DeviceSetting>>,
    /// Serving knobs to turn, by model.
    pub serving: BTreeMap<ModelName, ServingChange>,
    /// Which variant is to answer for a family from now on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<FamilyName, ModelName>,
    /// Why, with the figures: one or more per model, or one for all where the model is `None`.
    pub reasons: Vec<(Option<ModelName>, Reason)>,
    /// When the policy wants to be asked again at the latest. The driver asks sooner, within one fast
    /// tick, when it sees the cap violated or changed.
    #[serde(rename = "ask_again_in_seconds", serialize_with = "seconds")]
    pub ask_again_in: Duration,
}

impl Decision {
    /// Turns nothing, for `reason`.
    pub fn keep(reason: Reason, ask_again_in: Duration) -> Self {
        Self { reasons: vec![(None, reason)], ..Self::nothing(ask_again_in) }
    }

    /// Turns nothing, and no reason is given yet.
    pub fn nothing(ask_again_in: Duration) -> Self {
        Self {
            devices: BTreeMap::new(),
            serving: BTreeMap::new(),
            variants: BTreeMap::new(),
            reasons: Vec::new(),
            ask_again_in,
        }
    }

    /// Whether anything is to be turned.
    pub fn turns_something(&self) -> bool {
        !(self.devices.is_empty() && self.serving.is_empty() && self.variants.is_empty())
    }
}

fn seconds<S: serde::Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(value.as_secs_f64())
}

/// One level of the knob that a search moves along.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A batch size.
    BatchSize(u32),
    /// A core clock of the device.
    CoreClockMhz(Megahertz),
}

impl fmt::Display for Level {
    /// The knob and its value; the alternate form is the value alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, f.alternate()) {
            (Self::BatchSize(size), false) => write!(f, "batch size {size}"),
            (Self::BatchSize(size), true) => write!(f, "{size}"),
            (Self::CoreClockMhz(clock), false) => write!(f, "core clock {clock:.0}"),
            (Self::CoreClockMhz(clock), true) => write!(f, "{clock:.0}"),
        }
    }
}
