//! A copy of the ledger in PostgreSQL, for many servers together: the same tables, minute by minute.
//!
//! Every minute that is booked is noted in `unsent` in the same transaction. A thread sends the minutes
//! that are over, as their sums by run, source and account, and then strikes them off. What is sent stands
//! in place of what was sent of that minute before, so that sending twice changes nothing. While the
//! database can't be reached, minutes wait in the file, and are not rolled up to hours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use postgres::{Client, Config, NoTls, Transaction};
use rusqlite::{Connection, Row, params};

use crate::error::LedgerError;
use crate::schema::{self, Level, NANOS, VERSION};

/// How often it looks for minutes that are over.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long connecting may take, and how long the network may be silent.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Any number, the same for all servers: held while the tables are made.
const ADVISORY_LOCK: i64 = 0x0077_6174_746c_6500;

/// Sends a copy of a ledger, by a thread of its own, until it is dropped.
pub(crate) struct Replication {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Replication {
    /// Begins to send what is in the ledger at `path` to the database at `url`. The database need not be
    /// there yet.
    pub(crate) fn start(path: &Path, url: &str) -> Result<Self, LedgerError> {
        let replica = Replica::new(path, url)?;
        let (stop, stopped) = channel();
        let thread = thread::Builder::new()
            .name("ledger-copy".into())
            .spawn(move || run(replica, &stopped))
            .map_err(|error| LedgerError::open(path, error))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Replication {
    /// Sends what is left, once.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut replica: Replica, stopped: &Receiver<()>) {
    let mut is_reached = true;
    loop {
        let stops = stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout);
        match replica.send(stops) {
            Ok(_) if is_reached => {}
            Ok(minutes) => tracing::info!(minutes, "the copy of the ledger is sent again"),
            Err(error) if is_reached || stops => {
                tracing::warn!(error = %full(&error), "the copy of the ledger can't be sent: minutes wait in its file");
            }
            Err(_) => {}
        }
        is_reached = replica.client.is_some();
        if stops {
            return;
        }
    }
}

/// Why a minute was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicaError {
    /// PostgreSQL's part.
    #[error("PostgreSQL: {0}")]
    Postgres(#[from] postgres::Error),
    /// The file's part.
    #[error("the ledger's file: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The tables there are of another Wattle.
    #[error(
        "its tables have schema version {found}, expected {VERSION}: use a Wattle of that version, or another database"
    )]
    Version {
        /// What was found.
        found: i64,
    },
}

/// An error with what caused it: PostgreSQL's own words are in the cause.
fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// One ledger and where its copy goes.
pub(crate) struct Replica {
    sqlite: Connection,
    config: Config,
    client: Option<Client>,
    /// Numbers of the file to numbers of the copy.
    runs: BTreeMap<i64, i64>,
    sources: BTreeMap<i64, i64>,
    accounts: BTreeMap<i64, i64>,
}

impl Replica {
    pub(crate) fn new(path: &Path, url: &str) -> Result<Self, LedgerError> {
        let mut config: Config =
            url.parse().map_err(|error: postgres::Error| LedgerError::Replica { detail: full(&error) })?;
        config.connect_timeout(TIMEOUT).tcp_user_timeout(TIMEOUT).application_name("wattle");
        let failed = |error: rusqlite::Error| LedgerError::open(path, error);
        let sqlite = Connection::open(PathBuf::from(path)).map_err(failed)?;
        sqlite.busy_timeout(TIMEOUT).map_err(failed)?;
        let (runs, sources, accounts) = Default::default();
        Ok(Self { sqlite, config, client: None, runs, sources, accounts })
    }

