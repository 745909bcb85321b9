//! `wattle profile`: what is known of a model's operating points, and what to do with the files.

mod device;
mod diff;
mod measure;
mod merge;
mod plot;
mod png;
mod report;
mod sharing;
mod show;
mod targets;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use tokio::runtime::Runtime;
use wattle_core::profile::PowerFigure;

use crate::commands::serve::{async_runtime, stop_signal};

/// Measure a model's operating points as it is served; show, merge, compare and draw profiles
///
/// Examples:
///   wattle profile resnet50 --models models
///   wattle profile resnet50 --power-cap 150 --clocks auto --question energy
///   wattle profile --sharing mobilenet resnet50 gpt -o sharing.toml
///   wattle profile show models/resnet50/profile.csv --cap 150
///
/// MODEL is measured one operating point after another while it is kept saturated from within the process,
/// by the same repository, executor, runtime and device as `wattle serve`. A search chooses the points. The
/// profile goes to MODEL's folder as profile.csv, where `wattle serve` finds it. A family stands for its
/// variants. With --sharing the models are measured together, and what a device draws that they share is
/// written instead. Ctrl-C ends it; the same command again goes on after the points that were measured.
#[derive(Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct ProfileArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    measure: measure::MeasureArgs,
}

#[derive(Subcommand)]
enum Action {
    Show(show::ShowArgs),
    Merge(merge::MergeArgs),
    Diff(diff::DiffArgs),
    Plot(Box<plot::PlotArgs>),
}

/// Runs the command.
pub(crate) fn run(args: ProfileArgs) -> Result<()> {
    match &args.action {
        Some(Action::Show(args)) => show::run(args),
        Some(Action::Merge(args)) => merge::run(args),
        Some(Action::Diff(args)) => diff::run(args),
        Some(Action::Plot(args)) => plot::run(args),
        None if args.measure.sharing.sharing => sharing::run(args.measure),
        None => measure::run(args.measure),
    }
}

/// Which power of a point counts; one that is not known is stood in for by the next that is.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Power {
    /// The highest, else the 95th percentile, else the mean
    #[default]
    Max,
    /// The 95th percentile, else the highest, else the mean
    P95,
    /// The mean, else the 95th percentile, else the highest
    Mean,
}

impl From<Power> for PowerFigure {
    fn from(power: Power) -> Self {
        match power {
            Power::Max => Self::Max,
            Power::P95 => Self::P95,
            Power::Mean => Self::Mean,
        }
    }
}

/// A flag that becomes true when the process is told to stop, as long as the runtime beside it lives: a
/// signal leaves no knob turned.
fn stop_flag() -> Result<(Arc<AtomicBool>, Runtime)> {
    let signals = async_runtime()?;
    let stopped = {
        let _inside = signals.enter();
        stop_signal()?
    };
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    signals.spawn(async move {
        stopped.await;
        told.store(true, Ordering::Relaxed);
    });
    Ok((stop, signals))
}

/// A number over 0, for a flag.
fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number over 0".to_owned())
}
