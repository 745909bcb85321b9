//! What becomes of the device's knobs when the control loop hangs, panics, or can't turn them.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wattle_core::knob::{DeviceKnob, DeviceSetting, KnobRange};
use wattle_core::observation::Observation;
use wattle_core::policy::{Decision, Policy};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::time::Timestamp;
use wattle_core::units::Megahertz;
use wattle_device::cpu::CoreBudget;
use wattle_device::device::{Device, DeviceError, DeviceInfo, Inspection, KnobState, Reading};
use wattle_device::held::Held;
use wattle_runtime::rten::RtenRuntime;
use wattle_server::clock::Clock;
use wattle_server::metrics;
use wattle_server::serve::{ServeConfig, Server};

/// The clock as it is found, in megahertz.
const AS_FOUND: u64 = 2400;
/// The clock that the policy asks for.
const ASKED: u64 = 800;

/// A GPU that never was, whose driver hangs or refuses when told to.
#[derive(Default)]
struct Hardware {
    clock: AtomicU64,
    hangs: AtomicBool,
    refuses: AtomicBool,
    times_asked: AtomicU64,
}

impl Hardware {
    fn new() -> Arc<Self> {
        Arc::new(Self { clock: AtomicU64::new(AS_FOUND), ..Self::default() })
    }

    fn clock(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }
}

struct Gpu(DeviceInfo, Arc<Hardware>);

fn open(hardware: &Arc<Hardware>) -> Box<dyn Device> {
    let knob = DeviceKnob::CoreClock;
    let info = DeviceInfo {
        id: "gpu:7".into(),
        description: "made up".into(),
        knobs: vec![KnobRange { knob, min: 100.0, max: AS_FOUND as f64, steps: Vec::new() }],
        power_provenance: Provenance::new(Basis::Assumed, "the test"),
        idle_power: None,
        full_power: None,
    };
    Box::new(Gpu(info, Arc::clone(hardware)))
}

impl Device for Gpu {
    fn info(&self) -> &DeviceInfo {
        &self.0
    }

    fn read(&mut self, at: Timestamp) -> Result<Reading, DeviceError> {
        while self.1.hangs.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Reading { at, energy: None, power: None, own_share: None, utilization: None })
    }

    fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
        self.1.times_asked.fetch_add(1, Ordering::Relaxed);
        if self.1.refuses.load(Ordering::Relaxed) {
            let (device, action) = (self.0.id.clone(), "set the clock".to_owned());
            return Err(DeviceError::Driver { device, action, said: "no".into(), hint: "" });
        }
        self.1.clock.store(setting.value() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn knob_state(&mut self, _: DeviceKnob) -> Result<KnobState, DeviceError> {
        Ok(KnobState([("clock".to_owned(), self.1.clock().to_string())].into()))
    }

    fn put_back(&mut self, _: DeviceKnob, state: &KnobState) -> Result<(), DeviceError> {
        self.1.clock.store(state.0["clock"].parse().unwrap(), Ordering::Relaxed);
        Ok(())
    }

    fn inspect(&mut self, _: Timestamp) -> Inspection {
        Inspection::default()
    }
}

/// Asks for a clock once, and again when told that it does not stand. Panics when told to.
#[derive(Default)]
struct AsksForTheClock {
    has_asked: bool,
    /// Whether settings failed, at each ask.
    seen: Arc<Mutex<Vec<bool>>>,
    panics: Arc<AtomicBool>,
}

impl Policy for AsksForTheClock {
    fn name(&self) -> &'static str {
        "asks-for-the-clock"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        assert!(!self.panics.load(Ordering::Relaxed), "told to panic");
        let device = &seen.devices[0];
        self.seen.lock().unwrap().push(device.settings_failed);
        let mut decision = Decision::nothing(Duration::from_millis(50));
        if !std::mem::replace(&mut self.has_asked, true) || device.settings_failed {
            let setting = DeviceSetting::CoreClock(Megahertz::new(ASKED as f64));
            decision.devices.insert(device.id.clone(), vec![setting]);
        }
        decision
    }
}

