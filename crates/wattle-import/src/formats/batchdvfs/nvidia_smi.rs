//! Logs of `nvidia-smi --query-gpu=timestamp,…,power.draw,… --format=csv`: power over time.

use crate::clock::{Clock, Stamp};
use crate::error::{Blame, ImportError};
use crate::imported::{ImportedSignal, base_name, slug, stem_of};
use crate::oddity::{BadRows, Oddities};
use crate::options::Gaps;
use crate::series::{Sample, regular};
use crate::table::{Figure, Table};

const WHAT: &str = "nvidia-smi's CSV with timestamp and power.draw [W]";

/// Whether `text` is such a log, by its first line.
pub(super) fn is_one(text: &str) -> bool {
    let first = text.lines().next().unwrap_or("");
    first.contains("timestamp") && first.contains("power.draw")
}

/// The power over time.
pub(super) fn power_signal(
    text: &str,
    file: &str,
    oddities: &mut Oddities,
) -> Result<ImportedSignal, ImportError> {
    let blame = Blame(file);
    let table = Table::parse(text, blame, WHAT)?;
    let time = table.column("timestamp", WHAT)?;
    let power = table
        .find(|name| name.starts_with("power.draw"))
        .ok_or_else(|| table.no_column("power.draw [W]", WHAT))?;
    let mut bad = BadRows::new(blame);
    let mut clock = Clock::new(None);
    let mut samples = Vec::new();
    for row in &table.rows {
        let Stamp::At(millis) = clock.read(row.cell(time)) else {
            bad.add(row.line, time.name, row.cell(time), "a time such as 2020/12/31 04:02:30.796");
            continue;
        };
        let cell = row.cell(power);
        match Figure::of(cell.trim_end_matches('W')) {
            Figure::Value(value) if value >= 0.0 => samples.push(Sample { millis, value, line: row.line }),
            _ if cell.starts_with('[') => {
                oddities.add(file, format!("readings of {cell}"), Some(row.line), "taken as not measured");
            }
            _ => bad.add(row.line, power.name, cell, "watts, such as 47.53 W"),
        }
    }
    bad.finish(table.rows.len(), oddities)?;
    // Once a second, a little late each time: a late reading is no gap, the one before it holds.
    let mut told = Oddities::default();
    let samples = regular(samples, blame, Some(Gaps::Hold), &mut told)?;
    for oddity in told.into_vec().into_iter().filter(|oddity| oddity.what != "missing times") {
        oddities.add_many(file, oddity.what, oddity.count, oddity.first_line, &oddity.done);
    }
    let stem = stem_of(file).trim_end_matches("_output").trim_end_matches("_nvidiasmi");
    let comments = vec![
        "power of the whole device in watts, as nvidia-smi read it".to_owned(),
        format!("source: {}", base_name(file)),
        "the log's time zone is unknown: its times are written as if they were UTC".to_owned(),
        "made: the file's column power.draw as it stands".to_owned(),
    ];
    let file_stem = slug(&format!("{}-power", stem.trim_end_matches(".txt")));
    ImportedSignal::of(file_stem, "power_watts", comments, &samples, blame)
}
