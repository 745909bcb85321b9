//! The event loop: what happens next, and what it does to queues and devices.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand_distr::{Distribution, Exp1, LogNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use wattle_core::batching::{BatchLimits, Next, Waiting};
use wattle_core::played_device::RunToken;
use wattle_core::time::Timestamp;

use super::Outcome;
use super::control::Control;
use super::model_state::{LATENCY_UNIT_NANOS, ModelState, Request, Rest};
use crate::arrivals::{Arrivals, rng};
use crate::knobs::Knobs;
use crate::plan::{Plan, Spread, Target};
use crate::workload::{Source, WorkloadError};

/// Clients whose request was refused try again after this long.
const RETRY_AFTER: Duration = Duration::from_millis(10);
/// How often progress is told, in control ticks.
const PROGRESS_TICKS: u64 = 64;

/// An event that was planned. Ordered by time, then kind, then number.
type Event = Reverse<(u64, EventKind, u32)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum EventKind {
    /// A batch ends; the number is its run.
    Ends,
    /// A client of a closed stream asks; the number is the stream.
    Asks,
    /// An instance has rested or a wait for a fuller batch is over; the number is the model.
    Looks,
    /// The deadline of a waiting request may have passed; the number is the model.
    Expires,
}

/// A batch that runs.
#[derive(Debug)]
struct Run {
    model: u32,
    began: u64,
    token: RunToken,
    cores: u32,
    batch: Vec<Waiting<Request>>,
}

/// A run of a plan.
pub(super) struct Node<'a> {
    pub(super) plan: &'a Plan,
    pub(super) now: u64,
    pub(super) models: Vec<ModelState>,
    pub(super) knobs: Knobs,
    pub(super) family_rows: Vec<u64>,
    /// Requests in the system, and their number times time, in nanoseconds.
    in_system: u64,
    in_system_nanos: u128,
    in_system_since: u64,
    /// The streams of the plan, in its order.
    streams: Vec<StreamState>,
    runs: Vec<Option<Run>>,
    free_runs: Vec<u32>,
    /// Memory of batches that ended.
    spare_batches: Vec<Vec<Waiting<Request>>>,
    events: BinaryHeap<Event>,
    spread_rng: Xoshiro256PlusPlus,
    lognormals: Vec<Option<LogNormal<f64>>>,
}

struct StreamState {
    arrivals: Arrivals,
    /// The next arrival; `u64::MAX` when there is none.
    next: u64,
    /// How long a client thinks; `None` for an open stream.
    think: Option<u64>,
}

impl<'a> Node<'a> {
    pub(super) fn new(plan: &'a Plan, seed: u64) -> Result<Self, WorkloadError> {
        let mut streams = Vec::new();
        let mut events = BinaryHeap::new();
        for (index, stream) in (0u32..).zip(&plan.streams) {
            let mut arrivals = Arrivals::new(&stream.source, seed, u64::from(index) + 2)?;
            let next = arrivals.next_arrival()?.unwrap_or(u64::MAX);
            let think = match &stream.source {
                Source::ClosedLoop { clients, think } => {
                    events.extend((0..*clients).map(|_| Reverse((0, EventKind::Asks, index))));
                    Some(nanos(*think))
                }
                _ => None,
            };
            streams.push(StreamState { arrivals, next, think });
        }
        let models = plan.models.iter().map(ModelState::new).collect();
        let lognormals = plan.models.iter().map(|model| match model.spread {
            Spread::Lognormal(variation) => {
                let variance = (1.0 + variation * variation).ln();
                LogNormal::new(-variance / 2.0, variance.sqrt()).ok() // mean 1
            }
            _ => None,
        });
        let mut knobs = Knobs::new(plan);
        knobs.devices.iter_mut().for_each(|device| device.advance(Timestamp::ZERO));
        Ok(Self {
            plan,
            now: 0,
            models,
            knobs,
            family_rows: vec![0; plan.families.len()],
            in_system: 0,
            in_system_nanos: 0,
            in_system_since: 0,
            streams,
            runs: Vec::new(),
            free_runs: Vec::new(),
            spare_batches: Vec::new(),
            events,
            spread_rng: rng(seed, 0),
            lognormals: lognormals.collect(),
        })
    }

