//! Attributes metered energy to accounts, with nothing lost: attributed + idle = metered.
//!
//! What the device would have drawn with nothing to do is idle. Of the rest, the part that is this
//! server's is split between accounts: what the parts that all share draw, by the core time of their batches;
//! what remains, by core time and by how hungry the model is. Whatever nobody asked for joins idle. An account is a model, the family it was asked by, and the class of the request. Knows nothing of
//! counters or of storage.

mod power_split;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::carbon::{CarbonAccounting, Emissions};
use crate::id::{FamilyName, ModelName, RequestClass};
use crate::provenance::Provenance;
use crate::signal::SignalReading;
use crate::time::Timestamp;
use crate::units::{Joules, Watts};

pub use power_split::PowerSplit;
pub use totals::{AccountTotals, Closure, Totals};

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

/// Attributes one interval with nothing known of how the power is made up: as [`attribute_split`] by the
/// default [`PowerSplit`].
pub fn attribute(
    interval: &MeteredInterval,
    activity: &BTreeMap<Account, Activity>,
    carbon_intensity: Option<SignalReading>,
    accounting: &CarbonAccounting,
) -> LedgerEntry {
    let split = PowerSplit::default();
    attribute_split(interval, activity, (&split, Duration::ZERO), carbon_intensity, accounting)
}

/// Attributes one interval, during `working` of which somebody worked.
///
/// ```text
/// idle    = min(energy, idle power · time)                  static: drawn whatever runs
/// shared  = min(energy − idle, P_OI · working) · own share  split by core time
/// dynamic = (energy − idle) · own share − shared            split by core time · watts of a busy core
/// ```
/// The weights of `dynamic` are used where they are known of every model with core time, else all are
/// alike. Whatever is left, such as other programs' share and all of an interval without any core time,
/// joins idle, so that the books close by construction. The static part is not shared out: it would be
/// drawn as well if nobody had asked. Reports that want it so share it out by reserved time.
///
/// Power, time or energy that can't be (negative, infinite, not a number) counts as zero; the meter does
/// not let such readings get here.
pub fn attribute_split(
    interval: &MeteredInterval,
    activity: &BTreeMap<Account, Activity>,
    (split, working): (&PowerSplit, Duration),
    carbon_intensity: Option<SignalReading>,
    accounting: &CarbonAccounting,
) -> LedgerEntry {
    let length = interval.end - interval.start;
    let metered = Joules::new(lawful(interval.energy.get()));
    let active = metered - metered.min(Watts::new(lawful(interval.idle_power.get())) * length);
    let own = interval.own_share.filter(|share| !share.is_nan()).unwrap_or(1.0).clamp(0.0, 1.0);
    let shared_idle = split.shared_idle_power.map_or(0.0, |power| lawful(power.get()));
    let shared = active.min(Watts::new(shared_idle) * working.min(length)) * own;
    let dynamic = (active * own - shared).max(Joules::ZERO);
    let emissions = |energy| accounting.emissions(energy, carbon_intensity.as_ref());

    let worked = activity.iter().filter(|(_, of)| lawful(of.core_seconds) > 0.0);
    let is_weighted = split.knows_all(worked.map(|(account, _)| &account.model));
    let weight = |account: &Account| match split.per_core(&account.model) {
        Some(power) if is_weighted => power.get(),
        _ => 1.0,
    };
    let times: Vec<f64> = activity.values().map(|of| lawful(of.core_seconds)).collect();
    let weights: Vec<f64> = activity.keys().map(weight).collect();
    let heaviest = weights.iter().copied().fold(0.0, f64::max);
    let by_time = shares(times.iter().copied());
    // Each scaled to at most 1 first, so that the product of huge ones can't overflow.
    let longest = times.iter().copied().fold(0.0, f64::max);
    let by_draw = shares(
        times
            .iter()
            .zip(&weights)
            .map(|(time, weight)| if longest > 0.0 { (time / longest) * (weight / heaviest) } else { 0.0 }),
    );

    let mut attributed = Joules::ZERO;
    let by_account = activity
        .iter()
        .zip(by_time.into_iter().zip(by_draw))
        .map(|((account, of), (of_time, of_draw))| {
            let (shared, dynamic) = (shared * of_time, dynamic * of_draw);
            let energy = dynamic + shared;
            attributed += energy;
            let entry = AccountEntry {
                dynamic,
                shared,
                emissions: emissions(energy),
                rows: of.rows,
                requests: of.requests,
                core_seconds: lawful(of.core_seconds),
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

/// `value`, or zero where it is no amount at all.
fn lawful(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

/// Each of `parts` as a share of them all; all zero where they are. The largest is scaled to 1 first, so
/// that the sum of huge ones can't overflow.
fn shares(parts: impl Iterator<Item = f64>) -> Vec<f64> {
    let parts: Vec<f64> = parts.collect();
    let largest = parts.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 {
        return vec![0.0; parts.len()];
    }
    let sum: f64 = parts.iter().map(|part| part / largest).sum();
    parts.iter().map(|part| part / largest / sum).collect()
}
