//! The server's one thread budget: how many cores all compute threads together may occupy.
//!
//! A counting gate that serves in the order of arrival, so that a large request is never starved by
//! small ones. The limit can be turned while it is in use: this is the knob "cores in use" of a CPU,
//! and idle cores then reach their C-states. Knows nothing of which thread runs on which core.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Set in the state while anybody waits: newcomers then queue up behind, and releases wake the queue.
const WAITING: u64 = 1 << 63;

/// A fair, blocking gate over the cores of the machine, with a limit that can be turned live.
///
/// Where cores are free and nobody waits, taking and giving back is one atomic operation each.
#[derive(Debug)]
pub struct CoreBudget {
    total: u32,
    /// Cores in use (32 bits), limit (31 bits) and [`WAITING`], in one word so that they change as one.
    state: AtomicU64,
    queue: Mutex<Queue>,
}

/// Those who wait, in the order of their arrival.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<Condvar>>,
}

/// Cores held, given back when dropped.
#[derive(Debug)]
#[must_use = "the cores are given back when this is dropped"]
pub struct CoreGrant {
    budget: Arc<CoreBudget>,
    cores: u32,
}

impl CoreBudget {
    /// A budget of `total` cores, all of them allowed.
    ///
    /// # Panics
    /// If `total` is zero or more than 2^31 - 1: no machine has such a count.
    pub fn new(total: u32) -> Arc<Self> {
        assert!(total > 0 && total < 1 << 31, "a machine has at least one core and fewer than 2^31");
        Arc::new(Self { total, state: AtomicU64::new(pack(0, total)), queue: Mutex::default() })
    }

    /// Waits until `min(wanted, limit)` cores are free and everybody who came before is served, then
    /// takes them. The limit is the one in force when they are taken. Asking for none takes one.
    pub fn acquire(self: &Arc<Self>, wanted: u32) -> CoreGrant {
        let cores = self.try_take(wanted, false).unwrap_or_else(|| self.wait_for(wanted));
        CoreGrant { budget: Arc::clone(self), cores }
    }

    /// As [`acquire`](Self::acquire), or `None` where that would wait.
    pub fn try_acquire(self: &Arc<Self>, wanted: u32) -> Option<CoreGrant> {
        let cores = self.try_take(wanted, false)?;
        Some(CoreGrant { budget: Arc::clone(self), cores })
    }

    /// Most cores that may be in use together, from now on. A lower limit interrupts nothing: it takes
    /// effect as cores are given back. Returns the limit in force, which is within 1 and the total.
    pub fn set_limit(&self, cores: u32) -> u32 {
        let limit = cores.clamp(1, self.total);
        let update = |state| Some(pack(in_use(state), limit) | (state & WAITING));
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, update);
        self.wake_first_if_waiting(before.unwrap_or_else(|state| state));
        limit
    }

    /// Most cores that may be in use together.
    pub fn limit(&self) -> u32 {
        limit(self.state.load(Ordering::Acquire))
    }

    /// Cores in use. Above the limit only after it was lowered, until enough are given back.
    pub fn in_use(&self) -> u32 {
        in_use(self.state.load(Ordering::Acquire))
    }

    /// Cores of the machine: the highest limit there is.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Takes `min(wanted, limit)` cores if they are free and it is one's turn: nobody waits, or one
    /// `is_first` of those who do.
    fn try_take(&self, wanted: u32, is_first: bool) -> Option<u32> {
        let mut cores = 0;
        let take = |state| {
            cores = wanted.clamp(1, limit(state));
            let is_turn = is_first || state & WAITING == 0;
            let fits = in_use(state).saturating_add(cores) <= limit(state);
            (is_turn && fits).then(|| state + u64::from(cores))
        };
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok()?;
        Some(cores)
    }

    /// Queues up and waits for one's turn and for enough cores.
    ///
    /// No wake-up is lost: `WAITING` is set before the state is looked at, both under the lock. Whoever
    /// changes the state after that look sees `WAITING`, and must take the lock to wake, which it gets
    /// only once we wait.
    fn wait_for(&self, wanted: u32) -> u32 {
        let mut queue = self.lock();
        let turn = Arc::new(Condvar::new());
        queue.waiting.push_back(Arc::clone(&turn));
        self.state.fetch_or(WAITING, Ordering::AcqRel);
        loop {
            let is_first = queue.waiting.front().is_some_and(|first| Arc::ptr_eq(first, &turn));
            if is_first && let Some(cores) = self.try_take(wanted, true) {
                queue.waiting.pop_front();
                match queue.waiting.front() {
                    // The next in line may fit as well, and nobody else would tell it.
                    Some(next) => next.notify_one(),
                    None => _ = self.state.fetch_and(!WAITING, Ordering::AcqRel),
                }
                return cores;
            }
            queue = turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the first in line look again, if `state` says that there is one.
    fn wake_first_if_waiting(&self, state: u64) {
        if state & WAITING != 0
            && let Some(first) = self.lock().waiting.front()
        {
            first.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under this lock panics half-way, so a poisoned queue is still whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CoreGrant {
    /// How many cores are held.
    pub fn cores(&self) -> u32 {
        self.cores
    }
}

impl Drop for CoreGrant {
    fn drop(&mut self) {
        let before = self.budget.state.fetch_sub(u64::from(self.cores), Ordering::AcqRel);
        self.budget.wake_first_if_waiting(before);
    }
}

fn pack(in_use: u32, limit: u32) -> u64 {
    u64::from(limit) << 32 | u64::from(in_use)
}

fn in_use(state: u64) -> u32 {
    (state & u64::from(u32::MAX)) as u32
}

fn limit(state: u64) -> u32 {
    ((state & !WAITING) >> 32) as u32
}

#[cfg(test)]
mod tests;
