//! All there is to see of a GPU, for people.

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use wattle_core::knob::{DeviceKnob, KnobRange};
use wattle_core::units::{Megahertz, Watts};

use super::error::{GRANT, access, and_then};
use super::mig::{Mig, MigLayout, MigMode};
use super::{Lock, NvidiaDevice, knobs, power, processes};
use crate::device::{Access, Inspection, KnobView, SensorView};

pub(super) fn inspect(opened: &NvidiaDevice) -> Inspection {
    let device = match opened.device() {
        Ok(device) => device,
        Err(error) => {
            let facts = vec![("state", Access::Failed { because: error.to_string() })];
            return Inspection { facts, ..Inspection::default() };
        }
    };
    let mig = Mig { id: &opened.info.id, device };
    let is_partitioned = matches!(mig.mode(), Ok((MigMode::Enabled, _)));
    Inspection {
        sensors: sensors(&mig.device),
        knobs: knob_views(opened, &mig.device),
        facts: facts(opened, &mig, is_partitioned),
    }
}

fn sensors(device: &Device<'_>) -> Vec<SensorView> {
    let sensor = |name, unit, call: &str, answer: Result<f64, NvmlError>| SensorView {
        name,
        unit,
        source: call.to_owned(),
        reading: access(call, answer),
    };
    let percent = |percent: u32| f64::from(percent) / 100.0;
    let memory = "nvmlDeviceGetMemoryInfo";
    let rates = "nvmlDeviceGetUtilizationRates";
    let clock = "nvmlDeviceGetClockInfo";
    vec![
        sensor("power_instant", "W", power::INSTANT, power::instant(device).map(Watts::get)),
        sensor("power_average", "W", power::AVERAGE, power::average(device).map(Watts::get)),
        sensor("power_usage", "W", power::USAGE, power::usage(device).map(Watts::get)),
        sensor(
            "energy_since_driver_load",
            "J",
            "nvmlDeviceGetTotalEnergyConsumption",
            device.total_energy_consumption().map(|millijoules| millijoules as f64 * 1e-3),
        ),
        sensor(
            "power_limit_enforced",
            "W",
            "nvmlDeviceGetEnforcedPowerLimit",
            device.enforced_power_limit().map(|limit| knobs::watts(limit).get()),
        ),
        sensor(
            "temperature",
            "C",
            "nvmlDeviceGetTemperature",
            device.temperature(TemperatureSensor::Gpu).map(f64::from),
        ),
        sensor("core_clock", "MHz", clock, device.clock_info(Clock::Graphics).map(f64::from)),
        sensor("memory_clock", "MHz", clock, device.clock_info(Clock::Memory).map(f64::from)),
        sensor("utilization", "share", rates, device.utilization_rates().map(|rates| percent(rates.gpu))),
        sensor("memory_used", "bytes", memory, device.memory_info().map(|memory| memory.used as f64)),
        sensor("memory_total", "bytes", memory, device.memory_info().map(|memory| memory.total as f64)),
    ]
}

fn knob_views(opened: &NvidiaDevice, device: &Device<'_>) -> Vec<KnobView> {
    let view = |knob: DeviceKnob, source: &str, range: &Access<KnobRange>, stands| KnobView {
        knob,
        unit: knob.unit(),
        source: source.to_owned(),
        range: match range {
            Access::Here(range) => Some(range.clone()),
            _ => None,
        },
        stands,
        // What is not there can't be granted.
        turnable: and_then(range.clone(), |_| opened.may_write.clone()),
    };
    let limit = access("nvmlDeviceGetPowerManagementLimit", device.power_management_limit());
    let limit = and_then(limit, |limit| Access::Here(Some(knobs::watts(limit).get())));
    let lock = match opened.locked {
        Lock::Unknown => Access::Absent { because: "NVML has no call that tells a lock".into() },
        Lock::At(clock) => Access::Here(Some(Megahertz::get(clock))),
        Lock::Reset => Access::Here(None),
    };
    vec![
        view(DeviceKnob::CoreClock, knobs::LOCK_CLOCKS, &opened.clock, lock),
        view(DeviceKnob::PowerLimit, knobs::SET_LIMIT, &opened.limit, limit),
    ]
}

