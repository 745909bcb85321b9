//! A signal that is kept up to date: a thread of its own asks the source, others read without a lock.
//!
//! The thread sleeps until the source is due again. Nothing is asked while nothing is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use wattle_core::signal::series::StalenessRule;
use wattle_core::signal::{SignalHead, SignalReading};
use wattle_core::time::UnixTime;

use crate::outlook::{Ahead, AheadPoint, ahead, told};
use crate::poller::{Poller, Snapshot};

/// So long is waited for a signal's thread to end.
const STOP_LIMIT: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const STOP_POLL: Duration = Duration::from_millis(5);

/// A signal that a thread keeps up to date. Dropping it ends the thread after the ask it may be in.
#[derive(Debug)]
pub struct LiveSignal {
    name: String,
    head: Arc<SignalHead>,
    rule: StalenessRule,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    known: ArcSwap<Snapshot>,
}

/// What time it is by this machine's clock.
pub fn wall_clock() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_secs(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

impl LiveSignal {
    /// Starts the thread, which goes by `clock`.
    ///
    /// # Errors
    /// What the system said, where it gives no thread.
    pub fn start(mut poller: Poller, clock: impl Fn() -> UnixTime + Send + 'static) -> std::io::Result<Self> {
        let (name, rule) = (poller.options().name.clone(), poller.options().rule);
        let head = Arc::clone(poller.head());
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            known: ArcSwap::from_pointee(poller.known().clone()),
        });
        let of_thread = Arc::clone(&shared);
        let handle = thread::Builder::new().name(format!("signal {name}")).spawn(move || {
            let publish = |poller: &Poller| of_thread.known.store(Arc::new(poller.known().clone()));
            poller.plan(clock());
            publish(&poller);
            let first = poller.known().next_ask.saturating_since(clock());
            let mut due = Instant::now() + first;
            while !of_thread.stop.load(Ordering::Acquire) {
                let left = due.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    thread::park_timeout(left);
                    continue;
                }
                let wait = poller.ask(clock());
                due = Instant::now() + wait;
                publish(&poller);
                poller.plan(clock());
                publish(&poller);
            }
            poller.write_cache(clock());
        })?;
        Ok(Self { name, head, rule, shared, thread: Some(handle) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is of, and from whom.
    pub fn head(&self) -> &Arc<SignalHead> {
        &self.head
    }

    /// What is known of it. Takes no lock.
    pub fn known(&self) -> Arc<Snapshot> {
        self.shared.known.load_full()
    }

    /// What it says at `now`; `None`: unknown. Takes no lock.
    pub fn reading(&self, now: UnixTime) -> Option<SignalReading> {
        self.shared.known.load().series.reading(now, &self.rule)
    }

    /// What its source itself says of the time after `now`, up to `horizon` later. Takes no lock.
    pub fn told_ahead(&self, now: UnixTime, horizon: Duration) -> Vec<AheadPoint> {
        told(&self.shared.known.load(), now, horizon, self.rule.give_up_after)
    }

    /// What it is expected to be after `now`, up to `horizon` later, and by whom. Takes no lock.
    pub fn ahead(&self, now: UnixTime, horizon: Duration) -> Ahead {
        ahead(&self.shared.known.load(), now, horizon, self.rule.give_up_after)
    }
}

impl Drop for LiveSignal {
    /// Waits a moment for the cache to be written, but not for a request that is under way.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        let until = Instant::now() + STOP_LIMIT;
        while !thread.is_finished() && Instant::now() < until {
            thread::sleep(STOP_POLL);
        }
        if thread.is_finished() && thread.join().is_err() {
            tracing::error!(signal = self.name, "the thread of a signal panicked; this is a bug in wattle");
        }
    }
}
