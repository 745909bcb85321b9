//! Model Analyzer's metrics CSVs: of inference, of the GPU, and of the server alone.

use super::{Found, ModelAnalyzerMeasurement};
use crate::error::{Blame, ImportError};
use crate::imported::amount;
use crate::oddity::{BadRows, Oddities};
use crate::table::{Column, Figure, Row, Table, count_of};

const WHAT: &str = "Model Analyzer's metrics-model-inference.csv (Model, Batch, Concurrency, Model Config Path, \
                    Instance Group, Max Batch Size, Throughput, latencies), metrics-model-gpu.csv or \
                    metrics-server-only.csv; or its checkpoint";

/// Whether `text` is the CSV of inference metrics, by its first line.
pub(super) fn is_inference(text: &str) -> bool {
    text.lines().next().is_some_and(|header| header.contains("Throughput"))
}

fn is_server_only(text: &str) -> bool {
    text.lines().next().is_some_and(|header| !header.contains("Concurrency"))
}

/// Fails unless `text` is one of the three.
pub(super) fn check(text: &str, blame: Blame<'_>) -> Result<(), ImportError> {
    let table = Table::parse(text, blame, WHAT)?;
    table.column("Model", WHAT)?;
    if !is_inference(text) {
        table.column("GPU Power Usage (W)", WHAT)?;
    }
    if !is_server_only(text) {
        Columns::of(&table)?;
    }
    Ok(())
}

struct Columns<'t> {
    model: Column<'t>,
    batch: Column<'t>,
    concurrency: Column<'t>,
    variant: Column<'t>,
    group: Column<'t>,
}

impl<'t> Columns<'t> {
    fn of(table: &'t Table<'_>) -> Result<Self, ImportError> {
        Ok(Self {
            model: table.column("Model", WHAT)?,
            batch: table.column("Batch", WHAT)?,
            concurrency: table.column("Concurrency", WHAT)?,
            variant: table.column("Model Config Path", WHAT)?,
            group: table.column("Instance Group", WHAT)?,
        })
    }
}

/// Adds what the CSV holds to `found`; of the GPU's, to the measurements that are there already.
pub(super) fn read(
    text: &str,
    blame: Blame<'_>,
    found: &mut Found,
    oddities: &mut Oddities,
) -> Result<(), ImportError> {
    let table = Table::parse(text, blame, WHAT)?;
    if is_server_only(text) {
        let power = table.column("GPU Power Usage (W)", WHAT)?;
        let watts: Vec<f64> = table.rows.iter().filter_map(|row| row.figure(power).value()).collect();
        found.server_only_watts = (!watts.is_empty()).then(|| watts.iter().sum()).and_then(amount);
        return Ok(());
    }
    let columns = Columns::of(&table)?;
    let mut bad = BadRows::new(blame);
    for row in &table.rows {
        if is_inference(text) {
            match inference(&table, &columns, row) {
                Some(measurements) => found.measurements.extend(measurements),
                None => bad.add(row.line, columns.model.name, row.cell(columns.model), "a measurement"),
            }
        } else if gpu(&table, &columns, row, found) == 0 {
            let what = "rows of the GPU's metrics without a row of inference metrics";
            oddities.add(blame.0, what, Some(row.line), "left out");
        }
    }
    bad.finish(table.rows.len(), oddities)
}

/// The parts of a cell of several models, such as `1,2`.
fn parts(cell: &str) -> Vec<&str> {
    cell.split(',').map(str::trim).collect()
}

/// The figure of model `index` of `count`: `421.0, [184.5,236.5]` is the whole and each model's.
fn of_model(cell: &str, index: usize, count: usize) -> Option<f64> {
    let each = match cell.split_once('[') {
        Some((_, each)) => each.trim_end_matches(']'),
        None if count == 1 => cell,
        None => return None,
    };
    Figure::of(parts(each).get(index)?).value().and_then(amount)
}

