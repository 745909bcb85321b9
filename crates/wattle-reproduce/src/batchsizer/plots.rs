//! Plots of the jobs and of the cap that falls and rises.

use wattle_sim::plot::{Axis, Bar, BarGroup, Bars, Line, LineKind, LinePlot};

use super::falling::{CAPS_WATTS, POLICIES, Recovery};
use super::jobs::Job;

/// The network whose batch sizes are drawn: in the middle of Table 1.
const DRAWN: &str = "inception_v3";

/// All plots, each with its caption.
pub(super) fn all(jobs: &[Job], falling: &[Recovery]) -> Vec<(String, String)> {
    let mut plots = vec![gains(jobs)];
    plots.extend(falling.iter().find(|recovery| recovery.network == DRAWN).map(batch_sizes));
    plots
}

fn gains(jobs: &[Job]) -> (String, String) {
    let bar = |value: Option<f64>| value.map(|value| Bar { value, spread: None });
    let group = |job: &Job| BarGroup {
        name: format!("{}: {}, {} W", job.number, job.network, job.cap_watts),
        bars: vec![bar(super::rows::published_gain(job.number)), bar(job.gain())],
    };
    let bars = Bars {
        series: vec!["published".to_owned(), "ours, modelled".to_owned()],
        groups: jobs.iter().map(group).collect(),
        ..Bars::of_one("BatchSizer over DVFS", Axis::from_zero("gain of throughput", "%"), Vec::new())
    };
    ("Gain of BatchSizer over DVFS, job by job; the paper tells two in numbers".to_owned(), bars.svg())
}

fn batch_sizes(recovery: &Recovery) -> (String, String) {
    let line = |(policy, sizes): (&&str, &Vec<f64>)| Line {
        name: (*policy).to_owned(),
        kind: LineKind::Step,
        points: sizes.iter().enumerate().map(|(second, size)| (second as f64, Some(*size))).collect(),
    };
    let lines = POLICIES.iter().zip(&recovery.batch_sizes).map(line).collect();
    let [high, low, again] = CAPS_WATTS;
    let title = format!("{} under {high}, {low} and {again} W", recovery.network);
    let plot = LinePlot::over_time(&title, Axis::from_zero("batch size", "images"), lines);
    ("Batch size while a cap falls and rises: as printed the search can't climb back".to_owned(), plot.svg())
}
