//! One decision an epoch, with models saturated or at the mean load of the epoch: for studies of a year.
//!
//! No queue is played: a model serves what is asked of it up to what its profile gives at its knobs, and
//! draws between idle power and the profile's power in proportion. What is beyond is counted as refused.
//! Power is even within an epoch; a cap and a carbon intensity that change within it count from when they do.

use std::collections::BTreeMap;
use std::time::Duration;

use wattle_core::ledger::{Account, Activity};
use wattle_core::observation::PowerSample;
use wattle_core::policy::Policy;
use wattle_core::signal::Signal;
use wattle_core::time::Timestamp;
use wattle_core::units::{CarbonIntensity, Joules, Watts};

use crate::decisions::{DecisionTold, LastTold, tell};
use crate::knobs::{Knobs, observation, power_provenance, provenance, show_signals};
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
pub(crate) enum Offered<'a> {
    /// More than is served.
    Always,
    /// The same at all times.
    Rate(f64),
    /// A rate that changes: where in the trace the next epoch begins.
    Trace { trace: &'a RateTrace, segment: usize, into: f64 },
}

impl<'a> Offered<'a> {
    /// What `source` asks, from the start. Of timestamps and of clients that wait no rate is known: a
    /// scenario at epoch level has none of them.
    pub(crate) fn new(source: &'a Source) -> Self {
        match source {
            Source::Saturated | Source::ClosedLoop { .. } | Source::Timestamps(_) => Self::Always,
            Source::Poisson { rate_rps } | Source::Constant { rate_rps } => Self::Rate(*rate_rps),
            Source::Rates { trace, .. } => Self::Trace { trace, segment: 0, into: 0.0 },
        }
    }

    /// Mean rate over the next `seconds`; infinite when saturated.
    pub(crate) fn next(&mut self, seconds: f64) -> f64 {
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

/// The stretches from `start` to `end` over which `signal` keeps its value.
fn pieces(
    signal: Option<&Signal>,
    start: Timestamp,
    end: Timestamp,
) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let mut from = start;
    std::iter::from_fn(move || {
        if from >= end {
            return None;
        }
        let change = signal.and_then(|signal| signal.next_change(from)).filter(|at| *at > from);
        let until = change.map_or(end, |at| at.min(end));
        Some((std::mem::replace(&mut from, until), until))
    })
}

struct Epochs<'a> {
    plan: &'a Plan,
    knobs: Knobs,
    offered: Vec<Offered<'a>>,
    sums: Vec<Sums>,
    recorder: Recorder,
    decisions: Vec<DecisionTold>,
    energy: Joules,
    /// What each model did in the epoch, for the ledger.
    activity: BTreeMap<Account, Activity>,
    /// What models and families will themselves be asked in the epoch.
    to_come: Vec<f64>,
    family_to_come: Vec<f64>,
    /// What each model was asked, through families too, and did. Of the last epoch until a decision is made.
    asked: Vec<f64>,
    served: Vec<f64>,
    /// Batches begun since the start, as a number with what is underway; of these, those that ended in the
    /// last epoch, and the rows of each.
    begun: Vec<f64>,
    ended: Vec<u64>,
    rows_each: Vec<u32>,
    /// How long each took, and seconds in which any ran, of all instances together.
    took: Vec<Duration>,
    busy: Vec<f64>,
    family_asked: Vec<f64>,
}

