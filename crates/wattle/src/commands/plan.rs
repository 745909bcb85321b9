//! `wattle plan`: which models share which device and slice, at which batch size and clock, and why.

mod text;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use serde::Serialize;
use wattle_plan::explain::{
    Compared, Driver, PlanError, Range, by_hour, comparisons, drivers, flips_by_intensity, flips_by_load,
    kept_value, make,
};
use wattle_plan::fleet::{Fleet, Loaded, Objective, load};
use wattle_plan::options::Restrict;
use wattle_plan::plan::{FORMAT_VERSION, Plan};
use wattle_plan::replan::{Decision, worth_changing};
use wattle_plan::solve::Effort;

use crate::exit::ConfigError;
use crate::new_file;
use crate::output::say;

/// Fleets up to so many models are explained in full unless asked otherwise.
const EXPLAINED_MODELS: usize = 16;

/// Plans which models share which device and slice, at which batch size and clock, and says why
///
/// Examples:
///   wattle plan examples/fleet.toml
///   wattle plan fleet.toml --objective energy --out plan.json
///   wattle plan fleet.toml --current plan.json
///
/// The plan has the least operational and embodied carbon (or energy, or devices) of all that keep every
/// model's latency objective. Where that is proved it says so; else it tells the bound that no plan goes
/// below. Nothing is changed on any device.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PlanArgs {
    /// The fleet, a TOML file (its format: docs/planning.md)
    #[arg(value_name = "FLEET.toml")]
    fleet: PathBuf,
    /// What is to be least, in place of the fleet's: carbon, energy or devices
    #[arg(long, value_name = "WHAT", value_parser = objective)]
    objective: Option<Objective>,
    /// The plan is made in so long at most; explaining it takes as long again at most
    #[arg(long, value_name = "SECONDS", default_value_t = 55.0, value_parser = positive_seconds)]
    time_limit: f64,
    /// Of a large fleet, a plan that is proved to be this near the best is near enough
    #[arg(long, value_name = "SHARE", default_value_t = Effort::default().enough_gap, value_parser = share)]
    gap: f64,
    /// How much is explained: none, brief (comparisons) or full (also what decides, and where it flips)
    /// [default: full for up to 16 models, else brief]
    #[arg(long, value_name = "HOW")]
    explain: Option<Explain>,
    /// Writes the plan to this file
    #[arg(long, value_name = "PLAN.json")]
    out: Option<PathBuf>,
    /// Replace the file if it is there already
    #[arg(long)]
    force: bool,
    /// The plan that is in force: tells whether the new one pays for the change
    #[arg(long, value_name = "PLAN.json")]
    current: Option<PathBuf>,
    /// Plan again so often, as the grid's trace goes on and files change; a new plan is told, and written to
    /// --out, only where it pays
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    watch: Option<f64>,
    /// Print JSON: one object, or with --watch one a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Explain {
    None,
    Brief,
    Full,
}

fn objective(text: &str) -> Result<Objective, String> {
    match text {
        "carbon" => Ok(Objective::Carbon),
        "energy" => Ok(Objective::Energy),
        "devices" => Ok(Objective::Devices),
        _ => Err("expected carbon, energy or devices".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| (0.0..1.0).contains(number));
    number.ok_or_else(|| "expected a share such as 0.01, for 1 %".to_owned())
}

fn positive_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e7 => Ok(seconds),
        _ => Err("expected seconds as a number over 0".to_owned()),
    }
}

/// All that is told of a plan.
#[derive(Serialize)]
struct Told {
    plan: Plan,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    comparisons: Vec<Compared>,
    drivers: Vec<Driver>,
    flips_by_carbon_intensity: Vec<Range>,
    flips_by_load: Vec<Range>,
    hours: Vec<Range>,
}

