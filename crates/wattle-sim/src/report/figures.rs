//! The figures of a run that a report compares.

use super::number::{grams, joules, milliseconds, number, per_second, seconds, watts};
use super::page::{Cell, Table};
use crate::summary::Summary;

/// Rows of a table of runs, at most.
pub(super) const MOST_ROWS: usize = 200;

/// One figure of a run.
pub(super) struct Figure {
    pub(super) header: &'static str,
    pub(super) of: fn(&Summary) -> Option<f64>,
    show: fn(f64) -> String,
    /// Whether it means something only where there is a cap.
    is_of_cap: bool,
}

const fn figure(header: &'static str, of: fn(&Summary) -> Option<f64>, show: fn(f64) -> String) -> Figure {
    Figure { header, of, show, is_of_cap: false }
}

const fn of_cap(header: &'static str, of: fn(&Summary) -> Option<f64>, show: fn(f64) -> String) -> Figure {
    Figure { header, of, show, is_of_cap: true }
}

pub(super) const THROUGHPUT: Figure =
    figure("throughput, rows", |run| Some(run.throughput_rps_mean), per_second);
pub(super) const POWER: Figure = figure("power, mean", |run| Some(run.power_watts_mean), watts);
pub(super) const ENERGY: Figure = figure("energy", |run| Some(run.energy_joules), joules);
pub(super) const ENERGY_OVER: Figure =
    of_cap("energy above the cap", |run| Some(run.cap_violation_joules), joules);

const FIGURES: [Figure; 16] = [
    THROUGHPUT,
    figure("latency p50", |run| run.latency_ms_p50, milliseconds),
    figure("p95", |run| run.latency_ms_p95, milliseconds),
    figure("p99", |run| run.latency_ms_p99, milliseconds),
    POWER,
    figure("power, highest tick", |run| Some(run.power_watts_max), watts),
    of_cap("cap, mean", |run| run.cap_watts_mean, watts),
    ENERGY,
    figure("energy per row", |run| run.energy_joules_per_row, joules),
    ENERGY_OVER,
    of_cap("time above the cap", |run| Some(run.cap_violation_seconds), seconds),
    figure("parked", |run| Some(run.parked_seconds), seconds),
    figure("refused or expired", |run| Some((run.requests_rejected + run.requests_expired) as f64), number),
    figure("over the objective", |run| Some(run.objective_misses as f64), number),
    figure("carbon", |run| run.carbon_grams, grams),
    figure("quality", |run| run.quality_mean, number),
];

/// Whether a cap was ever in force.
pub(super) fn has_cap(runs: &[&Summary]) -> bool {
    runs.iter().any(|run| run.cap_watts_mean.is_some())
}

fn figures(runs: &[&Summary]) -> impl Iterator<Item = &'static Figure> {
    let has_cap = has_cap(runs);
    FIGURES.iter().filter(move |figure| has_cap || !figure.is_of_cap)
}

/// What a run is called among `runs`.
pub(super) fn name(run: &Summary) -> String {
    format!("{}, seed {}", run.label, run.seed)
}

/// The runs side by side.
pub(super) fn side_by_side(runs: &[&Summary]) -> Table {
    let has_oracle = runs.iter().any(|run| run.oracle.is_some());
    let has_labels = runs.iter().any(|run| run.label != run.policy);
    let mut headers = vec!["run".to_owned()];
    if has_labels {
        headers.push("policy".into());
    }
    headers.extend(figures(runs).map(|figure| figure.header.to_owned()));
    if has_oracle {
        headers.push("over the best possible".into());
    }
    let row = |run: &&Summary| {
        let mut cells = vec![Cell::Text(name(run))];
        if has_labels {
            cells.push(Cell::Text(run.policy.clone()));
        }
        cells.extend(figures(runs).map(|figure| {
            let known = (figure.of)(run).filter(|value| value.is_finite());
            Cell::number(known.map(figure.show))
        }));
        if has_oracle {
            let ratio = run.oracle.as_ref().and_then(|oracle| {
                let ratio = oracle.ratio.filter(|ratio| ratio.is_finite())?;
                Some(format!("{} ({}, {})", number(ratio), oracle.policy, oracle.objective))
            });
            cells.push(Cell::number(ratio));
        }
        cells
    };
    let rows = runs.iter().take(MOST_ROWS).map(row).collect();
    Table { caption: "The runs side by side".into(), headers, rows }
}

