//! The dead man's switch: puts knobs back when the loop that turned them gives no sign of life.
//!
//! The loop beats; a thread of its own looks, while a knob is turned, whether it does. If not, it opens
//! the device anew and puts the knobs back, without help of the loop, which may hang in the driver. While
//! no knob is turned the thread sleeps until one is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use wattle_core::id::DeviceId;
use wattle_core::knob::DeviceKnob;

use crate::device::{Device, DeviceError, KnobState};

/// How often the watch looks within the time that a loop may be still. It counts the looks and not the
/// time, so that a process that was stopped as a whole is not taken for a loop that hangs.
const LOOKS: u32 = 10;

/// Opens the device anew, or says why it can't.
pub type Reopen = Box<dyn Fn() -> Result<Box<dyn Device>, String> + Send>;

/// What the one that turns knobs and the one that watches it share.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    beats: AtomicU64,
    is_over: AtomicBool,
    knobs: Mutex<Knobs>,
}

/// Which knobs are turned. The lock is never held while a device is asked for anything.
#[derive(Debug, Default)]
pub(crate) struct Knobs {
    /// How each knob stood before it was first turned.
    pub(crate) found: BTreeMap<DeviceKnob, KnobState>,
    /// Whether one may stand otherwise than found.
    pub(crate) are_turned: bool,
    /// The watch is putting them back just now.
    pub(crate) are_being_put_back: bool,
    /// How often the loop was found still.
    pub(crate) stalls: u64,
    /// The last beat before that.
    last_beat: u64,
}

impl Watched {
    pub(crate) fn knobs(&self) -> MutexGuard<'_, Knobs> {
        self.knobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sign of life.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often the loop stalled, for those who look at it from another thread.
#[derive(Debug, Clone)]
pub struct Stalls(pub(crate) Arc<Watched>);

impl Stalls {
    /// How often the loop gave no sign of life for too long while a knob was turned.
    pub fn total(&self) -> u64 {
        self.0.knobs().stalls
    }

    /// Whether it has given none since the last time that happened.
    pub fn is_stalled(&self) -> bool {
        let knobs = self.0.knobs();
        knobs.stalls > 0 && self.0.beats.load(Ordering::Relaxed) == knobs.last_beat
    }
}

/// The thread that watches. Ends when dropped.
#[derive(Debug)]
pub(crate) struct DeadMan {
    watched: Arc<Watched>,
    thread: Thread,
}

impl DeadMan {
    /// Watches that whoever turns knobs of `device` beats at least once in `timeout` while one is turned.
    pub(crate) fn watch(
        device: DeviceId,
        watched: Arc<Watched>,
        timeout: Duration,
        reopen: Reopen,
    ) -> std::io::Result<Self> {
        let watch = Watch { device, watched: Arc::clone(&watched), timeout, reopen };
        let thread = thread::Builder::new().name("dead-man".into()).spawn(move || watch.run())?;
        Ok(Self { watched, thread: thread.thread().clone() })
    }

    /// Called when a knob is turned: the thread may sleep.
    pub(crate) fn wake(&self) {
        self.thread.unpark();
    }
}

impl Drop for DeadMan {
    fn drop(&mut self) {
        self.watched.is_over.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

/// The last beat seen, and in how many looks.
#[derive(Default)]
struct Pulse {
    beat: u64,
    looks: u32,
}

impl Pulse {
    /// Whether the beat now seen is the same in too many looks, one after the other.
    fn is_gone(&mut self, beat: u64) -> bool {
        self.looks = if beat == self.beat { self.looks + 1 } else { 0 };
        self.beat = beat;
        self.looks >= LOOKS
    }
}

struct Watch {
    device: DeviceId,
    watched: Arc<Watched>,
    timeout: Duration,
    reopen: Reopen,
}

impl Watch {
    fn run(&self) {
        let mut pulse = Pulse::default();
        while !self.watched.is_over.load(Ordering::Relaxed) {
            if !self.watched.knobs().are_turned {
                thread::park();
                pulse = Pulse::default();
                continue;
            }
            thread::sleep(self.timeout / LOOKS);
            let beat = self.watched.beats.load(Ordering::Relaxed);
            if pulse.is_gone(beat) && !self.watched.is_over.load(Ordering::Relaxed) {
                self.put_back(beat);
                pulse = Pulse::default();
            }
        }
    }

    /// Puts every knob back. What fails is tried again after another timeout.
    fn put_back(&self, beat: u64) {
        let found = {
            let mut knobs = self.watched.knobs();
            if !knobs.are_turned {
                return; // put back by the loop itself at the last moment
            }
            if knobs.stalls == 0 || knobs.last_beat != beat {
                knobs.stalls += 1;
            }
            knobs.last_beat = beat;
            knobs.are_being_put_back = true;
            knobs.found.clone()
        };
        let device = &self.device;
        let timeout_seconds = self.timeout.as_secs_f64();
        tracing::error!(%device, timeout_seconds, "the control loop stalled with knobs turned; putting them back without it");
        let result = (self.reopen)().and_then(|mut opened| put_back_all(&mut *opened, &found));
        let mut knobs = self.watched.knobs();
        knobs.are_being_put_back = false;
        match result {
            Ok(()) => {
                knobs.are_turned = false;
                tracing::error!(%device, "the knobs stand as they were found; no cap is kept until the control loop goes on");
            }
            Err(error) => tracing::error!(
                %device, error,
                "a knob could not be put back without the control loop, which is tried again; to do it by \
                 hand, end this process and run `wattle devices --restore`"
            ),
        }
    }
}

/// Puts all of `found` back; tries all, tells the failures.
fn put_back_all(device: &mut dyn Device, found: &BTreeMap<DeviceKnob, KnobState>) -> Result<(), String> {
    let failed = |(knob, state): (&DeviceKnob, &KnobState)| device.put_back(*knob, state).err();
    let failures: Vec<DeviceError> = found.iter().filter_map(failed).collect();
    if failures.is_empty() {
        return Ok(());
    }
    Err(failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_is_gone_after_as_many_looks_without_a_beat_and_not_before() {
        let mut pulse = Pulse::default();
        for beat in 1..100 {
            assert!(!pulse.is_gone(beat));
        }
        for _ in 1..LOOKS {
            assert!(!pulse.is_gone(99));
        }
        assert!(!pulse.is_gone(100), "one beat is enough");
        for _ in 1..LOOKS {
            assert!(!pulse.is_gone(100));
        }
        assert!(pulse.is_gone(100));
    }
}
