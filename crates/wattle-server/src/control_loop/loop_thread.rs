//! The loop itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wattle_core::asking::Asking;
use wattle_core::cap_account::{CapAccount, is_over};
use wattle_core::id::{FamilyName, ModelName};
use wattle_core::ledger::Totals;
use wattle_core::observation::{
    DeviceObservation, FamilyObservation, ModelObservation, Observation, PowerSample,
};
use wattle_core::policy::{Decision, Reason};
use wattle_core::signal::SignalReading;
use wattle_core::time::Timestamp;
use wattle_core::units::{CarbonIntensity, Watts};

use super::back_off::{BackOff, Turn};
use super::signals::{Readings, Signals};
use super::source::age_of;
use super::status::{
    AccountStatus, AttributionStatus, DecisionRecord, FamilyStatus, ModelStatus, PowerPoint, Status,
};
use super::{ControlConfig, ControlSurroundings, KEPT_DECISIONS, KEPT_POINTS, Shared, cap, lock};
use crate::executor::StatsSnapshot;
use crate::meter::Meter;
use crate::model_repository::Table;
use crate::model_repository::family::Family;

/// Length of a tick while nobody asks for anything.
pub(super) const IDLE_TICK: Duration = Duration::from_secs(1);
/// Ticks without work before the loop slows down.
const TICKS_UNTIL_IDLE: u32 = 20;

/// Runs until told to stop. The device is restored here, and by its own drop if anything panics.
pub(super) fn run(config: ControlConfig, around: &ControlSurroundings, shared: &Shared) {
    let mut driver = Driver::new(config, around, shared);
    let mut next = around.clock.now();
    while !shared.stop.load(Ordering::Acquire) {
        let is_idle = driver.tick();
        // A steady rhythm, but no catching up after a stall.
        let length = if is_idle { IDLE_TICK } else { driver.config.tick };
        let now = around.clock.now();
        next = (next + length).max(now);
        shared.waker.sleep(next - now, is_idle);
        next = next.min(around.clock.now());
    }
    driver.finish();
}

