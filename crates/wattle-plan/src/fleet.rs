//! FLEET.toml: models with their loads and objectives, devices, the grid, and what to plan for.
//!
//! ```toml
//! objective = "carbon"
//! grid = { source = "gas" }
//!
//! [[devices]]
//! name = "a100"
//! spec = "nvidia-a100-40gb"
//! count = 4
//!
//! [[models]]
//! name = "resnet50"
//! network = "resnet50"
//! load_rps = 200
//! slo_ms = 100
//! ```
//!
//! Unknown keys are errors. Files are named relative to the folder of FLEET.toml; who loads a fleet reads them.

mod check;
mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wattle_core::nearest::nearest;

pub(crate) use files::sized;
pub use files::{Device, Loaded, Source, load};

/// A fleet that makes no sense: where, what was found, what was expected, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, {place}: found {found}, expected {expected}; {help}")]
pub struct FleetError {
    /// The file.
    pub file: String,
    /// The line or the key.
    pub place: String,
    /// What stands there.
    pub found: String,
    /// What could stand there.
    pub expected: String,
    /// What to do.
    pub help: String,
}

/// What is to be least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Operational and embodied emissions of all devices in use.
    #[default]
    Carbon,
    /// Energy.
    Energy,
    /// Devices in use; of equals, those that draw least.
    Devices,
}

/// The file, as written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// What is to be least: `carbon` (the default), `energy` or `devices`.
    #[serde(default)]
    pub objective: Objective,
    /// The electricity.
    pub grid: Grid,
    /// Power usage effectiveness of the site, at least 1. 1 by default.
    #[serde(default = "one")]
    pub pue: f64,
    /// How long the plan is to hold: the carbon intensity is the mean of so many hours. 24 by default.
    #[serde(default = "a_day")]
    pub horizon_hours: f64,
    /// Whether devices that the plan leaves free idle and count. Else they are off, or someone else's.
    #[serde(default)]
    pub idle_counts: bool,
    /// A slice takes loads up to this share of its capacity. 0.95 by default.
    #[serde(default = "headroom")]
    pub headroom: f64,
    /// A model's load is cut in so many equal parts at most. 8 by default.
    #[serde(default = "replicas")]
    pub most_replicas: u32,
    /// A CSV file `model,load_rps` whose loads take the place of those below.
    pub loads: Option<String>,
    /// What it costs to change from one plan to another.
    #[serde(default)]
    pub change: Change,
    /// The devices, by kind.
    pub devices: Vec<DeviceEntry>,
    /// The models.
    pub models: Vec<ModelEntry>,
}

/// Carbon intensity: one of the three.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Grams of CO2 equivalent for a kilowatt-hour.
    pub intensity_g_per_kwh: Option<f64>,
    /// The one source of all electricity, by ACT's table: see [`SOURCES`].
    pub source: Option<String>,
    /// A CSV file `seconds,carbon_intensity_g_per_kwh`: a trace or a forecast.
    pub trace: Option<String>,
    /// Where in the trace the horizon begins. 0 by default.
    pub start_seconds: Option<f64>,
}

/// What a change of plan takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// For each device that changes: how long it serves nobody while it is cut anew and loads.
    pub seconds: f64,
    /// For each device that changes: energy for that, over what it draws anyway.
    pub joules: f64,
}

impl Default for Change {
    /// A minute for each device, in which it draws what it draws.
    fn default() -> Self {
        Self { seconds: 60.0, joules: 0.0 }
    }
}

