//! A month of one family under one policy, by half hours; and a day of it request by request.

use std::time::Duration;

use wattle_core::analytic::{self, Grid, networks};
use wattle_core::device_spec;
use wattle_core::family::Variant;
use wattle_core::foresight::Foresight;
use wattle_core::id::FamilyName;
use wattle_core::knob::{ServingLimits, ServingSetting};
use wattle_core::operating_point::{OperatingPoint, ProfileRow};
use wattle_core::played_device::PlayedDevice;
use wattle_core::policies::carbon_adaptive::IntensityWindow;
use wattle_core::policies::oracle_carbon::OracleCarbon;
use wattle_core::policies::{self, PolicyOptions};
use wattle_core::profile::Profile;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::signal::Signal;
use wattle_core::units::{Joules, Watts};
use wattle_sim::plan::{CarbonForecast, DevicePlan, FamilyPlan, ModelPlan, Plan, Spread, Stream, Target};
use wattle_sim::scenario::Truth;
use wattle_sim::summary::Summary;
use wattle_sim::workload::{RateTrace, Segment, Source};
use wattle_sim::{epoch_level, request_level};

use super::published::{Network, RESNET34, RESNET50, RESNETS};
use super::rows::Results;
use super::traces::{CarbonTrace, EPOCH, LoadTrace};
use super::{RULES, broken};
use crate::ReproduceError;

const FAMILY: &str = "resnet";
const DEVICE: &str = "nvidia-v100";

/// What one job of the experiment gives.
pub(super) enum Played {
    /// All policies over a month.
    Month(Box<Results>),
    /// Grams and error of a day request by request, over those by half hours.
    Day([f64; 2]),
}

/// What a run came to.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) grams: f64,
    pub(crate) error_percent: f64,
    /// Share of the answers that each network gave, in the order of Table 1.
    pub(crate) shares: [f64; RESNETS.len()],
}

impl Served {
    fn of(summary: &Summary) -> Result<Self, ReproduceError> {
        let unserved = summary.requests_total - summary.requests_completed - summary.requests_unfinished;
        if unserved > 0 {
            return Err(broken(format!("{unserved} requests were not served")));
        }
        let rows = |network: &Network| summary.models.get(network.name).map_or(0, |of| of.rows_completed);
        let all = summary.requests_completed.max(1) as f64;
        Ok(Self {
            grams: summary.carbon_grams.ok_or_else(|| broken("a run without carbon"))?,
            error_percent: (1.0 - summary.quality_mean.ok_or_else(|| broken("answers of no quality"))?)
                * 100.0,
            shares: RESNETS.each_ref().map(|network| rows(network) as f64 / all),
        })
    }
}

/// A month of load and carbon intensity, ready to be replayed.
pub(crate) struct Month<'a> {
    pub(crate) load: &'a LoadTrace,
    pub(crate) carbon: &'a CarbonTrace,
    plan: Plan,
    options: PolicyOptions,
}

impl<'a> Month<'a> {
    pub(crate) fn new(load: &'a LoadTrace, carbon: &'a CarbonTrace) -> Result<Self, ReproduceError> {
        let variants: Vec<Variant> = RESNETS.iter().map(variant).collect();
        let family = FamilyName::from(FAMILY);
        let options = PolicyOptions {
            families: [(family.clone(), variants.clone())].into(),
            foresight: Some(Foresight {
                carbon_intensity: Some(carbon.signal()?),
                offered_family_rps: [(family.clone(), load.signal()?)].into(),
                ..Foresight::default()
            }),
            ..PolicyOptions::default()
        };
        Ok(Self { load, carbon, plan: plan(family, variants, load, carbon.signal()?)?, options })
    }

    /// The month with `network` alone.
    pub(crate) fn alone(&self, network: usize) -> Result<Served, ReproduceError> {
        let mut plan = self.plan.clone();
        plan.families[0].active = place(&plan, RESNETS[network].name);
        let mut policy = policies::build("fixed", &self.options).map_err(broken)?;
        Served::of(&epoch_level::run(&plan, policy.as_mut(), 1, &mut |_| ()).summary)
    }

