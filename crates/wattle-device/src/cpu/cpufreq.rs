//! The highest clock of the CPU's cores, through the kernel's cpufreq files.
//!
//! Cores share clocks in groups, which cpufreq calls policies; one setting goes to all of them.
//! Knows nothing of the knob's users: kilohertz end here.

use std::fs;
use std::path::{Path, PathBuf};

use wattle_core::id::DeviceId;
use wattle_core::knob::{DeviceKnob, KnobRange};
use wattle_core::units::Megahertz;

use super::system_file;
use crate::device::{Access, DeviceError, KnobState};

/// How far, as a share, a clock may read back from what was set where the driver lists no steps.
const READ_BACK_TOLERANCE: f64 = 0.01;

/// The clocks of all cores.
#[derive(Debug)]
pub(super) struct CpuFreq {
    device: DeviceId,
    groups: Vec<ClockGroup>,
    may_turn: Access<()>,
}

/// Cores that share one clock. Frequencies are in kilohertz, as in the files.
#[derive(Debug)]
struct ClockGroup {
    limit: PathBuf,
    min_khz: u64,
    max_khz: u64,
    /// The only frequencies there are, ascending; empty where the driver lists none.
    steps_khz: Vec<u64>,
}

impl CpuFreq {
    /// Finds the clocks below `sys` (usually `/sys`), without turning any. `device` is whose clocks
    /// these are, for errors.
    pub(super) fn open(sys: &Path, device: DeviceId) -> Access<Self> {
        let folder = sys.join("devices/system/cpu/cpufreq");
        let groups = group_folders(&folder).iter().map(|group| ClockGroup::open(group)).collect();
        let groups: Vec<_> = match groups {
            Ok(groups) => groups,
            Err(error) => return system_file::no_access(&error),
        };
        if groups.is_empty() {
            let because = format!("no clock to turn in {} (virtual machines have none)", folder.display());
            return Access::Absent { because };
        }
        let writable = groups.iter().try_for_each(|group| system_file::check_writable(&group.limit));
        Access::Here(Self { device, groups, may_turn: system_file::access(writable) })
    }

    /// Whether this user may turn all of them.
    pub(super) fn may_turn(&self) -> &Access<()> {
        &self.may_turn
    }

    /// As if this user might not turn them.
    #[cfg(test)]
    pub(super) fn refuse(&mut self, denied: Access<()>) {
        self.may_turn = denied;
    }

    /// The highest limit of any group, in megahertz; `None` where no group is limited.
    pub(super) fn stands(&self) -> Result<Option<f64>, DeviceError> {
        let limits = self.groups.iter().map(ClockGroup::read).collect::<Result<Vec<_>, _>>()?;
        let is_limited = limits.iter().zip(&self.groups).any(|(limit, group)| *limit < group.max_khz);
        Ok(limits.into_iter().max().filter(|_| is_limited).map(megahertz))
    }

    /// What the clocks of all groups stand at now, on average, in megahertz.
    pub(super) fn clock_now(&self) -> Result<f64, DeviceError> {
        let now = self.groups.iter().map(|group| {
            system_file::read_number(&group.limit.with_file_name("scaling_cur_freq"), "a clock in kilohertz")
        });
        let now = now.collect::<Result<Vec<_>, _>>()?;
        Ok(now.iter().map(|khz| megahertz(*khz)).sum::<f64>() / now.len() as f64)
    }

    /// How far the clock turns. Where groups differ (performance and efficiency cores), from the
    /// lowest to the highest of all: each group follows as far as it goes.
    pub(super) fn range(&self) -> KnobRange {
        let min = self.groups.iter().map(|group| group.min_khz).min();
        let max = self.groups.iter().map(|group| group.max_khz).max();
        let mut steps: Vec<_> =
            self.groups.iter().flat_map(|group| group.steps_khz.iter().copied()).collect();
        if self.groups.iter().any(|group| group.steps_khz.is_empty()) {
            steps.clear(); // one group takes any value, so the knob does
        }
        steps.sort_unstable();
        steps.dedup();
        KnobRange {
            knob: DeviceKnob::CoreClock,
            min: megahertz(min.unwrap_or_default()),
            max: megahertz(max.unwrap_or_default()),
            steps: steps.into_iter().map(megahertz).collect(),
        }
    }

    /// Sets the highest clock of every group, each within its own range, and reads it back. Stops at
    /// the first that fails: those before it keep the new clock until they are put back.
    pub(super) fn set_max(&self, clock: Megahertz) -> Result<(), DeviceError> {
        let asked_khz = (clock.get() * 1e3).round() as u64;
        for group in &self.groups {
            group.set(group.reachable(asked_khz), &self.device)?;
        }
        Ok(())
    }

