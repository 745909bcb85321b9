//! The control loop in virtual time: samples, account, ledger, policy, knobs.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use wattle_core::asking::Asking;
use wattle_core::cap_account::is_over;
use wattle_core::ledger::{Account, Activity};
use wattle_core::observation::{Observation, PowerSample};
use wattle_core::policy::{Decision, Policy};
use wattle_core::time::Timestamp;
use wattle_core::units::{CarbonIntensity, Joules, Watts};

use super::Outcome;
use super::model_state::{Counts, LATENCY_UNIT_NANOS, ModelState, latency_histogram};
use super::node::{Node, nanos};
use crate::arrivals::rng;
use crate::decisions::{DecisionTold, LastTold, tell};
use crate::knobs::{observation, power_provenance, provenance, show_signals};
use crate::plan::Plan;
use crate::recorder::Recorder;
use crate::summary::{Checks, ModelSummary, Summary};

/// Length of a ledger entry, as in the server.
const ENTRY_LENGTH: Duration = Duration::from_secs(1);
/// Decisions kept with their reasons.
const KEPT_DECISIONS: usize = 2000;

/// The control loop of one run.
pub(super) struct Control<'a> {
    plan: &'a Plan,
    policy: &'a mut dyn Policy,
    seed: u64,
    noise: Xoshiro256PlusPlus,
    pub(super) recorder: Recorder,
    asking: Asking,
    seen: Observation,
    counts_when_asked: Vec<Counts>,
    open_when_asked: Vec<u128>,
    family_rows_when_asked: Vec<u64>,
    /// When the loop ticks next, and when the account is next taken though it doesn't tick.
    tick_at: u64,
    cap_changes_at: u64,
    accounted_at: Timestamp,
    cap: Option<Watts>,
    carbon: Option<CarbonIntensity>,
    /// Energy of each device at the last account, and since the last tick.
    energy: Vec<Joules>,
    sampled: Vec<Joules>,
    sampled_at: Timestamp,
    entry_start: Timestamp,
    entry_energy: Joules,
    counts_at_entry: Vec<Counts>,
    decisions: Vec<DecisionTold>,
    last_told: LastTold,
    turned: u64,
    failed: u64,
}

impl<'a> Control<'a> {
    pub(super) fn new(plan: &'a Plan, policy: &'a mut dyn Policy, seed: u64) -> Self {
        let idle = plan.devices.iter().map(|device| device.played.idle_power()).sum();
        let every = plan.span.div_f64(plan.points.max(1) as f64).max(plan.step);
        Self {
            recorder: Recorder::new(provenance(plan), idle, every),
            asking: Asking::new(Timestamp::ZERO),
            seen: observation(plan),
            counts_when_asked: vec![Counts::default(); plan.models.len()],
            open_when_asked: vec![0; plan.models.len()],
            family_rows_when_asked: vec![0; plan.families.len()],
            // Half a tick off the whole seconds at which traces step, as a real loop is by chance.
            tick_at: nanos(plan.step) / 2,
            cap_changes_at: 0,
            accounted_at: Timestamp::ZERO,
            cap: None,
            carbon: None,
            energy: vec![Joules::ZERO; plan.devices.len()],
            sampled: vec![Joules::ZERO; plan.devices.len()],
            sampled_at: Timestamp::ZERO,
            entry_start: Timestamp::ZERO,
            entry_energy: Joules::ZERO,
            counts_at_entry: vec![Counts::default(); plan.models.len()],
            decisions: Vec::new(),
            last_told: LastTold::default(),
            turned: 0,
            failed: 0,
            noise: rng(seed, 1),
            plan,
            policy,
            seed,
        }
    }

    /// Asks for the first time, before anything arrives.
    pub(super) fn start(&mut self, node: &mut Node<'_>) {
        self.read_signals(Timestamp::ZERO);
        self.ask(node, Timestamp::ZERO);
    }

    /// When the loop is next to be called.
    pub(super) fn next_tick(&self) -> u64 {
        self.tick_at.min(self.cap_changes_at)
    }

    /// Takes account of the time up to `at`, and controls if it is time for that.
    pub(super) fn tick(&mut self, node: &mut Node<'_>, at: u64) {
        let now = Timestamp::from_nanos(at);
        self.account(node, now);
        self.read_signals(now);
        if at < self.tick_at {
            return;
        }
        self.tick_at += nanos(self.plan.step).max(1);
        let total = self.sample(now);
        let is_violated = match (total, self.cap) {
            (Some(power), Some(cap)) => is_over(power, cap),
            _ => false,
        };
        if now - self.entry_start >= ENTRY_LENGTH {
            self.book(node, now);
        }
        if self.asking.is_due(now, self.cap, is_violated) {
            self.ask(node, now);
        }
        if self.recorder.is_point_due(now) {
            self.recorder.point(
                now,
                self.cap,
                self.carbon,
                node.knobs.standing(self.plan, node.queued_rows()),
            );
        }
    }

