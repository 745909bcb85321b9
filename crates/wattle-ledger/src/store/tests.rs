//! Tests of the store as servers use it.

use super::*;
use crate::check::check_latest_run;
use crate::query::{Ledger, Query};
use crate::testing::{MIDNIGHT, book, carbon, entry, run_info};

#[test]
fn what_is_appended_is_there_after_the_store_is_closed_and_the_books_close() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    for run in 1..=2 {
        let store = LedgerStore::open(&path.clone().into(), &run_info(MIDNIGHT)).unwrap();
        (0..5 * run).for_each(|second| store.append(entry(second, Some(carbon(300.0, "a test")))));
    }
    let check = check_latest_run(&path).unwrap().unwrap();
    assert_eq!((check.entries, check.last_number, check.requests, check.gaps), (10, 9, 200, 0));
    assert!((check.metered_joules - 70.0).abs() < 1e-9);
    assert!((check.attributed_joules + check.idle_joules - check.metered_joules).abs() < 1e-9);
    assert!(check.worst_closure < 1e-12);
}

#[test]
fn a_file_that_is_no_ledger_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "not a database, but long enough to be looked at as one".repeat(40)).unwrap();
    let error = LedgerStore::open(&path.into(), &run_info(0)).err().unwrap().to_string();
    assert!(error.contains("notes.txt") && error.contains("--ledger"), "{error}");
}

#[test]
fn a_file_that_another_server_writes_to_is_refused_until_that_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let options = LedgerOptions::from(folder.path().join("ledger.sqlite"));
    let first = LedgerStore::open(&options, &run_info(0)).unwrap();
    let error = LedgerStore::open(&options, &run_info(0)).err().unwrap();
    assert!(matches!(error, LedgerError::InUse { .. }), "{error}");
    drop(first);
    LedgerStore::open(&options, &run_info(0)).unwrap();
}

#[test]
fn a_run_tells_how_emissions_were_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    book(&path, MIDNIGHT, Retention::default(), [entry(0, None)]);
    let ledger = Ledger::open_read(&path).unwrap();
    let [run] = ledger.runs().unwrap().try_into().unwrap();
    assert_eq!((run.host.as_str(), run.device.as_str(), run.cores), ("a-host", "cpu", Some(4)));
    assert_eq!(run.accounting, Some(crate::testing::accounting()));
    assert_eq!(run.started.as_secs().unsigned_abs(), MIDNIGHT);
}

#[test]
fn an_entry_that_is_no_number_is_lost_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut broken = entry(1, None);
    broken.metered = wattle_core::units::Joules::new(f64::NAN);
    book(&path, MIDNIGHT, Retention::default(), [entry(0, None), broken, entry(2, None)]);
    let check = check_latest_run(&path).unwrap().unwrap();
    // The number that is missing tells of it.
    assert_eq!((check.entries, check.last_number), (2, 2));
}

#[test]
fn what_can_not_be_written_is_kept_and_written_once_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let writer = Writer::open(&path, &run_info(MIDNIGHT), false).unwrap();
    let mut keeper = Keeper::new(writer, Retention::default());
    keeper.take(Message::Entry(entry(0, None)));
    keeper.write();
    // Any write fails from here on, as on a full disk.
    keeper.writer.connection.pragma_update(None, "query_only", "on").unwrap();
    (1..=3).for_each(|second| keeper.take(Message::Entry(entry(second, None))));
    keeper.write();
    assert_eq!(keeper.backlog.len(), 3);
    keeper.writer.connection.pragma_update(None, "query_only", "off").unwrap();
    // One of them was committed though an error was told: it is not booked again.
    let again = keeper.backlog.clone();
    keeper.writer.book(&again[..1]).unwrap();
    keeper.write();
    assert_eq!(keeper.backlog.len(), 0);
    drop(keeper);
    let check = check_latest_run(&path).unwrap().unwrap();
    assert_eq!((check.entries, check.last_number, check.gaps), (4, 3, 0));
    let answer = Ledger::open_read(&path).unwrap().totals(&Query::default()).unwrap();
    assert_eq!(answer.devices[0].entries, 4);
}
