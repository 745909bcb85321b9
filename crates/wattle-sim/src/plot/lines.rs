//! Lines over time or over anything else: straight, or as steps that hold until the next point.

use plotters::prelude::*;

use super::Size;
use super::axis::{Axis, time_unit};
use super::canvas::{BOUND, Chart, DrawError, Frame, LegendEntry, Swatch, color};
use super::thin::{cleaned, thinned};

/// Points drawn of a line, at most, where nothing else is asked.
const MOST_POINTS: usize = 2000;

/// How a line goes from point to point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// Straight.
    Straight,
    /// Straight, with a dot at each point: few points, each of them measured.
    Dotted,
    /// Each value holds until the next.
    Step,
    /// Each value holds until the next, and is what the others are held against, such as a cap.
    Bound,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// How it goes.
    pub kind: LineKind,
    /// Its points. One without a value, or whose value is no finite number, is a gap.
    pub points: Vec<(f64, Option<f64>)>,
}

/// Lines over one axis.
#[derive(Debug, Clone, PartialEq)]
pub struct LinePlot {
    /// What is shown.
    pub title: String,
    /// The axis along; an empty label is time in seconds, shown in a unit that suits its length.
    pub x: Axis,
    /// The axis up.
    pub y: Axis,
    /// The lines.
    pub lines: Vec<Line>,
    /// Points drawn of each line, at most; peaks stay.
    pub most_points: usize,
    /// How large it is.
    pub size: Size,
}

impl LinePlot {
    /// Lines over time in seconds.
    pub fn over_time(title: &str, y: Axis, lines: Vec<Line>) -> Self {
        Self::over(title, Axis::default(), y, lines)
    }

    /// Lines over `x`.
    pub fn over(title: &str, x: Axis, y: Axis, lines: Vec<Line>) -> Self {
        Self { title: title.into(), x, y, lines, most_points: MOST_POINTS, size: Size::default() }
    }

    /// The cumulative distribution of each of `samples`, which have a name and values; values that are no
    /// finite number are left out.
    pub fn cdf(title: &str, x: Axis, samples: &[(String, Vec<f64>)]) -> Self {
        let lines = samples.iter().map(|(name, values)| {
            let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            let count = values.len() as f64;
            let start = values.first().map(|first| (*first, Some(0.0)));
            let rise = values.iter().enumerate().map(|(index, x)| (*x, Some((index + 1) as f64 / count)));
            Line { name: name.clone(), kind: LineKind::Step, points: start.into_iter().chain(rise).collect() }
        });
        Self::over(title, x, Axis::from_zero("share of values up to x", "").and_covers(1.0), lines.collect())
    }

    /// The plot as SVG.
    pub fn svg(&self) -> String {
        let mut lines: Vec<Vec<(f64, Option<f64>)>> = Vec::new();
        for line in &self.lines {
            lines.push(thinned(cleaned(&line.points), self.most_points.clamp(10, MOST_POINTS)));
        }
        let mut x_axis = self.x.clone();
        if x_axis.label.is_empty() {
            let of_all = || lines.iter().flatten().map(|point| point.0);
            let span = of_all().fold(0.0, f64::max) - of_all().fold(0.0, f64::min);
            let (seconds, unit) = time_unit(span);
            lines.iter_mut().flatten().for_each(|point| point.0 /= seconds);
            x_axis = Axis { label: "time".into(), unit: unit.into(), ..x_axis };
        }
        let x = x_axis.scale(lines.iter().flatten().map(|point| point.0));
        let y = self.y.scale(lines.iter().flatten().filter_map(|point| point.1));
        let legend: Vec<LegendEntry> = self
            .lines
            .iter()
            .enumerate()
            .map(|(index, line)| (line.name.clone(), color_of(line.kind, index), Swatch::Line))
            .collect();
        let shown = if legend.len() > 1 { legend.as_slice() } else { &[] };
        let frame =
            Frame { size: self.size, title: &self.title, legend: shown, x: (&x_axis, &x), y: (&self.y, &y) };
        frame.svg(|chart| {
            for ((line, points), (_, color, _)) in self.lines.iter().zip(&lines).zip(&legend) {
                let scaled: Vec<_> = points.iter().map(|(at, y0)| (x.at(*at), y0.map(|v| y.at(v)))).collect();
                draw(chart, line.kind, &scaled, *color)?;
            }
            Ok(())
        })
    }
}

fn color_of(kind: LineKind, index: usize) -> RGBColor {
    if kind == LineKind::Bound { BOUND } else { color(index) }
}

/// Draws each stretch between gaps; one point alone is a dot.
fn draw(
    chart: &mut Chart<'_, '_>,
    kind: LineKind,
    points: &[(f64, Option<f64>)],
    color: RGBColor,
) -> Result<(), DrawError> {
    let is_straight = matches!(kind, LineKind::Straight | LineKind::Dotted);
    let width = if kind == LineKind::Straight { 1 } else { 2 };
    if kind == LineKind::Dotted {
        let known = points.iter().filter_map(|(x, y)| Some((*x, (*y)?)));
        chart.draw_series(known.map(|point| Circle::new(point, 3, color.filled())))?;
    }
    for stretch in points.split(|point| point.1.is_none()) {
        let mut path: Vec<(f64, f64)> = Vec::with_capacity(stretch.len() * 2);
        for (x, y) in stretch.iter().filter_map(|(x, y)| Some((*x, (*y)?))) {
            let from = path.last().copied().filter(|last| !is_straight && last.1 != y);
            path.extend(from.map(|last| (x, last.1)));
            // The middle of a level line adds nothing.
            let is_level = |last: &[(f64, f64)]| last.iter().all(|point| point.1 == y);
            if path.len() > 1 && path.last_chunk::<2>().is_some_and(|last| is_level(last)) {
                path.pop();
            }
            path.push((x, y));
        }
        match path.as_slice() {
            [] => {}
            [one] => {
                chart.draw_series(std::iter::once(Circle::new(*one, 2, color.filled())))?;
            }
            _ => {
                chart.draw_series(std::iter::once(PathElement::new(path, color.stroke_width(width))))?;
            }
        }
    }
    Ok(())
}
