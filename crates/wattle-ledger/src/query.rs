//! Reads a ledger: whose energy, of which time, from which source.
//!
//! Seconds, minutes, hours and days are read together: every joule is in exactly one row. A row belongs
//! to the time in which it starts, so a range that begins and ends at UTC days is exact for all of time,
//! one at hours for as long as hours are kept. [`Answer::edges`] tells of rows that reach over an end.

mod period;
mod series;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row};
use wattle_core::carbon::CarbonAccounting;
use wattle_core::provenance::Basis;
use wattle_core::time::UnixTime;
use wattle_core::units::{CarbonIntensity, GramsCo2e, Joules, Watts};

use crate::error::LedgerError;
use crate::migrate;
use crate::schema::NANOS;
use crate::source::{Source, SourceColumns};

/// What to sum up, and by what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// From when on. `None`: from the first row on.
    pub from: Option<UnixTime>,
    /// Until when, that instant not included. `None`: to the last row.
    pub to: Option<UnixTime>,
    /// By what rows of the answer are told apart. Empty: one row for all.
    pub group_by: BTreeSet<GroupBy>,
    /// By which stretches of UTC time. `None`: one stretch for all.
    pub period: Option<Period>,
}

/// By what energy is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupBy {
    /// The model that answered.
    Model,
    /// The family that was asked.
    Family,
    /// The class that the request named.
    Class,
    /// The device of the run.
    Device,
    /// The run, from one start of a server to its end.
    Run,
    /// What the figures are known by.
    Source,
}

/// A stretch of UTC time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// From midnight to midnight, UTC.
    Day,
    /// A calendar month, UTC.
    Month,
}

/// From one instant until another, that one not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// From when on.
    pub from: UnixTime,
    /// Until when.
    pub to: UnixTime,
}

/// What a row is of. What was not asked to be told apart is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The period, when one was asked for; longer than asked where only coarser rows are left.
    pub period: Option<Span>,
    /// The model.
    pub model: Option<String>,
    /// The family. `None` also where none was asked.
    pub family: Option<String>,
    /// The class. `None` also where none was named.
    pub class: Option<String>,
    /// The device.
    pub device: Option<String>,
    /// The run, as in [`Run::run`].
    pub run: Option<i64>,
    /// What the figures are known by.
    pub source: Option<Arc<Source>>,
}

/// Emissions, with the energy that they are of: only energy whose intensity is known has any.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct KnownGrams {
    /// Emissions.
    pub grams: GramsCo2e,
    /// Energy that they are of, as metered at the device.
    pub energy: Joules,
}

/// What accounts drew.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountRow {
    /// What it is of.
    pub group: Group,
    /// What their own work drew.
    pub dynamic: Joules,
    /// Their part of what all share.
    pub shared: Joules,
    /// Emissions by the grid's intensity. `None`: known for nothing of it.
    pub location: Option<KnownGrams>,
    /// Emissions by the contract's. `None`: there was no contract, or nothing is known.
    pub market: Option<KnownGrams>,
    /// Rows answered.
    pub rows: u64,
    /// Requests answered.
    pub requests: u64,
    /// Core time, in seconds.
    pub core_seconds: f64,
    /// How the energy is known, the worst of all.
    pub basis: Basis,
    /// Everything that its figures are known by.
    pub sources: Vec<Arc<Source>>,
}

impl AccountRow {
    /// All energy of the accounts.
    pub fn energy(&self) -> Joules {
        self.dynamic + self.shared
    }
}

/// What devices drew, idle included. Its group has no model, family or class.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceRow {
    /// What it is of.
    pub group: Group,
    /// Energy metered.
    pub metered: Joules,
    /// The part of it that no request asked for.
    pub idle: Joules,
    /// Emissions of the metered energy by the grid's intensity.
    pub location: Option<KnownGrams>,
    /// The same by the contract's.
    pub market: Option<KnownGrams>,
    /// Emissions of the idle energy by the grid's intensity.
    pub idle_location: Option<KnownGrams>,
    /// The same by the contract's.
    pub idle_market: Option<KnownGrams>,
    /// Core time of all accounts, in seconds.
    pub core_seconds: f64,
    /// How long the server was metering: time with no row is in no sum.
    pub covered: Duration,
    /// Entries as booked that it stands for.
    pub entries: u64,
    /// Carbon intensity of the grid, weighted by energy.
    pub intensity: Option<IntensityRange>,
    /// The highest mean power of any entry as booked.
    pub power_max: Option<Watts>,
    /// How the energy is known, the worst of all.
    pub basis: Basis,
    /// Everything that its figures are known by.
    pub sources: Vec<Arc<Source>>,
}

/// Carbon intensity over some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntensityRange {
    /// Mean, weighted by energy.
    pub mean: CarbonIntensity,
    /// The lowest of any entry as booked.
    pub min: CarbonIntensity,
    /// The highest.
    pub max: CarbonIntensity,
}

/// What a query found, in order of time and names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// What accounts drew.
    pub accounts: Vec<AccountRow>,
    /// What devices drew: for each period, device, run and source asked for, once.
    pub devices: Vec<DeviceRow>,
    /// From the start of the first row counted to the end of the last. `None`: nothing was counted.
    pub counted: Option<Span>,
    /// Rows that reach over an end of the range asked for: counted whole where they start within it, not
    /// at all where they start before it.
    pub edges: Vec<Span>,
}

