//! Knobs turned by zeusd, against one that plays it: over a real Unix socket, on a GPU that a library
//! plays and that this user may only read.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop")]

mod mock_amdsmi;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mock_amdsmi::MockSmi;
use tempfile::TempDir;
use wattle_core::knob::{DeviceKnob, DeviceSetting};
use wattle_core::time::Timestamp;
use wattle_core::units::{Megahertz, Watts};
use wattle_device::amd::open_all;
use wattle_device::conformance;
use wattle_device::device::{Access, Device, DeviceError, DeviceInfo, Inspection, KnobState, Reading};
use wattle_device::held::Held;
use wattle_device::zeusd::{ViaZeusd, Zeusd};

/// What zeusd tells of its GPUs: the one under test is its number 7, and not the first one.
const DISCOVER: &str = r#"{
    "gpus": [
        {"id": 3, "name": "AMD Instinct MI300X", "pci_address": "0000:c2:00.0", "cumulative_energy_available": true},
        {"id": 7, "name": "AMD Instinct MI300X", "pci_address": "0000:C1:00.0", "cumulative_energy_available": true}
    ],
    "cpus": [], "enabled_api_groups": ["gpu-control", "gpu-read"], "auth_required": false
}"#;

/// What is wrong with a zeusd.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Every write gets this status, with this body.
    Writes(u16, &'static str),
    /// The power limit can't be read through it.
    NoReading,
    /// It rounds down to 50 W without a word.
    Rounds,
    /// It says yes to a clock and does nothing.
    IgnoresClocks,
    /// None: its GPUs are NVIDIA's, whose clocks are reset one by one.
    OfNvidia,
}

/// A zeusd that turns the knobs of a mock GPU.
struct FakeZeusd {
    socket: PathBuf,
    calls: Arc<Mutex<Vec<String>>>,
    smi: Arc<MockSmi>,
    _folder: TempDir,
}

impl FakeZeusd {
    fn start(fault: Fault, discover: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("zeusd.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        // This process may write nothing; zeusd, which goes past the library's check, may.
        let smi = Arc::new(MockSmi::with(&[("write_fails_with", 10)]));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (its_smi, its_calls) = (Arc::clone(&smi), Arc::clone(&calls));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read_request(&mut stream);
                its_calls.lock().unwrap().push(request.clone());
                let (status, body) = answer(&request, fault, discover, &its_smi);
                let length = body.len();
                write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
            }
        });
        Self { socket, calls, smi, _folder: folder }
    }

    fn zeusd(&self) -> Zeusd {
        match Zeusd::connect(Some(&self.socket), None) {
            Access::Here(zeusd) => zeusd,
            other => panic!("{other:?}"),
        }
    }

    /// The GPU at `0000:c1:00.0`, read through the library.
    fn gpu(&self) -> Box<dyn Device> {
        match open_all(Some(self.smi.path()), Path::new("/nowhere")) {
            Access::Here(mut devices) => Box::new(devices.remove(0)),
            other => panic!("{other:?}"),
        }
    }

    fn wrapped(&self) -> ViaZeusd {
        self.zeusd().wrap(self.gpu(), Timestamp::ZERO).unwrap()
    }

    /// What was asked of it but questions, and forget it.
    fn writes(&self) -> Vec<String> {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap());
        calls.into_iter().filter_map(|call| Some(call.strip_prefix("POST ")?.to_owned())).collect()
    }
}

/// The first line of a request, less its version, and its token.
fn read_request(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let token = head.lines().find_map(|line| line.strip_prefix("authorization: "));
    token.map_or(line.clone(), |token| format!("{line} with {token}"))
}

