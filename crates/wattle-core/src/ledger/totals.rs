//! Sums of ledger entries. A sum says for how much of its energy the carbon is known.

use std::collections::BTreeMap;

use serde::Serialize;

use super::LedgerEntry;
use crate::carbon::Emissions;
use crate::id::ModelName;
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
    pub by_model: BTreeMap<ModelName, ModelTotals>,
    /// Emissions of [`carbon_known_for`](Self::carbon_known_for); `None` when no intensity was known.
    #[serde(rename = "carbon_grams")]
    pub carbon: Option<GramsCo2e>,
    /// The metered energy whose carbon is known. Less than `metered`: the emissions are a part only.
    #[serde(rename = "carbon_known_for_joules")]
    pub carbon_known_for: Joules,
    /// The worst basis of any entry: the sum is known no better.
    pub basis: Option<Basis>,
}

/// One model's entries, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ModelTotals {
    /// Energy attributed to the model.
    #[serde(rename = "energy_joules")]
    pub energy: Joules,
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
    /// Core time its batches took, in seconds.
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
            let total = self.by_model.entry(account.model.clone()).or_default();
            total.energy += of.energy();
            total.rows += of.rows;
            total.requests += of.requests;
            total.core_seconds += of.core_seconds;
            add_carbon(&mut total.carbon, &mut total.carbon_known_for, of.emissions, of.energy());
        }
    }
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