    fn read_signals(&mut self, now: Timestamp) {
        let signal = self.plan.power_cap.as_ref();
        // No cap at all is an infinite one, as in the server: knobs may open.
        self.cap = signal.map_or(Some(f64::INFINITY), |signal| signal.at(now)).map(Watts::new);
        self.cap_changes_at =
            signal.and_then(|signal| signal.next_change(now)).map_or(u64::MAX, Timestamp::as_nanos);
        let carbon = self.plan.carbon_intensity.as_ref();
        self.carbon = carbon.and_then(|signal| signal.at(now)).map(CarbonIntensity::new);
    }

    /// Counts what was drawn since the last account, under the cap that was in force.
    fn account(&mut self, node: &mut Node<'_>, now: Timestamp) {
        let interval = now - self.accounted_at;
        if interval.is_zero() {
            return;
        }
        let mut drawn = Joules::ZERO;
        for (index, device) in node.knobs.devices.iter_mut().enumerate() {
            device.advance(now);
            let of_device = device.energy() - self.energy[index];
            self.energy[index] = device.energy();
            self.sampled[index] += of_device;
            drawn += of_device;
        }
        self.entry_energy += drawn;
        self.recorder.drawn(drawn, interval, self.cap);
        for (model, setting) in node.models.iter_mut().zip(&node.knobs.settings) {
            if setting.instances == 0 {
                model.counts.parked_nanos += nanos(interval);
            }
        }
        self.accounted_at = now;
    }

    /// A power sample of each device since the last, as its sensor tells it; the sum of them.
    fn sample(&mut self, now: Timestamp) -> Option<Watts> {
        let interval = now - self.sampled_at;
        if interval.is_zero() {
            return None;
        }
        self.sampled_at = now;
        let mut total = Watts::ZERO;
        for (index, device) in self.plan.devices.iter().enumerate() {
            let mut power = std::mem::take(&mut self.sampled[index]) / interval;
            if device.sensor_noise > 0.0 {
                let error: f64 = StandardNormal.sample(&mut self.noise);
                power = (power * (1.0 + device.sensor_noise * error)).max(Watts::ZERO);
            }
            total += power;
            self.seen.devices[index].power_samples.push(PowerSample { at: now, power });
        }
        Some(total)
    }

    fn book(&mut self, node: &Node<'_>, now: Timestamp) {
        let activity = |(index, model): (usize, &crate::plan::ModelPlan)| {
            let (before, after) = (&self.counts_at_entry[index], &node.models[index].counts);
            let busy = after.busy_core_nanos + open_core_nanos(&node.models[index], now);
            let activity = Activity {
                core_seconds: busy.saturating_sub(before.busy_core_nanos) as f64 / 1e9,
                rows: after.completed_rows - before.completed_rows,
                requests: after.completed_requests - before.completed_requests,
            };
            (activity.core_seconds > 0.0 || activity.requests > 0)
                .then(|| (Account::of_model(model.name.clone()), activity))
        };
        let activity: BTreeMap<_, _> = self.plan.models.iter().enumerate().filter_map(activity).collect();
        let energy = std::mem::take(&mut self.entry_energy);
        self.recorder.book((self.entry_start, now), energy, &activity, self.carbon);
        self.entry_start = now;
        for (before, model) in self.counts_at_entry.iter_mut().zip(&node.models) {
            *before = model.counts;
            // The part of running batches that is booked now must not be booked again.
            before.busy_core_nanos += open_core_nanos(model, now);
        }
    }

    fn ask(&mut self, node: &mut Node<'_>, now: Timestamp) {
        self.observe(node, now);
        let decision = self.policy.decide(&self.seen);
        // Batches may start in the same moment, under the new knobs.
        let mut dispatch = Vec::new();
        let (knobs, plan) = (&mut node.knobs, self.plan);
        self.failed += knobs.apply(plan, &self.seen, &decision, now, &mut |model| dispatch.push(model));
        dispatch.into_iter().for_each(|model| node.turned(model));
        self.turned += u64::from(decision.turns_something());
        self.asking.asked(now, self.cap, decision.ask_again_in);
        self.keep(&decision);
        for device in &mut self.seen.devices {
            device.power_samples.clear();
        }
    }

