//! AMD SMI (`libamd_smi`), loaded at run time: its calls, with plain values in and out.
//!
//! Knows no device and no knob. The units are the library's own: microwatts, watts, megahertz.
#![allow(unsafe_code, reason = "calls into a C library; every call is in this file")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use libloading::Library;
use parking_lot::{Mutex as FairMutex, MutexGuard};

use super::error::{LOCK_TIMEOUT, READ_FIX, SUCCESS, SmiError, describe};
use super::layout::{
    ClockInfo, CoreClockRange, EngineUsage, PowerCapInfo, PowerInfo24, PowerInfo25, PowerInfo26, Roomy,
    VersionWords,
};
use super::release::{Abi, Release, candidates};
use crate::device::Access;

const INIT_AMD_GPUS: u64 = 1 << 1;
const CLOCK_CORE: u32 = 0;
const LIMIT_MIN: u32 = 0;
const LIMIT_MAX: u32 = 1;
const TEMPERATURE_HOTSPOT: u32 = 1;
const TEMPERATURE_CURRENT: u32 = 0;
/// The performance level at which the driver alone chooses clocks.
pub(super) const LEVEL_AUTO: u32 = 0;

type Handle = *mut c_void;
type Out<T> = unsafe extern "C" fn(Handle, *mut Roomy<T>) -> u32;

/// A GPU, as the library knows it while it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GpuHandle(usize);

/// The functions of the library that Wattle calls.
struct Calls {
    init: unsafe extern "C" fn(u64) -> u32,
    lib_version: unsafe extern "C" fn(*mut Roomy<VersionWords>) -> u32,
    status_text: unsafe extern "C" fn(u32, *mut *const c_char) -> u32,
    sockets: unsafe extern "C" fn(*mut u32, *mut Handle) -> u32,
    processors: unsafe extern "C" fn(Handle, *mut u32, *mut Handle) -> u32,
    bdf: unsafe extern "C" fn(Handle, *mut u64) -> u32,
    asic_info: unsafe extern "C" fn(Handle, *mut [u8; 4096]) -> u32,
    /// Its structure differs by ABI, so that the pointer has no type.
    power_info: unsafe extern "C" fn(Handle, *mut c_void) -> u32,
    energy_count: unsafe extern "C" fn(Handle, *mut u64, *mut f32, *mut u64) -> u32,
    power_cap_info: unsafe extern "C" fn(Handle, u32, *mut Roomy<PowerCapInfo>) -> u32,
    set_power_cap: unsafe extern "C" fn(Handle, u32, u64) -> u32,
    clock_info: unsafe extern "C" fn(Handle, u32, *mut Roomy<ClockInfo>) -> u32,
    set_clock_limit: unsafe extern "C" fn(Handle, u32, u32, u64) -> u32,
    od_volt_info: Out<CoreClockRange>,
    activity: Out<EngineUsage>,
    temperature: unsafe extern "C" fn(Handle, u32, u32, *mut i64) -> u32,
    perf_level: unsafe extern "C" fn(Handle, *mut u32) -> u32,
    set_perf_level: unsafe extern "C" fn(Handle, u32) -> u32,
}

impl Calls {
    fn find(library: &Library) -> Result<Self, libloading::Error> {
        // SAFETY: each type is that of the function of this name in `amdsmi.h` of ABI 24.7 to 26; enums
        // of C are `u32` there, and a pointer to a roomy structure is one to its first member.
        unsafe {
            Ok(Self {
                init: *library.get(b"amdsmi_init\0")?,
                lib_version: *library.get(b"amdsmi_get_lib_version\0")?,
                status_text: *library.get(b"amdsmi_status_code_to_string\0")?,
                sockets: *library.get(b"amdsmi_get_socket_handles\0")?,
                processors: *library.get(b"amdsmi_get_processor_handles\0")?,
                bdf: *library.get(b"amdsmi_get_gpu_device_bdf\0")?,
                asic_info: *library.get(b"amdsmi_get_gpu_asic_info\0")?,
                power_info: *library.get(b"amdsmi_get_power_info\0")?,
                energy_count: *library.get(b"amdsmi_get_energy_count\0")?,
                power_cap_info: *library.get(b"amdsmi_get_power_cap_info\0")?,
                set_power_cap: *library.get(b"amdsmi_set_power_cap\0")?,
                clock_info: *library.get(b"amdsmi_get_clock_info\0")?,
                set_clock_limit: *library.get(b"amdsmi_set_gpu_clk_limit\0")?,
                od_volt_info: *library.get(b"amdsmi_get_gpu_od_volt_info\0")?,
                activity: *library.get(b"amdsmi_get_gpu_activity\0")?,
                temperature: *library.get(b"amdsmi_get_temp_metric\0")?,
                perf_level: *library.get(b"amdsmi_get_gpu_perf_level\0")?,
                set_perf_level: *library.get(b"amdsmi_set_gpu_perf_level\0")?,
            })
        }
    }
}

