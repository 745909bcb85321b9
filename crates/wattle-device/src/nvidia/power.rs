//! Power of a GPU: which of NVML's three calls tells it, and whether the sensor is stuck.

use std::time::Duration;

use nvml_wrapper::Device;
use nvml_wrapper::enums::device::{DeviceArchitecture, SampleValue};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT};
use wattle_core::time::Timestamp;
use wattle_core::units::Watts;

/// The call that tells power over the last instant.
pub(super) const INSTANT: &str = "nvmlDeviceGetFieldValues, field 186 (POWER_INSTANT)";
/// The call that tells mean power over the last second.
pub(super) const AVERAGE: &str = "nvmlDeviceGetFieldValues, field 185 (POWER_AVERAGE)";
/// The call that tells one or the other, by architecture.
pub(super) const USAGE: &str = "nvmlDeviceGetPowerUsage";

/// Which call tells the power of a device. Found out once: a device does not change its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PowerSource {
    /// Field 186.
    Instant,
    /// `nvmlDeviceGetPowerUsage`, which is the mean of a second on some architectures; `None` where
    /// the architecture is not known.
    Usage { is_average: Option<bool> },
}

impl PowerSource {
    /// Instant power where the device tells it: the mean of a second hides that a cap is overshot.
    pub(super) fn of(device: &Device<'_>) -> Self {
        if instant(device).is_ok() {
            return Self::Instant;
        }
        // nvml.h: the mean of a second from Ampere on, but for GA100 (compute capability 8.0).
        let is_average = match (device.architecture(), device.cuda_compute_capability()) {
            (Ok(DeviceArchitecture::Unknown) | Err(_), _) | (Ok(DeviceArchitecture::Ampere), Err(_)) => None,
            (
                Ok(
                    DeviceArchitecture::Kepler
                    | DeviceArchitecture::Maxwell
                    | DeviceArchitecture::Pascal
                    | DeviceArchitecture::Volta
                    | DeviceArchitecture::Turing,
                ),
                _,
            ) => Some(false),
            (Ok(DeviceArchitecture::Ampere), Ok(capability)) => {
                Some((capability.major, capability.minor) != (8, 0))
            }
            (Ok(_), _) => Some(true),
        };
        Self::Usage { is_average }
    }

    /// The call, and what it tells.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Instant => INSTANT,
            Self::Usage { is_average: Some(true) } => "nvmlDeviceGetPowerUsage (mean of the last second)",
            Self::Usage { is_average: Some(false) } => "nvmlDeviceGetPowerUsage (instant)",
            Self::Usage { is_average: None } => {
                "nvmlDeviceGetPowerUsage (instant, or mean of the last second: the architecture is unknown)"
            }
        }
    }

    pub(super) fn read(self, device: &Device<'_>) -> Result<Watts, NvmlError> {
        match self {
            Self::Instant => instant(device),
            Self::Usage { .. } => usage(device),
        }
    }
}

/// See [`INSTANT`].
pub(super) fn instant(device: &Device<'_>) -> Result<Watts, NvmlError> {
    field(device, NVML_FI_DEV_POWER_INSTANT)
}

/// See [`AVERAGE`].
pub(super) fn average(device: &Device<'_>) -> Result<Watts, NvmlError> {
    field(device, NVML_FI_DEV_POWER_AVERAGE)
}

/// See [`USAGE`].
pub(super) fn usage(device: &Device<'_>) -> Result<Watts, NvmlError> {
    not_zero(device.power_usage()?.into())
}

fn field(device: &Device<'_>, id: u32) -> Result<Watts, NvmlError> {
    let sample = device.field_values_for(&[FieldId(id)])?.pop().ok_or(NvmlError::NoData)??;
    not_zero(match sample.value? {
        SampleValue::U32(milliwatts) => milliwatts.into(),
        SampleValue::U64(milliwatts) => milliwatts as f64,
        SampleValue::I64(milliwatts) => milliwatts as f64,
        SampleValue::F64(milliwatts) => milliwatts,
    })
}

/// A GPU that answers draws power: 0 is how some drivers say that they don't know.
fn not_zero(milliwatts: f64) -> Result<Watts, NvmlError> {
    if milliwatts > 0.0 { Ok(Watts::new(milliwatts * 1e-3)) } else { Err(NvmlError::NotSupported) }
}

/// Finds a power sensor that stands still while the device does not.
///
/// Stuck: the very same value at 10 readings over 10 s in which utilisation moved by 20 points or more.
/// A device with the same to do all the time may well draw the same; it is not suspected.
#[derive(Debug, Default)]
pub(super) struct StuckPower {
    still: Option<Still>,
}

#[derive(Debug, Clone, Copy)]
struct Still {
    at: Watts,
    since: Timestamp,
    readings: u32,
    utilization: Option<(f64, f64)>,
}

const STILL_FOR: Duration = Duration::from_secs(10);
const STILL_READINGS: u32 = 10;
const UTILIZATION_MOVED: f64 = 0.2;

impl StuckPower {
    /// Takes in a reading and tells whether the sensor is stuck.
    pub(super) fn is_stuck(&mut self, now: Timestamp, power: Watts, utilization: Option<f64>) -> bool {
        let still = match self.still.take() {
            Some(still) if still.at == power => {
                let widest = |(low, high): (f64, f64), share: f64| (low.min(share), high.max(share));
                let utilization = match (still.utilization, utilization) {
                    (Some(range), Some(share)) => Some(widest(range, share)),
                    (range, share) => range.or(share.map(|share| (share, share))),
                };
                Still { readings: still.readings.saturating_add(1), utilization, ..still }
            }
            _ => Still {
                at: power,
                since: now,
                readings: 1,
                utilization: utilization.map(|share| (share, share)),
            },
        };
        self.still = Some(still);
        let has_moved = still.utilization.is_some_and(|(low, high)| high - low >= UTILIZATION_MOVED);
        has_moved && still.readings >= STILL_READINGS && now - still.since >= STILL_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_is_stuck_only_where_it_stands_still_while_the_device_does_not() {
        let stuck_after = |readings: u64, power: &dyn Fn(u64) -> f64, utilization: &dyn Fn(u64) -> f64| {
            let mut detector = StuckPower::default();
            (0..readings).find(|&second| {
                let now = Timestamp::from_nanos(second * 1_000_000_000);
                detector.is_stuck(now, Watts::new(power(second)), Some(utilization(second)))
            })
        };
        let moving = |second| (second % 5) as f64 / 5.0;
        assert_eq!(stuck_after(60, &|_| 70.0, &moving), Some(10));
        assert_eq!(stuck_after(60, &|_| 70.0, &|_| 0.0), None);
        assert_eq!(stuck_after(60, &|second| 70.0 + (second % 7) as f64, &moving), None);
    }
}
