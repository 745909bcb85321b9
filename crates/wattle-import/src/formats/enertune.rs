//! EnerTune's CSV: batch size, MIG slices and core clock against power, throughput and latency.
//!
//! One instance on one slice of an A100. Power is the whole board's; what the file calls dynamic power is
//! the mean power less the static power of the board at that clock.

use std::collections::{BTreeMap, BTreeSet};

use wattle_core::operating_point::{Confidence, OperatingPoint, ProfileRow};
use wattle_core::profile::Profile;
use wattle_core::provenance::Basis;
use wattle_core::units::{Megahertz, Watts};

use crate::Input;
use crate::archive::Unpacked;
use crate::error::ImportError;
use crate::imported::{HeadFacts, Imported, ImportedProfile, Rows, slug};
use crate::oddity::{BadRows, Oddities};
use crate::options::Options;
use crate::table::{Column, Figure, Row, Table, count_of};

const WHAT: &str = "EnerTune's CSV: model,batch_size,mig_slices,frequency,avg_power_draw,dynamic_power_draw,\
                    throughput,latency";

/// Static power further than this from the usual one of its clock is told.
const STATIC_TOLERANCE_WATTS: f64 = 0.1;

pub(crate) fn import(
    inputs: &[Unpacked<'_>],
    options: &Options,
    oddities: &mut Oddities,
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    super::each(inputs, oddities, |input, oddities| {
        imported.profiles.extend(profiles(input, options, oddities)?);
        Ok(())
    })?;
    Ok(imported)
}

/// What is known of one model so far.
#[derive(Default)]
struct Model {
    rows: Rows,
    /// Static power in watts by clock in whole kilohertz, with the lines.
    static_watts: BTreeMap<u64, Vec<(f64, u64)>>,
    grid: (BTreeSet<u32>, BTreeSet<u32>, BTreeSet<u64>),
}

struct Columns<'t> {
    model: Column<'t>,
    batch: Column<'t>,
    slices: Column<'t>,
    clock: Column<'t>,
    power: Column<'t>,
    dynamic: Column<'t>,
    throughput: Column<'t>,
    latency: Column<'t>,
}

fn profiles(
    input: &Input,
    options: &Options,
    oddities: &mut Oddities,
) -> Result<Vec<ImportedProfile>, ImportError> {
    let blame = crate::error::Blame(&input.name);
    let table = Table::parse(input.text()?, blame, WHAT)?;
    let columns = Columns {
        model: table.column("model", WHAT)?,
        batch: table.column("batch_size", WHAT)?,
        slices: table.column("mig_slices", WHAT)?,
        clock: table.column("frequency", WHAT)?,
        power: table.column("avg_power_draw", WHAT)?,
        dynamic: table.column("dynamic_power_draw", WHAT)?,
        throughput: table.column("throughput", WHAT)?,
        latency: table.column("latency", WHAT)?,
    };
    let mut bad = BadRows::new(blame);
    let mut models: BTreeMap<&str, Model> = BTreeMap::new();
    for row in &table.rows {
        read_row(row, &columns, &input.name, &mut models, &mut bad, oddities);
    }
    bad.finish(table.rows.len(), oddities)?;
    if options.model.is_some() && models.len() > 1 {
        let names: Vec<_> = models.keys().copied().collect();
        let found = format!("the models {}", names.join(", "));
        return Err(blame.file(found, "one model, as --model names one", "leave out --model"));
    }
    let made = models.into_iter().filter(|(_, model)| !model.rows.rows.is_empty());
    Ok(made.map(|(name, model)| profile(name, model, &input.name, options, oddities)).collect())
}

