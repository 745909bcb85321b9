//! Where all knobs of a run stand, and how a decision turns them. Shared by both levels.

use std::collections::BTreeMap;
use std::time::Duration;

use wattle_core::knob::ServingSetting;
use wattle_core::observation::{DeviceObservation, FamilyObservation, ModelObservation, Observation};
use wattle_core::played_device::PlayedDevice;
use wattle_core::policy::Decision;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::signal::Signal;
use wattle_core::time::Timestamp;
use wattle_core::units::{CarbonIntensity, Megahertz, Watts};

use crate::plan::{CarbonForecast, DevicePlan, FamilyPlan, ModelPlan, Plan};
use crate::recorder::Standing;

const DAY: Duration = Duration::from_secs(86_400);

/// Where the knobs stand, and the devices they turn.
#[derive(Debug)]
pub(crate) struct Knobs {
    pub(crate) devices: Vec<PlayedDevice>,
    /// Of each device, whether a setting could not be made in the last decision that turned its knobs.
    pub(crate) settings_failed: Vec<bool>,
    pub(crate) settings: Vec<ServingSetting>,
    /// When a serving knob of each model was last turned.
    pub(crate) since: Vec<Timestamp>,
    /// The active variant of each family, by its place in the family.
    pub(crate) active: Vec<usize>,
}

impl Knobs {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            devices: plan.devices.iter().map(|device| device.played.clone()).collect(),
            settings_failed: vec![false; plan.devices.len()],
            settings: plan.models.iter().map(|model| model.setting).collect(),
            since: vec![Timestamp::ZERO; plan.models.len()],
            active: plan.families.iter().map(|family| family.active).collect(),
        }
    }

    /// Turns what was decided and tells `turned` each model whose serving knobs moved. Gives how many parts
    /// of the decision could not be carried out.
    pub(crate) fn apply(
        &mut self,
        plan: &Plan,
        seen: &Observation,
        decision: &Decision,
        now: Timestamp,
        turned: &mut dyn FnMut(usize),
    ) -> u64 {
        let mut failed = 0;
        for (id, settings) in &decision.devices {
            let Some(index) = plan.devices.iter().position(|device| device.id == *id) else {
                failed += 1;
                continue;
            };
            self.settings_failed[index] = false;
            for setting in settings {
                let range = seen.devices[index].knobs.iter().find(|range| range.knob == setting.knob());
                let value = range.and_then(|range| range.accept(setting.value()));
                let device = &mut self.devices[index];
                device.advance(now);
                let is_turned = value.is_some_and(|value| {
                    let knobs = device.knobs_with(setting.with_value(value));
                    device.turn(knobs)
                });
                self.settings_failed[index] |= !is_turned;
                failed += u64::from(!is_turned);
            }
        }
        for (name, change) in &decision.serving {
            let model = plan.models.iter().position(|model| model.name == *name);
            let setting = model.map(|model| (model, change.apply_to(self.settings[model])));
            match setting.filter(|(model, setting)| plan.models[*model].limits.check(setting).is_ok()) {
                Some((model, setting)) => {
                    self.settings[model] = setting;
                    self.since[model] = now;
                    turned(model);
                }
                None => failed += 1,
            }
        }
        for (name, variant) in &decision.variants {
            let family = plan.families.iter().position(|family| family.name == *name);
            let place = family.and_then(|family| {
                let place = plan.families[family].variants.iter().position(|of| of.model == *variant)?;
                Some((family, place))
            });
            match place {
                Some((family, place)) => self.active[family] = place,
                None => failed += 1,
            }
        }
        failed
    }

    /// Where the knobs stand, for a point of the time series.
    pub(crate) fn standing(&self, plan: &Plan, queued_rows: u64) -> Standing {
        let knobs = self.devices.first().map(PlayedDevice::knobs);
        let variant = plan.families.first().zip(self.active.first());
        Standing {
            queued_rows,
            batch_size: self.settings.iter().map(|setting| setting.batch_size).max().unwrap_or(0),
            instances: self.settings.iter().map(|setting| setting.instances).sum(),
            core_clock_mhz: knobs.and_then(|knobs| knobs.clock).map(Megahertz::get),
            compute_units: knobs.and_then(|knobs| knobs.units),
            variant: variant.map(|(family, active)| family.variants[*active].model.clone()),
        }
    }
}

