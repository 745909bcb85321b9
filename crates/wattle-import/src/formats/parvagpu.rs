//! ParvaGPU's CSV: MIG slice, batch size and MPS processes against throughput and latency.
//!
//! Throughput is of one process: its own scheduler multiplies it by the processes of a slice, and so do
//! we. In every row throughput times latency is one batch, not one a process. Latency is in seconds.

use wattle_core::operating_point::{Confidence, OperatingPoint, ProfileRow};
use wattle_core::profile::Profile;
use wattle_core::provenance::Basis;

use crate::Input;
use crate::archive::Unpacked;
use crate::error::ImportError;
use crate::imported::{HeadFacts, Imported, ImportedProfile, Rows, slug, stem_of};
use crate::oddity::{BadRows, Oddities};
use crate::options::Options;
use crate::table::{Figure, Table, count_of};

const WHAT: &str = "ParvaGPU's CSV: Mig instance,Batch size,Workload Number,Throughput,Latency";

pub(crate) fn import(
    inputs: &[Unpacked<'_>],
    options: &Options,
    oddities: &mut Oddities,
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    super::each(inputs, oddities, |input, oddities| {
        imported.profiles.push(profile(input, options, oddities)?);
        Ok(())
    })?;
    Ok(imported)
}

fn profile(
    input: &Input,
    options: &Options,
    oddities: &mut Oddities,
) -> Result<ImportedProfile, ImportError> {
    let file = &input.name;
    let blame = crate::error::Blame(file);
    let table = Table::parse(input.text()?, blame, WHAT)?;
    let slices_column = table.column("Mig instance", WHAT)?;
    let batch_column = table.column("Batch size", WHAT)?;
    let processes_column = table.column("Workload Number", WHAT)?;
    let throughput_column = table.column("Throughput", WHAT)?;
    let latency_column = table.column("Latency", WHAT)?;
    let mut bad = BadRows::new(blame);
    let mut rows = Rows::default();
    for row in &table.rows {
        let counts = [slices_column, batch_column, processes_column].map(|column| count_of(row.cell(column)));
        let [Some(slices @ 1..=7), Some(batch_size), Some(instances)] = counts else {
            let found = format!("{},{},{}", row.at(0), row.at(1), row.at(2));
            bad.add(row.line, slices_column.name, &found, "slices (1 to 7), batch size and processes");
            continue;
        };
        let (rps, seconds) = match (row.figure(throughput_column), row.figure(latency_column)) {
            (Figure::Value(rps), Figure::Value(seconds)) if rps > 0.0 && seconds > 0.0 => (rps, seconds),
            (Figure::Bad, _) => {
                let found = row.cell(throughput_column);
                bad.add(row.line, throughput_column.name, found, "rows per second");
                continue;
            }
            (_, Figure::Bad) => {
                bad.add(row.line, latency_column.name, row.cell(latency_column), "seconds");
                continue;
            }
            _ => {
                let what = "rows of zero or without figures (not measured, or out of memory)";
                oddities.add(file, what, Some(row.line), "skipped");
                continue;
            }
        };
        let made = ProfileRow {
            point: OperatingPoint {
                partition: Some(format!("{slices}g")),
                ..OperatingPoint::of_batch_and_instances(batch_size, instances)
            },
            throughput_rps: crate::imported::amount(rps * f64::from(instances)),
            latency_ms_mean: crate::imported::amount(seconds * 1e3),
            latency_ms_p50: None,
            latency_ms_p95: None,
            latency_ms_p99: None,
            power_watts_mean: None,
            power_watts_p95: None,
            power_watts_max: None,
            energy_joules_per_row: None,
            memory_bytes: None,
            basis: Basis::Measured,
            power_basis: Basis::Assumed,
            samples: 1,
            confidence: Confidence::default(),
        };
        rows.add(made, file, Some(row.line), oddities);
    }
    bad.finish(table.rows.len(), oddities)?;
    if rows.rows.is_empty() {
        return Err(blame.file("no row with figures", WHAT, "give the file as it was published"));
    }
    let head = HeadFacts {
        model: stem_of(file),
        device: None,
        runtime: None,
        idle_power_watts: None,
        request_overhead_ms: None,
        quality: None,
        power_source: "none: power was not measured",
        notes: "From ParvaGPU's profile. One MIG slice with that many MPS processes of the model (instances); \
                partition 1g to 7g is its size in slices of 7. throughput_rps is the file's, which is of one \
                process, times the processes. Power is unknown, so power_basis says the least it can. samples \
                is 1: the file does not say on how many batches a figure rests."
            .to_owned(),
    }
    .head(options);
    Ok(ImportedProfile { file_stem: slug(head.model.as_str()), profile: Profile { head, rows: rows.rows } })
}
