//! `wattle report`: what the ledger's books amount to, as a table, CSV, JSON and a page.

mod baseline;
mod html;
mod range;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use wattle_core::carbon::{BOUNDARY_EXCLUDED, BOUNDARY_INCLUDED, CarbonAccounting, METHOD};
use wattle_ledger::query::{Ledger, Period, Run};
use wattle_ledger::report::{By, Line, Report, assemble, utc, write_csv};

use super::serve::accounting::AccountingFile;
use super::serve::model_and_file;
use crate::exit::ConfigError;
use crate::new_file;
use crate::output::say;

/// Report requests, energy, carbon and SCI of what was served, from the ledger
///
/// Examples:
///   wattle report --since 7d --by model --period day
///   wattle report --since 2026-11-01 --until 2026-12-01 --by class --csv november.csv --html november.html
///   wattle report --baseline fixed --models models
///
/// Times are UTC. A range that begins and ends at whole days is exact for all of time.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ReportArgs {
    /// The ledger's file [default: that of --config, or wattle-ledger.sqlite in the current folder]
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// From when on: 2026-11-01, 2026-11-01T06:00, or how long ago, such as 7d or 12h
    /// [default: the first entry]
    #[arg(long, value_name = "TIME", value_parser = range::parse)]
    since: Option<range::At>,
    /// Until when, that instant not included [default: the last entry]
    #[arg(long, value_name = "TIME", value_parser = range::parse)]
    until: Option<range::At>,
    /// By what rows are told apart
    #[arg(long, value_name = "WHAT", default_value = "model")]
    by: ByArg,
    /// The length of time of a row
    #[arg(long, value_name = "LENGTH", default_value = "all")]
    period: PeriodArg,
    /// Set beside it what the same requests would have drawn under this policy, by replay of the models'
    /// profiles; needs --models or --profile
    #[arg(long, value_name = "POLICY")]
    baseline: Option<BaselineArg>,
    /// The model repository, for the profile.csv of its models and their knobs at the start
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// The profile of a model, in place of its profile.csv
    #[arg(long, value_name = "MODEL=FILE", value_parser = model_and_file)]
    profile: Vec<(String, PathBuf)>,
    /// The server's configuration: its ledger and models, and its [accounting] for runs whose ledger does
    /// not tell how the device was made
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the rows to this file as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a page with plots to this file, which opens offline
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Replace those files where they are there already
    #[arg(long)]
    force: bool,
    /// Print one JSON object in place of the table
    #[arg(long)]
    json: bool,
}

/// By what rows are told apart.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ByArg {
    /// The model that answered
    Model,
    /// The family that was asked
    Family,
    /// The class that the request named
    Class,
    /// The device
    Device,
}

/// The length of time of a row.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PeriodArg {
    /// UTC hours
    Hour,
    /// UTC days
    Day,
    /// UTC months
    Month,
    /// The whole range
    All,
}

/// Policies that a baseline can be of: those that need nothing but the load.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum BaselineArg {
    /// The knobs as they stand at the start
    Fixed,
}

impl From<ByArg> for By {
    fn from(by: ByArg) -> Self {
        match by {
            ByArg::Model => Self::Model,
            ByArg::Family => Self::Family,
            ByArg::Class => Self::Class,
            ByArg::Device => Self::Device,
        }
    }
}

impl PeriodArg {
    const fn period(self) -> Option<Period> {
        match self {
            Self::Hour => Some(Period::Hour),
            Self::Day => Some(Period::Day),
            Self::Month => Some(Period::Month),
            Self::All => None,
        }
    }
}

/// What a report reads of the server's configuration; the server itself checks the rest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigFile {
    ledger: Option<PathBuf>,
    models: Option<PathBuf>,
    device_spec: Option<String>,
    accounting: AccountingFile,
}

/// A report as JSON.
#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    wattle_version: &'static str,
    ledger: String,
    by: &'static str,
    counted_from: Option<String>,
    counted_until: Option<String>,
    carbon_intensity_mean_g_per_kwh: Option<f64>,
    rows: Vec<Line>,
    total: Line,
    sci_method: &'static str,
    sci_included: &'a [&'static str],
    sci_excluded: &'a [&'static str],
    notes: &'a [String],
}