    /// The month under `policy`, over which the extremes of the intensity are taken as `window` says.
    pub(crate) fn under(&self, policy: &str, window: IntensityWindow) -> Result<Served, ReproduceError> {
        let mut options = self.options.clone();
        options.carbon_adaptive.window = window;
        let mut policy = policies::build(policy, &options).map_err(broken)?;
        Served::of(&epoch_level::run(&self.plan, policy.as_mut(), 1, &mut |_| ()).summary)
    }

    /// The month under `carbon-budget` with the error rate of `error_percent` as its floor, shown `forecast`
    /// of the next `horizon`. The accounting period is the month. No history is given: the first days count.
    pub(crate) fn within_budget(
        &self,
        error_percent: f64,
        (forecast, horizon): (CarbonForecast, Duration),
    ) -> Result<Served, ReproduceError> {
        let mut options = self.options.clone();
        options.carbon_budget.quality_floor = Some(1.0 - error_percent / 100.0);
        let mut plan = self.plan.clone();
        (plan.carbon_forecast, plan.carbon_horizon) = (forecast, horizon);
        let days = u32::try_from(plan.span.as_secs().div_ceil(86_400)).map_err(broken)?;
        options.carbon_budget.period_days = Some(days);
        let mut policy = policies::build("carbon-budget", &options).map_err(broken)?;
        Served::of(&epoch_level::run(&plan, policy.as_mut(), 1, &mut |_| ()).summary)
    }

    /// The month under the rule with ResNet34 left out, which saves little energy for much error.
    pub(crate) fn without_resnet34(&self) -> Result<Served, ReproduceError> {
        let mut options = self.options.clone();
        for variants in options.families.values_mut() {
            variants.retain(|variant| variant.model.as_str() != RESNETS[RESNET34].name);
        }
        let mut policy = policies::build(RULES[0], &options).map_err(broken)?;
        Served::of(&epoch_level::run(&self.plan, policy.as_mut(), 1, &mut |_| ()).summary)
    }

    /// The least grams at which the month can be served with at most `error_percent`.
    pub(crate) fn least_grams(&self, error_percent: f64) -> Result<f64, ReproduceError> {
        let mut options = self.options.clone();
        options.oracle_carbon.quality_floor = Some(1.0 - error_percent / 100.0);
        let oracle = OracleCarbon::new(&options).map_err(broken)?;
        oracle
            .plans()
            .get(FAMILY)
            .map(|plan| plan.grams.get())
            .ok_or_else(|| broken("an oracle without a plan"))
    }

    /// Grams and error of the first `seconds` under `policy`, which has `floor` where it takes one: request by
    /// request, over those by half hours.
    pub(crate) fn request_level_over_epoch_level(
        &self,
        policy: &str,
        floor: f64,
        seconds: f64,
    ) -> Result<[f64; 2], ReproduceError> {
        let mut plan = self.plan.clone();
        plan.span = Duration::from_secs_f64(seconds);
        let mut options = self.options.clone();
        (options.carbon_budget.quality_floor, options.carbon_budget.period_days) = (Some(floor), Some(1));
        let policy = || policies::build(policy, &options).map_err(broken);
        let epochs = Served::of(&epoch_level::run(&plan, policy()?.as_mut(), 1, &mut |_| ()).summary)?;
        plan.step = Duration::from_secs(10);
        let run = request_level::run(&plan, policy()?.as_mut(), 1, &mut |_| ());
        let requests = Served::of(&run.map_err(broken)?.summary)?;
        Ok([requests.grams / epochs.grams, requests.error_percent / epochs.error_percent])
    }
}

fn variant(network: &Network) -> Variant {
    Variant {
        model: network.name.into(),
        energy_joules_per_row: Joules::new(network.millijoules / 1e3),
        quality: 1.0 - network.error_percent / 100.0,
    }
}

