//! Keeps the ledger in an SQLite file that survives a killed server.
//!
//! Each entry is one transaction with a number of its own within its run, so that none is half
//! written or written twice. Writing has a thread of its own: a slow disk delays no decision.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use wattle_core::ledger::LedgerEntry;
use wattle_core::time::Timestamp;

/// Entries kept in memory while the file can't be written: an hour of them.
const MAX_BACKLOG: usize = 3600;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS run (
    run INTEGER PRIMARY KEY,
    started_unix_seconds REAL NOT NULL,
    wattle_version TEXT NOT NULL,
    device TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS entry (
    run INTEGER NOT NULL REFERENCES run,
    number INTEGER NOT NULL,
    start_nanos INTEGER NOT NULL,
    end_nanos INTEGER NOT NULL,
    metered_joules REAL NOT NULL,
    idle_joules REAL NOT NULL,
    carbon_intensity_g_per_kwh REAL,
    carbon_grams REAL,
    power_basis TEXT NOT NULL,
    power_source TEXT NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS model_entry (
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,
    model TEXT NOT NULL,
    energy_joules REAL NOT NULL,
    carbon_grams REAL,
    rows INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    core_seconds REAL NOT NULL,
    PRIMARY KEY (run, number, model),
    FOREIGN KEY (run, number) REFERENCES entry
) STRICT, WITHOUT ROWID;
";

/// The ledger file could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to open the ledger {path}: {detail}; name another file with --ledger, or leave it out with --no-ledger"
)]
pub struct LedgerStoreError {
    /// Which file.
    pub path: String,
    /// What the system or SQLite said.
    pub detail: String,
}

/// An open ledger file. Entries given to it are written in order, by its own thread.
pub struct LedgerStore {
    sender: Option<Sender<LedgerEntry>>,
    thread: Option<JoinHandle<()>>,
}

impl LedgerStore {
    /// Opens or makes the file at `path` and begins a run in it.
    pub fn open(path: &Path, started_unix: Duration, device: &str) -> Result<Self, LedgerStoreError> {
        let failed = |detail: String| LedgerStoreError { path: path.display().to_string(), detail };
        let connection = connect(path).map_err(|error| failed(error.to_string()))?;
        let run = begin_run(&connection, started_unix, device).map_err(|error| failed(error.to_string()))?;
        let (sender, receiver) = channel();
        let thread = thread::Builder::new()
            .name("ledger".into())
            .spawn(move || keep(connection, run, &receiver))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Hands over an entry; returns at once.
    pub fn append(&self, entry: LedgerEntry) {
        if let Some(sender) = &self.sender {
            // The receiver lives until this store is dropped.
            let _ = sender.send(entry);
        }
    }
}

impl Drop for LedgerStore {
    /// Waits until every entry handed over is written.
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ledger's thread panicked; its last entries may be missing");
        }
    }
}

/// Opens a ledger file that may be in use.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // With a write-ahead log a killed process loses nothing that was committed.
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", "on")?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn begin_run(connection: &Connection, started_unix: Duration, device: &str) -> rusqlite::Result<i64> {
    connection.execute(
        "INSERT INTO run (started_unix_seconds, wattle_version, device) VALUES (?, ?, ?)",
        params![started_unix.as_secs_f64(), env!("CARGO_PKG_VERSION"), device],
    )?;
    Ok(connection.last_insert_rowid())
}

/// Writes what comes until nobody can send any more. What can't be written is kept and tried again.
fn keep(mut connection: Connection, run: i64, receiver: &Receiver<LedgerEntry>) {
    let mut backlog: Vec<LedgerEntry> = Vec::new();
    let mut number = 0;
    while let Ok(entry) = receiver.recv() {
        backlog.push(entry);
        backlog.extend(receiver.try_iter());
        match write(&mut connection, run, number, &backlog) {
            Ok(()) => {
                number += backlog.len() as i64;
                backlog.clear();
            }
            Err(error) => {
                tracing::error!(%error, waiting = backlog.len(), "ledger entries could not be written, will try again");
                if backlog.len() > MAX_BACKLOG {
                    tracing::error!("an hour of ledger entries waits: the oldest are dropped");
                    backlog.drain(..backlog.len() - MAX_BACKLOG);
                }
            }
        }
    }
    if !backlog.is_empty()
        && let Err(error) = write(&mut connection, run, number, &backlog)
    {
        tracing::error!(%error, lost = backlog.len(), "ledger entries are lost");
    }
}

/// Writes `entries`, numbered from `number` on, all or none.
fn write(
    connection: &mut Connection,
    run: i64,
    number: i64,
    entries: &[LedgerEntry],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for (number, entry) in (number..).zip(entries) {
        insert(&transaction, run, number, entry)?;
    }
    transaction.commit()
}

