//! Tests of queries: the right joules in the right rows.

use std::time::Duration;

use super::*;
use crate::retention::Retention;
use crate::testing::{MIDNIGHT, book, carbon, entry, entry_lasting};

const HOUR: Duration = Duration::from_secs(3600);

/// Three hours of entries of 20 s from a quarter to midnight on, at 300 g/kWh before and 100 after
/// midnight; seconds are kept for half an hour and minutes for one.
fn three_hours(folder: &Path) -> Ledger {
    let path = folder.join("ledger.sqlite");
    let retention = Retention { seconds: HOUR / 2, minutes: HOUR, hours: HOUR * 1000 };
    let intensity = |second| carbon(if second < 900 { 300.0 } else { 100.0 }, "a test");
    let entries = (0..540).map(|n| entry_lasting(n * 20, 20, Some(intensity(n * 20))));
    book(&path, MIDNIGHT - 900, retention, entries);
    Ledger::open_read(&path).unwrap()
}

fn at(seconds_after_midnight: i64) -> UnixTime {
    UnixTime::from_secs(MIDNIGHT.cast_signed() + seconds_after_midnight)
}

#[test]
fn accounts_and_devices_are_told_apart_by_what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = three_hours(folder.path());
    let ask = |group_by: &[GroupBy]| {
        ledger.totals(&Query { group_by: group_by.iter().copied().collect(), ..Query::default() }).unwrap()
    };
    let all = ask(&[]);
    assert_eq!((all.accounts.len(), all.devices.len()), (1, 1));
    let (account, device) = (&all.accounts[0], &all.devices[0]);
    assert_eq!(
        (account.energy().get(), device.idle.get(), device.metered.get()),
        (54_000.0, 21_600.0, 75_600.0)
    );
    assert_eq!((account.requests, account.rows, device.core_seconds), (10_800, 32_400, 540.0));
    assert_eq!((device.covered, device.entries), (HOUR * 3, 540));
    assert_eq!(account.basis, Basis::Modelled);
    assert_eq!(account.sources[0].to_string(), "power modelled: a model of power; carbon intensity a test");

    // 7 W at a PUE of 1.5: 900 s at 300 g/kWh, 9900 s at 100; 100 by contract.
    let grams = |joules: f64, intensity: f64| joules * 1.5 / 3.6e6 * intensity;
    let expected = grams(6300.0, 300.0) + grams(69_300.0, 100.0);
    assert!((device.location.unwrap().grams.get() - expected).abs() < 1e-9);
    assert!((device.market.unwrap().grams.get() - grams(75_600.0, 100.0)).abs() < 1e-9);
    let idle = grams(1800.0, 300.0) + grams(19_800.0, 100.0);
    let idle_location = device.idle_location.unwrap();
    assert!(
        (idle_location.grams.get() - idle).abs() < 1e-9
            && (idle_location.energy.get() - 21_600.0).abs() < 1e-6
    );
    let closure = account.location.unwrap().grams + idle_location.grams - device.location.unwrap().grams;
    assert!(closure.get().abs() < 1e-9);
    let intensity = device.intensity.unwrap();
    assert!((intensity.mean.get() - (300.0 + 11.0 * 100.0) / 12.0).abs() < 1e-9);
    assert_eq!(device.power_max.unwrap().get(), 7.0);

    let models = ask(&[GroupBy::Model]);
    let told = models.accounts.iter().map(|row| (row.group.model.as_deref(), row.energy().get()));
    assert_eq!(told.collect::<Vec<_>>(), [(Some("heavy"), 40_500.0), (Some("light"), 13_500.0)]);
    assert_eq!(models.devices.len(), 1, "a device is counted once, however many models are on it");
    let classes = ask(&[GroupBy::Class, GroupBy::Family, GroupBy::Device]);
    let told = classes.accounts.iter().map(|row| {
        (row.group.family.as_deref(), row.group.class.as_deref(), row.group.device.as_deref(), row.requests)
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(None, None, Some("cpu"), 5400), (Some("weights"), Some("gold"), Some("cpu"), 5400)]
    );
}