    pub(super) fn run(
        mut self,
        mut control: Control<'_>,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Outcome, WorkloadError> {
        let end = nanos(self.plan.span);
        control.start(&mut self);
        let mut ticks: u64 = 0;
        loop {
            let tick = control.next_tick().min(end);
            self.play_until(tick, &mut control)?;
            self.now = tick;
            control.tick(&mut self, tick);
            ticks += 1;
            if ticks.is_multiple_of(PROGRESS_TICKS) {
                progress(tick as f64 / end as f64);
            }
            if tick >= end {
                progress(1.0);
                return Ok(control.finish(self));
            }
        }
    }

    /// Plays all events before `tick`, and the ends and arrivals at it.
    fn play_until(&mut self, tick: u64, control: &mut Control<'_>) -> Result<(), WorkloadError> {
        loop {
            let (stream, arrives) = self.next_arrival();
            let planned = self.events.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            if arrives.min(planned) > tick {
                return Ok(());
            }
            // An end at the same time goes first: it frees its instance.
            let is_end_first = matches!(self.events.peek(), Some(Reverse((_, EventKind::Ends, _))));
            if arrives < planned || (arrives == planned && !is_end_first) {
                self.now = arrives;
                let state = &mut self.streams[stream];
                state.next = state.arrivals.next_arrival()?.unwrap_or(u64::MAX).max(arrives);
                self.arrive(stream as u32, control);
                continue;
            }
            let Some(Reverse((at, kind, number))) = self.events.pop() else { return Ok(()) };
            self.now = at;
            match kind {
                EventKind::Ends => self.end(number, control),
                EventKind::Asks => self.arrive(number, control),
                EventKind::Looks => self.look(number as usize),
                EventKind::Expires => self.expire(number as usize),
            }
        }
    }

    fn next_arrival(&self) -> (usize, u64) {
        let mut first = (0, u64::MAX);
        for (index, stream) in self.streams.iter().enumerate() {
            if stream.next < first.1 {
                first = (index, stream.next);
            }
        }
        first
    }

    /// A request of `stream` arrives now.
    fn arrive(&mut self, stream: u32, control: &mut Control<'_>) {
        let of = &self.plan.streams[stream as usize];
        let model = match of.target {
            Target::Model(model) => model,
            Target::Family(family) => {
                self.family_rows[family] += u64::from(of.rows);
                self.plan.families[family].models[self.knobs.active[family]]
            }
        };
        let state = &mut self.models[model];
        let deadline = state.timeout.map(|timeout| self.now.saturating_add(timeout));
        let request = Waiting {
            rows: of.rows,
            priority: of.priority,
            arrived: Timestamp::from_nanos(self.now),
            deadline: deadline.map(Timestamp::from_nanos),
            group: Some(0),
            payload: Request { stream },
        };
        let max_queue_size = self.knobs.settings[model].max_queue_size;
        state.counts.arrived_requests += 1;
        state.counts.arrived_rows += u64::from(of.rows);
        control.recorder.stretch.arrived_rows += u64::from(of.rows);
        if state.queue.push(request, max_queue_size).is_err() {
            state.counts.rejected += 1;
            self.ask_again(stream, nanos(RETRY_AFTER));
            return;
        }
        if let Some(deadline) = deadline.filter(|_| !state.is_expiry_planned) {
            state.is_expiry_planned = true;
            self.events.push(Reverse((deadline, EventKind::Expires, model as u32)));
        }
        self.count_in_system(1);
        self.dispatch(model);
    }

    /// A client of a closed stream has its answer: it asks again after thinking.
    fn ask_again(&mut self, stream: u32, after: u64) {
        if let Some(think) = self.streams[stream as usize].think {
            let at = self.now.saturating_add(think).saturating_add(after);
            self.events.push(Reverse((at, EventKind::Asks, stream)));
        }
    }

