//! Counts and times of one model, written by its instances and read by metrics, statistics, the
//! meter and the control loop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wattle_core::time::Timestamp;
use wattle_core::units::Joules;

use super::askers::{Asker, Askers};
use super::busy::{AskerCounts, Busy, Load};
use crate::latency_histogram::{HistogramSnapshot, LatencyHistogram};

/// How many, and how long together.
#[derive(Debug, Default)]
pub struct DurationStats {
    count: AtomicU64,
    nanos: AtomicU64,
}

impl DurationStats {
    fn add(&self, count: u64, total: Duration) {
        self.count.fetch_add(count, Relaxed);
        self.nanos.fetch_add(total.as_nanos() as u64, Relaxed);
    }

    fn get(&self) -> (u64, u64) {
        (self.count.load(Relaxed), self.nanos.load(Relaxed))
    }
}

/// What was seen of batches of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchStats {
    /// Batches.
    pub count: u64,
    /// Nanoseconds of cutting the outputs into answers.
    pub output_nanos: u64,
    /// Nanoseconds in the runtime.
    pub infer_nanos: u64,
}

/// One batch that ended well, as it is recorded while somebody asks for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedBatch {
    /// Its rows.
    pub rows: u32,
    /// How long the runtime and cutting the outputs into answers took.
    pub took: Duration,
    /// When it was answered.
    pub ended: Timestamp,
}

/// What was seen of batches.
#[derive(Debug, Default)]
struct Batches {
    by_size: BTreeMap<u32, BatchStats>,
    /// Each batch since they were last taken, while they are recorded.
    recorded: Option<Vec<RecordedBatch>>,
    /// Why a batch failed as a whole, the first time while they are recorded.
    failure: Option<String>,
}

/// Counts and times of one model since it was loaded.
#[derive(Debug, Default)]
pub struct ModelStats {
    arrived_rows: AtomicU64,
    completed_requests: AtomicU64,
    completed_rows: AtomicU64,
    executions: AtomicU64,
    rejected: AtomicU64,
    success: DurationStats,
    fail: DurationStats,
    queue: DurationStats,
    infer: DurationStats,
    output: DurationStats,
    last_inference_nanos: AtomicU64,
    latency: LatencyHistogram,
    /// Touched once per batch, by this model's own instances: no request waits for it.
    batches: Mutex<Batches>,
    busy: Mutex<Busy>,
    askers: Askers,
    told_nanojoules: AtomicU64,
    told_core_nanos: AtomicU64,
}

/// Times of one batch.
pub(super) struct BatchTimes {
    pub rows: u32,
    pub requests: u64,
    pub queue: Duration,
    pub infer: Duration,
    pub output: Duration,
    pub total: Duration,
}

