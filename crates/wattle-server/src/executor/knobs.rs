//! The serving knobs of one model, turned while it serves.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use wattle_core::knob::ServingSetting;
use wattle_core::time::Timestamp;

/// Each knob an atomic of its own: read with each batch, written by the control loop or the admin API.
/// A batch formed while several are turned at once may see some old and some new, which is harmless:
/// each combination is within the limits.
pub struct Knobs {
    batch_size: AtomicU32,
    instances: AtomicU32,
    cores_per_instance: AtomicU32,
    duty_cycle_bits: AtomicU64,
    max_queue_delay_nanos: AtomicU64,
    max_queue_size: AtomicU32,
    since_nanos: AtomicU64,
}

impl Knobs {
    /// Knobs that stand at `setting` since `now`.
    pub fn new(setting: ServingSetting, now: Timestamp) -> Self {
        let knobs = Self {
            batch_size: AtomicU32::default(),
            instances: AtomicU32::default(),
            cores_per_instance: AtomicU32::default(),
            duty_cycle_bits: AtomicU64::default(),
            max_queue_delay_nanos: AtomicU64::default(),
            max_queue_size: AtomicU32::default(),
            since_nanos: AtomicU64::default(),
        };
        knobs.set(setting, now);
        knobs
    }

    /// Turns every knob to `setting`, which the caller has checked.
    pub fn set(&self, setting: ServingSetting, now: Timestamp) {
        self.batch_size.store(setting.batch_size, Ordering::Relaxed);
        self.instances.store(setting.instances, Ordering::Relaxed);
        self.cores_per_instance.store(setting.cores_per_instance, Ordering::Relaxed);
        self.duty_cycle_bits.store(setting.duty_cycle.to_bits(), Ordering::Relaxed);
        let delay = u64::try_from(setting.max_queue_delay.as_nanos()).unwrap_or(u64::MAX);
        self.max_queue_delay_nanos.store(delay, Ordering::Relaxed);
        self.max_queue_size.store(setting.max_queue_size, Ordering::Relaxed);
        self.since_nanos.store(now.as_nanos(), Ordering::Release);
    }

    /// Where the knobs stand.
    pub fn setting(&self) -> ServingSetting {
        ServingSetting {
            batch_size: self.batch_size.load(Ordering::Relaxed),
            instances: self.instances.load(Ordering::Relaxed),
            cores_per_instance: self.cores_per_instance.load(Ordering::Relaxed),
            duty_cycle: f64::from_bits(self.duty_cycle_bits.load(Ordering::Relaxed)),
            max_queue_delay: Duration::from_nanos(self.max_queue_delay_nanos.load(Ordering::Relaxed)),
            max_queue_size: self.max_queue_size.load(Ordering::Relaxed),
        }
    }

    /// When a knob was last turned.
    pub fn since(&self) -> Timestamp {
        Timestamp::from_nanos(self.since_nanos.load(Ordering::Acquire))
    }
}
