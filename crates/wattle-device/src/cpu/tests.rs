//! Claims of the CPU device as a whole, over fake trees.

use std::time::Duration;

use wattle_core::units::{Joules, Megahertz, Watts};

use super::fake_tree::FakeTree;
use super::*;
use crate::conformance;
use crate::held::Held;

const LIMIT: &str = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq";

/// Two busy-free cores with a name, no counters, no clock: what a virtual machine shows.
fn virtual_machine() -> FakeTree {
    let tree = FakeTree::new();
    tree.ticks(0, 0, 0);
    tree.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Fake(R) CPU @ 2.50GHz\nmodel name\t: other\n");
    tree
}

/// As [`virtual_machine`], with an energy counter and a clock.
fn bare_metal() -> FakeTree {
    let tree = virtual_machine();
    tree.write("sys/class/powercap/intel-rapl:0/name", "package-0");
    tree.write("sys/class/powercap/intel-rapl:0/energy_uj", "1000000");
    tree.write("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "262143328850");
    tree.write("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_min_freq", "800000");
    tree.write("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "3500000");
    tree.write(LIMIT, "3100000");
    tree
}

fn open(tree: &FakeTree) -> (CpuDevice, Arc<CoreBudget>) {
    let budget = CoreBudget::new(4);
    (CpuDevice::new("cpu".into(), &tree.roots(), None, Arc::clone(&budget)).unwrap(), budget)
}

fn at_ms(milliseconds: u64) -> Timestamp {
    Timestamp::from_duration(Duration::from_millis(milliseconds))
}

#[test]
fn measures_by_the_counters_where_they_can_be_read() {
    let tree = bare_metal();
    let (mut cpu, _) = open(&tree);
    assert!(matches!(cpu.power_source(), CpuPowerSource::Rapl));
    assert_eq!(cpu.info().description, "Fake(R) CPU @ 2.50GHz, 2 logical cores");
    assert_eq!(cpu.info().power_provenance, Provenance::new(Basis::Measured, "RAPL package-0"));
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
        CpuPowerSource::Estimate { because: RaplUnavailable::Absent { .. } }
    ));
    assert!(matches!(cpu.clock_unavailable(), Some(CpuFreqUnavailable::Absent { .. })));
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
    assert!(matches!(cpu.power_source(), CpuPowerSource::Estimate { because: RaplUnavailable::Broken(_) }));
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
    assert!(matches!(cpu.clock_unavailable(), Some(CpuFreqUnavailable::Broken(_))));
    let error = cpu.apply(DeviceSetting::CoreClock(Megahertz::new(1000.0))).unwrap_err();
    assert_eq!(error.to_string(), "cpu has no knob CoreClock; it has [ComputeUnits]");
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
        let expected = format!("cpu: ComputeUnits of {refused} is out of its range, 1 to 4");
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
    for tree in [bare_metal(), virtual_machine()] {
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
            DeviceKnob::PowerLimit => None,
        };
        conformance::check(&mut cpu, now, seen_outside).unwrap();
    }
}

/// Real files, whatever they hold here: opening and reading must not fail on any Linux.
#[cfg(target_os = "linux")]
#[test]
fn opens_the_cpu_of_this_machine() {
    let roots = CpuRoots::default();
    let mut cpu = CpuDevice::new("cpu".into(), &roots, None, CoreBudget::new(1)).unwrap();
    println!("{:#?}\n{:?}", cpu.info(), cpu.power_source());
    assert!(cpu.read(Timestamp::ZERO).unwrap().energy.is_some());
}
