//! Claims of the CPU device as a whole, over fake trees.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wattle_core::units::{Joules, Megahertz, Watts};

use super::fake_tree::FakeTree;
use super::rapl::limit::tests::{limit_uw, limited};
use super::*;
use crate::conformance;
use crate::held::Held;

pub(super) const LIMIT: &str = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq";

/// Two busy-free cores with a name, no counters, no clock: what a virtual machine shows.
pub(super) fn virtual_machine() -> FakeTree {
    let tree = FakeTree::new();
    tree.ticks(0, 0, 0);
    tree.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Fake(R) CPU @ 2.50GHz\nmodel name\t: other\n");
    tree
}

/// As [`virtual_machine`], with an energy counter and a clock.
pub(super) fn bare_metal() -> FakeTree {
    let tree = virtual_machine();
    tree.write("sys/class/powercap/intel-rapl:0/name", "package-0");
    tree.write("sys/class/powercap/intel-rapl:0/energy_uj", "1000000");
    tree.write("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "262143328850");
    tree.write("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_min_freq", "800000");
    tree.write("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "3500000");
    tree.write(LIMIT, "3100000");
    tree
}

/// As [`bare_metal`], with a second package and limits of power.
pub(super) fn two_packages() -> FakeTree {
    let tree = bare_metal();
    limited(&tree, 0, 140, 150);
    limited(&tree, 1, 90, 100);
    tree.write("sys/class/powercap/intel-rapl:1/energy_uj", "7");
    tree.write("sys/class/powercap/intel-rapl:1/max_energy_range_uj", "262143328850");
    tree.write("sys/class/powercap/intel-rapl:2/name", "psys");
    tree.write("sys/class/powercap/intel-rapl:2/energy_uj", "900000000");
    tree
}

pub(super) fn open(tree: &FakeTree) -> (CpuDevice, Arc<CoreBudget>) {
    let budget = CoreBudget::new(4);
    (CpuDevice::new("cpu".into(), &tree.roots(), None, Arc::clone(&budget)).unwrap(), budget)
}

pub(super) fn at_ms(milliseconds: u64) -> Timestamp {
    Timestamp::from_duration(Duration::from_millis(milliseconds))
}

#[test]
fn measures_by_the_counters_where_they_can_be_read() {
    let tree = bare_metal();
    let (mut cpu, _) = open(&tree);
    assert!(matches!(cpu.power_source(), CpuPowerSource::Rapl));
    assert_eq!(cpu.info().description, "Fake(R) CPU @ 2.50GHz, 2 logical cores");
    assert_eq!(cpu.info().power_provenance, Provenance::new(Basis::Measured, "RAPL package-0 by powercap"));
    assert_eq!(cpu.read(at_ms(0)).unwrap().energy, Some(Joules::ZERO));
    tree.write("sys/class/powercap/intel-rapl:0/energy_uj", "3500000");
    tree.ticks(5, 5, 1);
    let reading = cpu.read(at_ms(100)).unwrap();
    assert_eq!((reading.energy, reading.power), (Some(Joules::new(2.5)), None));
    assert_eq!((reading.utilization, reading.own_share), (Some(0.5), Some(0.2)));
}

#[test]
fn estimates_and_says_so_where_there_is_no_counter() {
    let tree = virtual_machine();
    let (mut cpu, _) = open(&tree);
    assert!(matches!(
        cpu.power_source(),
        CpuPowerSource::Estimate { because } if because.contains("powercap: no RAPL zones")
    ));
    assert_eq!(cpu.info().power_provenance.basis, Basis::Assumed);
    let ends = [&cpu.info().idle_power, &cpu.info().full_power].map(|end| end.clone().unwrap().0);
    assert_eq!(ends, [Watts::new(1.48), Watts::new(7.0)]);
    let first = cpu.read(at_ms(0)).unwrap();
    assert_eq!((first.energy, first.power, first.utilization), (Some(Joules::ZERO), None, None));
    tree.ticks(200, 0, 100);
    let reading = cpu.read(at_ms(1_000)).unwrap();
    assert_eq!((reading.energy, reading.power), (Some(Joules::new(7.0)), Some(Watts::new(7.0))));
    assert_eq!((reading.utilization, reading.own_share), (Some(1.0), Some(0.5)));
}

#[test]
fn estimates_where_the_counter_can_not_be_read() {
    let tree = bare_metal();
    tree.dir_in_place_of("sys/class/powercap/intel-rapl:0/energy_uj");
    let (cpu, _) = open(&tree);
    assert!(
        matches!(cpu.power_source(), CpuPowerSource::Estimate { because } if because.contains("energy_uj"))
    );
    assert_eq!(cpu.info().power_provenance.basis, Basis::Assumed);
}

#[test]
fn estimates_by_the_line_it_is_given() {
    let tree = virtual_machine();
    let line = CpuPowerEstimate::new(Watts::new(30.0), Watts::new(90.0), "a wall meter").unwrap();
    let cpu = CpuDevice::new("cpu".into(), &tree.roots(), Some(line), CoreBudget::new(1)).unwrap();
    let source = "from 30.0 W idle to 90.0 W full, by CPU utilisation (a wall meter)";
    assert_eq!(cpu.info().power_provenance, Provenance::new(Basis::Assumed, source));
}

#[test]
fn a_clock_that_can_not_be_turned_is_no_knob() {
    let tree = bare_metal();
    tree.dir_in_place_of(LIMIT);
    let (mut cpu, _) = open(&tree);
    assert!(matches!(cpu.clock, Access::Failed { .. }));
    let error = cpu.apply(DeviceSetting::CoreClock(Megahertz::new(1000.0))).unwrap_err();
    assert_eq!(error.to_string(), "cpu has no knob core_clock; it has compute_units");
}

#[test]
fn cores_in_use_are_the_limit_of_the_thread_budget() {
    let tree = virtual_machine();
    let (cpu, budget) = open(&tree);
    let mut cpu = Held::new(Box::new(cpu));
    cpu.apply(DeviceSetting::ComputeUnits(3)).unwrap();
    assert_eq!(budget.limit(), 3);
    for refused in [0, 5] {
        let error = cpu.apply(DeviceSetting::ComputeUnits(refused)).unwrap_err();
        let expected = format!("cpu: compute_units of {refused} is out of its range, 1 to 4");
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(budget.limit(), 3);
    cpu.restore().unwrap();
    assert_eq!(budget.limit(), 4);
}

#[test]
fn dropping_puts_the_knobs_back() {
    let tree = bare_metal();
    let (cpu, budget) = open(&tree);
    let mut cpu = Held::new(Box::new(cpu));
    cpu.apply(DeviceSetting::CoreClock(Megahertz::new(1200.0))).unwrap();
    cpu.apply(DeviceSetting::ComputeUnits(1)).unwrap();
    assert_eq!((tree.read(LIMIT), budget.limit()), ("1200000".into(), 1));
    drop(cpu);
    assert_eq!((tree.read(LIMIT), budget.limit()), ("3100000".into(), 4));
}

#[test]
fn a_machine_without_tick_counts_is_refused() {
    let tree = FakeTree::new();
    let error = CpuDevice::new("cpu".into(), &tree.roots(), None, CoreBudget::new(1)).unwrap_err();
    assert!(matches!(error, DeviceError::File { action: "read", .. }), "{error}");
}

#[test]
fn conforms() {
    for tree in [bare_metal(), virtual_machine(), two_packages()] {
        let (cpu, budget) = open(&tree);
        let mut cpu = Held::new(Box::new(cpu));
        let mut now_ms = 0;
        let now = || {
            now_ms += 30;
            tree.ticks(now_ms / 20, now_ms / 20, now_ms / 40);
            at_ms(now_ms)
        };
        let seen_outside = |knob| match knob {
            DeviceKnob::ComputeUnits => Some(f64::from(budget.limit())),
            DeviceKnob::CoreClock => Some(tree.read(LIMIT).parse::<f64>().unwrap() / 1e3),
            DeviceKnob::PowerLimit => Some((limit_uw(&tree, 0) + limit_uw(&tree, 1)) as f64 * 1e-6),
        };
        conformance::check(&mut cpu, now, seen_outside).unwrap();
    }
}

#[test]
fn a_power_limit_is_put_back_by_another_process_from_what_was_recorded() {
    let tree = two_packages();
    let (mut cpu, _) = open(&tree);
    let found = cpu.knob_state(DeviceKnob::PowerLimit).unwrap();
    assert_eq!(
        found.0.keys().map(String::as_str).collect::<Vec<_>>(),
        ["intel-rapl:0/enabled", "intel-rapl:0/limit_uw", "intel-rapl:1/enabled", "intel-rapl:1/limit_uw"]
    );
    cpu.apply(DeviceSetting::PowerLimit(Watts::new(125.0))).unwrap();
    assert_eq!((limit_uw(&tree, 0), limit_uw(&tree, 1)), (75_000_000, 50_000_000));
    drop(cpu);
    let (mut another, _) = open(&tree);
    another.put_back(DeviceKnob::PowerLimit, &found).unwrap();
    assert_eq!((limit_uw(&tree, 0), limit_uw(&tree, 1)), (140_000_000, 90_000_000));
}

#[test]
fn energy_goes_on_by_the_estimate_when_a_package_stands_still() {
    let tree = bare_metal();
    let (mut cpu, _) = open(&tree);
    cpu.read(at_ms(0)).unwrap();
    tree.write("sys/class/powercap/intel-rapl:0/energy_uj", "3000000");
    assert_eq!(cpu.read(at_ms(1_000)).unwrap().energy, Some(Joules::new(2.0)));
    assert_eq!(cpu.read(at_ms(10_999)).unwrap().energy, Some(Joules::new(2.0)));
    assert_eq!(cpu.info().power_provenance.basis, Basis::Measured);
    cpu.read(at_ms(11_000)).unwrap();
    assert!(matches!(
        cpu.power_source(),
        CpuPowerSource::Estimate { because } if because.contains("package-0") && because.contains("10 s")
    ));
    assert_eq!(cpu.info().power_provenance.basis, Basis::Assumed);
    tree.ticks(200, 0, 100);
    assert_eq!(cpu.read(at_ms(12_000)).unwrap().energy, Some(Joules::new(9.0)), "2 J, then 7 W for 1 s");
}

#[test]
fn perf_events_measure_where_powercap_does_not() {
    let tree = virtual_machine();
    super::rapl::perf_event::tests::power_pmu(&tree);
    let joules = Arc::new(AtomicU64::new(0));
    let ticks = Arc::clone(&joules);
    let open_event = move |_: &perf_event::Event| -> std::io::Result<perf_event::ReadTicks> {
        let ticks = Arc::clone(&ticks);
        Ok(Box::new(move || Ok(ticks.fetch_add(2, Ordering::Relaxed))))
    };
    let budget = CoreBudget::new(4);
    let cpu =
        CpuDevice::with_events("cpu".into(), &tree.roots(), None, Arc::clone(&budget), &open_event).unwrap();
    assert_eq!(
        cpu.info().power_provenance,
        Provenance::new(Basis::Measured, "RAPL package-0 + package-1 + dram by perf_event")
    );
    let mut cpu = Held::new(Box::new(cpu));
    let mut now_ms = 0;
    let now = || {
        now_ms += 100;
        at_ms(now_ms)
    };
    let seen_outside = |knob| (knob == DeviceKnob::ComputeUnits).then(|| f64::from(budget.limit()));
    conformance::check(&mut cpu, now, seen_outside).unwrap();
    assert!(joules.load(Ordering::Relaxed) > 100);
}

/// Real files, whatever they hold here: opening and reading must not fail on any Linux.
#[cfg(target_os = "linux")]
#[test]
fn opens_the_cpu_of_this_machine() {
    let roots = CpuRoots::default();
    let mut cpu = CpuDevice::new("cpu".into(), &roots, None, CoreBudget::new(1)).unwrap();
    println!("{:#?}\n{:?}", cpu.info(), cpu.power_source());
    assert!(cpu.read(Timestamp::ZERO).unwrap().energy.is_some());
    println!("{:#?}", cpu.inspect(at_ms(100)));
}
