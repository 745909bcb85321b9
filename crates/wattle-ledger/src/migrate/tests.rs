//! Tests of opening files of other versions.

use super::*;
use crate::query::{GroupBy, Ledger, Query};
use crate::store::LedgerStore;
use crate::testing::{MIDNIGHT, run_info};

/// The tables of version 1, and one run of two seconds: the carbon of the second is not known.
const VERSION_1: &str = "
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
INSERT INTO run VALUES (1, 1772323200.5, '0.1.0', 'cpu'), (2, 1772323300, '0.1.0', 'cpu');
INSERT INTO entry VALUES
    (1, 0, 0, 1000000000, 7, 2, 300, 0.25, 'measured', 'RAPL'),
    (1, 1, 1000000000, 2000000000, 9, 4, NULL, NULL, 'measured', 'RAPL');
INSERT INTO model_entry VALUES
    (1, 0, 'a', 4, 0.15, 30, 10, 0.5), (1, 0, 'b', 1, 0.05, 3, 1, 0.25), (1, 1, 'a', 5, NULL, 40, 20, 0.75);
";

fn version_1(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.execute_batch(VERSION_1).unwrap();
}

#[test]
fn a_file_of_version_1_is_brought_up_to_date_and_nothing_is_lost_or_made_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    version_1(&path);
    let error = Ledger::open_read(&path).err().unwrap().to_string();
    assert!(error.contains("schema version 1, expected 2"), "{error}");

    drop(LedgerStore::open(&path.clone().into(), &run_info(MIDNIGHT + 500)).unwrap());
    let ledger = Ledger::open_read(&path).unwrap();
    let runs = ledger.runs().unwrap();
    assert_eq!(runs.iter().map(|run| run.entries).collect::<Vec<_>>(), [2, 0, 0]);
    assert_eq!((runs[0].started.as_secs().unsigned_abs(), runs[0].cores), (MIDNIGHT, None));
    assert!(runs[0].accounting.is_none() && runs[2].accounting.is_some());
    assert!(runs[0].uid != runs[1].uid && runs[0].uid.len() == 32);

    let query = Query { group_by: [GroupBy::Model].into(), ..Query::default() };
    let answer = ledger.totals(&query).unwrap();
    let rows = answer.accounts.iter().map(|row| {
        let location = row.location.unwrap();
        let model = row.group.model.as_deref().unwrap();
        (model, row.energy().get(), location.grams.get(), location.energy.get(), row.requests, row.rows)
    });
    assert_eq!(rows.collect::<Vec<_>>(), [("a", 9.0, 0.15, 4.0, 30, 70), ("b", 1.0, 0.05, 1.0, 1, 3)]);
    let device = &answer.devices[0];
    assert_eq!((device.metered.get(), device.idle.get(), device.entries), (16.0, 6.0, 2));
    assert_eq!((device.market, device.location.unwrap().energy.get()), (None, 7.0));
    let told: Vec<String> = device.sources.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "power measured: RAPL; carbon intensity unknown",
            "power measured: RAPL; carbon intensity not recorded"
        ]
    );
    // Half a second after midnight, to the nanosecond.
    let start: i64 = ledger
        .connection()
        .query_row("SELECT min(start_unix_nanos) FROM entry", [], |row| row.get(0))
        .unwrap();
    assert_eq!(start, MIDNIGHT.cast_signed() * 1_000_000_000 + 500_000_000);
    let vacuum: i64 = ledger.connection().pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
    assert_eq!(vacuum, 2, "pages are given back after a migration too");
}

#[test]
fn a_migrated_file_has_the_tables_of_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (new, old) = (folder.path().join("new.sqlite"), folder.path().join("old.sqlite"));
    version_1(&old);
    let tables = |path: &Path| {
        let (connection, _lock) = open(path).unwrap();
        let broken: Option<String> =
            connection.query_row("PRAGMA foreign_key_check", [], |row| row.get(0)).ok();
        assert_eq!(broken, None);
        let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<Vec<(String, Option<String>)>, _>>().unwrap()
    };
    assert_eq!(tables(&new), tables(&old));
}

#[test]
fn a_migration_that_fails_leaves_version_1_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    version_1(&path);
    let connection = Connection::open(&path).unwrap();
    // In the way of a table of version 2: the migration fails in its middle.
    connection.execute_batch("CREATE VIEW part AS SELECT 1").unwrap();
    drop(connection);
    let error = LedgerStore::open(&path.clone().into(), &run_info(MIDNIGHT)).err().unwrap().to_string();
    assert!(error.contains("part"), "{error}");
    let connection = Connection::open(&path).unwrap();
    let count = |query: &str| connection.query_row::<i64, _, _>(query, [], |row| row.get(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM entry"), 2);
    assert_eq!(count("SELECT count(*) FROM model_entry"), 3);
    assert_eq!(count("SELECT user_version FROM pragma_user_version"), 0);
}

#[test]
fn a_file_of_a_later_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    drop(open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    for error in [LedgerStore::open(&path.clone().into(), &run_info(0)).err(), Ledger::open_read(&path).err()]
    {
        let error = error.unwrap().to_string();
        assert!(error.contains("schema version 3, expected at most 2"), "{error}");
    }
}

#[test]
fn a_database_of_something_else_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts.sqlite");
    for version in [0, 2, 9] {
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE IF NOT EXISTS customer (name TEXT)").unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        drop(connection);
        let error = LedgerStore::open(&path.clone().into(), &run_info(0)).err().unwrap().to_string();
        assert!(error.contains("no ledger: found the table customer"), "{error}");
    }
}