    fn observe(&mut self, node: &Node<'_>, now: Timestamp) {
        let seen = &mut self.seen;
        show_signals(self.plan, now, (self.cap, self.carbon), seen);
        for (observed, failed) in seen.devices.iter_mut().zip(&node.knobs.settings_failed) {
            observed.settings_failed = *failed;
        }
        for (index, observed) in seen.models.iter_mut().enumerate() {
            let state = &node.models[index];
            let open = open_core_nanos(state, now);
            let before = std::mem::replace(&mut self.counts_when_asked[index], state.counts);
            let open_before = std::mem::replace(&mut self.open_when_asked[index], open);
            observed.setting = node.knobs.settings[index];
            observed.setting_since = node.knobs.since[index];
            observed.queued_rows = state.queue.rows();
            observed.arrived_rows = state.counts.arrived_rows - before.arrived_rows;
            observed.completed_rows = state.counts.completed_rows - before.completed_rows;
            // Batches that ended, as the server counts them.
            let ended = |counts: &Counts, running: u32| counts.batches - u64::from(running);
            observed.executed_batches =
                ended(&state.counts, state.running).saturating_sub(ended(&before, observed.running_batches));
            let took = state.counts.busy_core_nanos - before.busy_core_nanos;
            let cores = observed.setting.cores_per_instance;
            observed.batches_took = instance_time(took, cores);
            observed.busy = instance_time((took + open).saturating_sub(open_before), cores);
            observed.running_batches = state.running;
            observed.interval = now - self.asking.asked_at();
        }
        for (index, observed) in seen.families.iter_mut().enumerate() {
            let rows = node.family_rows[index];
            observed.arrived_rows = rows - std::mem::replace(&mut self.family_rows_when_asked[index], rows);
            let family = &self.plan.families[index];
            observed.active = family.variants[node.knobs.active[index]].model.clone();
        }
    }

    /// Keeps a decision that turned something, or has a new cap or a new reason.
    fn keep(&mut self, decision: &Decision) {
        if self.decisions.len() < KEPT_DECISIONS {
            self.decisions.extend(tell(decision, &self.seen, &mut self.last_told));
        }
    }

    /// Closes the books at the end of the run.
    pub(super) fn finish(mut self, mut node: Node<'_>) -> Outcome {
        let now = Timestamp::from_nanos(node.now);
        self.account(&mut node, now);
        self.book(&node, now);
        let finite = self.cap.filter(|cap| cap.get().is_finite());
        self.recorder.point(now, finite, self.carbon, node.knobs.standing(self.plan, node.queued_rows()));
        let summary = self.summary(&mut node);
        let mut points = self.recorder.points;
        for point in &mut points {
            point.power_cap_watts = point.power_cap_watts.filter(|watts| watts.is_finite());
        }
        Outcome { summary, points, decisions: self.decisions }
    }

