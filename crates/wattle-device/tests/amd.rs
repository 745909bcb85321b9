//! The AMD driver against a library that plays AMD SMI, with every fault that real ones are known for.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop")]

mod mock_amdsmi;

use std::path::Path;
use std::time::Duration;

use mock_amdsmi::MockSmi;
use wattle_core::knob::{DeviceKnob, DeviceSetting};
use wattle_core::time::Timestamp;
use wattle_core::units::{Megahertz, Watts};
use wattle_device::amd::{AmdDevice, open_all};
use wattle_device::conformance;
use wattle_device::device::{Access, Device, DeviceError, Inspection, KnobState, KnobView};
use wattle_device::held::Held;

/// A kernel that shows no files of the GPU, so that the library tells what may be written.
fn nowhere() -> &'static Path {
    Path::new("/nowhere")
}

fn open(mock: &MockSmi) -> AmdDevice {
    match open_all(Some(mock.path()), nowhere()) {
        Access::Here(mut devices) => devices.remove(0),
        other => panic!("{other:?}"),
    }
}

fn clock(mhz: f64) -> DeviceSetting {
    DeviceSetting::CoreClock(Megahertz::new(mhz))
}

fn limit(watts: f64) -> DeviceSetting {
    DeviceSetting::PowerLimit(Watts::new(watts))
}

fn at(secs: f64) -> Timestamp {
    Timestamp::from_duration(Duration::from_secs_f64(secs))
}

fn knob(inspection: &Inspection, knob: DeviceKnob) -> &KnobView {
    inspection.knobs.iter().find(|view| view.knob == knob).unwrap()
}

fn sensor(inspection: &Inspection, name: &str) -> Access<f64> {
    inspection.sensors.iter().find(|view| view.name == name).unwrap().reading.clone()
}

