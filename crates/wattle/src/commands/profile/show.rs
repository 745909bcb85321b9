//! `wattle profile show`: what a profile says, its best points, and how far it can be trusted.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use wattle_core::operating_point::ProfileRow;
use wattle_core::profile::{
    KnobValue, LeaveOneOut, PointKnob, PowerFigure, Profile, ProfileHead, nearest_rank,
};
use wattle_core::units::{Joules, Watts};

use super::{Power, positive, sharing};
use crate::commands::simulate::figure;
use crate::output::say;
use crate::profiles;
use crate::table::Table;

/// Values of a knob that are listed one by one, at most.
const MOST_VALUES: usize = 8;

/// Rows of the front that are listed, at most.
const MOST_OF_FRONT: usize = 24;

/// Show what profiles say: ranges, best points, the front of power and throughput, and how well they predict
///
/// Examples:
///   wattle profile show models/resnet50/profile.csv
///   wattle profile show resnet50.profile.csv --cap 150 --cap 200 --load 900 --latency-ms 50
///
/// A point is named by its knobs. A dash is unknown. Latency is the 99th percentile of a batch where it is
/// known, else the mean, marked so. How well it predicts: every row is predicted from all the others, where
/// it lies between them.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ShowArgs {
    /// The profiles, and files of `wattle profile --sharing`
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Tell the point of most throughput under this power; repeat for several
    #[arg(long = "cap", value_name = "WATTS", value_parser = positive)]
    caps: Vec<f64>,
    /// Tell the point of least power that carries this many rows per second; repeat for several
    #[arg(long = "load", value_name = "RPS", value_parser = positive)]
    loads: Vec<f64>,
    /// Leave points of a longer latency out of the best points
    #[arg(long, value_name = "MS", value_parser = positive)]
    latency_ms: Option<f64>,
    /// Which power counts
    #[arg(long, value_enum, default_value_t)]
    power: Power,
    /// Print one JSON object, {"profiles": [...]}
    #[arg(long)]
    json: bool,
}

/// A best point: what for, the row, and the power at a load where one was asked about.
struct Best<'a> {
    question: String,
    row: Option<&'a ProfileRow>,
    at_load: Option<AtLoad>,
}

/// A load in rows per second, and the mean power that carries it.
#[derive(Clone, Copy)]
struct AtLoad {
    rps: f64,
    power: Watts,
    known: &'static str,
}

/// Runs the command.
pub(super) fn run(args: &ShowArgs) -> Result<()> {
    let (sharing, files): (Vec<&PathBuf>, Vec<&PathBuf>) =
        args.files.iter().partition(|path| sharing::is_one(path));
    let mut all = Vec::new();
    for path in files {
        all.push((path.as_path(), profiles::read(path)?));
    }
    let mut shared = Vec::new();
    for path in sharing {
        shared.push((path.as_path(), sharing::read(path)?));
    }
    if args.json {
        let told: Vec<Value> = all.iter().map(|(path, profile)| report(path, profile, args)).collect();
        let sharing = shared.iter().map(|(path, file)| sharing::report(path, file));
        let sharing = sharing.collect::<Result<Vec<Value>>>()?;
        say(if sharing.is_empty() {
            json!({ "profiles": told })
        } else {
            json!({ "profiles": told, "sharing": sharing })
        });
        return Ok(());
    }
    for (index, (path, profile)) in all.iter().enumerate() {
        if index > 0 {
            say("");
        }
        print(path, profile, args);
    }
    for (index, (path, file)) in shared.iter().enumerate() {
        if index > 0 || !all.is_empty() {
            say("");
        }
        sharing::print(path, file)?;
    }
    Ok(())
}

/// The latency that counts, and whether it is but the mean.
fn latency(row: &ProfileRow) -> Option<(f64, bool)> {
    row.latency_ms_p99.map(|p99| (p99, false)).or(row.latency_ms_mean.map(|mean| (mean, true)))
}

