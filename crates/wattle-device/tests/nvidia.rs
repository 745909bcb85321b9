//! The NVIDIA driver against a stand-in for NVIDIA's library: loading, calling and converting are real.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod mock_nvml;

use std::time::Duration;

use mock_nvml::Mock;
use proptest::prelude::*;
use wattle_core::knob::{DeviceKnob, DeviceSetting};
use wattle_core::provenance::Basis;
use wattle_core::time::Timestamp;
use wattle_core::units::{Megahertz, Watts};
use wattle_device::conformance;
use wattle_device::device::{Access, Device, DeviceError, Inspection, KnobState, Reading};
use wattle_device::held::Held;
use wattle_device::nvidia::{NvidiaRoots, open_all};

const NOT_SUPPORTED: f64 = 3.0;
const NO_PERMISSION: f64 = 4.0;
const DRIVER_NOT_LOADED: f64 = 9.0;
const GPU_IS_LOST: f64 = 15.0;
const UNKNOWN: f64 = 999.0;

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_duration(Duration::from_secs_f64(seconds))
}

/// Where a knob of the stand-in stands.
fn seen_outside(mock: &Mock, knob: DeviceKnob) -> Option<f64> {
    match knob {
        DeviceKnob::CoreClock => mock.get("lock_max_mhz"),
        DeviceKnob::PowerLimit => mock.get("limit_mw").map(|milliwatts| milliwatts / 1000.0),
        DeviceKnob::ComputeUnits => None,
    }
}

/// Reads every tenth of a second from `from` to `to`, while the GPU draws `watts` and its counter tells
/// `counted` of that.
fn run(
    mock: &Mock,
    device: &mut impl Device,
    (from, to): (u32, u32),
    watts: f64,
    counted: f64,
) -> Vec<Reading> {
    mock.set("power_mw", watts * 1000.0);
    let readings = (from * 10..to * 10).map(|tenth| {
        if let Some(energy) = mock.get("energy_mj") {
            mock.set("energy_mj", energy + watts * counted * 100.0);
        }
        device.read(at(f64::from(tenth) / 10.0)).unwrap()
    });
    readings.collect()
}

fn clock(mhz: f64) -> DeviceSetting {
    DeviceSetting::CoreClock(Megahertz::new(mhz))
}

fn limit(watts: f64) -> DeviceSetting {
    DeviceSetting::PowerLimit(Watts::new(watts))
}

fn sensor(inspection: &Inspection, name: &str) -> Access<f64> {
    inspection.sensors.iter().find(|sensor| sensor.name == name).unwrap().reading.clone()
}

fn fact(inspection: &Inspection, name: &str) -> Access<String> {
    inspection.facts.iter().find(|(found, _)| *found == name).unwrap().1.clone()
}

fn is_absent<T>(access: &Access<T>) -> bool {
    matches!(access, Access::Absent { .. })
}

#[test]
fn keeps_to_the_rules_of_all_drivers() {
    let mock = Mock::new();
    let mut device = Held::new(Box::new(mock.open()));
    let mut tenth = 0;
    let now = || {
        tenth += 1;
        mock.set("energy_mj", mock.get("energy_mj").unwrap() + 7150.0);
        at(f64::from(tenth) / 10.0)
    };
    assert_eq!(device.info().knobs.len(), 2);
    conformance::check(&mut device, now, |knob| seen_outside(&mock, knob)).unwrap();
}

#[test]
fn knobs_are_put_back_when_the_device_is_let_go() {
    let mock = Mock::new();
    mock.set("limit_mw", 220_000.0);
    let mut device = Held::new(Box::new(mock.open()));
    device.apply(clock(1003.0)).unwrap();
    device.apply(limit(150.0)).unwrap();
    assert_eq!(mock.get("lock_max_mhz"), Some(990.0)); // the step below
    assert_eq!(mock.get("lock_min_mhz"), Some(210.0));
    assert_eq!(mock.get("limit_mw"), Some(150_000.0));
    drop(device);
    assert_eq!(mock.get("lock_max_mhz"), None);
    assert_eq!(mock.get("limit_mw"), Some(220_000.0));
}

