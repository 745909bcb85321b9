//! The plots of a report of runs: quantities over time run by run, and policies against each other.

use super::figures::{ENERGY, ENERGY_OVER, Figure, POWER, THROUGHPUT, has_cap, name};
use super::page::{Block, Plot};
use crate::plot::{Axis, Bar, Bars, Frontier, Line, LineKind, LinePlot, Scatter, ScatterSeries, Size};
use crate::recorder::Point;
use crate::request_level::Outcome;
use crate::summary::Summary;

/// Points of all lines of a report together, about; so that many runs still make a file of moderate size.
const ALL_POINTS: usize = 110_000;
/// Lines of one run.
const LINES: usize = 12;

/// A line of `value` over the points of a run.
fn line(name: &str, kind: LineKind, points: &[Point], value: impl Fn(&Point) -> Option<f64>) -> Line {
    let points = points.iter().map(|point| (point.seconds, value(point))).collect();
    Line { name: name.into(), kind, points }
}

/// One plot for each of `runs`.
fn each(runs: &[&Outcome], quantity: &str, axis: &Axis, lines: impl Fn(&[Point]) -> Vec<Line>) -> Vec<Plot> {
    let most_points = ALL_POINTS / (runs.len().max(1) * LINES);
    let plots = runs.iter().map(|run| {
        let plot = LinePlot::over_time(&name(&run.summary), axis.clone(), lines(&run.points));
        Plot {
            svg: LinePlot { most_points, ..plot }.svg(),
            alternative: format!("{}: {quantity}", name(&run.summary)),
            caption: String::new(),
        }
    });
    plots.collect()
}

/// The axis from 0 that covers the highest `value` of all `runs`, so that their plots compare.
fn common(runs: &[&Outcome], axis: Axis, value: fn(&Point) -> f64) -> Axis {
    let all = runs.iter().flat_map(|run| &run.points).map(value).filter(|value| value.is_finite());
    axis.and_covers(all.fold(0.0, f64::max))
}

/// Quantities over time, run by run.
pub(super) fn over_time(runs: &[&Outcome]) -> Vec<Block> {
    let power = common(runs, Axis::from_zero("power", "W"), |point| {
        point.power_watts_max.max(point.power_cap_watts.unwrap_or(0.0))
    });
    let has_cap = has_cap(&runs.iter().map(|run| &run.summary).collect::<Vec<_>>());
    let power = each(runs, "power and its cap over time", &power, |points| {
        let mut lines = vec![
            line("mean", LineKind::Straight, points, |point| Some(point.power_watts)),
            line("highest tick", LineKind::Straight, points, |point| Some(point.power_watts_max)),
        ];
        if has_cap {
            lines.push(line("cap", LineKind::Bound, points, |point| point.power_cap_watts));
        }
        lines
    });
    let rows = common(runs, Axis::from_zero("rows", "1/s"), |point| point.throughput_rps);
    let rows = each(runs, "rows asked and answered per second", &rows, |points| {
        vec![
            line("offered", LineKind::Straight, points, |point| Some(point.offered_rps)),
            line("answered", LineKind::Straight, points, |point| Some(point.throughput_rps)),
        ]
    });
    let latency = each(runs, "latency of the answers", &Axis::from_zero("latency", "ms"), |points| {
        vec![
            line("mean", LineKind::Straight, points, |point| point.latency_ms_mean),
            line("longest", LineKind::Straight, points, |point| point.latency_ms_max),
        ]
    });
    let heading = |text: &str| Block::Heading(text.into());
    let mut blocks = vec![
        heading("Power over time"),
        Block::Plots(power),
        heading("Throughput over time"),
        Block::Plots(rows),
        heading("Latency over time"),
        Block::Plots(latency),
    ];
    let first =
        runs.iter().find(|run| run.points.iter().any(|point| point.carbon_intensity_g_per_kwh.is_some()));
    if let Some(run) = first {
        let axis = Axis::from_zero("carbon intensity", "g/kWh");
        let plots = each(&[run], "carbon intensity, the same in every run", &axis, |points| {
            vec![line("", LineKind::Step, points, |point| point.carbon_intensity_g_per_kwh)]
        });
        blocks.extend([heading("Carbon intensity over time"), Block::Plots(plots)]);
    }
    blocks.extend(knobs(runs));
    blocks
}

/// A knob: its name, its unit and where it stood.
type Knob = (&'static str, &'static str, fn(&Point) -> Option<f64>);