/// The measurements of a row, one a model. `None` when it is not of the shape.
fn inference(table: &Table<'_>, columns: &Columns<'_>, row: &Row) -> Option<Vec<ModelAnalyzerMeasurement>> {
    let models = parts(row.cell(columns.model));
    let variants = parts(row.cell(columns.variant));
    let batches = parts(row.cell(columns.batch));
    let concurrencies = parts(row.cell(columns.concurrency));
    let groups = parts(row.cell(columns.group));
    let max_batches = table.find(|name| name == "Max Batch Size").map(|column| parts(row.cell(column)));
    let figure = |name: &str, index: usize| {
        let column = table.find(|found| found.starts_with(name))?;
        of_model(row.cell(column), index, models.len())
    };
    (0..models.len())
        .map(|index| {
            let others = variants.iter().enumerate().filter(|(other, _)| *other != index);
            let count = |cells: &[&str]| count_of(cells.get(index)?);
            let compute = ["Server Compute Input", "Server Compute Infer", "Server Compute Output"];
            Some(ModelAnalyzerMeasurement {
                model: (*models.get(index)?).to_owned(),
                measured_beside: others.map(|(_, variant)| (*variant).to_owned()).collect(),
                variant: (*variants.get(index)?).to_owned(),
                instances: count_of(groups.get(index)?.split(':').next()?)?,
                max_batch_size: max_batches.as_deref().map_or(Some(1), count)?,
                dynamic_batching: None,
                client_batch_size: count(&batches)?,
                concurrency: count(&concurrencies)?,
                throughput_rps: figure("Throughput", index),
                latency_ms_mean: figure("Avg Latency", index),
                latency_ms_p50: figure("p50 Latency", index),
                latency_ms_p90: figure("p90 Latency", index),
                latency_ms_p95: figure("p95 Latency", index),
                latency_ms_p99: figure("p99 Latency", index),
                server_queue_ms: figure("Server Queue", index),
                server_compute_ms: compute.iter().map(|name| figure(name, index)).sum::<Option<f64>>(),
                client_send_recv_ms: figure("Client Send/Recv", index),
                client_response_wait_ms: figure("Response Wait", index),
                ..ModelAnalyzerMeasurement::default()
            })
        })
        .collect()
}

/// Adds a row of the GPU's metrics to its measurements; says to how many.
fn gpu(table: &Table<'_>, columns: &Columns<'_>, row: &Row, found: &mut Found) -> usize {
    let figure = |name: &str| {
        let column = table.find(|found| found.starts_with(name))?;
        row.figure(column).value().and_then(amount)
    };
    let models = parts(row.cell(columns.model));
    let variants = parts(row.cell(columns.variant));
    let batches = parts(row.cell(columns.batch));
    let concurrencies = parts(row.cell(columns.concurrency));
    let mut matched = 0;
    for (index, (model, variant)) in models.iter().zip(&variants).enumerate() {
        let count = |cells: &[&str]| cells.get(index).and_then(|cell| count_of(cell));
        let others: Vec<&str> =
            variants.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, name)| *name).collect();
        let wanted = (count(&batches), count(&concurrencies));
        for measurement in found.measurements.iter_mut().filter(|one| {
            one.model == *model
                && one.variant == *variant
                && one.measured_beside == others
                && (Some(one.client_batch_size), Some(one.concurrency)) == wanted
        }) {
            // One row a GPU: power and memory add up.
            let add = |known: Option<f64>, more: Option<f64>| match (known, more) {
                (Some(known), Some(more)) => Some(known + more),
                (known, more) => known.or(more),
            };
            measurement.gpu_power_watts = add(measurement.gpu_power_watts, figure("GPU Power Usage"));
            measurement.gpu_utilization =
                measurement.gpu_utilization.or(figure("GPU Utilization").map(|percent| percent / 100.0));
            let bytes = figure("GPU Memory Usage").map(|megabytes| megabytes * 1e6);
            let known = measurement.gpu_memory_bytes.map(|bytes| bytes as f64);
            measurement.gpu_memory_bytes = add(known, bytes).map(|bytes| bytes.round() as u64);
            matched += 1;
        }
    }
    matched
}
