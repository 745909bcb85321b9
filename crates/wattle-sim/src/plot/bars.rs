//! Bars that lie, grouped by category, with room for long names and the spread of each value.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::Size;
use super::axis::{Axis, Scale};
use super::canvas::{LegendEntry, Swatch, TEXT, color, draw, head, shortened, style, width_of};

const BAR: i32 = 15;
const GAP: i32 = 9;

/// One bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Its length.
    pub value: f64,
    /// The lowest and the highest of the values that it is the mean of.
    pub spread: Option<(f64, f64)>,
}

/// The bars of one category, one for each series; unknown ones are none.
#[derive(Debug, Clone, PartialEq)]
pub struct BarGroup {
    /// The category.
    pub name: String,
    /// In the order of the series.
    pub bars: Vec<Option<Bar>>,
}

/// Bars, grouped.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    /// What is shown.
    pub title: String,
    /// The quantity.
    pub axis: Axis,
    /// What is set side by side in each group, such as `published` and `ours`; named by a legend where
    /// there are several.
    pub series: Vec<String>,
    /// The groups, from the top.
    pub groups: Vec<BarGroup>,
    /// Width in pixels; the height follows from the bars.
    pub width: u32,
}

impl Bars {
    /// One bar for each category.
    pub fn of_one(title: &str, axis: Axis, bars: Vec<(String, Option<Bar>)>) -> Self {
        let groups = bars.into_iter().map(|(name, bar)| BarGroup { name, bars: vec![bar] });
        Self {
            title: title.into(),
            axis,
            series: Vec::new(),
            groups: groups.collect(),
            width: Size::default().width,
        }
    }

    /// The plot as SVG.
    pub fn svg(&self) -> String {
        let values = self.groups.iter().flat_map(|group| group.bars.iter().flatten());
        let values = values.flat_map(|bar| {
            let (low, high) = bar.spread.unwrap_or((bar.value, bar.value));
            [bar.value, low, high]
        });
        let scale = self.axis.clone().and_covers(0.0).scale(values);
        let legend: Vec<LegendEntry> = self
            .series
            .iter()
            .enumerate()
            .map(|(index, name)| (name.clone(), color(index), Swatch::Area))
            .collect();
        let shown = if legend.len() > 1 { legend.as_slice() } else { &[] };
        let rows: i32 = self.groups.iter().map(|group| group.bars.len().max(1) as i32 * BAR + GAP).sum();
        let legend_rows = (shown.len() as i32 + 1) / 2;
        let size = Size { width: self.width, height: (rows + 28 + 17 * legend_rows).max(0) as u32 };
        draw(size, |root| {
            let top = head(root, &self.title, &self.axis.title(), shown)?;
            let (_, body) = root.split_vertically(top);
            self.draw_groups(&body, &scale)
        })
    }

    fn draw_groups(
        &self,
        body: &super::canvas::Area<'_>,
        scale: &Scale,
    ) -> Result<(), super::canvas::DrawError> {
        let width = body.dim_in_pixel().0 as i32;
        let names = self.groups.iter().map(|group| width_of(&shortened(&group.name, 28))).max();
        let left = (names.unwrap_or(0) + 14).min(width / 2);
        // Room for the figure behind the longest bar.
        let right = (width - 74).max(left + 10);
        let range = scale.range();
        let along = |value: f64| {
            let share = (scale.at(value) - range.start) / (range.end - range.start);
            left + (f64::from(right - left) * share).round() as i32
        };
        let zero = along(0.0);
        let mut y = 2;
        for group in &self.groups {
            let height = group.bars.len().max(1) as i32 * BAR;
            let middle = y + height / 2;
            let name = shortened(&group.name, 28);
            body.draw_text(&name, &style(12.0, TEXT, (HPos::Right, VPos::Center)), (left - 8, middle))?;
            for (index, bar) in group.bars.iter().enumerate() {
                let place = (y + index as i32 * BAR, y + (index as i32 + 1) * BAR - 2);
                let small = style(11.0, TEXT, (HPos::Left, VPos::Center));
                let center = (place.0 + place.1) / 2;
                let Some(bar) = bar.filter(|bar| bar.value.is_finite()) else {
                    body.draw_text("unknown", &small, (zero + 5, center))?;
                    continue;
                };
                let end = along(bar.value);
                let corners = [(zero.min(end), place.0), (zero.max(end), place.1)];
                body.draw(&Rectangle::new(corners, color(index).filled()))?;
                let spread = bar.spread.filter(|(low, high)| low.is_finite() && high.is_finite());
                let spread = spread.map(|(low, high)| (along(low), along(high)));
                if let Some((low, high)) = spread.filter(|(low, high)| low < high) {
                    let pen = TEXT.stroke_width(1);
                    body.draw(&PathElement::new(vec![(low, center), (high, center)], pen))?;
                    for at in [low, high] {
                        body.draw(&PathElement::new(vec![(at, center - 4), (at, center + 4)], pen))?;
                    }
                }
                let after = spread.map_or(end, |(_, high)| high.max(end)).max(zero);
                body.draw_text(&scale.told(bar.value), &small, (after + 5, center))?;
            }
            y += height + GAP;
        }
        let axis = PathElement::new(vec![(zero, 0), (zero, (y - GAP + 2).max(2))], TEXT.mix(0.8));
        body.draw(&axis)
    }
}
