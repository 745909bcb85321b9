//! Serves a set of models on one shared device or on one each, on the engine, and counts the carbon.

use std::collections::BTreeMap;
use std::time::Duration;

use wattle_core::carbon;
use wattle_core::id::ModelName;
use wattle_core::knob::{ServingLimits, ServingSetting};
use wattle_core::played_device::PlayedDevice;
use wattle_core::policies::fixed::Fixed;
use wattle_core::profile::Profile;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::units::{CarbonIntensity, GramsCo2e, Joules, Megahertz};
use wattle_sim::plan::{CarbonForecast, DevicePlan, ModelPlan, Plan, Spread, Stream, Target};
use wattle_sim::request_level;
use wattle_sim::scenario::Truth;
use wattle_sim::workload::{RateTrace, Segment, Source};

use super::board::{Board, Placed, Set, broken};
use crate::ReproduceError;

/// All randomness comes from it.
const SEED: u64 = 1;
/// A latency objective is so many times the latency of one request alone.
pub(super) const OBJECTIVE_FACTOR: f64 = 5.0;
/// Parts of the work's length in which energy is sampled: 1 s of five minutes, as the paper does.
const SAMPLES: f64 = 300.0;
/// How often a run that was too short is tried again, twice as long each time.
const MOST_TRIES: u32 = 12;

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Load {
    /// All work is there from the start: steady peak load.
    Peak,
    /// Independent requests at this share of what each model serves alone at most.
    Poisson(f64),
}

/// What is to be served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// How requests come.
    pub(super) load: Load,
    /// So many seconds' worth: how long the requests come, or each model takes for them alone.
    pub(super) seconds: f64,
}

/// Which way a set is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A device for each model.
    Isolated,
    /// A slice for each model, all on one device.
    Shared,
}

/// What serving the work took.
#[derive(Debug, Clone)]
pub(super) struct Served {
    /// Of all devices, until the last answer.
    pub(super) energy: Joules,
    /// Until the last answer: for so long every device is reserved.
    pub(super) reserved: Duration,
    /// Embodied emissions of all devices over that time.
    pub(super) embodied: GramsCo2e,
    /// Share of the requests that took longer than 5 times one alone.
    pub(super) late_share: f64,
    /// The worst of what its energy and times rest on.
    pub(super) basis: Basis,
    /// The worst of what embodied emissions for each second rest on.
    pub(super) embodied_basis: Basis,
}

impl Served {
    /// Emissions of the energy.
    pub(super) fn operational(&self, intensity: f64) -> GramsCo2e {
        self.energy * CarbonIntensity::new(intensity)
    }

    /// Both together.
    pub(super) fn total(&self, intensity: f64) -> GramsCo2e {
        self.operational(intensity) + self.embodied
    }

    /// Mean power of all devices.
    pub(super) fn power_watts(&self) -> f64 {
        (self.energy / self.reserved).get()
    }
}

/// Serves `work` of `set` on `board`, all devices at `clock`. How much work it is depends on neither
/// the way nor the clock.
pub(super) fn serve(
    set: &Set,
    board: &Board,
    way: Way,
    clock: Megahertz,
    work: Work,
) -> Result<Served, ReproduceError> {
    let alone = set.alone(board, board.top_clock)?;
    let placed = match way {
        Way::Isolated => set.alone(board, clock)?,
        Way::Shared => set.on_slices(board, clock)?,
    };
    let (plan, slowest) = plan(set, board, way, clock, work, &alone, &placed)?;
    let worst = placed.values().chain(alone.values()).map(|placed| placed.basis).max();
    // What devices at rest and several models at once draw is added up by a model.
    let basis = worst.unwrap_or(Basis::Assumed).max(board.power_basis).max(Basis::Modelled);
    finish(plan, slowest, board, basis)
}

