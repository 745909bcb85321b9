//! A writer that is killed at any instant loses no entry that it told of as booked, and doubles none.
//!
//! The writer is this very program, started again and killed (SIGKILL) while it books and rolls up as fast
//! as it can. Entry k of a run has k joules and k² core seconds, exact in binary, so that count, sum and
//! sum of squares tell of any entry that is missing, doubled or torn, on whichever level it is by then.
//!
//! `WATTLE_KILLS` sets how many are killed; 100 unless set.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail so, and its child prints")]

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wattle_core::carbon::{CarbonAccounting, Emissions};
use wattle_core::ledger::{Account, AccountEntry, LedgerEntry};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::signal::{Quantity, SignalHead, SignalReading};
use wattle_core::time::Timestamp;
use wattle_core::units::{GramsCo2e, Joules};
use wattle_ledger::query::{GroupBy, Ledger, Query};
use wattle_ledger::store::{LedgerOptions, LedgerStore, RunInfo};
use wattle_ledger::{LedgerError, Retention};

/// 2026-03-01 00:00 UTC.
const MIDNIGHT: u64 = 1_772_323_200;
/// Lengths of entries in seconds, over and over: an hour of a minute of one and a minute of three.
const LENGTHS: [u64; 4] = [3540, 20, 20, 20];

/// Entry `number` of a run, the first being 0.
fn entry(number: u64) -> LedgerEntry {
    let k = (number + 1) as f64;
    let length = |number: u64| LENGTHS[usize::try_from(number % 4).unwrap()];
    let start = number / 4 * LENGTHS.iter().sum::<u64>() + (0..number % 4).map(length).sum::<u64>();
    let at = |second| Timestamp::from_duration(Duration::from_secs(second));
    let head = SignalHead::configured(Quantity::CarbonIntensity, "a test");
    let emissions = |grams| Some(Emissions { location: GramsCo2e::new(grams), market: None });
    let part = AccountEntry {
        dynamic: Joules::new(k / 4.0),
        shared: Joules::new(k / 4.0),
        emissions: emissions(k),
        rows: number + 1,
        requests: 1,
        core_seconds: k * k / 2.0,
    };
    LedgerEntry {
        start: at(start),
        end: at(start + length(number)),
        metered: Joules::new(k),
        idle: Joules::ZERO,
        by_account: BTreeMap::from([
            (Account::of_model("a".into()), part),
            (Account { class: Some("gold".into()), ..Account::of_model("b".into()) }, part),
        ]),
        carbon_intensity: Some(SignalReading::configured(256.0, &Arc::new(head))),
        emissions: emissions(2.0 * k),
        provenance: Provenance::new(Basis::Assumed, "a test"),
    }
}