    /// Sends every minute that is over, or `all`. Gives how many it sent.
    pub(crate) fn send(&mut self, all: bool) -> Result<usize, ReplicaError> {
        // The last is still going on, as far as the file tells.
        let query = "SELECT minute_unix_seconds, revision FROM unsent
            WHERE ? OR minute_unix_seconds < (SELECT max(minute_unix_seconds) FROM unsent)
            ORDER BY minute_unix_seconds";
        let minutes: Vec<(i64, i64)> = self
            .sqlite
            .prepare_cached(query)?
            .query_map([all], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (minute, revision) in &minutes {
            let sent = self.send_minute(*minute);
            if sent.is_err() {
                // A connection anew, and nothing taken for known that may have been rolled back.
                self.client = None;
                for numbers in [&mut self.runs, &mut self.sources, &mut self.accounts] {
                    numbers.clear();
                }
            }
            sent?;
            // Unless an entry came for it meanwhile: then it is sent again.
            self.sqlite
                .prepare_cached("DELETE FROM unsent WHERE minute_unix_seconds = ? AND revision = ?")?
                .execute([minute, revision])?;
        }
        Ok(minutes.len())
    }

    fn send_minute(&mut self, minute: i64) -> Result<(), ReplicaError> {
        let mut client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => connect(&self.config)?,
        };
        let state = self.sqlite.unchecked_transaction()?;
        let mut copy = client.transaction()?;
        let (from, to) = (minute * NANOS, (minute + Level::Minute.seconds()) * NANOS);
        let mut entries: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        let mut statement = state.prepare_cached(ENTRIES)?;
        let mut rows = statement.query(params![from, to])?;
        while let Some(row) = rows.next()? {
            let (run, source): (i64, i64) = (row.get(0)?, row.get(1)?);
            let copied_run = known(&mut self.runs, run, || copy_run(&state, &mut copy, run))?;
            let copied_source = known(&mut self.sources, source, || copy_source(&state, &mut copy, source))?;
            let id = put_entry(&mut copy, row, from, copied_run, copied_source)?;
            entries.insert((run, source), id);
        }
        let mut statement = state.prepare_cached(PARTS)?;
        let mut rows = statement.query(params![from, to])?;
        while let Some(row) = rows.next()? {
            let account: i64 = row.get(2)?;
            let copied = known(&mut self.accounts, account, || copy_account(&state, &mut copy, account))?;
            if let Some(entry) = entries.get(&(row.get(0)?, row.get(1)?)) {
                put_part(&mut copy, row, *entry, copied)?;
            }
        }
        copy.commit()?;
        self.client = Some(client);
        Ok(())
    }
}

/// A minute of the file by run and source, whether rolled up already or not.
const ENTRIES: &str = "
SELECT run, source, sum(covered_nanos), sum(entries), sum(metered_joules), sum(idle_joules), sum(location_grams),
    sum(market_grams),
    CASE WHEN sum(metered_joules) > 0
        THEN sum(carbon_intensity_g_per_kwh * metered_joules) / sum(metered_joules)
        ELSE avg(carbon_intensity_g_per_kwh) END,
    min(carbon_intensity_min_g_per_kwh), max(carbon_intensity_max_g_per_kwh), max(power_max_watts)
FROM entry WHERE level_seconds IN (1, 60) AND start_unix_nanos >= ? AND start_unix_nanos < ?
GROUP BY run, source";

/// The same of its parts, by account.
const PARTS: &str = "
SELECT run, source, account, sum(dynamic_joules), sum(shared_joules), sum(part.location_grams),
    sum(part.market_grams), sum(rows), sum(requests), sum(core_seconds)
FROM entry JOIN part USING (entry)
WHERE level_seconds IN (1, 60) AND start_unix_nanos >= ? AND start_unix_nanos < ?
GROUP BY run, source, account";

/// Connects, and makes the tables if they are not there.
fn connect(config: &Config) -> Result<Client, ReplicaError> {
    let mut client = config.connect(NoTls)?;
    let mut transaction = client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&ADVISORY_LOCK])?;
    transaction.batch_execute(schema::POSTGRES)?;
    let found: i64 = transaction.query_one("SELECT max(version) FROM ledger_version", &[])?.try_get(0)?;
    if found != VERSION {
        return Err(ReplicaError::Version { found });
    }
    transaction.commit()?;
    Ok(client)
}

/// The number in the copy of what has the number `id` in the file.
fn known(
    numbers: &mut BTreeMap<i64, i64>,
    id: i64,
    copy: impl FnOnce() -> Result<i64, ReplicaError>,
) -> Result<i64, ReplicaError> {
    if let Some(number) = numbers.get(&id) {
        return Ok(*number);
    }
    let number = copy()?;
    numbers.insert(id, number);
    Ok(number)
}

fn copy_run(file: &Connection, copy: &mut Transaction, run: i64) -> Result<i64, ReplicaError> {
    type Columns = (String, i64, String, String, String, Option<i64>, Option<String>);
    let columns: Columns = file.query_row(
        "SELECT uid, started_unix_nanos, wattle_version, host, device, cores, accounting FROM run WHERE run = ?",
        [run],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?)),
    )?;
    let (uid, started, version, host, device, cores, accounting) = &columns;
    copy.execute(
        "INSERT INTO run (uid, started_unix_nanos, wattle_version, host, device, cores, accounting)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (uid) DO NOTHING",
        &[uid, started, version, host, device, cores, accounting],
    )?;
    Ok(copy.query_one("SELECT run FROM run WHERE uid = $1", &[uid])?.try_get(0)?)
}