/// What each run differs in from the first, in percent.
pub(super) fn differences(runs: &[&Summary]) -> Option<Table> {
    let (first, others) = runs.split_first()?;
    if others.is_empty() {
        return None;
    }
    let headers = std::iter::once("run".to_owned());
    let headers = headers.chain(figures(runs).map(|figure| figure.header.to_owned())).collect();
    let row = |run: &&Summary| {
        let cells = figures(runs).map(|figure| match ((figure.of)(first), (figure.of)(run)) {
            (Some(base), Some(value)) if base == 0.0 && value == 0.0 => Cell::Number("both 0".into()),
            (Some(0.0), Some(_)) => Cell::Number("from 0".into()),
            (Some(base), Some(value)) => Cell::number(super::number::change(base, value)),
            _ => Cell::Unknown,
        });
        std::iter::once(Cell::Text(name(run))).chain(cells).collect()
    };
    let rows = others.iter().take(MOST_ROWS).map(row).collect();
    Some(Table { caption: format!("Differences from {}", name(first)), headers, rows })
}

/// What must hold in any run.
pub(super) fn checks(runs: &[&Summary]) -> Table {
    let headers = ["run", "no request is lost", "Little's law", "energy adds up"].map(String::from).to_vec();
    let row = |run: &&Summary| {
        let checks = &run.checks;
        let lost = checks.requests_lost.map_or(Cell::Unknown, |lost| Cell::Check {
            holds: lost == 0,
            text: format!("{lost} lost of {}", number(run.requests_total as f64)),
        });
        let little = match (checks.in_system_mean, checks.arrivals_times_latency) {
            (Some(l), Some(rate_times_time)) => Cell::Check {
                holds: (l - rate_times_time).abs() <= 1e-6 * l.abs().max(1e-3),
                text: format!("{} in the system, {} by arrivals", number(l), number(rate_times_time)),
            },
            _ => Cell::Unknown,
        };
        let unaccounted = checks.energy_unaccounted_joules;
        let energy = Cell::Check {
            holds: unaccounted.abs() <= 1e-6 * run.energy_joules.abs().max(1e-3),
            text: format!("{} of {} unaccounted for", joules(unaccounted), joules(run.energy_joules)),
        };
        vec![Cell::Text(name(run)), lost, little, energy]
    };
    let rows = runs.iter().take(MOST_ROWS).map(row).collect();
    Table { caption: "What must hold in any run".into(), headers, rows }
}

/// Each model of each run.
pub(super) fn models(runs: &[&Summary]) -> Table {
    let headers = [
        "run",
        "model",
        "requests",
        "answered",
        "rows",
        "rows of a batch, mean",
        "latency, mean",
        "p95",
        "p99",
        "energy",
        "parked",
        "over the objective",
    ];
    let rows = runs.iter().flat_map(|run| {
        run.models.iter().map(|(model, figures)| {
            let count = |count: u64| Cell::Number(number(count as f64));
            let latency = |known: Option<f64>| Cell::number(known.map(milliseconds));
            vec![
                Cell::Text(name(run)),
                Cell::Text(model.to_string()),
                count(figures.requests_total),
                count(figures.requests_completed),
                count(figures.rows_completed),
                Cell::number(figures.batch_size_mean.map(number)),
                latency(figures.latency_ms_mean),
                latency(figures.latency_ms_p95),
                latency(figures.latency_ms_p99),
                Cell::Number(joules(figures.energy_joules)),
                Cell::Number(seconds(figures.parked_seconds)),
                count(figures.objective_misses),
            ]
        })
    });
    Table {
        caption: String::new(),
        headers: headers.map(String::from).to_vec(),
        rows: rows.take(MOST_ROWS).collect(),
    }
}