#[test]
fn another_process_can_put_knobs_back_from_what_was_recorded() {
    let mock = Mock::new();
    let mut first = mock.open();
    let states: Vec<_> = [DeviceKnob::CoreClock, DeviceKnob::PowerLimit]
        .map(|knob| (knob, first.knob_state(knob).unwrap()))
        .into();
    first.apply(clock(600.0)).unwrap();
    first.apply(limit(120.0)).unwrap();
    drop(first);
    let mut second = mock.open();
    for (knob, state) in &states {
        second.put_back(*knob, state).unwrap();
        let odd = KnobState([("power_limit_mw".to_owned(), "much".to_owned())].into());
        assert!(matches!(second.put_back(*knob, &odd), Err(DeviceError::State { .. })), "{knob:?}");
    }
    assert_eq!(mock.get("lock_max_mhz"), None);
    assert_eq!(mock.get("limit_mw"), Some(250_000.0));
}

#[test]
fn says_why_there_are_no_devices() {
    let mock = Mock::new();
    let absent = |because: &str, roots: &NvidiaRoots| match open_all(roots) {
        Access::Absent { because: found } => assert!(found.contains(because), "{found}"),
        other => panic!("{other:?}"),
    };
    absent(
        "/none/libnvidia-ml.so.1",
        &NvidiaRoots { library: "/none/libnvidia-ml.so.1".into(), ..mock.roots() },
    );
    mock.set("fail:nvmlInit_v2", DRIVER_NOT_LOADED);
    absent("driver is not loaded", &mock.roots());
    mock.set("fail:nvmlInit_v2", NO_PERMISSION);
    assert!(matches!(open_all(&mock.roots()), Access::Denied { .. }));
    mock.set("fail:nvmlInit_v2", UNKNOWN);
    assert!(matches!(open_all(&mock.roots()), Access::Failed { .. }));
    mock.unset("fail:nvmlInit_v2");
    mock.set("devices", 0.0);
    absent("lists no GPU", &mock.roots());
}

#[test]
fn a_gpu_that_is_lost_at_the_start_keeps_none_of_the_others() {
    let mock = Mock::new();
    mock.set("devices", 3.0);
    mock.set("fail_device:1", GPU_IS_LOST);
    let ids: Vec<_> = mock.open_all().iter().map(|device| device.info().id.to_string()).collect();
    let id = |number| format!("nvidia:GPU-00000000-0000-0000-0000-00000000000{number}");
    assert_eq!(ids, [id(1), id(3)]);
    mock.set("devices", 2.0);
    mock.set("fail_device:0", GPU_IS_LOST);
    assert!(matches!(open_all(&mock.roots()), Access::Failed { .. }));
    mock.set("fail_device:0", NO_PERMISSION);
    mock.set("fail_device:1", NO_PERMISSION);
    assert!(matches!(open_all(&mock.roots()), Access::Denied { .. }));
}

#[test]
fn the_library_is_started_once_for_all_devices_and_stopped_with_the_last() {
    let mock = Mock::new();
    mock.set("devices", 4.0);
    let mut devices = mock.open_all();
    assert_eq!(mock.get("initialized"), Some(1.0));
    devices.truncate(1);
    assert_eq!(mock.get("initialized"), Some(1.0));
    drop(devices);
    assert_eq!(mock.get("initialized"), Some(0.0));
}

#[test]
fn a_reading_is_instant_power_in_watts_and_the_shares_of_time() {
    let mock = Mock::new();
    let mut device = mock.open();
    let reading = device.read(at(0.0)).unwrap();
    assert_eq!(reading.power, Some(Watts::new(71.5)));
    assert_eq!(reading.energy.map(|energy| energy.get()), Some(0.0));
    assert_eq!(reading.utilization, Some(0.4));
    assert_eq!(reading.own_share, Some(0.75));
    let info = device.info();
    assert_eq!(info.power_provenance.basis, Basis::Measured);
    assert!(info.power_provenance.source.contains("field 186"), "{}", info.power_provenance);
    assert_eq!(info.full_power.as_ref().map(|(power, _)| power.get()), Some(250.0));
    assert_eq!(info.idle_power, None);
}

