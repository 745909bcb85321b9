//! What networks take to compute, from published definitions: the inputs of the analytic model.
//!
//! The file is `models/networks.toml` of the repository, built in; its head says how each figure was
//! counted.

#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::device_spec::SpecError;
use crate::device_spec::reader::{Reader, count, parse_toml, positive, text, unknown_name};
use crate::provenance::Basis;

/// The text of the networks that are built in.
pub const BUNDLED: &str = include_str!("../../../../models/networks.toml");

/// Every key of a network.
const KEYS: [&str; 16] = [
    "title",
    "multiply_accumulates_per_row",
    "parameters",
    "activation_values_per_row",
    "peak_values_per_row",
    "parallelism",
    "operators",
    "input_bytes_per_row",
    "passes_per_row",
    "precision",
    "basis",
    "source",
    "quality",
    "quality_metric",
    "quality_source",
    "papers",
];

/// How wide the values are that a network computes with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    Fp32,
    /// 16 bits.
    Fp16,
}

impl Precision {
    /// Bytes of a value.
    pub const fn bytes(self) -> f64 {
        match self {
            Self::Fp32 => 4.0,
            Self::Fp16 => 2.0,
        }
    }
}

/// How good a network's answers are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// The figure, in the unit of its metric.
    pub value: f64,
    /// What is counted, and in which unit.
    pub metric: String,
    /// Who published it.
    pub source: String,
}

/// What one network takes to compute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Network {
    /// Short name, such as `resnet50`.
    pub name: String,
    /// Full name.
    pub title: String,
    /// Multiply-accumulates of a row, all passes together.
    pub multiply_accumulates_per_row: f64,
    /// Values of the weights.
    pub parameters: f64,
    /// Values that the layers of a row read and write besides weights, all passes together.
    pub activation_values_per_row: f64,
    /// Most values that a row holds at once.
    pub peak_values_per_row: f64,
    /// Outputs of a layer, the harmonic mean weighted by multiply-accumulates.
    pub parallelism: f64,
    /// Operators of one pass.
    pub operators: f64,
    /// Bytes of a row that cross to the device.
    pub input_bytes_per_row: f64,
    /// How often the weights are read for a row: tokens or denoising steps.
    pub passes_per_row: f64,
    /// How wide the values are.
    pub precision: Precision,
    /// How the figures above are known.
    pub basis: Basis,
    /// Where they come from.
    pub source: String,
    /// How good the answers are, when published.
    pub quality: Option<Quality>,
    /// Papers that used the network.
    pub papers: Vec<String>,
}

/// Reads networks from the TOML `text`, one table each, in the order of their names; `file_name` is
/// for errors only.
pub fn parse(text: &str, file_name: &str) -> Result<Vec<Network>, SpecError> {
    let file = parse_toml(text, file_name)?;
    file.iter().map(|(name, value)| network(name, value, file_name)).collect()
}

/// The built-in network of that name, or an error that names the nearest.
pub fn bundled(name: &str) -> Result<Network, SpecError> {
    let file = parse_toml(BUNDLED, "networks.toml")?;
    match file.get(name) {
        Some(value) => network(name, value, "networks.toml"),
        None => {
            let names: Vec<&str> = file.keys().map(String::as_str).collect();
            Err(unknown_name("network", name, &names))
        }
    }
}

fn network(name: &str, value: &toml::Value, file_name: &str) -> Result<Network, SpecError> {
    let Some(table) = value.as_table() else {
        return Err(SpecError {
            file: file_name.into(),
            place: format!("key {name:?}").into(),
            found: value.to_string().into(),
            expected: "the table of a network".into(),
            help: format!("begin it with [{name}]").into(),
        });
    };
    let table = Reader::new(file_name, name, table, &KEYS)?;
    let whole = |key| table.required(key, "a whole number over 0", |value| count(value).map(as_float));
    let quality = table.optional("quality", "a number over 0", positive)?;
    Ok(Network {
        name: name.to_owned(),
        title: table.text("title")?,
        multiply_accumulates_per_row: whole("multiply_accumulates_per_row")?,
        parameters: whole("parameters")?,
        activation_values_per_row: whole("activation_values_per_row")?,
        peak_values_per_row: whole("peak_values_per_row")?,
        parallelism: whole("parallelism")?,
        operators: whole("operators")?,
        input_bytes_per_row: whole("input_bytes_per_row")?,
        passes_per_row: table
            .optional("passes_per_row", "a whole number over 0", |value| count(value).map(as_float))?
            .unwrap_or(1.0),
        precision: table
            .optional("precision", "\"fp32\" or \"fp16\"", |value| match value.as_str()? {
                "fp32" => Some(Precision::Fp32),
                "fp16" => Some(Precision::Fp16),
                _ => None,
            })?
            .unwrap_or_default(),
        basis: table.basis()?,
        source: table.text("source")?,
        quality: match quality {
            Some(value) => Some(Quality {
                value,
                metric: table.text("quality_metric")?,
                source: table.text("quality_source")?,
            }),
            None => None,
        },
        papers: table.required("papers", "a list of texts, empty if none", |value| {
            value.as_array()?.iter().map(text).collect()
        })?,
    })
}

/// Counts are computed with as floats; none is so large that its digits matter.
fn as_float(count: i64) -> f64 {
    count as f64
}
