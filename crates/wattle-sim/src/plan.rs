//! One run, with everything read and checked: what the engines are given.

use std::time::Duration;

use wattle_core::family::Variant;
use wattle_core::id::{DeviceId, FamilyName, ModelName};
use wattle_core::knob::{ServingLimits, ServingSetting};
use wattle_core::played_device::PlayedDevice;
use wattle_core::provenance::Provenance;
use wattle_core::signal::Signal;

use crate::scenario::Truth;
use crate::workload::Source;

/// One run but for its policy and its seed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long it runs.
    pub span: Duration,
    /// Length of a control tick at request level, or of an epoch at epoch level.
    pub step: Duration,
    /// The devices, in the order of their names.
    pub devices: Vec<DevicePlan>,
    /// The models, in the order of their names.
    pub models: Vec<ModelPlan>,
    /// The families, in the order of their names.
    pub families: Vec<FamilyPlan>,
    /// The streams of requests.
    pub streams: Vec<Stream>,
    /// The power cap in watts over all devices together.
    pub power_cap: Option<Signal>,
    /// How far ahead the policy is shown the changes of the cap; zero: not at all.
    pub cap_horizon: Duration,
    /// Carbon intensity in gCO2e/kWh.
    pub carbon_intensity: Option<Signal>,
    /// How far ahead the policy is shown its changes; zero: not at all.
    pub carbon_horizon: Duration,
    /// How what it is shown of them is known.
    pub carbon_forecast: CarbonForecast,
    /// Points of the time series, at most.
    pub points: usize,
}

/// How the carbon intensity to come is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CarbonForecast {
    /// As it will be: a forecast that never errs.
    #[default]
    Perfect,
    /// As it was a day before; nothing until a day has passed.
    SeasonalNaive,
}

/// One device.
#[derive(Debug, Clone)]
pub struct DevicePlan {
    /// Its name.
    pub id: DeviceId,
    /// What its batches take and draw, with nothing running.
    pub played: PlayedDevice,
    /// How far it is from the profiles that policies plan with.
    pub truth: Truth,
    /// How its power is known.
    pub provenance: Provenance,
    /// Standard deviation of the error of each power sample a policy sees, as a share of the power.
    pub sensor_noise: f64,
}

/// One model.
#[derive(Debug, Clone)]
pub struct ModelPlan {
    /// Its name.
    pub name: ModelName,
    /// Which of the devices it runs on.
    pub device: usize,
    /// By which index that device knows it.
    pub index: usize,
    /// Where its knobs stand at first.
    pub setting: ServingSetting,
    /// How far they turn.
    pub limits: ServingLimits,
    /// How batch times spread around the profile's mean.
    pub spread: Spread,
    /// Time a request spends outside queue and instance.
    pub overhead: Duration,
    /// How long a request waits at most.
    pub timeout: Option<Duration>,
    /// Bound on the latency, for counting those beyond.
    pub objective: Option<Duration>,
    /// How good its answers are, as a share.
    pub quality: Option<f64>,
}

/// How batch times spread around their mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// Not at all.
    Constant,
    /// As an exponential distribution.
    Exponential,
    /// As a lognormal distribution of that coefficient of variation.
    Lognormal(f64),
}

/// One family.
#[derive(Debug, Clone)]
pub struct FamilyPlan {
    /// Its name.
    pub name: FamilyName,
    /// Its variants.
    pub variants: Vec<Variant>,
    /// The index of each variant among the models, in their order.
    pub models: Vec<usize>,
    /// Which variant answers at first.
    pub active: usize,
}

/// One stream of requests.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Who is asked.
    pub target: Target,
    /// When.
    pub source: Source,
    /// Rows of each request.
    pub rows: u32,
    /// Priority of each request.
    pub priority: u32,
}

/// Who a stream asks, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A model.
    Model(usize),
    /// A family: its active variant.
    Family(usize),
}
