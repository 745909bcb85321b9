//! `wattle runtimes`: which runtime would serve, and why; and the one command that gets the faster one.

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use wattle_runtime::install::Install;
use wattle_runtime::onnxruntime::library::{PINNED_VERSION, data_dir};

use crate::output::say;
use crate::runtimes::RuntimeArgs;

/// Which runtime executes models here, and why
///
/// Example: wattle runtimes install
#[derive(Args)]
pub(crate) struct RuntimesArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Action {
    /// Gets ONNX Runtime, at the version Wattle is tested with, from its Python wheel (needs python3 with
    /// pip; nothing of Python is used afterwards)
    Install,
}

/// Runs the command.
pub(crate) fn run(args: &RuntimesArgs) -> Result<()> {
    if let Some(Action::Install) = args.action {
        let folder = data_dir()
            .ok_or_else(|| anyhow!("neither XDG_DATA_HOME nor HOME is set: nowhere to install to"))?;
        let installed = Install::pinned(folder)?.run().context("ONNX Runtime was not installed")?;
        if args.json {
            let report = serde_json::json!({
                "library": installed.library, "bytes": installed.bytes, "wheel": installed.wheel,
                "sha256": installed.sha256, "verified": installed.verified,
            });
            say(format_args!("{report}"));
        } else {
            say(format_args!(
                "wrote {} ({:.1} MB)",
                installed.library.display(),
                installed.bytes as f64 / 1e6
            ));
            let checked = if installed.verified { "as pinned" } else { "not pinned for this machine" };
            say(format_args!("from {}, sha256 {} ({checked})", installed.wheel, installed.sha256));
        }
        return Ok(());
    }
    let discovery = args.runtime.discover()?;
    let (runtime, why) = args.runtime.choose(None)?;
    if args.json {
        let considered: Vec<_> = discovery
            .considered
            .iter()
            .map(|(place, verdict)| serde_json::json!({ "place": place, "verdict": verdict }))
            .collect();
        let report = serde_json::json!({
            "runtime": runtime.name(), "describe": runtime.describe(), "why": why,
            "library": discovery.chosen.as_ref().map(|library| &library.path),
            "considered": considered, "pinned_version": PINNED_VERSION,
        });
        say(format_args!("{report}"));
        return Ok(());
    }
    say(format_args!("serves: {}", runtime.describe()));
    say(format_args!("why:    {why}"));
    say(format_args!("looked for ONNX Runtime in:"));
    for (place, verdict) in &discovery.considered {
        say(format_args!("  {place}: {verdict}"));
    }
    if runtime.name() == "rten" {
        say(format_args!(
            "for the faster one: wattle runtimes install   (or: pip install onnxruntime=={PINNED_VERSION})"
        ));
    }
    Ok(())
}
