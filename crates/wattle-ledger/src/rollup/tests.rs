//! Tests of roll-ups: nothing is lost, doubled or mixed up, whatever the times.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::query::{Answer, GroupBy, Ledger, Query};
use crate::testing::{MIDNIGHT, book, carbon, entry, entry_lasting, run_info};
use crate::write::Writer;

const MINUTE: Duration = Duration::from_secs(60);

/// Rows by level.
fn levels(path: &std::path::Path) -> BTreeMap<i64, i64> {
    let connection = Connection::open(path).unwrap();
    let mut statement =
        connection.prepare("SELECT level_seconds, count(*) FROM entry GROUP BY level_seconds").unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

fn by_everything(path: &std::path::Path) -> Answer {
    let group_by = [GroupBy::Model, GroupBy::Family, GroupBy::Class, GroupBy::Run, GroupBy::Source];
    let query = Query { group_by: group_by.into(), ..Query::default() };
    Ledger::open_read(path).unwrap().totals(&query).unwrap()
}

#[test]
fn seconds_become_minutes_hours_and_days_when_their_time_is_over_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let retention = Retention { seconds: MINUTE, minutes: MINUTE * 60, hours: MINUTE * 60 * 24 };
    // 50 hours of entries of 20 s.
    let entries = (0..50 * 180).map(|n| entry_lasting(n * 20, 20, Some(carbon(300.0, "a test"))));
    book(&path, MIDNIGHT, retention, entries);
    // A minute of three, an hour of minutes less the one that is still seconds, a day and an hour of hours.
    assert_eq!(levels(&path), BTreeMap::from([(1, 3), (60, 59), (3600, 25), (86_400, 1)]));
    let answer = by_everything(&path);
    assert_eq!((answer.devices[0].entries, answer.devices[0].covered.as_secs()), (9000, 180_000));
    assert_eq!(answer.devices[0].metered.get(), 7.0 * 180_000.0);
}

#[test]
fn a_row_for_each_source_stands_for_a_minute_that_had_several() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let source = |second| match second % 60 {
        0..20 => Some(carbon(100.0, "the first")),
        20..50 => Some(carbon(400.0, "the second")),
        _ => None,
    };
    let retention = Retention { seconds: Duration::ZERO, ..Retention::default() };
    book(&path, MIDNIGHT, retention, (0..180).map(|second| entry(second, source(second))));
    assert_eq!(levels(&path), BTreeMap::from([(60, 9)]));
    let answer = by_everything(&path);
    let told = answer.devices.iter().map(|row| {
        let source = row.group.source.as_ref().unwrap();
        let carbon = source.carbon.as_ref().map(|carbon| carbon.head.source.as_str());
        (carbon, row.entries, row.metered.get(), row.intensity.map(|of| of.mean.get()))
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by_key(|row| row.0);
    assert_eq!(
        told,
        [
            (None, 30, 210.0, None),
            (Some("the first"), 60, 420.0, Some(100.0)),
            (Some("the second"), 90, 630.0, Some(400.0))
        ]
    );
    // Together: the mean is of the energy whose intensity is known, and says of how much that is.
    let all = Ledger::open_read(&path).unwrap().totals(&Query::default()).unwrap();
    let intensity = all.devices[0].intensity.unwrap();
    assert_eq!((intensity.mean.get(), intensity.min.get(), intensity.max.get()), (280.0, 100.0, 400.0));
    assert_eq!(all.devices[0].location.unwrap().energy.get(), 1050.0);
    assert_eq!(all.devices[0].metered.get(), 1260.0);
}

#[test]
fn a_second_that_comes_late_joins_the_minute_that_stands_for_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut writer = Writer::open(&path, &run_info(MIDNIGHT), false).unwrap();
    let retention = Retention { seconds: Duration::ZERO, minutes: MINUTE * 600, hours: MINUTE * 6000 };
    let known = |second| entry(second, Some(carbon(second as f64, "a test")));
    let early: Vec<_> =
        (0..30).chain(31..60).map(|second: u64| (second.cast_signed(), known(second))).collect();
    writer.book(&early).unwrap();
    let now = (MIDNIGHT.cast_signed() + 60) * 1_000_000_000;
    assert!(roll_up_one(&mut writer.connection, &retention, now).unwrap());
    assert!(!roll_up_one(&mut writer.connection, &retention, now).unwrap(), "once is enough");
    writer.book(&[(60, known(30))]).unwrap();
    assert!(roll_up_one(&mut writer.connection, &retention, now).unwrap());
    drop(writer);
    assert_eq!(levels(&path), BTreeMap::from([(60, 1)]));
    let answer = by_everything(&path);
    let device = &answer.devices[0];
    assert_eq!((device.entries, device.metered.get(), device.covered.as_secs()), (60, 420.0, 60));
    let intensity = device.intensity.unwrap();
    assert!((intensity.mean.get() - 29.5).abs() < 1e-9 && intensity.max.get() == 59.0, "{intensity:?}");
    assert_eq!(answer.accounts.iter().map(|row| row.requests).sum::<u64>(), 1200);
}