fn answer(request: &str, fault: Fault, discover: &str, smi: &MockSmi) -> (u16, String) {
    let path = request.split([' ', '?']).nth(1).unwrap();
    let number = |key: &str| {
        let value = request.split([' ', '?', '&']).find_map(|part| part.strip_prefix(&format!("{key}=")));
        value.map_or(0, |value| value.parse::<u64>().unwrap())
    };
    if path == "/discover" {
        return (200, discover.to_owned());
    }
    if number("gpu_ids") != 7 {
        return (400, r#"{"errors": {"0": "not the GPU under test"}}"#.to_owned());
    }
    match (path, fault) {
        ("/gpu/get_power_limit", Fault::NoReading) => return (404, "not enabled".into()),
        ("/gpu/get_power_limit", _) => {
            return (200, format!(r#"{{"7": {{"power_limit_mw": {}}}}}"#, smi.get("cap_uw") / 1000));
        }
        (_, Fault::Writes(status, body)) => return (status, body.to_owned()),
        ("/gpu/set_power_limit", _) => {
            let step = if fault == Fault::Rounds { 50_000 } else { 1 };
            smi.set("cap_uw", number("power_limit_mw") / step * step * 1000);
        }
        ("/gpu/set_gpu_locked_clocks", Fault::IgnoresClocks) => {}
        ("/gpu/set_gpu_locked_clocks", _) => {
            smi.set("perf_level", 3);
            smi.set("low_limit", number("min_clock_mhz"));
            smi.set("high_limit", number("max_clock_mhz"));
        }
        ("/gpu/reset_gpu_locked_clocks", Fault::OfNvidia) => smi.set("perf_level", 0),
        ("/gpu/reset_locked_clocks", fault) if fault != Fault::OfNvidia => {
            smi.set("perf_level", 0);
            smi.set("low_limit", 500);
            smi.set("high_limit", 2100);
        }
        // As the real one says of an AMD GPU.
        _ => return (400, r#"{"errors": {"7": "use reset_locked_clocks"}}"#.to_owned()),
    }
    (200, String::new())
}

fn limit(watts: f64) -> DeviceSetting {
    DeviceSetting::PowerLimit(Watts::new(watts))
}

fn clock(mhz: f64) -> DeviceSetting {
    DeviceSetting::CoreClock(Megahertz::new(mhz))
}

#[test]
fn keeps_to_the_rules_of_devices() {
    let zeusd = FakeZeusd::start(Fault::None, DISCOVER);
    let mut device = Held::new(Box::new(zeusd.wrapped()));
    let mut now = Timestamp::ZERO;
    let clock = || {
        now = now + Duration::from_secs(1);
        now
    };
    let seen_outside = |knob| match knob {
        DeviceKnob::CoreClock => Some(zeusd.smi.get("high_limit") as f64),
        DeviceKnob::PowerLimit => Some(zeusd.smi.get("cap_uw") as f64 / 1e6),
        DeviceKnob::ComputeUnits => None,
    };
    conformance::check(&mut device, clock, seen_outside).unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(zeusd.smi.get("writes"), 0); // none but zeusd wrote
}

#[test]
fn adds_the_knobs_that_this_user_may_not_turn_and_turns_those_of_the_right_gpu() {
    let zeusd = FakeZeusd::start(Fault::None, DISCOVER);
    assert!(zeusd.gpu().info().knobs.is_empty());
    let mut device = Held::new(Box::new(zeusd.wrapped()));
    assert_eq!(device.info().knobs.len(), 2);
    device.apply(limit(200.0)).unwrap();
    device.apply(clock(900.0)).unwrap();
    assert_eq!(
        zeusd.writes(),
        [
            "/gpu/set_power_limit?block=true&gpu_ids=7&power_limit_mw=200000",
            "/gpu/set_gpu_locked_clocks?block=true&gpu_ids=7&min_clock_mhz=500&max_clock_mhz=900",
        ]
    );
    for view in &device.inspect(Timestamp::ZERO).knobs {
        assert_eq!(view.turnable, Access::Here(()));
        assert!(view.source.starts_with("zeusd at ") && view.source.ends_with(", GPU 7"), "{}", view.source);
    }
    device.restore().unwrap();
    assert_eq!(
        zeusd.writes(),
        [
            "/gpu/reset_locked_clocks?block=true&gpu_ids=7",
            "/gpu/set_power_limit?block=true&gpu_ids=7&power_limit_mw=300000",
        ]
    );
}

/// A GPU of NVIDIA, as far as zeusd is concerned: its place is written with eight digits, and it can't tell
/// the limit of its clock. Counts how often all of it is looked at, which takes long on a real one.
struct OfNvidia(Box<dyn Device>, DeviceInfo, Arc<AtomicU32>);

impl Device for OfNvidia {
    fn info(&self) -> &DeviceInfo {
        &self.1
    }

    fn read(&mut self, now: Timestamp) -> Result<Reading, DeviceError> {
        self.0.read(now)
    }

    fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
        self.0.apply(setting)
    }

    fn knob_state(&mut self, knob: DeviceKnob) -> Result<KnobState, DeviceError> {
        self.0.knob_state(knob)
    }

    fn put_back(&mut self, knob: DeviceKnob, state: &KnobState) -> Result<(), DeviceError> {
        self.0.put_back(knob, state)
    }

    fn inspect(&mut self, now: Timestamp) -> Inspection {
        self.2.fetch_add(1, Ordering::Relaxed);
        let mut inspection = self.0.inspect(now);
        inspection.facts = vec![("pci_bus", Access::Here("00000000:C1:00.0".to_owned()))];
        for view in inspection.knobs.iter_mut().filter(|view| view.knob == DeviceKnob::CoreClock) {
            view.stands = Access::Absent { because: "NVML has no call that tells a lock".into() };
        }
        inspection
    }
}

#[test]
fn a_clock_that_can_not_be_read_back_is_taken_at_zeusds_word_and_reset_by_itself() {
    let zeusd = FakeZeusd::start(Fault::OfNvidia, DISCOVER);
    let gpu = zeusd.gpu();
    let info = DeviceInfo { id: "nvidia:GPU-1".into(), ..gpu.info().clone() };
    let looks = Arc::new(AtomicU32::new(0));
    let gpu = OfNvidia(gpu, info, Arc::clone(&looks));
    let device = zeusd.zeusd().wrap(Box::new(gpu), Timestamp::ZERO).unwrap();
    let mut device = Held::new(Box::new(device));
    device.apply(clock(900.7)).unwrap();
    assert_eq!((zeusd.smi.get("high_limit"), zeusd.smi.get("perf_level")), (900, 3));
    device.restore().unwrap();
    assert_eq!(zeusd.smi.get("perf_level"), 0);
    let reset = "/gpu/reset_gpu_locked_clocks?block=true&gpu_ids=7";
    assert_eq!(zeusd.writes().last().unwrap(), reset);
    assert_eq!(looks.load(Ordering::Relaxed), 1, "once when it was wrapped");
}

#[test]
fn reading_and_looking_between_readings_counts_no_energy_twice() {
    let zeusd = FakeZeusd::start(Fault::None, DISCOVER);
    let mut device = zeusd.wrapped();
    let at = |secs| Timestamp::from_duration(Duration::from_secs(secs));
    device.read(at(100)).unwrap();
    device.apply(clock(900.0)).unwrap(); // looks at the device to read back
    let energy = device.read(at(101)).unwrap().energy.unwrap().get();
    assert!((energy - 210.0).abs() < 1e-6, "{energy}");
    // How it is known is what the device found out by now.
    let known = &device.info().power_provenance.source;
    assert!(known.contains("while the counter is on trial"), "{known}");
}

#[test]
fn what_this_one_recorded_another_process_can_put_back() {
    let zeusd = FakeZeusd::start(Fault::None, DISCOVER);
    let mut device = zeusd.wrapped();
    let knobs = [DeviceKnob::PowerLimit, DeviceKnob::CoreClock];
    let states = knobs.map(|knob| device.knob_state(knob).unwrap());
    device.apply(limit(150.0)).unwrap();
    device.apply(clock(600.0)).unwrap();
    drop(device); // drivers put nothing back by themselves
    let mut later = zeusd.wrapped();
    for (knob, state) in knobs.into_iter().zip(&states) {
        later.put_back(knob, state).unwrap();
    }
    assert_eq!((zeusd.smi.get("cap_uw"), zeusd.smi.get("perf_level")), (300_000_000, 0));
    let error = later.put_back(DeviceKnob::CoreClock, &states[0]).unwrap_err();
    assert!(matches!(error, DeviceError::State { .. }), "{error}");
}

#[test]
fn a_clock_limit_that_someone_else_set_is_put_back_as_it_was() {
    let zeusd = FakeZeusd::start(Fault::None, DISCOVER);
    for (field, value) in [("perf_level", 3), ("low_limit", 500), ("high_limit", 1800)] {
        zeusd.smi.set(field, value);
    }
    let mut device = Held::new(Box::new(zeusd.wrapped()));
    device.apply(clock(900.0)).unwrap();
    drop(device);
    assert_eq!((zeusd.smi.get("low_limit"), zeusd.smi.get("high_limit")), (500, 1800));
}

#[test]
fn a_refusal_is_told_in_zeusds_words_with_what_to_do() {
    let errors = r#"{"errors": {"7": "NoPermission"}}"#;
    for (status, body, said, hint) in [
        (403, errors, "zeusd said 403: GPU 7: NoPermission", "; run zeusd as root"),
        (500, errors, "zeusd said 500: GPU 7: NoPermission", ""),
        (401, "missing token", "zeusd said 401: missing token", "`zeusd token issue`"),
        (404, "", "zeusd said 404: ", "; start zeusd with the API groups gpu-control"),
    ] {
        let zeusd = FakeZeusd::start(Fault::Writes(status, body), DISCOVER);
        let mut device = zeusd.wrapped();
        let error = device.apply(limit(200.0)).unwrap_err().to_string();
        let expected = format!("amd:0000:c1:00.0: failed to set the power limit through zeusd: {said}");
        assert!(error.starts_with(&expected) && error.contains(hint), "{error}");
        assert!(device.apply(clock(900.0)).is_err());
        assert!(device.read(Timestamp::ZERO).is_ok(), "reading goes on");
    }
}

#[test]
fn a_value_that_is_rounded_or_ignored_without_a_word_is_found_by_reading_it_back() {
    let zeusd = FakeZeusd::start(Fault::Rounds, DISCOVER);
    let mut device = zeusd.wrapped();
    let error = device.apply(limit(249.0)).unwrap_err().to_string();
    assert_eq!(error, "amd:0000:c1:00.0: PowerLimit was set to 249 but reads back 200");
    let zeusd = FakeZeusd::start(Fault::IgnoresClocks, DISCOVER);
    let mut device = zeusd.wrapped();
    let error = device.apply(clock(900.0)).unwrap_err().to_string();
    assert_eq!(error, "amd:0000:c1:00.0: CoreClock was set to 900 but reads back 2100");
}

#[test]
fn where_zeusd_does_not_read_for_us_the_device_does() {
    let zeusd = FakeZeusd::start(Fault::NoReading, DISCOVER);
    let mut device = Held::new(Box::new(zeusd.wrapped()));
    device.apply(limit(200.0)).unwrap();
    device.restore().unwrap();
    assert_eq!(zeusd.smi.get("cap_uw"), 300_000_000);
}

#[test]
fn a_zeusd_that_dies_is_an_error_and_not_the_end_of_reading() {
    let zeusd = FakeZeusd::start(Fault::None, DISCOVER);
    let mut device = zeusd.wrapped();
    std::fs::remove_file(&zeusd.socket).unwrap();
    let error = device.apply(limit(200.0)).unwrap_err().to_string();
    assert!(error.contains("can't be reached") && error.contains("is zeusd running"), "{error}");
    assert!(device.read(Timestamp::ZERO).unwrap().power.is_some());
}

#[test]
fn a_gpu_that_zeusd_does_not_know_for_certain_is_left_as_it_is() {
    let why = |discover| {
        let zeusd = FakeZeusd::start(Fault::None, discover);
        let not_wrapped = zeusd.zeusd().wrap(zeusd.gpu(), Timestamp::ZERO).err();
        not_wrapped.map(|told| (told.inner.info().id.to_string(), told.because))
    };
    let told = |because: &str| Some(("amd:0000:c1:00.0".to_owned(), because.to_owned()));
    let elsewhere = r#"{"gpus": [{"id": 0, "name": "AMD Instinct MI300X", "pci_address": "0000:01:00.0"}],
        "enabled_api_groups": ["gpu-control"]}"#;
    assert_eq!(why(elsewhere), told(r#"zeusd knows no GPU at 0000:c1:00.0; it knows ["0000:01:00.0"]"#));
    let two = r#"{"gpus": [{"id": 0, "name": "AMD Instinct MI300X"}, {"id": 7, "name": "AMD Instinct MI300X"}],
        "enabled_api_groups": ["gpu-control"]}"#;
    let several = r#"zeusd knows several GPUs called "AMD Instinct MI300X", and not where they sit"#;
    assert_eq!(why(two), told(several));
    let other =
        r#"{"gpus": [{"id": 0, "name": "AMD Instinct MI210"}], "enabled_api_groups": ["gpu-control"]}"#;
    assert_eq!(why(other), told(r#"zeusd knows no GPU called "AMD Instinct MI300X""#));
    let one =
        r#"{"gpus": [{"id": 7, "name": "AMD Instinct MI300X"}], "enabled_api_groups": ["gpu-control"]}"#;
    assert_eq!(why(one), None); // the only one of its name
}

#[test]
fn a_device_that_turns_its_own_knobs_needs_no_zeusd() {
    let zeusd = FakeZeusd::start(Fault::None, DISCOVER);
    zeusd.smi.set("write_fails_with", 0);
    let not_wrapped = zeusd.zeusd().wrap(zeusd.gpu(), Timestamp::ZERO).unwrap_err();
    assert_eq!(not_wrapped.because, "it has no knob that zeusd could add");
    assert_eq!(not_wrapped.inner.info().knobs.len(), 2);
}

#[test]
fn what_keeps_zeusd_from_helping_is_told_by_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let Access::Absent { because } = Zeusd::connect(Some(&folder.path().join("none")), None) else {
        panic!()
    };
    assert!(because.starts_with("no zeusd listens: "), "{because}");

    let connect = |discover| Zeusd::connect(Some(&FakeZeusd::start(Fault::None, discover).socket), None);
    let no_control = r#"{"gpus": [], "enabled_api_groups": ["gpu-read"], "auth_required": false}"#;
    let Access::Denied { because, .. } = connect(no_control) else { panic!() };
    assert!(because.contains("gpu-control is not enabled"), "{because}");
    let token = r#"{"gpus": [], "enabled_api_groups": ["gpu-control"], "auth_required": true}"#;
    let Access::Denied { fix, .. } = connect(token) else { panic!() };
    assert!(fix.contains("zeusd token issue"), "{fix}");
    let Access::Failed { because } = connect("hello") else { panic!() };
    assert!(
        because.contains(r#"zeusd answered "hello", expected what `GET /discover` answers"#),
        "{because}"
    );
}

#[test]
fn a_token_goes_with_every_request() {
    let zeusd = FakeZeusd::start(Fault::None, DISCOVER);
    let Access::Here(client) = Zeusd::connect(Some(&zeusd.socket), Some("abc".into())) else { panic!() };
    client.wrap(zeusd.gpu(), Timestamp::ZERO).unwrap().apply(limit(200.0)).unwrap();
    let calls = zeusd.calls.lock().unwrap();
    assert_eq!(calls.len(), 3); // discover, set, read back
    assert!(calls.iter().all(|call| call.ends_with(" with Bearer abc")), "{calls:?}");
}
