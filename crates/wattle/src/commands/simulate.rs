//! `wattle simulate`: replays a scenario under its policies and seeds.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use wattle_sim::experiment::{Experiment, ExperimentError, Overrides};
use wattle_sim::run_folder::{self, Written};
use wattle_sim::scenario::{Loaded, check_span};

use crate::exit::ConfigError;
use crate::output::say;
use crate::progress::Progress;
use crate::table::Table;

/// Replay a scenario in virtual time, with the policies, queue and ledger of the server
///
/// Examples:
///   wattle simulate scenarios/resnet50-under-a-cap.toml
///   wattle simulate scenarios/batchsizer/job-19.toml --policy batch-sizer --policy dvfs --seed 1 --seed 2
///
/// The same scenario and seed give the same bytes every time. The result is a folder: summary.json,
/// metadata.json, a time series and the decisions of each run, and report.html, which opens offline.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SimulateArgs {
    /// The scenario, a TOML file (its format: docs/simulation.md)
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// Where the result goes [default: runs/NAME; with --json alone: nowhere]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace what an earlier run left in that folder
    #[arg(long)]
    overwrite: bool,
    /// Run the scenario's policy of this label or name alone, or one that it hasn't got; repeat for several
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// Run with this seed in place of the scenario's; repeat for several
    #[arg(long = "seed", value_name = "N")]
    seeds: Vec<u64>,
    /// Run so long in place of the scenario's span
    #[arg(long, value_name = "SECONDS")]
    span_seconds: Option<f64>,
    /// Don't run the oracles that tell the distance to the best possible
    #[arg(long)]
    no_oracle: bool,
    /// Threads to run on [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print one JSON object, {"runs": [...]}
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: SimulateArgs) -> Result<()> {
    let span =
        args.span_seconds.map(check_span).transpose().context("--span-seconds").context(ConfigError)?;
    let loaded = Loaded::read(&args.scenario).context(ConfigError)?;
    let overrides = Overrides { policies: args.policies, seeds: args.seeds, span, no_oracle: args.no_oracle };
    let experiment = Experiment::new(loaded, &overrides).context(ConfigError)?;
    let scenario = &experiment.loaded;
    let own_place = || PathBuf::from("runs").join(run_folder::safe_name(&scenario.name));
    let out = args.out.or_else(|| (!args.json).then(own_place));
    if let Some(out) = &out {
        // Told before anything runs, not after.
        run_folder::check(out, args.overwrite).context(ConfigError)?;
    }

    let threads = args.threads.unwrap_or_else(available_threads);
    let progress = Progress::new(&scenario.name);
    let outcomes = experiment.run(threads, &|share| progress.tell(share)).map_err(|error| match error {
        ExperimentError::Workload(_) => anyhow::Error::new(error).context("the run stopped"),
        other => anyhow::Error::new(other).context(ConfigError),
    })?;
    drop(progress);

    let written = Written {
        scenario: scenario.name.clone(),
        description: scenario.file.description.clone(),
        wattle_version: env!("CARGO_PKG_VERSION").to_owned(),
        inputs: scenario.inputs.clone(),
        runs: outcomes,
    };
    if let Some(out) = &out {
        run_folder::write(out, &written, args.overwrite).context("the result was not written")?;
    }
    if args.json {
        say(run_folder::summary_json(&written.runs)?.trim_end());
        return Ok(());
    }
    print(&written);
    if let Some(out) = &out {
        say(format_args!("wrote {}", out.join("report.html").display()));
    }
    Ok(())
}

/// Cores that this process may use.
pub(crate) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The runs side by side.
fn print(written: &Written) {
    say(&written.scenario);
    if !written.description.is_empty() {
        say(format_args!("{}", written.description.trim()));
    }
    let mut table = Table::new(&[
        "run",
        "seed",
        "answered",
        "rows/s",
        "p50 ms",
        "p99 ms",
        "W mean",
        "W max",
        "J over cap",
        "parked s",
        "gCO2e",
        "quality",
        "of the best",
    ]);
    for run in &written.runs {
        let of = &run.summary;
        let oracle = of.oracle.as_ref();
        table.row([
            of.label.clone(),
            of.seed.to_string(),
            of.requests_completed.to_string(),
            figure(Some(of.throughput_rps_mean)),
            figure(of.latency_ms_p50),
            figure(of.latency_ms_p99),
            figure(Some(of.power_watts_mean)),
            figure(Some(of.power_watts_max)),
            figure(of.cap_watts_mean.map(|_| of.cap_violation_joules)),
            figure(Some(of.parked_seconds)),
            figure(of.carbon_grams),
            figure(of.quality_mean),
            figure(oracle.and_then(|oracle| oracle.ratio)),
        ]);
    }
    say(table);
    let known: std::collections::BTreeSet<String> = written
        .runs
        .iter()
        .flat_map(|run| run.summary.power_provenance.iter())
        .map(|(device, known)| format!("power of {device} {known}"))
        .collect();
    known.iter().for_each(say);
    let oracles: std::collections::BTreeSet<String> = written
        .runs
        .iter()
        .filter_map(|run| run.summary.oracle.as_ref())
        .map(|oracle| format!("of the best: {} over that of {}", oracle.objective, oracle.policy))
        .collect();
    oracles.iter().for_each(say);
    for run in &written.runs {
        if let Some(note) = &run.summary.oracle_note {
            say(format_args!("{} seed {}: {note}", run.summary.label, run.summary.seed));
        }
    }
}

/// A figure with four digits that count, or a dash for unknown.
pub(crate) fn figure(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".into() };
    if value == 0.0 {
        return "0".into();
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    format!("{value:.*}", digits.clamp(0, 6) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenarios_that_help_names_are_there() {
        let help = SimulateArgs::augment_args(clap::Command::new("simulate")).render_long_help().to_string();
        let named: Vec<&str> =
            help.split_whitespace().filter(|word| word.starts_with("scenarios/")).collect();
        assert_eq!(named.len(), 2, "{help}");
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for path in named.into_iter().chain(["docs/simulation.md"]) {
            assert!(help.contains(path) && root.join(path).is_file(), "{path}");
        }
    }

    #[test]
    fn figures_have_four_digits_that_count() {
        let all = [0.0, 0.012346, 1.23456, 98.765, 4321.9, 1_234_567.0].map(|value| figure(Some(value)));
        assert_eq!(all, ["0", "0.01235", "1.235", "98.77", "4322", "1234567"]);
        assert_eq!(figure(None), "-");
    }
}
