//! `wattle profile plot`: a page of plots that opens offline, and the plots as files of their own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::json;
use wattle_core::nearest::nearest;
use wattle_core::profile::{KnobValue, PointKnob};
use wattle_core::units::Watts;
use wattle_sim::report::{ProfileReport, ProfileView, profile_report};

use super::png::Painter;
use super::{Power, positive};
use crate::exit::ConfigError;
use crate::new_file;
use crate::output::say;
use crate::profiles;

/// Draw profiles: response surfaces, lines, the front of power and throughput, and how well they predict
///
/// Examples:
///   wattle profile plot models/resnet50/profile.csv -o resnet50.html
///   wattle profile plot resnet50.profile.csv -o report.html --x core_clock_mhz --y batch_size --at partition=3g
///
/// The page is one file that opens without a network and without a script. Surfaces and lines show two
/// knobs, by default those with the most values; the others stand where there are the most rows, or where
/// --at says. Where the file has no row, a surface shows what is predicted between its rows.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct PlotArgs {
    /// The profiles
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The page to write
    #[arg(short, long, value_name = "FILE.html")]
    out: PathBuf,
    /// Folder that receives each plot as SVG
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Folder that receives each plot as PNG, drawn with the fonts of this machine
    #[arg(long, value_name = "DIR")]
    png: Option<PathBuf>,
    /// The knob along, by its column in the file
    #[arg(long, value_name = "KNOB", value_parser = knob)]
    x: Option<PointKnob>,
    /// The knob up
    #[arg(long, value_name = "KNOB", value_parser = knob)]
    y: Option<PointKnob>,
    /// Where a knob that is not drawn stands; repeat for several
    #[arg(long, value_name = "KNOB=VALUE", value_parser = held)]
    at: Vec<(PointKnob, KnobValue)>,
    /// Draw this cap; repeat for several [default: a few round ones]
    #[arg(long = "cap", value_name = "WATTS", value_parser = positive)]
    caps: Vec<f64>,
    /// Which power counts
    #[arg(long, value_enum, default_value_t)]
    power: Power,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
    /// Print one JSON object: the files made
    #[arg(long)]
    json: bool,
}

fn knob(text: &str) -> Result<PointKnob, String> {
    let found = PointKnob::ALL.into_iter().find(|knob| knob.name() == text);
    found.ok_or_else(|| {
        let names = || PointKnob::ALL.iter().map(|knob| knob.name());
        let meant = nearest(text, names()).unwrap_or_default();
        format!("expected one of {}; did you mean {meant:?}?", names().collect::<Vec<_>>().join(", "))
    })
}

fn held(text: &str) -> Result<(PointKnob, KnobValue), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| "expected KNOB=VALUE, such as partition=3g".to_owned())?;
    let knob = knob(name)?;
    let value = knob.read(value).ok_or_else(|| format!("expected a number for {knob}"))?;
    Ok((knob, value))
}

/// Runs the command.
pub(super) fn run(args: &PlotArgs) -> Result<()> {
    new_file::check(&args.out, args.force)?;
    let painter = args.png.as_ref().map(|_| Painter::new()).transpose()?;
    let mut all = Vec::new();
    for path in &args.files {
        all.push((path.display().to_string(), profiles::read(path)?));
    }
    let view = ProfileView {
        x: args.x,
        y: args.y,
        at: args.at.clone(),
        caps: args.caps.iter().copied().map(Watts::new).collect(),
        power: args.power.into(),
    };
    let report = profile_report(&all, &view).context(ConfigError)?;
    let made = made(&report, args, painter.as_ref())?;
    made.iter().try_for_each(|(path, _)| new_file::check(path, args.force))?;
    for (path, bytes) in &made {
        new_file::write(path, bytes, args.force)?;
    }
    if args.json {
        let paths: Vec<&Path> = made.iter().map(|(path, _)| path.as_path()).collect();
        say(json!({ "files": paths }));
        return Ok(());
    }
    say(format_args!("wrote {} ({} plots)", args.out.display(), report.plots.len()));
    for folder in [&args.svg, &args.png].into_iter().flatten() {
        say(format_args!("wrote {} ({} plots)", folder.display(), report.plots.len()));
    }
    Ok(())
}

/// Every file to write: the page, then the plots.
fn made(
    report: &ProfileReport,
    args: &PlotArgs,
    painter: Option<&Painter>,
) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut made = vec![(args.out.clone(), report.html.clone().into_bytes())];
    for (name, svg) in &report.plots {
        if let Some(folder) = &args.svg {
            made.push((folder.join(format!("{name}.svg")), svg.clone().into_bytes()));
        }
        if let (Some(folder), Some(painter)) = (&args.png, painter) {
            let png = painter.png(svg).map_err(|error| anyhow!("failed to draw {name}.png: {error}"))?;
            made.push((folder.join(format!("{name}.png")), png));
        }
    }
    Ok(made)
}
