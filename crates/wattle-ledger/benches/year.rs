//! Fills a ledger with a year of seconds of 20 models, then times reports of it and weighs the file.
//!
//! Every second goes the way it goes in life: booked by the store, rolled up to a minute, an hour, a day
//! when its time is over. Only the clock is virtual: the store goes by the time of the entries.
//!
//! `cargo bench -p wattle-ledger --bench year -- [--days N] [--models N] [--file FILE] [--in-seconds N]`
//!
//! A FILE that is there already is only reported of.
//! With `--in-seconds N` only the last N days are booked by the second and those before in entries of a
//! minute: in a sixtieth of the time the same file, where N is more than the days that minutes are kept.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and may fail so")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wattle_core::carbon::CarbonAccounting;
use wattle_core::ledger::{Account, Activity, LedgerEntry, MeteredInterval, attribute};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::signal::{Quantity, SignalHead, SignalReading};
use wattle_core::time::Timestamp;
use wattle_core::units::{CarbonIntensity, Watts};
use wattle_ledger::query::{GroupBy, Ledger, Period, Query};
use wattle_ledger::store::{LedgerOptions, LedgerStore, RunInfo};

/// 2026-01-01 00:00 UTC.
const START: u64 = 1_767_225_600;
/// Seconds handed over before it waits for them to be booked and rolled up.
const BATCH: u64 = 3600;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone());
    let number = |name, default| value(name).map_or(default, |text| text.parse().unwrap());
    let (days, models) = (number("--days", 365), number("--models", 20));
    let folder = tempfile::tempdir().unwrap();
    let path = value("--file").map_or_else(|| folder.path().join("ledger.sqlite"), PathBuf::from);

    if path.exists() {
        println!("a ledger that is there: nothing is booked");
    } else {
        fill_and_check(&path, days, number("--in-seconds", days).min(days), models);
    }
    println!("size {:.1} MB after the last checkpoint", size(&path) as f64 / 1e6);
    let all = Ledger::open_read(&path).unwrap().totals(&Query::default()).unwrap();
    let device = &all.devices[0];
    let attributed = all.accounts[0].energy() + device.idle;
    println!(
        "{} entries of {:.1} days, metered {:.6e} J, closure off by {:.1e}",
        device.entries,
        device.covered.as_secs_f64() / 86_400.0,
        device.metered.get(),
        (attributed.get() / device.metered.get() - 1.0).abs()
    );
    report(&path, "by model and month", &[GroupBy::Model], Period::Month);
    report(&path, "by class and day", &[GroupBy::Class], Period::Day);
    report(
        &path,
        "by model, class, device and source, by hour",
        &[GroupBy::Model, GroupBy::Class, GroupBy::Device, GroupBy::Source],
        Period::Hour,
    );
    let start = Instant::now();
    let points = Ledger::open_read(&path).unwrap().series(None, None).unwrap().len();
    println!("series of {points} points: {:.3} s", start.elapsed().as_secs_f64());
}

fn fill_and_check(path: &Path, days: u64, fine: u64, models: u64) {
    println!("{days} days of {models} models, the last {fine} of them booked by the second");
    let seconds = days * 86_400;
    let (handed_over, metered) = fill(path, seconds, (days - fine) * 86_400, models);
    let all = Ledger::open_read(path).unwrap().totals(&Query::default()).unwrap();
    let device = &all.devices[0];
    let found = (device.entries, device.covered.as_secs());
    assert_eq!(found, (handed_over, seconds), "an entry is missing or doubled");
    let off = (device.metered.get() / metered - 1.0).abs();
    println!("{handed_over} entries handed over, all there; their energy is off by {off:.1e}");
}

