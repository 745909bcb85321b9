//! How busy the CPU is, and how much of that is this process, from the kernel's tick counts.
//!
//! Ticks are 10 ms, so usage is only told over windows of some ticks. Knows nothing of power.

use std::path::Path;
use std::time::Duration;

use wattle_core::time::Timestamp;

use super::system_file::{self, KeptFile};
use crate::device::DeviceError;

/// Shorter windows hold too few ticks per core to tell anything.
const SHORTEST_WINDOW: Duration = Duration::from_millis(50);

/// Tells usage between readings at least [`SHORTEST_WINDOW`] apart.
#[derive(Debug)]
pub(super) struct UtilizationMeter {
    stat: KeptFile,
    own_stat: KeptFile,
    logical_cores: u32,
    window_start: Option<(Timestamp, Ticks)>,
    last: Option<Usage>,
}

/// Usage over one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// Share of all cores' time that was busy, in [0, 1].
    pub(super) utilization: f64,
    /// Share of the busy time that was this process's, in [0, 1]. `None` when nothing was busy.
    pub(super) own_share: Option<f64>,
}

/// Tick counts since the machine (or this process) started.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ticks {
    busy: u64,
    total: u64,
    own: u64,
}

impl UtilizationMeter {
    /// A meter of the counts below `proc` (usually `/proc`), which it reads once.
    pub(super) fn open(proc: &Path) -> Result<Self, DeviceError> {
        let stat = proc.join("stat");
        let text = system_file::read(&stat)?;
        let is_core = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
        let logical_cores = text.lines().filter(is_core).count() as u32;
        if logical_cores == 0 {
            return Err(system_file::unexpected(&stat, &text, "a line of ticks for each logical core"));
        }
        let (stat, own_stat) = (KeptFile::open(&stat)?, KeptFile::open(&proc.join("self/stat"))?);
        let mut meter = Self { stat, own_stat, logical_cores, window_start: None, last: None };
        meter.read_ticks()?;
        Ok(meter)
    }

    /// Logical cores of the machine that are online.
    pub(super) fn logical_cores(&self) -> u32 {
        self.logical_cores
    }

    /// Reads the counts at `now`. Gives the usage of the window that ends here, or `None` while the
    /// window is too short: it then goes on.
    pub(super) fn sample(&mut self, now: Timestamp) -> Result<Option<Usage>, DeviceError> {
        let Some((since, before)) = self.window_start else {
            self.window_start = Some((now, self.read_ticks()?));
            return Ok(None);
        };
        if now - since < SHORTEST_WINDOW {
            return Ok(None);
        }
        let ticks = self.read_ticks()?;
        let Some(usage) = usage_between(before, ticks) else { return Ok(None) };
        self.window_start = Some((now, ticks));
        self.last = Some(usage);
        Ok(Some(usage))
    }

    /// Usage of the last window that ended.
    pub(super) fn last(&self) -> Option<Usage> {
        self.last
    }

    fn read_ticks(&mut self) -> Result<Ticks, DeviceError> {
        let stat = self.stat.read()?;
        let expected = "a first line `cpu` with its ticks";
        let (busy, total) =
            machine_ticks(&stat).ok_or_else(|| system_file::unexpected(self.stat.path(), &stat, expected))?;
        let own_stat = self.own_stat.read()?;
        let expected = "the status line of a process, with its ticks";
        let own = process_ticks(&own_stat)
            .ok_or_else(|| system_file::unexpected(self.own_stat.path(), &own_stat, expected))?;
        Ok(Ticks { busy, total, own })
    }
}

/// `None` when no tick has passed: that tells nothing.
fn usage_between(before: Ticks, after: Ticks) -> Option<Usage> {
    // The kernel lets idle counts run backwards at times (hot-plug, iowait): no tick, never a negative.
    let busy = after.busy.saturating_sub(before.busy) as f64;
    let total = after.total.saturating_sub(before.total) as f64;
    let own = after.own.saturating_sub(before.own) as f64;
    (total > 0.0).then(|| Usage {
        utilization: (busy / total).min(1.0),
        // The two files are read one after the other, so their counts may be a tick apart.
        own_share: (busy > 0.0).then(|| (own / busy).min(1.0)),
    })
}

