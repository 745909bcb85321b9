//! How long a batch takes: a roofline of compute and memory, and the host's part before it.

use super::AnalyticError;
use super::assumptions::{
    BANDWIDTH_EFFICIENCY, COMPUTE_EFFICIENCY, HOST_SECONDS_PER_OPERATOR, LINK_EFFICIENCY, OUTPUTS_PER_UNIT,
    UNITS_TO_SATURATE_MEMORY,
};
use super::networks::{Network, Precision};
use crate::device_spec::{DeviceKind, DeviceSpec, Figure};
use crate::units::Megahertz;

/// The facts about a device that its speed follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    /// Compute units.
    pub(super) units: u32,
    /// The clock that the peak rate belongs to.
    pub(super) boost_clock: Megahertz,
    /// Peak rate at the boost clock, for one precision.
    peak_flops: f64,
    /// Peak bandwidth of the memory, in bytes per second.
    bandwidth: f64,
    /// The most of it that one compute unit uses, in bytes per second.
    pub(super) unit_bandwidth: f64,
    /// Peak bandwidth of the link to the host, in bytes per second; `None` where there is none.
    link: Option<f64>,
}

impl Speed {
    pub(super) fn of(spec: &DeviceSpec, precision: Precision) -> Result<Self, AnalyticError> {
        let (peak, peak_key) = match precision {
            // PyTorch and TensorFlow use it in convolutions unless told otherwise.
            Precision::Fp32 if spec.peak_flops_tf32.is_some() => (&spec.peak_flops_tf32, "peak_flops_tf32"),
            Precision::Fp32 => (&spec.peak_flops_fp32, "peak_flops_fp32"),
            Precision::Fp16 => (&spec.peak_flops_fp16, "peak_flops_fp16"),
        };
        let link = match spec.kind {
            DeviceKind::Cpu => None,
            DeviceKind::Gpu => {
                Some(known(spec, &spec.host_link_bytes_per_second, "host_link_bytes_per_second")?)
            }
        };
        let units = known(spec, &spec.compute_units, "compute_units")?;
        let key = "memory_bandwidth_bytes_per_second";
        let bandwidth = known(spec, &spec.memory_bandwidth_bytes_per_second, key)?;
        Ok(Self {
            units,
            boost_clock: known(spec, &spec.boost_clock_mhz, "boost_clock_mhz")?,
            peak_flops: known(spec, peak, peak_key)?,
            bandwidth,
            unit_bandwidth: bandwidth / (UNITS_TO_SATURATE_MEMORY.value * f64::from(units)),
            link,
        })
    }
}

/// The value of a figure that the model needs.
pub(super) fn known<T: Copy>(
    spec: &DeviceSpec,
    figure: &Option<Figure<T>>,
    key: &'static str,
) -> Result<T, AnalyticError> {
    match figure {
        Some(figure) => Ok(figure.value),
        None => Err(AnalyticError::Unknown { device: spec.name.clone(), key }),
    }
}

/// How long the parts of one batch take, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchTime {
    /// The device's compute units, if memory were infinitely fast.
    pub(super) compute: f64,
    /// The device's memory, if compute were infinitely fast.
    pub(super) memory: f64,
    /// The host: dispatch of the operators and copies of the input.
    pub(super) host: f64,
    /// The copies alone: instances share the link.
    link: f64,
    /// Compute units at work, on average.
    pub(super) units_at_work: f64,
    /// Bytes between chip and memory.
    pub(super) traffic_bytes: f64,
}

impl BatchTime {
    /// A batch of `batch` rows of `network` on `units` compute units at `clock`.
    pub(super) fn of(speed: &Speed, network: &Network, batch: u32, units: u32, clock: Megahertz) -> Self {
        let batch = f64::from(batch);
        let width = network.precision.bytes();
        // Time spent in layers too narrow to fill the units adds to the time of those that do.
        let tiles = batch * network.parallelism / OUTPUTS_PER_UNIT.value;
        let units_at_work = 1.0 / (1.0 / f64::from(units) + 1.0 / tiles);
        let share_at_work = units_at_work / f64::from(speed.units);
        let flops = speed.peak_flops * COMPUTE_EFFICIENCY.value * (clock / speed.boost_clock) * share_at_work;
        let bandwidth =
            BANDWIDTH_EFFICIENCY.value * (speed.unit_bandwidth * units_at_work).min(speed.bandwidth);
        let traffic_bytes =
            width * (network.parameters * network.passes_per_row + batch * network.activation_values_per_row);
        let link = speed
            .link
            .map_or(0.0, |link| batch * network.input_bytes_per_row / (link * LINK_EFFICIENCY.value));
        let dispatch = network.operators * network.passes_per_row * HOST_SECONDS_PER_OPERATOR.value;
        Self {
            compute: 2.0 * batch * network.multiply_accumulates_per_row / flops,
            memory: traffic_bytes / bandwidth,
            host: dispatch + link,
            link,
            units_at_work,
            traffic_bytes,
        }
    }

    /// The device's part: whichever of compute and memory takes longer.
    pub(super) fn device(&self) -> f64 {
        self.compute.max(self.memory)
    }

    /// Batches per second of `instances` side by side: what each alone would do, until the device or
    /// the link is busy all the time (asymptotic bounds of a closed queueing network).
    pub(super) fn batches_per_second(&self, instances: u32) -> f64 {
        let alone = f64::from(instances) / (self.host + self.device());
        let device = 1.0 / self.device();
        let link = if self.link > 0.0 { 1.0 / self.link } else { f64::INFINITY };
        alone.min(device).min(link)
    }
}
