//! Points in two quantities, and the frontier of those that no other is better than in both.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::Size;
use super::axis::Axis;
use super::canvas::{BOUND, Frame, LegendEntry, Swatch, TEXT, color, style};

/// Which points are best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frontier {
    /// Whether less of x is better.
    pub less_x: bool,
    /// Whether less of y is better.
    pub less_y: bool,
}

/// Points of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct ScatterSeries {
    /// Its name in the legend.
    pub name: String,
    /// Its points; one with a coordinate that is no finite number is not drawn.
    pub points: Vec<(f64, f64)>,
}

/// Points in two quantities.
#[derive(Debug, Clone, PartialEq)]
pub struct Scatter {
    /// What is shown.
    pub title: String,
    /// The axis along.
    pub x: Axis,
    /// The axis up.
    pub y: Axis,
    /// The points.
    pub series: Vec<ScatterSeries>,
    /// The frontier to draw through the best points of all series.
    pub frontier: Option<Frontier>,
    /// Bounds of x, such as caps: a line up for each, with its name beside it.
    pub bounds: Vec<(String, f64)>,
    /// How large it is.
    pub size: Size,
}

impl Scatter {
    /// The plot as SVG.
    pub fn svg(&self) -> String {
        let all: Vec<(f64, f64)> = self.series.iter().flat_map(|one| &one.points).copied().collect();
        let all: Vec<(f64, f64)> = all.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        let bounds = || self.bounds.iter().filter(|(_, at)| at.is_finite());
        let x = self.x.scale(all.iter().map(|point| point.0).chain(bounds().map(|(_, at)| *at)));
        let y = self.y.scale(all.iter().map(|point| point.1));
        let mut legend: Vec<LegendEntry> = self
            .series
            .iter()
            .enumerate()
            .map(|(index, one)| (one.name.clone(), color(index), Swatch::Dot))
            .collect();
        legend.extend(self.frontier.map(|_| ("best".into(), BOUND, Swatch::Line)));
        let frame = Frame {
            size: self.size,
            title: &self.title,
            legend: &legend,
            x: (&self.x, &x),
            y: (&self.y, &y),
        };
        frame.svg(|chart| {
            let heights = y.range();
            for (name, at) in bounds() {
                let line = vec![(x.at(*at), heights.start), (x.at(*at), heights.end)];
                chart.draw_series(std::iter::once(PathElement::new(line, BOUND.stroke_width(1))))?;
                // Its name stands to its left, where it leaves the points in reach free.
                let area = chart.plotting_area();
                let (right, top) = area.map_coordinate(&(x.at(*at), heights.end));
                let pixels = area.strip_coord_spec();
                let (left, above) = pixels.get_base_pixel();
                let small = style(11.0, TEXT, (HPos::Right, VPos::Top));
                pixels.draw_text(name, &small, (right - left - 4, top - above + 2))?;
            }
            if let Some(frontier) = self.frontier {
                let best = best(&all, frontier);
                let path: Vec<_> = best.iter().map(|point| (x.at(point.0), y.at(point.1))).collect();
                if path.len() > 1 {
                    chart.draw_series(std::iter::once(PathElement::new(path, BOUND.stroke_width(1))))?;
                }
            }
            for (one, (_, color, _)) in self.series.iter().zip(&legend) {
                let finite = one.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
                chart.draw_series(
                    finite.map(|point| Circle::new((x.at(point.0), y.at(point.1)), 4, color.filled())),
                )?;
            }
            Ok(())
        })
    }
}

/// The points that no other is at least as good as in both quantities and better in one, by x.
fn best(points: &[(f64, f64)], frontier: Frontier) -> Vec<(f64, f64)> {
    let cost = |point: &(f64, f64)| {
        (if frontier.less_x { point.0 } else { -point.0 }, if frontier.less_y { point.1 } else { -point.1 })
    };
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| {
        let (a, b) = (cost(a), cost(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let mut lowest = f64::INFINITY;
    sorted.retain(|point| {
        let is_better = cost(point).1 < lowest;
        lowest = lowest.min(cost(point).1);
        is_better
    });
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frontier_holds_the_points_that_none_is_better_than() {
        let points = [(10.0, 5.0), (20.0, 9.0), (15.0, 4.0), (30.0, 9.0), (10.0, 3.0)];
        let frontier = Frontier { less_x: true, less_y: false };
        assert_eq!(best(&points, frontier), [(10.0, 5.0), (20.0, 9.0)]);
    }
}
