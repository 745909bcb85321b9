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
    /// How many more fit now.
    pub remaining: u32,
    /// Where it may lie: the first slices of memory it can start at, each.
    pub starts: Vec<u32>,
    /// How many slices of memory it takes.
    pub memory_slices: Option<u32>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuInstance {
    /// NVML's number of it.
    pub id: u32,
    /// Its profile, by number.
    pub profile_id: u32,
    /// Its profile, by name, where the driver tells it.
    pub profile: Option<String>,
    /// The first slice of memory that it has.
    pub start: u32,
    /// How many slices of memory it has.
    pub memory_slices: u32,
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
            let end = instance.start + instance.memory_slices.saturating_sub(1);
            let profile = instance.profile.as_deref().unwrap_or("unnamed profile");
            let computes = instance.compute_instances.len();
            write!(
                f,
                ", {} {profile} (slices {}-{end}, {computes} compute instances)",
                instance.id, instance.start
            )?;
        }
        Ok(())
    }
}
