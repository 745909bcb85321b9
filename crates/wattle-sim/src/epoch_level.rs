//! One decision an epoch, with models saturated or at the mean load of the epoch: for studies of a year.
//!
//! No queue is played: a model serves what is asked of it up to what its profile gives at its knobs, and
//! draws between idle power and the profile's power in proportion. What is beyond is counted as refused.

use std::collections::BTreeMap;

use wattle_core::id::ModelName;
use wattle_core::ledger::Activity;
use wattle_core::observation::PowerSample;
use wattle_core::policy::Policy;
use wattle_core::time::Timestamp;
use wattle_core::units::{CarbonIntensity, Joules, Watts};

use crate::decisions::{DecisionTold, LastTold, tell};
use crate::knobs::{Knobs, observation, power_provenance, provenance};
use crate::plan::{Plan, Target};
use crate::recorder::Recorder;
use crate::request_level::Outcome;
use crate::summary::{Checks, ModelSummary, Summary};
use crate::workload::{RateTrace, Source};

/// Decisions kept with their reasons.
const KEPT_DECISIONS: usize = 2000;

/// Sums of one model.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    offered_rows: f64,
    served_rows: f64,
    batches: f64,
    latency_ms_rows: f64,
    parked_seconds: f64,
    misses: f64,
    outside: f64,
}

/// Rows per second asked over each epoch, stream by stream.
#[derive(Debug)]
enum Offered<'a> {
    Always,
    Rate(f64),
    Trace { trace: &'a RateTrace, segment: usize, into: f64 },
}

impl Offered<'_> {
    /// Mean rate over the next `seconds`; infinite when saturated.
    fn next(&mut self, seconds: f64) -> f64 {
        let (trace, segment, into) = match self {
            Self::Always => return f64::INFINITY,
            Self::Rate(rate) => return *rate,
            Self::Trace { trace, segment, into } => (trace, segment, into),
        };
        let (mut left, mut requests) = (seconds, 0.0);
        while left > 0.0 {
            let Some(of) = trace.segments.get(*segment) else { break };
            let step = left.min(of.seconds - *into);
            requests += step * of.rate_rps;
            left -= step;
            *into += step;
            if *into >= of.seconds {
                *into = 0.0;
                *segment += 1;
                if *segment == trace.segments.len() && trace.repeat {
                    *segment = 0;
                }
            }
        }
        requests / seconds
    }
}

/// Runs `plan` with `policy`. The seed is for the record: nothing here is drawn.
pub fn run(plan: &Plan, policy: &mut dyn Policy, seed: u64, progress: &mut dyn FnMut(f64)) -> Outcome {
    Epochs::new(plan).run(policy, seed, progress)
}

struct Epochs<'a> {
    plan: &'a Plan,
    knobs: Knobs,
    offered: Vec<Offered<'a>>,
    sums: Vec<Sums>,
    recorder: Recorder,
    decisions: Vec<DecisionTold>,
    energy: Joules,
    /// What each model was asked and did in the epoch.
    asked: Vec<f64>,
    served: Vec<f64>,
    batches: Vec<f64>,
    family_asked: Vec<f64>,
}

impl<'a> Epochs<'a> {
    fn new(plan: &'a Plan) -> Self {
        let idle = plan.devices.iter().map(|device| device.played.idle_power()).sum();
        let every = plan.span.div_f64(plan.points.max(1) as f64).max(plan.step);
        let offered = plan.streams.iter().map(|stream| match &stream.source {
            Source::Saturated | Source::ClosedLoop { .. } | Source::Timestamps(_) => Offered::Always,
            Source::Poisson { rate_rps } | Source::Constant { rate_rps } => Offered::Rate(*rate_rps),
            Source::Rates { trace, .. } => Offered::Trace { trace, segment: 0, into: 0.0 },
        });
        Self {
            plan,
            knobs: Knobs::new(plan),
            offered: offered.collect(),
            sums: vec![Sums::default(); plan.models.len()],
            recorder: Recorder::new(provenance(plan), idle, every),
            decisions: Vec::new(),
            energy: Joules::ZERO,
            asked: vec![0.0; plan.models.len()],
            served: vec![0.0; plan.models.len()],
            batches: vec![0.0; plan.models.len()],
            family_asked: vec![0.0; plan.families.len()],
        }
    }

