//! One value for each knob, and what was seen there.

use serde::{Deserialize, Serialize};

use crate::knob::ServingChange;
use crate::provenance::Basis;
use crate::units::{Joules, Megahertz, Watts};

/// One value for each knob that takes part in a profile. `None`: the knob was left at its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Most rows that run together, `b`.
    pub batch_size: u32,
    /// Instances of the model side by side, `m`.
    pub instances: u32,
    /// Compute threads of one instance.
    pub cores_per_instance: Option<u32>,
    /// Share of time in which the instances may compute, in (0, 1].
    pub duty_cycle: Option<f64>,
    /// Core clock of the device, `f`.
    pub core_clock_mhz: Option<Megahertz>,
    /// Compute units of the device in use, `u`.
    pub compute_units: Option<u32>,
    /// Partition of the device, `s` (a MIG slice, say).
    pub partition: Option<String>,
    /// Variant of the model's family, `v`.
    pub variant: Option<String>,
}

impl OperatingPoint {
    /// The point of batch size `b` and `m` instances, everything else at its default.
    pub fn of_batch_and_instances(batch_size: u32, instances: u32) -> Self {
        Self {
            batch_size,
            instances,
            cores_per_instance: None,
            duty_cycle: None,
            core_clock_mhz: None,
            compute_units: None,
            partition: None,
            variant: None,
        }
    }

    /// Whether this point and `other` agree in every knob but, perhaps, the batch size. A duty cycle
    /// that is not given counts as 1, its default everywhere.
    pub fn differs_in_batch_only(&self, other: &Self) -> bool {
        self.instances == other.instances
            && self.cores_per_instance == other.cores_per_instance
            && self.duty_cycle.unwrap_or(1.0) == other.duty_cycle.unwrap_or(1.0)
            && self.core_clock_mhz == other.core_clock_mhz
            && self.compute_units == other.compute_units
            && self.partition == other.partition
            && self.variant == other.variant
    }

    /// The serving knobs of this point, as a change to make. Knobs that the point leaves at their
    /// default are left alone, but for the duty cycle, whose default is always 1.
    pub fn serving_change(&self) -> ServingChange {
        ServingChange {
            batch_size: Some(self.batch_size),
            instances: Some(self.instances),
            cores_per_instance: self.cores_per_instance,
            duty_cycle: Some(self.duty_cycle.unwrap_or(1.0)),
            ..ServingChange::default()
        }
    }
}

/// What was seen (or modelled) at one operating point, with the model saturated by requests.
/// `None` is unknown, never zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileRow {
    /// Where the knobs stood.
    pub point: OperatingPoint,
    /// Rows answered per second, all instances together.
    pub throughput_rps: Option<f64>,
    /// Mean latency of a batch, in milliseconds.
    pub latency_ms_mean: Option<f64>,
    /// Median latency of a batch, in milliseconds.
    pub latency_ms_p50: Option<f64>,
    /// 95th percentile of the latency of a batch, in milliseconds.
    pub latency_ms_p95: Option<f64>,
    /// 99th percentile of the latency of a batch, in milliseconds.
    pub latency_ms_p99: Option<f64>,
    /// Mean power of the whole device.
    pub power_watts_mean: Option<Watts>,
    /// 95th percentile of the power of the whole device.
    pub power_watts_p95: Option<Watts>,
    /// Highest power of the whole device.
    pub power_watts_max: Option<Watts>,
    /// Device energy per row, idle power included.
    pub energy_joules_per_row: Option<Joules>,
    /// Memory of the device taken, in bytes.
    pub memory_bytes: Option<u64>,
    /// How the time figures of this row are known.
    pub basis: Basis,
    /// How the power figures of this row are known.
    pub power_basis: Basis,
    /// Batches that the latency figures rest on.
    pub samples: u32,
    /// How sure the means are.
    pub confidence: Confidence,
}

/// How sure the means of a row are: from windows of time that were looked at one after another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// Windows that the means rest on.
    pub windows: Option<u32>,
    /// Half the width of the 95 % confidence interval of the mean throughput, in rows per second.
    pub throughput_rps_ci95: Option<f64>,
    /// Half the width of the 95 % confidence interval of the mean power.
    pub power_watts_ci95: Option<Watts>,
    /// Power samples that the power figures rest on.
    pub power_samples: Option<u32>,
}
