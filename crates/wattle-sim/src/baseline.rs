//! What a device would have drawn for the same requests with its knobs as at the start: the policy `fixed`,
//! replayed at epoch level.
//!
//! Batches are as large as their limit and cost what the profile says, so at a low load, where batches are
//! small, the replay draws rather too little than too much.

use std::collections::BTreeMap;
use std::time::Duration;

use wattle_core::id::ModelName;
use wattle_core::knob::{ServingLimits, ServingSetting};
use wattle_core::played_device::{PlayedDevice, UnplayableProfile};
use wattle_core::policies::fixed::Fixed;
use wattle_core::profile::Profile;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::units::Joules;

use crate::epoch_level;
use crate::plan::{CarbonForecast, DevicePlan, ModelPlan, Plan, Spread, Stream, Target};
use crate::scenario::Truth;
use crate::workload::Source;

/// Waiting requests of a model: epoch level plays none.
const QUEUE: u32 = 1024;

/// A model as it is when a server starts.
#[derive(Debug, Clone)]
pub struct StartingModel {
    /// What it takes and draws.
    pub profile: Profile,
    /// Batch limit; the profile's largest where it is not told.
    pub batch_size: Option<u32>,
    /// Instances.
    pub instances: u32,
    /// Compute threads of each.
    pub cores_per_instance: u32,
}

/// A baseline can't be replayed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BaselineError {
    /// No model is told.
    #[error("no model has a profile")]
    NoModel,
    /// The profiles leave open what the device would do.
    #[error(transparent)]
    Unplayable(#[from] UnplayableProfile),
    /// A model starts where its profile has no figure.
    #[error(
        "{model} starts with {knob} {found} and its profile has {least} to {most}: profile it there, or name \
         another profile"
    )]
    OutsideProfile {
        /// Which model.
        model: ModelName,
        /// Which knob.
        knob: &'static str,
        /// Where it starts.
        found: u32,
        /// The least that the profile has.
        least: u32,
        /// The most that the profile has.
        most: u32,
    },
}

/// A device with its models as at the start of a server.
#[derive(Debug, Clone)]
pub struct Baseline {
    plan: Plan,
}

/// What a stretch of time would have drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drawn {
    /// By each model that was asked.
    pub by_model: BTreeMap<ModelName, Joules>,
    /// By nobody.
    pub idle: Joules,
    /// Rows of each model that it could not have answered.
    pub refused_rows: BTreeMap<ModelName, f64>,
}

impl Baseline {
    /// A device that `models` run on.
    ///
    /// # Errors
    /// Where a profile does not tell what its model would draw as it starts.
    pub fn new(models: &BTreeMap<ModelName, StartingModel>) -> Result<Self, BaselineError> {
        if models.is_empty() {
            return Err(BaselineError::NoModel);
        }
        let profiles = models.iter().map(|(name, model)| (name.clone(), model.profile.clone())).collect();
        let played = PlayedDevice::new(&profiles)?;
        let mut plans = Vec::new();
        for (name, model) in models {
            plans.push(plan_of(name, model, &played)?);
        }
        let sources: Vec<String> = profiles
            .values()
            .map(|profile| {
                let head = &profile.head;
                format!("{} on {} ({})", head.model, head.device, head.power_source)
            })
            .collect();
        let basis = played.power_basis().unwrap_or(Basis::Assumed).max(Basis::Modelled);
        let provenance =
            Provenance::new(basis, format!("replayed from the profile of {}", sources.join(", of ")));
        let device = DevicePlan {
            id: "baseline".into(),
            played,
            truth: Truth::AS_PROFILED,
            provenance,
            sensor_noise: 0.0,
        };
        Ok(Self {
            plan: Plan {
                span: Duration::ZERO,
                step: Duration::ZERO,
                devices: vec![device],
                models: plans,
                families: Vec::new(),
                streams: Vec::new(),
                power_cap: None,
                cap_horizon: Duration::ZERO,
                carbon_intensity: None,
                carbon_horizon: Duration::ZERO,
                carbon_forecast: CarbonForecast::default(),
                points: 1,
            },
        })
    }

    /// How its figures are known.
    pub fn provenance(&self) -> Option<&Provenance> {
        self.plan.devices.first().map(|device| &device.provenance)
    }

    /// What `span` would have drawn with so many rows of each model, evenly spread. Models that it does not
    /// have are left out.
    pub fn replay(&self, span: Duration, rows: &BTreeMap<ModelName, u64>) -> Drawn {
        let seconds = span.as_secs_f64();
        if seconds <= 0.0 {
            return Drawn::default();
        }
        let mut plan = Plan { span, step: span, ..self.plan.clone() };
        for (index, model) in self.plan.models.iter().enumerate() {
            let rows = rows.get(&model.name).copied().unwrap_or(0);
            if rows > 0 {
                let source = Source::Constant { rate_rps: rows as f64 / seconds };
                plan.streams.push(Stream { target: Target::Model(index), source, rows: 1, priority: 0 });
            }
        }
        let summary = epoch_level::run(&plan, &mut Fixed, 0, &mut |_| {}).summary;
        let mut drawn = Drawn { idle: Joules::new(summary.energy_joules), ..Drawn::default() };
        for (name, of) in &summary.models {
            let Some(asked) = rows.get(name).filter(|rows| **rows > 0) else { continue };
            let energy = Joules::new(of.energy_joules);
            drawn.idle = drawn.idle - energy;
            drawn.by_model.insert(name.clone(), energy);
            let refused = (*asked as f64 - of.rows_completed as f64).max(0.0);
            // Rows are counted whole.
            drawn.refused_rows.insert(name.clone(), if refused < 1.0 { 0.0 } else { refused });
        }
        drawn
    }
}