#[test]
fn without_the_field_power_is_told_by_another_call_and_which_is_said() {
    let said = |architecture: f64, minor: f64| {
        let mock = Mock::new();
        mock.set("fail:field 186", NOT_SUPPORTED);
        mock.set("architecture", architecture);
        mock.set("minor", minor);
        let mut device = mock.open();
        assert_eq!(device.read(at(0.0)).unwrap().power, Some(Watts::new(71.5)));
        device.info().power_provenance.source.clone()
    };
    assert!(said(7.0, 0.0).contains("nvmlDeviceGetPowerUsage (instant)")); // GA100
    assert!(said(7.0, 6.0).contains("nvmlDeviceGetPowerUsage (mean of the last second)")); // GA102
    assert!(said(5.0, 0.0).contains("nvmlDeviceGetPowerUsage (instant)")); // Volta
    assert!(said(9.0, 0.0).contains("nvmlDeviceGetPowerUsage (mean of the last second)")); // Hopper
    assert!(said(f64::from(u32::MAX), 0.0).contains("architecture is unknown"));
}

#[test]
fn what_the_device_does_not_tell_is_unknown_and_never_zero() {
    let mock = Mock::new();
    mock.unset("energy_mj");
    mock.set("power_mw", 0.0);
    mock.set("fail:nvmlDeviceGetUtilizationRates", NOT_SUPPORTED);
    mock.set("fail:nvmlDeviceGetProcessUtilization", NOT_SUPPORTED);
    mock.set("fail:nvmlDeviceGetEnforcedPowerLimit", NOT_SUPPORTED);
    let mut device = mock.open();
    for seconds in [0.0, 1.0, 2.0] {
        let expected =
            Reading { at: at(seconds), energy: None, power: None, own_share: None, utilization: None };
        assert_eq!(device.read(at(seconds)).unwrap(), expected);
    }
    assert_eq!(device.info().full_power, None);
    let source = &device.info().power_provenance.source;
    assert!(source.starts_with("unknown: no power is told"), "{source}");
}

#[test]
fn an_energy_counter_that_power_bears_out_is_used_and_read_once_a_second() {
    let mock = Mock::new();
    let mut device = mock.open();
    let source = |device: &dyn Device| device.info().power_provenance.source.clone();
    assert!(source(&device).starts_with("NVML energy counter, not compared"), "{}", source(&device));
    let readings = run(&mock, &mut device, (0, 10), 200.0, 1.02);
    assert!(source(&device).starts_with("NVML energy counter, 1.02 of integrated"), "{}", source(&device));
    let told = readings.last().unwrap().energy.unwrap().get();
    assert!((told - 9.9 * 204.0).abs() < 15.0, "{told}");
    assert_eq!(mock.calls("nvmlDeviceGetTotalEnergyConsumption"), 10.0);
}

#[test]
fn an_energy_counter_that_power_does_not_bear_out_is_left_for_integrated_power() {
    let mock = Mock::new();
    let mut device = mock.open();
    let readings = run(&mock, &mut device, (0, 20), 200.0, 0.5);
    let told = readings.last().unwrap().energy.unwrap().get();
    assert!((told - 19.9 * 200.0).abs() < 1.0, "{told}");
    let source = &device.info().power_provenance.source;
    assert!(source.contains("field 186") && source.contains("integrated, because"), "{source}");
}

#[test]
fn energy_goes_on_where_its_counter_runs_backwards_or_stands_still() {
    for (counter, stands, because) in [(1000.0, 1.0, "ran backwards"), (-1.0, 0.0, "stood still")] {
        let mock = Mock::new();
        let mut device = mock.open();
        let mut readings = run(&mock, &mut device, (0, 5), 100.0, 1.0);
        if counter >= 0.0 {
            mock.set("energy_mj", counter);
        }
        readings.extend(run(&mock, &mut device, (5, 15), 100.0, stands));
        assert!(readings.is_sorted_by_key(|reading| reading.energy), "{because}");
        let told = readings.last().unwrap().energy.unwrap().get();
        assert!((told - 14.9 * 100.0).abs() < 11.0, "{because}: {told}"); // a tenth of a second of it
        let source = &device.info().power_provenance.source;
        assert!(source.contains(because), "{source}");
    }
}

#[test]
fn power_is_unknown_while_its_sensor_is_stuck_and_energy_is_the_counters() {
    let mock = Mock::new();
    let mut device = mock.open();
    run(&mock, &mut device, (0, 5), 100.0, 1.0);
    mock.set("utilization", 95.0);
    // The GPU draws 300 W, the sensor goes on to say 100 W.
    let readings = run(&mock, &mut device, (5, 30), 100.0, 3.0);
    let last = readings.last().unwrap();
    assert_eq!(last.power, None);
    assert!(device.info().power_provenance.source.contains("stuck"), "{}", device.info().power_provenance);
    // Between two readings of the counter nothing is known, and a reading of no energy would be one of 0 W.
    assert_eq!(last.energy, None);
    let told = readings.iter().rev().find_map(|reading| reading.energy).unwrap().get();
    assert!((told - (5.0 * 100.0 + 25.0 * 300.0)).abs() < 320.0, "{told}"); // within a second of it
    let readings = run(&mock, &mut device, (30, 31), 300.0, 1.0);
    assert_eq!(readings.last().unwrap().power, Some(Watts::new(300.0)));
}