/// Gives how many entries and joules were handed over. Until `coarse_until` entries are a minute long.
fn fill(path: &Path, seconds: u64, coarse_until: u64, models: u64) -> (u64, f64) {
    let accounting = CarbonAccounting {
        pue: 1.2,
        market: Some((CarbonIntensity::new(31.7), "a contract".into())),
        ..CarbonAccounting::default()
    };
    let info = RunInfo {
        started_unix: Duration::from_secs(START),
        host: None,
        device: "cpu".into(),
        cores: Some(64),
        accounting: accounting.clone(),
    };
    let classes = [None, Some("gold"), Some("silver")];
    let accounts: Vec<Account> = (0..models)
        .zip(classes.into_iter().cycle())
        .map(|(model, class)| Account {
            model: format!("model-{model:02}").into(),
            family: None,
            class: class.map(Into::into),
        })
        .collect();
    let head = Arc::new(SignalHead::configured(Quantity::CarbonIntensity, "the bench"));
    let store = LedgerStore::open(&LedgerOptions::from(path.to_owned()), &info).unwrap();
    let begun = Instant::now();
    let (mut second, mut count, mut metered, mut largest) = (0, 0, 0.0, 0);
    while second < seconds {
        let length = if second < coarse_until { 60 } else { 1 };
        let entry = entry(second, length, &accounts, &head, &accounting);
        metered += entry.metered.get();
        store.append(entry);
        count += 1;
        second += length;
        if second % BATCH == 0 {
            // What is due by then is rolled up before more comes.
            assert_eq!(store.flush(), 0);
            largest = largest.max(size(path));
        }
        let day = second / 86_400;
        if second % 86_400 == 0 && (day % 30 == 0 || day == 1) {
            println!("day {day}: {:.0} s, {:.1} MB", begun.elapsed().as_secs_f64(), size(path) as f64 / 1e6);
        }
    }
    drop(store);
    println!(
        "filled in {:.0} s; at most {:.1} MB with its write-ahead log",
        begun.elapsed().as_secs_f64(),
        largest as f64 / 1e6
    );
    (count, metered)
}

/// An entry, `length` seconds long, in which every model worked: power and work go up and down with the time of day.
fn entry(
    second: u64,
    length: u64,
    accounts: &[Account],
    head: &Arc<SignalHead>,
    accounting: &CarbonAccounting,
) -> LedgerEntry {
    let of_day = (second as f64 / 86_400.0 * std::f64::consts::TAU).sin();
    let at = |second| Timestamp::from_duration(Duration::from_secs(second));
    let interval = MeteredInterval {
        start: at(second),
        end: at(second + length),
        energy: Watts::new(250.3 + 100.7 * of_day) * Duration::from_secs(length),
        idle_power: Watts::new(61.7),
        own_share: None,
        provenance: Provenance::new(Basis::Measured, "the bench"),
    };
    let of = |place: u64| {
        let work = (second * 7 + place * 13) % 101 + 1;
        Activity { core_seconds: length as f64 * work as f64 / 61.3, rows: work * 31, requests: work * 7 }
    };
    let activity: BTreeMap<Account, Activity> = accounts.iter().cloned().zip((0..).map(of)).collect();
    let carbon = SignalReading::configured((300.3 - 150.1 * of_day).round(), head);
    attribute(&interval, &activity, Some(carbon), accounting)
}

fn report(path: &Path, name: &str, by: &[GroupBy], period: Period) {
    let query = Query { group_by: by.iter().copied().collect(), period: Some(period), ..Query::default() };
    // The first opens the file anew, as `wattle report` does.
    let times: Vec<(f64, usize)> = (0..3)
        .map(|_| {
            let start = Instant::now();
            let answer = Ledger::open_read(path).unwrap().totals(&query).unwrap();
            (start.elapsed().as_secs_f64(), answer.accounts.len())
        })
        .collect();
    let worst = times.iter().map(|(time, _)| *time).fold(0.0, f64::max);
    println!("report {name}: {} rows in at most {worst:.3} s of 3", times[0].1);
}

/// Bytes of the file and its write-ahead log.
fn size(path: &Path) -> u64 {
    let log = PathBuf::from(format!("{}-wal", path.display()));
    [path, &log].iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum()
}
