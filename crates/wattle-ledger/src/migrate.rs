//! Opens a ledger's file for writing: by one server at a time, and brought up to date.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::LedgerError;
use crate::schema::{self, VERSION};

/// Tables of version 1, which had no number for its version.
const TABLES_OF_1: [&str; 3] = ["run", "entry", "model_entry"];

/// From version 1 to 2, its tables having been renamed. Where that said nothing, nothing is said.
const FROM_1_TO_2: &str = "
INSERT INTO run
    SELECT run, lower(hex(randomblob(16))), CAST(round(started_unix_seconds * 1e9) AS INTEGER), wattle_version,
        '', device, NULL, NULL, (SELECT coalesce(max(number) + 1, 0) FROM entry_1 WHERE entry_1.run = run_1.run)
    FROM run_1;
INSERT INTO account (model, family, class) SELECT DISTINCT model, '', '' FROM model_entry_1;
INSERT INTO source (power_basis, power_source, carbon_source, zone, kind, scope, status, freshness)
    SELECT DISTINCT power_basis, power_source, '', '', '', '', '', '' FROM entry_1
    WHERE carbon_intensity_g_per_kwh IS NULL OR carbon_grams IS NULL
    UNION ALL
    SELECT DISTINCT power_basis, power_source, 'not recorded', '', 'unknown', 'unknown', 'unknown', 'fresh'
    FROM entry_1 WHERE carbon_intensity_g_per_kwh IS NOT NULL AND carbon_grams IS NOT NULL;
INSERT INTO entry (level_seconds, start_unix_nanos, run, source, number, covered_nanos, entries, metered_joules,
        idle_joules, location_grams, market_grams, carbon_intensity_g_per_kwh, carbon_intensity_min_g_per_kwh,
        carbon_intensity_max_g_per_kwh, power_max_watts)
    SELECT 1, started_unix_nanos + start_nanos, run, source, number, end_nanos - start_nanos, 1, metered_joules,
        idle_joules, grams, NULL, intensity, intensity, intensity,
        CASE WHEN end_nanos > start_nanos THEN metered_joules * 1e9 / (end_nanos - start_nanos) END
    FROM (SELECT *, iif(is_known, carbon_grams, NULL) AS grams,
            iif(is_known, carbon_intensity_g_per_kwh, NULL) AS intensity
        FROM (SELECT *, carbon_intensity_g_per_kwh IS NOT NULL AND carbon_grams IS NOT NULL AS is_known FROM entry_1))
    JOIN run USING (run) JOIN source USING (power_basis, power_source)
    WHERE is_known = (status <> '');
INSERT INTO part
    SELECT entry.entry, account, energy_joules, 0, iif(entry.location_grams IS NULL, NULL, carbon_grams), NULL, rows,
        requests, core_seconds
    FROM model_entry_1 JOIN entry USING (run, number) JOIN account USING (model);
DROP TABLE model_entry_1;
DROP TABLE entry_1;
DROP TABLE run_1;
";

/// Opens the file at `path` for writing, makes its tables or brings them up to date. Nobody else can,
/// until the file that comes with the connection is closed: also by the end of the process.
pub(crate) fn open(path: &Path) -> Result<(Connection, File), LedgerError> {
    let lock = lock(path)?;
    let failed = |error: rusqlite::Error| LedgerError::open(path, error);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    let found = version(&connection, path, LedgerError::open)?;
    prepare(&mut connection, found).map_err(failed)?;
    Ok((connection, lock))
}

/// An error unless the file has the tables of today. For readers, who have no `--no-ledger`.
pub(crate) fn must_be_current(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    match version(connection, path, LedgerError::read)? {
        Some(VERSION) => Ok(()),
        Some(found) => Err(LedgerError::Earlier { path: path.display().to_string(), found, known: VERSION }),
        None => Err(LedgerError::Missing { path: path.display().to_string() }),
    }
}

/// The version of the tables, at most [`VERSION`]; `None` of a file without any. `failed` makes the error of
/// a file that can't be read.
fn version(
    connection: &Connection,
    path: &Path,
    failed: fn(&Path, rusqlite::Error) -> LedgerError,
) -> Result<Option<i64>, LedgerError> {
    let failed = |error: rusqlite::Error| failed(path, error);
    let shown = || path.display().to_string();
    let version: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let tables: Vec<String> = connection
        .prepare(query)
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .map_err(failed)?;
    let has_run = tables.iter().any(|table| table == "run");
    match version {
        0 => match tables.iter().find(|table| !TABLES_OF_1.contains(&table.as_str())) {
            Some(table) => Err(LedgerError::NotALedger { path: shown(), table: table.clone() }),
            None => Ok((!tables.is_empty()).then_some(1)),
        },
        _ if !has_run => Err(LedgerError::NotALedger {
            path: shown(),
            table: tables.into_iter().next().unwrap_or_else(|| "none".into()),
        }),
        1..=VERSION => Ok(Some(version)),
        _ => Err(LedgerError::Later { path: shown(), found: version, known: VERSION }),
    }
}

fn prepare(connection: &mut Connection, found: Option<i64>) -> rusqlite::Result<()> {
    if found.is_none() {
        // Only a file without tables takes it without being copied.
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    // Each booked second is on the disk before the next: power may be cut at any time.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", "on")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    // A minute of 60 accounts fits, so that a roll-up spills nothing.
    connection.pragma_update(None, "cache_size", -16_384)?;
    if found != Some(VERSION) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if found == Some(1) {
            for table in TABLES_OF_1 {
                transaction.execute_batch(&format!("ALTER TABLE {table} RENAME TO {table}_1"))?;
            }
        }
        transaction.execute_batch(schema::SQLITE)?;
        if found == Some(1) {
            transaction.execute_batch(FROM_1_TO_2)?;
        }
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    let auto_vacuum: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
    if auto_vacuum == 0 {
        // Once, after a migration: the copy gives pages back ever after.
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
        connection.execute_batch("VACUUM")?;
    }
    Ok(())
}

/// Locks a file beside the ledger. Not the ledger itself: SQLite has locks of its own on that, and closing
/// any handle of the file would drop them.
fn lock(path: &Path) -> Result<File, LedgerError> {
    let mut name: OsString = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).into();
    name.push("-lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(name))
        .map_err(|error| LedgerError::open(path, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse { path: path.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(LedgerError::open(path, error)),
    }
}

#[cfg(test)]
mod tests;
