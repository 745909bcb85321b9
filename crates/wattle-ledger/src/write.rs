//! Books entries, each exactly once: what is booked and what comes next is in one transaction.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use wattle_core::carbon::CarbonAccounting;
use wattle_core::ledger::{Account, LedgerEntry};
use wattle_core::time::Timestamp;

use crate::error::LedgerError;
use crate::migrate;
use crate::schema::Level;
use crate::source::{self, SourceColumns};

/// What a run is told by.
#[derive(Debug, Clone, PartialEq)]
pub struct RunInfo {
    /// Wall-clock time of its zero, since the Unix epoch.
    pub started_unix: Duration,
    /// Name of the machine. `None`: not known.
    pub host: Option<String>,
    /// The device that is metered.
    pub device: String,
    /// Cores given to inference. `None`: not known.
    pub cores: Option<u32>,
    /// How emissions are counted.
    pub accounting: CarbonAccounting,
}

/// An entry with its number within the run.
pub(crate) type Numbered = (i64, LedgerEntry);

/// Writes one run into a file that nobody else writes to.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    run: i64,
    started_unix_nanos: i64,
    accounts: BTreeMap<Account, i64>,
    sources: BTreeMap<SourceColumns, i64>,
    /// Whether minutes are noted that a copy elsewhere has not got.
    notes_unsent: bool,
    /// The latest end of any entry booked, in Unix nanoseconds.
    pub(crate) now: i64,
    /// Held as long as the file is written to.
    _lock: File,
}

impl Writer {
    /// Opens the file and begins a run in it.
    pub(crate) fn open(path: &Path, info: &RunInfo, notes_unsent: bool) -> Result<Self, LedgerError> {
        let (connection, lock) = migrate::open(path)?;
        let failed = |error: rusqlite::Error| LedgerError::open(path, error);
        if !notes_unsent {
            // Nobody waits for them any more.
            connection.execute("DELETE FROM unsent", []).map_err(failed)?;
        }
        let started_unix_nanos = i64::try_from(info.started_unix.as_nanos()).unwrap_or(i64::MAX);
        let accounting =
            serde_json::to_string(&info.accounting).map_err(|error| LedgerError::open(path, error))?;
        connection
            .execute(
                "INSERT INTO run (uid, started_unix_nanos, wattle_version, host, device, cores, accounting)
                VALUES (lower(hex(randomblob(16))), ?, ?, ?, ?, ?, ?)",
                params![
                    started_unix_nanos,
                    env!("CARGO_PKG_VERSION"),
                    info.host.as_deref().unwrap_or_default(),
                    info.device,
                    info.cores,
                    accounting
                ],
            )
            .map_err(failed)?;
        Ok(Self {
            run: connection.last_insert_rowid(),
            connection,
            started_unix_nanos,
            accounts: BTreeMap::new(),
            sources: BTreeMap::new(),
            notes_unsent,
            now: started_unix_nanos,
            _lock: lock,
        })
    }

    /// Books `entries`, in order of their numbers, all or none. Those that are booked already are passed
    /// over: an error does not tell for sure that a commit failed.
    pub(crate) fn book(&mut self, entries: &[Numbered]) -> rusqlite::Result<()> {
        let booked = self.try_book(entries);
        match &booked {
            Ok(now) => self.now = self.now.max(*now),
            Err(_) => {
                // Numbers that a rolled-back transaction gave out.
                self.accounts.clear();
                self.sources.clear();
            }
        }
        booked.map(|_| ())
    }

    /// Gives the latest end of the entries.
    fn try_book(&mut self, entries: &[Numbered]) -> rusqlite::Result<i64> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let next: i64 =
            transaction
                .query_row("SELECT next_number FROM run WHERE run = ?", [self.run], |row| row.get(0))?;
        let mut now = i64::MIN;
        for (number, entry) in entries {
            now = now.max(absolute(self.started_unix_nanos, entry.end));
            if *number < next {
                continue;
            }
            let start = absolute(self.started_unix_nanos, entry.start);
            insert(&transaction, (self.run, *number, start), entry, &mut self.accounts, &mut self.sources)?;
            if self.notes_unsent {
                let minute = start.div_euclid(Level::Minute.nanos()) * Level::Minute.seconds();
                transaction
                    .prepare_cached(
                        "INSERT INTO unsent VALUES (?, 0) ON CONFLICT DO UPDATE SET revision = revision + 1",
                    )?
                    .execute([minute])?;
            }
        }
        if let Some((last, _)) = entries.last() {
            transaction
                .prepare_cached("UPDATE run SET next_number = max(next_number, ?) WHERE run = ?")?
                .execute([last + 1, self.run])?;
        }
        transaction.commit()?;
        Ok(now)
    }
}

