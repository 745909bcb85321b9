//! Half-hourly carbon intensity: Great Britain's (CSV and JSON of its carbon intensity service and of the
//! grid operator), and files of the same shape such as a time and one column, at any step.
//!
//! The measured value is taken; where the file has it not yet, the forecast, counted aloud.

use serde_json::Value;

use crate::Input;
use crate::archive::Unpacked;
use crate::clock::{Clock, Stamp};
use crate::error::{Blame, ImportError, quoted};
use crate::imported::{Imported, ImportedSignal, base_name, slug, stem_of};
use crate::oddity::{BadRows, Oddities};
use crate::options::Options;
use crate::series::{Sample, regular};
use crate::table::{Figure, Table};

const WHAT: &str = "half-hourly carbon intensity: CSV with a time (Time, datetime or from) and a value (Carbon \
                    Intensity, actual or forecast), or JSON {\"data\": [{\"from\", \"to\", \"intensity\": \
                    {\"forecast\", \"actual\"}}]}";

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

/// One row of either shape.
struct Entry {
    line: u64,
    time: String,
    actual: Figure,
    forecast: Figure,
}

fn signal(input: &Input, options: &Options, oddities: &mut Oddities) -> Result<ImportedSignal, ImportError> {
    let file = &input.name;
    let blame = Blame(file);
    let text = input.text()?;
    let entries =
        if text.trim_start().starts_with('{') { from_json(text, blame)? } else { from_csv(text, blame)? };
    let mut bad = BadRows::new(blame);
    let mut samples = Vec::new();
    let (mut measured, mut forecast) = (0, 0);
    let mut clock = Clock::new(options.time_zone.as_ref());
    for entry in &entries {
        let millis = match clock.read(&entry.time) {
            Stamp::At(millis) => millis,
            Stamp::JumpedOver => {
                let what = "local times that clocks jump over in spring";
                oddities.add(file, what, Some(entry.line), "skipped");
                continue;
            }
            Stamp::Bad => {
                bad.add(
                    entry.line,
                    "time",
                    &entry.time,
                    "a time such as 2020-01-31 23:30:00 or 2020-01-31T23:30Z",
                );
                continue;
            }
        };
        let value = match (entry.actual, entry.forecast) {
            (Figure::Value(value), _) if value >= 0.0 => {
                measured += 1;
                value
            }
            (Figure::Missing, Figure::Value(value)) if value >= 0.0 => {
                forecast += 1;
                oddities.add(
                    file,
                    "times without a measured value",
                    Some(entry.line),
                    "the forecast is taken",
                );
                value
            }
            (Figure::Missing, Figure::Missing) => {
                oddities.add(file, "times without any value", Some(entry.line), "taken as not measured");
                continue;
            }
            _ => {
                bad.add(entry.line, "carbon intensity", "what stands there", "a number of at least 0");
                continue;
            }
        };
        if value == 0.0 {
            oddities.add(file, "values of zero", Some(entry.line), "kept");
        }
        samples.push(Sample { millis, value, line: entry.line });
    }
    bad.finish(entries.len(), oddities)?;
    let samples = regular(samples, blame, options.gaps, oddities)?;
    let zone = match &options.time_zone {
        Some(zone) => {
            format!("times in {} unless they say their own", zone.iana_name().unwrap_or("the zone given"))
        }
        None => "times in UTC, assumed where they do not say so".to_owned(),
    };
    let comments = vec![
        "carbon intensity of electricity in g CO2e per kWh".to_owned(),
        "average (not marginal), assumed; direct or life-cycle: the file does not say".to_owned(),
        format!("source: {}; {measured} values measured, {forecast} forecast", base_name(file)),
        format!("made: the file's values as they stand; {zone}"),
    ];
    let stem = slug(&format!("{}-carbon-intensity", stem_of(file)));
    ImportedSignal::of(stem, "carbon_intensity_g_per_kwh", comments, &samples, blame)
}

/// A column's name without its unit, case or spelling: `Carbon Intensity (gCO2/kWh)` is `carbon intensity`.
fn plain(name: &str) -> String {
    name.split('(').next().unwrap_or(name).trim().to_lowercase().replace('_', " ")
}

fn from_csv(text: &str, blame: Blame<'_>) -> Result<Vec<Entry>, ImportError> {
    let table = Table::parse(text, blame, WHAT)?;
    let find = |names: &[&str]| table.find(|name| names.contains(&plain(name).as_str()));
    let time = find(&["time", "datetime", "date time", "from", "utc time", "date"])
        .ok_or_else(|| table.no_column("Time", WHAT))?;
    let actual = find(&["carbon intensity", "actual", "actual carbon intensity", "intensity"]);
    let forecast = find(&["forecast", "forecast carbon intensity"]);
    if actual.is_none() && forecast.is_none() {
        return Err(table.no_column("Carbon Intensity", WHAT));
    }
    let entry = |row: &crate::table::Row| Entry {
        line: row.line,
        time: row.cell(time).to_owned(),
        actual: actual.map_or(Figure::Missing, |column| row.figure(column)),
        forecast: forecast.map_or(Figure::Missing, |column| row.figure(column)),
    };
    Ok(table.rows.iter().map(entry).collect())
}

fn from_json(text: &str, blame: Blame<'_>) -> Result<Vec<Entry>, ImportError> {
    let whole: Value = serde_json::from_str(text).map_err(|error| {
        blame.at(
            Some(error.line() as u64),
            None,
            error.to_string(),
            "JSON",
            "give the file as it was published",
        )
    })?;
    // Answers of one region have the same list one level down, as an object or a list of one.
    let data = whole.get("data").unwrap_or(&Value::Null);
    let inner = data.get("data").or_else(|| data.get(0).and_then(|region| region.get("data")));
    let Some(list) = inner.unwrap_or(data).as_array().filter(|list| !list.is_empty()) else {
        return Err(blame.at(
            None,
            Some("key \"data\"".to_owned()),
            quoted(&data.to_string()),
            WHAT,
            "name its own format",
        ));
    };
    let figure = |value: Option<&Value>| match value {
        None | Some(Value::Null) => Figure::Missing,
        Some(value) => value.as_f64().map_or(Figure::Bad, Figure::Value),
    };
    // Parsed JSON has no lines: those of the words "from" are those of the entries.
    let mut lines =
        text.lines().zip(1..).flat_map(|(line, number)| line.matches("\"from\"").map(move |_| number));
    let entry = |(index, entry): (usize, &Value)| {
        let line = lines.next().unwrap_or(1);
        let time = entry.get("from").and_then(Value::as_str);
        match (time, entry.get("intensity")) {
            (Some(time), Some(intensity)) => Ok(Entry {
                line,
                time: time.to_owned(),
                actual: figure(intensity.get("actual")),
                forecast: figure(intensity.get("forecast")),
            }),
            _ => {
                let place = Some(format!("entry {} of \"data\"", index + 1));
                Err(blame.at(
                    None,
                    place,
                    quoted(&entry.to_string()),
                    WHAT,
                    "give the file as it was published",
                ))
            }
        }
    };
    list.iter().enumerate().map(entry).collect()
}
