//! Attributes metered energy to accounts, with nothing lost: attributed + idle = metered.
//!
//! What the device would have drawn with nothing to do is idle. Of the rest, the part that is this
//! server's is split between accounts by the core time of their batches. Whatever nobody asked for joins
//! idle. An account is a model, the family it was asked by, and the class of the request. Knows nothing of
//! counters or of storage.

#[cfg(test)]
mod tests;
mod totals;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::carbon::{CarbonAccounting, Emissions};
use crate::id::{FamilyName, ModelName, RequestClass};
use crate::provenance::Provenance;
use crate::signal::SignalReading;
use crate::time::Timestamp;
use crate::units::{Joules, Watts};

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

/// Whose an amount of energy is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Account {
    /// The model that answered.
    pub model: ModelName,
    /// The family that was asked, if it was not the model itself.
    pub family: Option<FamilyName>,
    /// The class that the request named, if it named one.
    pub class: Option<RequestClass>,
}

impl Account {
    /// What asks for `model` by its own name, in no class.
    pub fn of_model(model: ModelName) -> Self {
        Self { model, family: None, class: None }
    }
}

/// What was done for one account in a metering interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Activity {
    /// Core time (or device time) of its rows' part of their batches, in seconds.
    pub core_seconds: f64,
    /// Rows it was answered.
    pub rows: u64,
    /// Requests it was answered.
    pub requests: u64,
}

/// One metering interval, attributed.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEntry {
    /// Start of the interval.
    pub start: Timestamp,
    /// End of the interval.
    pub end: Timestamp,
    /// Energy drawn in the interval.
    pub metered: Joules,
    /// Idle energy, and everything that no request asked for, such as other programs' share.
    pub idle: Joules,
    /// Each account that something was done for.
    pub by_account: BTreeMap<Account, AccountEntry>,
    /// Carbon intensity in the interval with where it is from, when known.
    pub carbon_intensity: Option<SignalReading>,
    /// Emissions of the metered energy, idle included, when the intensity is known.
    pub emissions: Option<Emissions>,
    /// How the energy is known.
    pub provenance: Provenance,
}

/// One account's part of a metering interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AccountEntry {
    /// What its own work drew.
    pub dynamic: Joules,
    /// Its part of what the parts that all share drew because somebody worked.
    pub shared: Joules,
    /// Emissions of both, when the intensity is known.
    pub emissions: Option<Emissions>,
    /// Rows it was answered.
    pub rows: u64,
    /// Requests it was answered.
    pub requests: u64,
    /// Core time of its rows' part of their batches, in seconds.
    pub core_seconds: f64,
}

impl AccountEntry {
    /// Energy attributed to the account.
    pub fn energy(&self) -> Joules {
        self.dynamic + self.shared
    }
}

impl LedgerEntry {
    /// Energy attributed to all accounts together.
    pub fn attributed(&self) -> Joules {
        self.by_account.values().map(AccountEntry::energy).sum()
    }
}

/// Attributes one interval.
///
/// `idle = min(energy, idle power × time)`, `attributed = (energy − idle) × own share`, split by core
/// time. With no core time at all, everything is idle: power that nobody computed with.
pub fn attribute(
    interval: &MeteredInterval,
    activity: &BTreeMap<Account, Activity>,
    carbon_intensity: Option<SignalReading>,
    accounting: &CarbonAccounting,
) -> LedgerEntry {
    let metered = interval.energy;
    let idle_floor = interval.idle_power.max(Watts::ZERO) * (interval.end - interval.start);
    let active = metered - metered.min(idle_floor);
    let attributable = active * interval.own_share.unwrap_or(1.0).clamp(0.0, 1.0);
    let emissions = |energy| accounting.emissions(energy, carbon_intensity.as_ref());

    // Shares are taken of the largest first, so that the sum of huge times can't overflow.
    let usable = |seconds: f64| if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    let largest = activity.values().map(|of| usable(of.core_seconds)).fold(0.0, f64::max);
    let parts = |of: &Activity| if largest > 0.0 { usable(of.core_seconds) / largest } else { 0.0 };
    let all_parts: f64 = activity.values().map(parts).sum();

    let mut attributed = Joules::ZERO;
    let by_account = activity
        .iter()
        .map(|(account, of)| {
            let share = if all_parts > 0.0 { parts(of) / all_parts } else { 0.0 };
            let energy = attributable * share;
            attributed += energy;
            let entry = AccountEntry {
                dynamic: energy,
                shared: Joules::ZERO,
                emissions: emissions(energy),
                rows: of.rows,
                requests: of.requests,
                core_seconds: of.core_seconds,
            };
            (account.clone(), entry)
        })
        .collect();

    LedgerEntry {
        start: interval.start,
        end: interval.end,
        metered,
        // The rest, whatever it is: the books close by construction.
        idle: metered - attributed,
        by_account,
        emissions: emissions(metered),
        carbon_intensity,
        provenance: interval.provenance.clone(),
    }
}
