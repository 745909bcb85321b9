//! `wattle profile diff`: what differs between two profiles, and whether more than chance explains it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::json;
use wattle_core::operating_point::OperatingPoint;
use wattle_core::profile::diff::{Diff, Figure, FigureDifference};

use super::positive;
use crate::exit::ConfigError;
use crate::output::say;
use crate::profiles;
use crate::table::Table;

/// Characters of a text of a head that are shown, at most.
const MOST_TEXT: usize = 60;

/// Points of one file alone that are listed, at most.
const MOST_LISTED: usize = 8;

/// Compare two profiles, point by point
///
/// Examples:
///   wattle profile diff before.csv after.csv
///   wattle profile diff before.csv after.csv --fail-over 5
///
/// A ratio is the second over the first. A star marks a difference beyond what the 95 % confidence intervals
/// of both explain; a tilde one that they explain; without a mark not both tell one. Energy is power over
/// throughput where a file doesn't tell it, and its interval follows from theirs.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct DiffArgs {
    /// The first profile
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The profile that is held against it
    #[arg(value_name = "B")]
    b: PathBuf,
    /// End with code 1 where a figure is worse by more than this (less throughput, or more of anything
    /// else) and the confidence intervals don't explain it, or where the two have no point in common
    #[arg(long, value_name = "PERCENT", value_parser = positive)]
    fail_over: Option<f64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &DiffArgs) -> Result<()> {
    let (a, b) = (profiles::read(&args.a)?, profiles::read(&args.b)?);
    if args.fail_over.is_some() && a.head.model != b.head.model {
        return Err(anyhow!(
            "{} is of the model {:?} and {} of {:?}, expected the same model; --fail-over compares one model \
             with itself",
            args.a.display(),
            a.head.model.as_str(),
            args.b.display(),
            b.head.model.as_str()
        ))
        .context(ConfigError);
    }
    let diff = Diff::of(&a, &b);
    if args.json {
        say(json!({ "a": args.a, "b": args.b, "diff": diff }));
    } else {
        print(args, &diff);
    }
    let Some(percent) = args.fail_over else { return Ok(()) };
    if diff.summary.is_empty() {
        return Err(anyhow!("the two have no figure of a point in common, expected some to compare"));
    }
    let worse = diff.worse_by(percent / 100.0);
    let Some((point, figure)) = worse.first() else { return Ok(()) };
    Err(anyhow!(
        "{} figures are worse by more than {percent} %: the worst is {} at {point}, {} in {} and {} in {}",
        worse.len(),
        figure.figure.name(),
        short(figure.a),
        args.a.display(),
        short(figure.b),
        args.b.display()
    ))
}

fn print(args: &DiffArgs, diff: &Diff) {
    say(format_args!("A {}\nB {}", args.a.display(), args.b.display()));
    if diff.is_empty() {
        say("no difference");
        return;
    }
    if !diff.head.is_empty() {
        let mut table = Table::new(&["head", "A", "B"]);
        for key in &diff.head {
            let told = |text: &Option<String>| text.as_deref().map_or("unknown".into(), shortened);
            table.row([key.key.to_owned(), told(&key.a), told(&key.b)]);
        }
        say(format_args!("\n{table}"));
    }
    let figures: Vec<Figure> = diff.summary.iter().map(|one| one.figure).collect();
    if !diff.points.is_empty() {
        let header: Vec<&str> =
            std::iter::once("B/A at").chain(figures.iter().map(|one| one.name())).collect();
        let mut table = Table::new(&header);
        for at in &diff.points {
            let cell = |figure: &Figure| {
                at.figures.iter().find(|one| one.figure == *figure).map_or("-".into(), marked)
            };
            table.row(std::iter::once(at.point.to_string()).chain(figures.iter().map(cell)));
        }
        say(format_args!("\n{table}"));
    }
    let others: BTreeSet<&str> = diff.points.iter().flat_map(|at| at.others.iter().copied()).collect();
    if !others.is_empty() {
        let count = diff.points.iter().filter(|at| !at.others.is_empty()).count();
        let others = Vec::from_iter(others).join(", ");
        say(format_args!("\nother columns differ at {count} of the points: {others}; --json tells where"));
    }
    for (name, points) in [("A", &diff.only_in_a), ("B", &diff.only_in_b)] {
        if !points.is_empty() {
            say(format_args!("\nonly in {name}: {}", listed(points)));
        }
    }
    if !diff.summary.is_empty() {
        let mut table =
            Table::new(&["figure", "points", "median B/A", "worst B/A", "beyond chance", "worst at"]);
        for one in &diff.summary {
            let beyond = match one.with_ci95 {
                0 => "unknown".to_owned(),
                known => format!("{} of {known}", one.beyond_ci95),
            };
            table.row([
                one.figure.name().to_owned(),
                one.compared.to_string(),
                format!("{:.3}", one.median_ratio),
                format!("{:.3}", one.worst_ratio),
                beyond,
                one.worst_at.to_string(),
            ]);
        }
        say(format_args!("\n{table}"));
    }
}

/// The ratio, with a mark that tells whether chance explains it.
fn marked(figure: &FigureDifference) -> String {
    let mark = match figure.beyond_ci95 {
        Some(true) => "*",
        Some(false) => "~",
        None => " ",
    };
    format!("{:.3}{mark}", figure.ratio)
}

fn listed(points: &[OperatingPoint]) -> String {
    let told: Vec<String> = points.iter().take(MOST_LISTED).map(ToString::to_string).collect();
    let more = points.len() - told.len();
    let more = if more > 0 { format!("; and {more} more, --json has all") } else { String::new() };
    told.join("; ") + &more
}

fn short(value: f64) -> String {
    crate::commands::simulate::figure(Some(value))
}

/// One line of a text, cut where it is long.
fn shortened(text: &str) -> String {
    let line = text.replace('\n', " ");
    if line.chars().count() <= MOST_TEXT {
        return line;
    }
    let kept: String = line.chars().take(MOST_TEXT - 1).collect();
    format!("{}…", kept.trim_end())
}
