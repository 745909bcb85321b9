//! The experiment in pictures: carbon by load and source, and by clock.

use wattle_sim::plot::{Axis, Bar, Bars, Line, LineKind, LinePlot};

use super::serve::Served;
use super::{AtClock, Comparison, GAS, Results, SOURCES, WIND};

pub(super) fn all(results: &Results) -> Vec<(String, String)> {
    let mut plots = Vec::new();
    for (source, intensity) in [("gas", GAS), ("wind", WIND)] {
        plots.push(by_load(&results.by_load, source, intensity));
    }
    plots.extend(results.heavy.first().map(by_source));
    plots.push(by_clock(&results.sweeps));
    plots
}

fn straight(name: &str, points: Vec<(f64, Option<f64>)>) -> Line {
    Line { name: name.to_owned(), kind: LineKind::Straight, points }
}

/// As Fig. 4.
fn by_load(by_load: &[(f64, Comparison)], source: &str, intensity: f64) -> (String, String) {
    let line = |name: &str, of: fn(&Comparison) -> &Served| {
        let point = |(load, set): &(f64, Comparison)| (load * 100.0, Some(of(set).total(intensity).get()));
        straight(name, by_load.iter().map(point).collect())
    };
    let lines = vec![line("isolated", |set| &set.isolated), line("shared", |set| &set.shared)];
    let title = format!("SDXL/Whisper on {source}");
    let plot = LinePlot::over(&title, Axis::free("load", "%"), Axis::from_zero("carbon", "g"), lines);
    let caption =
        format!("As Fig. 4, {source}: operational and embodied emissions of five minutes, by load.");
    (caption, plot.svg())
}

/// As Fig. 5.
fn by_source(set: &Comparison) -> (String, String) {
    let bar = |(source, intensity): (&str, f64)| {
        (source.to_owned(), Some(Bar { value: set.total(intensity), spread: None }))
    };
    let axis = Axis::free("change of carbon by sharing", "%");
    let bars = Bars::of_one("SDXL/Whisper at peak load", axis, SOURCES.into_iter().map(bar).collect());
    ("As Fig. 5: what sharing changes, by source of energy.".to_owned(), bars.svg())
}

/// As Fig. 8.
fn by_clock(sweeps: &[(Comparison, Vec<AtClock>)]) -> (String, String) {
    let mut lines = Vec::new();
    for (comparison, sweep) in sweeps {
        for (source, intensity) in [("gas", GAS), ("wind", WIND)] {
            let top = comparison.shared.total(intensity);
            let point = |at: &AtClock| {
                let total = at.in_time.then(|| at.shared.total(intensity) / top);
                (at.clock.get() / 1e3, total)
            };
            let name = format!("{}, {source}", comparison.set.name);
            lines.push(straight(&name, sweep.iter().map(point).collect()));
        }
    }
    let y = Axis::from_zero("carbon over that at the top clock", "");
    let plot = LinePlot::over("One shared device by clock", Axis::free("core clock", "GHz"), y, lines);
    let caption = "As Fig. 8: emissions of the same work on a shared device, by its clock; where a model takes over 5 times \
                   one request alone nothing is drawn.";
    (caption.to_owned(), plot.svg())
}