#[test]
fn minutes_that_a_copy_has_not_got_are_not_rolled_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut writer = Writer::open(&path, &run_info(MIDNIGHT), true).unwrap();
    let entries: Vec<_> =
        (0..180).map(|n: i64| (n, entry_lasting(n.unsigned_abs() * 20, 20, None))).collect();
    writer.book(&entries).unwrap();
    let retention = Retention { seconds: Duration::ZERO, minutes: Duration::ZERO, hours: MINUTE * 6000 };
    let now = writer.now;
    while roll_up_one(&mut writer.connection, &retention, now).unwrap() {}
    assert_eq!(levels(&path), BTreeMap::from([(60, 60)]));
    writer.connection.execute("DELETE FROM unsent", []).unwrap();
    while roll_up_one(&mut writer.connection, &retention, now).unwrap() {}
    assert_eq!(levels(&path), BTreeMap::from([(3600, 1)]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Runs with holes between entries, several sources and any retention: the sums are what was booked.
    #[test]
    fn sums_are_the_same_however_rows_are_rolled_up(
        steps in prop::collection::vec((0_u64..5000, 1_u64..90, 0_u8..3), 1..120),
        kept in (0_u64..2, 0_u64..40, 0_u64..50),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (rolled, whole) = (folder.path().join("rolled.sqlite"), folder.path().join("whole.sqlite"));
        let mut at = 0;
        let entries: Vec<_> = steps.iter().map(|(hole, lasting, source)| {
            let start = at + if hole % 7 == 0 { *hole } else { 0 };
            at = start + lasting;
            let carbon = (*source > 0).then(|| carbon(f64::from(*source) * 100.0, ["", "a", "b"][usize::from(*source)]));
            entry_lasting(start, *lasting, carbon)
        }).collect();
        let (seconds, minutes, hours) = (MINUTE * kept.0 as u32, MINUTE * 60 * kept.1 as u32, MINUTE * 60 * (40 + kept.2) as u32);
        book(&rolled, MIDNIGHT + 17, Retention { seconds, minutes, hours }, entries.clone());
        book(&whole, MIDNIGHT + 17, Retention { seconds: Duration::MAX, minutes: Duration::MAX, hours: Duration::MAX }, entries);
        let (rolled, whole) = (by_everything(&rolled), by_everything(&whole));
        prop_assert_eq!(rolled.accounts.len(), whole.accounts.len());
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
        for (a, b) in rolled.accounts.iter().zip(&whole.accounts) {
            prop_assert_eq!(&a.group, &b.group);
            prop_assert_eq!((a.rows, a.requests), (b.rows, b.requests));
            prop_assert!(near(a.energy().get(), b.energy().get()) && near(a.core_seconds, b.core_seconds));
            prop_assert_eq!(a.location.is_some(), b.location.is_some());
            if let (Some(a), Some(b)) = (a.location, b.location) {
                prop_assert!(near(a.grams.get(), b.grams.get()) && near(a.energy.get(), b.energy.get()));
            }
        }
        for (a, b) in rolled.devices.iter().zip(&whole.devices) {
            prop_assert_eq!((&a.group, a.entries, a.covered), (&b.group, b.entries, b.covered));
            prop_assert!(near(a.metered.get(), b.metered.get()) && near(a.idle.get(), b.idle.get()));
            prop_assert_eq!(a.power_max.map(|of| of.get().round()), b.power_max.map(|of| of.get().round()));
            if let (Some(a), Some(b)) = (a.intensity, b.intensity) {
                prop_assert!(near(a.mean.get(), b.mean.get()) && a.max == b.max && a.min == b.min);
            }
        }
    }
}
