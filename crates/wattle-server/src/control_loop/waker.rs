//! Wakes the control loop from its idle rhythm.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// Lets one thread sleep until its time has come or somebody has something for it.
#[derive(Debug, Default)]
pub struct Waker {
    /// Whether the sleeper ticks slowly and wants to know of the first request.
    idle: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Waker {
    /// Called for each request: one relaxed load unless the loop is idle.
    pub fn something_arrived(&self) {
        if self.idle.load(Ordering::Relaxed) && self.idle.swap(false, Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Ends the sleep, or the next one if nobody sleeps now.
    pub fn wake(&self) {
        if let Some(thread) = self.sleeper.get() {
            thread.unpark();
        }
    }

    /// Sleeps for `duration` at most. `idle`: a request is to end it.
    pub(super) fn sleep(&self, duration: Duration, idle: bool) {
        self.sleeper.get_or_init(thread::current);
        self.idle.store(idle, Ordering::Relaxed);
        thread::park_timeout(duration);
        self.idle.store(false, Ordering::Relaxed);
    }
}
