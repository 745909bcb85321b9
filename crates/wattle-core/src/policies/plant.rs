//! A plant to steer in tests: power is a function of the settings, batches take no time to speak of.

use std::time::Duration;

use crate::knob::{DeviceKnob, DeviceSetting, KnobRange, ServingLimits, ServingSetting};
use crate::observation::{DeviceObservation, ModelObservation, Observation, PowerSample};
use crate::policy::{Decision, Policy};
use crate::provenance::{Basis, Provenance};
use crate::time::Timestamp;
use crate::units::Watts;

/// Time between two decisions.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Power in watts, given the settings of all models and the device.
type PowerLaw = Box<dyn Fn(&[ServingSetting], DeviceState) -> f64>;
/// Rows per second of a model, given its setting.
type ThroughputLaw = Box<dyn Fn(ServingSetting) -> f64>;

/// Where the knobs of the device stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DeviceState {
    pub(super) core_clock_mhz: f64,
    pub(super) compute_units: u32,
}

/// One device and some models, asked for a decision each tick.
pub(super) struct Plant {
    power: PowerLaw,
    /// Rows that the first model answers; `None`: as many as are said in `models`.
    pub(super) throughput: Option<ThroughputLaw>,
    pub(super) knobs: Vec<KnobRange>,
    pub(super) device: DeviceState,
    /// Samples are the power times these, in turn.
    pub(super) noise: Vec<f64>,
    pub(super) cap: Option<f64>,
    pub(super) cap_ahead: Vec<(Timestamp, Watts)>,
    pub(super) models: Vec<ModelObservation>,
    /// How long before a decision the last power sample ends: samples then straddle changes.
    pub(super) sample_lag: Duration,
    pub(super) now: Timestamp,
    power_before: f64,
    asked: usize,
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
        batches_took: TICK,
        running_batches: 1,
        busy: TICK,
        interval: TICK,
        setting_since: Timestamp::ZERO,
    }
}

/// The P40's core clocks in the BatchSizer paper, as a knob.
pub(super) fn core_clock() -> KnobRange {
    let steps = vec![544.0, 632.0, 734.0, 835.0, 949.0, 1063.0, 1189.0, 1303.0, 1430.0, 1531.0];
    KnobRange { knob: DeviceKnob::CoreClock, min: 544.0, max: 1531.0, steps }
}

impl Plant {
    pub(super) fn new(
        models: Vec<ModelObservation>,
        power: impl Fn(&[ServingSetting]) -> f64 + 'static,
    ) -> Self {
        Self::with_device(models, move |settings, _| power(settings))
    }

    /// A plant whose power depends on the device's knobs too.
    pub(super) fn with_device(
        models: Vec<ModelObservation>,
        power: impl Fn(&[ServingSetting], DeviceState) -> f64 + 'static,
    ) -> Self {
        Self {
            power: Box::new(power),
            throughput: None,
            knobs: Vec::new(),
            device: DeviceState { core_clock_mhz: 1500.0, compute_units: 60 },
            noise: vec![1.0],
            cap: Some(100.0),
            cap_ahead: Vec::new(),
            asked: 0,
            models,
            sample_lag: Duration::ZERO,
            now: Timestamp::ZERO,
            power_before: 0.0,
        }
    }

    /// Power at the present settings.
    pub(super) fn power(&self) -> f64 {
        let settings: Vec<ServingSetting> = self.models.iter().map(|model| model.setting).collect();
        (self.power)(&settings, self.device)
    }

    /// Power at `setting` of the only model.
    pub(super) fn power_at(&self, setting: ServingSetting) -> f64 {
        (self.power)(&[setting], self.device)
    }

    /// What is seen now, a tick after the last.
    pub(super) fn observe(&mut self) -> Observation {
        let power = self.power();
        let old_share = self.sample_lag.as_secs_f64() / TICK.as_secs_f64();
        let sampled = self.power_before * old_share + power * (1.0 - old_share);
        let sampled = sampled * self.noise[self.asked % self.noise.len()];
        self.asked += 1;
        self.power_before = power;
        let before = self.now;
        self.now = self.now + TICK;
        if let Some(throughput) = &self.throughput {
            let model = &mut self.models[0];
            let answered = |at: Timestamp| (at.as_secs_f64() * throughput(model.setting)) as u64;
            model.completed_rows = answered(self.now) - answered(before);
        }
        let at = Timestamp::from_duration(self.now.since_start().saturating_sub(self.sample_lag));
        Observation {
            now: self.now,
            power_cap: self.cap.map(Watts::new),
            power_cap_ahead: self.cap_ahead.clone(),
            carbon_intensity_age: None,
            carbon_intensity_ahead: Vec::new(),
            carbon_intensity: None,
            devices: vec![DeviceObservation {
                id: "cpu".into(),
                power_samples: vec![PowerSample { at, power: Watts::new(sampled) }],
                power_provenance: Provenance::new(Basis::Modelled, "test"),
                knobs: self.knobs.clone(),
                settings_failed: false,
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
        for setting in decision.devices.values().flatten() {
            let taken = self.knobs.iter().find(|range| range.knob == setting.knob()).unwrap();
            let value = match *setting {
                DeviceSetting::CoreClock(clock) => {
                    self.device.core_clock_mhz = clock.get();
                    clock.get()
                }
                DeviceSetting::ComputeUnits(units) => {
                    self.device.compute_units = units;
                    f64::from(units)
                }
                DeviceSetting::PowerLimit(limit) => limit.get(),
            };
            assert!((taken.min..=taken.max).contains(&value), "{setting:?}");
            assert!(taken.steps.is_empty() || taken.steps.contains(&value), "{setting:?}");
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