fn copy_source(file: &Connection, copy: &mut Transaction, source: i64) -> Result<i64, ReplicaError> {
    let columns: [String; 8] = file.query_row(
        "SELECT power_basis, power_source, carbon_source, zone, kind, scope, status, freshness FROM source
        WHERE source = ?",
        [source],
        texts,
    )?;
    let values: Vec<&(dyn postgres::types::ToSql + Sync)> = columns.iter().map(|text| text as _).collect();
    copy.execute(
        "INSERT INTO source (power_basis, power_source, carbon_source, zone, kind, scope, status, freshness)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        &values,
    )?;
    let found = copy.query_one(
        "SELECT source FROM source WHERE power_basis = $1 AND power_source = $2 AND carbon_source = $3
            AND zone = $4 AND kind = $5 AND scope = $6 AND status = $7 AND freshness = $8",
        &values,
    )?;
    Ok(found.try_get(0)?)
}

fn copy_account(file: &Connection, copy: &mut Transaction, account: i64) -> Result<i64, ReplicaError> {
    let columns: [String; 3] =
        file.query_row("SELECT model, family, class FROM account WHERE account = ?", [account], |row| {
            texts(row)
        })?;
    let values: Vec<&(dyn postgres::types::ToSql + Sync)> = columns.iter().map(|text| text as _).collect();
    copy.execute(
        "INSERT INTO account (model, family, class) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        &values,
    )?;
    let found = copy
        .query_one("SELECT account FROM account WHERE model = $1 AND family = $2 AND class = $3", &values)?;
    Ok(found.try_get(0)?)
}

/// The first columns of a row, all text.
fn texts<const N: usize>(row: &Row) -> rusqlite::Result<[String; N]> {
    let mut texts = std::array::from_fn(|_| String::new());
    for (index, text) in texts.iter_mut().enumerate() {
        *text = row.get(index)?;
    }
    Ok(texts)
}

fn put_entry(
    copy: &mut Transaction,
    row: &Row,
    start: i64,
    run: i64,
    source: i64,
) -> Result<i64, ReplicaError> {
    let statement = "
        INSERT INTO entry (level_seconds, start_unix_nanos, run, source, number, covered_nanos, entries,
            metered_joules, idle_joules, location_grams, market_grams, carbon_intensity_g_per_kwh,
            carbon_intensity_min_g_per_kwh, carbon_intensity_max_g_per_kwh, power_max_watts)
        VALUES (60, $1, $2, $3, 0, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        ON CONFLICT (level_seconds, start_unix_nanos, run, source, number) DO UPDATE SET
            covered_nanos = excluded.covered_nanos, entries = excluded.entries,
            metered_joules = excluded.metered_joules, idle_joules = excluded.idle_joules,
            location_grams = excluded.location_grams, market_grams = excluded.market_grams,
            carbon_intensity_g_per_kwh = excluded.carbon_intensity_g_per_kwh,
            carbon_intensity_min_g_per_kwh = excluded.carbon_intensity_min_g_per_kwh,
            carbon_intensity_max_g_per_kwh = excluded.carbon_intensity_max_g_per_kwh,
            power_max_watts = excluded.power_max_watts
        RETURNING entry";
    let (covered, entries): (i64, i64) = (row.get(2)?, row.get(3)?);
    let (metered, idle): (f64, f64) = (row.get(4)?, row.get(5)?);
    let mut rest: [Option<f64>; 6] = [None; 6];
    for (index, value) in (6..).zip(&mut rest) {
        *value = row.get(index)?;
    }
    let [location, market, mean, min, max, power] = rest;
    let values: [&(dyn postgres::types::ToSql + Sync); 13] = [
        &start, &run, &source, &covered, &entries, &metered, &idle, &location, &market, &mean, &min, &max,
        &power,
    ];
    Ok(copy.query_one(statement, &values)?.try_get(0)?)
}

fn put_part(copy: &mut Transaction, row: &Row, entry: i64, account: i64) -> Result<(), ReplicaError> {
    let statement = "
        INSERT INTO part (entry, account, dynamic_joules, shared_joules, location_grams, market_grams, rows,
            requests, core_seconds)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (entry, account) DO UPDATE SET
            dynamic_joules = excluded.dynamic_joules, shared_joules = excluded.shared_joules,
            location_grams = excluded.location_grams, market_grams = excluded.market_grams,
            rows = excluded.rows, requests = excluded.requests, core_seconds = excluded.core_seconds";
    let (dynamic, shared): (f64, f64) = (row.get(3)?, row.get(4)?);
    let (location, market): (Option<f64>, Option<f64>) = (row.get(5)?, row.get(6)?);
    let (rows, requests): (i64, i64) = (row.get(7)?, row.get(8)?);
    let core_seconds: f64 = row.get(9)?;
    copy.execute(
        statement,
        &[&entry, &account, &dynamic, &shared, &location, &market, &rows, &requests, &core_seconds],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
