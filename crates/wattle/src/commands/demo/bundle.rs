//! What the demo brings along, inside the program: a model repository, labelled images, a day's traces.

use std::path::Path;

use anyhow::{Context, Result, bail};
use bytes::Bytes;

macro_rules! example {
    ($($part:literal),+) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/", $($part),+)
    };
}

macro_rules! model {
    ($name:literal) => {
        BundledModel {
            name: $name,
            config: include_str!(example!("models/", $name, "/model.toml")),
            onnx: include_bytes!(example!("models/", $name, "/1/model.onnx")),
        }
    };
}

/// One model of the bundled repository.
pub(super) struct BundledModel {
    pub(super) name: &'static str,
    config: &'static str,
    onnx: &'static [u8],
}

/// The bundled models, from the smallest to the largest.
pub(super) const MODELS: [BundledModel; 4] =
    [model!("digits-xs"), model!("digits-s"), model!("digits-m"), model!("digits-l")];

/// A day's load, relative to its peak.
pub(super) const REQUESTS: &str = include_str!(example!("demo/requests.csv"));
/// A day's power cap, as a share of the range from idle to full power.
pub(super) const POWER_CAP: &str = include_str!(example!("demo/power-cap.csv"));
/// A day's carbon intensity.
pub(super) const CARBON_INTENSITY: &str = include_str!(example!("demo/carbon-intensity.csv"));
/// Images of handwritten digits that no model was trained on, each with its label.
const IMAGES: &str = include_str!(example!("digits-test.csv"));

/// Pixels of an image, which is 8 by 8.
const PIXELS: usize = 64;
/// Classes that the models tell apart.
const CLASSES: usize = 10;

/// Writes the models into `folder`, as a model repository.
pub(super) fn write_models(folder: &Path) -> Result<()> {
    for model in &MODELS {
        let path = folder.join(model.name);
        let version = path.join("1");
        let write = || {
            std::fs::create_dir_all(&version)?;
            std::fs::write(path.join("model.toml"), model.config)?;
            std::fs::write(version.join("model.onnx"), model.onnx)
        };
        write().with_context(|| format!("failed to write the model {}", path.display()))?;
    }
    Ok(())
}

/// An image and the digit on it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelledImage {
    /// The digit, 0 to 9.
    pub(super) label: usize,
    /// FP32 pixels, little-endian, as the protocol's raw contents have them.
    pub(super) pixels: Bytes,
}

/// The bundled images.
pub(super) fn images() -> Result<Vec<LabelledImage>> {
    parse_images(IMAGES).context("the bundled digits-test.csv")
}

fn parse_images(text: &str) -> Result<Vec<LabelledImage>> {
    let mut images = Vec::new();
    for (index, record) in csv::Reader::from_reader(text.as_bytes()).records().enumerate() {
        let record = record?;
        let wrong = || format!("image {}: expected a label of 0 to 9 and {PIXELS} pixels", index + 1);
        let cells: Vec<f32> = record.iter().map(str::parse).collect::<Result<_, _>>().with_context(wrong)?;
        let [label, pixels @ ..] = &cells[..] else { bail!(wrong()) };
        let label = *label as usize;
        if pixels.len() != PIXELS || label >= CLASSES {
            bail!(wrong());
        }
        let pixels: Vec<u8> = pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        images.push(LabelledImage { label, pixels: pixels.into() });
    }
    if images.is_empty() {
        bail!("no image in it");
    }
    Ok(images)
}

/// The class of the highest of the `logits`, little-endian FP32; `None` unless there is one for each
/// class and each is a number.
pub(super) fn class_of(logits: &[u8]) -> Option<usize> {
    let (values, rest) = logits.as_chunks::<4>();
    let values: Vec<f32> = values.iter().copied().map(f32::from_le_bytes).collect();
    if values.len() != CLASSES || !rest.is_empty() || values.iter().any(|value| value.is_nan()) {
        return None;
    }
    values.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_images_are_read_with_their_labels() {
        let images = images().unwrap();
        assert_eq!(images.len(), 899);
        assert!(images.iter().all(|image| image.pixels.len() == 4 * PIXELS));
        let mut labels: Vec<usize> = images.iter().map(|image| image.label).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels, (0..CLASSES).collect::<Vec<_>>());
    }

    #[test]
    fn an_image_that_lacks_pixels_is_named() {
        let error = parse_images("label,p0\n3,1\n").unwrap_err().to_string();
        assert_eq!(error, "image 1: expected a label of 0 to 9 and 64 pixels");
    }

    #[test]
    fn the_class_is_the_highest_of_ten_numbers() {
        let logits = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let mut values = [-1.0; CLASSES];
        values[7] = 0.5;
        assert_eq!(class_of(&logits(&values)), Some(7));
        values[2] = f32::NAN;
        assert_eq!(class_of(&logits(&values)), None);
        assert_eq!(class_of(&logits(&[1.0; 9])), None);
    }

    #[test]
    fn the_repository_holds_every_model() {
        let folder = tempfile::tempdir().unwrap();
        write_models(folder.path()).unwrap();
        for model in &MODELS {
            assert!(folder.path().join(model.name).join("1/model.onnx").metadata().unwrap().len() > 1000);
        }
    }
}
