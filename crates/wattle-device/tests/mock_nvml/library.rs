//! A stand-in for NVIDIA's management library: the C functions that the driver calls, over a made-up GPU.
//!
//! A cdylib that the tests compile with `rustc`; it is no module of theirs. Types are written down from
//! `nvml.h`, not taken from the bindings that the driver uses, so that a wrong one is found. The GPU is an
//! A100 of 40 GB. State is numbers under names, set and read with `mock_set` and `mock_get`:
//!
//! - `fail:FUNCTION` is the code that a function returns; `fail_once:FUNCTION` does so for one call
//! - `lost` is the code of all that takes a device, `no_permission` is what all that nvml.h calls
//!   privileged returns;
//!   `fail_device:INDEX` is the code of opening one device
//! - `power_mw`, `energy_mj`, … are what the GPU reads
//! - `round_limit_mw`: the power limit is silently rounded down to a multiple
//! - `clock_ignores_lock`: the clock stays where it is
//! - `processes`: how many run, of which the first is `own_pid`
//! - `calls:FUNCTION` counts calls
#![allow(
    non_snake_case,
    clippy::missing_safety_doc,
    reason = "the names and the contracts are those of nvml.h"
)]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SUCCESS: u32 = 0;
const INVALID_ARGUMENT: u32 = 2;
const NOT_SUPPORTED: u32 = 3;
const NO_PERMISSION: u32 = 4;
const NOT_FOUND: u32 = 6;
const INSUFFICIENT_SIZE: u32 = 7;
const IN_USE: u32 = 19;
const INSUFFICIENT_RESOURCES: u32 = 23;
const ARGUMENT_VERSION_MISMATCH: u32 = 25;

mod partitions;
mod readings;

pub type Device = *mut c_void;