/// The library, loaded and started.
pub(super) struct Smi {
    calls: Calls,
    release: Release,
    /// For releases whose calls must not overlap.
    one_at_a_time: Option<FairMutex<()>>,
    _library: Library,
}

/// The libraries in use. They stay: AMD SMI keeps its state in the process, so that stopping it for one
/// user would take the handles of every other, such as those of a dead man's second device.
static LOADED: Mutex<BTreeMap<PathBuf, Arc<Smi>>> = Mutex::new(BTreeMap::new());

impl Smi {
    /// Loads and starts `library`, or the one that ROCm installs. The same one again is shared.
    pub(super) fn load(library: Option<&Path>) -> Access<Arc<Self>> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        for path in library.map_or_else(candidates, |path| vec![path.to_owned()]) {
            if let Some(smi) = loaded.get(&path) {
                return Access::Here(Arc::clone(smi));
            }
            // SAFETY: loading runs the initialisers of AMD SMI, which do nothing that Rust forbids; the
            // library is never unloaded.
            match unsafe { Library::new(&path) } {
                Ok(library) => {
                    let started = Self::start(library, &path);
                    if let Access::Here(smi) = &started {
                        loaded.insert(path, Arc::clone(smi));
                    }
                    return started;
                }
                Err(error) if path.exists() => {
                    return Access::Failed { because: format!("{}: {}", path.display(), describe(&error)) };
                }
                Err(_) => {}
            }
        }
        let because = match library {
            Some(path) => format!("there is no AMD SMI at {}", path.display()),
            None => "there is no AMD SMI of ROCm 6.3 to 7: no libamd_smi.so.26, .25 or .24 where the system looks \
                     for libraries, nor in /opt/rocm/lib"
                .into(),
        };
        Access::Absent { because }
    }

    fn start(library: Library, path: &Path) -> Access<Arc<Self>> {
        let failed = |because: String| Access::Failed { because: format!("{}: {because}", path.display()) };
        let calls = match Calls::find(&library) {
            Ok(calls) => calls,
            Err(error) => return failed(format!("{}; expected AMD SMI of ROCm 6.3 to 7", describe(&error))),
        };
        // Until the version is known the order of calls is all ours, so there is nothing to lock.
        // SAFETY: no arguments but a flag.
        let status = unsafe { (calls.init)(INIT_AMD_GPUS) };
        if let Err(error) = calls.check("amdsmi_init", status) {
            return match error.is_without_driver() {
                true => Access::Absent { because: format!("{error}: the kernel runs no amdgpu driver") },
                false => error.into_access(READ_FIX),
            };
        }
        let mut words = Roomy::<VersionWords>::default();
        // SAFETY: every ABI writes at most 24 bytes here; there is room for more.
        let status = unsafe { (calls.lib_version)(&raw mut words) };
        if let Err(error) = calls.check("amdsmi_get_lib_version", status) {
            return failed(error.to_string());
        }
        let Some(release) = Release::of(words.value.0) else {
            let [first, second, third, _] = words.value.0;
            return failed(format!(
                "AMD SMI calls itself {first}.{second}.{third}, expected 24.7 or later, 25 or 26 (ROCm 6.3 \
                 to 7): how other releases lay out their structures is not known; install one of these \
                 beside it and name its library"
            ));
        };
        let one_at_a_time = (!release.may_overlap).then(|| FairMutex::new(()));
        Access::Here(Arc::new(Self { calls, release, one_at_a_time, _library: library }))
    }

    /// The release of the library.
    pub(super) fn version(&self) -> &str {
        &self.release.version
    }

    /// Makes one call, alone where this release needs that.
    fn call(&self, name: &'static str, call: impl FnOnce(&Calls) -> u32) -> Result<(), SmiError> {
        match &self.one_at_a_time {
            Some(lock) => alone(lock, name, || self.calls.check(name, call(&self.calls)))?,
            None => self.calls.check(name, call(&self.calls)),
        }
    }

    /// Every GPU.
    pub(super) fn gpus(&self) -> Result<Vec<GpuHandle>, SmiError> {
        let sockets = self.handles("amdsmi_get_socket_handles", |calls, count, handles| {
            // SAFETY: `handles` is null or has room for `count` handles, as `handles` below sees to.
            unsafe { (calls.sockets)(count, handles) }
        })?;
        let mut gpus = Vec::new();
        for socket in sockets {
            let found = self.handles("amdsmi_get_processor_handles", |calls, count, handles| {
                // SAFETY: as above; the socket comes from this library.
                unsafe { (calls.processors)(socket.0 as Handle, count, handles) }
            })?;
            gpus.extend(found);
        }
        Ok(gpus)
    }

    /// Asks how many handles there are, then for the handles.
    fn handles(
        &self,
        name: &'static str,
        ask: impl Fn(&Calls, *mut u32, *mut Handle) -> u32,
    ) -> Result<Vec<GpuHandle>, SmiError> {
        let mut count = 0;
        self.call(name, |calls| ask(calls, &raw mut count, std::ptr::null_mut()))?;
        let mut handles = vec![std::ptr::null_mut(); count as usize];
        if count > 0 {
            self.call(name, |calls| ask(calls, &raw mut count, handles.as_mut_ptr()))?;
            handles.truncate(count as usize);
        }
        Ok(handles.into_iter().map(|handle| GpuHandle(handle as usize)).collect())
    }

    /// Where the GPU sits: `domain:bus:device.function`, as `lspci -D` prints it.
    pub(super) fn pci_address(&self, gpu: GpuHandle) -> Result<String, SmiError> {
        let mut bdf = 0;
        self.call("amdsmi_get_gpu_device_bdf", |calls| {
            // SAFETY: `bdf` is the 8 bytes of `amdsmi_bdf_t`.
            unsafe { (calls.bdf)(gpu.0 as Handle, &raw mut bdf) }
        })?;
        let (domain, bus, device, function) = (bdf >> 16, bdf >> 8 & 0xff, bdf >> 3 & 0x1f, bdf & 7);
        Ok(format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
    }

    /// The name under which the GPU is sold.
    pub(super) fn market_name(&self, gpu: GpuHandle) -> Result<String, SmiError> {
        /// Length of `market_name`, the first member of `amdsmi_asic_info_t`.
        const NAME: usize = 256;
        let mut info = [0; 4096];
        self.call("amdsmi_get_gpu_asic_info", |calls| {
            // SAFETY: the structure has less than 1 KiB in every ABI.
            unsafe { (calls.asic_info)(gpu.0 as Handle, &raw mut info) }
        })?;
        let name: Vec<u8> = info.into_iter().take(NAME).take_while(|byte| *byte != 0).collect();
        Ok(String::from_utf8_lossy(&name).trim().to_owned())
    }

    /// Power of the socket now and on average, in watts, each where the GPU tells it.
    pub(super) fn power(&self, gpu: GpuHandle) -> Result<(Option<f64>, Option<f64>), SmiError> {
        let name = "amdsmi_get_power_info";
        let (current, average) = match self.release.abi {
            Abi::V24 => {
                let info = self.power_info::<PowerInfo24>(name, gpu)?;
                (info.current_socket_power, info.average_socket_power)
            }
            Abi::V25 => {
                let info = self.power_info::<PowerInfo25>(name, gpu)?;
                (info.current_socket_power, info.average_socket_power)
            }
            Abi::V26 => {
                let info = self.power_info::<PowerInfo26>(name, gpu)?;
                (info.current_socket_power, info.average_socket_power)
            }
        };
        // Unsupported members are all ones, 16 or 32 of them. A GPU that draws nothing does not answer:
        // the second die of an MI250 reads 0 for what the first one measures.
        let known = |watts: u32| (!matches!(watts, 0 | 0xFFFF | u32::MAX)).then(|| f64::from(watts));
        Ok((known(current), known(average)))
    }

    fn power_info<T: Default + Copy>(&self, name: &'static str, gpu: GpuHandle) -> Result<T, SmiError> {
        let mut info = Roomy::<T>::default();
        self.call(name, |calls| {
            // SAFETY: `T` is the structure of the ABI that the library says it has, with room behind it.
            unsafe { (calls.power_info)(gpu.0 as Handle, (&raw mut info).cast()) }
        })?;
        Ok(info.value)
    }

    /// The energy counter in joules. `None` where it reads 0, as it does where there is none behind it.
    pub(super) fn energy(&self, gpu: GpuHandle) -> Result<Option<f64>, SmiError> {
        let (mut count, mut microjoules, mut nanos) = (0, 0.0, 0);
        self.call("amdsmi_get_energy_count", |calls| {
            // SAFETY: three places of the types that the header names.
            unsafe {
                (calls.energy_count)(gpu.0 as Handle, &raw mut count, &raw mut microjoules, &raw mut nanos)
            }
        })?;
        let joules = count as f64 * f64::from(microjoules) * 1e-6;
        Ok((joules > 0.0 && joules.is_finite()).then_some(joules))
    }

    /// The power cap and its range, in microwatts.
    pub(super) fn power_cap(&self, gpu: GpuHandle) -> Result<PowerCapInfo, SmiError> {
        let mut info = Roomy::default();
        self.call("amdsmi_get_power_cap_info", |calls| {
            // SAFETY: the structure is the same in every ABI, with room behind it.
            unsafe { (calls.power_cap_info)(gpu.0 as Handle, 0, &raw mut info) }
        })?;
        Ok(info.value)
    }

    /// Sets the power cap, in microwatts.
    pub(super) fn set_power_cap(&self, gpu: GpuHandle, microwatts: u64) -> Result<(), SmiError> {
        self.call("amdsmi_set_power_cap", |calls| {
            // SAFETY: numbers only.
            unsafe { (calls.set_power_cap)(gpu.0 as Handle, 0, microwatts) }
        })
    }

    /// The core clock now, and the lowest and highest that the driver lists, in megahertz.
    pub(super) fn core_clock(&self, gpu: GpuHandle) -> Result<ClockInfo, SmiError> {
        let mut info = Roomy::default();
        self.call("amdsmi_get_clock_info", |calls| {
            // SAFETY: the structure is the same in every ABI from 24.7, with room behind it.
            unsafe { (calls.clock_info)(gpu.0 as Handle, CLOCK_CORE, &raw mut info) }
        })?;
        Ok(info.value)
    }

    /// The lowest and highest core clock that the limits allow now, in megahertz: from the table that
    /// setting a limit writes, or from the clocks the driver lists where it shows no such table.
    pub(super) fn core_clock_limits(&self, gpu: GpuHandle) -> Result<(f64, f64), SmiError> {
        if self.release.abi != Abi::V25 {
            // Its place in the structure is known of ABI 24 and 26 only.
            let mut range = Roomy::<CoreClockRange>::default();
            let read = self.call("amdsmi_get_gpu_od_volt_info", |calls| {
                // SAFETY: only the first member is read; the whole has less room than there is behind it.
                unsafe { (calls.od_volt_info)(gpu.0 as Handle, &raw mut range) }
            });
            let (lower, upper) = (megahertz(range.value.lower_bound), megahertz(range.value.upper_bound));
            if read.is_ok() && upper > 0.0 && lower <= upper {
                return Ok((lower, upper));
            }
        }
        let clock = self.core_clock(gpu)?;
        Ok((f64::from(clock.min_clk), f64::from(clock.max_clk)))
    }

    /// Sets the lowest (`false`) or highest (`true`) core clock, in megahertz.
    fn set_core_clock_limit(&self, gpu: GpuHandle, highest: bool, mhz: u64) -> Result<(), SmiError> {
        let limit = if highest { LIMIT_MAX } else { LIMIT_MIN };
        self.call("amdsmi_set_gpu_clk_limit", |calls| {
            // SAFETY: numbers only.
            unsafe { (calls.set_clock_limit)(gpu.0 as Handle, CLOCK_CORE, limit, mhz) }
        })
    }

    /// Sets both limits of the core clock, in the order in which the lower never passes the upper: the
    /// driver refuses a limit on the wrong side of the other. Down to whole megahertz, as every knob.
    pub(super) fn set_core_clock_limits(&self, gpu: GpuHandle, low: f64, high: f64) -> Result<(), SmiError> {
        let (_, high_now) = self.core_clock_limits(gpu)?;
        let order = if low > high_now { [(true, high), (false, low)] } else { [(false, low), (true, high)] };
        order.into_iter().try_for_each(|(highest, mhz)| self.set_core_clock_limit(gpu, highest, mhz as u64))
    }

    /// How the driver chooses clocks; [`LEVEL_AUTO`] where nothing limits it.
    pub(super) fn perf_level(&self, gpu: GpuHandle) -> Result<u32, SmiError> {
        let mut level = 0;
        self.call("amdsmi_get_gpu_perf_level", |calls| {
            // SAFETY: one place of the size of an enum.
            unsafe { (calls.perf_level)(gpu.0 as Handle, &raw mut level) }
        })?;
        Ok(level)
    }

    /// Sets how the driver chooses clocks. [`LEVEL_AUTO`] resets the limits of every clock, memory too.
    pub(super) fn set_perf_level(&self, gpu: GpuHandle, level: u32) -> Result<(), SmiError> {
        self.call("amdsmi_set_gpu_perf_level", |calls| {
            // SAFETY: numbers only.
            unsafe { (calls.set_perf_level)(gpu.0 as Handle, level) }
        })
    }

    /// Share of time in which the compute engine was busy; `None` where the GPU doesn't tell.
    pub(super) fn busy(&self, gpu: GpuHandle) -> Result<Option<f64>, SmiError> {
        let mut usage = Roomy::<EngineUsage>::default();
        self.call("amdsmi_get_gpu_activity", |calls| {
            // SAFETY: the structure is the same in the headers of 24 and 26, with room behind it.
            unsafe { (calls.activity)(gpu.0 as Handle, &raw mut usage) }
        })?;
        let percent = usage.value.gfx_activity;
        Ok((percent <= 100).then(|| f64::from(percent) / 100.0))
    }

    /// The hottest spot of the chip, in degrees Celsius.
    pub(super) fn temperature(&self, gpu: GpuHandle) -> Result<f64, SmiError> {
        let mut degrees = 0;
        self.call("amdsmi_get_temp_metric", |calls| {
            // SAFETY: one place of the type that the header names.
            unsafe {
                (calls.temperature)(
                    gpu.0 as Handle,
                    TEMPERATURE_HOTSPOT,
                    TEMPERATURE_CURRENT,
                    &raw mut degrees,
                )
            }
        })?;
        Ok(degrees as f64)
    }
}