#[test]
fn one_failed_sensor_is_an_error_of_that_reading_and_the_next_works() {
    let mock = Mock::new();
    let mut device = mock.open();
    run(&mock, &mut device, (0, 2), 100.0, 1.0);
    for (call, seconds) in [
        ("nvmlDeviceGetFieldValues", 2.0),
        ("nvmlDeviceGetUtilizationRates", 4.0),
        ("nvmlDeviceGetTotalEnergyConsumption", 6.0),
        ("nvmlDeviceGetProcessUtilization", 8.0),
    ] {
        mock.set(&format!("fail_once:{call}"), UNKNOWN);
        let error = device.read(at(seconds)).unwrap_err();
        assert!(matches!(error, DeviceError::Driver { .. }), "{call}: {error:?}");
        let reading = device.read(at(seconds + 0.5)).unwrap();
        assert_eq!(reading.power, Some(Watts::new(100.0)), "{call}");
    }
}

#[test]
fn a_lost_gpu_is_told_as_lost_whatever_is_asked_of_it() {
    let mock = Mock::new();
    let mut device = mock.open();
    let state = device.knob_state(DeviceKnob::PowerLimit).unwrap();
    mock.set("lost", GPU_IS_LOST);
    let lost = |result: Result<(), DeviceError>| match result {
        Err(error @ DeviceError::Lost { .. }) => assert!(error.to_string().contains("reset"), "{error}"),
        other => panic!("{other:?}"),
    };
    lost(device.read(at(0.0)).map(drop));
    lost(device.apply(clock(600.0)));
    lost(device.apply(limit(120.0)));
    lost(device.put_back(DeviceKnob::PowerLimit, &state));
    lost(device.mig().map(drop));
    let inspection = device.inspect(at(0.0));
    assert!(matches!(fact(&inspection, "state"), Access::Failed { .. }));
}