    /// Answers the requests of `model` whose deadline has passed, as the server's front end does.
    fn expire(&mut self, model: usize) {
        let state = &mut self.models[model];
        let dead = state.queue.take_expired_heads(Timestamp::from_nanos(self.now));
        // All requests of a model wait equally long, so the oldest is the next.
        let next = state.queue.oldest().zip(state.timeout);
        state.is_expiry_planned = next.is_some();
        if let Some((oldest, timeout)) = next {
            let at = oldest.as_nanos().saturating_add(timeout);
            self.events.push(Reverse((at, EventKind::Expires, model as u32)));
        }
        self.count_expired(model, &dead);
    }

    fn count_expired(&mut self, model: usize, dead: &[Waiting<Request>]) {
        let counts = &mut self.models[model].counts;
        counts.expired += dead.len() as u64;
        let waited = dead.iter().map(|request| u128::from(self.now - request.arrived.as_nanos()));
        counts.expired_nanos += waited.sum::<u128>();
        self.count_in_system(-(dead.len() as i64));
        for request in dead {
            self.ask_again(request.payload.stream, 0);
        }
    }

    /// Starts batches while an instance of `model` is free and something may run.
    pub(super) fn dispatch(&mut self, model: usize) {
        let now = Timestamp::from_nanos(self.now);
        loop {
            let state = &mut self.models[model];
            let setting = &self.knobs.settings[model];
            if state.running + state.resting.len() as u32 >= setting.instances {
                return;
            }
            let limits =
                BatchLimits { batch_size: setting.batch_size, max_queue_delay: setting.max_queue_delay };
            let mut batch = self.spare_batches.pop().unwrap_or_default();
            match state.queue.next_into(now, limits, &mut batch) {
                Next::Empty => {
                    self.spare_batches.push(batch);
                    return;
                }
                Next::Wait(until) => {
                    self.spare_batches.push(batch);
                    let until = until.as_nanos();
                    if state.looks_at.is_none_or(|looks| until < looks) {
                        state.looks_at = Some(until);
                        self.events.push(Reverse((until, EventKind::Looks, model as u32)));
                    }
                    return;
                }
                Next::Batch(_) => self.begin(model, batch),
            }
        }
    }

    fn begin(&mut self, model: usize, mut batch: Vec<Waiting<Request>>) {
        let now = Timestamp::from_nanos(self.now);
        if self.models[model].timeout.is_some() {
            // Time may be up in this very moment.
            let dead: Vec<_> = batch.extract_if(.., |request| request.is_expired(now)).collect();
            self.count_expired(model, &dead);
            if batch.is_empty() {
                self.spare_batches.push(batch);
                return;
            }
        }
        let rows = batch.iter().map(|request| request.rows).sum();
        let plan = &self.plan.models[model];
        let state = &mut self.models[model];
        let cores = self.knobs.settings[model].cores_per_instance;
        let device = &mut self.knobs.devices[plan.device];
        let (token, latency, is_outside) = device.begin_nearest(plan.index, rows, cores, now);
        state.running += 1;
        state.counts.batches += 1;
        state.counts.batches_outside += u64::from(is_outside);
        state.running_cores += u64::from(cores);
        state.counts.began_core_nanos += u128::from(cores) * u128::from(self.now);
        let spread = match plan.spread {
            Spread::Constant => 1.0,
            Spread::Exponential => Exp1.sample(&mut self.spread_rng),
            Spread::Lognormal(_) => {
                self.lognormals[model].map_or(1.0, |lognormal| lognormal.sample(&mut self.spread_rng))
            }
        };
        let latency = if spread == 1.0 { nanos(latency) } else { (nanos(latency) as f64 * spread) as u64 };
        let run = Run { model: model as u32, began: self.now, cores, token, batch };
        let slot = match self.free_runs.pop() {
            Some(slot) => {
                self.runs[slot as usize] = Some(run);
                slot
            }
            None => {
                self.runs.push(Some(run));
                self.runs.len() as u32 - 1
            }
        };
        // A batch takes some time: one of none at all would stop the clock.
        let ends = self.now.saturating_add(latency.max(1));
        self.events.push(Reverse((ends, EventKind::Ends, slot)));
    }

