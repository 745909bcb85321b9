//! `wattle devices`: what is here, what can be read and turned, what is missing and how to get it.

mod json;
mod text;
mod view;
mod watch;

use anyhow::{Result, bail};
use clap::Args;
use wattle_device::cpu::CoreBudget;
use wattle_device::discover;
use wattle_device::recover::{Recovered, Recovery};

use self::view::Machine;
use crate::commands::serve::available_cores;
use crate::devices::{DeviceArgs, describe};
use crate::exit::ConfigError;
use crate::output::say;

/// What is here: devices, their sensors and knobs, and what permission is missing
///
/// Examples:
///   wattle devices
///   wattle devices --watch
///   wattle devices --restore     puts back what a process that was killed had turned
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DevicesArgs {
    #[command(flatten)]
    devices: DeviceArgs,
    /// Print one JSON object; with --watch, one a line
    #[arg(long)]
    json: bool,
    /// Show it live, anew every so many seconds; q ends it
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = seconds)]
    watch: Option<f64>,
    /// Put back the knobs that a process that was killed had turned
    #[arg(long, conflicts_with = "watch")]
    restore: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "expected seconds, 0.1 to 3600".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &DevicesArgs) -> Result<()> {
    let at = args.devices.locations(CoreBudget::new(available_cores()), None);
    if args.restore {
        let looked: Vec<_> =
            args.devices.lease_folders()?.iter().map(|folder| folder.path().to_owned()).collect();
        return restore(&args.devices.recover(&at)?, &looked, args.json);
    }
    let mut machine = Machine::new(discover::all(&at), args.devices.lease_folders()?);
    if let Some(seconds) = args.watch {
        return watch::run(&mut machine, std::time::Duration::from_secs_f64(seconds), args.json);
    }
    let seen = machine.look_twice();
    if args.json {
        say(json::of_machine(&seen));
    } else {
        say(text::of_machine(&seen));
    }
    Ok(())
}

/// Tells what was put back; fails if something could not be.
fn restore(recoveries: &[Recovery], looked: &[std::path::PathBuf], as_json: bool) -> Result<()> {
    let failures = recoveries.iter().filter(|recovery| recovery.outcome.is_err()).count();
    if as_json {
        say(json::of_recoveries(recoveries));
    } else if recoveries.is_empty() {
        let looked: Vec<String> = looked.iter().map(|folder| folder.display().to_string()).collect();
        say(match looked.is_empty() {
            true => "nothing to put back: there is no folder of leases that this user may read".to_owned(),
            false => format!("nothing to put back: no lease in {}", looked.join(" or ")),
        });
    } else {
        recoveries.iter().for_each(say_recovery);
    }
    match failures {
        0 => Ok(()),
        1 => bail!(anyhow::anyhow!("a lease is left").context(ConfigError)),
        _ => bail!(anyhow::anyhow!("{failures} leases are left").context(ConfigError)),
    }
}

fn say_recovery(recovery: &Recovery) {
    match &recovery.outcome {
        Ok(Recovered::PutBack { device, pid, knobs }) => {
            for knob in knobs {
                say(format_args!("{device}: put back {} (turned by process {pid})", describe(knob)));
            }
        }
        Ok(Recovered::OfEarlierBoot { device }) => say(format_args!(
            "{device}: nothing to put back, the machine was started anew since; removed {}",
            recovery.file.display()
        )),
        Ok(Recovered::InUse { device, pid }) => {
            say(format_args!("{device}: left alone, process {pid} turns it and lives"));
        }
        Err(error) => say(format_args!("failed: {error}")),
    }
}
