//! The step log: one line a batch, then perhaps a summary.

use crate::error::{Blame, ImportError};
use crate::oddity::{BadRows, Oddities};
use crate::table::{Column, Figure, Row, Table, count_of};

const WHAT: &str = "a BatchDVFS step log: time stamp, Througput (image/sec), power, batch size, power cap, DVFS \
                    and perhaps minBS, maxBS, BestBS; or the nvidia-smi log beside it";

/// A step log of BatchDVFS.
#[derive(Debug, Clone, PartialEq)]
pub struct StepLog {
    /// One a batch, in the order of the file.
    pub steps: Vec<Step>,
    /// The lines below the steps, where the file has them.
    pub summary: Option<StepSummary>,
}

/// One batch.
///
/// `power_watts` belongs to this step, not to the one before or after: the published controller writes in
/// each line the **largest** reading of nvidia-smi since its last decision (every 3 s), taken when the batch
/// was done. Over the published logs power goes best with the batch size of its own line, and agrees best
/// with nvidia-smi's own log at that moment. So it lags only within a decision: lines between two decisions
/// repeat the largest reading so far, and the first line after a decision rests on few readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// When the batch was done, in seconds since 1970.
    pub seconds: f64,
    /// Rows per second of this batch, from file to answer.
    pub throughput_rps: f64,
    /// Largest power read since the controller's last decision, in watts.
    pub power_watts: f64,
    /// Rows of the batch.
    pub batch_size: u32,
    /// Lower bound of the controller's search: an index, the batch size is one more.
    pub min_index: Option<u32>,
    /// Upper bound of the controller's search: an index, the batch size is one more.
    pub max_index: Option<u32>,
    /// The controller's choice: an index, the batch size is one more.
    pub best_index: Option<u32>,
    /// The power cap in force, in watts.
    pub power_cap_watts: f64,
    /// The core clock that was asked for.
    pub core_clock_mhz: f64,
    /// Its line, counted from 1.
    pub line: u64,
}

impl Step {
    /// How long the batch took, in seconds.
    pub fn duration_seconds(&self) -> f64 {
        f64::from(self.batch_size) / self.throughput_rps
    }
}

/// The lines below the steps. `None`: the line or the figure is not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepSummary {
    /// The least of each column.
    pub min: Option<SummaryRow>,
    /// The most of each column.
    pub max: Option<SummaryRow>,
    /// The mean of each column.
    pub mean: Option<SummaryRow>,
    /// The standard deviation of each column.
    pub standard_deviation: Option<SummaryRow>,
    /// Steps whose power was over the cap.
    pub violations: Option<f64>,
    /// By how much, as the file says it.
    pub violation_amount: Option<f64>,
}

/// A line of the summary.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SummaryRow {
    /// Rows per second.
    pub throughput_rps: Option<f64>,
    /// Power in watts.
    pub power_watts: Option<f64>,
    /// Rows of a batch.
    pub batch_size: Option<f64>,
    /// Power cap in watts.
    pub power_cap_watts: Option<f64>,
    /// Core clock.
    pub core_clock_mhz: Option<f64>,
}

/// Reads a step log of BatchDVFS. `file` is for errors only.
pub fn step_log(text: &str, file: &str) -> Result<StepLog, ImportError> {
    parse(text.strip_prefix('\u{feff}').unwrap_or(text), Blame(file), &mut Oddities::default())
}

struct Columns<'t> {
    time: Column<'t>,
    throughput: Column<'t>,
    power: Column<'t>,
    batch: Column<'t>,
    cap: Column<'t>,
    clock: Column<'t>,
    indexes: [Option<Column<'t>>; 3],
}