/// The run, and how long the slowest model has work for, in seconds.
fn plan(
    set: &Set,
    board: &Board,
    way: Way,
    clock: Megahertz,
    work: Work,
    alone: &BTreeMap<String, Placed>,
    placed: &BTreeMap<String, Placed>,
) -> Result<(Plan, f64), ReproduceError> {
    let device = |name: &str, profiles: BTreeMap<ModelName, Profile>| {
        let played = PlayedDevice::new(&profiles).map_err(broken)?;
        Ok::<_, ReproduceError>(DevicePlan {
            id: name.into(),
            played: played.with_shared_idle(board.shared_idle(clock)?),
            truth: Truth::AS_PROFILED,
            provenance: Provenance::new(Basis::Modelled, "played from profiles"),
            sensor_noise: 0.0,
        })
    };
    let profiles = placed.iter().map(|(name, placed)| (name.as_str().into(), placed.profile.clone()));
    let devices = match way {
        Way::Shared => vec![device("shared", profiles.collect())?],
        Way::Isolated => {
            let each = profiles.map(|(name, profile)| device("own", [(name, profile)].into()));
            each.collect::<Result<_, _>>()?
        }
    };
    let (mut models, mut streams) = (Vec::new(), Vec::new());
    let mut slowest: f64 = 0.0;
    for (index, (name, place)) in placed.iter().enumerate() {
        let (Some(one), Some(member)) =
            (alone.get(name), set.members.iter().find(|member| member.name == *name))
        else {
            return Err(broken(format!("{name} is not of the set")));
        };
        let on = if way == Way::Shared { 0 } else { index };
        let batch_size = member.batch_size;
        models.push(ModelPlan {
            name: name.as_str().into(),
            device: on,
            index: devices.get(on).and_then(|device| device.played.index_of(name)).unwrap_or(0),
            setting: ServingSetting {
                batch_size,
                instances: 1,
                cores_per_instance: 1,
                duty_cycle: 1.0,
                max_queue_delay: Duration::ZERO,
                max_queue_size: u32::MAX,
            },
            limits: ServingLimits { max_batch_size: batch_size, max_instances: 1, max_cores_per_instance: 1 },
            spread: Spread::Constant,
            overhead: Duration::ZERO,
            timeout: None,
            objective: Some(Duration::from_secs_f64(OBJECTIVE_FACTOR * one.latency_ms / 1e3)),
            quality: None,
        });
        // Each request is a batch: no gathering, as its size is not what is looked at.
        let batches = work.seconds * 1e3 / one.latency_ms;
        let segment = match work.load {
            Load::Poisson(share) => {
                Segment { seconds: work.seconds, rate_rps: share * batches / work.seconds }
            }
            // At even distances, all of them within the time of one batch or less.
            Load::Peak => Segment { seconds: 1e-6, rate_rps: (batches.floor().max(1.0) + 0.5) / 1e-6 },
        };
        slowest = slowest.max(match work.load {
            Load::Peak => batches.floor().max(1.0) * place.latency_ms / 1e3,
            Load::Poisson(share) => work.seconds * (share * place.latency_ms / one.latency_ms).max(1.0),
        });
        let trace = RateTrace { segments: vec![segment], repeat: false };
        let poisson = matches!(work.load, Load::Poisson(_));
        let source = Source::Rates { trace, poisson };
        streams.push(Stream { target: Target::Model(index), source, rows: batch_size, priority: 0 });
    }
    let plan = Plan {
        span: Duration::ZERO,
        step: Duration::from_secs_f64(work.seconds / SAMPLES),
        devices,
        models,
        families: Vec::new(),
        streams,
        power_cap: None,
        cap_horizon: Duration::ZERO,
        carbon_horizon: Duration::ZERO,
        carbon_forecast: CarbonForecast::Perfect,
        carbon_intensity: None,
        points: 1,
    };
    Ok((plan, slowest))
}

/// Runs `plan` until all is answered, and counts up to the sample with the last answer.
fn finish(mut plan: Plan, slowest: f64, board: &Board, basis: Basis) -> Result<Served, ReproduceError> {
    let step = plan.step;
    let mut samples = (slowest / step.as_secs_f64() * 1.02).ceil() as u32 + 2;
    for _ in 0..MOST_TRIES {
        plan.span = step * samples;
        plan.points = samples as usize;
        let outcome = request_level::run(&plan, &mut Fixed, SEED, &mut |_| {}).map_err(broken)?;
        if outcome.summary.requests_unfinished > 0 {
            samples *= 2;
            continue;
        }
        let Some(last) = outcome.points.iter().rposition(|point| point.throughput_rps > 0.0) else {
            return Err(broken("a run without a request"));
        };
        let (mut from, mut energy) = (0.0, 0.0);
        for point in outcome.points.iter().take(last + 1) {
            energy += point.power_watts * (point.seconds - from);
            from = point.seconds;
        }
        let reserved = Duration::from_secs_f64(from);
        let devices = plan.devices.len() as u32;
        let each = carbon::embodied(board.embodied_kilograms, board.lifetime_years, reserved);
        let summary = &outcome.summary;
        return Ok(Served {
            energy: Joules::new(energy),
            reserved,
            embodied: each * f64::from(devices),
            late_share: summary.objective_misses as f64 / summary.requests_completed.max(1) as f64,
            basis,
            embodied_basis: board.embodied_basis,
        });
    }
    Err(broken(format!("requests still wait after {} s", plan.span.as_secs_f64())))
}