struct Driver<'a> {
    config: ControlConfig,
    around: &'a ControlSurroundings,
    shared: &'a Shared,
    meter: Meter,
    totals: Totals,
    power: CapAccount,
    last_reading: Option<Timestamp>,
    /// The cap at the last reading: what is drawn until the next is held against it.
    cap_at_last_reading: Option<Watts>,
    /// Power and utilisation over the last tick, for the status.
    last_power: Option<Watts>,
    last_utilization: Option<f64>,
    signals: Signals,
    is_read_failing: bool,
    read_errors: u64,
    apply_errors: u64,
    /// A setting of the last decision that turned the device's knobs could not be made.
    settings_failed: bool,
    back_off: BackOff,
    idle_ticks: u32,
    /// Samples since the policy was last asked.
    samples: Vec<PowerSample>,
    asking: Asking,
    models_when_asked: Vec<ModelName>,
    stats_when_asked: BTreeMap<ModelName, StatsSnapshot>,
    family_rows_when_asked: BTreeMap<FamilyName, u64>,
    stats_last_tick: BTreeMap<ModelName, StatsSnapshot>,
    /// What was last told, so that the same is not told again.
    last_told: (Option<Watts>, Vec<(Option<ModelName>, &'static str)>),
    decide_us: Option<f64>,
}

impl<'a> Driver<'a> {
    fn new(mut config: ControlConfig, around: &'a ControlSurroundings, shared: &'a Shared) -> Self {
        let (accounting, split) = (config.accounting.clone(), config.split.clone());
        let meter = Meter::new(config.device.info(), around.cores, &around.energy_rate, accounting, split);
        let now = around.clock.now();
        let signals = Signals::new(config.power_cap.take(), config.carbon_intensity.take());
        Self {
            config,
            around,
            shared,
            meter,
            totals: Totals::default(),
            power: CapAccount::default(),
            last_reading: None,
            cap_at_last_reading: None,
            last_power: None,
            last_utilization: None,
            signals,
            is_read_failing: false,
            read_errors: 0,
            apply_errors: 0,
            settings_failed: false,
            back_off: BackOff::default(),
            idle_ticks: 0,
            samples: Vec::new(),
            asking: Asking::new(now),
            models_when_asked: Vec::new(),
            stats_when_asked: BTreeMap::new(),
            family_rows_when_asked: BTreeMap::new(),
            stats_last_tick: BTreeMap::new(),
            last_told: (None, Vec::new()),
            decide_us: None,
        }
    }

    /// One tick; tells whether nothing has been asked for in a while.
    fn tick(&mut self) -> bool {
        self.config.device.beat();
        if self.config.device.take_stall() {
            tracing::warn!(device = %self.config.device.info().id, "the control loop goes on; its knobs were put back meanwhile and are asked for anew");
            self.settings_failed = true;
            self.asking.ask_at_once();
        }
        if let Some(policy) = lock(&self.shared.next_policy).take() {
            tracing::info!(policy = policy.name(), "policy changed");
            self.config.policy = policy;
            self.asking.ask_at_once();
        }
        let now = self.around.clock.now();
        let table = self.around.repository.table();
        let said = self.signals.read(now);
        let cap_said = said.power_cap.as_ref().map(Option::as_ref);
        let (power_cap, cap_origin) = cap::in_force(cap_said, *lock(&self.shared.cap_override));
        // Woken early by a new cap or a first request: the last sample is fresh, and a device's answer over
        // a moment this short says little.
        let is_early = self.last_reading.is_some_and(|last| now - last < self.config.tick / 2);
        let sample = if is_early { None } else { self.read(now, power_cap) };
        let stats = self.around.repository.stats();
        if !is_early && !self.is_read_failing {
            self.book(now, &stats, said.carbon_intensity.clone(), false);
        }
        let is_violated = sample.zip(power_cap).is_some_and(|(sample, cap)| is_over(sample.power, cap));
        // One that came or went since changes what there is to decide.
        if !table.keys().eq(&self.models_when_asked) {
            self.asking.ask_at_once();
        }
        if self.asking.is_due(now, power_cap, is_violated) {
            self.ask(now, power_cap, said.carbon_intensity.as_ref(), &table, &stats);
        }
        self.publish(now, (power_cap, cap_origin), &said, &table, &stats);

        let is_working = stats.iter().any(|(name, stats)| {
            let before = self.stats_last_tick.get(name);
            stats.queued_requests > 0
                || before.is_none_or(|before| {
                    before.arrived_rows != stats.arrived_rows
                        || before.busy_core_nanos != stats.busy_core_nanos
                })
        });
        self.stats_last_tick = stats;
        self.idle_ticks = if is_working || is_violated { 0 } else { self.idle_ticks.saturating_add(1) };
        self.idle_ticks >= TICKS_UNTIL_IDLE
    }

    /// Reads the device; a failing sensor is told once, counted, and never taken for zero.
    fn read(&mut self, now: Timestamp, power_cap: Option<Watts>) -> Option<PowerSample> {
        let reading = match self.config.device.read(now) {
            Ok(reading) => reading,
            Err(error) => {
                self.read_errors += 1;
                if !std::mem::replace(&mut self.is_read_failing, true) {
                    tracing::error!(device = %self.config.device.info().id, %error, "device can't be read; power is unknown until it can");
                }
                (self.last_power, self.last_utilization) = (None, None);
                return None;
            }
        };
        if std::mem::take(&mut self.is_read_failing) {
            tracing::info!(device = %self.config.device.info().id, "device can be read again");
        }
        let since = self.meter.sampled_until();
        let sample = self.meter.sample(&reading);
        if let (Some(sample), Some(last)) = (sample, since) {
            let interval = sample.at - last;
            let cap_then = self.cap_at_last_reading;
            self.power.add(sample.power, interval, cap_then);
            lock(&self.shared.window).add(sample.power, interval, cap_then);
            self.samples.push(sample);
            let mut points = lock(&self.shared.points);
            if points.len() == KEPT_POINTS {
                points.pop_front();
            }
            points.push_back(PowerPoint {
                seconds: sample.at.as_secs_f64(),
                power_watts: sample.power,
                power_cap_watts: cap_then,
            });
        }
        self.last_reading = Some(now);
        self.cap_at_last_reading = power_cap;
        (self.last_power, self.last_utilization) = (sample.map(|sample| sample.power), reading.utilization);
        sample
    }

    /// Asks the policy, turns what it says, and keeps a record.
    fn ask(
        &mut self,
        now: Timestamp,
        power_cap: Option<Watts>,
        carbon: Option<&SignalReading>,
        table: &Table,
        stats: &BTreeMap<ModelName, StatsSnapshot>,
    ) {
        let info = self.config.device.info();
        let device = DeviceObservation {
            id: info.id.clone(),
            power_samples: std::mem::take(&mut self.samples),
            power_provenance: info.power_provenance.clone(),
            knobs: info.knobs.clone(),
            settings_failed: self.settings_failed,
        };
        let models = table.iter().map(|(name, entry)| {
            let none = StatsSnapshot::default();
            let stats = stats.get(name).unwrap_or(&none);
            let before = self.stats_when_asked.get(name).unwrap_or(&none);
            let setting = entry.latest().executor.setting();
            let ((batches, took), (batches_before, took_before)) = (stats.batches(), before.batches());
            // Core time as time of instances with so many cores each.
            let busy = stats.busy_core_nanos.saturating_sub(before.busy_core_nanos)
                / u64::from(setting.cores_per_instance.max(1));
            ModelObservation {
                name: name.clone(),
                setting,
                limits: entry.latest().executor.limits(),
                queued_rows: stats.queued_rows,
                arrived_rows: stats.arrived_rows.saturating_sub(before.arrived_rows),
                completed_rows: stats.completed_rows.saturating_sub(before.completed_rows),
                executed_batches: batches.saturating_sub(batches_before),
                batches_took: Duration::from_nanos(took.saturating_sub(took_before)),
                running_batches: stats.running_batches,
                busy: Duration::from_nanos(busy),
                interval: now - self.asking.asked_at(),
                setting_since: entry.latest().executor.setting_since(),
            }
        });
        let models = models.collect();
        let families = self.families(table);
        let seen = Observation {
            now,
            power_cap,
            power_cap_ahead: self.power_cap_ahead(now),
            carbon_intensity: carbon.map(|reading| CarbonIntensity::new(reading.value)),
            carbon_intensity_age: carbon.and_then(age_of),
            carbon_intensity_ahead: self.signals.carbon_intensity_ahead(now),
            devices: vec![device],
            models,
            families,
        };
        let before = self.around.clock.now();
        let decision = self.config.policy.decide(&seen);
        let decide_us = (self.around.clock.now() - before).as_secs_f64() * 1e6;
        let errors = self.apply(now, &decision, table);
        // Only a pointer, but for the moment in which it is another.
        let refined = self.config.policy.refinement().map(|known| Arc::clone(known.profiles()));
        self.shared.refined.store(refined);
        self.tell_drift(&decision);

        self.decide_us = Some(decide_us);
        self.asking.asked(now, power_cap, decision.ask_again_in);
        self.models_when_asked = table.keys().cloned().collect();
        self.stats_when_asked = stats.clone();
        self.record(&seen, decision, decide_us, errors);
    }

    /// Warns that a profile is off, and tells when it no longer is.
    fn tell_drift(&self, decision: &Decision) {
        for (model, reason) in &decision.reasons {
            let of = model.as_ref().map_or(self.config.device.info().id.as_str(), |model| model.as_str());
            match reason {
                Reason::ProfileDrift { figure, ratio, .. } => {
                    tracing::warn!(of, figure = figure.name(), ratio, "{reason}");
                }
                Reason::ProfileDriftOver { figure, ratio, .. } => {
                    tracing::info!(of, figure = figure.name(), ratio, "{reason}");
                }
                _ => {}
            }
        }
    }

    /// The families of which a variant serves, with what was asked of them since the last ask.
    fn families(&mut self, table: &Table) -> Vec<FamilyObservation> {
        let families = self.around.repository.families().iter();
        let observe = |(name, family): (&FamilyName, &Family)| {
            let rows = family.asked_rows();
            let before = self.family_rows_when_asked.insert(name.clone(), rows).unwrap_or(0);
            let active = family.active(table)?.clone();
            let variants = family.variants().iter().filter(|model| table.contains_key(*model));
            let mut variants: Vec<ModelName> = variants.cloned().collect();
            variants.sort();
            Some(FamilyObservation { name: name.clone(), variants, active, arrived_rows: rows - before })
        };
        families.filter_map(observe).collect()
    }

    /// What the configured trace or source says of the caps to come. A cap set by hand has no schedule.
    fn power_cap_ahead(&self, now: Timestamp) -> Vec<(Timestamp, Watts)> {
        if lock(&self.shared.cap_override).is_some() {
            return Vec::new();
        }
        self.signals.power_cap_ahead(now)
    }

    /// Turns what was decided; gives what could not be done and was not told before.
    fn apply(&mut self, now: Timestamp, decision: &Decision, table: &Table) -> Vec<String> {
        let mut errors = Vec::new();
        let mut untold = 0;
        for (device, settings) in &decision.devices {
            if *device != self.config.device.info().id {
                errors.push(format!("the policy turned a knob of {device}, which is not here"));
                continue;
            }
            self.settings_failed = false;
            for setting in settings {
                match self.back_off.turn(&mut self.config.device, *setting, now) {
                    Turn::Made => continue,
                    Turn::LeftAlone => {}
                    Turn::FailedAgain => untold += 1,
                    Turn::Failed(error) => errors.push(error),
                }
                self.settings_failed = true;
            }
        }
        for (model, change) in &decision.serving {
            // A model may have been unloaded since it was observed: then there is nothing to turn.
            if let Some(entry) = table.get(model) {
                errors.extend(entry.turn(change).err().map(|error| format!("{model}: {error}")));
            }
        }
        // After the knobs, so that a variant takes over with those it is meant to have.
        for (family, model) in &decision.variants {
            errors.extend(self.around.repository.choose_variant(family, model).err());
        }
        self.apply_errors += errors.len() as u64 + untold;
        errors
    }

    /// Logs and keeps a decision that turned something, failed, or has a new cap or a new reason.
    fn record(&mut self, seen: &Observation, decision: Decision, decide_us: f64, errors: Vec<String>) {
        {
            let mut counts = lock(&self.shared.reasons);
            for (_, reason) in &decision.reasons {
                *counts.entry(reason.name()).or_default() += 1;
            }
        }
        let reasons: Vec<_> =
            decision.reasons.iter().map(|(model, reason)| (model.clone(), reason.name())).collect();
        let told = (seen.power_cap, reasons);
        let is_news = told != self.last_told;
        self.last_told = told;
        if !(decision.turns_something() || is_news || !errors.is_empty()) {
            return;
        }
        let because: Vec<String> = decision
            .reasons
            .iter()
            .map(|(model, reason)| {
                model.as_ref().map_or(reason.to_string(), |model| format!("{model}: {reason}"))
            })
            .collect();
        let power_watts_max = seen.power_max();
        for error in &errors {
            tracing::error!(policy = self.config.policy.name(), %error, "a decision could not be carried out");
        }
        tracing::info!(
            policy = self.config.policy.name(),
            power_watts_max = power_watts_max.map(Watts::get),
            power_cap_watts = seen.power_cap.map(Watts::get),
            turned = decision.turns_something(),
            because = because.join("; "),
            "decision"
        );
        for (model, reason) in &decision.reasons {
            if let (Some(model), Reason::Parked { .. }) = (model, reason) {
                tracing::warn!(%model, "{reason}; its requests wait, or run into their deadline");
            }
        }
        let record = DecisionRecord {
            seconds: seen.now.as_secs_f64(),
            policy: self.config.policy.name(),
            power_watts_max,
            power_cap_watts: seen.power_cap,
            decision,
            because,
            decide_us,
            errors,
        };
        let mut decisions = lock(&self.shared.decisions);
        if decisions.len() == KEPT_DECISIONS {
            decisions.pop_front();
        }
        decisions.push_back(record);
    }

    fn publish(
        &self,
        now: Timestamp,
        (power_cap, power_cap_origin): (Option<Watts>, cap::CapOrigin),
        said: &Readings,
        table: &Table,
        stats: &BTreeMap<ModelName, StatsSnapshot>,
    ) {
        let models = table.iter().filter_map(|(name, entry)| {
            let stats = stats.get(name)?;
            Some(ModelStatus {
                name: name.clone(),
                versions: entry.versions.keys().copied().collect(),
                setting: entry.latest().executor.setting(),
                limits: entry.latest().executor.limits(),
                queued_requests: stats.queued_requests,
                completed_requests: stats.completed_requests,
                completed_rows: stats.completed_rows,
                executed_batches: stats.executions,
                failed_requests: stats.fail_count,
                latency_ms_p50: stats.latency.quantile_ms(0.50),
                latency_ms_p95: stats.latency.quantile_ms(0.95),
                latency_ms_p99: stats.latency.quantile_ms(0.99),
            })
        });
        let families = self.around.repository.families().iter().map(|(name, family)| FamilyStatus {
            name: name.clone(),
            variants: family.variants().to_vec(),
            active: family.active(table).cloned(),
            switches: family.switches(),
            asked_rows: family.asked_rows(),
        });
        self.shared.status.store(Arc::new(Status {
            uptime_seconds: now.as_secs_f64(),
            policy: self.config.policy.name().to_owned(),
            power_watts: self.last_power,
            power_provenance: Some(self.config.device.info().power_provenance.clone()),
            power_cap_watts: power_cap,
            power_cap_origin,
            carbon_intensity_g_per_kwh: said
                .carbon_intensity
                .as_ref()
                .map(|reading| CarbonIntensity::new(reading.value)),
            carbon_source: self.signals.carbon_source(),
            signals: self.signals.statuses(said),
            ledger: self.totals.clone(),
            closure: self.totals.closure(),
            accounts: AccountStatus::of(&self.totals),
            attribution: AttributionStatus::of(&self.meter, &self.around.energy_rate.rates()),
            classes: self.around.classes.status(),
            power: self.power.clone(),
            utilization: self.last_utilization,
            models: models.collect(),
            families: families.collect(),
            profile_drift: self.config.policy.refinement().map_or_else(Vec::new, |known| known.drifts(now)),
            device_read_errors: self.read_errors,
            apply_errors: self.apply_errors,
            decide_us: self.decide_us,
        }));
    }

    /// Closes the ledger entry that is open, if it is long enough or `at_once`.
    fn book(
        &mut self,
        now: Timestamp,
        stats: &BTreeMap<ModelName, StatsSnapshot>,
        carbon: Option<SignalReading>,
        at_once: bool,
    ) {
        let (provenance, rate) = (&self.config.device.info().power_provenance, &self.around.energy_rate);
        rate.set_carbon(carbon.as_ref(), &self.config.accounting);
        if let Some(entry) = self.meter.book(now, provenance, stats, carbon, rate, at_once) {
            self.totals.add(&entry);
            if let Some(ledger) = &self.config.ledger {
                ledger.append(entry);
            }
        }
    }

    /// Books what is open, restores the device and closes the ledger.
    fn finish(mut self) {
        let now = self.around.clock.now();
        self.read(now, None);
        let carbon = self.signals.read(now).carbon_intensity;
        let stats = self.around.repository.stats();
        self.book(now, &stats, carbon, true);
        if let Err(error) = self.config.device.restore() {
            tracing::error!(%error, "a knob could not be put back as it was found");
        }
    }
}