/// Where the model called `name` stands in the family and among the models.
fn place(plan: &Plan, name: &str) -> usize {
    plan.models.iter().position(|model| model.name.as_str() == name).unwrap_or(0)
}

/// The profile of a network on a V100 by the analytic model at batch 1, with power such that an inference
/// takes the energy of Table 1, and no idle power: that energy is taken as all there is.
fn profile(network: &Network) -> Result<Profile, ReproduceError> {
    let spec = device_spec::bundled(DEVICE).map_err(broken)?;
    let of = networks::bundled(network.name).map_err(broken)?;
    let grid = Grid { batch_sizes: vec![1], instances: vec![1], ..Grid::default() };
    let mut profile = analytic::profile(&spec, &of, &grid).map_err(broken)?;
    profile.head.idle_power_watts = Some(Watts::ZERO);
    for row in &mut profile.rows {
        let seconds = row.latency_ms_mean.ok_or_else(|| broken("a profile without latency"))? / 1e3;
        let joules = Joules::new(network.millijoules / 1e3);
        *row = ProfileRow {
            point: OperatingPoint::of_batch_and_instances(1, 1),
            throughput_rps: Some(1.0 / seconds),
            power_watts_mean: Some(Watts::new(joules.get() / seconds)),
            power_watts_max: None,
            energy_joules_per_row: Some(joules),
            // A measured energy over a modelled time.
            power_basis: Basis::Modelled,
            ..row.clone()
        };
    }
    Ok(profile)
}

fn plan(
    family: FamilyName,
    mut variants: Vec<Variant>,
    load: &LoadTrace,
    carbon: Signal,
) -> Result<Plan, ReproduceError> {
    variants.sort_by(|a, b| a.model.cmp(&b.model));
    let mut profiles = std::collections::BTreeMap::new();
    for network in &RESNETS {
        profiles.insert(network.name.into(), profile(network)?);
    }
    let played = PlayedDevice::new(&profiles).map_err(broken)?;
    let mut models = Vec::new();
    for variant in &variants {
        let index = played.index_of(variant.model.as_str());
        models.push(ModelPlan {
            name: variant.model.clone(),
            device: 0,
            index: index.ok_or_else(|| broken("a variant that is not played"))?,
            setting: ServingSetting {
                batch_size: 1,
                instances: 1,
                cores_per_instance: 1,
                duty_cycle: 1.0,
                max_queue_delay: Duration::ZERO,
                max_queue_size: u32::MAX,
            },
            limits: ServingLimits { max_batch_size: 1, max_instances: 1, max_cores_per_instance: 1 },
            spread: Spread::Constant,
            overhead: Duration::ZERO,
            timeout: None,
            objective: None,
            quality: Some(variant.quality),
        });
    }
    let seconds = EPOCH.as_secs_f64();
    let segments = load.rates.iter().map(|rate| Segment { seconds, rate_rps: *rate }).collect();
    let span = EPOCH * u32::try_from(load.rates.len()).map_err(broken)?;
    let mut plan = Plan {
        span,
        step: EPOCH,
        devices: vec![DevicePlan {
            id: DEVICE.into(),
            played,
            truth: Truth::AS_PROFILED,
            provenance: Provenance::new(
                Basis::Modelled,
                "energy of an inference by the paper's Table 1, over modelled time",
            ),
            sensor_noise: 0.0,
        }],
        models,
        families: Vec::new(),
        streams: vec![Stream {
            target: Target::Family(0),
            source: Source::Rates { trace: RateTrace { segments, repeat: false }, poisson: true },
            rows: 1,
            priority: 1,
        }],
        power_cap: None,
        cap_horizon: Duration::ZERO,
        carbon_horizon: Duration::ZERO,
        carbon_forecast: CarbonForecast::Perfect,
        carbon_intensity: Some(carbon),
        points: 1,
    };
    let active = place(&plan, RESNETS[RESNET50].name);
    let models = (0..variants.len()).collect();
    plan.families.push(FamilyPlan { name: family, variants, models, active });
    Ok(plan)
}