/// Runs the command.
pub(crate) fn run(args: &ReportArgs) -> Result<()> {
    let config = args.config.as_deref().map(read_config).transpose()?.unwrap_or_default();
    for file in [&args.csv, &args.html].into_iter().flatten() {
        // Told before anything is read, not after.
        new_file::check(file, args.force).context(ConfigError)?;
    }
    let path = args.ledger.clone().or(config.ledger).unwrap_or_else(|| "wattle-ledger.sqlite".into());
    let ledger = Ledger::open_read(&path).context(ConfigError)?;
    let own = config.accounting.accounting(config.device_spec.as_deref())?;
    let mut runs = ledger.runs()?;
    if let Some(embodied) = own.embodied {
        // What was booked stays; how the device was made may be told later.
        for run in &mut runs {
            let accounting = run.accounting.get_or_insert_with(|| CarbonAccounting {
                pue_source: Some(
                    "not recorded by a run of another version of Wattle: the device alone".into(),
                ),
                ..CarbonAccounting::default()
            });
            accounting.embodied.get_or_insert_with(|| embodied.clone());
        }
    }
    let now = jiff::Timestamp::now().as_second();
    let range = range::of(args.since, args.until, now).context(ConfigError)?;
    let by = By::from(args.by);
    let mut report = assemble(&ledger.totals(&by.query(range, args.period.period()))?, &runs, by);
    if args.baseline.is_some() {
        let models = args.models.as_deref().or(config.models.as_deref());
        let profiles = baseline::profiles(models, &args.profile)?;
        report.baseline = Some(baseline::add(&mut report, &ledger, &runs, range, models, profiles)?);
    }
    let notes = text::notes(&report);
    if let Some(file) = &args.csv {
        let mut csv = Vec::new();
        write_csv(&report.lines(), &mut csv)?;
        new_file::write(file, &csv, args.force)?;
    }
    if let Some(file) = &args.html {
        let page = html::page(&report, &notes, &over_time(&ledger, &runs, by, range, &report)?);
        new_file::write(file, page.to_html().as_bytes(), args.force)?;
    }
    if args.json {
        return print_json(&report, &path, &notes);
    }
    text::print(&report, &notes);
    for file in [&args.csv, &args.html].into_iter().flatten() {
        say(format_args!("wrote {}", file.display()));
    }
    Ok(())
}

/// What the page plots: a report by periods that suit the length of time, and the rows behind it.
fn over_time(
    ledger: &Ledger,
    runs: &[Run],
    by: By,
    range: wattle_ledger::report::Range,
    report: &Report,
) -> Result<html::OverTime> {
    let period = html::period_for(report.counted);
    Ok(html::OverTime {
        periods: assemble(&ledger.totals(&by.query(range, Some(period)))?, runs, by),
        points: ledger.series(range.0, range.1)?,
    })
}

fn read_config(path: &Path) -> Result<ConfigFile> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))
        .context(ConfigError)?;
    toml::from_str(&text).with_context(|| path.display().to_string()).context(ConfigError)
}

fn print_json(report: &Report, ledger: &Path, notes: &[String]) -> Result<()> {
    let json = Json {
        schema: 1,
        wattle_version: env!("CARGO_PKG_VERSION"),
        ledger: ledger.display().to_string(),
        by: report.by.name(),
        counted_from: report.counted.map(|span| utc(span.from)),
        counted_until: report.counted.map(|span| utc(span.to)),
        carbon_intensity_mean_g_per_kwh: report.intensity.map(wattle_core::units::CarbonIntensity::get),
        rows: report.lines(),
        total: report.total_line(),
        sci_method: METHOD,
        sci_included: &BOUNDARY_INCLUDED,
        sci_excluded: &BOUNDARY_EXCLUDED,
        notes,
    };
    say(serde_json::to_string_pretty(&json)?);
    Ok(())
}