fn best<'a>(profile: &'a Profile, args: &ShowArgs) -> Vec<Best<'a>> {
    let figure: PowerFigure = args.power.into();
    let is_fast = |row: &ProfileRow| {
        args.latency_ms.is_none_or(|most| latency(row).is_some_and(|(latency, _)| latency <= most))
    };
    let one = |question: String, row| Best { question, row, at_load: None };
    let fast = || profile.rows.iter().filter(|row| is_fast(row));
    let by = |a: f64, b: f64| a.total_cmp(&b);
    let most = fast()
        .filter_map(|row| Some((row, row.throughput_rps?)))
        .max_by(|a, b| by(a.1, b.1))
        .map(|(row, _)| row);
    let least_energy = fast()
        .filter_map(|row| Some((row, row.energy_per_row()?.get())))
        .min_by(|a, b| by(a.1, b.1))
        .map(|(row, _)| row);
    let shortest =
        fast().filter_map(|row| Some((row, latency(row)?.0))).min_by(|a, b| by(a.1, b.1)).map(|(row, _)| row);
    let mut found = vec![
        one("most throughput".into(), most),
        one("least energy per row".into(), least_energy),
        one("least power".into(), profile.least_hungry(figure, is_fast)),
        one("shortest latency".into(), shortest),
    ];
    for cap in &args.caps {
        let row = profile.best_within(Watts::new(*cap), figure, is_fast);
        found.push(one(format!("most under {cap} W"), row));
    }
    for load in &args.loads {
        let (row, power) = profile.least_power_at(*load, is_fast).unzip();
        let known = row.map_or("", |row| at_load_basis(profile, row));
        let at_load = power.map(|power| AtLoad { rps: *load, power, known });
        found.push(Best { question: format!("least power at {load} rows/s"), row, at_load });
    }
    found
}

fn report(path: &Path, profile: &Profile, args: &ShowArgs) -> Value {
    let figure: PowerFigure = args.power.into();
    let knobs: serde_json::Map<String, Value> =
        PointKnob::ALL.iter().map(|knob| (knob.name().to_owned(), json!(profile.values_of(*knob)))).collect();
    let best: Vec<Value> = best(profile, args)
        .iter()
        .map(|best| {
            let at_load = best.at_load.map(|at| {
                json!({
                    "load_rps": at.rps, "power_watts_mean": at.power,
                    "energy_joules_per_row": at.power.get() / at.rps, "known": at.known,
                })
            });
            json!({ "question": best.question, "row": best.row, "at_load": at_load })
        })
        .collect();
    let errors = profile.leave_one_out(figure);
    json!({
        "file": path, "head": profile.head, "rows": profile.rows.len(),
        "time_figures": profile.time_counts(), "power_figures": profile.power_counts(),
        "knobs": knobs, "power_figure": figure, "best": best, "front": profile.pareto_front(figure),
        "leave_one_out": {
            "predicted": errors.predicted, "outside": errors.outside,
            "throughput": spread(&errors.throughput), "power": spread(&errors.power),
            "latency": spread(&errors.latency),
        },
    })
}

/// How the power at a load below saturation is known.
fn at_load_basis(profile: &Profile, row: &ProfileRow) -> &'static str {
    match (profile.head.idle_power_watts, row.power_watts_mean) {
        (Some(_), Some(_)) => "modelled: idle in between",
        (Some(_), None) => "at most so much: a higher figure stands in for the mean, idle in between",
        (None, _) => "at most so much, as saturated",
    }
}

/// Median, 90th percentile and worst.
fn spread(errors: &[f64]) -> Value {
    let at = |share| nearest_rank(errors, share);
    json!({ "count": errors.len(), "median": at(0.5), "p90": at(0.9), "worst": at(1.0) })
}

fn print(path: &Path, profile: &Profile, args: &ShowArgs) {
    say(path.display());
    print_head(&profile.head);
    print_rows(profile);
    say("");
    let power = match args.power {
        Power::Max => "highest power",
        Power::P95 => "95th percentile of the power",
        Power::Mean => "mean power",
    };
    let within = args.latency_ms.map(|most| format!(", latency up to {most} ms")).unwrap_or_default();
    say(format_args!("Best points ({power} counts{within})"));
    let mut table = points_table("for");
    let mut known = Vec::new();
    for best in best(profile, args) {
        known.extend(best.at_load.map(|at| (at.rps, at.known)));
        table.row(cells(best.question, best.row, best.at_load));
    }
    say(table);
    for (rps, known) in known {
        say(format_args!("At {rps} rows/s, W mean and J/row are {known}"));
    }
    let front = profile.pareto_front(args.power.into());
    say("");
    say(format_args!("Pareto front of power and throughput: {} of {} rows", front.len(), profile.rows.len()));
    if !front.is_empty() {
        let mut table = points_table("#");
        // Evenly spread where it is long, with both ends.
        let shown = front.len().min(MOST_OF_FRONT);
        for number in 0..shown {
            let index = if shown > 1 { number * (front.len() - 1) / (shown - 1) } else { 0 };
            table.row(cells((index + 1).to_string(), front.get(index).copied(), None));
        }
        say(table);
        if shown < front.len() {
            say(format_args!("{shown} of {} are shown; --json has all", front.len()));
        }
    }
    say("");
    print_errors(&profile.leave_one_out(args.power.into()));
}

