//! What only a replay can know: the whole future. Oracles are built with it, to tell the best possible.

use std::collections::BTreeMap;

use crate::id::{FamilyName, ModelName};
use crate::signal::Signal;

/// The future of a run, from its start to its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Foresight {
    /// The power cap in watts.
    pub power_cap: Option<Signal>,
    /// Carbon intensity in gCO2e/kWh.
    pub carbon_intensity: Option<Signal>,
    /// Rows per second asked of each model, as means over short intervals.
    pub offered_rps: BTreeMap<ModelName, Signal>,
    /// Rows per second asked of each family, likewise.
    pub offered_family_rps: BTreeMap<FamilyName, Signal>,
}
