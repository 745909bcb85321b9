//! Claims of the clocks, over fake trees.

use super::super::fake_tree::FakeTree;
use super::*;

fn limit(group: u32) -> String {
    format!("sys/devices/system/cpu/cpufreq/policy{group}/scaling_max_freq")
}

fn group(tree: &FakeTree, group: u32, khz: [u64; 3], steps: Option<&str>) {
    let folder = format!("sys/devices/system/cpu/cpufreq/policy{group}");
    tree.write(&format!("{folder}/cpuinfo_min_freq"), &khz[0].to_string());
    tree.write(&format!("{folder}/scaling_max_freq"), &khz[1].to_string());
    tree.write(&format!("{folder}/cpuinfo_max_freq"), &format!("{}\n", khz[2]));
    if let Some(steps) = steps {
        tree.write(&format!("{folder}/scaling_available_frequencies"), steps);
    }
}

fn access(tree: &FakeTree) -> Access<CpuFreq> {
    CpuFreq::open(&tree.sys(), "cpu".into())
}

fn open(tree: &FakeTree) -> CpuFreq {
    let Access::Here(clocks) = access(tree) else { panic!("no clocks") };
    clocks
}

#[test]
fn sets_every_group_within_its_own_range_and_puts_back_what_it_found() {
    let tree = FakeTree::new();
    group(&tree, 0, [800_000, 5_000_000, 5_000_000], None);
    group(&tree, 8, [700_000, 3_000_000, 4_000_000], None);
    let clocks = open(&tree);
    let found = clocks.state().unwrap();
    let range = clocks.range();
    assert_eq!((range.min, range.max, range.steps), (700.0, 5000.0, vec![]));
    let stand = || (tree.read(&limit(0)), tree.read(&limit(8)));
    clocks.set_max(Megahertz::new(4500.5)).unwrap();
    assert_eq!(stand(), ("4500500".into(), "4000000".into()));
    clocks.set_max(Megahertz::new(700.0)).unwrap();
    assert_eq!(stand(), ("800000".into(), "700000".into()));
    clocks.put_back(&found).unwrap();
    assert_eq!(stand(), ("5000000".into(), "3000000".into()));
}

#[test]
fn rounds_down_to_a_listed_step() {
    let tree = FakeTree::new();
    group(&tree, 0, [800_000, 2_400_000, 2_400_000], Some("2400000 1600000 800000 \n"));
    let clocks = open(&tree);
    assert_eq!(clocks.range().steps, [800.0, 1600.0, 2400.0]);
    clocks.set_max(Megahertz::new(2399.0)).unwrap();
    assert_eq!(tree.read(&limit(0)), "1600000");
}

#[test]
fn accepts_a_driver_that_rounds_and_no_other_change() {
    let group = |steps_khz: &[u64]| ClockGroup {
        limit: PathBuf::new(),
        min_khz: 800_000,
        max_khz: 2_400_000,
        steps_khz: steps_khz.to_vec(),
    };
    let steps = group(&[800_000, 1_600_000, 2_400_000]);
    assert!(steps.is_rounded(2_000_000, 1_600_000));
    assert!(steps.is_rounded(2_000_000, 2_400_000));
    assert!(!steps.is_rounded(2_000_000, 800_000));
    assert!(!steps.is_rounded(1_600_000, 2_400_000));
    let any = group(&[]);
    assert!(any.is_rounded(2_000_000, 1_980_000));
    assert!(!any.is_rounded(2_000_000, 1_979_999));
}

/// A file that takes every write and goes on reading the same, as a clock that something else holds.
#[cfg(target_os = "linux")]
#[test]
fn a_clock_that_does_not_follow_is_an_error() {
    let tree = FakeTree::new();
    group(&tree, 0, [800_000, 2_400_000, 2_400_000], None);
    let mut clocks = open(&tree);
    // Empty however much is written: not a number, so the read back fails.
    clocks.groups[0].limit = PathBuf::from("/dev/null");
    assert!(matches!(clocks.set_max(Megahertz::new(900.0)), Err(DeviceError::Content { .. })));
}

#[test]
fn a_failing_group_does_not_keep_the_others_from_being_put_back() {
    let tree = FakeTree::new();
    group(&tree, 0, [800_000, 2_400_000, 2_400_000], None);
    group(&tree, 1, [800_000, 2_400_000, 2_400_000], None);
    let clocks = open(&tree);
    let found = clocks.state().unwrap();
    clocks.set_max(Megahertz::new(1000.0)).unwrap();
    tree.dir_in_place_of(&limit(0));
    assert!(matches!(clocks.put_back(&found), Err(DeviceError::File { action: "write", .. })));
    assert_eq!(tree.read(&limit(1)), "2400000");
}

#[test]
fn a_state_that_is_not_its_own_is_refused_by_what_stands_in_it() {
    let tree = FakeTree::new();
    group(&tree, 0, [800_000, 2_400_000, 2_400_000], None);
    let state = KnobState([("policy7".to_owned(), "800000".to_owned())].into());
    let error = open(&tree).put_back(&state).unwrap_err().to_string();
    assert!(error.contains("recorded as policy7 = \"800000\", expected a group"), "{error}");
}

#[test]
fn stands_at_the_highest_limit_and_nowhere_when_nothing_limits() {
    let tree = FakeTree::new();
    group(&tree, 0, [800_000, 5_000_000, 5_000_000], None);
    group(&tree, 8, [700_000, 4_000_000, 4_000_000], None);
    assert_eq!(open(&tree).stands().unwrap(), None);
    tree.write(&limit(0), "3000000");
    assert_eq!(open(&tree).stands().unwrap(), Some(4000.0));
    assert!(open(&tree).clock_now().is_err());
    for (group, khz) in [(0, "3000000"), (8, "1000000")] {
        tree.write(&format!("sys/devices/system/cpu/cpufreq/policy{group}/scaling_cur_freq"), khz);
    }
    assert_eq!(open(&tree).clock_now().unwrap(), 2000.0);
}

#[test]
fn says_why_no_clock_can_be_turned() {
    let tree = FakeTree::new();
    assert!(matches!(access(&tree), Access::Absent { .. }));
    tree.dir("sys/devices/system/cpu/cpufreq/policy0");
    assert!(matches!(access(&tree), Access::Absent { because } if because.contains("cpuinfo_min_freq")));
    group(&tree, 0, [800_000, 2_400_000, 2_400_000], Some("many"));
    assert!(matches!(access(&tree), Access::Failed { .. }));
    group(&tree, 0, [2_400_000, 2_400_000, 800_000], Some(""));
    assert!(matches!(access(&tree), Access::Failed { .. }));
}
