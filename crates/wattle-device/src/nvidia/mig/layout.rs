//! What partitions a GPU has, and could have.

use serde::Serialize;

/// Whether a GPU can be partitioned, and is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MigMode {
    /// It can't.
    Unsupported,
    /// It can, but is not in MIG mode.
    Disabled,
    /// It is in MIG mode, with or without partitions.
    Enabled,
}

/// The partitions of a GPU, and what it could have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MigLayout {
    /// The mode it is in.
    pub mode: MigMode,
    /// The mode that it takes at its next reset, where that is another.
    pub mode_after_reset: Option<MigMode>,
    /// What partitions there can be; empty unless [`MigMode::Enabled`].
    pub profiles: Vec<MigProfile>,
    /// What partitions there are, by where they lie.
    pub gpu_instances: Vec<GpuInstance>,
    /// Whether that is all. To users who may not repartition, the driver tells only partitions that can run
    /// work, and not where they lie.
    pub is_complete: bool,
}

/// A kind of partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MigProfile {
    /// NVML's number of it on this GPU.
    pub id: u32,
    /// Its name as the driver tells it, such as `1g.5gb`.
    pub name: String,
    /// Its slices of the GPU.
    pub slices: u32,
    /// Its multiprocessors (SMs).
    pub multiprocessors: u32,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// How many there can be on an empty GPU.
    pub most: u32,
    /// How many more fit now; `None` where that is kept from this user.
    pub remaining: Option<u32>,
    /// Where it may lie, each by its first slice of memory; `None` where that is kept from this user.
    pub starts: Option<Vec<u32>>,
    /// How many slices of memory it takes; `None` where that is kept from this user.
    pub memory_slices: Option<u32>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuInstance {
    /// NVML's number of it.
    pub id: u32,
    /// Its profile, by name, where the driver tells it.
    pub profile: Option<String>,
    /// The first slice of memory that it has; `None` where that is kept from this user.
    pub start: Option<u32>,
    /// How many slices of memory it has; `None` where that is kept from this user.
    pub memory_slices: Option<u32>,
    /// What runs work in it.
    pub compute_instances: Vec<ComputeInstance>,
}

/// What runs work in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComputeInstance {
    /// NVML's number of it, within its GPU instance.
    pub id: u32,
    /// Its UUID, which a process names to use it (`CUDA_VISIBLE_DEVICES`); `None` where the driver tells
    /// none.
    pub uuid: Option<String>,
}

/// A layout in one line.
impl std::fmt::Display for MigLayout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.mode {
            MigMode::Unsupported => return f.write_str("can't be partitioned"),
            MigMode::Disabled => "off",
            MigMode::Enabled => "on",
        })?;
        if let Some(mode) = self.mode_after_reset {
            write!(f, " ({} after the next reset)", if mode == MigMode::Enabled { "on" } else { "off" })?;
        }
        if self.mode == MigMode::Enabled && self.gpu_instances.is_empty() {
            f.write_str(", no partitions")?;
        }
        for instance in &self.gpu_instances {
            let profile = instance.profile.as_deref().unwrap_or("unnamed profile");
            write!(f, ", {} {profile}", instance.id)?;
            if let Some(slices) = instance.slices() {
                write!(f, " (slices {slices})")?;
            }
        }
        if self.mode == MigMode::Enabled && !self.is_complete {
            f.write_str(" (more may be kept from this user)")?;
        }
        Ok(())
    }
}

impl GpuInstance {
    /// The slices of memory that it has, such as `0-3`; `None` where that is kept from this user.
    pub fn slices(&self) -> Option<String> {
        let (start, count) = self.start.zip(self.memory_slices)?;
        let end = start.saturating_add(count).saturating_sub(1);
        Some(if count == 1 { start.to_string() } else { format!("{start}-{end}") })
    }
}