fn print_head(head: &ProfileHead) {
    let line = |key: &str, value: &str| {
        say(format_args!("  {key:<17} {}", value.replace('\n', "\n                    ")))
    };
    let known = |key: &str, value: Option<String>| line(key, value.as_deref().unwrap_or("unknown"));
    line("model", head.model.as_str());
    line("device", &head.device);
    line("runtime", &head.runtime);
    line("power", &head.power_source);
    known("idle power", head.idle_power_watts.map(|power| format!("{} W", figure(Some(power.get())))));
    let conditions = &head.conditions;
    let optional = [
        ("driver", conditions.driver.clone()),
        ("model SHA-256", conditions.model_sha256.clone()),
        ("sensors", conditions.sensors.clone()),
        ("ambient", conditions.ambient.clone()),
        ("request overhead", head.request_overhead_ms.map(|ms| format!("{} ms", figure(Some(ms))))),
        ("quality", head.quality.map(|quality| quality.to_string())),
        ("created", head.created.clone()),
        ("notes", head.notes.clone()),
    ];
    for (key, value) in optional.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        line(key, &value);
    }
}

fn print_rows(profile: &Profile) {
    say("");
    say(format_args!(
        "{} rows: time figures {}; power figures {}",
        profile.rows.len(),
        profile.time_counts(),
        profile.power_counts()
    ));
    for knob in PointKnob::ALL {
        let values = profile.values_of(knob);
        // A duty cycle that is not given is 1, which nobody asked about.
        let is_given =
            knob != PointKnob::DutyCycle || profile.rows.iter().any(|row| row.point.duty_cycle.is_some());
        if is_given && values.iter().any(Option::is_some) {
            say(format_args!("  {:<17} {}", knob.name(), range(&values)));
        }
    }
}

/// The values of a knob in words.
fn range(values: &[Option<KnobValue>]) -> String {
    let told =
        |value: &Option<KnobValue>| value.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
    match values {
        [first, .., last] if values.len() > MOST_VALUES => {
            format!("{} to {}, {} values", told(first), told(last), values.len())
        }
        _ => values.iter().map(told).collect::<Vec<_>>().join(", "),
    }
}

fn points_table(first: &str) -> Table {
    Table::new(&[first, "rows/s", "latency ms", "W mean", "W max", "J/row", "known", "point"])
}

fn cells(first: String, row: Option<&ProfileRow>, at_load: Option<AtLoad>) -> [String; 8] {
    let Some(row) = row else {
        let none = || "-".to_owned();
        return [first, none(), none(), none(), none(), none(), none(), "none fits, or none is known".into()];
    };
    let latency = latency(row).map_or_else(
        || "-".to_owned(),
        |(ms, is_mean)| figure(Some(ms)) + if is_mean { " mean" } else { "" },
    );
    let energy = match at_load {
        Some(at) => Some(at.power.get() / at.rps),
        None => row.energy_per_row().map(Joules::get),
    };
    [
        first,
        figure(row.throughput_rps),
        latency,
        figure(at_load.map(|at| at.power).or(row.power_watts_mean).map(Watts::get)),
        figure(row.power_watts_max.map(Watts::get)),
        figure(energy),
        row.known_in_words(),
        row.point.to_string(),
    ]
}

fn print_errors(errors: &LeaveOneOut) {
    say(format_args!(
        "Predicted from the others: {} of {} rows; {} lie at the border, beyond which nothing is predicted",
        errors.predicted,
        errors.predicted + errors.outside,
        errors.outside
    ));
    if errors.predicted == 0 {
        return;
    }
    let mut table = Table::new(&["off by", "rows", "median %", "p90 %", "worst %"]);
    for (name, errors) in
        [("throughput", &errors.throughput), ("power", &errors.power), ("mean latency", &errors.latency)]
    {
        let percent = |share| figure(nearest_rank(errors, share).map(|error| error * 100.0));
        table.row([name.into(), errors.len().to_string(), percent(0.5), percent(0.9), percent(1.0)]);
    }
    say(table);
}