/// A run of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its number in this file.
    pub run: i64,
    /// Its name, unique among all ledgers.
    pub uid: String,
    /// When it began.
    pub started: UnixTime,
    /// Version of Wattle.
    pub version: String,
    /// Name of the machine. Empty: not recorded.
    pub host: String,
    /// The device that was metered.
    pub device: String,
    /// Cores that were given to inference. `None`: not recorded.
    pub cores: Option<u32>,
    /// How emissions were counted. `None`: not recorded, or by another version of Wattle.
    pub accounting: Option<CarbonAccounting>,
    /// The same as recorded: JSON.
    pub accounting_json: Option<String>,
    /// How many entries were booked.
    pub entries: u64,
}

/// A point of a plot over time: one row of the ledger, of whichever length.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesPoint {
    /// The time it stands for: the second as booked, or the minute, hour or day.
    pub span: Span,
    /// How long of that was metered.
    pub covered: Duration,
    /// The run it is of.
    pub run: i64,
    /// Mean power. `None`: no time was covered.
    pub power: Option<Watts>,
    /// Highest mean power of any entry as booked.
    pub power_max: Option<Watts>,
    /// The part of the mean power that no request asked for.
    pub idle_power: Option<Watts>,
    /// Carbon intensity of the grid.
    pub intensity: Option<IntensityRange>,
    /// What the figures are known by.
    pub source: Arc<Source>,
}

/// A ledger that is open for reading, in the state in which it was opened: whatever is asked of it fits
/// together. A server may write to it meanwhile.
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
}

impl Ledger {
    /// Opens the ledger at `path`. Changes none of its rows.
    ///
    /// # Errors
    ///
    /// When there is no such file, it is no ledger, or it is of another version of Wattle.
    pub fn open_read(path: &Path) -> Result<Self, LedgerError> {
        if !path.exists() {
            return Err(LedgerError::Missing { path: path.display().to_string() });
        }
        let failed = |error: rusqlite::Error| LedgerError::read(path, error);
        // Writable where it may be: what a killed server left half done is for the next one to undo, be
        // it a reader. Of its own accord it writes nothing.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
        connection.pragma_update(None, "query_only", "on").map_err(failed)?;
        // One transaction as long as it is open: what the server books or rolls up meanwhile is not seen by
        // halves. It begins with the look at the version.
        connection.execute_batch("BEGIN").map_err(failed)?;
        migrate::must_be_current(&connection, path)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Every run, the oldest first.
    ///
    /// # Errors
    ///
    /// When the file can't be read.
    pub fn runs(&self) -> Result<Vec<Run>, LedgerError> {
        read_runs(&self.connection).map_err(|error| self.failed(error))
    }

    /// Sums up what `query` asks for.
    ///
    /// # Errors
    ///
    /// When the file can't be read.
    pub fn totals(&self, query: &Query) -> Result<Answer, LedgerError> {
        totals::answer(&self.connection, &self.sources()?, query).map_err(|error| self.failed(error))
    }

    /// Every row that starts from `from` until `to`, in order of time: for plots.
    ///
    /// # Errors
    ///
    /// When the file can't be read.
    pub fn series(
        &self,
        from: Option<UnixTime>,
        to: Option<UnixTime>,
    ) -> Result<Vec<SeriesPoint>, LedgerError> {
        series::read(&self.connection, &self.sources()?, from, to).map_err(|error| self.failed(error))
    }

    /// The open file, for checks.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    fn sources(&self) -> Result<BTreeMap<i64, Arc<Source>>, LedgerError> {
        let columns = read_source_columns(&self.connection).map_err(|error| self.failed(error))?;
        let source = |(id, columns)| Ok((id, Arc::new(Source::from_columns(columns)?)));
        columns.into_iter().map(source).collect::<Result<_, String>>().map_err(|detail| self.failed(detail))
    }

    fn failed(&self, detail: impl ToString) -> LedgerError {
        LedgerError::read(&self.path, detail)
    }
}

fn read_runs(connection: &Connection) -> rusqlite::Result<Vec<Run>> {
    let read = |row: &Row| -> rusqlite::Result<Run> {
        let accounting_json: Option<String> = row.get("accounting")?;
        Ok(Run {
            run: row.get("run")?,
            uid: row.get("uid")?,
            started: UnixTime::from_secs(row.get::<_, i64>("started_unix_nanos")?.div_euclid(NANOS)),
            version: row.get("wattle_version")?,
            host: row.get("host")?,
            device: row.get("device")?,
            cores: row.get("cores")?,
            accounting: accounting_json.as_deref().and_then(|json| serde_json::from_str(json).ok()),
            accounting_json,
            entries: row.get::<_, i64>("next_number")?.max(0).unsigned_abs(),
        })
    };
    connection.prepare("SELECT * FROM run ORDER BY run")?.query_map([], read)?.collect()
}

fn read_source_columns(connection: &Connection) -> rusqlite::Result<Vec<(i64, SourceColumns)>> {
    let read = |row: &Row| {
        let mut columns = SourceColumns::default();
        for (index, column) in (1..).zip(&mut columns) {
            *column = row.get(index)?;
        }
        Ok((row.get(0)?, columns))
    };
    let query = "
        SELECT source, power_basis, power_source, carbon_source, zone, kind, scope, status, freshness
        FROM source";
    connection.prepare(query)?.query_map([], read)?.collect()
}

/// The nanoseconds between which a range lies; all of time where an end is not given.
fn nanos_between(from: Option<UnixTime>, to: Option<UnixTime>) -> (i64, i64) {
    let nanos = |at: UnixTime| at.as_secs().saturating_mul(NANOS);
    (from.map_or(i64::MIN, nanos), to.map_or(i64::MAX, nanos))
}
