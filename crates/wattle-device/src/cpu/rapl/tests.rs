//! Claims of the energy counters, over fake trees and fake events.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::fake_tree::FakeTree;
use super::perf_event::Event;
use super::*;

const RANGE_UJ: u64 = 262_143_328_850;

fn zone(tree: &FakeTree, folder: &str, name: &str, counter: &str) {
    let folder = format!("sys/class/powercap/{folder}");
    tree.write(&format!("{folder}/name"), name);
    tree.write(&format!("{folder}/energy_uj"), counter);
    tree.write(&format!("{folder}/max_energy_range_uj"), &RANGE_UJ.to_string());
}

fn count(tree: &FakeTree, counter: u64) {
    tree.write("sys/class/powercap/intel-rapl:0/energy_uj", &counter.to_string());
}

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_duration(Duration::from_secs_f64(seconds))
}

/// As a kernel without perf events.
fn no_events(_: &Event) -> io::Result<perf_event::ReadTicks> {
    Err(io::ErrorKind::NotFound.into())
}

#[track_caller]
fn open(tree: &FakeTree) -> Rapl {
    Rapl::open(&tree.sys(), &no_events).0.unwrap()
}

fn open_one(counter: u64) -> (FakeTree, Rapl) {
    let tree = FakeTree::new();
    zone(&tree, "intel-rapl:0", "package-0\n", &counter.to_string());
    let mut rapl = open(&tree);
    assert_eq!(rapl.read(at(0.0)).unwrap(), Joules::ZERO);
    (tree, rapl)
}

#[track_caller]
fn check_read(rapl: &mut Rapl, seconds: f64, joules: f64) {
    let found = rapl.read(at(seconds)).unwrap().get();
    assert!((found - joules).abs() < 1e-6, "{found} J, expected {joules} J");
}

#[test]
fn adds_packages_and_their_dram_and_nothing_twice() {
    let tree = FakeTree::new();
    tree.dir("sys/class/powercap/intel-rapl"); // the control type, not a zone
    for (folder, name) in [
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "dram"),
        ("intel-rapl:1", "package-1"),
        ("intel-rapl:1:0", "uncore"),
        ("intel-rapl:1:1", "dram"),
        ("intel-rapl:2", "psys"),
        ("intel-rapl:2:0", "dram"),
        ("intel-rapl-mmio:0", "package-0"),
    ] {
        zone(&tree, folder, name, "0");
    }
    let mut rapl = open(&tree);
    assert_eq!(rapl.source(), "RAPL package-0 + package-1 + dram by powercap");
    rapl.read(at(0.0)).unwrap();
    let folders = ["0", "0:0", "0:1", "1", "1:0", "1:1", "2", "2:0"];
    for (i, folder) in folders.iter().enumerate() {
        let microjoules = 10_u64.pow(i as u32) * 1_000_000;
        tree.write(&format!("sys/class/powercap/intel-rapl:{folder}/energy_uj"), &microjoules.to_string());
    }
    check_read(&mut rapl, 100.0, 1.0 + 100.0 + 1_000.0 + 100_000.0);
}

#[test]
fn a_counter_that_turns_over_counts_on() {
    let (tree, mut rapl) = open_one(RANGE_UJ - 3_000_000);
    count(&tree, 2_000_000);
    check_read(&mut rapl, 1.0, 5.0);
    count(&tree, 3_000_000);
    check_read(&mut rapl, 2.0, 6.0);
}

#[test]
fn a_counter_that_was_reset_counts_what_it_shows() {
    let (tree, mut rapl) = open_one(1_000_000);
    count(&tree, 500_000); // turning over would be 260 kJ in a second
    check_read(&mut rapl, 1.0, 0.5);
}

#[test]
fn a_counter_that_jumped_back_counts_nothing_and_then_counts_on() {
    let (tree, mut rapl) = open_one(100_000_000_000);
    count(&tree, 99_999_000_000);
    check_read(&mut rapl, 1.0, 0.0);
    count(&tree, 100_000_000_000);
    check_read(&mut rapl, 2.0, 1.0);
    count(&tree, 99_000_000_000);
    check_read(&mut rapl, 1.0, 1.0); // time ran backwards too
}

#[test]
fn a_counter_that_jumped_ahead_counts_nothing_and_then_counts_on() {
    let (tree, mut rapl) = open_one(1_000_000);
    count(&tree, 200_000_000_000); // 200 kJ in a second
    check_read(&mut rapl, 1.0, 0.0);
    count(&tree, 200_001_000_000);
    check_read(&mut rapl, 2.0, 1.0);
}