/// Busy and total ticks of all cores, from the text of `/proc/stat`.
///
/// Busy: user, nice, system, irq, softirq. Guest time is left out because user and nice contain it.
/// Steal is time but not busy: the core then worked for another virtual machine, on other energy.
fn machine_ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.lines().next()?.split_ascii_whitespace();
    if fields.next()? != "cpu" {
        return None;
    }
    let ticks = fields.map(|field| field.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let [user, nice, system, idle, rest @ ..] = ticks.as_slice() else { return None };
    // Kernels before 2.6.11 end early; what they don't tell apart is in the other counts.
    let of_rest = |i: usize| rest.get(i).copied().unwrap_or(0);
    let (iowait, irq, softirq, steal) = (of_rest(0), of_rest(1), of_rest(2), of_rest(3));
    let sum = |ticks: &[u64]| ticks.iter().fold(0u64, |sum, ticks| sum.saturating_add(*ticks));
    let busy = sum(&[*user, *nice, *system, irq, softirq]);
    Some((busy, sum(&[busy, *idle, iowait, steal])))
}

/// User and system ticks of a process, from the text of its `/proc/<pid>/stat`.
fn process_ticks(stat: &str) -> Option<u64> {
    // The second field, a file name in brackets, may hold spaces and brackets: count from its end.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system))
}

#[cfg(test)]
mod tests {
    use super::super::fake_tree::FakeTree;
    use super::*;

    fn at_ms(milliseconds: u64) -> Timestamp {
        Timestamp::from_duration(Duration::from_millis(milliseconds))
    }

    #[test]
    fn counts_guest_time_once_and_steal_as_not_busy() {
        //                         user nice system idle iowait irq softirq steal guest guest_nice
        let stat = "cpu  100 20 30 1000 5 3 2 40 90 10\ncpu0 1 2 3 4\n";
        assert_eq!(machine_ticks(stat), Some((155, 1200)));
        assert_eq!(machine_ticks("cpu 1 2 3 4"), Some((6, 10)));
        assert_eq!(machine_ticks("cpu0 1 2 3 4"), None);
        assert_eq!(machine_ticks("cpu 1 2 x 4"), None);
        assert_eq!(machine_ticks("cpu 1 2"), None);
        assert_eq!(machine_ticks(""), None);
    }

    #[test]
    fn a_process_name_with_brackets_and_spaces_is_no_field() {
        let stat = "4999 (a) b (c) R 4992 4992 4260 0 -1 4194304 99 0 0 0 17 5 100 200 20 0";
        assert_eq!(process_ticks(stat), Some(22));
        assert_eq!(process_ticks("4999 (cat) R 1 2 3"), None);
    }

    #[test]
    fn tells_usage_since_the_last_window() {
        let tree = FakeTree::new();
        tree.ticks(100, 1000, 50);
        let mut meter = UtilizationMeter::open(&tree.path("proc")).unwrap();
        assert_eq!(meter.logical_cores(), 2);
        assert_eq!(meter.sample(at_ms(0)).unwrap(), None);
        tree.ticks(140, 1010, 60);
        let usage = Usage { utilization: 0.8, own_share: Some(0.25) };
        assert_eq!(meter.sample(at_ms(250)).unwrap(), Some(usage));
        tree.ticks(140, 1060, 60);
        let idle = Usage { utilization: 0.0, own_share: None };
        assert_eq!(meter.sample(at_ms(500)).unwrap(), Some(idle));
    }

    #[test]
    fn a_window_goes_on_until_it_holds_some_ticks() {
        let tree = FakeTree::new();
        tree.ticks(0, 0, 0);
        let mut meter = UtilizationMeter::open(&tree.path("proc")).unwrap();
        meter.sample(at_ms(0)).unwrap();
        tree.ticks(1, 0, 0);
        assert_eq!(meter.sample(at_ms(49)).unwrap(), None);
        assert_eq!(meter.last(), None);
        tree.ticks(1, 9, 1);
        let usage = Usage { utilization: 0.1, own_share: Some(1.0) };
        assert_eq!(meter.sample(at_ms(50)).unwrap(), Some(usage));
        assert_eq!(meter.sample(at_ms(200)).unwrap(), None, "no tick passed");
        assert_eq!(meter.last(), Some(usage));
    }

    #[test]
    fn counts_that_run_backwards_are_no_usage() {
        let before = Ticks { busy: 100, total: 1000, own: 50 };
        assert_eq!(usage_between(before, Ticks { busy: 90, total: 990, own: 40 }), None);
        let usage = usage_between(before, Ticks { busy: 130, total: 1010, own: 120 }).unwrap();
        assert_eq!((usage.utilization, usage.own_share), (1.0, Some(1.0)));
    }

    #[test]
    fn missing_and_garbage_files_are_named() {
        let tree = FakeTree::new();
        let open = || UtilizationMeter::open(&tree.path("proc")).unwrap_err();
        assert!(system_file::is_missing(&open()));
        tree.ticks(0, 0, 0);
        tree.write("proc/stat", "cpu 1 2 3\ncpu0 1 2 3\n");
        assert!(matches!(open(), DeviceError::Content { .. }));
        tree.write("proc/stat", "nothing");
        assert!(open().to_string().contains("a line of ticks for each logical core"));
    }
}
