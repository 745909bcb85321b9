//! `wattle profile`: what is known of a model's operating points, and what to do with the files.

mod diff;
mod merge;
mod plot;
mod png;
mod show;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use wattle_core::profile::PowerFigure;

/// Look at profiles of models, merge them, compare them and draw them
///
/// Example: wattle profile show models/resnet50/profile.csv --cap 150
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ProfileArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Show(show::ShowArgs),
    Merge(merge::MergeArgs),
    Diff(diff::DiffArgs),
    Plot(Box<plot::PlotArgs>),
}

/// Runs the command.
pub(crate) fn run(args: &ProfileArgs) -> Result<()> {
    match &args.action {
        Action::Show(args) => show::run(args),
        Action::Merge(args) => merge::run(args),
        Action::Diff(args) => diff::run(args),
        Action::Plot(args) => plot::run(args),
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

/// A number over 0, for a flag.
fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number over 0".to_owned())
}
