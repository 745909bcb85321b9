//! Entries for tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wattle_core::carbon::CarbonAccounting;
use wattle_core::ledger::{Account, Activity, LedgerEntry, MeteredInterval, attribute};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::signal::{Quantity, SignalHead, SignalReading};
use wattle_core::time::Timestamp;
use wattle_core::units::{CarbonIntensity, Joules, Watts};

use crate::retention::Retention;
use crate::store::{LedgerOptions, LedgerStore, RunInfo};

/// A midnight, UTC: 2026-03-01.
pub(crate) const MIDNIGHT: u64 = 1_772_323_200;

/// A run that began at `started`, Unix seconds.
pub(crate) fn run_info(started: u64) -> RunInfo {
    RunInfo {
        started_unix: Duration::from_secs(started),
        host: Some("a-host".into()),
        device: "cpu".into(),
        cores: Some(4),
        accounting: accounting(),
    }
}

/// With a site overhead and a contract.
pub(crate) fn accounting() -> CarbonAccounting {
    CarbonAccounting {
        pue: 1.5,
        market: Some((CarbonIntensity::new(100.0), "a contract".into())),
        ..CarbonAccounting::default()
    }
}

/// A reading of a carbon intensity from `source`.
pub(crate) fn carbon(grams: f64, source: &str) -> SignalReading {
    SignalReading::configured(grams, &Arc::new(SignalHead::configured(Quantity::CarbonIntensity, source)))
}

/// The second that begins `second` seconds after the start of the run: 7 J, 2 W idle; of the other 5 J
/// three quarters for `heavy` and the rest for `light`, who answered 10 requests of 3 rows each.
pub(crate) fn entry(second: u64, carbon_intensity: Option<SignalReading>) -> LedgerEntry {
    entry_lasting(second, 1, carbon_intensity)
}

/// The like of [`entry`], `lasting` seconds long.
pub(crate) fn entry_lasting(
    second: u64,
    lasting: u64,
    carbon_intensity: Option<SignalReading>,
) -> LedgerEntry {
    let at = |second| Timestamp::from_duration(Duration::from_secs(second));
    let interval = MeteredInterval {
        start: at(second),
        end: at(second + lasting),
        energy: Joules::new(7.0) * lasting as f64,
        idle_power: Watts::new(2.0),
        own_share: None,
        provenance: Provenance::new(Basis::Modelled, "a model of power"),
    };
    let of = |core_seconds| Activity { core_seconds, rows: 30, requests: 10 };
    let heavy = Account { model: "heavy".into(), family: Some("weights".into()), class: Some("gold".into()) };
    let activity = BTreeMap::from([(heavy, of(0.75)), (Account::of_model("light".into()), of(0.25))]);
    attribute(&interval, &activity, carbon_intensity, &accounting())
}

/// Books `entries` in a run of its own that began at `started`, and waits for all that is due by then.
pub(crate) fn book(
    path: &Path,
    started: u64,
    retention: Retention,
    entries: impl IntoIterator<Item = LedgerEntry>,
) {
    let options = LedgerOptions { path: path.to_owned(), retention, replicate_to: None };
    let store = LedgerStore::open(&options, &run_info(started)).unwrap();
    entries.into_iter().for_each(|entry| store.append(entry));
    assert_eq!(store.flush(), 0);
}