#[test]
fn periods_hold_what_starts_in_them_and_are_longer_where_only_longer_rows_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = three_hours(folder.path());
    let ask = |period| ledger.totals(&Query { period: Some(period), ..Query::default() }).unwrap().devices;
    let told = |rows: &[DeviceRow]| {
        let seconds = |at: UnixTime| at.as_secs() - MIDNIGHT.cast_signed();
        let row = |row: &DeviceRow| {
            let period = row.group.period.unwrap();
            (seconds(period.from), seconds(period.to), row.covered.as_secs())
        };
        rows.iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&ask(Period::Hour)),
        [(-3600, 0, 900), (0, 3600, 3600), (3600, 7200, 3600), (7200, 10_800, 2700)]
    );
    assert_eq!(told(&ask(Period::Day)), [(-86_400, 0, 900), (0, 86_400, 9900)]);
    assert_eq!(told(&ask(Period::Month)), [(-28 * 86_400, 0, 900), (0, 31 * 86_400, 9900)]);
    let minutes = told(&ask(Period::Minute));
    // The first two hours are over for so long that only hours are left of them.
    assert_eq!(minutes[..3], [(-3600, 0, 900), (0, 3600, 3600), (3600, 3660, 60)]);
    assert_eq!(minutes.len(), 2 + 60 + 45);
}

#[test]
fn a_range_counts_what_starts_in_it_and_tells_of_rows_over_its_ends() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = three_hours(folder.path());
    let ask = |from, to| {
        ledger.totals(&Query { from: Some(at(from)), to: Some(at(to)), ..Query::default() }).unwrap()
    };
    let hour = ask(0, 3600);
    assert_eq!((hour.devices[0].covered, hour.edges.len()), (HOUR, 0));
    assert_eq!(hour.counted, Some(Span { from: at(0), to: at(3600) }));
    // The hour from midnight on is one row by now: it can't be cut in two.
    let late = ask(1800, 7200);
    assert_eq!(
        (late.devices[0].covered, late.edges.as_slice()),
        (HOUR, [Span { from: at(0), to: at(3600) }].as_slice())
    );
    let early = ask(-3600, 1800);
    assert_eq!((early.devices[0].covered.as_secs(), early.edges.len()), (900 + 3600, 1));
    assert_eq!(early.counted, Some(Span { from: at(-3600), to: at(3600) }));
    let none = ask(90_000, 99_000);
    assert_eq!((none.accounts.len(), none.devices.len(), none.counted), (0, 0, None));
}

#[test]
fn a_series_has_every_row_in_order_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = three_hours(folder.path());
    let series = ledger.series(None, None).unwrap();
    assert!(series.windows(2).all(|pair| pair[0].span.to <= pair[1].span.from), "{series:?}");
    assert_eq!(series.iter().map(|point| point.covered).sum::<Duration>(), HOUR * 3);
    let first = &series[0];
    assert_eq!((first.power.unwrap().get(), first.idle_power.unwrap().get()), (7.0, 2.0));
    assert_eq!(first.intensity.unwrap().mean.get(), 300.0);
    let part = ledger.series(Some(at(7200)), Some(at(7260))).unwrap();
    assert_eq!(part.iter().map(|point| point.covered.as_secs()).sum::<u64>(), 60);
}

#[test]
fn unknown_carbon_is_none_and_never_nought() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    book(
        &path,
        MIDNIGHT,
        Retention { seconds: Duration::ZERO, ..Retention::default() },
        (0..60).map(|n| entry(n, None)),
    );
    let answer = Ledger::open_read(&path).unwrap().totals(&Query::default()).unwrap();
    let (account, device) = (&answer.accounts[0], &answer.devices[0]);
    assert_eq!((account.location, account.market), (None, None));
    assert_eq!((device.location, device.idle_location, device.intensity), (None, None, None));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Ledger::open_read(Path::new("no-such.sqlite")).err().unwrap().to_string();
    assert_eq!(error, "found no ledger at no-such.sqlite; name its file with --ledger");
}

#[test]
fn a_file_that_is_no_database_is_named_without_a_flag_that_readers_lack() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "not a database, but long enough to be looked at as one".repeat(40)).unwrap();
    let error = Ledger::open_read(&path).err().unwrap().to_string();
    assert!(error.contains("notes.txt") && error.contains("--ledger"), "{error}");
    assert!(!error.contains("--no-ledger"), "{error}");
}

#[test]
fn what_a_ledger_tells_fits_together_though_servers_write_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    book(&path, MIDNIGHT, Retention::default(), (0..10).map(|n| entry(n, None)));
    let ledger = Ledger::open_read(&path).unwrap();
    let by_run = Query { group_by: [GroupBy::Run].into(), ..Query::default() };
    assert_eq!(ledger.runs().unwrap().len(), 1);
    // Another server begins, of which the runs above do not tell.
    book(&path, MIDNIGHT + 60, Retention::default(), (0..10).map(|n| entry(n, None)));
    let seen = (ledger.totals(&by_run).unwrap().devices.len(), ledger.series(None, None).unwrap().len());
    assert_eq!((seen, ledger.runs().unwrap().len()), ((1, 10), 1));
    let now = Ledger::open_read(&path).unwrap();
    assert_eq!((now.totals(&by_run).unwrap().devices.len(), now.runs().unwrap().len()), (2, 2));
}
