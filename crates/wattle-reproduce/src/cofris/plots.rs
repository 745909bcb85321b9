//! Pictures: the load, power by policy, and power and throughput over clock and units.

use wattle_core::gating::Gating;
use wattle_core::policies::gating_of;
use wattle_core::units::{Megahertz, Watts};
use wattle_sim::plot::{Axis, Bar, BarGroup, Bars, Contours, Grid, HeatMap, Line, LineKind, LinePlot, Size};

use super::replay::{Case, Workload};
use super::rows::{Results, name_in_paper};
use super::trace::LoadTrace;
use super::{POLICIES, USUAL};
use crate::ReproduceError;

/// Contour lines drawn of each quantity.
const LEVELS: u32 = 8;

/// Fig. 8.
pub(super) fn load(trace: &LoadTrace) -> (String, String) {
    let mut at = 0.0;
    let points = trace.rates.segments.iter().map(|segment| {
        let point = (at, Some(segment.rate_rps));
        at += segment.seconds;
        point
    });
    let line = Line { name: "load".into(), kind: LineKind::Step, points: points.collect() };
    let plot = LinePlot::over_time("Load", Axis::from_zero("load, share of the most", ""), vec![line]);
    (format!("Fig. 8: the load over fifteen minutes: {}", trace.source), plot.svg())
}

/// Fig. 9.
pub(super) fn power(results: &Results<'_>) -> Result<(String, String), ReproduceError> {
    let mut groups = Vec::new();
    for workload in &results.workloads {
        let mut bars = Vec::new();
        for policy in POLICIES {
            let value = workload.relative_power(&Case::of(policy, USUAL), gating_of(policy))?;
            bars.push(Some(Bar { value, spread: None }));
        }
        groups.push(BarGroup { name: workload.network.into(), bars });
    }
    let plot = Bars {
        title: "Mean power over the baseline's".into(),
        axis: Axis::from_zero("power over the baseline's", ""),
        series: POLICIES.map(|policy| name_in_paper(policy).to_owned()).into(),
        groups,
        width: Size::default().width,
    };
    Ok(("Fig. 9: mean power of each policy over the baseline's".into(), plot.svg()))
}

/// Figs. 5 and 6 for one workload and one kind of gating: throughput as shades, power as lines, where the
/// latency keeps the usual objective.
pub(super) fn contours(workload: &Workload<'_>, gating: Gating) -> Result<(String, String), ReproduceError> {
    let profile = workload.gated(gating)?;
    let bound_ms = workload.base_ms()? * USUAL;
    let (clocks, units) = workload.axes();
    let row = |units: f64, clock: f64| {
        profile.rows.iter().find(|row| {
            row.point.compute_units.map(f64::from) == Some(units)
                && row.point.core_clock_mhz.map(Megahertz::get) == Some(clock)
        })
    };
    let throughput = Grid::of(units.clone(), clocks.clone(), |units, clock| {
        let row = row(units, clock).filter(|row| row.latency_ms_mean.is_some_and(|ms| ms <= bound_ms));
        row.and_then(|row| row.throughput_rps)
    });
    let power = Grid::of(units, clocks, |units, clock| row(units, clock)?.power_watts_mean.map(Watts::get));
    let known = || power.values.iter().flatten().copied();
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max));
    let step = (high - low) / f64::from(LEVELS + 1);
    let levels = (1..=LEVELS).map(|level| low + step * f64::from(level)).collect();
    let gated = if gating == Gating::ShaderEngine { "engine" } else { "unit" };
    let plot = HeatMap {
        title: workload.network.into(),
        x: Axis::free("compute units", ""),
        y: Axis::free("core clock", "MHz"),
        shaded: Axis::free("throughput", "requests/s"),
        grid: throughput,
        contours: vec![Contours { name: "power, W".into(), grid: power, levels }],
        marks: None,
        size: Size::default(),
    };
    let caption = format!(
        "Figs. 5 and 6: {}, gated by {gated}: throughput where latency is at most twice the base, and power",
        workload.network
    );
    Ok((caption, plot.svg()))
}