fn fact(inspection: &Inspection, name: &str) -> String {
    match inspection.facts.iter().find(|(known, _)| *known == name) {
        Some((_, Access::Here(text))) => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keeps_to_the_rules_of_devices_under_every_abi() {
    for (abi, minor) in [(24, 7), (25, 3), (26, 1), (26, 2)] {
        let mock = MockSmi::with(&[("abi", abi), ("minor", minor)]);
        let mut device = Held::new(Box::new(open(&mock)));
        assert_eq!(device.info().knobs.len(), 2, "ABI {abi}");
        let mut secs = 0.0;
        let now = || {
            secs += 1.0;
            at(secs)
        };
        let seen_outside = |knob| match knob {
            DeviceKnob::CoreClock => Some(mock.get("high_limit") as f64),
            DeviceKnob::PowerLimit => Some(mock.get("cap_uw") as f64 / 1e6),
            DeviceKnob::ComputeUnits => None,
        };
        conformance::check(&mut device, now, seen_outside)
            .unwrap_or_else(|broken| panic!("ABI {abi}: {broken}"));
    }
}

#[test]
fn is_named_by_its_place_on_the_bus_and_tells_the_units_of_people() {
    let mock = MockSmi::new();
    let Access::Here(devices) = open_all(Some(mock.path()), nowhere()) else { panic!() };
    let ids: Vec<_> = devices.iter().map(|device| device.info().id.to_string()).collect();
    assert_eq!(ids, ["amd:0000:c1:00.0", "amd:0000:c2:00.0"]);
    let mut device = open(&mock);
    assert_eq!(device.info().description, "AMD Instinct MI300X");
    assert_eq!(device.info().power_provenance.to_string(), "measured: AMD SMI, current socket power");
    let range = device.info().range(DeviceKnob::PowerLimit).unwrap();
    assert_eq!((range.min, range.max), (100.0, 550.0));
    let range = device.info().range(DeviceKnob::CoreClock).unwrap();
    assert_eq!((range.min, range.max), (500.0, 2100.0));
    let reading = device.read(at(0.0)).unwrap();
    assert_eq!((reading.power, reading.utilization), (Some(Watts::new(210.0)), Some(0.75)));
    let inspection = device.inspect(at(1.0));
    assert_eq!(sensor(&inspection, "temperature"), Access::Here(61.0));
    assert_eq!(sensor(&inspection, "core_clock"), Access::Here(1200.0));
    assert_eq!(sensor(&inspection, "energy"), Access::Here(1e6));
    assert_eq!(knob(&inspection, DeviceKnob::CoreClock).stands, Access::Here(None));
    assert_eq!(knob(&inspection, DeviceKnob::PowerLimit).stands, Access::Here(Some(300.0)));
    assert_eq!(fact(&inspection, "amd_smi"), "26.2.1");
}

#[test]
fn power_is_the_current_one_or_the_average_one_or_unknown_but_never_a_code_for_unknown() {
    for (current, average, expected) in [
        (210, 190, Some(210.0)),
        (0xFFFF, 190, Some(190.0)),
        (u64::from(u32::MAX), 190, Some(190.0)),
        (0xFFFF, 0xFFFF, None),
        (0, 0xFFFF, None), // the second die of an MI250
    ] {
        for abi in [24, 25, 26] {
            let fields = [("abi", abi), ("minor", 7), ("current_watts", current), ("average_watts", average)];
            let power = open(&MockSmi::with(&fields)).read(at(0.0)).unwrap().power;
            assert_eq!(power.map(Watts::get), expected, "ABI {abi}: {current} and {average}");
        }
    }
    let mock = MockSmi::with(&[("current_watts", 0xFFFF), ("average_watts", 0xFFFF), ("energy_joules", 0)]);
    assert_eq!(open(&mock).read(at(0.0)).unwrap().energy, None);
}

#[test]
fn a_counter_that_stands_still_or_runs_backwards_is_replaced_by_the_integral_of_power() {
    let mock = MockSmi::with(&[("current_watts", 200)]);
    let mut device = open(&mock);
    let mut energy = 0.0;
    for tick in 0..=100 {
        energy = device.read(at(f64::from(tick) / 10.0)).unwrap().energy.unwrap().get();
    }
    assert!((energy - 2000.0).abs() < 1e-6, "{energy}");
    let told = fact(&device.inspect(at(10.0)), "energy_source");
    assert!(told.contains("the integral of power: the counter is not possible, it told 0.0 J"), "{told}");

    let mut device = open(&mock);
    device.read(at(0.0)).unwrap();
    mock.set("energy_joules", 999_000);
    let energy = device.read(at(1.0)).unwrap().energy.unwrap().get();
    assert!((energy - 200.0).abs() < 1e-6, "{energy}");
    let told = fact(&device.inspect(at(1.0)), "energy_source");
    assert!(told.contains("it ran backwards"), "{told}");
}

#[test]
fn a_counter_that_agrees_with_power_is_what_counts() {
    let mock = MockSmi::with(&[("current_watts", 200)]);
    let mut device = open(&mock);
    let mut energy = 0.0;
    for tick in 0..=10_u32 {
        mock.set("energy_joules", 1_000_000 + u64::from(tick) * 220);
        energy = device.read(at(f64::from(tick))).unwrap().energy.unwrap().get();
    }
    assert_eq!(fact(&device.inspect(at(10.0)), "energy_source"), "the energy counter");
    let known = device.info().power_provenance.to_string();
    assert_eq!(known, "measured: AMD SMI, current socket power; energy by the energy counter");
    // Trusted from the fifth reading on, at four seconds.
    assert!((energy - (4.0 * 200.0 + 6.0 * 220.0)).abs() < 1e-6, "{energy}");
}

#[test]
fn without_permission_a_knob_is_shown_with_its_fix_and_is_none_of_the_device() {
    let mock = MockSmi::with(&[("write_fails_with", 10)]);
    let mut device = open(&mock);
    assert!(device.info().knobs.is_empty());
    assert!(device.read(at(0.0)).unwrap().power.is_some());
    let inspection = device.inspect(at(0.0));
    for view in &inspection.knobs {
        assert!(view.range.is_some());
        let Access::Denied { because, fix } = &view.turnable else { panic!("{view:?}") };
        assert!(because.contains("AMDSMI_STATUS_NO_PERM - Permission denied"), "{because}");
        assert!(fix.contains("run as root") && fix.contains("zeusd"), "{fix}");
    }
    assert!(matches!(Held::new(Box::new(device)).apply(limit(200.0)), Err(DeviceError::NoSuchKnob { .. })));
}

#[test]
fn permission_that_is_lost_later_is_an_error_that_says_what_to_do() {
    let mock = MockSmi::new();
    let mut device = Held::new(Box::new(open(&mock)));
    mock.set("write_fails_with", 10);
    let error = device.apply(limit(200.0)).unwrap_err().to_string();
    assert!(
        error.starts_with("amd:0000:c1:00.0: failed to set the power cap: amdsmi_set_power_cap said:"),
        "{error}"
    );
    assert!(error.contains("; run as root"), "{error}");
}

#[test]
fn a_knob_that_the_gpu_does_not_have_is_absent() {
    let mock = MockSmi::with(&[("write_fails_with", 2)]);
    let mut device = open(&mock);
    assert!(device.info().knobs.is_empty());
    let inspection = device.inspect(at(0.0));
    assert!(matches!(knob(&inspection, DeviceKnob::PowerLimit).turnable, Access::Absent { .. }));
}

#[test]
fn a_gpu_that_fell_off_the_bus_is_told_as_lost() {
    let mock = MockSmi::new();
    let mut device = open(&mock);
    mock.set("fails_with", 31);
    let error = device.read(at(0.0)).unwrap_err();
    assert!(matches!(error, DeviceError::Lost { .. }), "{error}");
    assert!(matches!(device.apply(limit(200.0)), Err(DeviceError::Lost { .. })));
    assert!(matches!(sensor(&device.inspect(at(0.0)), "power"), Access::Failed { .. }));
}

#[test]
fn a_value_that_is_rounded_without_a_word_is_found_by_reading_it_back() {
    let mock = MockSmi::new();
    let mut device = Held::new(Box::new(open(&mock)));
    mock.set("rounds_to", 50);
    let error = device.apply(limit(249.0)).unwrap_err().to_string();
    assert_eq!(error, "amd:0000:c1:00.0: PowerLimit was set to 249 but reads back 200");
    let error = device.apply(clock(1249.0)).unwrap_err().to_string();
    assert_eq!(error, "amd:0000:c1:00.0: CoreClock was set to 1249 but reads back 1200");
    device.apply(clock(1250.0)).unwrap();
}

#[test]
fn a_clock_found_in_the_hands_of_the_driver_is_given_back_to_it() {
    let mock = MockSmi::new();
    let mut device = Held::new(Box::new(open(&mock)));
    device.apply(clock(900.0)).unwrap();
    assert_eq!((mock.get("high_limit"), mock.get("perf_level")), (900, 3));
    let stands = knob(&device.inspect(at(0.0)), DeviceKnob::CoreClock).stands.clone();
    assert_eq!(stands, Access::Here(Some(900.0)));
    device.restore().unwrap();
    assert_eq!((mock.get("high_limit"), mock.get("perf_level")), (2100, 0));
}

#[test]
fn limits_that_someone_else_set_are_put_back_and_never_cross_on_the_way() {
    let mock = MockSmi::with(&[("perf_level", 3), ("low_limit", 1500), ("high_limit", 1800)]);
    let mut device = Held::new(Box::new(open(&mock)));
    device.apply(clock(700.0)).unwrap();
    assert_eq!((mock.get("low_limit"), mock.get("high_limit")), (700, 700));
    device.apply(clock(1000.0)).unwrap();
    drop(device);
    assert_eq!((mock.get("low_limit"), mock.get("high_limit")), (1500, 1800));
    assert_eq!((mock.get("perf_level"), mock.get("crossed")), (3, 0));
}

#[test]
fn another_process_can_put_back_what_this_one_recorded() {
    let mock = MockSmi::new();
    let mut device = open(&mock);
    let states: Vec<_> = [DeviceKnob::PowerLimit, DeviceKnob::CoreClock]
        .into_iter()
        .map(|knob| (knob, device.knob_state(knob).unwrap()))
        .collect();
    device.apply(limit(150.0)).unwrap();
    device.apply(clock(600.0)).unwrap();
    std::mem::forget(device); // killed
    let mut later = open(&mock);
    for (knob, state) in &states {
        later.put_back(*knob, state).unwrap();
    }
    assert_eq!((mock.get("cap_uw"), mock.get("high_limit"), mock.get("perf_level")), (300_000_000, 2100, 0));

    let foreign = KnobState([("policy0".to_owned(), "2400000".to_owned())].into());
    let error = later.put_back(DeviceKnob::CoreClock, &foreign).unwrap_err().to_string();
    assert!(error.contains("expected perf_level, a number, and min_mhz and max_mhz"), "{error}");
    assert!(matches!(later.put_back(DeviceKnob::PowerLimit, &foreign), Err(DeviceError::State { .. })));
}

#[test]
fn a_power_cap_of_zero_is_no_value_of_the_knob() {
    let device = open(&MockSmi::with(&[("min_cap_uw", 0)]));
    assert_eq!(device.info().range(DeviceKnob::PowerLimit).unwrap().min, 1.0);
}

#[test]
fn calls_never_overlap_in_releases_that_crash_when_they_do() {
    let mock = MockSmi::with(&[("minor", 1)]);
    let Access::Here(devices) = open_all(Some(mock.path()), nowhere()) else { panic!() };
    let readers = devices.into_iter().map(|mut device| {
        std::thread::spawn(move || (0..2000).try_for_each(|tick| device.read(at(f64::from(tick))).map(drop)))
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.join().unwrap().unwrap();
    }
}

#[test]
fn opening_writes_each_knob_only_as_it_stands() {
    let mock = MockSmi::with(&[("perf_level", 3), ("low_limit", 800), ("high_limit", 900)]);
    drop(open(&mock));
    assert_eq!((mock.get("low_limit"), mock.get("high_limit")), (800, 900));
    assert_eq!((mock.get("cap_uw"), mock.get("perf_level"), mock.get("crossed")), (300_000_000, 3, 0));
    assert_eq!(mock.get("writes"), 4); // two knobs of two GPUs
}

#[test]
fn where_the_kernel_shows_the_files_of_the_knobs_opening_writes_nothing() {
    let mock = MockSmi::new();
    let sys = tempfile::tempdir().unwrap();
    let files = sys.path().join("bus/pci/devices/0000:c1:00.0");
    std::fs::create_dir_all(files.join("hwmon/hwmon4")).unwrap();
    std::fs::write(files.join("hwmon/hwmon4/power1_cap"), "300000000").unwrap();
    // Not a file that can be written, as a read-only /sys.
    std::fs::create_dir(files.join("power_dpm_force_performance_level")).unwrap();
    mock.set("gpus", 1);
    let Access::Here(mut devices) = open_all(Some(mock.path()), sys.path()) else { panic!() };
    let mut device = devices.remove(0);
    assert_eq!(mock.get("writes"), 0);
    let knobs: Vec<_> = device.info().knobs.iter().map(|range| range.knob).collect();
    assert_eq!(knobs, [DeviceKnob::PowerLimit]);
    let inspection = device.inspect(at(0.0));
    let Access::Failed { because } = &knob(&inspection, DeviceKnob::CoreClock).turnable else { panic!() };
    assert!(because.contains("power_dpm_force_performance_level"), "{because}");
}

#[test]
fn a_release_whose_structures_are_not_known_is_refused() {
    for (abi, minor, told) in [(27, 0, "27.0.1"), (24, 6, "24.6.1"), (23, 4, "23.4.1")] {
        let mock = MockSmi::with(&[("abi", abi), ("minor", minor)]);
        let Access::Failed { because } = open_all(Some(mock.path()), nowhere()) else { panic!("{abi}") };
        assert!(
            because.contains(&format!("AMD SMI calls itself {told}, expected 24.7 or later")),
            "{because}"
        );
    }
}

#[test]
fn what_keeps_gpus_from_being_read_is_told_by_its_kind() {
    let Access::Absent { because } = open_all(Some(Path::new("/nowhere/libamd_smi.so")), nowhere()) else {
        panic!()
    };
    assert!(because.contains("/nowhere/libamd_smi.so"), "{because}");

    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libamd_smi.so");
    std::fs::write(&text, "no library").unwrap();
    assert!(matches!(open_all(Some(&text), nowhere()), Access::Failed { .. }));

    let opened = |field, value| open_all(Some(MockSmi::with(&[(field, value)]).path()), nowhere());
    assert!(matches!(opened("gpus", 0), Access::Absent { .. }));
    assert!(matches!(opened("init_fails_with", 34), Access::Absent { .. }));
    let Access::Denied { fix, .. } = opened("init_fails_with", 10) else { panic!() };
    assert!(fix.contains("usermod -aG render,video"), "{fix}");
    let Access::Denied { fix, .. } = opened("fails_with", 10) else { panic!() };
    assert!(fix.contains("--device /dev/kfd"), "{fix}");
}
