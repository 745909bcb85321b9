//! Plots as PNG: the very SVG of the page, painted with the fonts of this machine.

use anyhow::{Context, Result, anyhow};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree};

/// Pixels of the picture for each of the plot's own: sharp on a dense screen and on paper.
const SCALE: f32 = 2.0;

/// Paints plots.
pub(super) struct Painter(Options<'static>);

impl Painter {
    /// Looks for the fonts of this machine.
    ///
    /// # Errors
    /// There is none: the plots would have no text.
    pub(super) fn new() -> Result<Self> {
        let mut options = Options::default();
        let fonts = options.fontdb_mut();
        fonts.load_system_fonts();
        let families: Vec<String> =
            fonts.faces().filter_map(|face| Some(face.families.first()?.0.clone())).collect();
        let plain = ["DejaVu Sans", "Noto Sans", "Liberation Sans", "Arial", "Helvetica"];
        let known = plain.iter().copied().find(|name| families.iter().any(|family| family == name));
        let sans =
            known.or_else(|| families.iter().map(String::as_str).find(|family| family.contains("Sans")));
        let family = sans.or(families.first().map(String::as_str)).ok_or_else(|| {
            anyhow!("found no font on this machine, expected one for --png; install one such as DejaVu, or take --svg")
        })?;
        fonts.set_sans_serif_family(family);
        Ok(Self(options))
    }

    /// The picture of `svg`, on white.
    pub(super) fn png(&self, svg: &str) -> Result<Vec<u8>> {
        let tree = Tree::from_str(svg, &self.0).context("the plot is not read as SVG")?;
        let size = tree.size();
        let pixels = |length: f32| (length * SCALE).ceil() as u32;
        let mut picture =
            Pixmap::new(pixels(size.width()), pixels(size.height())).context("the plot has no size")?;
        picture.fill(Color::WHITE);
        resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut picture.as_mut());
        picture.encode_png().context("the picture was not encoded")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_twice_the_pixels_of_its_plot() {
        let Ok(painter) = Painter::new() else {
            println!("skipped: this machine has no font");
            return;
        };
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"30\" height=\"20\"><rect width=\"30\" height=\"20\" fill=\"#f00\"/></svg>";
        let picture = Pixmap::decode_png(&painter.png(svg).unwrap()).unwrap();
        assert_eq!((picture.width(), picture.height()), (60, 40));
        let red = resvg::tiny_skia::ColorU8::from_rgba(255, 0, 0, 255);
        assert_eq!(picture.pixel(30, 20).map(|pixel| pixel.demultiply()), Some(red));
        assert!(painter.png("no plot").is_err());
    }
}