fn plan_of(
    name: &ModelName,
    model: &StartingModel,
    played: &PlayedDevice,
) -> Result<ModelPlan, BaselineError> {
    let points = || model.profile.rows.iter().map(|row| &row.point);
    let (least_rows, most_rows) = ends(points().map(|point| point.batch_size));
    let (least_instances, most_instances) = ends(points().map(|point| point.instances));
    let batch_size = model.batch_size.unwrap_or(most_rows);
    let within = |knob, found, (least, most): (u32, u32)| match (least..=most).contains(&found) {
        true => Ok(()),
        false => Err(BaselineError::OutsideProfile { model: name.clone(), knob, found, least, most }),
    };
    within("batch size", batch_size, (least_rows, most_rows))?;
    within("instances", model.instances, (least_instances, most_instances))?;
    let setting = ServingSetting {
        batch_size,
        instances: model.instances,
        cores_per_instance: model.cores_per_instance.max(1),
        duty_cycle: 1.0,
        max_queue_delay: Duration::ZERO,
        max_queue_size: QUEUE,
    };
    let limits = ServingLimits {
        max_batch_size: most_rows,
        max_instances: most_instances,
        max_cores_per_instance: setting.cores_per_instance,
    };
    Ok(ModelPlan {
        name: name.clone(),
        device: 0,
        index: played.index_of(name.as_str()).unwrap_or(0),
        setting,
        limits,
        spread: Spread::Constant,
        overhead: Duration::ZERO,
        timeout: None,
        objective: None,
        quality: None,
    })
}

/// The least and the most.
fn ends(values: impl Iterator<Item = u32> + Clone) -> (u32, u32) {
    (values.clone().min().unwrap_or(1), values.max().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 10 W idle; a batch of 8 takes 10 ms and draws 30 W: 800 rows/s.
    fn profile() -> Profile {
        let text = "# wattle_profile = 1\n# model = \"m\"\n# device = \"a test\"\n# runtime = \"none\"\n\
                    # power_source = \"a test\"\n# idle_power_watts = 10.0\n\
                    batch_size,instances,latency_ms_mean,throughput_rps,power_watts_mean,basis,power_basis,samples\n\
                    1,1,5,200,25,measured,measured,10\n\
                    8,1,10,800,30,measured,measured,10\n";
        Profile::parse(text, "a test").unwrap()
    }

    fn baseline(batch_size: Option<u32>, instances: u32) -> Result<Baseline, BaselineError> {
        let model = StartingModel { profile: profile(), batch_size, instances, cores_per_instance: 1 };
        Baseline::new(&BTreeMap::from([("m".into(), model)]))
    }

    fn replay(baseline: &Baseline, seconds: u64, rows: u64) -> Drawn {
        baseline.replay(Duration::from_secs(seconds), &BTreeMap::from([("m".into(), rows)]))
    }

    #[test]
    fn an_hour_by_hand() {
        // 1,440,000 rows are half of what 800 rows/s do in an hour: 20 W above idle for 1800 s.
        let drawn = replay(&baseline(None, 1).unwrap(), 3600, 1_440_000);
        assert!((drawn.by_model["m"].get() - 36_000.0).abs() < 1e-6, "{drawn:?}");
        assert!((drawn.idle.get() - 36_000.0).abs() < 1e-6, "{drawn:?}");
        assert_eq!(drawn.refused_rows["m"], 0.0);
        // At a batch limit of 1 each row takes 5 ms at 15 W above idle: 75 mJ.
        let drawn = replay(&baseline(Some(1), 1).unwrap(), 3600, 360_000);
        assert!((drawn.by_model["m"].get() - 27_000.0).abs() < 1e-6, "{drawn:?}");
    }

    #[test]
    fn what_it_could_not_answer_is_told() {
        let drawn = replay(&baseline(None, 1).unwrap(), 10, 10_000);
        assert_eq!(drawn.refused_rows["m"], 2000.0);
        assert!((drawn.by_model["m"].get() - 200.0).abs() < 1e-9);
    }

    #[test]
    fn a_model_that_starts_outside_its_profile_is_refused() {
        let error = baseline(Some(16), 1).unwrap_err().to_string();
        assert!(error.contains("m starts with batch size 16") && error.contains("1 to 8"), "{error}");
        assert!(baseline(None, 4).unwrap_err().to_string().contains("instances 4"));
        assert_eq!(Baseline::new(&BTreeMap::new()).unwrap_err(), BaselineError::NoModel);
    }

    proptest! {
        #[test]
        fn nothing_is_drawn_that_is_neither_a_models_nor_idle(rows in 0u64..5_000_000, seconds in 1u64..7200) {
            let drawn = replay(&baseline(None, 1).unwrap(), seconds, rows);
            let own: f64 = drawn.by_model.values().map(|energy| energy.get()).sum();
            prop_assert!((drawn.idle.get() - 10.0 * seconds as f64).abs() < 1e-6 * (10.0 * seconds as f64));
            prop_assert!(own <= 20.0 * seconds as f64 + 1e-6);
        }
    }
}
