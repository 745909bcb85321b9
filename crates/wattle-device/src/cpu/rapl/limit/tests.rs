//! Claims of the power limit, over fake trees.

use super::super::super::fake_tree::FakeTree;
use super::*;

/// A package with a long-term limit of `limit_watts`, that tells `max_watts` as its highest.
pub(in super::super::super) fn limited(tree: &FakeTree, zone: u32, limit_watts: u64, max_watts: u64) {
    let file = |what: &str| format!("sys/class/powercap/intel-rapl:{zone}/{what}");
    tree.write(&file("name"), &format!("package-{zone}"));
    tree.write(&file("enabled"), "1");
    tree.write(&file("constraint_0_name"), "short_term");
    tree.write(&file("constraint_0_power_limit_uw"), "7");
    tree.write(&file("constraint_1_name"), "long_term");
    tree.write(&file("constraint_1_power_limit_uw"), &format!("{limit_watts}000000"));
    tree.write(&file("constraint_1_max_power_uw"), &format!("{max_watts}000000"));
}

pub(in super::super::super) fn limit_uw(tree: &FakeTree, zone: u32) -> u64 {
    tree.read(&format!("sys/class/powercap/intel-rapl:{zone}/constraint_1_power_limit_uw")).parse().unwrap()
}

fn open(tree: &FakeTree) -> PowerLimits {
    match PowerLimits::open(&tree.sys(), "cpu".into()) {
        Access::Here(limits) => limits,
        other => panic!("{other:?}"),
    }
}

fn ends(limits: &PowerLimits) -> (f64, f64) {
    match limits.range() {
        Access::Here(range) => (range.min, range.max),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_limit_of_the_machine_is_split_in_proportion_and_put_back_with_what_was_in_force() {
    let tree = FakeTree::new();
    limited(&tree, 0, 140, 150);
    limited(&tree, 1, 90, 100);
    tree.write("sys/class/powercap/intel-rapl:1/enabled", "0");
    let limits = open(&tree);
    assert_eq!(ends(&limits), (125.0, 250.0));
    assert_eq!(limits.stands().unwrap(), None, "package 1 has no limit in force");
    let found = limits.state().unwrap();
    assert_eq!(found.0.len(), 4);
    limits.set(Watts::new(200.0)).unwrap();
    assert_eq!((limit_uw(&tree, 0), limit_uw(&tree, 1)), (120_000_000, 80_000_000));
    assert_eq!(limits.stands().unwrap(), Some(200.0));
    assert_eq!(tree.read("sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw"), "7");
    limits.put_back(&found).unwrap();
    assert_eq!((limit_uw(&tree, 0), limit_uw(&tree, 1)), (140_000_000, 90_000_000));
    assert_eq!(tree.read("sys/class/powercap/intel-rapl:1/enabled"), "0");
    assert_eq!(limits.state().unwrap(), found);
}

#[test]
fn without_a_highest_limit_the_one_found_is_the_highest_and_a_senseless_one_is_no_range() {
    let tree = FakeTree::new();
    limited(&tree, 0, 65, 0);
    let limits = open(&tree);
    assert_eq!(ends(&limits), (32.5, 65.0));
    assert!(limits.source().contains("highest: the limit as found"), "{}", limits.source());
    limited(&tree, 0, 4095, 0);
    let Access::Absent { because } = open(&tree).range() else { panic!("4095 W is no limit") };
    assert!(because.contains("4095 W"), "{because}");
    assert!(matches!(open(&tree).set(Watts::new(65.0)), Err(DeviceError::Driver { .. })));
    assert_eq!(limit_uw(&tree, 0), 4_095_000_000);
    tree.write("sys/class/powercap/intel-rapl:0/constraint_1_min_power_uw", "20000000");
    limited(&tree, 0, 65, 80);
    assert_eq!(ends(&open(&tree)), (20.0, 80.0));
}

#[test]
fn a_machine_without_limits_says_so() {
    let tree = FakeTree::new();
    let access = |tree: &FakeTree| PowerLimits::open(&tree.sys(), "cpu".into());
    assert!(matches!(access(&tree), Access::Absent { .. }));
    tree.write("sys/class/powercap/intel-rapl:0/name", "package-0");
    assert!(matches!(access(&tree), Access::Absent { because } if because.contains("long_term")));
    limited(&tree, 0, 65, 80);
    tree.write("sys/class/powercap/intel-rapl:0/enabled", "2");
    assert!(matches!(access(&tree), Access::Failed { because } if because.contains("enabled")));
    tree.write("sys/class/powercap/intel-rapl:0/enabled", "1");
    tree.write("sys/class/powercap/intel-rapl:0/constraint_1_power_limit_uw", "much");
    assert!(matches!(access(&tree), Access::Failed { because } if because.contains("much")));
}

#[test]
fn a_state_that_is_not_its_own_is_refused_and_the_rest_is_put_back() {
    let tree = FakeTree::new();
    limited(&tree, 0, 65, 80);
    let limits = open(&tree);
    let mut state = limits.state().unwrap();
    state.0.insert("intel-rapl:0/enabled".into(), "yes".into());
    limits.set(Watts::new(50.0)).unwrap();
    let error = limits.put_back(&state).unwrap_err().to_string();
    assert!(error.contains("intel-rapl:0/enabled = \"yes\""), "{error}");
    assert_eq!(limit_uw(&tree, 0), 65_000_000);
}

#[test]
fn a_limit_that_does_not_follow_is_an_error() {
    let tree = FakeTree::new();
    limited(&tree, 0, 65, 80);
    let mut limits = open(&tree);
    limits.zones[0].limit = "/dev/null".into();
    assert!(matches!(limits.set(Watts::new(50.0)), Err(DeviceError::Content { .. })));
}