    fn summary(&self, node: &mut Node<'_>) -> Summary {
        let seconds = self.plan.span.as_secs_f64();
        let (unfinished, in_system_seconds, unfinished_seconds) = node.left_over();
        let mut all = latency_histogram();
        let mut sum = Counts::default();
        let mut models = BTreeMap::new();
        let mut quality = Some((0.0, 0.0));
        for (plan, state) in self.plan.models.iter().zip(&node.models) {
            let counts = &state.counts;
            all.add(&state.latencies).expect("both have the same bounds");
            sum.arrived_requests += counts.arrived_requests;
            sum.arrived_rows += counts.arrived_rows;
            sum.completed_requests += counts.completed_requests;
            sum.completed_rows += counts.completed_rows;
            sum.rejected += counts.rejected;
            sum.expired += counts.expired;
            sum.batches += counts.batches;
            sum.batches_outside += counts.batches_outside;
            sum.misses += counts.misses;
            sum.latency_nanos += counts.latency_nanos;
            sum.expired_nanos += counts.expired_nanos;
            sum.parked_nanos += counts.parked_nanos;
            if counts.completed_rows > 0 {
                let rows = counts.completed_rows as f64;
                let known = quality.zip(plan.quality);
                quality = known.map(|((total, of_rows), quality)| (total + quality * rows, of_rows + rows));
            }
            let energy = self.recorder.totals.by_model.get(&plan.name).map_or(0.0, |of| of.energy.get());
            models.insert(plan.name.clone(), model_summary(counts, &state.latencies, state.running, energy));
        }
        let power = &self.recorder.cap;
        let metered: Joules = node.knobs.devices.iter().map(|device| device.energy()).sum();
        let totals = &self.recorder.totals;
        let attributed: Joules = totals.by_model.values().map(|model| model.energy).sum();
        let ended = sum.completed_requests + sum.rejected + sum.expired + unfinished;
        // Latency tells of overheads too, which no request spends in the system.
        let overheads: f64 = self.plan.models.iter().zip(&node.models).fold(0.0, |total, (plan, state)| {
            total + plan.overhead.as_secs_f64() * state.counts.completed_requests as f64
        });
        let ended_seconds = (sum.latency_nanos + sum.expired_nanos) as f64 / 1e9;
        let in_queues = ended_seconds - overheads + unfinished_seconds;
        Summary {
            label: self.policy.name().to_owned(),
            policy: self.policy.name().to_owned(),
            seed: self.seed,
            level: "request",
            span_seconds: seconds,
            requests_total: sum.arrived_requests,
            requests_completed: sum.completed_requests,
            requests_rejected: sum.rejected,
            requests_expired: sum.expired,
            requests_unfinished: unfinished,
            throughput_rps_mean: sum.completed_rows as f64 / seconds,
            latency_ms_mean: mean_ms(sum.latency_nanos, sum.completed_requests),
            latency_ms_p50: percentile_ms(&all, 0.50),
            latency_ms_p95: percentile_ms(&all, 0.95),
            latency_ms_p99: percentile_ms(&all, 0.99),
            objective_misses: sum.misses,
            power_watts_mean: power.power_watts_mean().map_or(0.0, Watts::get),
            power_watts_max: power.power_watts_max.map_or(0.0, Watts::get),
            energy_joules: metered.get(),
            energy_joules_per_row: (sum.completed_rows > 0)
                .then(|| metered.get() / sum.completed_rows as f64),
            cap_watts_mean: power.cap_watts_mean().map(Watts::get),
            cap_violation_seconds: power.violation_seconds,
            cap_violation_joules: power.violation_joules.get(),
            parked_seconds: sum.parked_nanos as f64 / 1e9,
            carbon_grams: totals.carbon.map(|grams| grams.get()),
            quality_mean: quality.filter(|(_, rows)| *rows > 0.0).map(|(total, rows)| total / rows),
            batches_total: sum.batches,
            batches_outside_profile: sum.batches_outside,
            decisions_turned: self.turned,
            decisions_failed: self.failed,
            oracle: None,
            oracle_note: None,
            models,
            power_provenance: power_provenance(self.plan),
            checks: Checks {
                requests_lost: Some(sum.arrived_requests as i64 - ended as i64),
                in_system_mean: Some(in_system_seconds / seconds),
                arrivals_times_latency: Some(in_queues / seconds),
                energy_unaccounted_joules: (attributed + totals.idle - metered).get(),
            },
        }
    }
}

/// Core time so far of the batches that run: now less when each began.
fn open_core_nanos(model: &ModelState, now: Timestamp) -> u128 {
    let at = u128::from(model.running_cores) * u128::from(now.as_nanos());
    at.saturating_sub(model.counts.began_core_nanos)
}

/// Core time as time of instances with so many cores each.
fn instance_time(core_nanos: u128, cores: u32) -> Duration {
    let each = core_nanos / u128::from(cores.max(1));
    Duration::from_nanos(u64::try_from(each).unwrap_or(u64::MAX))
}

fn model_summary(counts: &Counts, latencies: &Histogram<u64>, running: u32, energy: f64) -> ModelSummary {
    let ended = counts.batches - u64::from(running);
    ModelSummary {
        requests_total: counts.arrived_requests,
        requests_completed: counts.completed_requests,
        rows_completed: counts.completed_rows,
        batches_total: counts.batches,
        batch_size_mean: (ended > 0).then(|| counts.completed_rows as f64 / ended as f64),
        latency_ms_mean: mean_ms(counts.latency_nanos, counts.completed_requests),
        latency_ms_p95: percentile_ms(latencies, 0.95),
        latency_ms_p99: percentile_ms(latencies, 0.99),
        energy_joules: energy,
        parked_seconds: counts.parked_nanos as f64 / 1e9,
        objective_misses: counts.misses,
    }
}

fn mean_ms(nanos: u128, requests: u64) -> Option<f64> {
    (requests > 0).then(|| nanos as f64 / requests as f64 / 1e6)
}

fn percentile_ms(latencies: &Histogram<u64>, quantile: f64) -> Option<f64> {
    let value = (!latencies.is_empty()).then(|| latencies.value_at_quantile(quantile))?;
    Some(value as f64 * LATENCY_UNIT_NANOS as f64 / 1e6)
}
