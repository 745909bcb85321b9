//! One instance thread: gets cores, takes a batch, runs it, answers each request, and again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::thread;

use wattle_core::batching::{BatchLimits, Next, Waiting};
use wattle_core::time::Timestamp;
use wattle_core::units::Joules;
use wattle_device::cpu::CoreGrant;
use wattle_runtime::runtime::{Instance, RuntimeError};
use wattle_runtime::tensor::{BatchInput, Tensor};

use super::busy::Load;
use super::stats::BatchTimes;
use super::{Answer, ExecuteError, Inner, Job, Shared};

/// Starts the instance thread of `index`, unless it lives already. Makes the instance on the thread,
/// so that nobody waits for it, unless one is given.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    inner: &mut Inner,
    index: u32,
    ready_made: Option<Box<dyn Instance>>,
) {
    let slot = index as usize;
    if inner.alive.len() <= slot {
        inner.alive.resize(slot + 1, false);
    }
    if inner.alive[slot] {
        return;
    }
    let thread_shared = Arc::clone(shared);
    let thread = thread::Builder::new().name(format!("{}/{index}", shared.name));
    let spawned = thread.spawn(move || {
        let shared = thread_shared;
        let made = ready_made.map_or_else(|| shared.model.instance(), Ok);
        match made {
            // Nothing but the runtime should panic, and that is caught where it runs. If something does
            // all the same, the model goes on with a new thread at its next request.
            Ok(instance) => {
                if catch_unwind(AssertUnwindSafe(|| serve(&shared, index, instance))).is_err() {
                    give_up(&shared, index, "an instance thread panicked; this is a bug in wattle");
                }
            }
            Err(error) => {
                tracing::error!(model = %shared.name, index, %error, "instance could not be made");
                give_up(&shared, index, &error.to_string());
            }
        }
    });
    match spawned {
        Ok(thread) => {
            inner.alive[slot] = true;
            inner.threads.retain(|thread| !thread.is_finished());
            inner.threads.push(thread);
        }
        Err(error) => tracing::error!(model = %shared.name, index, %error, "instance thread did not start"),
    }
}

/// Answers every request that nobody waits for any more or whose deadline has passed.
pub(super) fn answer_dead(shared: &Shared, inner: &mut Inner, now: Timestamp) {
    inner.swept = now;
    answer_late(shared, inner.queue.take_dead(now, is_abandoned), now);
}

/// Whether the one who asked has gone away.
fn is_abandoned(job: &Job) -> bool {
    job.answer.is_closed()
}

fn answer_late(shared: &Shared, dead: Vec<Waiting<Job>>, now: Timestamp) {
    for dead in dead {
        let waited = now.saturating_since(dead.arrived);
        shared.stats.failed(1, waited);
        let model = shared.name.clone();
        let error = ExecuteError::DeadlinePassed { model, waited_ms: waited.as_millis() };
        // The receiver is gone when its client is: there is nobody to tell.
        let _ = dead.payload.answer.send(Err(error));
    }
}

/// The thread's life, until its instance is one too many or the model closes.
fn serve(shared: &Arc<Shared>, index: u32, mut instance: Box<dyn Instance>) {
    while let Some((batch, grant)) = take(shared, index) {
        let began = shared.around.clock.now();
        run(shared, instance.as_mut(), batch, &grant);
        drop(grant);
        rest(shared, began);
    }
}

