//! Checks that a ledger's books close, for tests and for whoever doubts.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row};

use crate::error::LedgerError;
use crate::query::Ledger;

/// What a ledger file holds of a run, or of all: entries, the highest number, and how far the books are
/// from closing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LedgerCheck {
    /// Entries as booked, those that rolled-up rows stand for included.
    pub entries: i64,
    /// The highest number; one less than `entries` when none is missing and none doubled.
    pub last_number: i64,
    /// Joules metered.
    pub metered_joules: f64,
    /// Joules attributed to models.
    pub attributed_joules: f64,
    /// Joules idle.
    pub idle_joules: f64,
    /// The largest distance between metered and attributed plus idle of any row, as a share of metered.
    pub worst_closure: f64,
    /// Requests answered.
    pub requests: i64,
    /// Seconds, not yet rolled up, that follow each other in number but don't touch in time.
    pub gaps: i64,
}

/// Reads the latest run of the ledger at `path`; `None` when it has no entry.
///
/// # Errors
///
/// When the file is no ledger of this version or can't be read.
pub fn check_latest_run(path: &Path) -> Result<Option<LedgerCheck>, LedgerError> {
    let ledger = Ledger::open_read(path)?;
    check(ledger.connection()).map_err(|error| LedgerError::read(path, error))
}

fn check(connection: &Connection) -> rusqlite::Result<Option<LedgerCheck>> {
    let query = "
        WITH latest AS (SELECT max(run) AS run FROM run),
            mine AS (SELECT entry.* FROM entry JOIN latest USING (run)),
            attributed AS (SELECT mine.entry, total(dynamic_joules + shared_joules) AS joules,
                    coalesce(sum(requests), 0) AS requests
                FROM mine LEFT JOIN part ON part.entry = mine.entry GROUP BY mine.entry)
        SELECT sum(entries), (SELECT next_number - 1 FROM run JOIN latest USING (run)), total(metered_joules),
            total(idle_joules), total(attributed.joules), sum(attributed.requests),
            max(abs(metered_joules - idle_joules - attributed.joules) / max(abs(metered_joules), 1e-9)),
            (SELECT count(*) FROM mine a JOIN mine b ON b.number = a.number + 1
                WHERE a.level_seconds = 1 AND b.level_seconds = 1
                    AND a.start_unix_nanos + a.covered_nanos <> b.start_unix_nanos)
        FROM mine JOIN attributed USING (entry)
        HAVING count(*) > 0";
    let read = |row: &Row| {
        Ok(LedgerCheck {
            entries: row.get(0)?,
            last_number: row.get(1)?,
            metered_joules: row.get(2)?,
            idle_joules: row.get(3)?,
            attributed_joules: row.get(4)?,
            requests: row.get(5)?,
            worst_closure: row.get(6)?,
            gaps: row.get(7)?,
        })
    };
    connection.query_row(query, [], read).optional()
}