    /// The limit of every group, by the group's name.
    pub(super) fn state(&self) -> Result<KnobState, DeviceError> {
        let limits = self.groups.iter().map(|group| Ok((group.name(), group.read()?.to_string())));
        limits.collect::<Result<_, _>>().map(KnobState)
    }

    /// Sets the limit of every group that `state` names. Tries all of them; tells the first failure.
    pub(super) fn put_back(&self, state: &KnobState) -> Result<(), DeviceError> {
        let mut result = Ok(());
        for (name, khz) in &state.0 {
            let group = self.groups.iter().find(|group| group.name() == *name);
            let put_back = match (group, khz.parse()) {
                (Some(group), Ok(khz)) => group.set(khz, &self.device),
                _ => Err(DeviceError::State {
                    device: self.device.clone(),
                    knob: DeviceKnob::CoreClock,
                    found: format!("{name} = {khz:?}"),
                    expected: "a group of this machine, such as policy0, and a clock in kilohertz",
                }),
            };
            result = result.and(put_back);
        }
        result
    }
}

impl ClockGroup {
    fn open(folder: &Path) -> Result<Self, DeviceError> {
        let number = |file: &str| system_file::read_number(&folder.join(file), "a clock in kilohertz");
        let limit = folder.join("scaling_max_freq");
        let group = Self {
            min_khz: number("cpuinfo_min_freq")?,
            max_khz: number("cpuinfo_max_freq")?,
            steps_khz: steps(&folder.join("scaling_available_frequencies"))?,
            limit,
        };
        group.read()?;
        if group.min_khz > group.max_khz {
            let found = format!("{} below cpuinfo_min_freq {}", group.max_khz, group.min_khz);
            let expected = "a highest clock above the lowest one";
            return Err(system_file::unexpected(&folder.join("cpuinfo_max_freq"), &found, expected));
        }
        Ok(group)
    }

    /// The name of the group's folder, such as `policy0`.
    fn name(&self) -> String {
        let folder = self.limit.parent().and_then(Path::file_name);
        folder.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn read(&self) -> Result<u64, DeviceError> {
        system_file::read_number(&self.limit, "a clock in kilohertz")
    }

    /// `asked_khz` within this group's range, and the step below it where the group has steps.
    fn reachable(&self, asked_khz: u64) -> u64 {
        let within = asked_khz.clamp(self.min_khz, self.max_khz);
        self.steps_khz.iter().copied().rfind(|step| *step <= within).unwrap_or(within)
    }

    /// Sets the limit and reads it back.
    fn set(&self, wanted_khz: u64, device: &DeviceId) -> Result<(), DeviceError> {
        system_file::write(&self.limit, &wanted_khz.to_string())?;
        let found_khz = self.read()?;
        if self.is_rounded(wanted_khz, found_khz) {
            return Ok(());
        }
        Err(DeviceError::ReadBack {
            device: device.clone(),
            knob: DeviceKnob::CoreClock,
            wanted: megahertz(wanted_khz),
            found: megahertz(found_khz),
        })
    }

    /// Whether `found_khz` is `wanted_khz` as a driver may round it: to the step below or above, or
    /// within a tolerance where no steps are listed.
    fn is_rounded(&self, wanted_khz: u64, found_khz: u64) -> bool {
        if self.steps_khz.is_empty() {
            return found_khz.abs_diff(wanted_khz) as f64 <= READ_BACK_TOLERANCE * wanted_khz as f64;
        }
        let below = self.steps_khz.iter().rfind(|step| **step <= wanted_khz);
        let above = self.steps_khz.iter().find(|step| **step >= wanted_khz);
        found_khz == wanted_khz || below == Some(&found_khz) || above == Some(&found_khz)
    }
}

/// The folders of the clock groups, such as `policy0`; none where `cpufreq` can't be listed.
fn group_folders(cpufreq: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cpufreq) else { return Vec::new() };
    let is_group =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"policy"));
    let mut folders: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_group).collect();
    folders.sort();
    folders
}

/// The frequencies that a driver lists, ascending; none where it lists none.
fn steps(path: &Path) -> Result<Vec<u64>, DeviceError> {
    let text = match system_file::read(path) {
        Ok(text) => text,
        Err(error) if system_file::is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let parsed = text.split_ascii_whitespace().map(|step| step.parse().ok()).collect::<Option<Vec<u64>>>();
    let mut steps =
        parsed.ok_or_else(|| system_file::unexpected(path, &text, "clocks in kilohertz, between spaces"))?;
    steps.sort_unstable();
    Ok(steps)
}

fn megahertz(kilohertz: u64) -> f64 {
    kilohertz as f64 / 1e3
}

#[cfg(test)]
mod tests {
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
}
