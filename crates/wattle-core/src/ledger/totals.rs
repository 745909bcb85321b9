//! Sums of ledger entries. A sum says for how much of its energy the carbon is known.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Account, AccountEntry, LedgerEntry};
use crate::carbon::Emissions;
use crate::id::{FamilyName, ModelName, RequestClass};
use crate::provenance::Basis;
use crate::time::Timestamp;
use crate::units::{GramsCo2e, Joules};

/// Entries of the ledger, added up.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Earliest start of an entry; `None` before the first.
    #[serde(rename = "start_nanos")]
    pub start: Option<Timestamp>,
    /// Latest end of an entry.
    #[serde(rename = "end_nanos")]
    pub end: Option<Timestamp>,
    /// Entries added.
    pub entries: u64,
    /// Energy drawn.
    #[serde(rename = "metered_joules")]
    pub metered: Joules,
    /// Idle energy, and everything that no request asked for.
    #[serde(rename = "idle_joules")]
    pub idle: Joules,
    /// Each model that did something.
    pub by_model: BTreeMap<ModelName, AccountTotals>,
    /// Each family that was asked something. What was asked of models by their own names is not here.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_family: BTreeMap<FamilyName, AccountTotals>,
    /// Each class that requests named. What named none is not here.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_class: BTreeMap<RequestClass, AccountTotals>,
    /// Each account: the three of them together. Not written, as an account is no key of JSON.
    #[serde(skip)]
    pub by_account: BTreeMap<Account, AccountTotals>,
    /// Emissions of [`carbon_known_for`](Self::carbon_known_for); `None` when no intensity was known.
    #[serde(rename = "carbon_grams")]
    pub carbon: Option<GramsCo2e>,
    /// The metered energy whose carbon is known. Less than `metered`: the emissions are a part only.
    #[serde(rename = "carbon_known_for_joules")]
    pub carbon_known_for: Joules,
    /// The worst basis of any entry: the sum is known no better.
    pub basis: Option<Basis>,
}

/// The entries of one model, family, class or account, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct AccountTotals {
    /// Energy attributed to it.
    #[serde(rename = "energy_joules")]
    pub energy: Joules,
    /// The part of it that the parts that all share drew.
    #[serde(rename = "shared_joules")]
    pub shared: Joules,
    /// Emissions of [`carbon_known_for`](Self::carbon_known_for); `None` when no intensity was known.
    #[serde(rename = "carbon_grams")]
    pub carbon: Option<GramsCo2e>,
    /// The attributed energy whose carbon is known.
    #[serde(rename = "carbon_known_for_joules")]
    pub carbon_known_for: Joules,
    /// Rows it answered.
    pub rows: u64,
    /// Requests it answered.
    pub requests: u64,
    /// Core time of its rows' part of their batches, in seconds.
    pub core_seconds: f64,
}

impl Totals {
    /// Adds one entry.
    pub fn add(&mut self, entry: &LedgerEntry) {
        self.start = Some(self.start.map_or(entry.start, |start| start.min(entry.start)));
        self.end = self.end.max(Some(entry.end));
        self.entries += 1;
        self.metered += entry.metered;
        self.idle += entry.idle;
        self.basis = self.basis.max(Some(entry.provenance.basis));
        add_carbon(&mut self.carbon, &mut self.carbon_known_for, entry.emissions, entry.metered);
        for (account, of) in &entry.by_account {
            self.by_model.entry(account.model.clone()).or_default().add(of);
            if let Some(family) = &account.family {
                self.by_family.entry(family.clone()).or_default().add(of);
            }
            if let Some(class) = &account.class {
                self.by_class.entry(class.clone()).or_default().add(of);
            }
            self.by_account.entry(account.clone()).or_default().add(of);
        }
    }

    /// Energy attributed to all accounts together.
    pub fn attributed(&self) -> Joules {
        self.by_model.values().map(|model| model.energy).sum()
    }

    /// Whether the books close.
    pub fn closure(&self) -> Closure {
        let (metered, attributed, idle) = (self.metered, self.attributed(), self.idle);
        Closure { metered, attributed, idle, difference: metered - (attributed + idle) }
    }
}

impl AccountTotals {
    fn add(&mut self, entry: &AccountEntry) {
        self.energy += entry.energy();
        self.shared += entry.shared;
        self.rows += entry.rows;
        self.requests += entry.requests;
        self.core_seconds += entry.core_seconds;
        add_carbon(&mut self.carbon, &mut self.carbon_known_for, entry.emissions, entry.energy());
    }
}

/// Whether the books close: metered = attributed + idle, up to the rounding of sums.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Closure {
    /// Energy drawn.
    #[serde(rename = "metered_joules")]
    pub metered: Joules,
    /// Energy attributed to all accounts together.
    #[serde(rename = "attributed_joules")]
    pub attributed: Joules,
    /// Idle energy, and everything that no request asked for.
    #[serde(rename = "idle_joules")]
    pub idle: Joules,
    /// What of the metered energy is in neither.
    #[serde(rename = "difference_joules")]
    pub difference: Joules,
}

fn add_carbon(
    total: &mut Option<GramsCo2e>,
    known_for: &mut Joules,
    emissions: Option<Emissions>,
    energy: Joules,
) {
    if let Some(emissions) = emissions {
        *total = Some(total.unwrap_or_default() + emissions.location);
        *known_for += energy;
    }
}

impl<'a> FromIterator<&'a LedgerEntry> for Totals {
    fn from_iter<I: IntoIterator<Item = &'a LedgerEntry>>(entries: I) -> Self {
        let mut totals = Self::default();
        for entry in entries {
            totals.add(entry);
        }
        totals
    }
}
