//! Plots as SVG text: lines over time, distributions, bars, scatter with a frontier, heat maps with contours.
//!
//! Every plot is readable on a light and on a dark page, on its own or inside one. What is unknown, or no
//! number, is a gap and never 0. The same input gives the same bytes.

mod axis;
mod bars;
mod canvas;
mod contour;
mod heat_map;
mod lines;
mod scatter;
#[cfg(test)]
mod tests;
mod thin;

pub use axis::Axis;
pub use bars::{Bar, BarGroup, Bars};
pub(crate) use canvas::shortened;
pub use contour::{Grid, Segment, segments};
pub use heat_map::{Contours, HeatMap};
pub use lines::{Line, LineKind, LinePlot};
pub use scatter::{Frontier, Scatter, ScatterSeries};

/// Width and height of a plot in pixels of its own; a page may scale it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Default for Size {
    fn default() -> Self {
        Self { width: 480, height: 230 }
    }
}