    fn run(mut self, policy: &mut dyn Policy, seed: u64, progress: &mut dyn FnMut(f64)) -> Outcome {
        let mut seen = observation(self.plan);
        let mut last_told = LastTold::default();
        let end = Timestamp::ZERO + self.plan.span;
        let (mut now, mut epoch, mut turned, mut failed) = (Timestamp::ZERO, 0u64, 0, 0);
        while now < end {
            let next = (now + self.plan.step).min(end);
            let seconds = (next - now).as_secs_f64();
            let cap = self.plan.power_cap.as_ref();
            let cap = cap.map_or(Some(f64::INFINITY), |signal| signal.at(now)).map(Watts::new);
            let carbon = self.plan.carbon_intensity.as_ref().and_then(|signal| signal.at(now));
            let carbon = carbon.map(CarbonIntensity::new);
            self.ask_models(seconds);

            seen.now = now;
            seen.power_cap = cap;
            seen.carbon_intensity = carbon;
            seen.power_cap_ahead.clear();
            if let Some(signal) = self.plan.power_cap.as_ref().filter(|_| !self.plan.cap_horizon.is_zero()) {
                let ahead = signal.changes_ahead(now, self.plan.cap_horizon);
                seen.power_cap_ahead.extend(ahead.into_iter().map(|(at, watts)| (at, Watts::new(watts))));
            }
            for (observed, failed) in seen.devices.iter_mut().zip(&self.knobs.settings_failed) {
                observed.settings_failed = *failed;
            }
            for (index, observed) in seen.models.iter_mut().enumerate() {
                observed.setting = self.knobs.settings[index];
                observed.setting_since = self.knobs.since[index];
                observed.interval = self.plan.step;
                let asked = self.asked[index] + self.asked_through_families(index);
                observed.arrived_rows = if asked.is_finite() { asked as u64 } else { 1_000_000 };
                observed.queued_rows = if asked.is_finite() { 0 } else { 1_000_000 };
                observed.completed_rows = self.served[index] as u64;
                observed.executed_batches = self.batches[index] as u64;
                observed.running_batches = if asked > 0.0 { observed.setting.instances } else { 0 };
            }
            for (index, observed) in seen.families.iter_mut().enumerate() {
                let asked = self.family_asked[index];
                observed.arrived_rows = if asked.is_finite() { asked as u64 } else { 1_000_000 };
                let family = &self.plan.families[index];
                observed.active = family.variants[self.knobs.active[index]].model.clone();
            }
            let decision = policy.decide(&seen);
            failed += self.knobs.apply(self.plan, &seen, &decision, now, &mut |_| {});
            turned += u64::from(decision.turns_something());
            if self.decisions.len() < KEPT_DECISIONS {
                self.decisions.extend(tell(&decision, &seen, &mut last_told));
            }
            // A family asks the variant that was just chosen.
            self.ask_families();
            let drawn = self.serve((now, next), cap, carbon);
            for (device, drawn) in seen.devices.iter_mut().zip(drawn) {
                device.power_samples.clear();
                device.power_samples.push(PowerSample { at: next, power: drawn / (next - now) });
            }
            if self.recorder.is_point_due(next) {
                self.recorder.point(next, cap, carbon, self.knobs.standing(self.plan, 0));
            }
            now = next;
            epoch += 1;
            if epoch.is_multiple_of(1024) {
                progress(now.as_secs_f64() / self.plan.span.as_secs_f64());
            }
        }
        progress(1.0);
        let mut summary = self.summary(policy.name(), seed);
        (summary.decisions_turned, summary.decisions_failed) = (turned, failed);
        Outcome { summary, points: self.recorder.points, decisions: self.decisions }
    }

