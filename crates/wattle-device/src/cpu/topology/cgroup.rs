//! How much CPU time the control group of this process may use.
//!
//! Format: the kernel's `cgroup-v2.rst` (`cpu.max`) and `scheduler/sched-bwc.rst` (version 1).

use std::path::Path;

use super::super::{CpuRoots, system_file};
use crate::device::DeviceError;

/// Reads the quota of one group, in cores.
type ReadQuota = fn(&Path) -> Result<Option<f64>, DeviceError>;

/// The lowest quota of the group and those it is in, in cores; `None` where none has one.
pub(super) fn quota_cores(roots: &CpuRoots) -> Result<Option<f64>, DeviceError> {
    let text = match system_file::read(&roots.proc.join("self/cgroup")) {
        Err(error) if system_file::is_missing(&error) => return Ok(None),
        text => text?,
    };
    let mount = roots.sys.join("fs/cgroup");
    let mut lowest: Option<f64> = None;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (mount, quota): (_, ReadQuota) = match controllers {
            "" => (mount.clone(), unified),
            list if list.split(',').any(|controller| controller == "cpu") => (mount.join(list), version_1),
            _ => continue,
        };
        // In a container the path may be one of outside, which isn't mounted: those that are count.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        for group in groups {
            if let Some(cores) = quota(&mount.join(group))? {
                lowest = Some(lowest.map_or(cores, |lowest| lowest.min(cores)));
            }
        }
    }
    Ok(lowest)
}

/// `max 100000` or `250000 100000`: microseconds of each period.
fn unified(group: &Path) -> Result<Option<f64>, DeviceError> {
    let path = group.join("cpu.max");
    let text = match system_file::read(&path) {
        Err(error) if system_file::is_missing(&error) => return Ok(None),
        text => text?,
    };
    let expected = "a quota and a period in microseconds, such as 250000 100000";
    let unexpected = || system_file::unexpected(&path, &text, expected);
    let (quota, period) = text.split_once(' ').ok_or_else(unexpected)?;
    if quota == "max" {
        return Ok(None);
    }
    match (quota.parse::<u64>(), period.parse::<u64>()) {
        (Ok(quota), Ok(period)) if quota > 0 && period > 0 => Ok(Some(quota as f64 / period as f64)),
        _ => Err(unexpected()),
    }
}

/// The quota is -1 where there is none.
fn version_1(group: &Path) -> Result<Option<f64>, DeviceError> {
    let path = group.join("cpu.cfs_quota_us");
    let quota = match system_file::read(&path) {
        Err(error) if system_file::is_missing(&error) => return Ok(None),
        quota => quota?,
    };
    if quota == "-1" {
        return Ok(None);
    }
    let expected = "microseconds of each period, or -1";
    let quota: u64 = quota.parse().map_err(|_| system_file::unexpected(&path, &quota, expected))?;
    let path = group.join("cpu.cfs_period_us");
    match system_file::read_number(&path, "a period in microseconds")? {
        0 => Err(system_file::unexpected(&path, "0", "a period in microseconds, more than 0")),
        period => Ok(Some(quota as f64 / period as f64)),
    }
}
