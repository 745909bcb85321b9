//! A plant to steer in tests: power is a function of the settings, batches take no time to speak of.

use std::time::Duration;

use crate::knob::{ServingLimits, ServingSetting};
use crate::observation::{DeviceObservation, ModelObservation, Observation, PowerSample};
use crate::policy::{Decision, Policy};
use crate::provenance::{Basis, Provenance};
use crate::time::Timestamp;
use crate::units::Watts;

/// Time between two decisions.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Power in watts, given the settings of all models.
type PowerLaw = Box<dyn Fn(&[ServingSetting]) -> f64>;

/// One device and some models, asked for a decision each tick.
pub(super) struct Plant {
    pub(super) power: PowerLaw,
    pub(super) cap: Option<f64>,
    pub(super) models: Vec<ModelObservation>,
    /// How long before a decision the last power sample ends: samples then straddle changes.
    pub(super) sample_lag: Duration,
    pub(super) now: Timestamp,
    power_before: f64,
}

pub(super) fn model(name: &str, max_batch_size: u32) -> ModelObservation {
    ModelObservation {
        name: name.into(),
        setting: ServingSetting {
            batch_size: 4,
            instances: 1,
            cores_per_instance: 1,
            duty_cycle: 1.0,
            max_queue_delay: Duration::ZERO,
            max_queue_size: 100,
        },
        limits: ServingLimits { max_batch_size, max_instances: 8, max_cores_per_instance: 8 },
        queued_rows: 100,
        arrived_rows: 100,
        completed_rows: 100,
        executed_batches: 10,
        running_batches: 1,
        interval: TICK,
        setting_since: Timestamp::ZERO,
    }
}

impl Plant {
    pub(super) fn new(
        models: Vec<ModelObservation>,
        power: impl Fn(&[ServingSetting]) -> f64 + 'static,
    ) -> Self {
        Self {
            power: Box::new(power),
            cap: Some(100.0),
            models,
            sample_lag: Duration::ZERO,
            now: Timestamp::ZERO,
            power_before: 0.0,
        }
    }

    /// Power at the present settings.
    pub(super) fn power(&self) -> f64 {
        let settings: Vec<ServingSetting> = self.models.iter().map(|model| model.setting).collect();
        (self.power)(&settings)
    }

    /// What is seen now, a tick after the last.
    pub(super) fn observe(&mut self) -> Observation {
        let power = self.power();
        let old_share = self.sample_lag.as_secs_f64() / TICK.as_secs_f64();
        let sampled = self.power_before * old_share + power * (1.0 - old_share);
        self.power_before = power;
        self.now = self.now + TICK;
        let at = Timestamp::from_duration(self.now.since_start().saturating_sub(self.sample_lag));
        Observation {
            now: self.now,
            power_cap: self.cap.map(Watts::new),
            power_cap_ahead: Vec::new(),
            carbon_intensity: None,
            devices: vec![DeviceObservation {
                id: "cpu".into(),
                power_samples: vec![PowerSample { at, power: Watts::new(sampled) }],
                power_provenance: Provenance::new(Basis::Modelled, "test"),
                knobs: Vec::new(),
            }],
            models: self.models.clone(),
            families: Vec::new(),
        }
    }

    /// One tick: what is seen, decided and done.
    pub(super) fn tick(&mut self, policy: &mut dyn Policy) -> Decision {
        let seen = self.observe();
        let decision = policy.decide(&seen);
        for model in &mut self.models {
            if let Some(change) = decision.serving.get(&model.name) {
                assert!(!change.is_noop_for(model.setting), "a change that changes nothing");
                model.setting = change.apply_to(model.setting);
                model.limits.check(&model.setting).unwrap();
                model.setting_since = self.now;
            }
        }
        decision
    }

    pub(super) fn run(&mut self, policy: &mut dyn Policy, ticks: usize) -> Vec<Decision> {
        (0..ticks).map(|_| self.tick(policy)).collect()
    }

    /// Batch size of the first model.
    pub(super) fn batch_size(&self) -> u32 {
        self.models[0].setting.batch_size
    }
}
