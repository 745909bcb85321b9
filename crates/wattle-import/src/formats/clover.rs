//! Carbon intensities without times, as Clover's: a name, then one value a line.
//!
//! The files say no time. That the values are of consecutive hours is assumed, and said in the signal.

use crate::Input;
use crate::archive::Unpacked;
use crate::error::{Blame, ImportError};
use crate::imported::{Imported, ImportedSignal, base_name, slug, stem_of};
use crate::oddity::{BadRows, Oddities};
use crate::options::{CarbonKind, Options};
use crate::table::{Figure, Table};

const WHAT: &str = "Clover's CSV: one column, a name and then one carbon intensity (g/kWh) a line";

const HOUR_SECONDS: f64 = 3600.0;

pub(crate) fn import(
    inputs: &[Unpacked<'_>],
    options: &Options,
    oddities: &mut Oddities,
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    super::each(inputs, oddities, |input, oddities| {
        imported.signals.push(signal(input, options, oddities)?);
        Ok(())
    })?;
    Ok(imported)
}

fn signal(input: &Input, options: &Options, oddities: &mut Oddities) -> Result<ImportedSignal, ImportError> {
    let file = &input.name;
    let blame = Blame(file);
    let table = Table::parse(input.text()?, blame, WHAT)?;
    let names: Vec<&str> = table.names().collect();
    let [name] = names[..] else {
        let found = format!("{} columns", names.len());
        return Err(blame.at(
            Some(1),
            None,
            found,
            WHAT,
            "give a file of one column, or name its own format",
        ));
    };
    let column = match table.find(|found| found == name) {
        Some(column) if Figure::of(name) == Figure::Bad => column,
        _ => return Err(blame.cell(1, name, name, "a name over the values", "add a first line with a name")),
    };
    let mut bad = BadRows::new(blame);
    let mut points: Vec<(f64, f64)> = Vec::new();
    for row in &table.rows {
        match row.figure(column) {
            Figure::Value(value) if value >= 0.0 && row.at(1).is_empty() => {
                if value == 0.0 {
                    oddities.add(file, "values of zero", Some(row.line), "kept");
                }
                points.push((points.len() as f64 * HOUR_SECONDS, value));
            }
            _ => bad.add(row.line, name, row.cell(column), "one number of at least 0"),
        }
    }
    // A line that is left out would move all those below it: each counts as an hour.
    bad.finish_none()?;
    let kind = match options.kind {
        Some(CarbonKind::Direct) => "direct (not life-cycle), as --kind says",
        Some(CarbonKind::LifeCycle) => "life-cycle (not direct), as --kind says",
        None => "direct or life-cycle: unknown, the file does not say",
    };
    let comments = vec![
        "carbon intensity of electricity in g CO2e per kWh".to_owned(),
        format!("average (not marginal), assumed; {kind}"),
        format!("source: {}, column {name}", base_name(file)),
        "start: unknown, the file has no times; seconds count from its first value".to_owned(),
        "made: one value an hour, assumed".to_owned(),
    ];
    oddities.add_many(
        file,
        "values without a time",
        points.len() as u64,
        Some(2),
        "taken as consecutive hours",
    );
    let file_stem = slug(&format!("{}-carbon-intensity", stem_of(file)));
    Ok(ImportedSignal { file_stem, column: "carbon_intensity_g_per_kwh", comments, points })
}