impl<'a> Epochs<'a> {
    fn new(plan: &'a Plan) -> Self {
        let idle = plan.devices.iter().map(|device| device.played.idle_power()).sum();
        let every = plan.span.div_f64(plan.points.max(1) as f64).max(plan.step);
        Self {
            plan,
            knobs: Knobs::new(plan),
            offered: plan.streams.iter().map(|stream| Offered::new(&stream.source)).collect(),
            sums: vec![Sums::default(); plan.models.len()],
            recorder: Recorder::new(provenance(plan), idle, every),
            decisions: Vec::new(),
            energy: Joules::ZERO,
            activity: BTreeMap::new(),
            to_come: vec![0.0; plan.models.len()],
            family_to_come: vec![0.0; plan.families.len()],
            asked: vec![0.0; plan.models.len()],
            served: vec![0.0; plan.models.len()],
            begun: vec![0.0; plan.models.len()],
            ended: vec![0; plan.models.len()],
            rows_each: vec![0; plan.models.len()],
            took: vec![Duration::ZERO; plan.models.len()],
            busy: vec![0.0; plan.models.len()],
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
            self.ask(seconds);
            if epoch == 0 {
                // There is no epoch before the first: it is shown its own.
                self.share_out();
            }

            show_signals(self.plan, now, (cap, carbon), &mut seen);
            for (observed, failed) in seen.devices.iter_mut().zip(&self.knobs.settings_failed) {
                observed.settings_failed = *failed;
            }
            for (index, observed) in seen.models.iter_mut().enumerate() {
                observed.setting = self.knobs.settings[index];
                observed.setting_since = self.knobs.since[index];
                observed.interval = self.plan.step;
                let asked = self.asked[index];
                observed.arrived_rows = if asked.is_finite() { asked as u64 } else { 1_000_000 };
                observed.queued_rows = if asked.is_finite() { 0 } else { 1_000_000 };
                // Whole batches: time and rows of parts of one would make each look longer and larger.
                let ended = self.ended[index];
                observed.executed_batches = ended;
                observed.completed_rows = ended.saturating_mul(u64::from(self.rows_each[index]));
                observed.busy = Duration::try_from_secs_f64(self.busy[index]).unwrap_or(Duration::MAX);
                let took = self.took[index].as_secs_f64() * ended as f64;
                observed.batches_took = Duration::try_from_secs_f64(took).unwrap_or(Duration::MAX);
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
            self.share_out();
            let drawn = self.serve((now, next));
            for (device, drawn) in seen.devices.iter_mut().zip(&drawn) {
                device.power_samples.clear();
                device.power_samples.push(PowerSample { at: next, power: *drawn / (next - now) });
            }
            let (cap, carbon) = self.account((now, next), drawn.iter().copied().sum());
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

    /// Rows that the streams ask over the next epoch.
    fn ask(&mut self, seconds: f64) {
        self.to_come.fill(0.0);
        self.family_to_come.fill(0.0);
        for (stream, offered) in self.plan.streams.iter().zip(&mut self.offered) {
            let rows = offered.next(seconds) * f64::from(stream.rows) * seconds;
            match stream.target {
                Target::Model(model) => self.to_come[model] += rows,
                Target::Family(family) => self.family_to_come[family] += rows,
            }
        }
    }

    /// Asks each model what it is asked itself and as the variant that answers now.
    fn share_out(&mut self) {
        self.asked.copy_from_slice(&self.to_come);
        self.family_asked.copy_from_slice(&self.family_to_come);
        let families = self.plan.families.iter().zip(&self.knobs.active).zip(&self.family_asked);
        for ((family, active), asked) in families {
            self.asked[family.models[*active]] += asked;
        }
    }

    /// Serves the epoch; gives the energy of each device.
    fn serve(&mut self, (start, end): (Timestamp, Timestamp)) -> Vec<Joules> {
        let length = end - start;
        let seconds = length.as_secs_f64();
        let mut drawn: Vec<Joules> =
            self.knobs.devices.iter().map(|device| device.idle_power() * length).collect();
        // The share of time in which nothing runs; models are busy independently of each other.
        let mut quiet = vec![1.0; drawn.len()];
        self.activity.clear();
        for (index, model) in self.plan.models.iter().enumerate() {
            let setting = &self.knobs.settings[index];
            let (sums, asked) = (&mut self.sums[index], self.asked[index]);
            (self.served[index], self.ended[index], self.busy[index]) = (0.0, 0, 0.0);
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
            let share = (busy / seconds).min(1.0);
            // What models share is drawn once, below.
            let floor = device.idle_power() + device.shared_idle_power();
            drawn[model.device] += (power - floor) * length * share;
            quiet[model.device] *= 1.0 - share;
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
            self.served[index] = served;
            let before = self.begun[index].floor();
            self.begun[index] += served / batch_rows;
            self.ended[index] = (self.begun[index].floor() - before) as u64;
            (self.rows_each[index], self.took[index]) = (setting.batch_size, latency);
            self.busy[index] = busy * f64::from(setting.instances);
            let work = Activity {
                core_seconds: busy * f64::from(setting.instances) * f64::from(setting.cores_per_instance),
                rows: served as u64,
                requests: served as u64,
            };
            self.activity.insert(Account::of_model(model.name.clone()), work);
        }
        for ((drawn, device), quiet) in drawn.iter_mut().zip(&self.knobs.devices).zip(quiet) {
            *drawn += device.shared_idle_power() * length * (1.0 - quiet);
        }
        let stretch = &mut self.recorder.stretch;
        stretch.arrived_rows += self.asked.iter().filter(|asked| asked.is_finite()).sum::<f64>() as u64;
        stretch.completed_rows += self.served.iter().sum::<f64>() as u64;
        drawn
    }

    /// Counts the energy of the epoch, drawn evenly, against cap and carbon intensity as they change within
    /// it. Gives both as they are at its end.
    fn account(
        &mut self,
        (start, end): (Timestamp, Timestamp),
        energy: Joules,
    ) -> (Option<Watts>, Option<CarbonIntensity>) {
        let power = energy / (end - start);
        self.energy += energy;
        let (mut cap, mut carbon) = (Some(Watts::new(f64::INFINITY)), None);
        for (from, until) in pieces(self.plan.power_cap.as_ref(), start, end) {
            if let Some(signal) = &self.plan.power_cap {
                cap = signal.at(from).map(Watts::new);
            }
            self.recorder.drawn(power * (until - from), until - from, cap);
        }
        let length = (end - start).as_secs_f64();
        let all = std::mem::take(&mut self.activity);
        for (from, until) in pieces(self.plan.carbon_intensity.as_ref(), start, end) {
            let intensity = self.plan.carbon_intensity.as_ref().and_then(|signal| signal.at(from));
            carbon = intensity.map(CarbonIntensity::new);
            let energy = power * (until - from);
            if (from, until) == (start, end) {
                self.recorder.book((from, until), energy, &all, carbon);
                continue;
            }
            // Rows are counted up to each end, so that all of them together are those of the epoch.
            let up_to =
                |at: Timestamp, count: u64| (count as f64 * ((at - start).as_secs_f64() / length)) as u64;
            let within = |count: u64| up_to(until, count) - up_to(from, count);
            let share = (until - from).as_secs_f64() / length;
            let part = all.iter().map(|(account, work)| {
                let core_seconds = work.core_seconds * share;
                let (rows, requests) = (within(work.rows), within(work.requests));
                (account.clone(), Activity { core_seconds, rows, requests })
            });
            self.recorder.book((from, until), energy, &part.collect(), carbon);
        }
        self.activity = all;
        (cap, carbon)
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
            oracle_note: None,
            models,
            power_provenance: power_provenance(self.plan),
            checks: Checks {
                requests_lost: None,
                in_system_mean: None,
                arrivals_times_latency: None,
                energy_unaccounted_joules: (attributed + totals.idle - self.energy).get(),
            },
        }
    }
}
