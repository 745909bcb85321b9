//! Runs one model's batches: a bounded queue, instance threads that pull from it, and live knobs.
//!
//! ```text
//! front end -> submit -> queue (pure, wattle-core::batching) -> instance thread -> answer
//! ```
//! An instance that is free first gets its cores from the server's one thread budget and only then
//! takes what waits, so a batch is formed as late as can be. Knobs are read each time a batch is
//! formed: a change needs no reload and touches no request that waits or runs. Knows no protocol.

mod askers;
mod busy;
mod instance;
mod knobs;
mod stats;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use wattle_core::batching::{BatchQueue, Waiting};
use wattle_core::id::ModelName;
use wattle_core::knob::{ServingChange, ServingLimits, ServingSetting, SettingError};
use wattle_core::time::Timestamp;
use wattle_core::units::Joules;
use wattle_device::cpu::CoreBudget;
use wattle_runtime::runtime::{LoadedModel, RuntimeError};
use wattle_runtime::tensor::Tensor;

use crate::clock::Clock;
use crate::control_loop::Waker;
use crate::meter::EnergyRate;

pub use askers::Asker;
pub use busy::AskerCounts;
pub use knobs::Knobs;
pub use stats::{BatchStats, DurationStats, ModelStats, RecordedBatch, StatsSnapshot};

/// Time between two searches of a full queue for requests that nobody waits for any more.
const SWEEP_INTERVAL: Duration = Duration::from_millis(10);

/// What an executor needs of the server it runs in.
#[derive(Clone)]
pub struct Surroundings {
    /// The server's clock.
    pub clock: Clock,
    /// The server's one thread budget.
    pub budget: Arc<CoreBudget>,
    /// Energy of a core-second, as the meter last saw it.
    pub energy_rate: Arc<EnergyRate>,
    /// Told of each request, so that an idle control loop looks at once.
    pub waker: Arc<Waker>,
}

/// A request, checked against the model and ready to run.
pub struct Submission {
    /// Every input of the model, in its order.
    pub inputs: Vec<Tensor>,
    /// Rows along the first dimension, or 1 where the model isn't batched.
    pub rows: u32,
    /// Requests of one group may run in one batch; `None` runs alone.
    pub group: Option<u64>,
    /// 1 goes first.
    pub priority: u32,
    /// When a batch must have taken it.
    pub deadline: Option<Timestamp>,
    /// Who asks.
    pub asker: Asker,
}

/// The answer to one request.
#[derive(Debug)]
pub struct Answer {
    /// Every output of the model, in its order, cut to the request's own rows.
    pub outputs: Vec<Tensor>,
    /// The request's share of the energy of its batch; `None` when no power is known.
    pub energy: Option<Joules>,
}

/// A request was not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExecuteError {
    /// The queue is full.
    #[error(
        "Exceeds maximum queue size: {max_queue_size} requests wait for model '{model}' already; \
         send slower or try again later"
    )]
    QueueFull {
        /// Which model.
        model: ModelName,
        /// The limit.
        max_queue_size: u32,
    },
    /// No instance took the request before its deadline.
    #[error("Request timeout expired: model '{model}' took no batch with this request within {waited_ms} ms")]
    DeadlinePassed {
        /// Which model.
        model: ModelName,
        /// How long the request waited.
        waited_ms: u128,
    },
    /// The model is being unloaded and takes no more requests.
    #[error("model '{model}' is being unloaded; load it again or ask for another model")]
    Closing {
        /// Which model.
        model: ModelName,
    },
    /// The runtime can't run these inputs, which is the request's doing.
    #[error("model '{model}' refused the request: {detail}")]
    BadInput {
        /// Which model.
        model: ModelName,
        /// What the runtime said.
        detail: String,
    },
    /// The runtime failed.
    #[error("model '{model}' failed: {detail}")]
    Failed {
        /// Which model.
        model: ModelName,
        /// What the runtime said.
        detail: String,
    },
}

/// What waits in the queue for each request.
struct Job {
    inputs: Vec<Tensor>,
    /// The number of who asks.
    asker: usize,
    answer: oneshot::Sender<Result<Answer, ExecuteError>>,
}

/// Runs one version of one model.
pub struct Executor {
    shared: Arc<Shared>,
}

/// What the executor and its instance threads share.
struct Shared {
    name: ModelName,
    model: Arc<dyn LoadedModel>,
    limits: ServingLimits,
    knobs: Knobs,
    /// Held while knobs are turned, so that of two who turn at once neither is undone.
    turning: Mutex<()>,
    stats: ModelStats,
    around: Surroundings,
    closing: AtomicBool,
    inner: Mutex<Inner>,
    /// Something arrived in the queue, or an instance is to look again whether it should exist.
    work: Condvar,
    /// A knob was turned or the model closes: an instance that is idle on purpose looks again.
    turned: Condvar,
}

struct Inner {
    queue: BatchQueue<Job>,
    /// Whether the instance thread of that index lives.
    alive: Vec<bool>,
    /// When the queue was last searched for requests that nobody waits for.
    swept: Timestamp,
    /// The instance threads, some of which may have ended.
    threads: Vec<JoinHandle<()>>,
}

impl Shared {
    /// A panic in an instance thread must not take the model down: the data stays consistent, as
    /// nothing that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Instances there should be now. A closing model drains its queue even when it was parked.
    fn wanted_instances(&self) -> u32 {
        let instances = self.knobs.setting().instances;
        if self.is_closing() { instances.max(1) } else { instances }
    }
}