/// Whether every figure of `entry` is one: a file can keep no other.
pub(crate) fn is_finite(entry: &LedgerEntry) -> bool {
    let grams = |emissions: &Option<wattle_core::carbon::Emissions>| {
        emissions.is_none_or(|of| {
            of.location.get().is_finite() && of.market.is_none_or(|market| market.get().is_finite())
        })
    };
    entry.metered.get().is_finite()
        && entry.idle.get().is_finite()
        && entry.carbon_intensity.as_ref().is_none_or(|reading| reading.value.is_finite())
        && grams(&entry.emissions)
        && entry.by_account.values().all(|part| {
            part.dynamic.get().is_finite()
                && part.shared.get().is_finite()
                && part.core_seconds.is_finite()
                && grams(&part.emissions)
        })
}

/// `at` in Unix nanoseconds.
fn absolute(started: i64, at: Timestamp) -> i64 {
    started.saturating_add(i64::try_from(at.as_nanos()).unwrap_or(i64::MAX))
}

fn insert(
    transaction: &Transaction,
    (run, number, start): (i64, i64, i64),
    entry: &LedgerEntry,
    accounts: &mut BTreeMap<Account, i64>,
    sources: &mut BTreeMap<SourceColumns, i64>,
) -> rusqlite::Result<()> {
    // Grams are known of all of it or of nothing: so it is a question of its source, and sums are exact.
    let intensity = entry.carbon_intensity.as_ref().map(|reading| reading.value).filter(|_| {
        entry.emissions.is_some() && entry.by_account.values().all(|part| part.emissions.is_some())
    });
    let location = |of: Option<wattle_core::carbon::Emissions>| Some(intensity.and(of)?.location.get());
    let market = |of: Option<wattle_core::carbon::Emissions>| Some(intensity.and(of)?.market?.get());
    let covered = entry.end - entry.start;
    let source = source_id(transaction, source::columns(entry, intensity.is_some()), sources)?;
    let power = (!covered.is_zero()).then(|| (entry.metered / covered).get());
    transaction
        .prepare_cached(
            "INSERT INTO entry (level_seconds, start_unix_nanos, run, source, number, covered_nanos, entries,
                metered_joules, idle_joules, location_grams, market_grams, carbon_intensity_g_per_kwh,
                carbon_intensity_min_g_per_kwh, carbon_intensity_max_g_per_kwh, power_max_watts)
            VALUES (1, ?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9, ?10, ?10, ?10, ?11)",
        )?
        .execute(params![
            start,
            run,
            source,
            number,
            i64::try_from(covered.as_nanos()).unwrap_or(i64::MAX),
            entry.metered.get(),
            entry.idle.get(),
            location(entry.emissions),
            market(entry.emissions),
            intensity,
            power,
        ])?;
    let id = transaction.last_insert_rowid();
    let mut part = transaction.prepare_cached("INSERT INTO part VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    for (account, of) in &entry.by_account {
        part.execute(params![
            id,
            account_id(transaction, account, accounts)?,
            of.dynamic.get(),
            of.shared.get(),
            location(of.emissions),
            market(of.emissions),
            i64::try_from(of.rows).unwrap_or(i64::MAX),
            i64::try_from(of.requests).unwrap_or(i64::MAX),
            of.core_seconds,
        ])?;
    }
    Ok(())
}

fn account_id(
    transaction: &Transaction,
    account: &Account,
    known: &mut BTreeMap<Account, i64>,
) -> rusqlite::Result<i64> {
    if let Some(id) = known.get(account) {
        return Ok(*id);
    }
    let names = [
        account.model.as_str(),
        account.family.as_ref().map_or("", |family| family.as_str()),
        account.class.as_ref().map_or("", |class| class.as_str()),
    ];
    let found = transaction
        .query_row("SELECT account FROM account WHERE model = ? AND family = ? AND class = ?", names, |row| {
            row.get(0)
        })
        .optional()?;
    let id = match found {
        Some(id) => id,
        None => {
            transaction.execute("INSERT INTO account (model, family, class) VALUES (?, ?, ?)", names)?;
            transaction.last_insert_rowid()
        }
    };
    known.insert(account.clone(), id);
    Ok(id)
}

fn source_id(
    transaction: &Transaction,
    columns: SourceColumns,
    known: &mut BTreeMap<SourceColumns, i64>,
) -> rusqlite::Result<i64> {
    if let Some(id) = known.get(&columns) {
        return Ok(*id);
    }
    let values = || rusqlite::params_from_iter(columns.iter());
    let found = transaction
        .query_row(
            "SELECT source FROM source WHERE power_basis = ? AND power_source = ? AND carbon_source = ?
                AND zone = ? AND kind = ? AND scope = ? AND status = ? AND freshness = ?",
            values(),
            |row| row.get(0),
        )
        .optional()?;
    let id = match found {
        Some(id) => id,
        None => {
            transaction.execute(
                "INSERT INTO source (power_basis, power_source, carbon_source, zone, kind, scope, status, freshness)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values(),
            )?;
            transaction.last_insert_rowid()
        }
    };
    known.insert(columns, id);
    Ok(id)
}
