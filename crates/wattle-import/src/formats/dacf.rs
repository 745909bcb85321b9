//! DACF's hourly generation by source, and its files of direct emissions.
//!
//! Generation is in MW by the hour, universal time. The direct carbon intensity is that of the mix by
//! [`DIRECT_DACF`]. It gives the column `carbon_intensity` of DACF's files of direct emissions to the digit
//! they print.

use wattle_core::carbon::mix::DIRECT_DACF;

use crate::Input;
use crate::archive::Unpacked;
use crate::clock::{Clock, Stamp};
use crate::error::{Blame, ImportError};
use crate::imported::{Imported, ImportedSignal, slug, stem_of};
use crate::oddity::{BadRows, Oddities};
use crate::options::Options;
use crate::series::{Sample, regular};
use crate::table::{Column, Figure, Table};

const WHAT: &str = "DACF's CSV: \"UTC time\", then generation in MW (coal, nat_gas, nuclear, oil, hydro, solar, \
                    wind, other) or carbon_intensity";

/// Direct emissions of a source in g/kWh, as DACF counts them. `None`: no source that it knows.
pub fn direct_intensity(source: &str) -> Option<f64> {
    DIRECT_DACF.factor(source)
}

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

/// How a row gives its value.
enum Way<'t> {
    /// The column of the carbon intensity.
    Printed(Column<'t>),
    /// The mix of these sources, never empty.
    Mix(Vec<Column<'t>>),
    /// The generation of one source.
    Source(Column<'t>),
}

fn signal(input: &Input, options: &Options, oddities: &mut Oddities) -> Result<ImportedSignal, ImportError> {
    let file = &input.name;
    let blame = Blame(file);
    let table = Table::parse(input.text()?, blame, WHAT)?;
    let time = table.column("UTC time", WHAT)?;
    let way = way(&table, options)?;
    let mut bad = BadRows::new(blame);
    let mut samples = Vec::new();
    let mut clock = Clock::new(None);
    for row in &table.rows {
        let Stamp::At(millis) = clock.read(row.cell(time)) else {
            bad.add(row.line, time.name, row.cell(time), "a time such as 2020-01-31 23:00:00");
            continue;
        };
        let mut figure = |column: Column<'_>| match row.figure(column) {
            Figure::Value(value) if value < 0.0 => {
                let what = format!("negative values in column {:?}", column.name);
                oddities.add(file, what, Some(row.line), "taken as 0 (a plant that only consumes)");
                Figure::Value(0.0)
            }
            figure => figure,
        };
        let value = match &way {
            Way::Printed(column) | Way::Source(column) => (figure(*column), *column),
            Way::Mix(sources) => mixed(sources, figure),
        };
        match value {
            (Figure::Value(value), _) => samples.push(Sample { millis, value, line: row.line }),
            (Figure::Missing, column) => {
                let what = format!("rows without a value in column {:?}", column.name);
                oddities.add(file, what, Some(row.line), "taken as not measured");
            }
            (Figure::Bad, column) => bad.add(row.line, column.name, row.cell(column), "a number"),
        }
    }
    bad.finish(table.rows.len(), oddities)?;
    let samples = regular(samples, blame, options.gaps, oddities)?;
    let stem = stem_of(file);
    let zone = stem.strip_suffix("_direct_emissions").unwrap_or(stem);
    let (suffix, column, mut comments) = match &way {
        Way::Source(source) => (
            format!("{}-generation", source.name),
            "generation_megawatts",
            vec![format!("generation of {} in MW", source.name)],
        ),
        _ => (
            "direct-carbon-intensity".to_owned(),
            "carbon_intensity_g_per_kwh",
            vec![
                "carbon intensity of electricity in g CO2 per kWh".to_owned(),
                "average (not marginal), direct (not life-cycle)".to_owned(),
            ],
        ),
    };
    comments.push(format!("source: DACF, {}; zone: {zone}", crate::imported::base_name(file)));
    comments.push(match &way {
        Way::Printed(_) => "made: the file's column carbon_intensity as it stands".to_owned(),
        Way::Mix(_) => {
            "made: mean of the sources weighted by generation, in g/kWh: coal 760, gas 370, oil 406, \
                        other 575, the rest 0"
                .to_owned()
        }
        Way::Source(source) => format!("made: the file's column {} as it stands", source.name),
    });
    ImportedSignal::of(slug(&format!("{zone}-{suffix}")), column, comments, &samples, blame)
}

fn way<'t>(table: &'t Table<'_>, options: &Options) -> Result<Way<'t>, ImportError> {
    if let Some(source) = &options.source {
        return match table.find(|name| name.eq_ignore_ascii_case(source)) {
            Some(column) if direct_intensity(column.name).is_some() => Ok(Way::Source(column)),
            _ => {
                let known: Vec<&str> =
                    table.names().filter(|name| direct_intensity(name).is_some()).collect();
                let nearest =
                    wattle_core::nearest::nearest(source, known.iter().copied()).unwrap_or_default();
                Err(table.blame.file(
                    format!("no source {source:?}"),
                    format!("one of: {}", known.join(", ")),
                    format!("did you mean --source {nearest}?"),
                ))
            }
        };
    }
    if let Some(column) = table.find(|name| name == "carbon_intensity") {
        return Ok(Way::Printed(column));
    }
    let is_source = |name: &&str| direct_intensity(name).is_some();
    let sources: Vec<_> =
        table.names().filter(is_source).filter_map(|source| table.find(|name| name == source)).collect();
    if sources.is_empty() { Err(table.no_column("coal", WHAT)) } else { Ok(Way::Mix(sources)) }
}

/// The intensity of a mix; missing where a source is, or where nothing was generated at all.
fn mixed<'t>(sources: &[Column<'t>], mut figure: impl FnMut(Column<'t>) -> Figure) -> (Figure, Column<'t>) {
    let mut mix = Vec::with_capacity(sources.len());
    for column in sources {
        match figure(*column) {
            Figure::Value(megawatts) => mix.push((column.name, megawatts)),
            other => return (other, *column),
        }
    }
    let made = DIRECT_DACF.intensity(mix).map_or(Figure::Missing, |made| Figure::Value(made.get()));
    (made, sources[sources.len() - 1])
}