struct State {
    values: BTreeMap<String, f64>,
    instances: Vec<partitions::Instance>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// The state, with what it starts with the first time: `MOCK_NVML` holds `name=value` pairs.
fn state() -> Held {
    let mut held = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    held.get_or_insert_with(|| {
        let mut values: BTreeMap<String, f64> = [
            ("devices", 1.0),
            ("power_mw", 71_500.0),
            ("power_average_mw", 70_000.0),
            ("energy_mj", 123_456_789.0),
            ("limit_mw", 250_000.0),
            ("clock_mhz", 1410.0),
            ("natural_clock_mhz", 1410.0),
            ("utilization", 40.0),
            ("temperature", 45.0),
            ("architecture", 7.0),
            ("major", 8.0),
            ("minor", 0.0),
            ("throttle_reasons", 4.0),
            ("own_pid", f64::from(std::process::id())),
            ("own_utilization", 30.0),
            ("other_utilization", 10.0),
            ("processes", 2.0),
            ("mig", 0.0),
            ("mig_pending", 0.0),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for pair in std::env::var("MOCK_NVML").unwrap_or_default().split(',') {
            if let Some((name, value)) = pair.split_once('=') {
                values.insert(name.to_owned(), value.parse().expect("MOCK_NVML holds name=number pairs"));
            }
        }
        State { values, instances: Vec::new() }
    });
    Held(held)
}

struct Held(MutexGuard<'static, Option<State>>);

impl std::ops::Deref for Held {
    type Target = State;
    fn deref(&self) -> &State {
        self.0.as_ref().expect("just made")
    }
}

impl std::ops::DerefMut for Held {
    fn deref_mut(&mut self) -> &mut State {
        self.0.as_mut().expect("just made")
    }
}

impl State {
    fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }

    fn number(&self, name: &str) -> u32 {
        self.get(name).unwrap_or(0.0) as u32
    }

    fn set(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_owned(), value);
    }

    /// Counts a call and gives the code it is to fail with, if any.
    fn fault(&mut self, function: &str) -> Option<u32> {
        let calls = format!("calls:{function}");
        let count = self.get(&calls).unwrap_or(0.0) + 1.0;
        self.set(&calls, count);
        if let Some(code) = self.values.remove(&format!("fail_once:{function}")) {
            return Some(code as u32);
        }
        if function.starts_with("nvmlDevice") || function.contains("Instance") {
            if let Some(code) = self.get("lost") {
                return Some(code as u32);
            }
        }
        let privileged =
            ["Set", "Reset", "Create", "Destroy", "Placements", "RemainingCapacity", "GetGpuInstances"];
        let is_privileged = privileged.iter().any(|part| function.contains(part));
        if is_privileged && self.get("no_permission").is_some() {
            return Some(NO_PERMISSION);
        }
        self.get(&format!("fail:{function}")).map(|code| code as u32)
    }
}

/// The state, unless this call is to fail: then that code is returned.
macro_rules! enter {
    ($function:expr) => {{
        #[allow(unused_mut, reason = "not every function writes")]
        let mut state = state();
        if let Some(code) = state.fault($function) {
            return code;
        }
        state
    }};
}

pub(crate) use enter;

// Handles: the device is 1 + its index; a MIG device is 100 + 10 of its GPU
// instance + its compute instance; GPU instance id is 1000 + id; compute
// instance c of GPU instance g is 10000 + 100 g + c.

unsafe fn write_text(text: &str, to: *mut c_char, length: u32) -> u32 {
    if text.len() + 1 > length as usize {
        return INSUFFICIENT_SIZE;
    }
    for (index, byte) in text.bytes().chain([0]).enumerate() {
        unsafe { *to.add(index) = byte as c_char };
    }
    SUCCESS
}

/// As NVML's lists do: tells the number where there is no room for it.
unsafe fn write_list<T: Copy>(list: &[T], to: *mut T, count: *mut c_uint) -> u32 {
    unsafe {
        let room = *count as usize;
        *count = list.len() as u32;
        if room < list.len() {
            return INSUFFICIENT_SIZE;
        }
        for (index, item) in list.iter().enumerate() {
            *to.add(index) = *item;
        }
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mock_set(name: *const c_char, value: f64) {
    let name = unsafe { CStr::from_ptr(name) }.to_str().expect("UTF-8");
    let mut state = state();
    if value.is_nan() {
        state.values.remove(name);
    } else {
        state.set(name, value);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mock_get(name: *const c_char) -> f64 {
    let name = unsafe { CStr::from_ptr(name) }.to_str().expect("UTF-8");
    state().get(name).unwrap_or(f64::NAN)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> u32 {
    let mut state = enter!("nvmlInit_v2");
    let count = state.get("initialized").unwrap_or(0.0) + 1.0;
    state.set("initialized", count);
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> u32 {
    let mut state = enter!("nvmlShutdown");
    let count = state.get("initialized").unwrap_or(0.0) - 1.0;
    state.set("initialized", count);
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, length: c_uint) -> u32 {
    let _state = enter!("nvmlSystemGetDriverVersion");
    unsafe { write_text("580.95.05", to, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetNVMLVersion(to: *mut c_char, length: c_uint) -> u32 {
    let _state = enter!("nvmlSystemGetNVMLVersion");
    unsafe { write_text("13.580.95.05", to, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> u32 {
    let state = enter!("nvmlDeviceGetCount_v2");
    unsafe { *count = state.number("devices") };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut Device) -> u32 {
    let state = enter!("nvmlDeviceGetHandleByIndex_v2");
    if index >= state.number("devices") {
        return INVALID_ARGUMENT;
    }
    if let Some(code) = state.get(&format!("fail_device:{index}")) {
        return code as u32;
    }
    unsafe { *device = (1 + index) as usize as Device };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(device: Device, to: *mut c_char, length: c_uint) -> u32 {
    let _state = enter!("nvmlDeviceGetUUID");
    let text = match device as usize {
        mig @ 100.. => format!("MIG-00000000-0000-0000-0000-{mig:012}"),
        gpu => format!("GPU-00000000-0000-0000-0000-{gpu:012}"),
    };
    unsafe { write_text(&text, to, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(device: Device, to: *mut c_char, length: c_uint) -> u32 {
    let state = enter!("nvmlDeviceGetName");
    let mut name = "NVIDIA A100-PCIE-40GB".to_owned();
    if device as usize >= 100 {
        name = format!("{name} {}", partitions::profile_name(&state, (device as usize as u32 - 100) / 10));
    }
    unsafe { write_text(&name, to, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetArchitecture(_: Device, to: *mut c_uint) -> u32 {
    let state = enter!("nvmlDeviceGetArchitecture");
    unsafe { *to = state.number("architecture") };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCudaComputeCapability(
    _: Device,
    major: *mut c_int,
    minor: *mut c_int,
) -> u32 {
    let state = enter!("nvmlDeviceGetCudaComputeCapability");
    unsafe {
        *major = state.number("major") as c_int;
        *minor = state.number("minor") as c_int;
    }
    SUCCESS
}
