//! CSV of the Electricity Maps portal: hourly direct and life-cycle intensity; and raw exports of the mix.
//!
//! Column names changed over the years (`LCA`, then `Life cycle`), so they are found by what they say. The
//! raw export's one intensity is taken as life-cycle.

use std::collections::BTreeMap;

use crate::Input;
use crate::archive::Unpacked;
use crate::clock::{Clock, Stamp};
use crate::error::{Blame, ImportError};
use crate::imported::{Imported, ImportedSignal, base_name, slug, stem_of};
use crate::oddity::{BadRows, Oddities};
use crate::options::{CarbonKind, Options};
use crate::series::{Sample, regular};
use crate::table::{Column, Figure, Table};

const WHAT: &str = "Electricity Maps' CSV: \"Datetime (UTC)\", \"Zone Id\", \"Carbon Intensity gCO₂eq/kWh \
                    (direct)\" and \"(LCA)\" or \"(Life cycle)\"; or a raw export with datetime and \
                    carbon_intensity_avg";

const CARBON: &str = "carbon_intensity_g_per_kwh";
const GENERATION: &str = "generation_megawatts";

pub(crate) fn import(
    inputs: &[Unpacked<'_>],
    options: &Options,
    oddities: &mut Oddities,
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    super::each(inputs, oddities, |input, oddities| {
        imported.signals.extend(signals(input, options, oddities)?);
        Ok(())
    })?;
    Ok(imported)
}

/// What is read from a file.
struct Wanted<'t> {
    value: Column<'t>,
    /// Absent in raw exports, which are of one zone.
    zone: Option<Column<'t>>,
    estimated: Option<Column<'t>>,
    /// Zero can't be true of a life-cycle intensity.
    zero_is_unknown: bool,
    suffix: String,
    column: &'static str,
    comments: Vec<String>,
}

