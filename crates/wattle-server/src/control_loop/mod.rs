//! Drives a policy in real time: reads the device, asks the policy, turns the knobs, keeps the ledger.
//!
//! ```text
//! each fast tick:  read device -> sample -> ledger -> (due, violated or cap changed?) -> policy -> knobs
//! ```
//! One thread owns the device, so nothing here needs a lock but what others look at. While nobody asks
//! for anything it ticks once a second; the first request or a new cap wakes it.

mod back_off;
mod cap;
mod loop_thread;
mod signals;
mod source;
mod status;
mod waker;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use wattle_core::cap_account::CapAccount;
use wattle_core::carbon::CarbonAccounting;
use wattle_core::id::ModelName;
use wattle_core::ledger::PowerSplit;
use wattle_core::policy::Policy;
use wattle_core::profile::Profile;
use wattle_core::units::Watts;
use wattle_device::deadman::Stalls;
use wattle_device::device::DeviceInfo;
use wattle_device::held::Held;
use wattle_ledger::store::LedgerStore;

use crate::accounts::Classes;
use crate::clock::Clock;
use crate::meter::EnergyRate;
use crate::model_repository::ModelRepository;

pub use cap::{CapOrigin, CapOverride};
pub use source::{AskingStatus, STATES, SignalSource, SignalStatus};
pub use status::{
    AccountStatus, AttributionStatus, DecisionRecord, FamilyStatus, ModelStatus, PowerPoint, Status,
};
pub use waker::Waker;

/// How long a loop that is told to stop is waited for: a driver may hang for good.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Decisions kept for the admin API.
const KEPT_DECISIONS: usize = 256;
/// Power samples kept for the dashboard: five minutes of fast ticks.
const KEPT_POINTS: usize = 3000;

/// The longest the loop lets pass between two beats of a device it holds, if its fast tick is `tick` and
/// nothing hangs.
pub fn longest_tick(tick: Duration) -> Duration {
    tick.max(loop_thread::IDLE_TICK)
}

/// What the control loop is given.
pub struct ControlConfig {
    /// The device it reads and turns.
    pub device: Held,
    /// The policy it asks.
    pub policy: Box<dyn Policy>,
    /// The power cap in watts, when there is one.
    pub power_cap: Option<SignalSource>,
    /// Carbon intensity in gCO2e/kWh, when it is known where to have it from.
    pub carbon_intensity: Option<SignalSource>,
    /// How emissions are counted.
    pub accounting: CarbonAccounting,
    /// Length of a fast tick.
    pub tick: Duration,
    /// Where ledger entries go.
    pub ledger: Option<LedgerStore>,
    /// How energy is split between those who ask, and how far off the power source says it may be.
    pub split: (PowerSplit, Option<f64>),
}

/// What the control loop works on.
pub struct ControlSurroundings {
    /// The server's clock.
    pub clock: Clock,
    /// The models whose knobs are turned.
    pub repository: Arc<ModelRepository>,
    /// Energy of a core-second, kept up to date.
    pub energy_rate: Arc<EnergyRate>,
    /// Wakes the loop from its idle rhythm.
    pub waker: Arc<Waker>,
    /// Compute threads of the server.
    pub cores: u32,
    /// The classes that requests name.
    pub classes: Arc<Classes>,
}

/// The running control loop, for those who look at it or set its cap.
pub struct Control {
    shared: Arc<Shared>,
    device: DeviceInfo,
    stalls: Stalls,
    thread: Mutex<Option<LoopThread>>,
}

/// The thread of the loop, and what tells its end.
struct LoopThread {
    handle: JoinHandle<()>,
    /// Its other end is dropped when the thread ends.
    ended: mpsc::Receiver<()>,
}