#[test]
fn a_limit_that_is_silently_rounded_and_a_clock_that_stays_high_are_told() {
    let mock = Mock::new();
    let mut device = mock.open();
    mock.set("round_limit_mw", 25_000.0);
    match device.apply(limit(160.0)).unwrap_err() {
        DeviceError::ReadBack { knob: DeviceKnob::PowerLimit, wanted, found, .. } => {
            assert_eq!((wanted, found), (160.0, 150.0));
        }
        other => panic!("{other:?}"),
    }
    mock.set("clock_ignores_lock", 1.0);
    match device.apply(clock(900.0)).unwrap_err() {
        DeviceError::ReadBack { knob: DeviceKnob::CoreClock, wanted, found, .. } => {
            assert_eq!((wanted, found), (900.0, 1410.0));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_limit_set_is_never_above_the_one_asked_and_less_than_a_milliwatt_below() {
    let mock = Mock::new();
    let device = std::cell::RefCell::new(mock.open());
    proptest!(|(watts in 100.0..=250.0_f64)| {
        device.borrow_mut().apply(limit(watts)).unwrap();
        let short = watts * 1000.0 - mock.get("limit_mw").unwrap();
        prop_assert!((-0.001..1.0).contains(&short), "{short} mW below");
    });
}

#[test]
fn a_refused_write_says_how_to_be_let() {
    let mock = Mock::new();
    let mut device = mock.open();
    mock.set("no_permission", 1.0); // the driver knows better than the capabilities
    for setting in [clock(600.0), limit(120.0)] {
        let error = device.apply(setting).unwrap_err().to_string();
        assert!(error.contains("--cap-add SYS_ADMIN"), "{error}");
    }
}

#[test]
fn knobs_that_may_not_be_turned_are_shown_with_their_range_and_what_they_would_need() {
    let mock = Mock::new();
    mock.capabilities("00000000a80425fb"); // what Docker gives
    let mut device = mock.open();
    assert!(device.info().knobs.is_empty());
    let error = device.apply(limit(120.0)).unwrap_err();
    assert!(matches!(error, DeviceError::NoSuchKnob { .. }), "{error}");
    let inspection = device.inspect(at(0.0));
    assert_eq!(inspection.knobs.len(), 2);
    for knob in &inspection.knobs {
        assert!(knob.range.is_some());
        let Access::Denied { fix, .. } = &knob.turnable else { panic!("{knob:?}") };
        assert!(fix.contains("CAP_SYS_ADMIN"), "{fix}");
    }
    assert_eq!(inspection.knobs[1].stands, Access::Here(Some(250.0)));
    // Finding that out changed nothing.
    assert_eq!(mock.calls("nvmlDeviceSetPowerManagementLimit"), 0.0);
    assert_eq!(mock.calls("nvmlDeviceSetGpuLockedClocks"), 0.0);
    let mut tenth = 0;
    let now = || {
        tenth += 1;
        at(f64::from(tenth) / 10.0)
    };
    conformance::check(&mut Held::new(Box::new(device)), now, |_| None).unwrap();
}

#[test]
fn knobs_that_a_gpu_does_not_have_are_not_listed() {
    let mock = Mock::new();
    mock.set("architecture", 4.0); // Pascal
    mock.set("fail:nvmlDeviceGetPowerManagementLimitConstraints", NOT_SUPPORTED);
    let mut device = mock.open();
    assert!(device.info().knobs.is_empty());
    let inspection = device.inspect(at(0.0));
    assert!(inspection.knobs.iter().all(|knob| is_absent(&knob.turnable)), "{:?}", inspection.knobs);
}

#[test]
fn every_supported_clock_is_a_step_however_many_there_are() {
    let mock = Mock::new();
    let device = mock.open();
    let range = device.info().range(DeviceKnob::CoreClock).unwrap();
    let expected: Vec<_> = (14..=200).map(|step| f64::from(step * 15)).collect();
    assert_eq!(range.steps, expected);
    assert_eq!((range.min, range.max), (210.0, 3000.0));
}

#[test]
fn the_own_share_is_unknown_where_processes_have_other_numbers_for_the_driver() {
    let mock = Mock::new();
    mock.hide_driver_pids();
    let mut device = mock.open();
    assert_eq!(device.read(at(0.0)).unwrap().own_share, None);
    assert!(is_absent(&fact(&device.inspect(at(0.0)), "own_share")));
    let mock = Mock::new();
    mock.set("own_pid", 1.0);
    assert_eq!(mock.open().read(at(0.0)).unwrap().own_share, None);
    mock.set("processes", 0.0);
    assert_eq!(mock.open().read(at(0.0)).unwrap().own_share, None);
}

#[test]
fn inspection_tells_instant_and_average_power_apart_and_facts_in_words() {
    let mock = Mock::new();
    let mut device = mock.open();
    let inspection = device.inspect(at(0.0));
    for (name, expected) in [
        ("power_instant", 71.5),
        ("power_average", 70.0),
        ("power_usage", 71.5),
        ("energy_since_driver_load", 123_456.789),
        ("power_limit_enforced", 250.0),
        ("temperature", 45.0),
        ("core_clock", 1410.0),
        ("memory_clock", 1215.0),
        ("utilization", 0.4),
        ("memory_used", 3.0 * f64::from(1 << 30)),
        ("memory_total", 40.0 * f64::from(1 << 30)),
    ] {
        assert_eq!(sensor(&inspection, name), Access::Here(expected), "{name}");
    }
    let said = |name| match fact(&inspection, name) {
        Access::Here(said) => said,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(said("driver"), "580.95.05");
    assert_eq!(said("architecture"), "ampere");
    assert_eq!(said("pci_bus"), "00000000:17:00.0");
    assert_eq!(said("throttle_reasons"), "power limit");
    assert_eq!(said("mig"), "off");
    let own = std::process::id();
    assert_eq!(
        said("processes"),
        format!("{own}: 512 MiB, 30 % of the SMs; 1000000: unknown memory, 10 % of the SMs")
    );
    mock.set("fail:field 186", NOT_SUPPORTED);
    mock.set("fail:nvmlDeviceGetTemperature", UNKNOWN);
    let inspection = device.inspect(at(0.0));
    assert!(is_absent(&sensor(&inspection, "power_instant")));
    assert!(matches!(sensor(&inspection, "temperature"), Access::Failed { .. }));
    assert_eq!(sensor(&inspection, "power_average"), Access::Here(70.0));
}
