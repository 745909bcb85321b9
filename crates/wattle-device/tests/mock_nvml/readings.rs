//! What the GPU reads, and its two knobs.

use super::*;

/// In steps of 15 MHz: 210 to 3000 MHz, which are more than the 128 that some callers have room for.
const CLOCKS: std::ops::RangeInclusive<u32> = 14..=200;
const MEMORY_CLOCKS: [u32; 2] = [405, 1215];

#[repr(C)]
pub struct PciInfo {
    bus_id_legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    pci_device_id: c_uint,
    pci_sub_system_id: c_uint,
    bus_id: [c_char; 32],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(_: Device, to: *mut PciInfo) -> u32 {
    let _state = enter!("nvmlDeviceGetPciInfo_v3");
    unsafe {
        (*to).bus = 0x17;
        write_text("00000000:17:00.0", (*to).bus_id.as_mut_ptr(), 32)
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union Value {
    d: f64,
    ui: c_uint,
    ull: c_ulonglong,
}

#[repr(C)]
pub struct FieldValue {
    field_id: c_uint,
    scope_id: c_uint,
    timestamp: i64,
    latency_us: i64,
    value_type: c_uint,
    code: c_uint,
    value: Value,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetFieldValues(_: Device, count: c_int, values: *mut FieldValue) -> u32 {
    let mut state = enter!("nvmlDeviceGetFieldValues");
    for index in 0..count as usize {
        let field = unsafe { &mut *values.add(index) };
        let name = match field.field_id {
            186 => "power_mw",
            185 => "power_average_mw",
            _ => {
                field.code = INVALID_ARGUMENT;
                continue;
            }
        };
        field.code = state.fault(&format!("field {}", field.field_id)).unwrap_or(SUCCESS);
        field.value_type = 1; // NVML_VALUE_TYPE_UNSIGNED_INT
        field.value = Value { ui: state.number(name) };
    }
    SUCCESS
}

/// A function that writes one number.
macro_rules! number {
    ($function:ident, $type:ty, $name:literal) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(_: Device, to: *mut $type) -> u32 {
            let state = enter!(stringify!($function));
            let Some(value) = state.get($name) else { return NOT_SUPPORTED };
            unsafe { *to = value as $type };
            SUCCESS
        }
    };
}

number!(nvmlDeviceGetPowerUsage, c_uint, "power_mw");
number!(nvmlDeviceGetTotalEnergyConsumption, c_ulonglong, "energy_mj");
number!(nvmlDeviceGetPowerManagementLimit, c_uint, "limit_mw");
number!(nvmlDeviceGetPersistenceMode, c_uint, "persistence_mode");
number!(nvmlDeviceGetEnforcedPowerLimit, c_uint, "limit_mw");
number!(nvmlDeviceGetCurrentClocksThrottleReasons, c_ulonglong, "throttle_reasons");

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPowerManagementDefaultLimit(_: Device, to: *mut c_uint) -> u32 {
    let _state = enter!("nvmlDeviceGetPowerManagementDefaultLimit");
    unsafe { *to = 250_000 };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPowerManagementLimitConstraints(
    _: Device,
    min: *mut c_uint,
    max: *mut c_uint,
) -> u32 {
    let _state = enter!("nvmlDeviceGetPowerManagementLimitConstraints");
    unsafe {
        *min = 100_000;
        *max = 250_000;
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceSetPowerManagementLimit(_: Device, limit_mw: c_uint) -> u32 {
    let mut state = enter!("nvmlDeviceSetPowerManagementLimit");
    if !(100_000..=250_000).contains(&limit_mw) {
        return INVALID_ARGUMENT;
    }
    let unit = state.number("round_limit_mw").max(1);
    state.set("limit_mw", f64::from(limit_mw / unit * unit));
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetSupportedMemoryClocks(
    _: Device,
    count: *mut c_uint,
    to: *mut c_uint,
) -> u32 {
    let _state = enter!("nvmlDeviceGetSupportedMemoryClocks");
    unsafe { write_list(&MEMORY_CLOCKS, to, count) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetSupportedGraphicsClocks(
    _: Device,
    memory_mhz: c_uint,
    count: *mut c_uint,
    to: *mut c_uint,
) -> u32 {
    let _state = enter!("nvmlDeviceGetSupportedGraphicsClocks");
    // Highest first, as NVML does; with the memory slow there is one clock only.
    let clocks: Vec<u32> = match memory_mhz {
        1215 => CLOCKS.rev().map(|step| step * 15).collect(),
        405 => vec![405],
        _ => return NOT_FOUND,
    };
    unsafe { write_list(&clocks, to, count) }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceSetGpuLockedClocks(_: Device, min_mhz: c_uint, max_mhz: c_uint) -> u32 {
    let mut state = enter!("nvmlDeviceSetGpuLockedClocks");
    if min_mhz > max_mhz {
        return INVALID_ARGUMENT;
    }
    state.set("lock_min_mhz", f64::from(min_mhz));
    state.set("lock_max_mhz", f64::from(max_mhz));
    if state.get("clock_ignores_lock").is_none() {
        let natural = state.get("natural_clock_mhz").unwrap_or(0.0);
        state.set("clock_mhz", natural.clamp(f64::from(min_mhz), f64::from(max_mhz)));
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceResetGpuLockedClocks(_: Device) -> u32 {
    let mut state = enter!("nvmlDeviceResetGpuLockedClocks");
    state.values.remove("lock_min_mhz");
    state.values.remove("lock_max_mhz");
    let natural = state.get("natural_clock_mhz").unwrap_or(0.0);
    state.set("clock_mhz", natural);
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetClockInfo(_: Device, kind: c_uint, to: *mut c_uint) -> u32 {
    let state = enter!("nvmlDeviceGetClockInfo");
    // NVML_CLOCK_GRAPHICS is 0, NVML_CLOCK_MEM is 2.
    unsafe { *to = if kind == 2 { 1215 } else { state.number("clock_mhz") } };
    SUCCESS
}

#[repr(C)]
pub struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(_: Device, to: *mut Utilization) -> u32 {
    let state = enter!("nvmlDeviceGetUtilizationRates");
    if state.number("mig") == 1 {
        return NOT_SUPPORTED;
    }
    unsafe { *to = Utilization { gpu: state.number("utilization"), memory: 5 } };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(_: Device, _: c_uint, to: *mut c_uint) -> u32 {
    let state = enter!("nvmlDeviceGetTemperature");
    unsafe { *to = state.number("temperature") };
    SUCCESS
}

#[repr(C)]
pub struct MemoryV2 {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(_: Device, to: *mut MemoryV2) -> u32 {
    let _state = enter!("nvmlDeviceGetMemoryInfo_v2");
    let to = unsafe { &mut *to };
    if to.version != size_of::<MemoryV2>() as u32 | (2 << 24) {
        return ARGUMENT_VERSION_MISMATCH;
    }
    (to.total, to.used) = (40 << 30, 3 << 30);
    (to.reserved, to.free) = (1 << 30, 36 << 30);
    SUCCESS
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ProcessUtilization {
    pid: c_uint,
    timestamp_us: c_ulonglong,
    sm: c_uint,
    memory: c_uint,
    encoder: c_uint,
    decoder: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetProcessUtilization(
    _: Device,
    to: *mut ProcessUtilization,
    count: *mut c_uint,
    seen_us: c_ulonglong,
) -> u32 {
    let mut state = enter!("nvmlDeviceGetProcessUtilization");
    if state.number("mig") == 1 {
        return NOT_SUPPORTED;
    }
    if state.number("processes") == 0 {
        return NOT_FOUND;
    }
    let sample = |pid, sm| ProcessUtilization {
        pid,
        timestamp_us: seen_us + 1,
        sm,
        memory: 1,
        encoder: 0,
        decoder: 0,
    };
    let own = sample(state.number("own_pid"), state.number("own_utilization"));
    let other = sample(1_000_000, state.number("other_utilization"));
    state.set("seen_us", seen_us as f64);
    unsafe { write_list(&[own, other], to, count) }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ProcessInfo {
    pid: c_uint,
    used_bytes: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    _: Device,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> u32 {
    let state = enter!("nvmlDeviceGetComputeRunningProcesses_v3");
    let process =
        |pid, used_bytes| ProcessInfo { pid, used_bytes, gpu_instance: u32::MAX, compute_instance: u32::MAX };
    let all = [process(state.number("own_pid"), 512 << 20), process(1_000_000, u64::MAX)];
    unsafe { write_list(&all[..state.number("processes") as usize], to, count) }
}
