//! How long the cores have idled, and how deeply, through the kernel's cpuidle files.
//!
//! These are the states that the kernel asked for: the hardware may have gone less deep.
//! Format: the kernel's `Documentation/ABI/testing/sysfs-devices-system-cpu`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use wattle_core::time::Timestamp;

use super::system_file;
use crate::device::{Access, DeviceError};

/// Time in each state at the last look.
#[derive(Debug, Default)]
pub(super) struct IdleStates {
    last: Option<(Timestamp, Sums)>,
}

/// Microseconds in each state, by its number and name, of all cores together.
#[derive(Debug, Clone, PartialEq)]
struct Sums {
    cores: usize,
    by_state: BTreeMap<(u32, String), u64>,
}

impl IdleStates {
    /// Share of the cores' time in each state since the last look, or since boot at the first, in words:
    /// `over 5.0 s: POLL 0.1 %, C1 20.0 %, not idle 79.9 %`.
    pub(super) fn shares(&mut self, sys: &Path, proc: &Path, now: Timestamp) -> Access<String> {
        let folder = sys.join("devices/system/cpu");
        let sums = match read(&folder) {
            Ok(sums) => sums,
            Err(error) => return system_file::no_access(&error),
        };
        if sums.by_state.is_empty() {
            let because = format!("no idle states in {}/cpu*/cpuidle", folder.display());
            return Access::Absent { because };
        }
        let (since, elapsed) = match self.last.replace((now, sums.clone())) {
            Some((last, before)) if before.cores == sums.cores && now > last => (Some(before), now - last),
            _ => match up_for(proc) {
                Ok(up_for) => (None, up_for),
                Err(error) => return system_file::no_access(&error),
            },
        };
        Access::Here(words(since.as_ref(), &sums, elapsed))
    }
}

fn words(since: Option<&Sums>, sums: &Sums, elapsed: Duration) -> String {
    let of_all = elapsed.as_secs_f64() * 1e6 * sums.cores as f64;
    let mut idle = 0.0;
    let mut words = match since {
        Some(_) => format!("over {:.1} s:", elapsed.as_secs_f64()),
        None => "since boot:".to_owned(),
    };
    for (state, us) in &sums.by_state {
        let before = since.and_then(|since| since.by_state.get(state)).copied().unwrap_or(0);
        let share = (us.saturating_sub(before) as f64 / of_all).min(1.0);
        idle += share;
        words.push_str(&format!(" {} {:.1} %,", state.1, share * 100.0));
    }
    // Time is added when a core wakes, so a sleep that began before may be counted whole.
    words + &format!(" not idle {:.1} %", (1.0 - idle).max(0.0) * 100.0)
}

fn read(folder: &Path) -> Result<Sums, DeviceError> {
    let online = system_file::read_cpu_list(&folder.join("online"))?;
    let mut by_state = BTreeMap::new();
    for cpu in &online {
        for state in 0.. {
            let state_folder = folder.join(format!("cpu{cpu}/cpuidle/state{state}"));
            let name = match system_file::read(&state_folder.join("name")) {
                Ok(name) => name,
                Err(error) if system_file::is_missing(&error) => break,
                Err(error) => return Err(error),
            };
            let us = system_file::read_number(&state_folder.join("time"), "microseconds in an idle state")?;
            let sum: &mut u64 = by_state.entry((state, name)).or_default();
            *sum = sum.saturating_add(us);
        }
    }
    Ok(Sums { cores: online.len(), by_state })
}

/// How long the machine has been up.
fn up_for(proc: &Path) -> Result<Duration, DeviceError> {
    let path = proc.join("uptime");
    let text = system_file::read(&path)?;
    let seconds = text.split_ascii_whitespace().next().and_then(|first| first.parse().ok());
    let up_for = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    up_for
        .filter(|up_for| !up_for.is_zero())
        .ok_or_else(|| system_file::unexpected(&path, &text, "seconds since boot, more than 0"))
}

#[cfg(test)]
mod tests {
    use super::super::fake_tree::FakeTree;
    use super::*;

    fn idled(tree: &FakeTree, us: [[u64; 2]; 2]) {
        tree.write("sys/devices/system/cpu/online", "0-1\n");
        for (cpu, states) in us.iter().enumerate() {
            for (state, us) in states.iter().enumerate() {
                let folder = format!("sys/devices/system/cpu/cpu{cpu}/cpuidle/state{state}");
                tree.write(&format!("{folder}/name"), ["POLL\n", "C6\n"][state]);
                tree.write(&format!("{folder}/time"), &us.to_string());
            }
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_duration(Duration::from_secs(seconds))
    }

    #[test]
    fn tells_shares_since_boot_and_then_since_the_last_look() {
        let tree = FakeTree::new();
        tree.write("proc/uptime", "100.0 50.0\n");
        idled(&tree, [[0, 50_000_000], [20_000_000, 0]]);
        let mut states = IdleStates::default();
        let mut shares = |now| states.shares(&tree.sys(), &tree.path("proc"), now);
        assert_eq!(shares(at(5)), Access::Here("since boot: POLL 10.0 %, C6 25.0 %, not idle 65.0 %".into()));
        idled(&tree, [[0, 51_000_000], [20_000_000, 2_000_000]]);
        assert_eq!(shares(at(7)), Access::Here("over 2.0 s: POLL 0.0 %, C6 75.0 %, not idle 25.0 %".into()));
    }

    #[test]
    fn a_machine_without_idle_states_has_none_and_garbage_is_named() {
        let tree = FakeTree::new();
        let shares = || IdleStates::default().shares(&tree.sys(), &tree.path("proc"), at(1));
        assert!(matches!(shares(), Access::Absent { because } if because.contains("online")));
        tree.write("sys/devices/system/cpu/online", "0");
        assert!(matches!(shares(), Access::Absent { because } if because.contains("cpuidle")));
        idled(&tree, [[1, 1], [1, 1]]);
        tree.write("proc/uptime", "never");
        assert!(matches!(shares(), Access::Failed { because } if because.contains("never")));
        tree.write("sys/devices/system/cpu/cpu1/cpuidle/state0/time", "long");
        assert!(matches!(shares(), Access::Failed { because } if because.contains("long")));
    }
}