    /// Rows asked of each model and family over the next epoch.
    fn ask_models(&mut self, seconds: f64) {
        self.asked.fill(0.0);
        self.family_asked.fill(0.0);
        for (stream, offered) in self.plan.streams.iter().zip(&mut self.offered) {
            let rows = offered.next(seconds) * f64::from(stream.rows) * seconds;
            match stream.target {
                Target::Model(model) => self.asked[model] += rows,
                Target::Family(family) => self.family_asked[family] += rows,
            }
        }
    }

    /// Rows asked of `model` as the variant that answers now.
    fn asked_through_families(&self, model: usize) -> f64 {
        let families = self.plan.families.iter().zip(&self.knobs.active).zip(&self.family_asked);
        families
            .filter(|((family, active), _)| family.models[**active] == model)
            .map(|(_, asked)| asked)
            .sum()
    }

    fn ask_families(&mut self) {
        for index in 0..self.plan.families.len() {
            let model = self.plan.families[index].models[self.knobs.active[index]];
            self.asked[model] += self.family_asked[index];
        }
    }

    /// Serves the epoch; gives the energy of each device.
    fn serve(
        &mut self,
        (start, end): (Timestamp, Timestamp),
        cap: Option<Watts>,
        carbon: Option<CarbonIntensity>,
    ) -> Vec<Joules> {
        let length = end - start;
        let seconds = length.as_secs_f64();
        let mut drawn: Vec<Joules> =
            self.knobs.devices.iter().map(|device| device.idle_power() * length).collect();
        let mut activity: BTreeMap<ModelName, Activity> = BTreeMap::new();
        for (index, model) in self.plan.models.iter().enumerate() {
            let setting = &self.knobs.settings[index];
            let (sums, asked) = (&mut self.sums[index], self.asked[index]);
            (self.served[index], self.batches[index]) = (0.0, 0.0);
            if setting.instances == 0 {
                sums.parked_seconds += seconds;
                if asked.is_finite() {
                    sums.offered_rows += asked;
                }
                continue;
            }
            let device = &self.knobs.devices[model.device];
            let (smallest, largest) =
                device.batch_sizes(model.index, setting.cores_per_instance, setting.instances);
            let (latency, power) =
                device.steady(model.index, setting.batch_size, setting.cores_per_instance, setting.instances);
            let batch_rows = f64::from(setting.batch_size);
            let per_second = f64::from(setting.instances) * batch_rows / latency.as_secs_f64();
            let capacity = per_second * setting.duty_cycle * seconds;
            let served = asked.min(capacity);
            if served <= 0.0 || !served.is_finite() {
                continue;
            }
            let busy = served / per_second;
            drawn[model.device] += (power - device.idle_power()) * length * (busy / seconds);
            let latency_ms = latency.as_secs_f64() * 1e3 + model.overhead.as_secs_f64() * 1e3;
            sums.offered_rows += if asked.is_finite() { asked } else { served };
            sums.served_rows += served;
            sums.batches += served / batch_rows;
            sums.latency_ms_rows += latency_ms * served;
            if !(smallest..=largest).contains(&setting.batch_size) {
                sums.outside += served / batch_rows;
            }
            if model.objective.is_some_and(|objective| objective.as_secs_f64() * 1e3 < latency_ms) {
                sums.misses += served;
            }
            (self.served[index], self.batches[index]) = (served, served / batch_rows);
            let work = Activity {
                core_seconds: busy * f64::from(setting.instances) * f64::from(setting.cores_per_instance),
                rows: served as u64,
                requests: served as u64,
            };
            activity.insert(model.name.clone(), work);
        }
        let total: Joules = drawn.iter().copied().sum();
        self.energy += total;
        self.recorder.drawn(total, length, cap);
        self.recorder.book((start, end), total, &activity, carbon);
        let stretch = &mut self.recorder.stretch;
        stretch.arrived_rows += self.asked.iter().filter(|asked| asked.is_finite()).sum::<f64>() as u64;
        stretch.completed_rows += self.served.iter().sum::<f64>() as u64;
        drawn
    }

