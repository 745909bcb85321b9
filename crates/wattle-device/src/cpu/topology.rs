//! Which logical CPUs there are, what they share, and which of them this process may use.
//!
//! Format: the kernel's `Documentation/admin-guide/cputopology.rst` and `cgroup-v2.rst`.

mod cgroup;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use super::{CpuRoots, system_file};
use crate::device::DeviceError;

/// The logical CPUs of a machine that are online.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// Each of them, ascending.
    pub cpus: Vec<LogicalCpu>,
    /// The most CPU time per time that the control group of this process may use, such as 2.5; `None`
    /// where it is not limited.
    pub quota_cores: Option<f64>,
}

/// One logical CPU: a hardware thread of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogicalCpu {
    /// Its number.
    pub id: u32,
    /// The number of its package (socket).
    pub package: u32,
    /// The first CPU of those that share its last-level (L3) cache: a CCX of AMD's. Where no L3 is told,
    /// the first of its package.
    pub cache: u32,
    /// The first CPU of those that share its core.
    pub core: u32,
    /// Its place among the threads of its core: 0 for the first.
    pub thread: u32,
    /// The number of its NUMA node; 0 where none is told.
    pub node: u32,
    /// Whether this process may run on it (its affinity, within the CPU set of its control group).
    pub is_allowed: bool,
}

impl Topology {
    /// Reads what stands below `roots`.
    ///
    /// # Errors
    /// Where the CPUs that are online, their cores or their packages can't be read. What else is not
    /// told is taken as not divided: one cache per package, one node, all allowed, no quota.
    pub fn read(roots: &CpuRoots) -> Result<Self, DeviceError> {
        let folder = roots.sys.join("devices/system/cpu");
        let online = system_file::read_cpu_list(&folder.join("online"))?;
        let allowed = allowed(&roots.proc)?;
        let nodes = nodes(&roots.sys)?;
        let mut cpus = Vec::new();
        for &id in &online {
            let cpu = folder.join(format!("cpu{id}"));
            let siblings = system_file::read_cpu_list(&cpu.join("topology/thread_siblings_list"))?;
            // Virtual machines on ARM tell -1: one package.
            let package = cpu.join("topology/physical_package_id");
            let package = match system_file::read(&package)?.as_str() {
                "-1" => 0,
                text => text
                    .parse()
                    .map_err(|_| system_file::unexpected(&package, text, "the number of a package"))?,
            };
            cpus.push(LogicalCpu {
                id,
                package,
                cache: last_level_cache(&cpu)?.unwrap_or(u32::MAX),
                core: siblings.first().copied().unwrap_or(id),
                thread: siblings.iter().position(|sibling| *sibling == id).unwrap_or(0) as u32,
                node: nodes.iter().find(|(_, cpus)| cpus.contains(&id)).map_or(0, |(node, _)| *node),
                is_allowed: allowed.as_ref().is_none_or(|allowed| allowed.contains(&id)),
            });
        }
        let first_of = |package| cpus.iter().find(|cpu| cpu.package == package).map_or(0, |cpu| cpu.id);
        let cpus = cpus.iter().map(|cpu| {
            let cache = if cpu.cache == u32::MAX { first_of(cpu.package) } else { cpu.cache };
            LogicalCpu { cache, ..*cpu }
        });
        Ok(Self { cpus: cpus.collect(), quota_cores: cgroup::quota_cores(roots)? })
    }

    /// The CPUs that a budget of `cores` should use, of those that are allowed: fewer where there are
    /// fewer. The same set every time, and each set holds the smaller ones.
    ///
    /// A core's second thread comes after the first thread of every other core, because it adds least.
    /// Before that, one L3 (CCX) is filled before the next and one package before the next, so that the
    /// others can sleep and a model's threads share a cache.
    pub fn core_set(&self, cores: u32) -> Vec<u32> {
        let mut allowed: Vec<_> = self.cpus.iter().filter(|cpu| cpu.is_allowed).collect();
        // The place among the threads that are allowed: a second thread alone is as good as a first.
        let place = |cpu: &LogicalCpu| {
            let is_before =
                |other: &&LogicalCpu| other.is_allowed && other.core == cpu.core && other.thread < cpu.thread;
            self.cpus.iter().filter(is_before).count()
        };
        allowed.sort_by_cached_key(|cpu| (place(cpu), cpu.package, cpu.cache, cpu.core, cpu.id));
        let chosen = allowed.into_iter().map(|cpu| cpu.id);
        chosen.take(usize::try_from(cores).unwrap_or(usize::MAX)).collect()
    }