fn read_row<'t>(
    row: &'t Row,
    columns: &Columns<'t>,
    file: &str,
    models: &mut BTreeMap<&'t str, Model>,
    bad: &mut BadRows<'t>,
    oddities: &mut Oddities,
) {
    let name = row.cell(columns.model);
    let keys = [columns.batch, columns.slices, columns.clock];
    if name.is_empty() || keys.iter().any(|key| row.figure(*key) == Figure::Missing) {
        oddities.add(file, "rows without model, batch size, slices or clock", Some(row.line), "skipped");
        return;
    }
    let count = |column: Column<'t>, bad: &mut BadRows<'t>| {
        let count = count_of(row.cell(column));
        if count.is_none() {
            bad.add(row.line, column.name, row.cell(column), "a whole number of at least 1");
        }
        count
    };
    let Some(batch_size) = count(columns.batch, bad) else { return };
    let Some(slices) = count(columns.slices, bad) else { return };
    if slices > 7 {
        return bad.add(row.line, columns.slices.name, row.cell(columns.slices), "1 to 7 slices");
    }
    let Some(clock) = row.figure(columns.clock).value().filter(|clock| *clock > 0.0) else {
        return bad.add(row.line, columns.clock.name, row.cell(columns.clock), "MHz over 0");
    };
    let mut figures = [None; 3];
    for (figure, column) in figures.iter_mut().zip([columns.throughput, columns.latency, columns.power]) {
        *figure = match row.figure(column) {
            Figure::Value(value) if value > 0.0 => Some(value),
            Figure::Value(0.0) | Figure::Missing => {
                let what = format!("empty or zero cells in column {:?}", column.name);
                oddities.add(file, what, Some(row.line), "taken as not measured");
                None
            }
            _ => return bad.add(row.line, column.name, row.cell(column), "a number of at least 0"),
        };
    }
    let [throughput_rps, latency_ms_mean, power] = figures;
    if figures.iter().all(Option::is_none) {
        oddities.add(file, "rows without any figure", Some(row.line), "skipped");
        return;
    }
    if let (Some(rps), Some(ms)) = (throughput_rps, latency_ms_mean)
        && (rps * ms / 1e3 / f64::from(batch_size) - 1.0).abs() > 0.1
    {
        let what = "rows whose throughput is not a batch a latency, by more than 10 %";
        oddities.add(file, what, Some(row.line), "kept as they are");
    }
    let model = models.entry(name).or_default();
    let kilohertz = (clock * 1e3).round() as u64;
    if let (Some(power), Some(dynamic)) = (power, row.figure(columns.dynamic).value())
        && power >= dynamic
    {
        model.static_watts.entry(kilohertz).or_default().push((power - dynamic, row.line));
    } else {
        let what = "rows without the dynamic power, or with one over the mean power";
        oddities.add(file, what, Some(row.line), "kept; they say nothing of the static power");
    }
    model.grid.0.insert(batch_size);
    model.grid.1.insert(slices);
    model.grid.2.insert(kilohertz);
    let row_made = ProfileRow {
        point: OperatingPoint {
            core_clock_mhz: Some(Megahertz::new(clock)),
            partition: Some(format!("{slices}g")),
            ..OperatingPoint::of_batch_and_instances(batch_size, 1)
        },
        throughput_rps,
        latency_ms_mean,
        latency_ms_p50: None,
        latency_ms_p95: None,
        latency_ms_p99: None,
        power_watts_mean: power.map(Watts::new),
        power_watts_p95: None,
        power_watts_max: None,
        energy_joules_per_row: None,
        memory_bytes: None,
        basis: Basis::Measured,
        power_basis: Basis::Measured,
        samples: 1,
        confidence: Confidence::default(),
    };
    model.rows.add(row_made, file, Some(row.line), oddities);
}

fn profile(
    name: &str,
    model: Model,
    file: &str,
    options: &Options,
    oddities: &mut Oddities,
) -> ImportedProfile {
    let points = model.grid.0.len().saturating_mul(model.grid.1.len()).saturating_mul(model.grid.2.len());
    let missing = points.saturating_sub(model.rows.rows.len()) as u64;
    let what = format!("combinations of batch size, slices and clock of {name} without a row");
    oddities.add_many(file, what, missing, None, "left unknown");
    let mut static_text = Vec::new();
    let mut idle_power_watts = None;
    for (kilohertz, mut seen) in model.static_watts {
        seen.sort_by(|a, b| a.0.total_cmp(&b.0));
        let Some((usual, _)) = seen.get(seen.len() / 2).copied() else { continue };
        for (_, line) in seen.iter().filter(|(watts, _)| (watts - usual).abs() > STATIC_TOLERANCE_WATTS) {
            let what = "rows whose static power is not the usual one of their clock";
            oddities.add(file, what, Some(*line), "kept; the usual one is noted");
        }
        idle_power_watts = idle_power_watts.or(Some(usual));
        static_text.push(format!("{usual:.1} at {} MHz", kilohertz as f64 / 1e3));
    }
    let notes = format!(
        "From EnerTune's profile of {name}. One instance on one MIG slice; partition 1g to 7g is its size in \
         slices of 7. Power is the whole board's. idle_power_watts is the static power (mean less dynamic \
         power, as the file gives them) at the lowest clock. Static watts by clock: {}. samples is 1: the file \
         does not say on how many batches a figure rests.",
        static_text.join(", ")
    );
    let head = HeadFacts {
        model: name,
        device: None,
        runtime: None,
        idle_power_watts,
        request_overhead_ms: None,
        quality: None,
        power_source: "the board's own power sensor, as EnerTune read it",
        notes,
    }
    .head(options);
    let file_stem = slug(head.model.as_str());
    ImportedProfile { file_stem, profile: Profile { head, rows: model.rows.rows } }
}
