//! One model of a run: its queue, its instances, its counts.

use std::time::Duration;

use hdrhistogram::Histogram;
use wattle_core::batching::BatchQueue;

use super::node::nanos;
use crate::plan::ModelPlan;

/// What a request carries: which stream sent it, for clients that wait for the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) stream: u32,
}

/// One model as it runs.
#[derive(Debug)]
pub(super) struct ModelState {
    pub(super) queue: BatchQueue<Request>,
    pub(super) running: u32,
    /// Compute threads of the batches that run.
    pub(super) running_cores: u64,
    /// Instances that rest.
    pub(super) resting: Vec<Rest>,
    /// When a wait for a fuller batch is over, if one is planned.
    pub(super) looks_at: Option<u64>,
    /// Whether the end of the oldest request's time is planned.
    pub(super) is_expiry_planned: bool,
    /// Times of the plan in nanoseconds, as they are needed for each request.
    pub(super) timeout: Option<u64>,
    pub(super) overhead: u64,
    pub(super) objective: u64,
    pub(super) counts: Counts,
    pub(super) latencies: Histogram<u64>,
}

/// An instance that rests after a batch, as its duty cycle asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    /// When the batch ended and how long it took.
    pub(super) ended: u64,
    pub(super) busy: Duration,
    pub(super) until: u64,
}

/// Counts of one model since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) arrived_requests: u64,
    pub(super) arrived_rows: u64,
    pub(super) completed_requests: u64,
    pub(super) completed_rows: u64,
    pub(super) rejected: u64,
    pub(super) expired: u64,
    pub(super) batches: u64,
    pub(super) batches_outside: u64,
    pub(super) misses: u64,
    pub(super) latency_nanos: u128,
    /// Time that expired requests waited.
    pub(super) expired_nanos: u128,
    /// Core time of batches that ended, and when those that run began, times their cores.
    pub(super) busy_core_nanos: u128,
    pub(super) began_core_nanos: u128,
    pub(super) parked_nanos: u64,
}

impl ModelState {
    /// Nothing waits and nothing runs yet.
    pub(super) fn new(plan: &ModelPlan) -> Self {
        Self {
            queue: BatchQueue::default(),
            running: 0,
            running_cores: 0,
            resting: Vec::new(),
            looks_at: None,
            is_expiry_planned: false,
            timeout: plan.timeout.map(nanos),
            overhead: nanos(plan.overhead),
            objective: plan.objective.map_or(u64::MAX, nanos),
            counts: Counts::default(),
            latencies: latency_histogram(),
        }
    }
}

/// What one unit of the histograms is.
pub(super) const LATENCY_UNIT_NANOS: u64 = 100;

/// Percentiles to within 0.1 %, of latencies up to some 12 days.
pub(super) fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 10_000_000_000_000, 3).expect("the bounds are lawful constants")
}