    fn summary(&self, policy: &str, seed: u64) -> Summary {
        let seconds = self.plan.span.as_secs_f64();
        let mut models = BTreeMap::new();
        let mut sum = Sums::default();
        let mut quality = Some((0.0, 0.0));
        for (plan, of) in self.plan.models.iter().zip(&self.sums) {
            sum.offered_rows += of.offered_rows;
            sum.served_rows += of.served_rows;
            sum.batches += of.batches;
            sum.latency_ms_rows += of.latency_ms_rows;
            sum.parked_seconds += of.parked_seconds;
            sum.misses += of.misses;
            sum.outside += of.outside;
            if of.served_rows > 0.0 {
                let known = quality.zip(plan.quality);
                quality = known.map(|((total, rows), quality)| {
                    (total + quality * of.served_rows, rows + of.served_rows)
                });
            }
            let energy = self.recorder.totals.by_model.get(&plan.name).map_or(0.0, |of| of.energy.get());
            let summary = ModelSummary {
                requests_total: of.offered_rows.round() as u64,
                requests_completed: of.served_rows.round() as u64,
                rows_completed: of.served_rows.round() as u64,
                batches_total: of.batches.round() as u64,
                batch_size_mean: (of.batches > 0.0).then(|| of.served_rows / of.batches),
                latency_ms_mean: (of.served_rows > 0.0).then(|| of.latency_ms_rows / of.served_rows),
                latency_ms_p95: None,
                latency_ms_p99: None,
                energy_joules: energy,
                parked_seconds: of.parked_seconds,
                objective_misses: of.misses.round() as u64,
            };
            models.insert(plan.name.clone(), summary);
        }
        let power = &self.recorder.cap;
        let totals = &self.recorder.totals;
        let attributed: Joules = totals.by_model.values().map(|model| model.energy).sum();
        let (offered, served) = (sum.offered_rows.round() as u64, sum.served_rows.round() as u64);
        Summary {
            label: policy.to_owned(),
            policy: policy.to_owned(),
            seed,
            level: "epoch",
            span_seconds: seconds,
            requests_total: offered,
            requests_completed: served,
            requests_rejected: offered.saturating_sub(served),
            requests_expired: 0,
            requests_unfinished: 0,
            throughput_rps_mean: sum.served_rows / seconds,
            latency_ms_mean: (sum.served_rows > 0.0).then(|| sum.latency_ms_rows / sum.served_rows),
            latency_ms_p50: None,
            latency_ms_p95: None,
            latency_ms_p99: None,
            objective_misses: sum.misses.round() as u64,
            power_watts_mean: power.power_watts_mean().map_or(0.0, Watts::get),
            power_watts_max: power.power_watts_max.map_or(0.0, Watts::get),
            energy_joules: self.energy.get(),
            energy_joules_per_row: (sum.served_rows > 0.0).then(|| self.energy.get() / sum.served_rows),
            cap_watts_mean: power.cap_watts_mean().map(Watts::get),
            cap_violation_seconds: power.violation_seconds,
            cap_violation_joules: power.violation_joules.get(),
            parked_seconds: sum.parked_seconds,
            carbon_grams: totals.carbon.map(|grams| grams.get()),
            quality_mean: quality.filter(|(_, rows)| *rows > 0.0).map(|(total, rows)| total / rows),
            batches_total: sum.batches.round() as u64,
            batches_outside_profile: sum.outside.round() as u64,
            decisions_turned: 0,
            decisions_failed: 0,
            oracle: None,
            models,
            power_provenance: power_provenance(self.plan),
            checks: Checks {
                requests_lost: 0,
                in_system_mean: None,
                arrivals_times_latency: None,
                energy_unaccounted_joules: (attributed + totals.idle - self.energy).get(),
            },
        }
    }
}