/// Not a test of its own: what the test below starts and kills.
#[test]
#[ignore = "the writer that another test starts and kills"]
fn writer() {
    let Ok(path) = std::env::var("WATTLE_TEST_LEDGER") else { return };
    let started: u64 = std::env::var("WATTLE_TEST_STARTED").unwrap().parse().unwrap();
    let info = RunInfo {
        started_unix: Duration::from_secs(started),
        host: None,
        device: "cpu".into(),
        cores: None,
        accounting: CarbonAccounting::default(),
    };
    let hour = Duration::from_secs(3600);
    let retention = Retention { seconds: Duration::ZERO, minutes: hour, hours: hour * 6 };
    let options = LedgerOptions { retention, ..LedgerOptions::from(Path::new(&path).to_owned()) };
    // The one before was killed, but may not be gone yet.
    let store = loop {
        match LedgerStore::open(&options, &info) {
            Err(LedgerError::InUse { .. }) => thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    let mut out = std::io::stdout().lock();
    for number in 0.. {
        store.append(entry(number));
        assert_eq!(store.flush(), 0);
        writeln!(out, "booked {}", number + 1).unwrap();
        out.flush().unwrap();
    }
}

/// Starts a writer and kills it; gives how many entries it told of as booked.
fn killed_writer(path: &Path, started: u64, random: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["writer", "--exact", "--ignored", "--nocapture"])
        .env("WATTLE_TEST_LEDGER", path)
        .env("WATTLE_TEST_STARTED", started.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let booked = |line: String| line.strip_prefix("booked ")?.parse::<u64>().ok();
    // Half are killed at any time after their start, half while they surely write.
    let mut last = if random & 1 == 0 { lines.by_ref().find_map(booked) } else { None };
    thread::sleep(Duration::from_micros((random >> 8) % 30_000));
    child.kill().unwrap();
    child.wait().unwrap();
    last = lines.filter_map(booked).last().or(last);
    last.unwrap_or(0)
}

/// Checks every run of the file. `known`: how many entries each had when it was first seen.
fn check(path: &Path, known: &mut BTreeMap<i64, u64>) -> u64 {
    let ledger = Ledger::open_read(path).unwrap();
    let numbered: BTreeMap<i64, u64> =
        ledger.runs().unwrap().iter().map(|run| (run.run, run.entries)).collect();
    let answer = ledger.totals(&Query { group_by: [GroupBy::Run].into(), ..Query::default() }).unwrap();
    let rows = answer.devices.iter().zip(&answer.accounts);
    let mut with_rows = BTreeSet::new();
    for (device, account) in rows {
        let run = device.group.run.unwrap();
        with_rows.insert(run);
        let count = device.entries;
        assert_eq!(
            (account.group.run, count),
            (Some(run), numbered[&run]),
            "run {run}: entries lost or doubled"
        );
        assert_eq!(*known.entry(run).or_insert(count), count, "run {run} has changed");
        let n = count as f64;
        let (sum, squares) = (n * (n + 1.0) / 2.0, n * (n + 1.0) * (2.0 * n + 1.0) / 6.0);
        assert_eq!((device.metered.get(), device.core_seconds), (sum, squares), "run {run} of {count}");
        assert_eq!((account.energy().get(), account.core_seconds), (sum, squares), "run {run} of {count}");
        assert_eq!((account.requests, account.rows as f64), (2 * count, 2.0 * sum), "run {run} of {count}");
        assert_eq!(account.location.unwrap().grams.get(), 2.0 * sum, "run {run} of {count}");
        let covered = (0..count).map(|number| LENGTHS[usize::try_from(number % 4).unwrap()]).sum::<u64>();
        assert_eq!(device.covered.as_secs(), covered, "run {run} of {count}");
    }
    let empty = numbered.iter().filter(|(run, _)| !with_rows.contains(run));
    assert!(empty.clone().all(|(_, entries)| *entries == 0), "a run has lost all it had");
    answer.counted.map_or(MIDNIGHT, |span| span.to.as_secs().unsigned_abs())
}

#[test]
fn a_writer_killed_at_any_instant_loses_no_booked_entry_and_doubles_none() {
    let kills: usize = std::env::var("WATTLE_KILLS").map_or(100, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let random = RandomState::new();
    let (mut known, mut next) = (BTreeMap::new(), MIDNIGHT);
    let (mut booked, mut unanswered) = (0, 0);
    for kill in 0..kills {
        let mut hasher = random.build_hasher();
        hasher.write_usize(kill);
        let told = killed_writer(&path, next, hasher.finish());
        if !path.exists() {
            // Killed before it made the file.
            assert_eq!(told, 0);
            continue;
        }
        match Ledger::open_read(&path) {
            // Killed before it made the tables.
            Err(LedgerError::Missing { .. }) => {
                assert_eq!(told, 0);
                continue;
            }
            opened => drop(opened.unwrap()),
        }
        let before: BTreeSet<i64> = known.keys().copied().collect();
        next = check(&path, &mut known);
        let fresh: u64 =
            known.iter().filter(|(run, _)| !before.contains(run)).map(|(_, entries)| *entries).sum();
        // One more than it told of: killed between booking and telling.
        assert!(fresh == told || fresh == told + 1, "kill {kill}: told of {told}, found {fresh}");
        booked += fresh;
        unanswered += fresh - told;
    }
    let connection = rusqlite::Connection::open(&path).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let levels: BTreeMap<i64, i64> = connection
        .prepare("SELECT level_seconds, sum(entries) FROM entry GROUP BY level_seconds")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    println!(
        "{kills} kills: {booked} entries booked, {unanswered} of them killed before it was told, none lost, none doubled; by level {levels:?}"
    );
    assert!(booked > 0, "no writer ever wrote");
}