impl ModelStats {
    pub(super) fn arrived(&self, rows: u32) {
        self.arrived_rows.fetch_add(u64::from(rows), Relaxed);
    }

    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
        self.fail.add(1, Duration::ZERO);
    }

    pub(super) fn failed(&self, requests: u64, total: Duration) {
        self.fail.add(requests, total);
    }

    pub(super) fn request_took(&self, latency: Duration) {
        self.latency.record(latency);
    }

    /// The number of `asker`, by which its part of batches is counted.
    pub(super) fn number_of(&self, asker: &Asker) -> usize {
        self.askers.number_of(asker)
    }

    pub(super) fn batch_began(&self, load: Load<impl Iterator<Item = (usize, u32)>>, now: Timestamp) {
        lock(&self.busy).began(load, now);
    }

    pub(super) fn batch_ended(
        &self,
        load: Load<impl Iterator<Item = (usize, u32)>>,
        began: Timestamp,
        now: Timestamp,
    ) {
        lock(&self.busy).ended(load, began, now);
    }

    /// Counts the rows of each request of a batch, which is about to be told that it took `energy` over
    /// `core_time` together.
    pub(super) fn batch_answered(
        &self,
        parts: impl Iterator<Item = (usize, u32)>,
        energy: Option<Joules>,
        core_time: Duration,
    ) {
        lock(&self.busy).answered(parts);
        if let Some(energy) = energy {
            self.told_nanojoules.fetch_add((energy.get() * 1e9) as u64, Relaxed);
            self.told_core_nanos.fetch_add(core_time.as_nanos() as u64, Relaxed);
        }
    }

    pub(super) fn batch_succeeded(&self, times: &BatchTimes, now: Timestamp) {
        let n = times.requests;
        self.completed_requests.fetch_add(n, Relaxed);
        self.completed_rows.fetch_add(u64::from(times.rows), Relaxed);
        self.executions.fetch_add(1, Relaxed);
        self.success.add(n, times.total);
        self.queue.add(n, times.queue);
        // Every request of a batch computes as long as the batch does, as Triton counts it.
        self.infer.add(n, times.infer * n as u32);
        self.output.add(n, times.output * n as u32);
        self.last_inference_nanos.store(now.as_nanos(), Relaxed);
        let mut batches = lock(&self.batches);
        let stats = batches.by_size.entry(times.rows).or_default();
        stats.count += 1;
        stats.infer_nanos += times.infer.as_nanos() as u64;
        stats.output_nanos += times.output.as_nanos() as u64;
        if let Some(recorded) = &mut batches.recorded {
            recorded.push(RecordedBatch { rows: times.rows, took: times.infer + times.output, ended: now });
        }
    }

    /// The batches recorded since the last call, in the order in which they were answered. From the first
    /// call on each batch is recorded until [`stop_recording`](Self::stop_recording).
    pub(super) fn take_recorded(&self) -> Vec<RecordedBatch> {
        lock(&self.batches).recorded.replace(Vec::new()).unwrap_or_default()
    }

    /// A batch of several requests failed as a whole; they are run one by one.
    pub(super) fn batch_failed(&self, error: &impl ToString) {
        let mut batches = lock(&self.batches);
        if batches.recorded.is_some() {
            batches.failure.get_or_insert_with(|| error.to_string());
        }
    }

    /// Why a batch failed as a whole since batches are recorded, if one did.
    pub(super) fn batch_failure(&self) -> Option<String> {
        lock(&self.batches).failure.clone()
    }

    /// Records no batch from now on.
    pub(super) fn stop_recording(&self) {
        let mut batches = lock(&self.batches);
        (batches.recorded, batches.failure) = (None, None);
    }

    pub(super) fn snapshot(&self, now: Timestamp, queued_requests: u64, queued_rows: u64) -> StatsSnapshot {
        let (busy_core_nanos, working_nanos, running_batches, of_askers) = {
            let busy = lock(&self.busy);
            let of_askers = busy.by_asker(now);
            (busy.core_nanos(now), busy.working_nanos(now), busy.running_batches(), of_askers)
        };
        let (success_count, success_nanos) = self.success.get();
        let (fail_count, fail_nanos) = self.fail.get();
        StatsSnapshot {
            queued_requests,
            queued_rows,
            arrived_rows: self.arrived_rows.load(Relaxed),
            completed_requests: self.completed_requests.load(Relaxed),
            completed_rows: self.completed_rows.load(Relaxed),
            executions: self.executions.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            success_count,
            success_nanos,
            fail_count,
            fail_nanos,
            queue_nanos: self.queue.get().1,
            infer_nanos: self.infer.get().1,
            output_nanos: self.output.get().1,
            last_inference: Timestamp::from_nanos(self.last_inference_nanos.load(Relaxed)),
            busy_core_nanos,
            working_nanos,
            by_asker: self.askers.by_asker(&of_askers),
            told_nanojoules: self.told_nanojoules.load(Relaxed),
            told_core_nanos: self.told_core_nanos.load(Relaxed),
            running_batches,
            by_batch_size: lock(&self.batches).by_size.clone(),
            latency: self.latency.snapshot(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts and times of one model at one moment.
#[derive(Debug, Clone, Default)]
pub struct StatsSnapshot {
    /// Requests that wait.
    pub queued_requests: u64,
    /// Rows that wait.
    pub queued_rows: u64,
    /// Rows that ever arrived, refused ones included.
    pub arrived_rows: u64,
    /// Requests answered.
    pub completed_requests: u64,
    /// Rows answered.
    pub completed_rows: u64,
    /// Batches run.
    pub executions: u64,
    /// Requests refused because the queue was full.
    pub rejected: u64,
    /// Requests answered.
    pub success_count: u64,
    /// Their times from arrival to answer, together.
    pub success_nanos: u64,
    /// Requests not answered: refused, expired or failed.
    pub fail_count: u64,
    /// Their times from arrival to error, together.
    pub fail_nanos: u64,
    /// Times answered requests waited, together.
    pub queue_nanos: u64,
    /// Times answered requests were in the runtime, together; gathering the inputs is part of it.
    pub infer_nanos: u64,
    /// Times of cutting batches into answers, together.
    pub output_nanos: u64,
    /// When a batch last ended; zero if none has.
    pub last_inference: Timestamp,
    /// Core-nanoseconds spent computing, by batches that still run too.
    pub busy_core_nanos: u64,
    /// Nanoseconds in which at least one batch ran; added up over versions, which may run side by side.
    pub working_nanos: u64,
    /// Whose they were.
    pub by_asker: BTreeMap<Asker, AskerCounts>,
    /// What answered requests were told, or would have been, that they took, together, in nanojoules.
    pub told_nanojoules: u64,
    /// Core-nanoseconds of the batches of those.
    pub told_core_nanos: u64,
    /// Batches that run now.
    pub running_batches: u32,
    /// What was seen of each batch size.
    pub by_batch_size: BTreeMap<u32, BatchStats>,
    /// Latencies of answered requests, from arrival to answer.
    pub latency: HistogramSnapshot,
}

impl StatsSnapshot {
    /// Batches that were answered, and nanoseconds that they took, all together: the runtime, gathering
    /// inputs and cutting outputs, as in the latencies of a profile.
    pub fn batches(&self) -> (u64, u64) {
        let sizes = self.by_batch_size.values();
        sizes.fold((0, 0), |(count, nanos), size| {
            (count + size.count, nanos + size.infer_nanos + size.output_nanos)
        })
    }

    /// Both together, as for two versions of one model.
    pub fn plus(mut self, other: Self) -> Self {
        self.queued_requests += other.queued_requests;
        self.queued_rows += other.queued_rows;
        self.arrived_rows += other.arrived_rows;
        self.completed_requests += other.completed_requests;
        self.completed_rows += other.completed_rows;
        self.executions += other.executions;
        self.rejected += other.rejected;
        self.success_count += other.success_count;
        self.success_nanos += other.success_nanos;
        self.fail_count += other.fail_count;
        self.fail_nanos += other.fail_nanos;
        self.queue_nanos += other.queue_nanos;
        self.infer_nanos += other.infer_nanos;
        self.output_nanos += other.output_nanos;
        self.last_inference = self.last_inference.max(other.last_inference);
        self.busy_core_nanos += other.busy_core_nanos;
        self.working_nanos += other.working_nanos;
        for (asker, counts) in other.by_asker {
            let sum = self.by_asker.entry(asker).or_default();
            *sum = sum.plus(counts);
        }
        self.told_nanojoules += other.told_nanojoules;
        self.told_core_nanos += other.told_core_nanos;
        self.running_batches += other.running_batches;
        for (size, stats) in other.by_batch_size {
            let sum = self.by_batch_size.entry(size).or_default();
            sum.count += stats.count;
            sum.infer_nanos += stats.infer_nanos;
            sum.output_nanos += stats.output_nanos;
        }
        self.latency = self.latency.plus(other.latency);
        self
    }
}
