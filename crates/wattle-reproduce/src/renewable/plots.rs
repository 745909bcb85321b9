//! Plots of the study.

use wattle_sim::plot::{Axis, Bar, BarGroup, Bars, Line, LineKind, LinePlot};

use super::slices::Detail;
use super::year::Year;
use super::{APPROACHES, COMBINATION};
use crate::traces::PowerTrace;

/// Hours drawn of the solar trace.
const DRAWN_HOURS: usize = 96;

/// All plots, each with its caption.
pub(super) fn all(
    networks: &[&str],
    traces: &[PowerTrace],
    year: &Year,
    detail: &Detail,
) -> Vec<(String, String)> {
    let mut plots: Vec<(String, String)> =
        traces.iter().enumerate().map(|(index, trace)| throughput(networks, year, index, trace)).collect();
    if let Some(solar) = traces.get(1) {
        plots.push(caps(solar));
        plots.push(slice(detail));
    }
    plots
}

fn throughput(networks: &[&str], year: &Year, index: usize, trace: &PowerTrace) -> (String, String) {
    let group = |(network, cells): (&&str, &Vec<[super::year::Cell; APPROACHES.len()]>)| {
        let bar = |cell: &super::year::Cell| Some(Bar { value: cell.rps, spread: None });
        BarGroup { name: (*network).to_owned(), bars: cells[index][..=COMBINATION].iter().map(bar).collect() }
    };
    let title = format!("Mean throughput, {}", trace.source.name());
    let bars = Bars {
        series: APPROACHES[..=COMBINATION].iter().map(|name| (*name).to_owned()).collect(),
        groups: networks.iter().zip(year).map(group).collect(),
        ..Bars::of_one(&title, Axis::from_zero("throughput", "images/s"), Vec::new())
    };
    (format!("Mean throughput of a year on the {} trace (Fig. 4)", trace.source.name()), bars.svg())
}

fn points(values: &[f64]) -> Vec<(f64, Option<f64>)> {
    values.iter().take(DRAWN_HOURS).enumerate().map(|(hour, value)| (hour as f64, Some(*value))).collect()
}

fn caps(solar: &PowerTrace) -> (String, String) {
    let line = Line { name: "power cap".to_owned(), kind: LineKind::Bound, points: points(&solar.watts) };
    let x = Axis::free("hour of the trace", "h");
    let plot = LinePlot::over("Power cap, solar", x, Axis::from_zero("power cap", "W"), vec![line]);
    ("The cap over a slice of the solar trace (Fig. 5b)".to_owned(), plot.svg())
}

fn slice(detail: &Detail) -> (String, String) {
    let line = |(approach, rps): (&&str, &Vec<f64>)| Line {
        name: (*approach).to_owned(),
        kind: LineKind::Step,
        points: points(rps),
    };
    let lines = APPROACHES.iter().zip(&detail.rps).map(line).collect();
    let x = Axis::free("hour of the trace", "h");
    let y = Axis::from_zero("throughput", "images/s");
    let plot = LinePlot::over("Inception-V3 over a slice of the solar trace", x, y, lines);
    ("Throughput over the same slice (Fig. 5a)".to_owned(), plot.svg())
}
