//! Claims of what there is to see, over fake trees.

use super::super::tests::{LIMIT, at_ms, open, two_packages, virtual_machine};
use super::super::turnable_clock;
use super::*;

#[test]
fn a_virtual_machine_shows_what_it_lacks_as_absent() {
    let tree = virtual_machine();
    let (mut cpu, _) = open(&tree);
    let inspection = cpu.inspect(at_ms(0));
    let turnable: Vec<_> = inspection.knobs.iter().map(|knob| (knob.knob, knob.turnable.clone())).collect();
    assert!(matches!(turnable[0], (DeviceKnob::ComputeUnits, Access::Here(()))));
    assert!(matches!(turnable[1], (DeviceKnob::CoreClock, Access::Absent { .. })));
    assert!(matches!(turnable[2], (DeviceKnob::PowerLimit, Access::Absent { .. })));
    let counters = inspection.sensors.iter().filter(|sensor| sensor.name == "energy_counter");
    assert!(counters.clone().all(|sensor| matches!(sensor.reading, Access::Absent { .. })));
    assert_eq!(counters.count(), 2, "one for each way");
    assert!(inspection.facts.iter().all(|(_, fact)| matches!(fact, Access::Absent { .. })));
}

#[test]
fn a_machine_shows_its_counters_temperatures_clocks_and_limits() {
    let tree = two_packages();
    tree.write("sys/class/hwmon/hwmon0/name", "nvme");
    tree.write("sys/class/hwmon/hwmon0/temp1_input", "99000");
    tree.write("sys/class/hwmon/hwmon1/name", "coretemp");
    tree.write("sys/class/hwmon/hwmon1/temp1_input", "40000");
    tree.write("sys/class/hwmon/hwmon1/temp2_input", "51500");
    tree.write("sys/class/hwmon/hwmon1/temp2_label", "Package id 0");
    tree.write("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "2100000");
    tree.write("sys/devices/system/cpu/cpufreq/policy0/scaling_driver", "intel_pstate");
    tree.write("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave");
    tree.write("sys/devices/system/cpu/intel_pstate/no_turbo", "1");
    let (mut cpu, _) = open(&tree);
    cpu.inspect(at_ms(0));
    tree.write("sys/class/powercap/intel-rapl:0/energy_uj", "31000000");
    let inspection = cpu.inspect(at_ms(2_000));
    let reads = |name: &str| -> Vec<_> {
        let named = inspection.sensors.iter().filter(|sensor| sensor.name == name);
        named.map(|sensor| sensor.reading.clone()).collect()
    };
    assert_eq!(reads("power"), [Access::Here(15.0)]);
    assert_eq!(reads("energy_counter"), [31.0, 7e-6, 900.0].map(Access::Here));
    assert_eq!(reads("temperature"), [Access::Here(51.5)]);
    assert_eq!(reads("core_clock"), [Access::Here(2100.0)]);
    let psys = inspection.sensors.iter().find(|sensor| sensor.source.contains("(psys")).unwrap();
    assert!(psys.source.contains("not added"), "{}", psys.source);
    let stands: Vec<_> = inspection.knobs.iter().map(|knob| knob.stands.clone()).collect();
    assert_eq!(stands, [Some(4.0), Some(3100.0), Some(230.0)].map(Access::Here));
    let fact = |name: &str| inspection.facts.iter().find(|(fact, _)| *fact == name).unwrap().1.clone();
    assert_eq!(fact("clock_driver"), Access::Here("intel_pstate".into()));
    assert_eq!(fact("clock_governor"), Access::Here("powersave".into()));
    assert!(matches!(fact("boost"), Access::Here(boost) if boost.starts_with("off")));
    assert!(matches!(fact("counters_to_be_read"), Access::Here(said) if said.contains("131 s")));
}

#[test]
fn knobs_that_may_not_be_turned_are_shown_with_their_range_and_what_grants_them() {
    let tree = two_packages();
    let (mut cpu, _) = open(&tree);
    // Root may write everything, so the refusal itself is made here.
    let refused = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let denied = system_file::no_access(&system_file::failed("write", &tree.path(LIMIT), refused()));
    let Access::Here(clock) = &mut cpu.clock else { panic!("no clock") };
    clock.refuse(denied);
    assert!(matches!(turnable_clock(&cpu.clock), Access::Denied { .. }));
    let inspection = cpu.inspect(at_ms(0));
    let clock = &inspection.knobs[1];
    assert_eq!(clock.range.as_ref().map(|range| range.max), Some(3500.0));
    assert_eq!(clock.stands, Access::Here(Some(3100.0)));
    let Access::Denied { fix, .. } = &clock.turnable else { panic!("not denied") };
    assert!(fix.contains("setcap cap_dac_override=ep") && fix.ends_with("scaling_max_freq"), "{fix}");
}

/// With real refusals, which root is never given.
#[test]
fn a_user_without_rights_is_told_how_to_be_let_to_read_and_to_turn() {
    use std::os::unix::fs::PermissionsExt;
    let tree = two_packages();
    let counter = "sys/class/powercap/intel-rapl:1/energy_uj";
    for (path, mode) in [(counter, 0o000), (LIMIT, 0o444)] {
        fs::set_permissions(tree.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    if fs::File::open(tree.path(counter)).is_ok() {
        return println!("not tested: this user is refused nothing");
    }
    let (mut cpu, _) = open(&tree);
    assert!(cpu.info().range(DeviceKnob::CoreClock).is_none());
    let inspection = cpu.inspect(at_ms(0));
    let by_powercap = inspection.sensors.iter().find(|sensor| sensor.source == "RAPL by powercap").unwrap();
    let Access::Denied { fix, .. } = &by_powercap.reading else { panic!("{by_powercap:?}") };
    assert!(fix.contains("cap_dac_read_search=ep") && fix.ends_with(counter), "{fix}");
    let clock = &inspection.knobs[1];
    assert_eq!(clock.range.as_ref().map(|range| range.max), Some(3500.0));
    assert!(matches!(&clock.turnable, Access::Denied { fix, .. } if fix.ends_with(LIMIT)), "{clock:?}");
    assert!(matches!(inspection.knobs[2].turnable, Access::Here(())));
}
