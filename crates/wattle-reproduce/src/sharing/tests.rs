//! Tests of the sharing experiment at a small scale.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

const QUICK: Scale = Scale { seconds: 30.0, sweep_seconds: 10.0, clocks: 9 };

#[test]
fn prints() {
    let options = Options { data: std::env::var_os("D").map(Into::into), threads: 2 };
    let start = std::time::Instant::now();
    let made = run_at(FULL, &options, &|_| {}).unwrap();
    for row in &made.rows {
        eprintln!(
            "{:90} {:?} {:?} {} {}",
            row.figure,
            row.published,
            row.ours.map(|x| (x * 1000.0).round() / 1000.0),
            row.unit,
            row.why.len()
        );
    }
    eprintln!("{:?}", start.elapsed());
}