/// Devices that are all alike.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceEntry {
    /// What they are called here; profiles are given by it.
    pub name: String,
    /// What is known of them: a device that comes with the program, such as `nvidia-a100-40gb`, or a TOML file.
    pub spec: String,
    /// How many there are.
    pub count: u32,
    /// Whether they may be cut by MIG. By default where the spec tells the slices.
    pub mig: Option<bool>,
    /// Whether one model may have a device to itself, uncut. `true` by default.
    #[serde(default = "yes")]
    pub whole: bool,
    /// Other ways to share, each a list of partitions as they are called in the profiles.
    #[serde(default)]
    pub layouts: Vec<Vec<String>>,
    /// Sharing without partitions (MPS, time slices): offered only where it is said what neighbours do.
    pub sharing: Option<Sharing>,
    /// Clocks to choose from, in MHz. By default those of the profiles, or of the spec.
    pub clocks_mhz: Option<Vec<f64>>,
    /// Power at rest, `P_S`, in place of the spec's.
    pub idle_power_watts: Option<f64>,
    /// Draw of shared parts while anything runs, `P_OI`, in place of what the spec's curve tells.
    pub shared_idle_power_watts: Option<f64>,
    /// A file of `wattle profile --sharing`, from which the two above and κ are fitted; none of the three beside it.
    pub shared_power: Option<String>,
    /// κ of the fit of shared power: see [`wattle_core::shared_power`]. Draws add up by default.
    pub overlap_per_watt: Option<f64>,
    /// Emissions of making one, in place of the spec's.
    pub embodied_kilograms_co2e: Option<f64>,
    /// Years that one is used for, in place of the spec's.
    pub lifetime_years: Option<f64>,
}

/// Sharing a whole device, every figure assumed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sharing {
    /// Models side by side, at most.
    pub most: u32,
    /// By how much each other model slows one down, as a share: 0.2 makes three models each take 1.4 times as long.
    pub slowdown_per_neighbour: f64,
    /// Where that is from.
    pub source: String,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Its name.
    pub name: String,
    /// Its published figures, from which profiles are modelled: a network that comes with the program, such as
    /// `resnet50`.
    pub network: Option<String>,
    /// The work of a row, relative to the network's own: 0.0625 for images of a quarter of the height and width.
    #[serde(default = "one")]
    pub size: f64,
    /// Profile files, by the name of the devices they were taken on.
    #[serde(default)]
    pub profiles: BTreeMap<String, String>,
    /// Mean load, in rows per second.
    pub load_rps: f64,
    /// Bound on the 99th percentile of latency.
    pub slo_ms: f64,
    /// Batch sizes to choose from. By default those of the profile; 1 to 64 where that is modelled.
    pub batch_sizes: Option<Vec<u32>>,
}

/// Grams of CO2 equivalent for each kilowatt-hour, by source of energy: ACT's table (Gupta et al., ISCA 2022),
/// as "The Utilization Fallacy" uses it.
pub const SOURCES: [(&str, f64); 8] = [
    ("coal", 820.0),
    ("gas", 490.0),
    ("biomass", 230.0),
    ("solar", 41.0),
    ("geothermal", 38.0),
    ("hydropower", 24.0),
    ("nuclear", 12.0),
    ("wind", 11.0),
];

impl Fleet {
    /// Reads a fleet; `file` is for errors only.
    ///
    /// # Errors
    /// Where it is no TOML of the right shape, and where a value makes no sense.
    pub fn parse(text: &str, file: &str) -> Result<Self, FleetError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let fleet: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            FleetError {
                file: file.to_owned(),
                place: format!("line {line}"),
                found: error.message().to_owned(),
                expected: "a fleet as docs/planning.md describes it".to_owned(),
                help: meant(error.message()),
            }
        })?;
        check::check(&fleet, file)?;
        Ok(fleet)
    }
}

/// What was meant by an unknown key, from serde's words: `unknown field `x`, expected one of `a`, `b``.
fn meant(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    match names.next().filter(|_| message.starts_with("unknown ")) {
        Some(found) => match nearest(found, names) {
            Some(near) => format!("did you mean {near:?}?"),
            None => "remove it".to_owned(),
        },
        None => "correct it".to_owned(),
    }
}

fn one() -> f64 {
    1.0
}

fn a_day() -> f64 {
    24.0
}

fn headroom() -> f64 {
    0.95
}

fn replicas() -> u32 {
    8
}

fn yes() -> bool {
    true
}