struct Shared {
    stop: AtomicBool,
    is_running: AtomicBool,
    waker: Arc<Waker>,
    cap_override: Mutex<Option<CapOverride>>,
    next_policy: Mutex<Option<Box<dyn Policy>>>,
    status: ArcSwap<Status>,
    refined: ArcSwapOption<BTreeMap<ModelName, Profile>>,
    window: Mutex<CapAccount>,
    points: Mutex<VecDeque<PowerPoint>>,
    decisions: Mutex<VecDeque<DecisionRecord>>,
    reasons: Mutex<BTreeMap<&'static str, u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// Starts the loop on a thread of its own.
    pub fn start(config: ControlConfig, around: ControlSurroundings) -> std::io::Result<Self> {
        let (device, stalls) = (config.device.info().clone(), config.device.stalls());
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            is_running: AtomicBool::new(true),
            waker: Arc::clone(&around.waker),
            cap_override: Mutex::default(),
            next_policy: Mutex::default(),
            status: ArcSwap::from_pointee(Status::before_first_tick(config.policy.name())),
            refined: ArcSwapOption::empty(),
            window: Mutex::default(),
            points: Mutex::default(),
            decisions: Mutex::default(),
            reasons: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        let (until_ended, ended) = mpsc::channel();
        let handle = thread::Builder::new().name("control".into()).spawn(move || {
            let _until_ended: mpsc::Sender<()> = until_ended;
            let run = || loop_thread::run(config, &around, &of_thread);
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                // The device was restored as it was dropped. The models go on with their knobs as they stand.
                tracing::error!("the control loop panicked, no cap is kept any more; restart the server");
                of_thread.status.store(Arc::new(Status::before_first_tick("none: the control loop failed")));
                of_thread.is_running.store(false, Ordering::Release);
            }
        })?;
        Ok(Self { shared, device, stalls, thread: Mutex::new(Some(LoopThread { handle, ended })) })
    }

    /// The device, with how its power is known by now.
    pub fn device(&self) -> DeviceInfo {
        let mut device = self.device.clone();
        if let Some(known) = &self.status().power_provenance {
            device.power_provenance.clone_from(known);
        }
        device
    }

    /// Sets the power cap by hand, in place of the configured one; `Lifted` means no cap at all. Takes
    /// effect within a tick.
    pub fn set_cap(&self, cap: CapOverride) {
        *lock(&self.shared.cap_override) = Some(cap);
        self.shared.waker.wake();
    }

    /// Goes back to the configured cap.
    pub fn clear_cap(&self) {
        *lock(&self.shared.cap_override) = None;
        self.shared.waker.wake();
    }

    /// Puts another policy in place from the next tick on. It starts with no memory.
    pub fn set_policy(&self, policy: Box<dyn Policy>) {
        *lock(&self.shared.next_policy) = Some(policy);
        self.shared.waker.wake();
    }

    /// Whether the loop runs. It ends before [`stop`](Self::stop) only by a defect of its own, and stalls
    /// where a driver hangs.
    pub fn is_running(&self) -> bool {
        self.shared.is_running.load(Ordering::Acquire) && !self.stalls.is_stalled()
    }

    /// How often the loop stalled and had the device's knobs put back without it.
    pub fn stalls(&self) -> &Stalls {
        &self.stalls
    }

    /// How things stand, as of the last tick.
    pub fn status(&self) -> Arc<Status> {
        self.shared.status.load_full()
    }

    /// The profiles that the policy plans with, refined by what was seen; `None` where it has none or they
    /// are not refined.
    pub fn refined_profiles(&self) -> Option<Arc<BTreeMap<ModelName, Profile>>> {
        self.shared.refined.load_full()
    }

    /// The last decisions that turned something or whose reason was new, newest first, at most `limit`.
    pub fn decisions(&self, limit: usize) -> Vec<DecisionRecord> {
        lock(&self.shared.decisions).iter().rev().take(limit).cloned().collect()
    }

    /// How often each reason was given, by name.
    pub fn reasons(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.shared.reasons).clone()
    }

    /// The last power samples with the cap of their time, oldest first.
    pub fn power_points(&self) -> Vec<PowerPoint> {
        lock(&self.shared.points).iter().copied().collect()
    }

    /// Power and cap since the last [`begin_window`](Self::begin_window), or since the start.
    pub fn window(&self) -> CapAccount {
        lock(&self.shared.window).clone()
    }

    /// Starts counting anew for [`window`](Self::window).
    pub fn begin_window(&self) {
        *lock(&self.shared.window) = CapAccount::default();
    }

    /// Stops the loop: books the last entry, restores every knob of the device, closes the ledger.
    /// Blocks until that is done, or until it is plain that the driver hangs; calling it twice does
    /// nothing more.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.waker.wake();
        // Held until the end, so that a second caller waits as well.
        let mut thread = lock(&self.thread);
        let Some(thread) = thread.take() else { return };
        if thread.ended.recv_timeout(STOP_LIMIT) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(
                limit_seconds = STOP_LIMIT.as_secs(),
                "the control loop hangs, probably in the device's driver, and is left behind; what it had turned is \
                 put back by its watch, else by the next start or `wattle devices --restore`"
            );
            return;
        }
        // A panic was caught and told of in the thread.
        drop(thread.handle.join());
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A cap by hand, as the admin API takes it.
impl CapOverride {
    /// A cap of so many watts, or why not.
    pub fn of_watts(watts: f64) -> Result<Self, String> {
        if watts.is_finite() && watts >= 0.0 {
            return Ok(Self::Watts(Watts::new(watts)));
        }
        Err(format!("power_cap_watts is {watts}, expected 0 or more, or null for no cap"))
    }
}
