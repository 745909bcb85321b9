//! Attributes metered energy to models, with nothing lost: attributed + idle = metered.
//!
//! What the device would have drawn with nothing to do is idle. Of the rest, the part that is this
//! server's is split between models by the core time they computed. Whatever nobody asked for joins
//! idle. Knows nothing of counters or of storage.

#[cfg(test)]
mod tests;
mod totals;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::ModelName;
use crate::provenance::Provenance;
use crate::time::Timestamp;
use crate::units::{CarbonIntensity, GramsCo2e, Joules, Watts};

pub use totals::{ModelTotals, Totals};

/// Energy of all devices over one metering interval.
#[derive(Debug, Clone, PartialEq)]
pub struct MeteredInterval {
    /// Start of the interval.
    pub start: Timestamp,
    /// End of the interval.
    pub end: Timestamp,
    /// Energy drawn in the interval.
    pub energy: Joules,
    /// What the devices would draw with nothing to do.
    pub idle_power: Watts,
    /// Share of the devices' activity that is this server's, in 0 to 1. `None`: all of it.
    pub own_share: Option<f64>,
    /// How the energy is known.
    pub provenance: Provenance,
}

/// What one model did in a metering interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Activity {
    /// Core time (or device time) its batches took, in seconds.
    pub core_seconds: f64,
    /// Rows it answered.
    pub rows: u64,
    /// Requests it answered.
    pub requests: u64,
}

/// One metering interval, attributed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Start of the interval.
    #[serde(rename = "start_nanos")]
    pub start: Timestamp,
    /// End of the interval.
    #[serde(rename = "end_nanos")]
    pub end: Timestamp,
    /// Energy drawn in the interval.
    #[serde(rename = "metered_joules")]
    pub metered: Joules,
    /// Idle energy, and everything that no request asked for, such as other programs' share.
    #[serde(rename = "idle_joules")]
    pub idle: Joules,
    /// Each model that did something.
    pub by_model: BTreeMap<ModelName, ModelEntry>,
    /// Carbon intensity in the interval, when known.
    #[serde(rename = "carbon_intensity_g_per_kwh")]
    pub carbon_intensity: Option<CarbonIntensity>,
    /// Emissions of the metered energy, idle included, when the intensity is known.
    #[serde(rename = "carbon_grams")]
    pub carbon: Option<GramsCo2e>,
    /// How the energy is known.
    pub provenance: Provenance,
}

/// One model's part of a metering interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// Energy attributed to the model.
    #[serde(rename = "energy_joules")]
    pub energy: Joules,
    /// Emissions of that energy, when the intensity is known.
    #[serde(rename = "carbon_grams")]
    pub carbon: Option<GramsCo2e>,
    /// Rows it answered.
    pub rows: u64,
    /// Requests it answered.
    pub requests: u64,
    /// Core time its batches took, in seconds.
    pub core_seconds: f64,
}

/// Attributes one interval.
///
/// `idle = min(energy, idle power × time)`, `attributed = (energy − idle) × own share`, split by core
/// time. With no core time at all, everything is idle: power that nobody computed with.
pub fn attribute(
    interval: &MeteredInterval,
    activity: &BTreeMap<ModelName, Activity>,
    carbon_intensity: Option<CarbonIntensity>,
) -> LedgerEntry {
    let metered = interval.energy;
    let idle_floor = interval.idle_power.max(Watts::ZERO) * (interval.end - interval.start);
    let active = metered - metered.min(idle_floor);
    let attributable = active * interval.own_share.unwrap_or(1.0).clamp(0.0, 1.0);

    // Shares are taken of the largest first, so that the sum of huge times can't overflow.
    let usable = |seconds: f64| if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    let largest = activity.values().map(|model| usable(model.core_seconds)).fold(0.0, f64::max);
    let parts = |model: &Activity| if largest > 0.0 { usable(model.core_seconds) / largest } else { 0.0 };
    let all_parts: f64 = activity.values().map(parts).sum();

    let mut attributed = Joules::ZERO;
    let by_model = activity
        .iter()
        .map(|(name, model)| {
            let share = if all_parts > 0.0 { parts(model) / all_parts } else { 0.0 };
            let energy = attributable * share;
            attributed += energy;
            let entry = ModelEntry {
                energy,
                carbon: carbon_intensity.map(|intensity| energy * intensity),
                rows: model.rows,
                requests: model.requests,
                core_seconds: model.core_seconds,
            };
            (name.clone(), entry)
        })
        .collect();

    LedgerEntry {
        start: interval.start,
        end: interval.end,
        metered,
        // The rest, whatever it is: the books close by construction.
        idle: metered - attributed,
        by_model,
        carbon_intensity,
        carbon: carbon_intensity.map(|intensity| metered * intensity),
        provenance: interval.provenance.clone(),
    }
}