fn signals(
    input: &Input,
    options: &Options,
    oddities: &mut Oddities,
) -> Result<Vec<ImportedSignal>, ImportError> {
    let file = &input.name;
    let blame = Blame(file);
    let table = Table::parse(input.text()?, blame, WHAT)?;
    let time = table
        .find(|name| name.to_lowercase().starts_with("datetime"))
        .ok_or_else(|| table.no_column("Datetime (UTC)", WHAT))?;
    let wanted = match table.find(|name| name == "carbon_intensity_avg") {
        Some(intensity) => from_raw_export(&table, intensity, options)?,
        None => from_portal(&table, options)?,
    };
    let stem = stem_of(file);
    let zone_of_file = stem.split("_raw").next().unwrap_or(stem);
    let mut bad = BadRows::new(blame);
    let mut zones: BTreeMap<&str, (Clock<'_>, Vec<Sample>)> = BTreeMap::new();
    for row in &table.rows {
        let zone = wanted.zone.map_or(zone_of_file, |column| row.cell(column));
        let (clock, samples) = zones.entry(zone).or_insert_with(|| (Clock::new(None), Vec::new()));
        let Stamp::At(millis) = clock.read(row.cell(time)) else {
            bad.add(row.line, time.name, row.cell(time), "a time such as 2020-01-31 23:00:00");
            continue;
        };
        if wanted.estimated.is_some_and(|column| row.cell(column).eq_ignore_ascii_case("true")) {
            oddities.add(file, "values that Electricity Maps estimated", Some(row.line), "kept");
        }
        match row.figure(wanted.value) {
            Figure::Value(value) if value > 0.0 || (value == 0.0 && !wanted.zero_is_unknown) => {
                if value == 0.0 && wanted.column == CARBON {
                    oddities.add(file, "values of zero", Some(row.line), "kept");
                }
                samples.push(Sample { millis, value, line: row.line });
            }
            Figure::Value(value) if value < 0.0 && wanted.column == GENERATION => {
                let done = "taken as 0 (a plant that only consumes)";
                oddities.add(file, "negative generation", Some(row.line), done);
                samples.push(Sample { millis, value: 0.0, line: row.line });
            }
            Figure::Missing | Figure::Value(0.0) => {
                let zero = if wanted.zero_is_unknown { " or zero" } else { "" };
                let what = format!("empty{zero} cells in column {:?}", wanted.value.name);
                oddities.add(file, what, Some(row.line), "taken as not measured");
            }
            _ => bad.add(row.line, wanted.value.name, row.cell(wanted.value), "a number of at least 0"),
        }
    }
    bad.finish(table.rows.len(), oddities)?;
    let mut signals = Vec::new();
    for (zone, (_, samples)) in zones {
        let samples = regular(samples, blame, options.gaps, oddities)?;
        let mut comments = wanted.comments.clone();
        comments.push(format!("source: Electricity Maps, {}; zone: {zone}", base_name(file)));
        comments.push(format!("made: the file's column {} as it stands", wanted.value.name));
        let stem = slug(&format!("{zone}-{}", wanted.suffix));
        signals.push(ImportedSignal::of(stem, wanted.column, comments, &samples, blame)?);
    }
    Ok(signals)
}

fn carbon_comments(kind: CarbonKind) -> Vec<String> {
    vec![
        "carbon intensity of electricity in g CO2e per kWh".to_owned(),
        match kind {
            CarbonKind::Direct => "average (not marginal), direct (not life-cycle)".to_owned(),
            CarbonKind::LifeCycle => "average (not marginal), life-cycle (not direct)".to_owned(),
        },
    ]
}

fn from_portal<'t>(table: &'t Table<'_>, options: &Options) -> Result<Wanted<'t>, ImportError> {
    if let Some(source) = &options.source {
        let found = format!("--source {source}, and no generation by source in the file");
        return Err(table.blame.file(found, "a raw export of the mix", "leave out --source"));
    }
    let kind = options.kind.unwrap_or(CarbonKind::LifeCycle);
    let (marks, named, suffix): (&[&str], _, _) = match kind {
        CarbonKind::Direct => (&["(direct)"], "(direct)", "direct-carbon-intensity"),
        CarbonKind::LifeCycle => {
            (&["(lca)", "life cycle", "life-cycle"], "(LCA)", "life-cycle-carbon-intensity")
        }
    };
    let value = table
        .find(|name| {
            let name = name.to_lowercase();
            name.starts_with("carbon intensity") && marks.iter().any(|mark| name.contains(mark))
        })
        .ok_or_else(|| table.no_column(&format!("Carbon Intensity gCO₂eq/kWh {named}"), WHAT))?;
    Ok(Wanted {
        value,
        zone: Some(table.column("Zone Id", WHAT)?),
        estimated: table.find(|name| name.eq_ignore_ascii_case("Data Estimated")),
        zero_is_unknown: kind == CarbonKind::LifeCycle,
        suffix: suffix.to_owned(),
        column: CARBON,
        comments: carbon_comments(kind),
    })
}

fn from_raw_export<'t>(
    table: &'t Table<'_>,
    intensity: Column<'t>,
    options: &Options,
) -> Result<Wanted<'t>, ImportError> {
    if let Some(source) = &options.source {
        let name_of = |name: &str| -> Option<String> {
            Some(name.strip_prefix("power_production_")?.strip_suffix("_avg")?.to_owned())
        };
        let Some(value) = table.find(|name| name_of(name).as_deref() == Some(source)) else {
            let known: Vec<String> = table.names().filter_map(name_of).collect();
            let nearest = wattle_core::nearest::nearest(source, known.iter().map(String::as_str));
            return Err(table.blame.file(
                format!("no source {source:?}"),
                format!("one of: {}", known.join(", ")),
                format!("did you mean --source {}?", nearest.unwrap_or_default()),
            ));
        };
        return Ok(Wanted {
            value,
            zone: None,
            estimated: None,
            zero_is_unknown: false,
            suffix: format!("{source}-generation"),
            column: GENERATION,
            comments: vec![format!("generation of {source} in MW")],
        });
    }
    if options.kind == Some(CarbonKind::Direct) {
        let found = "--kind direct, and a raw export, whose intensity is life-cycle";
        return Err(table.blame.file(found, "the portal's CSV, which has both", "leave out --kind"));
    }
    Ok(Wanted {
        value: intensity,
        zone: None,
        estimated: None,
        zero_is_unknown: true,
        suffix: "life-cycle-carbon-intensity".to_owned(),
        column: CARBON,
        comments: carbon_comments(CarbonKind::LifeCycle),
    })
}
