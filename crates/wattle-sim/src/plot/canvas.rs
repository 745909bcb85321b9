//! What every plot has: a title, a legend, axes with units, and colours for light and dark pages.

use plotters::chart::ChartContext;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Size;
use super::axis::{Axis, Scale};

/// Text, readable on white and on black. A page may match it by this very value.
pub(super) const TEXT: RGBColor = RGBColor(0x77, 0x77, 0x77);
/// Grid lines and axes.
pub(super) const GRID: RGBColor = RGBColor(0x80, 0x80, 0x80);
/// What the others are held against, such as a cap.
pub(super) const BOUND: RGBColor = RGBColor(0x70, 0x70, 0x70);
/// The fonts of all text.
pub(super) const FONTS: &str = "system-ui, sans-serif";
/// Colours that people with colour blindness tell apart, as Okabe and Ito chose them, without yellow.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x99, 0x6b, 0x3d),
];

/// The pen of SVG.
pub(super) type Svg<'a> = SVGBackend<'a>;
/// An area to draw on.
pub(super) type Area<'a> = DrawingArea<Svg<'a>, plotters::coord::Shift>;
/// A chart with both axes as numbers.
pub(super) type Chart<'a, 'b> = ChartContext<'a, Svg<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
/// Why drawing failed.
pub(super) type DrawError = DrawingAreaErrorKind<std::io::Error>;

/// Mean width of a character of 12 pixels height.
const CHARACTER: f64 = 6.5;
const LEGEND_ROW: i32 = 17;
/// Characters of a name beside an axis, at most.
pub(super) const NAME: usize = 18;

/// The colour of the series at `index`.
pub(super) fn color(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// Width of `text` at 12 pixels, about.
pub(super) fn width_of(text: &str) -> i32 {
    (text.chars().count() as f64 * CHARACTER).min(1e6).ceil() as i32
}

/// `text`, with its end left out beyond `most` characters.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Text of `pixels` height in `color`, held at `place`.
pub(super) fn style(pixels: f64, color: RGBColor, place: (HPos, VPos)) -> TextStyle<'static> {
    // The SVG pen divides by 1.24.
    let font = FontDesc::new(FontFamily::Name(FONTS), pixels * 1.24, FontStyle::Normal);
    TextStyle { font, color: color.to_backend_color(), pos: Pos::new(place.0, place.1) }
}

/// What a legend shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Swatch {
    Line,
    /// A line on its own light ground.
    Contour,
    Area,
    Dot,
}

/// One entry of a legend.
pub(super) type LegendEntry = (String, RGBColor, Swatch);

/// What stands around a chart.
pub(super) struct Frame<'a> {
    pub(super) size: Size,
    pub(super) title: &'a str,
    pub(super) legend: &'a [LegendEntry],
    pub(super) x: (&'a Axis, &'a Scale),
    pub(super) y: (&'a Axis, &'a Scale),
}

impl Frame<'_> {
    /// The SVG of the frame with what `fill` draws in it.
    pub(super) fn svg(&self, fill: impl FnOnce(&mut Chart<'_, '_>) -> Result<(), DrawError>) -> String {
        draw(self.size, |root| {
            let top = head(root, self.title, &self.y.0.title(), self.legend)?;
            let (_, body) = root.split_vertically(top);
            let names = self.y.0.names.iter().map(|name| width_of(&shortened(name, NAME)) + 12).max();
            let left = names.unwrap_or(46);
            let mut chart = ChartBuilder::on(&body)
                .margin_right(14)
                .margin_top(4)
                .x_label_area_size(36)
                .y_label_area_size(left)
                .build_cartesian_2d(self.x.1.range(), self.y.1.range())?;
            let small = |h, v| style(11.0, TEXT, (h, v));
            let widest = self.x.0.names.iter().map(|name| width_of(&shortened(name, NAME)) + 14).max();
            let x_labels = match widest {
                // As many names as stand beside each other.
                Some(widest) => (self.size.width as i32 - left).max(0) as usize / widest.max(1) as usize,
                None => (self.size.width / 90) as usize,
            };
            let x_labels = x_labels.clamp(2, self.x.0.names.len().max(7) + 1);
            chart
                .configure_mesh()
                .x_labels(x_labels)
                .y_labels(if names.is_some() { self.y.0.names.len() + 1 } else { 5 })
                .max_light_lines(0)
                .axis_style(GRID.mix(0.8))
                .bold_line_style(GRID.mix(0.22))
                .x_label_style(small(HPos::Center, VPos::Top))
                .y_label_style(small(HPos::Right, VPos::Center))
                .axis_desc_style(small(HPos::Center, VPos::Bottom))
                .x_label_formatter(&|value| self.x.1.tick(*value))
                .y_label_formatter(&|value| self.y.1.tick(*value))
                .x_desc(self.x.0.title())
                .draw()?;
            fill(&mut chart)
        })
    }
}

/// Draws title, quantity and legend; gives the height they take.
pub(super) fn head(
    root: &Area<'_>,
    title: &str,
    quantity: &str,
    legend: &[LegendEntry],
) -> Result<i32, DrawError> {
    let width = root.dim_in_pixel().0 as i32;
    let most = (f64::from(width) / (CHARACTER * 1.1)) as usize;
    let parts: Vec<&str> = [title, quantity].into_iter().filter(|part| !part.is_empty()).collect();
    let title = parts.join(" · ");
    root.draw_text(&shortened(&title, most), &style(13.0, TEXT, (HPos::Left, VPos::Top)), (6, 4))?;
    let (mut x, mut y) = (6, 24);
    for (name, color, swatch) in legend {
        let name = shortened(name, 40);
        let wide = 34 + width_of(&name);
        if x > 6 && x + wide > width {
            (x, y) = (6, y + LEGEND_ROW);
        }
        let middle = y + 6;
        match swatch {
            Swatch::Contour => {
                let ground = RGBColor(0xf2, 0xf5, 0xf7).filled();
                root.draw(&Rectangle::new([(x, middle - 5), (x + 16, middle + 5)], ground))?;
                root.draw(&PathElement::new(vec![(x, middle), (x + 16, middle)], color.stroke_width(2)))?;
            }
            Swatch::Line => {
                root.draw(&PathElement::new(vec![(x, middle), (x + 16, middle)], color.stroke_width(2)))?
            }
            Swatch::Area => {
                root.draw(&Rectangle::new([(x + 2, middle - 5), (x + 14, middle + 5)], color.filled()))?;
            }
            Swatch::Dot => root.draw(&Circle::new((x + 8, middle), 4, color.filled()))?,
        }
        root.draw_text(&name, &style(12.0, TEXT, (HPos::Left, VPos::Center)), (x + 21, middle))?;
        x += wide;
    }
    Ok(if legend.is_empty() { 24 } else { y + LEGEND_ROW })
}

/// The SVG of what `fill` draws on an area of `size`, which is at least large enough for a frame.
pub(super) fn draw(size: Size, fill: impl FnOnce(&Area<'_>) -> Result<(), DrawError>) -> String {
    let size = (size.width.clamp(160, 4000), size.height.clamp(50, 20_000));
    let mut text = String::new();
    let drawn = {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        fill(&root).and_then(|()| root.present())
    };
    if let Err(error) = drawn {
        // Nothing that writes to a string fails; should it, the page says so in place of the plot.
        text.clear();
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let told = format!("failed to draw this plot: {error}");
        let _ = root.draw_text(&told, &style(12.0, TEXT, (HPos::Left, VPos::Top)), (6, 6));
        let _ = root.present();
    }
    text
}
