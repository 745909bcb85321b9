//! Where the figures of a row are from: what told the power, and what told the carbon intensity.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wattle_core::ledger::LedgerEntry;
use wattle_core::provenance::Provenance;
use wattle_core::signal::{Freshness, PointStatus, Quantity, SignalHead};

/// What the figures of a row are known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// How the energy is known.
    pub power: Provenance,
    /// What told the carbon intensity. `None`: it was not known.
    pub carbon: Option<CarbonSource>,
}

/// What told a carbon intensity, and how well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarbonSource {
    /// Of where, of which kind, from whom.
    pub head: SignalHead,
    /// How the source came by it.
    pub status: PointStatus,
    /// How it stands to what the source last said.
    pub freshness: Freshness,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "power {}; carbon intensity ", self.power)?;
        match &self.carbon {
            Some(carbon) => carbon.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for CarbonSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head.in_words(self.status, self.freshness))
    }
}

/// A source as the columns of its table, in their order: `power_basis`, `power_source`, `carbon_source`,
/// `zone`, `kind`, `scope`, `status`, `freshness`. Text that is not told is empty.
pub(crate) type SourceColumns = [String; 8];

/// The columns of what an entry is known by. `is_carbon_known`: whether its emissions are.
pub(crate) fn columns(entry: &LedgerEntry, is_carbon_known: bool) -> SourceColumns {
    let power = [entry.provenance.basis.to_string(), entry.provenance.source.clone()];
    let carbon = entry.carbon_intensity.as_ref().filter(|_| is_carbon_known).map(|reading| {
        let head = &reading.head;
        [
            head.source.clone(),
            head.zone.clone().unwrap_or_default(),
            name(&head.kind),
            name(&head.scope),
            name(&reading.status),
            name(&reading.freshness),
        ]
    });
    let [basis, source] = power;
    let [carbon, zone, kind, scope, status, freshness] = carbon.unwrap_or_default();
    [basis, source, carbon, zone, kind, scope, status, freshness]
}

impl Source {
    /// What `columns` say; an error says which is none of the known words.
    pub(crate) fn from_columns(columns: SourceColumns) -> Result<Self, String> {
        let [basis, source, carbon, zone, kind, scope, status, freshness] = columns;
        let power = Provenance::new(word("power_basis", basis)?, source);
        // Whoever tells no status tells no intensity either: a source may well have an empty name.
        let carbon = if status.is_empty() {
            None
        } else {
            Some(CarbonSource {
                head: SignalHead {
                    quantity: Quantity::CarbonIntensity,
                    zone: Some(zone).filter(|zone| !zone.is_empty()),
                    kind: word("kind", kind)?,
                    scope: word("scope", scope)?,
                    source: carbon,
                },
                status: word("status", status)?,
                freshness: word("freshness", freshness)?,
            })
        };
        Ok(Self { power, carbon })
    }
}

/// The name that `value`, an enum without fields, has in files.
fn name<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_else(|| "unknown".into())
}

/// The value that has the name `text` in files.
fn word<T: DeserializeOwned>(column: &str, text: String) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| format!("table source, column {column}: {error}"))
}
