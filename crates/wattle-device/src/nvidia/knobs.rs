//! The two knobs of a GPU: its power limit, and the highest clock of its cores.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::enums::device::{DeviceArchitecture, GpuLockedClocksSetting};
use nvml_wrapper::error::NvmlError;
use wattle_core::id::DeviceId;
use wattle_core::knob::{DeviceKnob, KnobRange};
use wattle_core::units::{Megahertz, Watts};

use super::error::{access, and_then, failed};
use super::ffi;
use crate::device::{Access, DeviceError, KnobState};

/// The call that turns the power limit.
pub(super) const SET_LIMIT: &str = "nvmlDeviceSetPowerManagementLimit";
/// The call that turns the highest core clock.
pub(super) const LOCK_CLOCKS: &str = "nvmlDeviceSetGpuLockedClocks";

/// The key of a recorded power limit.
const LIMIT_KEY: &str = "power_limit_mw";
/// The key of a recorded clock lock, and its only value: NVML has no call that tells a lock.
const LOCK_KEY: &str = "locked_clocks";
const LOCK_RESET: &str = "reset";

/// How far the limit read back may be from the one set: whole watts are all that some boards keep.
const LIMIT_TOLERANCE_MW: u32 = 500;
/// How long a clock may take to come down to its lock, and how often it is looked at.
const LOCK_TIMEOUT: Duration = Duration::from_millis(100);
const LOCK_POLL: Duration = Duration::from_millis(10);
/// How far above the lock the clock may read: one step of the clocks of recent GPUs.
const LOCK_TOLERANCE_MHZ: u32 = 15;

/// How far the power limit turns.
pub(super) fn limit_range(device: &Device<'_>) -> Access<KnobRange> {
    let call = "nvmlDeviceGetPowerManagementLimitConstraints";
    and_then(access(call, device.power_management_limit_constraints()), |constraints| {
        Access::Here(KnobRange {
            knob: DeviceKnob::PowerLimit,
            min: watts(constraints.min_limit).get(),
            max: watts(constraints.max_limit).get(),
            steps: Vec::new(),
        })
    })
}

/// The clocks that the cores can be held to, which are those at the highest clock of the memory.
pub(super) fn clock_range(device: &Device<'_>) -> Access<KnobRange> {
    if let Ok(DeviceArchitecture::Kepler | DeviceArchitecture::Maxwell | DeviceArchitecture::Pascal) =
        device.architecture()
    {
        let because = format!("{LOCK_CLOCKS} is for Volta and later");
        return Access::Absent { because };
    }
    let call = "nvmlDeviceGetSupportedGraphicsClocks";
    let clocks = device.supported_memory_clocks().and_then(|memory| {
        let highest = memory.into_iter().max().ok_or(NvmlError::NoData)?;
        ffi::supported_graphics_clocks(device, highest)
    });
    and_then(access(call, clocks), |mut steps| {
        steps.retain(|step| *step > 0);
        steps.sort_unstable();
        steps.dedup();
        let (Some(&min), Some(&max)) = (steps.first(), steps.last()) else {
            return Access::Absent { because: format!("{call} lists no clock") };
        };
        Access::Here(KnobRange {
            knob: DeviceKnob::CoreClock,
            min: min.into(),
            max: max.into(),
            steps: steps.into_iter().map(f64::from).collect(),
        })
    })
}

/// Sets the power limit, and reads back the limit that was set (which the enforced one may be below).
pub(super) fn set_limit(id: &DeviceId, device: &mut Device<'_>, limit: Watts) -> Result<(), DeviceError> {
    // Down to the milliwatt, so that rounding never raises power; a float a hair below the limit is it.
    set_limit_mw(id, device, (limit.get() * 1e3 + 1e-3) as u32)
}