fn facts(opened: &NvidiaDevice, mig: &Mig<'_>, is_partitioned: bool) -> Vec<(&'static str, Access<String>)> {
    let device = &mig.device;
    let nvml: &Nvml = &opened.nvml;
    let text = |answer: Result<String, NvmlError>, call: &str| access(call, answer);
    let (partitions, room) = mig_facts(mig);
    let default_limit = device.power_management_limit_default();
    vec![
        ("driver", text(nvml.sys_driver_version(), "nvmlSystemGetDriverVersion")),
        ("nvml", text(nvml.sys_nvml_version(), "nvmlSystemGetNVMLVersion")),
        (
            "architecture",
            text(device.architecture().map(|a| format!("{a:?}").to_lowercase()), "nvmlDeviceGetArchitecture"),
        ),
        ("pci_bus", text(device.pci_info().map(|pci| pci.bus_id), "nvmlDeviceGetPciInfo")),
        (
            "default_power_limit",
            text(
                default_limit.map(|limit| knobs::watts(limit).to_string()),
                "nvmlDeviceGetPowerManagementDefaultLimit",
            ),
        ),
        (
            "persistence_mode",
            text(
                device.is_in_persistent_mode().map(|is_on| {
                    if is_on { "on".into() } else { "off: limits and locks end with the last user".into() }
                }),
                "nvmlDeviceGetPersistenceMode",
            ),
        ),
        (
            "throttle_reasons",
            text(
                device.current_throttle_reasons().map(throttle_reasons),
                "nvmlDeviceGetCurrentClocksThrottleReasons",
            ),
        ),
        ("energy_source", Access::Here(opened.info.power_provenance.to_string())),
        ("mig", partitions),
        ("mig_room", room),
        ("processes", processes::describe(device, is_partitioned)),
        ("own_share", own_share(opened, is_partitioned)),
    ]
}

fn own_share(opened: &NvidiaDevice, is_partitioned: bool) -> Access<String> {
    if is_partitioned {
        let because = "nvmlDeviceGetProcessUtilization tells nothing of a partitioned (MIG) device".into();
        return Access::Absent { because };
    }
    if opened.own_share.is_none() {
        let because = "this process is in a PID namespace of its own, where the driver's numbers of \
                       processes mean nothing (in a container: --pid=host)";
        return Access::Absent { because: because.into() };
    }
    Access::Here("by nvmlDeviceGetProcessUtilization, while this process uses the GPU".into())
}

/// The partitions there are, and those that fit.
fn mig_facts(mig: &Mig<'_>) -> (Access<String>, Access<String>) {
    let layout = match mig.layout() {
        Ok(layout) => layout,
        Err(error) => {
            let failed = Access::Failed { because: error.to_string() };
            return (failed.clone(), failed);
        }
    };
    let absent = |because: &str| Access::Absent { because: because.to_owned() };
    match layout.mode {
        MigMode::Unsupported => {
            let because = "nvmlDeviceGetMigMode: this GPU can't be partitioned";
            (absent(because), absent(because))
        }
        MigMode::Disabled => (Access::Here(layout.to_string()), absent("the GPU is not in MIG mode")),
        MigMode::Enabled => (Access::Here(layout.to_string()), mig_room(&layout)),
    }
}

fn mig_room(layout: &MigLayout) -> Access<String> {
    if layout.profiles.iter().any(|profile| profile.remaining.is_none()) {
        let because = "nvmlDeviceGetGpuInstanceRemainingCapacity is for those who may repartition".into();
        return Access::Denied { because, fix: GRANT.into() };
    }
    let room = layout.profiles.iter().filter_map(|profile| match profile.remaining {
        Some(remaining @ 1..) => Some(format!("{remaining} x {}", profile.name)),
        _ => None,
    });
    let room: Vec<_> = room.collect();
    Access::Here(if room.is_empty() { "none".into() } else { format!("any of {}", room.join(", ")) })
}

/// Why the clocks are where they are, in words.
fn throttle_reasons(reasons: ThrottleReasons) -> String {
    let words = [
        (ThrottleReasons::GPU_IDLE, "idle"),
        (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, "application clocks set"),
        (ThrottleReasons::SW_POWER_CAP, "power limit"),
        (ThrottleReasons::HW_SLOWDOWN, "hardware slowdown (heat, power brake or power draw)"),
        (ThrottleReasons::SYNC_BOOST, "kept in step with another GPU"),
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, "heat (driver)"),
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, "heat (hardware)"),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "power brake of the power supply"),
        (ThrottleReasons::DISPLAY_CLOCK_SETTING, "display clocks set"),
    ];
    let found: Vec<_> =
        words.iter().filter(|(bit, _)| reasons.contains(*bit)).map(|(_, words)| *words).collect();
    if found.is_empty() { "none".into() } else { found.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_to_throttle_are_told_in_words() {
        assert_eq!(throttle_reasons(ThrottleReasons::empty()), "none");
        let both = ThrottleReasons::SW_POWER_CAP | ThrottleReasons::SW_THERMAL_SLOWDOWN;
        assert_eq!(throttle_reasons(both), "power limit, heat (driver)");
    }
}