impl Executor {
    /// Starts the instances of `setting`. Making the first instance checks that the model can run.
    pub fn start(
        name: ModelName,
        model: Arc<dyn LoadedModel>,
        limits: ServingLimits,
        setting: ServingSetting,
        around: Surroundings,
    ) -> Result<Self, RuntimeError> {
        let first = model.instance()?;
        let shared = Arc::new(Shared {
            name,
            model,
            limits,
            knobs: Knobs::new(setting, around.clock.now()),
            turning: Mutex::default(),
            stats: ModelStats::default(),
            around,
            closing: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                queue: BatchQueue::default(),
                alive: Vec::new(),
                swept: Timestamp::ZERO,
                threads: Vec::new(),
            }),
            work: Condvar::new(),
            turned: Condvar::new(),
        });
        if setting.instances > 0 {
            instance::spawn(&shared, &mut shared.lock(), 0, Some(first));
        }
        let executor = Self { shared };
        executor.staff();
        Ok(executor)
    }

    /// Lets a request wait for an instance; its answer comes over the receiver.
    pub fn submit(
        &self,
        submission: Submission,
    ) -> Result<oneshot::Receiver<Result<Answer, ExecuteError>>, ExecuteError> {
        let shared = &self.shared;
        let (answer, receiver) = oneshot::channel();
        let now = shared.around.clock.now();
        let asker = shared.stats.number_of(&submission.asker);
        let waiting = Waiting {
            rows: submission.rows.max(1),
            priority: submission.priority,
            arrived: now,
            deadline: submission.deadline,
            group: submission.group,
            payload: Job { inputs: submission.inputs, asker, answer },
        };
        let max_queue_size = shared.knobs.setting().max_queue_size;
        shared.stats.arrived(waiting.rows);
        shared.around.waker.something_arrived();
        let mut inner = shared.lock();
        if shared.is_closing() {
            return Err(ExecuteError::Closing { model: shared.name.clone() });
        }
        let refused = match inner.queue.push(waiting, max_queue_size) {
            Ok(()) => None,
            // Requests that nobody waits for any more must not keep a live one out. In an overload each
            // search would be for nothing, so there are few.
            Err(waiting) if now - inner.swept >= SWEEP_INTERVAL => {
                instance::answer_dead(shared, &mut inner, now);
                inner.queue.push(waiting, max_queue_size).err()
            }
            Err(waiting) => Some(waiting),
        };
        if !inner.alive.contains(&true) {
            // The instances could not be made when they were last wanted: try again, or tell why not.
            self.spawn_missing(&mut inner);
        }
        drop(inner);
        if refused.is_some() {
            shared.stats.rejected();
            return Err(ExecuteError::QueueFull { model: shared.name.clone(), max_queue_size });
        }
        shared.work.notify_one();
        Ok(receiver)
    }

    /// Answers every waiting request whose deadline has passed. Called by the front end when the
    /// deadline of one of its requests passes.
    pub fn answer_expired(&self) {
        instance::answer_dead(&self.shared, &mut self.shared.lock(), self.shared.around.clock.now());
    }

    /// Turns serving knobs. Refused as a whole when any value is out of its range.
    pub fn turn(&self, change: &ServingChange) -> Result<ServingSetting, SettingError> {
        let _turning = self.shared.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let setting = change.apply_to(self.setting());
        self.shared.limits.check(&setting)?;
        self.shared.knobs.set(setting, self.shared.around.clock.now());
        self.staff();
        Ok(setting)
    }

    /// Where the knobs stand.
    pub fn setting(&self) -> ServingSetting {
        self.shared.knobs.setting()
    }

    /// When a knob was last turned.
    pub fn setting_since(&self) -> Timestamp {
        self.shared.knobs.since()
    }

    /// How far the knobs turn.
    pub fn limits(&self) -> ServingLimits {
        self.shared.limits
    }

    /// Counts and times so far.
    pub fn stats(&self) -> StatsSnapshot {
        let (queued_requests, queued_rows) = {
            let inner = self.shared.lock();
            (inner.queue.len() as u64, inner.queue.rows())
        };
        self.shared.stats.snapshot(self.shared.around.clock.now(), queued_requests, queued_rows)
    }

    /// The batches answered since the last call, one by one. From the first call on each is recorded, until
    /// [`stop_recording`](Self::stop_recording): who calls it takes them often, or memory grows.
    pub fn take_recorded(&self) -> Vec<RecordedBatch> {
        self.shared.stats.take_recorded()
    }

    /// Why a batch of several requests failed since batches are recorded, if one did: its requests were
    /// then run one by one, which who asked does not see.
    pub fn batch_failure(&self) -> Option<String> {
        self.shared.stats.batch_failure()
    }

    /// Records single batches no longer.
    pub fn stop_recording(&self) {
        self.shared.stats.stop_recording();
    }

    /// Takes no more requests, answers those that wait, and ends the instances. Blocks until done.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.staff();
        loop {
            let threads = std::mem::take(&mut self.shared.lock().threads);
            if threads.is_empty() {
                return;
            }
            // Joined, not only told of: a process that ends while a thread still frees its session in a
            // native library ends in a crash.
            for thread in threads {
                drop(thread.join());
            }
        }
    }

    /// Starts the instances that are missing, and wakes all so that those too many end.
    fn staff(&self) {
        self.spawn_missing(&mut self.shared.lock());
        self.shared.work.notify_all();
        self.shared.turned.notify_all();
    }

    fn spawn_missing(&self, inner: &mut Inner) {
        // A closing model needs instances only for what still waits.
        if self.shared.is_closing() && inner.queue.is_empty() {
            return;
        }
        for index in 0..self.shared.wanted_instances() {
            instance::spawn(&self.shared, inner, index, None);
        }
    }
}

impl Drop for Executor {
    /// The threads end by themselves once the queue is drained; nobody waits for them here.
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        self.staff();
    }
}
