//! Knobs are put back by whoever is left to do it: their holder, its successor, or the watch.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tempfile::TempDir;
use wattle_core::knob::KnobRange;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::units::Megahertz;

use super::*;
use crate::recover::{KnobPutBack, Recovered, Recovery, recover};

const CLOCK: DeviceKnob = DeviceKnob::CoreClock;
const UNITS: DeviceKnob = DeviceKnob::ComputeUnits;
/// As it stands before anyone turns it.
const AS_FOUND: f64 = 2400.0;

/// What hardware remembers: it is the same however often it is opened.
#[derive(Default)]
struct Hardware {
    clock: Mutex<f64>,
    /// Fails every put back.
    is_stuck: Mutex<bool>,
    /// How often a knob was put back.
    put_backs: AtomicU32,
}

impl Hardware {
    fn new() -> Arc<Self> {
        Arc::new(Self { clock: Mutex::new(AS_FOUND), ..Self::default() })
    }

    fn clock(&self) -> f64 {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A driver that can be made to hang, in `apply` before it turns the clock, or in `read`.
struct Driver {
    info: DeviceInfo,
    hardware: Arc<Hardware>,
    hangs_in_apply: Option<Receiver<()>>,
    hangs_in_read: Option<Receiver<()>>,
}

fn driver(hardware: &Arc<Hardware>) -> Driver {
    let range = |knob, min, max| KnobRange { knob, min, max, steps: Vec::new() };
    let info = DeviceInfo {
        id: "gpu:7".into(),
        description: "made up".into(),
        knobs: vec![range(CLOCK, 100.0, AS_FOUND), range(UNITS, 1.0, 4.0)],
        power_provenance: Provenance::new(Basis::Assumed, "the test"),
        idle_power: None,
        full_power: None,
    };
    Driver { info, hardware: Arc::clone(hardware), hangs_in_apply: None, hangs_in_read: None }
}

fn open(hardware: &Arc<Hardware>) -> Box<dyn Device> {
    Box::new(driver(hardware))
}

impl Driver {
    fn failed(&self, said: &str) -> DeviceError {
        let (device, action) = (self.info.id.clone(), "turn a knob".to_owned());
        DeviceError::Driver { device, action, said: said.to_owned(), hint: "; try a hammer" }
    }
}

impl Device for Driver {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn read(&mut self, at: Timestamp) -> Result<Reading, DeviceError> {
        if let Some(hang) = self.hangs_in_read.take() {
            hang.recv().unwrap();
        }
        Ok(Reading { at, energy: None, power: None, own_share: None, utilization: None })
    }

    fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
        if let Some(hang) = &self.hangs_in_apply {
            hang.recv().unwrap();
        }
        if setting.knob() == CLOCK {
            *self.hardware.clock.lock().unwrap() = setting.value();
        }
        Ok(())
    }

    fn knob_state(&mut self, knob: DeviceKnob) -> Result<KnobState, DeviceError> {
        let clock = (knob == CLOCK).then(|| ("clock".to_owned(), self.hardware.clock().to_string()));
        Ok(KnobState(clock.into_iter().collect()))
    }

    fn put_back(&mut self, _: DeviceKnob, state: &KnobState) -> Result<(), DeviceError> {
        if *self.hardware.is_stuck.lock().unwrap() {
            return Err(self.failed("it is stuck"));
        }
        if let Some(clock) = state.0.get("clock") {
            *self.hardware.clock.lock().unwrap() = clock.parse().unwrap();
        }
        self.hardware.put_backs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn inspect(&mut self, _: Timestamp) -> Inspection {
        Inspection::default()
    }
}

fn clock(mhz: f64) -> DeviceSetting {
    DeviceSetting::CoreClock(Megahertz::new(mhz))
}

fn leases() -> (TempDir, LeaseFolder) {
    let temp = tempfile::tempdir().unwrap();
    let folder = LeaseFolder::open(temp.path().join("leases")).unwrap();
    (temp, folder)
}

/// Ends a holder as SIGKILL does: nothing is put back, and the kernel lets go of the lock.
fn kill(mut held: Held) {
    drop(held.hold.take());
    std::mem::forget(held);
}

/// The one lease file there is, with what became of it.
fn recover_one(folder: &LeaseFolder, hardware: &Arc<Hardware>) -> Recovery {
    let mut recoveries = recover(folder, |id| {
        assert_eq!(id.as_str(), "gpu:7");
        Ok(open(hardware))
    })
    .unwrap();
    assert_eq!(recoveries.len(), 1, "{recoveries:?}");
    recoveries.remove(0)
}

#[test]
fn the_lease_stands_before_the_knob_is_turned_and_is_gone_once_it_is_put_back() {
    let (_temp, folder) = leases();
    let hardware = Hardware::new();
    let mut held = Held::with_lease(open(&hardware), &folder).unwrap();
    let files = || folder.files().unwrap();
    assert!(files().is_empty());
    held.apply(DeviceSetting::ComputeUnits(2)).unwrap();
    assert!(files().is_empty(), "a knob that ends with the process needs no lease");
    held.apply(clock(800.0)).unwrap();
    held.apply(clock(600.0)).unwrap();
    let text = fs::read_to_string(&files()[0]).unwrap();
    assert!(text.contains("[knobs.core_clock]\nclock = \"2400\"\n"), "{text}");
    assert!(!text.contains("compute_units"), "{text}");
    held.restore().unwrap();
    assert_eq!((hardware.clock(), files().len()), (AS_FOUND, 0));

    held.apply(clock(700.0)).unwrap();
    assert_eq!(files().len(), 1);
    drop(held);
    assert_eq!((hardware.clock(), files().len()), (AS_FOUND, 0));
}

#[test]
fn a_knob_whose_state_can_not_be_recorded_is_not_turned() {
    let (temp, folder) = leases();
    let hardware = Hardware::new();
    let mut held = Held::with_lease(open(&hardware), &folder).unwrap();
    fs::remove_dir_all(temp.path().join("leases")).unwrap();
    let error = held.apply(clock(800.0)).unwrap_err().to_string();
    assert!(error.starts_with("CoreClock was not turned: failed to write "), "{error}");
    assert_eq!(hardware.clock(), AS_FOUND);
}

#[test]
fn knobs_of_a_killed_holder_are_put_back_by_the_next_one() {
    let (_temp, folder) = leases();
    let hardware = Hardware::new();
    let mut held = Held::with_lease(open(&hardware), &folder).unwrap();
    held.apply(clock(800.0)).unwrap();
    kill(held);
    assert_eq!(hardware.clock(), 800.0);

    let refused = Held::with_lease(open(&hardware), &folder).unwrap_err();
    assert!(matches!(refused, LeaseError::Left { .. }), "{refused}");
    let state = |clock: &str| KnobState([("clock".to_owned(), clock.to_owned())].into());
    let expected = Recovered::PutBack {
        device: "gpu:7".into(),
        pid: std::process::id(),
        knobs: vec![KnobPutBack { knob: CLOCK, from: state("800"), to: state("2400") }],
    };
    assert_eq!(recover_one(&folder, &hardware).outcome.unwrap(), expected);
    assert_eq!(hardware.clock(), AS_FOUND);
    assert!(recover(&folder, |_| unreachable!()).unwrap().is_empty());
    Held::with_lease(open(&hardware), &folder).unwrap();
}

#[test]
fn knobs_of_a_holder_that_lives_are_left_to_it() {
    let (_temp, folder) = leases();
    let hardware = Hardware::new();
    let mut held = Held::with_lease(open(&hardware), &folder).unwrap();
    held.apply(clock(800.0)).unwrap();
    let pid = std::process::id();
    let refused = Held::with_lease(open(&hardware), &folder).unwrap_err().to_string();
    assert!(refused.starts_with(&format!("gpu:7 is held by process {pid}, ")), "{refused}");
    let outcome = recover_one(&folder, &hardware).outcome.unwrap();
    assert_eq!(outcome, Recovered::InUse { device: "gpu:7".into(), pid });
    assert_eq!(hardware.clock(), 800.0);
}

#[test]
fn a_lease_of_an_earlier_boot_is_void() {
    let (_temp, folder) = leases();
    let hardware = Hardware::new();
    let mut held = Held::with_lease(open(&hardware), &folder).unwrap();
    held.apply(clock(800.0)).unwrap();
    let file = folder.files().unwrap().remove(0);
    let text = fs::read_to_string(&file).unwrap();
    kill(held);
    let boot = |line: &&str| line.starts_with("boot_id");
    let Some(line) = text.lines().find(boot) else { return }; // a kernel that names no boots
    fs::write(&file, text.replace(line, "boot_id = \"another\"")).unwrap();
    let outcome = recover_one(&folder, &hardware).outcome.unwrap();
    assert_eq!(outcome, Recovered::OfEarlierBoot { device: "gpu:7".into() });
    assert_eq!((hardware.clock(), file.exists()), (800.0, false));
}

#[test]
fn what_can_not_be_put_back_keeps_its_lease_and_says_what_to_do() {
    let (_temp, folder) = leases();
    let hardware = Hardware::new();
    let mut held = Held::with_lease(open(&hardware), &folder).unwrap();
    held.apply(clock(800.0)).unwrap();
    kill(held);

    let gone = recover(&folder, |_| Err("the library is gone; install it".into())).unwrap().remove(0);
    let error = gone.outcome.unwrap_err().to_string();
    assert!(error.starts_with("gpu:7: the library is gone; install it; the lease "), "{error}");
    *hardware.is_stuck.lock().unwrap() = true;
    let error = recover_one(&folder, &hardware).outcome.unwrap_err().to_string();
    assert!(
        error
            .contains("core_clock was not put back: gpu:7: failed to turn a knob: it is stuck; try a hammer")
    );
    assert!(error.ends_with("once that is mended, run `wattle devices --restore`"), "{error}");

    *hardware.is_stuck.lock().unwrap() = false;
    assert!(matches!(recover_one(&folder, &hardware).outcome, Ok(Recovered::PutBack { .. })));
    assert_eq!(hardware.clock(), AS_FOUND);
}

#[test]
fn a_corrupt_lease_is_told_and_stays() {
    let (_temp, folder) = leases();
    let hardware = Hardware::new();
    let file = folder.path().join("gpu:7.lease.toml");
    fs::write(&file, "wattle_lease = 1\nknobs = ").unwrap();
    let error = recover(&folder, |_| unreachable!()).unwrap().remove(0).outcome.unwrap_err();
    assert!(matches!(error, LeaseError::Corrupt { .. }), "{error}");
    assert!(file.exists());
    let refused = Held::with_lease(open(&hardware), &folder).unwrap_err();
    assert!(matches!(refused, LeaseError::Left { .. }), "{refused}");
}

/// Short enough to wait for, and longer than a test is kept waiting between two steps.
const TIMEOUT: Duration = Duration::from_secs(1);

fn watched(mut device: Driver, hang: fn(&mut Driver, Receiver<()>)) -> (Held, Sender<()>) {
    let (let_go, hanging) = channel();
    hang(&mut device, hanging);
    let hardware = Arc::clone(&device.hardware);
    let mut held = Held::new(Box::new(device));
    held.watch(TIMEOUT, Box::new(move || Ok(open(&hardware)))).unwrap();
    (held, let_go)
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_loop_that_hangs_reading_has_its_knobs_put_back_and_learns_of_it() {
    let hardware = Hardware::new();
    let (mut held, let_go) = watched(driver(&hardware), |device, hang| device.hangs_in_read = Some(hang));
    held.apply(clock(800.0)).unwrap();
    let stalls = held.stalls();
    let hanging = std::thread::spawn(move || {
        held.read(Timestamp::ZERO).unwrap();
        held
    });
    until("the clock is put back", || hardware.clock() == AS_FOUND);
    until("the stall shows", || stalls.total() == 1 && stalls.is_stalled());
    let_go.send(()).unwrap();
    let mut held = hanging.join().unwrap();
    until("the watch has done", || !held.watched.knobs().are_being_put_back);

    held.beat();
    assert!(!stalls.is_stalled());
    assert_eq!((held.take_stall(), held.take_stall()), (true, false));
    held.apply(clock(900.0)).unwrap();
    assert_eq!(hardware.clock(), 900.0);
    held.restore().unwrap();
    assert_eq!(hardware.clock(), AS_FOUND);
}

#[test]
fn a_setting_that_lands_after_the_watch_has_put_the_knob_back_does_not_stay() {
    let hardware = Hardware::new();
    let (mut held, let_go) = watched(driver(&hardware), |device, hang| device.hangs_in_apply = Some(hang));
    let stalls = held.stalls();
    let hanging = std::thread::spawn(move || (held.apply(clock(800.0)).unwrap_err(), held));
    until("the stall shows", || stalls.total() == 1);
    let_go.send(()).unwrap();
    let (error, _held) = hanging.join().unwrap();
    assert!(matches!(error, DeviceError::Stalled { .. }), "{error}");
    assert_eq!(hardware.clock(), AS_FOUND);
}

#[test]
fn a_second_setting_that_lands_late_in_the_same_stall_does_not_stay_either() {
    let hardware = Hardware::new();
    let (mut held, let_go) = watched(driver(&hardware), |device, hang| device.hangs_in_apply = Some(hang));
    let watched = Arc::clone(&held.watched);
    // A loop that turns two knobs between two beats.
    let hanging =
        std::thread::spawn(move || ([800.0, 700.0].map(|mhz| held.apply(clock(mhz)).unwrap_err()), held));
    let put_back = |times| {
        until("the watch has put it back", || {
            hardware.put_backs.load(Ordering::Relaxed) == times && !watched.knobs().are_being_put_back
        });
    };
    put_back(1);
    let_go.send(()).unwrap();
    put_back(3); // by the watch, by the holder, by the watch
    let_go.send(()).unwrap();
    let (errors, _held) = hanging.join().unwrap();
    assert!(errors.iter().all(|error| matches!(error, DeviceError::Stalled { .. })), "{errors:?}");
    assert_eq!(hardware.clock(), AS_FOUND);
}

#[test]
fn a_watch_that_fails_tries_again() {
    let hardware = Hardware::new();
    *hardware.is_stuck.lock().unwrap() = true;
    let (mut held, _let_go) = watched(driver(&hardware), |_, _| {});
    held.apply(clock(800.0)).unwrap();
    until("the stall shows", || held.stalls().total() == 1);
    until("the first try is over", || !held.watched.knobs().are_being_put_back);
    assert_eq!(hardware.clock(), 800.0);
    *hardware.is_stuck.lock().unwrap() = false;
    until("the clock is put back", || hardware.clock() == AS_FOUND);
    assert_eq!(held.stalls().total(), 1, "it is the same stall");
}

#[test]
fn nobody_need_beat_while_no_knob_is_turned() {
    let hardware = Hardware::new();
    let (mut held, _let_go) = watched(driver(&hardware), |_, _| {});
    std::thread::sleep(2 * TIMEOUT);
    held.apply(clock(800.0)).unwrap();
    held.restore().unwrap();
    std::thread::sleep(2 * TIMEOUT);
    assert_eq!(held.stalls().total(), 0);
}

#[test]
fn a_panic_puts_the_knobs_back() {
    let hardware = Hardware::new();
    let mut held = Held::new(open(&hardware));
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        held.apply(clock(800.0)).unwrap();
        panic!("as a defect does");
    }));
    assert!(unwound.is_err());
    assert_eq!(hardware.clock(), AS_FOUND);
}
