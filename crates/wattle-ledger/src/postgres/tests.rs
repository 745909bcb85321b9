//! Tests against a real PostgreSQL: `WATTLE_TEST_POSTGRES` names an empty database, else they are skipped.

use super::*;
use crate::retention::Retention;
use crate::testing::{MIDNIGHT, carbon, entry, run_info};
use crate::write::Writer;

fn sums(client: &mut Client) -> (i64, i64, f64, f64, f64) {
    let row = client
        .query_one(
            "SELECT count(*), sum(entries)::bigint, sum(metered_joules),
                (SELECT sum(dynamic_joules + shared_joules) FROM part) + sum(idle_joules),
                sum(location_grams) FROM entry",
            &[],
        )
        .unwrap();
    (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
}

#[test]
fn a_copy_has_every_minute_once_however_often_it_is_sent() {
    let Ok(url) = std::env::var("WATTLE_TEST_POSTGRES") else {
        println!("skipped: WATTLE_TEST_POSTGRES names no database");
        return;
    };
    let mut client = Client::connect(&url, NoTls).unwrap();
    client
        .batch_execute("DROP TABLE IF EXISTS part, entry, run, source, account, ledger_version CASCADE")
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    // Two servers, three minutes each, the second of which had 20 seconds of unknown carbon intensity.
    for server in 0..2 {
        let path = folder.path().join(format!("{server}.sqlite"));
        let mut writer = Writer::open(&path, &run_info(MIDNIGHT), true).unwrap();
        let known = |second| (second % 100 < 80).then(|| carbon(300.0, "a test"));
        let entries: Vec<_> = (0..180_u64).map(|n| (n.cast_signed(), entry(n, known(n)))).collect();
        writer.book(&entries).unwrap();
        let mut replica = Replica::new(&path, &url).unwrap();
        assert_eq!(replica.send(false).unwrap(), 2, "the third minute goes on");
        files.push((writer, replica));
    }
    let (writer, replica) = files.first_mut().unwrap();
    // Rolled up or not, it is the same minute; noted again, it is sent again.
    let retention = Retention { seconds: Duration::ZERO, ..Retention::default() };
    let now = writer.now;
    while crate::rollup::roll_up_one(&mut writer.connection, &retention, now).unwrap() {}
    writer
        .connection
        .execute("INSERT OR IGNORE INTO unsent VALUES (?, 0)", [MIDNIGHT.cast_signed()])
        .unwrap();
    assert_eq!(replica.send(true).unwrap(), 2);
    assert_eq!(files[1].1.send(true).unwrap(), 1);
    assert_eq!(files[1].1.send(true).unwrap(), 0, "nothing is left to send");

    let (rows, entries, metered, closed, grams) = sums(&mut client);
    // A row for each source: the second minute had two, for both servers.
    assert_eq!((rows, entries, metered), (8, 360, 2520.0));
    assert!((closed - metered).abs() < 1e-9);
    let expected = 320.0 * 7.0 * 1.5 / 3.6e6 * 300.0;
    assert!((grams - expected).abs() < 1e-9, "{grams} {expected}");
    let runs: i64 = client.query_one("SELECT count(DISTINCT uid) FROM run", &[]).unwrap().get(0);
    assert_eq!(runs, 2);
}

#[test]
fn minutes_wait_in_the_file_while_the_database_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut writer = Writer::open(&path, &run_info(MIDNIGHT), true).unwrap();
    writer.book(&[(0, entry(0, None)), (1, entry(60, None))]).unwrap();
    // A port that nothing listens on.
    let mut replica = Replica::new(&path, "postgres://nobody@127.0.0.1:1/none").unwrap();
    let error = full(&replica.send(true).unwrap_err());
    assert!(error.contains("PostgreSQL") && error.contains("refused"), "{error}");
    let waiting: i64 =
        writer.connection.query_row("SELECT count(*) FROM unsent", [], |row| row.get(0)).unwrap();
    assert_eq!(waiting, 2);
}

#[test]
fn a_url_that_is_none_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let error = Replica::new(&folder.path().join("x"), "postgres//host").err().unwrap().to_string();
    assert!(error.contains("expected postgres://"), "{error}");
}