/// How power is known, by device.
pub(crate) fn power_provenance(plan: &Plan) -> BTreeMap<String, Provenance> {
    plan.devices.iter().map(|device| (device.id.to_string(), device.provenance.clone())).collect()
}

/// How the power of all devices together is known: as the worst of them.
pub(crate) fn provenance(plan: &Plan) -> Provenance {
    let worst = plan.devices.iter().map(|device| &device.provenance).max_by_key(|known| known.basis);
    worst.cloned().unwrap_or_else(|| Provenance::new(Basis::Assumed, "no device"))
}

/// What a policy sees before anything happened.
pub(crate) fn observation(plan: &Plan) -> Observation {
    let device = |device: &DevicePlan| DeviceObservation {
        id: device.id.clone(),
        power_samples: Vec::new(),
        power_provenance: device.provenance.clone(),
        knobs: device.played.knob_ranges(),
        settings_failed: false,
    };
    let model = |model: &ModelPlan| ModelObservation {
        name: model.name.clone(),
        setting: model.setting,
        limits: model.limits,
        queued_rows: 0,
        arrived_rows: 0,
        completed_rows: 0,
        executed_batches: 0,
        batches_took: Duration::ZERO,
        running_batches: 0,
        busy: Duration::ZERO,
        interval: Duration::ZERO,
        setting_since: Timestamp::ZERO,
    };
    let family = |family: &FamilyPlan| FamilyObservation {
        name: family.name.clone(),
        variants: family.variants.iter().map(|variant| variant.model.clone()).collect(),
        active: family.variants[family.active].model.clone(),
        arrived_rows: 0,
    };
    Observation {
        now: Timestamp::ZERO,
        power_cap: None,
        power_cap_ahead: Vec::new(),
        carbon_intensity_age: None,
        carbon_intensity_ahead: Vec::new(),
        carbon_intensity: None,
        devices: plan.devices.iter().map(device).collect(),
        models: plan.models.iter().map(model).collect(),
        families: plan.families.iter().map(family).collect(),
    }
}

/// Shows cap and carbon intensity as they are, and what is to come of both as far ahead as the plan says.
pub(crate) fn show_signals(
    plan: &Plan,
    now: Timestamp,
    (cap, carbon): (Option<Watts>, Option<CarbonIntensity>),
    seen: &mut Observation,
) {
    seen.now = now;
    seen.power_cap = cap;
    seen.carbon_intensity = carbon;
    seen.carbon_intensity_age = carbon.map(|_| Duration::ZERO);
    seen.carbon_intensity_ahead.clear();
    if let Some(signal) = plan.carbon_intensity.as_ref().filter(|_| !plan.carbon_horizon.is_zero()) {
        let ahead = match plan.carbon_forecast {
            CarbonForecast::Perfect => signal.changes_ahead(now, plan.carbon_horizon),
            CarbonForecast::SeasonalNaive => day_before(signal, now, plan.carbon_horizon),
        };
        let ahead = ahead.into_iter().map(|(at, value)| (at, CarbonIntensity::new(value)));
        seen.carbon_intensity_ahead.extend(ahead);
    }
    seen.power_cap_ahead.clear();
    if let Some(signal) = plan.power_cap.as_ref().filter(|_| !plan.cap_horizon.is_zero()) {
        let ahead = signal.changes_ahead(now, plan.cap_horizon);
        seen.power_cap_ahead.extend(ahead.into_iter().map(|(at, watts)| (at, Watts::new(watts))));
    }
}

/// The changes of `signal` a day ago, up to `horizon` after then, each a day later.
fn day_before(signal: &Signal, now: Timestamp, horizon: Duration) -> Vec<(Timestamp, f64)> {
    let Some(then) = now.since_start().checked_sub(DAY) else { return Vec::new() };
    let changes = signal.changes_ahead(Timestamp::from_duration(then), horizon.min(DAY));
    changes.into_iter().map(|(at, value)| (at + DAY, value)).collect()
}