/// Runs the command.
pub(crate) fn run(args: &PlanArgs) -> Result<()> {
    if let Some(out) = &args.out {
        // Told before anything is planned, not after. A watch replaces its own file.
        new_file::check(out, args.force)?;
    }
    if let Some(seconds) = args.watch {
        return watch::run(args, Duration::from_secs_f64(seconds));
    }
    let current = args.current.as_deref().map(read_plan).transpose()?;
    let loaded = read_fleet(args, 0.0)?;
    let plan = made(&loaded, args)?;
    let decision = current.as_ref().map(|current| decide(&loaded, current, &plan));
    let mut told = explained(&loaded, plan, args);
    told.decision = decision;
    if let Some(out) = &args.out {
        new_file::write(out, plan_json(&told.plan)?.as_bytes(), args.force)?;
    }
    if args.json {
        say(serde_json::to_string(&told)?);
    } else {
        text::print(&loaded, &told);
        if let Some(out) = &args.out {
            say(format_args!("wrote {}", out.display()));
        }
    }
    Ok(())
}

/// Reads the fleet and what it names; its trace is `later_seconds` further on.
fn read_fleet(args: &PlanArgs, later_seconds: f64) -> Result<Loaded> {
    let path = &args.fleet;
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the fleet {}", path.display()))
        .context(ConfigError)?;
    let name = path.display().to_string();
    let mut fleet = Fleet::parse(&text, &name).context(ConfigError)?;
    if let Some(objective) = args.objective {
        fleet.objective = objective;
    }
    if fleet.grid.trace.is_some() {
        fleet.grid.start_seconds = Some(fleet.grid.start_seconds.unwrap_or(0.0) + later_seconds);
    }
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).map_err(|error| error.to_string());
    load(fleet, &name, &read).context(ConfigError)
}

/// Plans within a time limit.
fn made(loaded: &Loaded, args: &PlanArgs) -> Result<Plan> {
    let (started, limit) = (Instant::now(), Duration::from_secs_f64(args.time_limit));
    let effort = Effort { enough_gap: args.gap, ..Effort::default() };
    make(loaded, Restrict::default(), effort, &|| limit.saturating_sub(started.elapsed())).map_err(|error| {
        match error {
            PlanError::Fleet(_) | PlanError::Nowhere(_) => anyhow::Error::new(error).context(ConfigError),
            PlanError::Solve(..) => anyhow::Error::new(error),
        }
    })
}

fn decide(loaded: &Loaded, current: &Plan, proposed: &Plan) -> Decision {
    worth_changing(
        current,
        kept_value(loaded, current),
        proposed,
        loaded.fleet.change,
        loaded.fleet.horizon_hours,
    )
}

fn explained(loaded: &Loaded, plan: Plan, args: &PlanArgs) -> Told {
    let how = args.explain.unwrap_or(match loaded.fleet.models.len() <= EXPLAINED_MODELS {
        true => Explain::Full,
        false => Explain::Brief,
    });
    let (started, limit) = (Instant::now(), Duration::from_secs_f64(args.time_limit));
    let left = || limit.saturating_sub(started.elapsed());
    let mut told = Told {
        plan,
        decision: None,
        comparisons: Vec::new(),
        drivers: Vec::new(),
        flips_by_carbon_intensity: Vec::new(),
        flips_by_load: Vec::new(),
        hours: Vec::new(),
    };
    if how != Explain::None {
        told.comparisons = comparisons(loaded, Effort::default(), &left);
    }
    if how == Explain::Full {
        told.drivers = drivers(loaded, &told.plan, Effort::default(), &left);
        told.flips_by_carbon_intensity = flips_by_intensity(loaded, Effort::default(), &left);
        told.flips_by_load = flips_by_load(loaded, Effort::default(), &left);
        told.hours = by_hour(loaded, &told.flips_by_carbon_intensity);
    }
    told
}

fn plan_json(plan: &Plan) -> Result<String> {
    Ok(serde_json::to_string_pretty(plan)? + "\n")
}

/// Reads a plan, by itself or in what `--json` prints.
fn read_plan(path: &Path) -> Result<Plan> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the plan {name}"))
        .context(ConfigError)?;
    let mut value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{name} is no JSON")).context(ConfigError)?;
    if let Some(plan) = value.get_mut("plan") {
        value = plan.take();
    }
    let plan: Plan = serde_json::from_value(value)
        .with_context(|| format!("{name} is no plan of wattle plan; make one with --out"))
        .context(ConfigError)?;
    if plan.wattle_plan != FORMAT_VERSION {
        let found = plan.wattle_plan;
        return Err(anyhow!("{name}, wattle_plan: found {found}, expected {FORMAT_VERSION}; plan again")
            .context(ConfigError));
    }
    Ok(plan)
}
