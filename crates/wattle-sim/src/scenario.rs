//! The scenario file: devices, models, families, workload, signals, policies, seeds and span.
//!
//! Every key is checked; unknown keys are errors. Files are named relative to the scenario's own.

mod check;
mod family;
mod files;
pub(crate) mod load;
mod model;
mod signal;
mod traffic;
mod truth;

use std::path::PathBuf;

use serde::Deserialize;

pub use check::{SpanError, check_span};
pub(crate) use load::told;
pub use load::{Loaded, ScenarioError};
pub use model::ModelFile;
pub use signal::SignalFile;
pub use traffic::WorkloadFile;
pub use truth::Truth;

/// The file, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// What it is called; the file's stem by default. Letters, digits, spaces and `- _ . ,`, as it becomes
    /// part of a path.
    pub name: Option<String>,
    /// What it shows.
    #[serde(default)]
    pub description: String,
    /// `request` (the default) or `epoch`.
    #[serde(default)]
    pub level: Level,
    /// How long it runs.
    pub span_seconds: f64,
    /// One seed; 1 by default.
    pub seed: Option<u64>,
    /// Several seeds, each a run of its own.
    pub seeds: Option<Vec<u64>>,
    /// Length of a control tick at request level; 100 by default.
    pub tick_ms: Option<f64>,
    /// Length of an epoch at epoch level; 3600 by default.
    pub epoch_seconds: Option<f64>,
    /// Points of the time series, at most.
    #[serde(default = "default_points")]
    pub points: usize,
    /// Whether each policy is also compared with its family's oracle.
    #[serde(default = "default_oracle")]
    pub oracle: bool,
    /// The devices; one called `device` by default.
    #[serde(default)]
    pub devices: Vec<DeviceFile>,
    /// The models.
    pub models: Vec<ModelFile>,
    /// The families.
    #[serde(default)]
    pub families: Vec<FamilyFile>,
    /// The power cap in watts.
    pub power_cap: Option<SignalFile>,
    /// Carbon intensity in gCO2e/kWh.
    pub carbon_intensity: Option<SignalFile>,
    /// The policies, each a run of its own; `fixed` by default.
    #[serde(default)]
    pub policies: Vec<PolicyFile>,
}

/// How much is played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every request.
    #[default]
    Request,
    /// One decision an epoch.
    Epoch,
}

/// One device.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceFile {
    /// Its name.
    pub name: String,
    /// What is known of it: a device that comes with the program, such as `nvidia-p40`, or a TOML file.
    pub spec: Option<String>,
    /// What it draws with nothing to do, where that is not to be taken from the profiles.
    pub idle_power_watts: Option<f64>,
    /// What the parts that all its models share draw once while anything runs, as under MIG slices: part
    /// of the power that each profile tells. 0 by default.
    #[serde(default)]
    pub shared_idle_power_watts: f64,
    /// Standard deviation of the error of each power sample a policy sees, as a share.
    #[serde(default)]
    pub sensor_noise: f64,
    /// What it draws above idle, over what the profiles that policies plan with say. 1 by default.
    #[serde(default = "one")]
    pub power_ratio: f64,
    /// How long its batches take, over what these profiles say. 1 by default.
    #[serde(default = "one")]
    pub batch_time_ratio: f64,
}

/// One family.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamilyFile {
    /// Its name.
    pub name: String,
    /// Its variants.
    pub variants: Vec<VariantFile>,
    /// The variant that answers at first; the first by default.
    pub active: Option<String>,
    /// Who asks it.
    pub workload: Option<WorkloadFile>,
}

/// One variant of a family.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantFile {
    /// The model.
    pub model: String,
    /// Energy of an answer; by default that of its profile, with one instance at the largest batch and the
    /// device's knobs fully open, as in the server.
    pub energy_joules_per_row: Option<f64>,
    /// How good its answers are, as a share, for this family and for the run's figures; the model's quality
    /// by default.
    pub quality: Option<f64>,
}

/// One policy: its label, and the keys that the server's configuration has too.
#[derive(Debug, Clone, Deserialize)]
pub struct PolicyFile {
    /// What the run is called, where the policy's name does not tell it from another.
    pub label: Option<String>,
    /// How unused units of the devices are gated: `none`, `cu` or `se`; as the policy plans by default.
    pub gating: Option<wattle_core::gating::Gating>,
    /// Name and options.
    #[serde(flatten)]
    pub config: toml::Table,
}

/// A file that a scenario rests on, by its hash.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct InputFile {
    /// Where it was read, as the scenario names it.
    pub path: PathBuf,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

fn default_points() -> usize {
    1000
}

fn one() -> f64 {
    1.0
}

fn default_oracle() -> bool {
    true
}
