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
mod tests;