const KNOBS: [Knob; 4] = [
    ("batch size", "rows", |point| Some(f64::from(point.batch_size))),
    ("instances", "", |point| Some(f64::from(point.instances))),
    ("core clock", "MHz", |point| point.core_clock_mhz),
    ("compute units", "", |point| point.compute_units.map(f64::from)),
];

/// The knobs that turned, run by run, and in words those that did not.
fn knobs(runs: &[&Outcome]) -> Vec<Block> {
    let (mut plots, mut still) = (Vec::new(), Vec::new());
    for run in runs {
        let mut constant = Vec::new();
        let one = std::slice::from_ref(run);
        for (label, unit, value) in KNOBS {
            let mut values = run.points.iter().map(value);
            let first = values.next().flatten();
            if values.any(|value| value != first) {
                let axis = Axis::from_zero(label, unit);
                plots.extend(each(one, label, &axis, |points| vec![line("", LineKind::Step, points, value)]));
            } else if let Some(value) = first {
                constant.push(format!("{label} {}", super::number::number(value)));
            }
        }
        let mut variants: Vec<String> = Vec::new();
        for variant in run.points.iter().filter_map(|point| point.variant.as_ref()) {
            if !variants.iter().any(|known| variant.as_str() == known) {
                variants.push(variant.to_string());
            }
        }
        if variants.len() > 1 {
            let at = |point: &Point| {
                let variant = point.variant.as_ref()?;
                variants.iter().position(|known| variant.as_str() == known).map(|index| index as f64)
            };
            let axis = Axis::named("variant", variants.clone());
            plots.extend(each(one, "variant", &axis, |points| vec![line("", LineKind::Step, points, at)]));
        } else {
            constant.extend(variants.first().map(|variant| format!("variant {variant}")));
        }
        if !constant.is_empty() {
            still.push(Block::Note(format!("{}, throughout: {}.", name(&run.summary), constant.join(", "))));
        }
    }
    let mut blocks = vec![Block::Heading("Knobs over time".into())];
    if !plots.is_empty() {
        blocks.push(Block::Plots(plots));
    }
    blocks.extend(still);
    blocks
}

/// Runs by their label, in the order in which each is first.
fn by_label<'a>(runs: &[&'a Summary]) -> Vec<(&'a str, Vec<&'a Summary>)> {
    let mut groups: Vec<(&str, Vec<&Summary>)> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|(label, _)| *label == run.label) {
            Some((_, group)) => group.push(run),
            None => groups.push((&run.label, vec![run])),
        }
    }
    groups
}

/// The mean of a figure over `runs` with its lowest and its highest; none where one is unknown.
fn mean(runs: &[&Summary], figure: &Figure) -> Option<Bar> {
    let values: Option<Vec<f64>> = runs.iter().map(|run| (figure.of)(run)).collect();
    let values = values.filter(|values| !values.is_empty())?;
    let value = values.iter().map(|value| value / values.len() as f64).sum();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(Bar { value, spread: Some((low, high)) })
}

/// The policies against each other.
pub(super) fn compared(runs: &[&Summary]) -> Vec<Plot> {
    let groups = by_label(runs);
    let mut asked = vec![
        (THROUGHPUT, Axis::from_zero("throughput", "rows/s")),
        (POWER, Axis::from_zero("mean power", "W")),
        (ENERGY, Axis::from_zero("energy", "J")),
    ];
    if has_cap(runs) {
        asked.push((ENERGY_OVER, Axis::from_zero("energy above the cap", "J")));
    }
    let mut plots: Vec<Plot> = asked
        .into_iter()
        .map(|(figure, axis)| {
            let bars = groups.iter().map(|(label, runs)| ((*label).to_owned(), mean(runs, &figure)));
            let caption =
                format!("{} by policy: mean over seeds, with the lowest and the highest", axis.label);
            Plot {
                svg: Bars::of_one("", axis, bars.collect()).svg(),
                alternative: caption,
                caption: String::new(),
            }
        })
        .collect();
    if groups.len() > 1 {
        let series = groups.iter().map(|(label, runs)| ScatterSeries {
            name: (*label).to_owned(),
            points: runs.iter().map(|run| (run.power_watts_mean, run.throughput_rps_mean)).collect(),
        });
        let scatter = Scatter {
            title: String::new(),
            x: Axis::free("mean power", "W"),
            y: Axis::free("throughput", "rows/s"),
            series: series.collect(),
            frontier: Some(Frontier { less_x: true, less_y: false }),
            bounds: Vec::new(),
            size: Size { height: 300, ..Size::default() },
        };
        let alternative = "throughput against mean power, run by run".into();
        plots.push(Plot { svg: scatter.svg(), alternative, caption: "Each run is a point.".into() });
    }
    plots
}