    fn end(&mut self, slot: u32, control: &mut Control<'_>) {
        let Some(Run { model, began, cores, token, batch }) = self.runs[slot as usize].take() else { return };
        self.free_runs.push(slot);
        let model = model as usize;
        let plan = &self.plan.models[model];
        self.knobs.devices[plan.device].end(token, Timestamp::from_nanos(self.now));
        let state = &mut self.models[model];
        let (overhead, objective) = (state.overhead, state.objective);
        let counts = &mut state.counts;
        let stretch = &mut control.recorder.stretch;
        state.running -= 1;
        state.running_cores -= u64::from(cores);
        counts.busy_core_nanos += u128::from(cores) * u128::from(self.now - began);
        counts.began_core_nanos -= u128::from(cores) * u128::from(began);
        let mut rows: u64 = 0;
        for request in &batch {
            let latency = self.now - request.arrived.as_nanos() + overhead;
            rows += u64::from(request.rows);
            counts.latency_nanos += u128::from(latency);
            counts.misses += u64::from(latency > objective);
            stretch.latency_nanos += u128::from(latency);
            stretch.latency_nanos_max = stretch.latency_nanos_max.max(latency);
            state.latencies.saturating_record(latency / LATENCY_UNIT_NANOS);
        }
        counts.completed_requests += batch.len() as u64;
        counts.completed_rows += rows;
        stretch.completed_requests += batch.len() as u64;
        stretch.completed_rows += rows;
        let setting = &self.knobs.settings[model];
        if setting.duty_cycle < 1.0 {
            let busy = Duration::from_nanos(self.now - began);
            let until = self.now.saturating_add(nanos(setting.rest_after(busy)));
            state.resting.push(Rest { ended: self.now, busy, until });
            self.events.push(Reverse((until, EventKind::Looks, model as u32)));
        }
        self.count_in_system(-(batch.len() as i64));
        for request in &batch {
            self.ask_again(request.payload.stream, overhead);
        }
        self.spare_batches.push(batch);
        self.dispatch(model);
    }

    /// Knobs of `model` were turned: batches may start, and rests be over sooner or later.
    pub(super) fn turned(&mut self, model: usize) {
        let setting = &self.knobs.settings[model];
        for rest in &mut self.models[model].resting {
            rest.until = rest.ended.saturating_add(nanos(setting.rest_after(rest.busy)));
            self.events.push(Reverse((rest.until.max(self.now), EventKind::Looks, model as u32)));
        }
        self.dispatch(model);
    }

    /// A rest or a wait of `model` may be over.
    fn look(&mut self, model: usize) {
        let now = self.now;
        let state = &mut self.models[model];
        state.resting.retain(|rest| rest.until > now);
        if state.looks_at.is_some_and(|looks| looks <= now) {
            state.looks_at = None;
        }
        self.dispatch(model);
    }

    fn count_in_system(&mut self, change: i64) {
        self.in_system_nanos += u128::from(self.in_system) * u128::from(self.now - self.in_system_since);
        self.in_system_since = self.now;
        self.in_system = self.in_system.saturating_add_signed(change);
    }

    /// Rows that wait, of all models.
    pub(super) fn queued_rows(&self) -> u64 {
        self.models.iter().map(|model| model.queue.rows()).sum()
    }

    /// Requests still there, the integral of their number over time in seconds, and the time they have
    /// spent so far, in seconds.
    pub(super) fn left_over(&mut self) -> (u64, f64, f64) {
        self.count_in_system(0);
        let waiting = |model: &mut ModelState| {
            let unlimited = BatchLimits { batch_size: u32::MAX, max_queue_delay: Duration::ZERO };
            let mut all = Vec::new();
            while let Next::Batch(batch) = model.queue.next(Timestamp::from_nanos(u64::MAX), unlimited) {
                all.extend(batch.into_iter().map(|request| request.arrived.as_nanos()));
            }
            all
        };
        let mut arrived: Vec<u64> = self.models.iter_mut().flat_map(waiting).collect();
        let running = self.runs.iter().flatten().flat_map(|run| &run.batch);
        arrived.extend(running.map(|request| request.arrived.as_nanos()));
        let spent: u128 = arrived.iter().map(|at| u128::from(self.now - at)).sum();
        (arrived.len() as u64, self.in_system_nanos as f64 / 1e9, spent as f64 / 1e9)
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