#[test]
fn a_failed_reading_loses_no_energy() {
    let (tree, mut rapl) = open_one(0);
    tree.write("sys/class/powercap/intel-rapl:0/energy_uj", "garbage");
    let error = rapl.read(at(1.0)).unwrap_err().to_string();
    assert!(error.ends_with(r#"holds "garbage", expected an energy counter, in microjoules"#), "{error}");
    count(&tree, 4_000_000);
    check_read(&mut rapl, 2.0, 4.0);
}

#[test]
fn zones_of_memory_mapped_registers_count_only_where_there_are_no_others() {
    let tree = FakeTree::new();
    zone(&tree, "intel-rapl-mmio:0", "package-0", "0");
    assert_eq!(open(&tree).source(), "RAPL package-0 by powercap");
    zone(&tree, "intel-rapl:0", "package-0", "0");
    assert!(open(&tree).counters[0].source.contains("intel-rapl:0"));
    assert_eq!(open(&tree).counters.len(), 1);
}

#[test]
fn after_a_long_gap_the_least_possible_energy_is_counted() {
    let (tree, mut rapl) = open_one(RANGE_UJ - 1_000_000);
    assert_eq!(rapl.blind_after().unwrap().as_secs(), 131);
    count(&tree, 4_000_000);
    check_read(&mut rapl, 10_000.0, 5.0);
}

#[test]
fn a_package_that_stands_still_is_stuck_and_memory_may_stand_still() {
    let tree = FakeTree::new();
    zone(&tree, "intel-rapl:0", "package-0", "5");
    zone(&tree, "intel-rapl:0:0", "dram", "5");
    let mut rapl = open(&tree);
    for seconds in 0..10 {
        rapl.read(at(f64::from(seconds))).unwrap();
        assert_eq!(rapl.stuck(), None);
    }
    rapl.read(at(10.0)).unwrap();
    let stuck = rapl.stuck().unwrap();
    assert!(stuck.starts_with("package-0 (") && stuck.ends_with("counted no energy for 10 s"), "{stuck}");
    count(&tree, 6);
    rapl.read(at(11.0)).unwrap();
    assert_eq!(rapl.stuck(), None);
}

#[test]
fn says_why_there_is_no_counter() {
    let tree = FakeTree::new();
    let powercap = |tree: &FakeTree| Rapl::open(&tree.sys(), &no_events).1.powercap;
    assert!(matches!(powercap(&tree), Access::Absent { because } if because.contains("virtual machines")));
    tree.dir("sys/class/powercap/intel-rapl:0");
    assert!(matches!(powercap(&tree), Access::Denied { fix, .. } if fix.contains("bind-mount")));
    zone(&tree, "intel-rapl:0", "psys", "0");
    assert!(matches!(powercap(&tree), Access::Absent { because } if because.contains("psys")));
    zone(&tree, "intel-rapl:0", "package-0", "-1");
    assert!(matches!(powercap(&tree), Access::Failed { because } if because.contains("-1")));
    tree.dir_in_place_of("sys/class/powercap/intel-rapl:0/energy_uj");
    assert!(matches!(powercap(&tree), Access::Failed { .. }));
}

#[test]
fn perf_events_count_where_powercap_does_not_and_do_not_turn_over() {
    let tree = FakeTree::new();
    perf_event::tests::power_pmu(&tree);
    let ticks = Arc::new(AtomicU64::new(u64::from(u32::MAX)));
    let shown = Arc::clone(&ticks);
    let open_event = move |_: &Event| -> io::Result<perf_event::ReadTicks> {
        let shown = Arc::clone(&shown);
        Ok(Box::new(move || Ok(shown.load(Ordering::Relaxed))))
    };
    let (rapl, ways) = Rapl::open(&tree.sys(), &open_event);
    let mut rapl = rapl.unwrap();
    assert!(matches!(ways.powercap, Access::Absent { .. }));
    assert_eq!(rapl.source(), "RAPL package-0 + package-1 + dram by perf_event");
    assert_eq!((rapl.blind_after(), rapl.read(at(0.0)).unwrap()), (None, Joules::ZERO));
    ticks.fetch_add(10, Ordering::Relaxed);
    // Two packages and their memories, ten ticks of half a joule each.
    check_read(&mut rapl, 100_000.0, 20.0);
    zone(&tree, "intel-rapl:0", "package-0", "0");
    let (rapl, ways) = Rapl::open(&tree.sys(), &open_event);
    assert_eq!(rapl.unwrap().source(), "RAPL package-0 by powercap");
    assert!(ways.perf_event.is_none());
}