fn insert(transaction: &Transaction, run: i64, number: i64, entry: &LedgerEntry) -> rusqlite::Result<()> {
    let nanos = |at: Timestamp| i64::try_from(at.as_nanos()).unwrap_or(i64::MAX);
    transaction.prepare_cached("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?.execute(
        params![
            run,
            number,
            nanos(entry.start),
            nanos(entry.end),
            entry.metered.get(),
            entry.idle.get(),
            entry.carbon_intensity.as_ref().map(|reading| reading.value),
            entry.emissions.map(|of| of.location.get()),
            entry.provenance.basis.to_string(),
            entry.provenance.source,
        ],
    )?;
    let mut model_entry =
        transaction.prepare_cached("INSERT INTO model_entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
    for (account, part) in &entry.by_account {
        model_entry.execute(params![
            run,
            number,
            account.model.as_str(),
            part.energy().get(),
            part.emissions.map(|of| of.location.get()),
            i64::try_from(part.rows).unwrap_or(i64::MAX),
            i64::try_from(part.requests).unwrap_or(i64::MAX),
            part.core_seconds,
        ])?;
    }
    Ok(())
}

/// What a ledger file holds of its latest run, for checks: entries, the highest number, and how far
/// the books are from closing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LedgerCheck {
    /// Entries of the run.
    pub entries: i64,
    /// Highest number; one less than `entries` when none is missing.
    pub last_number: i64,
    /// Joules metered.
    pub metered_joules: f64,
    /// Joules attributed to models.
    pub attributed_joules: f64,
    /// Joules idle.
    pub idle_joules: f64,
    /// Requests answered.
    pub requests: i64,
    /// Pairs of entries that follow each other but don't touch in time.
    pub gaps: i64,
}

/// Reads the latest run of the ledger at `path`; `None` when it has no run.
pub fn check_latest_run(path: &Path) -> Result<Option<LedgerCheck>, LedgerStoreError> {
    let failed = |error: rusqlite::Error| LedgerStoreError {
        path: path.display().to_string(),
        detail: error.to_string(),
    };
    let connection = connect(path).map_err(failed)?;
    let query = "
        SELECT count(*), coalesce(max(number), -1), total(metered_joules), total(idle_joules),
            (SELECT total(energy_joules) FROM model_entry WHERE run = latest.run),
            (SELECT coalesce(sum(requests), 0) FROM model_entry WHERE run = latest.run),
            (SELECT count(*) FROM entry a JOIN entry b ON b.run = a.run AND b.number = a.number + 1
                WHERE a.run = latest.run AND a.end_nanos <> b.start_nanos)
        FROM (SELECT max(run) AS run FROM run) latest JOIN entry ON entry.run = latest.run
        GROUP BY latest.run";
    let read = |row: &rusqlite::Row| {
        Ok(LedgerCheck {
            entries: row.get(0)?,
            last_number: row.get(1)?,
            metered_joules: row.get(2)?,
            idle_joules: row.get(3)?,
            attributed_joules: row.get(4)?,
            requests: row.get(5)?,
            gaps: row.get(6)?,
        })
    };
    connection.query_row(query, [], read).optional().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use wattle_core::carbon::CarbonAccounting;
    use wattle_core::ledger::{Account, Activity, MeteredInterval, attribute};
    use wattle_core::provenance::{Basis, Provenance};
    use wattle_core::signal::{Quantity, SignalHead, SignalReading};
    use wattle_core::units::{Joules, Watts};

    fn entry(second: u64) -> LedgerEntry {
        let at = |second| Timestamp::from_duration(Duration::from_secs(second));
        let interval = MeteredInterval {
            start: at(second),
            end: at(second + 1),
            energy: Joules::new(7.0),
            idle_power: Watts::new(2.0),
            own_share: Some(0.5),
            provenance: Provenance::new(Basis::Assumed, "a test"),
        };
        let activity = Activity { core_seconds: 0.5, rows: 30, requests: 10 };
        let head = Arc::new(SignalHead::configured(Quantity::CarbonIntensity, "a test"));
        attribute(
            &interval,
            &BTreeMap::from([(Account::of_model("m".into()), activity)]),
            Some(SignalReading::configured(300.0, &head)),
            &CarbonAccounting::default(),
        )
    }

    #[test]
    fn what_is_appended_is_there_after_the_store_is_closed_and_the_books_close() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        for run in 1..=2 {
            let store = LedgerStore::open(&path, Duration::ZERO, "cpu").unwrap();
            (0..5 * run).for_each(|second| store.append(entry(second)));
        }
        let check = check_latest_run(&path).unwrap().unwrap();
        assert_eq!((check.entries, check.last_number, check.requests, check.gaps), (10, 9, 100, 0));
        assert!((check.metered_joules - 70.0).abs() < 1e-9);
        assert!((check.attributed_joules + check.idle_joules - check.metered_joules).abs() < 1e-9);
    }

    #[test]
    fn a_file_that_is_no_ledger_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "not a database, but long enough to be looked at as one".repeat(40)).unwrap();
        let error = LedgerStore::open(&path, Duration::ZERO, "cpu").err().unwrap().to_string();
        assert!(error.contains("notes.txt") && error.contains("--ledger"), "{error}");
    }
}