async fn start(device: Held, policy: AsksForTheClock) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let server = Server::start(ServeConfig {
        clock: Clock::start(),
        models: folder.path().to_owned(),
        host: localhost,
        http_port: 0,
        grpc_port: 0,
        admin_host: localhost,
        metrics_port: 0,
        server_name: "wattle".into(),
        max_request_bytes: 1 << 20,
        runtime: Arc::new(RtenRuntime),
        budget: CoreBudget::new(1),
        device,
        policy: Box::new(policy),
        power_cap: None,
        carbon_intensity: None,
        accounting: Default::default(),
        tick: Duration::from_millis(20),
        ledger: None,
        accounts: Default::default(),
    })
    .await
    .unwrap();
    (server, folder)
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_driver_has_its_knobs_put_back_and_the_policy_is_asked_anew_when_it_goes_on() {
    let hardware = Hardware::new();
    let mut device = Held::new(open(&hardware));
    let again = Arc::clone(&hardware);
    device.watch(Duration::from_secs(3), Box::new(move || Ok(open(&again)))).unwrap();
    let policy = AsksForTheClock::default();
    let seen = Arc::clone(&policy.seen);
    let (server, _folder) = start(device, policy).await;
    let control = Arc::clone(server.control());
    until("the clock is turned", || hardware.clock() == ASKED).await;
    assert!(control.is_running());

    hardware.hangs.store(true, Ordering::Relaxed);
    until("the clock is put back", || hardware.clock() == AS_FOUND).await;
    until("the stall is told", || !control.is_running() && control.stalls().total() == 1).await;
    let text = metrics::render(server.repository(), &control);
    assert!(text.contains("\nwattle_control_stalls_total 1\n"), "{text}");
    assert!(text.contains("\nwattle_control_up 0\n"), "{text}");
    let asked = seen.lock().unwrap().len();

    hardware.hangs.store(false, Ordering::Relaxed);
    until("the clock is turned again", || hardware.clock() == ASKED).await;
    until("the policy is told that its setting is void", || {
        seen.lock().unwrap().iter().skip(asked).any(|told| *told)
    })
    .await;
    until("the loop runs again", || control.is_running()).await;
    server.stop().await;
    assert_eq!(hardware.clock(), AS_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_the_loop_puts_the_knobs_back() {
    let hardware = Hardware::new();
    let policy = AsksForTheClock::default();
    let panics = Arc::clone(&policy.panics);
    let (server, _folder) = start(Held::new(open(&hardware)), policy).await;
    until("the clock is turned", || hardware.clock() == ASKED).await;
    panics.store(true, Ordering::Relaxed);
    until("the loop has ended", || !server.control().is_running()).await;
    assert_eq!(hardware.clock(), AS_FOUND);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_knob_that_fails_is_told_once_and_not_asked_for_at_each_decision() {
    let hardware = Hardware::new();
    hardware.refuses.store(true, Ordering::Relaxed);
    let policy = AsksForTheClock::default();
    let seen = Arc::clone(&policy.seen);
    let (server, _folder) = start(Held::new(open(&hardware)), policy).await;
    until("it was asked for twice", || hardware.times_asked.load(Ordering::Relaxed) >= 2).await;
    let control = server.control();
    until("both are counted", || control.status().apply_errors >= 2).await;
    let failed = seen.lock().unwrap().iter().filter(|failed| **failed).count();
    assert!(failed > 2, "the policy must know of it all the time; it was told {failed} times");
    let told: Vec<_> = control.decisions(100).into_iter().flat_map(|decision| decision.errors).collect();
    assert_eq!(told, ["gpu:7: failed to set the clock: no"]);

    hardware.refuses.store(false, Ordering::Relaxed);
    until("it is turned once it works again", || hardware.clock() == ASKED).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_hangs_for_good_does_not_keep_the_server_from_stopping() {
    let hardware = Hardware::new();
    let mut device = Held::new(open(&hardware));
    let again = Arc::clone(&hardware);
    device.watch(Duration::from_secs(3), Box::new(move || Ok(open(&again)))).unwrap();
    let (server, _folder) = start(device, AsksForTheClock::default()).await;
    until("the clock is turned", || hardware.clock() == ASKED).await;
    hardware.hangs.store(true, Ordering::Relaxed);
    until("the clock is put back", || hardware.clock() == AS_FOUND).await;
    tokio::time::timeout(Duration::from_secs(60), server.stop()).await.expect("the server stops");
    assert_eq!(hardware.clock(), AS_FOUND);
    hardware.hangs.store(false, Ordering::Relaxed);
}
