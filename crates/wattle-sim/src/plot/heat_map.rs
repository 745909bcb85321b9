//! A quantity over two others as shades, with contour lines of it or of others.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::Size;
use super::axis::Axis;
use super::canvas::{Chart, DrawError, Frame, LegendEntry, Swatch, TEXT, style, width_of};
use super::contour::{Grid, segments};

/// The lightest and the darkest shade; each keeps black lines readable on any page.
const SHADES: [RGBColor; 2] = [RGBColor(0xf2, 0xf5, 0xf7), RGBColor(0x5f, 0x9f, 0xc9)];
const LINES: [RGBColor; 3] =
    [RGBColor(0x1c, 0x1c, 0x1a), RGBColor(0xb0, 0x3a, 0x00), RGBColor(0x00, 0x6b, 0x4f)];

/// Contour lines of one quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Contours {
    /// The quantity and its unit.
    pub name: String,
    /// Its values.
    pub grid: Grid,
    /// The values whose lines are drawn.
    pub levels: Vec<f64>,
}

/// Shades over two quantities, with contour lines.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// What is shown.
    pub title: String,
    /// The axis along.
    pub x: Axis,
    /// The axis up.
    pub y: Axis,
    /// The shaded quantity; its unknown places stay empty.
    pub shaded: Axis,
    /// Its values.
    pub grid: Grid,
    /// Contour lines over the shades.
    pub contours: Vec<Contours>,
    /// Places with a dot, such as those that were measured, and what the dot says.
    pub marks: Option<(String, Vec<(f64, f64)>)>,
    /// How large it is.
    pub size: Size,
}

impl HeatMap {
    /// The plot as SVG.
    pub fn svg(&self) -> String {
        let grids = || std::iter::once(&self.grid).chain(self.contours.iter().map(|one| &one.grid));
        let x = self.x.scale(grids().flat_map(|grid| borders(&grid.x)));
        let y = self.y.scale(grids().flat_map(|grid| borders(&grid.y)));
        let (low, high) = bounds(&self.grid);
        let told = self.shaded.scale([low, high].into_iter());
        let mut legend: Vec<LegendEntry> = Vec::new();
        if low <= high {
            let (low, high) = (told.told(low), told.told(high));
            legend.push((format!("{}: {low}", self.shaded.title()), SHADES[0], Swatch::Area));
            legend.push((format!("to {high}"), SHADES[1], Swatch::Area));
        }
        for (index, contours) in self.contours.iter().enumerate() {
            legend.push((contours.name.clone(), LINES[index % LINES.len()], Swatch::Contour));
        }
        if let Some((name, _)) = &self.marks {
            legend.push((name.clone(), TEXT, Swatch::Dot));
        }
        let axes = (&self.x, &x);
        let frame = Frame { size: self.size, title: &self.title, legend: &legend, x: axes, y: (&self.y, &y) };
        frame.svg(|chart| {
            let at = |place: (f64, f64)| (x.at(place.0), y.at(place.1));
            self.draw_shades(chart, (low, high), &at)?;
            let marks = self.marks.iter().flat_map(|(_, places)| places);
            let marks = marks.filter(|(x, y)| x.is_finite() && y.is_finite());
            chart.draw_series(marks.map(|place| Circle::new(at(*place), 2, LINES[0].mix(0.45).filled())))?;
            for (index, contours) in self.contours.iter().enumerate() {
                let told = Axis::default().scale(contours.levels.iter().copied());
                for level in &contours.levels {
                    let lines = segments(&contours.grid, *level);
                    let lines: Vec<_> = lines.iter().map(|(a, b)| [at(*a), at(*b)]).collect();
                    draw_contour(chart, &lines, &told.told(*level), index)?;
                }
            }
            Ok(())
        })
    }

    fn draw_shades(
        &self,
        chart: &mut Chart<'_, '_>,
        (low, high): (f64, f64),
        at: &dyn Fn((f64, f64)) -> (f64, f64),
    ) -> Result<(), DrawError> {
        let (columns, rows) = (borders(&self.grid.x), borders(&self.grid.y));
        for (row, y) in rows.windows(2).enumerate() {
            for (column, x) in columns.windows(2).enumerate() {
                let Some(value) = self.grid.at(column, row) else { continue };
                let share = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
                let corners = [at((x[0], y[0])), at((x[1], y[1]))];
                let shade = Rectangle::new(corners, shade(share).filled());
                chart.draw_series(std::iter::once(shade))?;
            }
        }
        Ok(())
    }
}

/// The pieces of one line, on a light one so that they show on any ground, with the level
/// at another part of the line for each quantity.
fn draw_contour(
    chart: &mut Chart<'_, '_>,
    lines: &[[(f64, f64); 2]],
    level: &str,
    index: usize,
) -> Result<(), DrawError> {
    let (light, color) = (RGBColor(0xff, 0xff, 0xff), LINES[index % LINES.len()]);
    let path = |pen: ShapeStyle| lines.iter().map(move |line| PathElement::new(line.to_vec(), pen));
    chart.draw_series(path(light.mix(0.5).stroke_width(3)))?;
    chart.draw_series(path(color.stroke_width(1)))?;
    let labelled = [5, 2, 4][index % 3];
    let Some([from, to]) = lines.get(lines.len() * labelled / 8) else { return Ok(()) };
    let area = chart.plotting_area();
    let (x, y) = area.map_coordinate(&((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0));
    let half = width_of(level) / 2 + 2;
    let pixels = area.strip_coord_spec();
    let (left, top) = pixels.get_base_pixel();
    let (x, y) = (x - left, y - top);
    let ground = Rectangle::new([(x - half, y - 7), (x + half, y + 7)], light.mix(0.85).filled());
    pixels.draw(&ground)?;
    pixels.draw_text(level, &style(11.0, color, (HPos::Center, VPos::Center)), (x, y))
}

/// The lowest and the highest value.
fn bounds(grid: &Grid) -> (f64, f64) {
    let finite = grid.values.iter().flatten().filter(|value| value.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

/// The borders of cells around `places`: half-way between, and as far beyond the first and the last.
fn borders(places: &[f64]) -> Vec<f64> {
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return Vec::new() };
    let between: Vec<f64> = places.windows(2).map(|pair| pair[0] / 2.0 + pair[1] / 2.0).collect();
    let half = |place: &f64, next: Option<&f64>| next.map_or(0.5, |next| (next - place).abs());
    let start = first - half(first, between.first());
    let end = last + half(last, between.last());
    std::iter::once(start).chain(between.iter().copied()).chain(std::iter::once(end)).collect()
}

/// The shade of a share from 0 to 1; the middle where all values are one.
fn shade(share: f64) -> RGBColor {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 };
    let mix = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * share).round() as u8;
    let [from, to] = SHADES;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}