    fn count(&self, of: impl Fn(&LogicalCpu) -> u32) -> usize {
        self.cpus.iter().map(of).collect::<BTreeSet<_>>().len()
    }

    /// Packages (sockets).
    pub fn packages(&self) -> usize {
        self.count(|cpu| cpu.package)
    }

    /// Groups of cores that share an L3.
    pub fn caches(&self) -> usize {
        self.count(|cpu| cpu.cache)
    }

    /// Physical cores.
    pub fn cores(&self) -> usize {
        self.count(|cpu| cpu.core)
    }

    /// NUMA nodes.
    pub fn nodes(&self) -> usize {
        self.count(|cpu| cpu.node)
    }
}

/// In words: `2 packages, 4 L3 caches, 2 NUMA nodes, 32 cores, 64 logical CPUs; all allowed; no quota`.
impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.packages(), "package"),
            (self.caches(), "L3 cache"),
            (self.nodes(), "NUMA node"),
            (self.cores(), "core"),
            (self.cpus.len(), "logical CPU"),
        ];
        for (i, (count, what)) in counts.into_iter().enumerate() {
            let (comma, plural) = (if i > 0 { ", " } else { "" }, if count == 1 { "" } else { "s" });
            write!(f, "{comma}{count} {what}{plural}")?;
        }
        match self.cpus.iter().filter(|cpu| cpu.is_allowed).count() {
            allowed if allowed == self.cpus.len() => f.write_str("; all allowed")?,
            allowed => write!(f, "; {allowed} allowed")?,
        }
        match self.quota_cores {
            Some(quota) => write!(f, "; quota of {quota} cores"),
            None => f.write_str("; no quota"),
        }
    }
}

/// The first CPU of those that share the L3 of the one in `cpu`; `None` where none is told.
fn last_level_cache(cpu: &Path) -> Result<Option<u32>, DeviceError> {
    for index in 0.. {
        let cache = cpu.join(format!("cache/index{index}"));
        match system_file::read_number_if_any(&cache.join("level"), "the level of a cache")? {
            None => return Ok(None),
            Some(3) => {
                let sharing = system_file::read_cpu_list(&cache.join("shared_cpu_list"))?;
                return Ok(sharing.first().copied());
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

/// The CPUs of each NUMA node; none where the kernel knows of no nodes.
fn nodes(sys: &Path) -> Result<Vec<(u32, Vec<u32>)>, DeviceError> {
    let folder = sys.join("devices/system/node");
    let online = match system_file::read_cpu_list(&folder.join("online")) {
        Err(error) if system_file::is_missing(&error) => return Ok(Vec::new()),
        online => online?,
    };
    let cpus = |node| system_file::read_cpu_list(&folder.join(format!("node{node}/cpulist")));
    online.into_iter().map(|node| Ok((node, cpus(node)?))).collect()
}

/// The CPUs that this process may run on; `None` where the kernel doesn't say.
fn allowed(proc: &Path) -> Result<Option<Vec<u32>>, DeviceError> {
    let path = proc.join("self/status");
    let text = match system_file::read(&path) {
        Err(error) if system_file::is_missing(&error) => return Ok(None),
        text => text?,
    };
    let Some(list) = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")) else {
        return Ok(None);
    };
    let allowed = system_file::cpu_list(list.trim());
    let expected = "a line Cpus_allowed_list with a list of CPUs, such as 0-3,8";
    allowed.map(Some).ok_or_else(|| system_file::unexpected(&path, list.trim(), expected))
}
