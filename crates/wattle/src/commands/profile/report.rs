//! What `wattle profile MODEL…` says of a model that was measured.

use std::path::Path;

use serde_json::{Value, json};
use wattle_core::operating_point::{OperatingPoint, ProfileRow};
use wattle_core::profile::PowerFigure;
use wattle_core::units::Watts;
use wattle_search::{
    Answer, Candidate, ErrorOf, Estimate, Outcome, Predicted, Probe, Question, latency_ms_of,
};
use wattle_server::profiling::{Ending, Plan, Profiled};

use crate::commands::simulate::figure;
use crate::output::say;
use crate::table::Table;

/// Points without a row that are told one by one, at most.
const MOST_FAILURES: usize = 5;

/// Where others kept more of the device busy than this, it is told: they are part of every figure.
const DISTURBED: f64 = 0.05;

/// What came of a point, in a few words.
pub(super) fn outcome(probe: &Probe) -> String {
    match &probe.outcome {
        Outcome::Measured(row) => format!(
            "{} rows/s, {} W",
            figure(row.throughput_rps),
            figure(row.power_watts_mean.map(Watts::get))
        ),
        Outcome::OutOfMemory => "out of memory".into(),
        Outcome::Failed(why) => format!("failed: {why}"),
    }
}

/// Prints the report.
pub(super) fn print(profiled: &Profiled, plan: &Plan, output: Option<&Path>) {
    let Profiled { profile, probes, points, .. } = profiled;
    let head = &profile.head;
    say(format_args!("model     {} on {}, by {}", head.model, head.device, head.runtime));
    say(format_args!("power     {}", head.power_source));
    let mut counts = format!("{} of {points}", probes.len());
    let told = [
        (profiled.resumed, "of an earlier run"),
        (profiled.unsteady, "did not settle"),
        (profiled.over_cap, "cut short above the cap"),
        (probes.len() - profile.rows.len(), "without a row"),
    ];
    for (count, what) in told.into_iter().filter(|(count, _)| *count > 0) {
        counts.push_str(&format!(", {count} {what}"));
    }
    let ending = match &profiled.ending {
        Ending::Done(stop) => stop.to_string(),
        Ending::Interrupted => "interrupted".to_owned(),
    };
    say(format_args!(
        "points    {counts}; {:.1} s; {} search: {ending}",
        profiled.took.as_secs_f64(),
        plan.search
    ));
    for (point, why) in profiled.without_row().take(MOST_FAILURES) {
        say(format_args!("  no row  {point}: {why}"));
    }
    if let Some((mean, most)) = profiled.others.filter(|(mean, _)| *mean > DISTURBED) {
        say(format_args!(
            "disturbed others kept {:.0} % of the device busy, {:.0} % at most: throughput is too low, and power is theirs too",
            mean * 100.0,
            most * 100.0
        ));
    }
    print_answer(&profiled.answer, plan, head.idle_power_watts);
    print_front(profiled, plan.constraints.figure);
    let errors = &profiled.errors;
    let of = |name: &str, error: &Option<ErrorOf>| {
        error.map(|error| {
            format!(
                "{name} {:.1} % (median), {:.1} % (90th percentile), {:.0} % within the 90 % interval",
                error.median * 100.0,
                error.p90 * 100.0,
                error.coverage * 100.0
            )
        })
    };
    let told = [
        of("throughput", &errors.throughput_rps),
        of("power", &errors.power_watts),
        of("latency", &errors.latency_ms),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    if !told.is_empty() {
        say(format_args!("held back points were predicted off by: {}", told.join("; ")));
    }
    if let Some(output) = output.filter(|_| !profile.rows.is_empty()) {
        say(format_args!("wrote     {} ({} rows)", output.display(), profile.rows.len()));
    }
}

fn print_answer(answer: &Answer, plan: &Plan, idle: Option<Watts>) {
    let sought = match plan.question {
        Question::MostThroughput => "most throughput".to_owned(),
        Question::LeastPowerAt { load_rps } => format!("least power at {load_rps} rows/s"),
        Question::LeastEnergyPerRow => "least energy per row".to_owned(),
    };
    let bounds = [
        plan.constraints.cap.map(|cap| format!("under {cap}")),
        plan.constraints.latency_ms.map(|ms| format!("within {ms} ms")),
        plan.constraints.memory_bytes.map(|bytes| format!("in {:.0} MB", bytes as f64 / 1e6)),
    ];
    let bounds: Vec<String> = bounds.into_iter().flatten().collect();
    let bounds = if bounds.is_empty() { String::new() } else { format!(" {}", bounds.join(", ")) };
    match &answer.measured {
        None => {
            let idle = idle.filter(|_| plan.constraints.cap.is_some());
            let idle = idle.map(|idle| format!("; with nothing to do the device draws {idle}"));
            say(format_args!(
                "answer    {sought}{bounds}: no point that was measured keeps that{}",
                idle.unwrap_or_default()
            ));
        }
        Some(row) => {
            let interval = row.confidence.throughput_rps_ci95;
            say(format_args!(
                "answer    {sought}{bounds}: {}\n          {} rows/s{}, {} W mean, {} W max, {} ms latency, {} J/row ({}, power {})",
                row.point,
                figure(row.throughput_rps),
                interval.map_or_else(String::new, |half| format!(" ± {}", figure(Some(half)))),
                figure(row.power_watts_mean.map(Watts::get)),
                figure(row.power_watts_max.map(Watts::get)),
                figure(latency_ms_of(row)),
                figure(row.energy_joules_per_row.map(|energy| energy.get())),
                row.basis,
                row.power_basis,
            ));
        }
    }
    if let Some(Candidate { point, predicted }) = &answer.predicted {
        say(format_args!(
            "          not measured, but predicted to be better (modelled): {point}\n          {} rows/s, {} W, {} ms",
            estimate(&predicted.throughput_rps),
            estimate(&predicted.power_watts),
            estimate(&predicted.latency_ms),
        ));
    }
}

fn print_front(profiled: &Profiled, figure_of: PowerFigure) {
    if profiled.front.is_empty() {
        return;
    }
    let mut table = Table::new(&["under W", "rows/s", "W", "J/row", "point"]);
    for point in &profiled.front {
        let row = point.answer.measured.as_ref();
        table.row([
            format!("{:.1}", point.cap.get()),
            figure(row.and_then(|row| row.throughput_rps)),
            figure(row.and_then(|row| figure_of.of(row)).map(Watts::get)),
            figure(row.and_then(|row| row.energy_joules_per_row).map(|energy| energy.get())),
            row.map_or_else(|| "-".into(), |row| row.point.to_string()),
        ]);
        if let Some(Candidate { point, predicted }) = &point.answer.predicted {
            table.row([
                "".into(),
                figure(predicted.throughput_rps.as_ref().map(|estimate| estimate.mean)),
                figure(predicted.power_watts.as_ref().map(|estimate| estimate.mean)),
                "-".into(),
                format!("{point} (not measured: modelled)"),
            ]);
        }
    }
    say(table);
}

/// The mean with the ends of its interval.
fn estimate(estimate: &Option<Estimate>) -> String {
    estimate.as_ref().map_or_else(
        || "-".to_owned(),
        |Estimate { mean, low, high }| {
            format!("{} ({} to {})", figure(Some(*mean)), figure(Some(*low)), figure(Some(*high)))
        },
    )
}

/// The report as JSON.
pub(super) fn json(profiled: &Profiled, output: Option<&Path>) -> Value {
    let Profiled { profile, probes, .. } = profiled;
    let without: Vec<Value> =
        profiled.without_row().map(|(point, why)| json!({ "point": point, "why": why })).collect();
    let ending = match &profiled.ending {
        Ending::Done(stop) => stop.to_string(),
        Ending::Interrupted => "interrupted".to_owned(),
    };
    let errors = &profiled.errors;
    let front: Vec<Value> = profiled
        .front
        .iter()
        .map(|point| {
            let mut told = answer(&point.answer);
            told["power_cap_watts"] = json!(point.cap);
            told
        })
        .collect();
    json!({
        "model": profile.head.model,
        "head": profile.head,
        "output": output,
        "points": profiled.points,
        "probes": probes.len(),
        "rows": profile.rows.len(),
        "resumed": profiled.resumed,
        "unsteady": profiled.unsteady,
        "over_cap": profiled.over_cap,
        "others_busy_mean": profiled.others.map(|(mean, _)| mean),
        "others_busy_max": profiled.others.map(|(_, most)| most),
        "without_row": without,
        "is_interrupted": profiled.ending == Ending::Interrupted,
        "ending": ending,
        "seconds": profiled.took.as_secs_f64(),
        "answer": answer(&profiled.answer),
        "front": front,
        "held_back": {
            "throughput_rps": errors.throughput_rps.as_ref().map(error),
            "power_watts": errors.power_watts.as_ref().map(error),
            "latency_ms": errors.latency_ms.as_ref().map(error),
        },
    })
}

fn answer(answer: &Answer) -> Value {
    let measured: Option<&ProfileRow> = answer.measured.as_ref();
    let predicted = answer.predicted.as_ref().map(|candidate| {
        let point: &OperatingPoint = &candidate.point;
        let Predicted { throughput_rps, latency_ms, power_watts, memory_bytes } = &candidate.predicted;
        json!({
            "point": point, "basis": "modelled",
            "throughput_rps": interval(throughput_rps), "latency_ms": interval(latency_ms),
            "power_watts": interval(power_watts), "memory_bytes": interval(memory_bytes),
        })
    });
    json!({ "measured": measured, "predicted": predicted })
}

fn interval(estimate: &Option<Estimate>) -> Value {
    json!(
        estimate
            .as_ref()
            .map(|Estimate { mean, low, high }| json!({ "mean": mean, "low": low, "high": high }))
    )
}

fn error(error: &ErrorOf) -> Value {
    let ErrorOf { points, median, p90, coverage } = error;
    json!({ "points": points, "median": median, "p90": p90, "coverage": coverage })
}