impl std::fmt::Debug for Smi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smi").field("release", &self.release).finish_non_exhaustive()
    }
}

impl Calls {
    fn check(&self, call: &'static str, code: u32) -> Result<(), SmiError> {
        if code == SUCCESS {
            return Ok(());
        }
        let mut text = std::ptr::null();
        // SAFETY: the library writes the address of a text of its own that lives as long as it does.
        let told = unsafe { (self.status_text)(code, &raw mut text) };
        let said = if told == SUCCESS && !text.is_null() {
            // SAFETY: as above; texts of C end with a zero.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
        } else {
            "a status that it has no words for".into()
        };
        Err(SmiError::Status { call, code, said })
    }
}

/// A bound of the clock table in megahertz. Some releases fill it in hertz: no GPU runs at a terahertz or
/// below a megahertz, so that the number tells which.
fn megahertz(bound: u64) -> f64 {
    if bound >= 1_000_000 { bound as f64 / 1e6 } else { bound as f64 }
}

/// What `call` gives while no other call is under way, or an error where one does not return in time: a call
/// that hangs must not hang its watcher. The lock goes to those who wait in the order of their coming, so that
/// a thread that calls all the time keeps no other from it.
fn alone<T>(lock: &FairMutex<()>, name: &'static str, call: impl FnOnce() -> T) -> Result<T, SmiError> {
    let guard = lock.try_lock_for(LOCK_TIMEOUT).ok_or(SmiError::Busy { call: name })?;
    let given = call();
    MutexGuard::unlock_fair(guard);
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_the_table_is_the_same_in_hertz_and_megahertz() {
        assert_eq!(megahertz(1725), 1725.0);
        assert_eq!(megahertz(1_725_000_000), 1725.0);
    }

    #[test]
    fn a_call_that_hangs_does_not_hang_the_next_one() {
        let lock = FairMutex::new(());
        let _hung = lock.lock();
        assert!(matches!(alone(&lock, "second", || ()), Err(SmiError::Busy { call: "second" })));
    }

    #[test]
    fn a_thread_that_calls_all_the_time_keeps_no_other_from_its_turn() {
        use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
        let (lock, done, calls) = (FairMutex::new(()), AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Never free for longer than it takes to ask again.
                    alone(&lock, "greedy", || {
                        calls.fetch_add(1, Ordering::Relaxed);
                        // At work all the time: two that sleep would wake together, and so take turns.
                        let began = std::time::Instant::now();
                        while began.elapsed() < std::time::Duration::from_millis(1) {}
                    })
                    .unwrap();
                }
            });
            while calls.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            let passed: Result<Vec<u32>, SmiError> = (0..20)
                .map(|_| {
                    let before = calls.load(Ordering::Relaxed);
                    alone(&lock, "modest", || calls.load(Ordering::Relaxed) - before)
                })
                .collect();
            // Before anything may fail: the other thread has to end.
            done.store(true, Ordering::Relaxed);
            let mut passed = passed.unwrap();
            // The call under way, and those that began before this thread stood in line: few, on most turns.
            passed.sort_unstable();
            assert!(passed[10] <= 10, "{passed:?}");
        });
    }
}