/// Waits for work and cores, and takes a batch; `None` when the thread is to end.
fn take(shared: &Shared, index: u32) -> Option<(Vec<Waiting<Job>>, CoreGrant)> {
    let mut inner = shared.lock();
    let mut grant: Option<CoreGrant> = None;
    loop {
        if index >= shared.wanted_instances() || (shared.is_closing() && inner.queue.is_empty()) {
            end(shared, &mut inner, index);
            return None;
        }
        let now = shared.around.clock.now();
        let setting = shared.knobs.setting();
        let limits = BatchLimits { batch_size: setting.batch_size, max_queue_delay: setting.max_queue_delay };
        match inner.queue.readiness(now, limits) {
            Next::Batch(_) => {
                let wanted = setting.cores_per_instance;
                let Some(grant) = grant.take().or_else(|| shared.around.budget.try_acquire(wanted)) else {
                    // Late formation: wait for cores with the batch still open.
                    drop(inner);
                    grant = Some(shared.around.budget.acquire(wanted));
                    inner = shared.lock();
                    continue;
                };
                if let Next::Batch(batch) = inner.queue.next(now, limits) {
                    let (dead, batch): (Vec<_>, Vec<_>) = batch
                        .into_iter()
                        .partition(|request| request.is_expired(now) || is_abandoned(&request.payload));
                    answer_late(shared, dead, now);
                    if !batch.is_empty() {
                        let more = !inner.queue.is_empty();
                        drop(inner);
                        if more {
                            shared.work.notify_one();
                        }
                        return Some((batch, grant));
                    }
                }
            }
            Next::Wait(until) => {
                grant = None;
                let timeout = until.saturating_since(now);
                let waited = shared.work.wait_timeout(inner, timeout);
                inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            Next::Empty => {
                grant = None;
                inner = shared.work.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Notes that the thread of `index` ends, and passes on a wake-up it may have taken from another.
fn end(shared: &Shared, inner: &mut Inner, index: u32) {
    inner.alive[index as usize] = false;
    shared.work.notify_one();
}

/// The instance can't be made: the thread ends, and if it was the last nobody is left to wait for.
fn give_up(shared: &Shared, index: u32, detail: &str) {
    let mut inner = shared.lock();
    end(shared, &mut inner, index);
    if inner.alive.contains(&true) {
        return;
    }
    let limits = BatchLimits { batch_size: u32::MAX, max_queue_delay: std::time::Duration::ZERO };
    while let Next::Batch(batch) = inner.queue.next(shared.around.clock.now(), limits) {
        let now = shared.around.clock.now();
        let waited = batch.iter().map(|request| now.saturating_since(request.arrived)).sum();
        shared.stats.failed(batch.len() as u64, waited);
        let error = ExecuteError::Failed { model: shared.name.clone(), detail: detail.to_owned() };
        answer_all(batch, &error);
    }
}

/// Runs one batch and answers its requests. Where it fails as a whole, each request is run alone, so that
/// one that can't be run takes no other with it.
fn run(shared: &Shared, instance: &mut dyn Instance, mut batch: Vec<Waiting<Job>>, grant: &CoreGrant) {
    let began = shared.around.clock.now();
    match infer(shared, instance, &batch, grant, began) {
        Ok(outputs) => answer(shared, batch, outputs, grant, began),
        Err(error) if batch.len() == 1 => {
            let now = shared.around.clock.now();
            let total = batch.iter().map(|request| now.saturating_since(request.arrived)).sum();
            shared.stats.failed(1, total);
            tracing::warn!(model = %shared.name, %error, "request failed");
            answer_all(batch, &error);
        }
        Err(error) => {
            shared.stats.batch_failed(&error);
            tracing::debug!(model = %shared.name, requests = batch.len(), %error, "batch failed, its requests are run alone");
            batch.drain(..).for_each(|request| run(shared, instance, vec![request], grant));
        }
    }
}

/// What the runtime makes of a batch, cut into the answers of its requests. It is never let panic through.
fn infer(
    shared: &Shared,
    instance: &mut dyn Instance,
    batch: &[Waiting<Job>],
    grant: &CoreGrant,
    began: Timestamp,
) -> Result<Inferred, ExecuteError> {
    let rows = batch.iter().map(|request| request.rows).sum();
    let inputs = gather(batch);
    let load = || Load { cores: grant.cores(), rows, parts: parts_of(batch) };
    shared.stats.batch_began(load(), began);
    let outcome = catch_unwind(AssertUnwindSafe(|| instance.infer(inputs, grant.cores())));
    let ended = shared.around.clock.now();
    shared.stats.batch_ended(load(), began, ended);
    let outputs = match outcome {
        Ok(Ok(outputs)) => cut(&outputs, batch, rows).map_err(|detail| failure(shared, detail))?,
        Ok(Err(error)) => return Err(failure_of(shared, &error)),
        Err(_) => {
            let detail = "the runtime panicked; this is a bug in it, the server goes on";
            return Err(failure(shared, detail.into()));
        }
    };
    Ok(Inferred { outputs, rows, ended })
}

/// Whose the rows of a batch are, by the number of who asked.
fn parts_of(batch: &[Waiting<Job>]) -> impl Iterator<Item = (usize, u32)> {
    batch.iter().map(|request| (request.payload.asker, request.rows))
}

/// A batch that was run.
struct Inferred {
    /// The outputs of each request.
    outputs: Vec<Vec<Tensor>>,
    rows: u32,
    /// When the runtime was done.
    ended: Timestamp,
}

fn answer(
    shared: &Shared,
    batch: Vec<Waiting<Job>>,
    inferred: Inferred,
    grant: &CoreGrant,
    began: Timestamp,
) {
    let Inferred { outputs, rows, ended } = inferred;
    let now = shared.around.clock.now();
    let core_time = (ended - began).saturating_mul(grant.cores());
    let energy: Option<Joules> = shared.around.energy_rate.of_core_time(&shared.name, core_time);
    let times = BatchTimes {
        rows,
        requests: batch.len() as u64,
        queue: batch.iter().map(|request| began.saturating_since(request.arrived)).sum(),
        infer: ended - began,
        output: now - ended,
        total: batch.iter().map(|request| now.saturating_since(request.arrived)).sum(),
    };
    // Counted before they are sent: who has an answer finds it in the statistics.
    shared.stats.batch_succeeded(&times, now);
    shared.stats.batch_answered(parts_of(&batch), energy, core_time);
    for (request, outputs) in batch.into_iter().zip(outputs) {
        shared.stats.request_took(now.saturating_since(request.arrived));
        let energy = energy.map(|energy| energy * (f64::from(request.rows) / f64::from(rows)));
        // The receiver is gone when its client is: there is nobody to tell.
        let _ = request.payload.answer.send(Ok(Answer { outputs, energy }));
    }
}

fn failure(shared: &Shared, detail: String) -> ExecuteError {
    ExecuteError::Failed { model: shared.name.clone(), detail }
}

/// Tells what the request did wrong from what the runtime did.
fn failure_of(shared: &Shared, error: &RuntimeError) -> ExecuteError {
    let detail = error.to_string();
    match error {
        RuntimeError::Input { .. }
        | RuntimeError::InputBytes { .. }
        | RuntimeError::UnsupportedDatatype { .. } => {
            ExecuteError::BadInput { model: shared.name.clone(), detail }
        }
        _ => failure(shared, detail),
    }
}

fn answer_all(batch: Vec<Waiting<Job>>, error: &ExecuteError) {
    for request in batch {
        let _ = request.payload.answer.send(Err(error.clone()));
    }
}

/// The inputs of a batch: the slices of its requests side by side. Copies no tensor.
fn gather(batch: &[Waiting<Job>]) -> Vec<BatchInput> {
    let Some((first, others)) = batch.split_first() else { return Vec::new() };
    let of_input = |(at, tensor): (usize, &Tensor)| {
        let mut shape = tensor.shape.clone();
        let mut parts = Vec::with_capacity(batch.len());
        parts.push(tensor.data.clone());
        for more in others.iter().filter_map(|request| request.payload.inputs.get(at)) {
            if let (Some(rows), Some(more)) = (shape.first_mut(), more.shape.first()) {
                *rows += more;
            }
            parts.push(more.data.clone());
        }
        BatchInput { name: tensor.name.clone(), datatype: tensor.datatype, shape, parts }
    };
    first.payload.inputs.iter().enumerate().map(of_input).collect()
}

/// Each request's own rows of the outputs. Copies no tensor.
fn cut(outputs: &[Tensor], batch: &[Waiting<Job>], rows: u32) -> Result<Vec<Vec<Tensor>>, String> {
    if batch.len() == 1 {
        return Ok(vec![outputs.to_vec()]);
    }
    let mut answers: Vec<Vec<Tensor>> = batch.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
    for output in outputs {
        if output.shape.first() != Some(&(rows as usize)) {
            return Err(format!(
                "output '{}' has shape {:?} for a batch of {rows} rows; its first dimension should be the \
                 batch: set max_batch_size = 0 for this model",
                output.name, output.shape
            ));
        }
        let mut rest = output.data.clone();
        for (request, answer) in batch.iter().zip(&mut answers) {
            let mut shape = output.shape.clone();
            shape[0] = request.rows as usize;
            let data = rest.split_to(output.datatype.byte_len_of(&shape, &rest)?);
            answer.push(Tensor { name: output.name.clone(), datatype: output.datatype, shape, data });
        }
    }
    Ok(answers)
}

/// Stays idle after computing since `began`, as the duty cycle asks, until it has been long enough,
/// the knob is turned or the model closes.
fn rest(shared: &Shared, began: Timestamp) {
    let clock = shared.around.clock;
    let ended = clock.now();
    let busy = ended.saturating_since(began);
    let idle = |shared: &Shared| shared.knobs.setting().rest_after(busy);
    if idle(shared).is_zero() {
        return;
    }
    let mut inner = shared.lock();
    while !shared.is_closing() {
        let left = clock.until(ended + idle(shared));
        if left.is_zero() {
            return;
        }
        let waited = shared.turned.wait_timeout(inner, left);
        inner = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}