pub(super) fn parse(text: &str, blame: Blame<'_>, oddities: &mut Oddities) -> Result<StepLog, ImportError> {
    let table = Table::parse(text, blame, WHAT)?;
    let columns = Columns {
        time: table.column("time stamp", WHAT)?,
        throughput: table
            .find(|name| name.to_lowercase().starts_with("throug"))
            .ok_or_else(|| table.no_column("Througput (image/sec)", WHAT))?,
        power: table.column("power", WHAT)?,
        batch: table.column("batch size", WHAT)?,
        cap: table.column("power cap", WHAT)?,
        clock: table.column("DVFS", WHAT)?,
        indexes: ["minBS", "maxBS", "BestBS"].map(|name| table.find(|found| found == name)),
    };
    let mut bad = BadRows::new(blame);
    let mut steps: Vec<Step> = Vec::new();
    let mut summary = StepSummary::default();
    let mut summary_lines = 0;
    for row in &table.rows {
        if row.cell(columns.time).is_empty() {
            if read_summary(row, &columns, &mut summary) {
                summary_lines += 1;
            } else {
                bad.add(row.line, columns.time.name, row.cell(columns.time), "seconds since 1970");
            }
            continue;
        }
        if let Some(step) = read_step(row, &columns, &mut bad) {
            if steps.last().is_some_and(|before| before.seconds > step.seconds) {
                oddities.add(
                    blame.0,
                    "steps before the one above them in time",
                    Some(row.line),
                    "kept in place",
                );
            }
            steps.push(step);
        }
    }
    bad.finish(table.rows.len().saturating_sub(summary_lines), oddities)?;
    oddities.add_many(blame.0, "summary lines", summary_lines as u64, None, "read apart from the steps");
    if steps.is_empty() {
        return Err(blame.file("no step", WHAT, "give the file as it was published"));
    }
    if disagrees(&summary, &steps) {
        oddities.add(blame.0, "summaries that disagree with their steps", None, "the steps are taken");
    }
    Ok(StepLog { steps, summary: (summary_lines > 0).then_some(summary) })
}

fn read_step<'t>(row: &'t Row, columns: &Columns<'t>, bad: &mut BadRows<'t>) -> Option<Step> {
    let mut over_zero = |column: Column<'t>| {
        let value = row.figure(column).value().filter(|value| *value > 0.0);
        if value.is_none() {
            bad.add(row.line, column.name, row.cell(column), "a number over 0");
        }
        value
    };
    let seconds = over_zero(columns.time)?;
    let throughput_rps = over_zero(columns.throughput)?;
    let power_watts = over_zero(columns.power)?;
    let power_cap_watts = over_zero(columns.cap)?;
    let core_clock_mhz = over_zero(columns.clock)?;
    let Some(batch_size) = count_of(row.cell(columns.batch)) else {
        bad.add(row.line, columns.batch.name, row.cell(columns.batch), "a whole number of at least 1");
        return None;
    };
    let [min_index, max_index, best_index] =
        columns.indexes.map(|column| row.cell(column?).parse::<u32>().ok());
    Some(Step {
        seconds,
        throughput_rps,
        power_watts,
        batch_size,
        min_index,
        max_index,
        best_index,
        power_cap_watts,
        core_clock_mhz,
        line: row.line,
    })
}

/// Whether a summary's means or its violations are not those of the steps.
fn disagrees(summary: &StepSummary, steps: &[Step]) -> bool {
    let mean = |of: fn(&Step) -> f64| steps.iter().map(of).sum::<f64>() / steps.len() as f64;
    let differ =
        |said: Option<f64>, made: f64| said.is_some_and(|said| (said - made).abs() > made.abs() * 1e-6);
    let means = summary.mean.unwrap_or_default();
    let over = steps.iter().filter(|step| step.power_watts > step.power_cap_watts).count();
    differ(means.throughput_rps, mean(|step| step.throughput_rps))
        || differ(means.power_watts, mean(|step| step.power_watts))
        || differ(means.batch_size, mean(|step| f64::from(step.batch_size)))
        || differ(means.core_clock_mhz, mean(|step| step.core_clock_mhz))
        || differ(summary.violations, over as f64)
}

/// Reads a line of the summary, whose cells stand one place right of their columns.
fn read_summary(row: &Row, columns: &Columns<'_>, summary: &mut StepSummary) -> bool {
    let figure = |column: Column<'_>| Figure::of(row.right_of(column, 1)).value();
    let all = SummaryRow {
        throughput_rps: figure(columns.throughput),
        power_watts: figure(columns.power),
        batch_size: figure(columns.batch),
        power_cap_watts: figure(columns.cap),
        core_clock_mhz: figure(columns.clock),
    };
    let single = Figure::of(row.right_of(columns.time, 2)).value();
    let label = row.right_of(columns.time, 1).to_lowercase();
    match label.as_str() {
        "min" => summary.min = Some(all),
        "max" => summary.max = Some(all),
        "average" | "mean" => summary.mean = Some(all),
        "std" | "sd" => summary.standard_deviation = Some(all),
        _ if label.starts_with("number of power cap violation") => summary.violations = single,
        _ if label.starts_with("violation amount") => summary.violation_amount = single,
        _ => return false,
    }
    true
}
