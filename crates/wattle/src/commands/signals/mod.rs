//! `wattle signals`: what each configured signal says now and is expected to be, and how good that is.

mod report;
mod trace;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use wattle_signals::live::wall_clock;
use wattle_signals::poller::Poller;

use crate::commands::serve::signals_of;
use crate::exit::ConfigError;
use crate::output::say;
use report::Report;

/// How far ahead is shown.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// What carbon intensity, power caps and a site's supply are now, and are expected to be
///
/// Asks each signal of the configuration once, as `wattle serve` would, and keeps what it says in the same
/// cache. Shows how the value is known, its forecast for a day (the source's own, or else by the model of
/// ours that was best of late), and how far each model would have been off on the last days.
///
/// Examples:
///   wattle signals --config wattle.toml
///   wattle signals --offline
///   wattle signals --trace ciso.csv
///   wattle signals --trace ciso.csv --seen nat_gas,solar,wind
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SignalsArgs {
    /// The configuration file, whose table [signals] names the sources
    #[arg(long, value_name = "FILE", default_value = "wattle.toml", conflicts_with = "trace")]
    config: PathBuf,
    /// Ask nobody: show what the cache holds
    #[arg(long, conflicts_with = "trace")]
    offline: bool,
    /// Show the forecast and the back-test of a CSV file, as of its last value: `seconds` or `time`, and a
    /// column whose name ends with _g_per_kwh or _watts
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Columns of the same file that the forecast may learn from, such as what the plants of each fuel
    /// generated: what was seen up to a time helps to forecast what comes
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',', requires = "trace")]
    seen: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &SignalsArgs) -> Result<()> {
    let mut failed = Vec::new();
    let reports = match &args.trace {
        Some(path) => vec![trace::report(path, &args.seen)?],
        None => {
            let mut pollers = signals_of(&args.config)?.pollers(Some(&args.config))?;
            let mut all: Vec<&mut Poller> = Vec::new();
            all.extend(&mut pollers.carbon_intensity);
            all.extend(&mut pollers.power_cap);
            let mut rule = None;
            if let Some((generators, battery, of_supply)) = &mut pollers.supply {
                rule = Some(*of_supply);
                all.extend(generators);
                all.extend(battery);
            }
            if all.is_empty() {
                return Err(anyhow!(
                    "{}: found no signal, expected [signals.carbon_intensity] or [signals.power_cap]; --trace FILE \
                     shows that of a file",
                    args.config.display()
                )
                .context(ConfigError));
            }
            let mut reports = Vec::new();
            for poller in all {
                if !args.offline {
                    let now = wall_clock();
                    poller.ask(now);
                    poller.write_cache(now);
                    failed.extend(poller.known().last_error.clone());
                }
                poller.plan(wall_clock());
                let (options, now) = (poller.options(), wall_clock());
                reports.push(Report::of(&options.name, poller.known(), &options.rule, now, AHEAD));
            }
            if let Some(rule) = rule {
                reports.push(Report::of_supply(&reports, &rule));
            }
            reports
        }
    };
    if args.json {
        let signals: Vec<_> = reports.iter().map(Report::json).collect();
        say(serde_json::json!({ "signals": signals }));
    } else {
        for report in &reports {
            say(report);
        }
    }
    match failed.len() {
        0 => Ok(()),
        // What the cache and fallbacks say was shown; that nobody answered is told by the exit code too.
        _ => Err(anyhow!("{}", failed.join("; "))),
    }
}