fn set_limit_mw(id: &DeviceId, device: &mut Device<'_>, wanted_mw: u32) -> Result<(), DeviceError> {
    let set = device.set_power_management_limit(wanted_mw);
    set.map_err(|error| failed(id, format!("set the power limit to {} W", watts(wanted_mw)), &error))?;
    let found_mw = limit_mw(id, device)?;
    if found_mw.abs_diff(wanted_mw) > LIMIT_TOLERANCE_MW {
        return Err(DeviceError::ReadBack {
            device: id.clone(),
            knob: DeviceKnob::PowerLimit,
            wanted: watts(wanted_mw).get(),
            found: watts(found_mw).get(),
        });
    }
    Ok(())
}

/// Keeps the core clock at or below `clock`, from `lowest` up.
///
/// NVML tells no lock. What can be seen is the clock itself, so the lock is taken for confirmed once the
/// clock is at or below it (within 15 MHz), and for not kept where it is above 100 ms later. A device
/// with little to do, or held lower for heat or power, confirms any lock.
pub(super) fn lock_clock(
    id: &DeviceId,
    device: &mut Device<'_>,
    lowest: Megahertz,
    clock: Megahertz,
) -> Result<(), DeviceError> {
    let max_clock_mhz = clock.get() as u32;
    let setting = GpuLockedClocksSetting::Numeric { min_clock_mhz: lowest.get() as u32, max_clock_mhz };
    let lock = device.set_gpu_locked_clocks(setting);
    lock.map_err(|error| failed(id, format!("lock the core clock to {max_clock_mhz} MHz"), &error))?;
    let started = Instant::now();
    loop {
        let read = device.clock_info(Clock::Graphics);
        let found = read.map_err(|error| failed(id, "read the core clock", &error))?;
        if found <= max_clock_mhz + LOCK_TOLERANCE_MHZ {
            return Ok(());
        }
        if started.elapsed() + LOCK_POLL > LOCK_TIMEOUT {
            return Err(DeviceError::ReadBack {
                device: id.clone(),
                knob: DeviceKnob::CoreClock,
                wanted: max_clock_mhz.into(),
                found: found.into(),
            });
        }
        sleep(LOCK_POLL);
    }
}

/// How `knob` stands.
pub(super) fn state(id: &DeviceId, device: &Device<'_>, knob: DeviceKnob) -> Result<KnobState, DeviceError> {
    let (key, value) = match knob {
        DeviceKnob::PowerLimit => (LIMIT_KEY, limit_mw(id, device)?.to_string()),
        _ => (LOCK_KEY, LOCK_RESET.to_owned()),
    };
    Ok(KnobState([(key.to_owned(), value)].into()))
}

/// Makes `knob` stand as `state` says.
pub(super) fn put_back(
    id: &DeviceId,
    device: &mut Device<'_>,
    knob: DeviceKnob,
    state: &KnobState,
) -> Result<(), DeviceError> {
    let unexpected =
        |expected| DeviceError::State { device: id.clone(), knob, found: format!("{:?}", state.0), expected };
    if knob == DeviceKnob::PowerLimit {
        let recorded = state.0.get(LIMIT_KEY).and_then(|text| text.parse().ok());
        let limit_mw = recorded.ok_or_else(|| unexpected("power_limit_mw and a whole number"))?;
        return set_limit_mw(id, device, limit_mw);
    }
    if state.0.get(LOCK_KEY).is_none_or(|value| value != LOCK_RESET) {
        return Err(unexpected("locked_clocks and reset"));
    }
    device.reset_gpu_locked_clocks().map_err(|error| failed(id, "reset the lock of the core clock", &error))
}

fn limit_mw(id: &DeviceId, device: &Device<'_>) -> Result<u32, DeviceError> {
    device.power_management_limit().map_err(|error| failed(id, "read the power limit", &error))
}

/// NVML's milliwatts.
pub(super) fn watts(milliwatts: u32) -> Watts {
    Watts::new(f64::from(milliwatts) * 1e-3)
}
