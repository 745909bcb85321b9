//! Which processes use a GPU: this process's share of it, and all of them for people.

use std::time::Duration;

use nvml_wrapper::Device;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use wattle_core::time::Timestamp;

use super::error::{access, and_then, known};
use crate::device::Access;

/// The call that tells which process used how much of the device.
const UTILIZATION: &str = "nvmlDeviceGetProcessUtilization";
/// The call that tells which process has how much of the memory.
const RUNNING: &str = "nvmlDeviceGetComputeRunningProcesses";
/// Time between two looks: the driver takes a sample about every second.
const PERIOD: Duration = Duration::from_secs(1);

/// This process's share of the busy time of a GPU.
#[derive(Debug, Default)]
pub(super) struct OwnShare {
    /// The newest sample seen, in the driver's microseconds.
    seen_us: u64,
    looked_at: Option<Timestamp>,
    share: Option<f64>,
}

impl OwnShare {
    /// The share in [0, 1], at most a second old. `None` where the device does not tell processes apart,
    /// where nothing ran, and where none of those it tells is this process: then it may have another
    /// number for the driver, and saying 0 would be wrong.
    pub(super) fn read(&mut self, device: &Device<'_>, now: Timestamp) -> Result<Option<f64>, NvmlError> {
        if self.looked_at.is_some_and(|at| now - at < PERIOD) {
            return Ok(self.share);
        }
        let samples = match known(device.process_utilization_stats(self.seen_us)) {
            Ok(samples) => samples.unwrap_or_default(),
            // How the driver says that nothing ran.
            Err(NvmlError::NotFound) => Vec::new(),
            Err(error) => return Err(error),
        };
        self.looked_at = Some(now);
        self.seen_us = samples.iter().map(|sample| sample.timestamp).fold(self.seen_us, u64::max);
        self.share = share(std::process::id(), samples.iter().map(|sample| (sample.pid, sample.sm_util)));
        Ok(self.share)
    }
}

/// The share of `own` in what all processes used.
fn share(own: u32, used: impl Iterator<Item = (u32, u32)>) -> Option<f64> {
    let (mut of_own, mut of_all) = (None, 0.0);
    for (pid, percent) in used {
        of_all += f64::from(percent);
        if pid == own {
            of_own = Some(of_own.unwrap_or(0.0) + f64::from(percent));
        }
    }
    of_own.filter(|_| of_all > 0.0).map(|of_own| of_own / of_all)
}

/// The processes that use the device, with their memory and what they used of it lately.
pub(super) fn describe(device: &Device<'_>, is_partitioned: bool) -> Access<String> {
    if is_partitioned {
        let because = format!("{RUNNING} and {UTILIZATION} tell nothing of a partitioned (MIG) device");
        return Access::Absent { because };
    }
    and_then(access(RUNNING, device.running_compute_processes()), |running| {
        Access::Here(lines(device, &running))
    })
}

fn lines(device: &Device<'_>, running: &[ProcessInfo]) -> String {
    let used = device.process_utilization_stats(None).unwrap_or_default();
    let lines: Vec<_> = running
        .iter()
        .map(|process| {
            let memory = match process.used_gpu_memory {
                UsedGpuMemory::Used(bytes) => format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20)),
                UsedGpuMemory::Unavailable => "unknown memory".into(),
            };
            let newest = used.iter().filter(|sample| sample.pid == process.pid).max_by_key(|s| s.timestamp);
            let busy = newest.map_or(String::new(), |sample| format!(", {} % of the SMs", sample.sm_util));
            format!("{}: {memory}{busy}", process.pid)
        })
        .collect();
    if lines.is_empty() { "none".into() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_share_is_unknown_where_this_process_is_not_among_those_told() {
        assert_eq!(share(7, [(7, 30), (8, 10)].into_iter()), Some(0.75));
        assert_eq!(share(7, [(7, 0), (8, 10)].into_iter()), Some(0.0));
        assert_eq!(share(7, [(8, 10)].into_iter()), None);
        assert_eq!(share(7, [(7, 0)].into_iter()), None);
        assert_eq!(share(7, std::iter::empty()), None);
    }
}
