//! A libamd_smi that plays two GPUs: built by the tests with rustc, one copy for each test, each with its
//! own state. `mock_set` and `mock_get` reach that state.

use std::ffi::{c_char, c_void};
use std::sync::Mutex;

/// Two GPUs and what is wrong with them. Every number can be set from a test.
struct State {
    /// First word of the version: 24, 25, 26 or one that nobody knows.
    abi: u64,
    minor: u64,
    current_watts: u64,
    average_watts: u64,
    energy_joules: u64,
    cap_uw: u64,
    min_cap_uw: u64,
    max_cap_uw: u64,
    clock_mhz: u64,
    min_mhz: u64,
    max_mhz: u64,
    /// The limits of the clock table; upper 0: the driver shows no table.
    low_limit: u64,
    high_limit: u64,
    perf_level: u64,
    activity: u64,
    temperature: u64,
    /// Status of every call on a GPU, such as 31 for one that fell off the bus.
    fails_with: u64,
    /// Status of every write.
    write_fails_with: u64,
    init_fails_with: u64,
    /// Writes are rounded down to a multiple of this, without a word.
    rounds_to: u64,
    writes: u64,
    /// Times the lower limit was seen above the upper one.
    crossed: u64,
    gpus: u64,
    /// Calls that run now, and the most that ever did.
    running: u64,
}

static STATE: Mutex<State> = Mutex::new(State {
    abi: 26,
    minor: 2,
    current_watts: 210,
    average_watts: 0xFFFF,
    energy_joules: 1_000_000,
    cap_uw: 300_000_000,
    min_cap_uw: 100_000_000,
    max_cap_uw: 550_000_000,
    clock_mhz: 1200,
    min_mhz: 500,
    max_mhz: 2100,
    low_limit: 500,
    high_limit: 2100,
    perf_level: 0,
    activity: 75,
    temperature: 61,
    fails_with: 0,
    write_fails_with: 0,
    init_fails_with: 0,
    rounds_to: 0,
    writes: 0,
    crossed: 0,
    gpus: 2,
    running: 0,
});

impl State {
    fn field(&mut self, name: &str) -> &mut u64 {
        match name {
            "abi" => &mut self.abi,
            "minor" => &mut self.minor,
            "current_watts" => &mut self.current_watts,
            "average_watts" => &mut self.average_watts,
            "energy_joules" => &mut self.energy_joules,
            "cap_uw" => &mut self.cap_uw,
            "min_cap_uw" => &mut self.min_cap_uw,
            "max_cap_uw" => &mut self.max_cap_uw,
            "clock_mhz" => &mut self.clock_mhz,
            "min_mhz" => &mut self.min_mhz,
            "max_mhz" => &mut self.max_mhz,
            "low_limit" => &mut self.low_limit,
            "high_limit" => &mut self.high_limit,
            "perf_level" => &mut self.perf_level,
            "activity" => &mut self.activity,
            "temperature" => &mut self.temperature,
            "fails_with" => &mut self.fails_with,
            "write_fails_with" => &mut self.write_fails_with,
            "init_fails_with" => &mut self.init_fails_with,
            "rounds_to" => &mut self.rounds_to,
            "writes" => &mut self.writes,
            "crossed" => &mut self.crossed,
            "gpus" => &mut self.gpus,
            _ => std::process::abort(),
        }
    }

    fn round(&self, value: u64, unit: u64) -> u64 {
        if self.rounds_to == 0 { value } else { value / (self.rounds_to * unit) * (self.rounds_to * unit) }
    }
}

fn name<'a>(text: *const c_char) -> &'a str {
    unsafe { std::ffi::CStr::from_ptr(text) }.to_str().unwrap()
}

#[unsafe(no_mangle)]
pub extern "C" fn mock_set(field: *const c_char, value: u64) {
    *STATE.lock().unwrap().field(name(field)) = value;
}

#[unsafe(no_mangle)]
pub extern "C" fn mock_get(field: *const c_char) -> u64 {
    *STATE.lock().unwrap().field(name(field))
}

/// Reads through `read`, unless the GPU is said to fail or another call runs where none may.
fn reading(read: impl FnOnce(&mut State) -> u32) -> u32 {
    let mut state = STATE.lock().unwrap();
    if state.fails_with != 0 {
        return state.fails_with as u32;
    }
    // What the real library does when calls overlap, it does at random: here it is told at once.
    if state.running > 0 && (state.abi, state.minor) < (26, 2) {
        return 16;
    }
    state.running += 1;
    drop(state);
    std::thread::yield_now();
    let mut state = STATE.lock().unwrap();
    state.running -= 1;
    read(&mut state)
}

fn writing(write: impl FnOnce(&mut State)) -> u32 {
    reading(|state| {
        if state.write_fails_with != 0 {
            return state.write_fails_with as u32;
        }
        state.writes += 1;
        write(state);
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_init(flags: u64) -> u32 {
    let state = STATE.lock().unwrap();
    if flags == 2 { state.init_fails_with as u32 } else { 1 }
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_lib_version(words: *mut u32) -> u32 {
    let state = STATE.lock().unwrap();
    let words_now = match state.abi {
        25 => [25, 25, state.minor as u32, 0],
        abi => [abi as u32, state.minor as u32, 1, 0],
    };
    for (index, word) in words_now.into_iter().enumerate() {
        unsafe { words.add(index).write(word) };
    }
    // `build`, a pointer, follows.
    unsafe { words.add(4).cast::<u64>().write(0xDEAD_BEEF) };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_status_code_to_string(status: u32, text: *mut *const c_char) -> u32 {
    let words = match status {
        2 => c"AMDSMI_STATUS_NOT_SUPPORTED - Feature not supported",
        10 => c"AMDSMI_STATUS_NO_PERM - Permission denied",
        16 => c"AMDSMI_STATUS_INTERNAL_EXCEPTION - An internal exception was caught",
        31 => c"AMDSMI_STATUS_NOT_FOUND - Device not found",
        34 => c"AMDSMI_STATUS_DRIVER_NOT_LOADED - Driver not loaded",
        _ => return 1,
    };
    unsafe { text.write(words.as_ptr()) };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_socket_handles(count: *mut u32, handles: *mut *mut c_void) -> u32 {
    let state = STATE.lock().unwrap();
    unsafe {
        count.write(state.gpus as u32);
        if !handles.is_null() {
            for socket in 0..state.gpus as usize {
                handles.add(socket).write((0x1000 + socket) as *mut c_void);
            }
        }
    }
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_processor_handles(
    socket: *mut c_void,
    count: *mut u32,
    handles: *mut *mut c_void,
) -> u32 {
    unsafe {
        count.write(1);
        if !handles.is_null() {
            handles.write((socket as usize + 0x1000) as *mut c_void);
        }
    }
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_gpu_device_bdf(gpu: *mut c_void, bdf: *mut u64) -> u32 {
    let index = gpu as u64 - 0x2000;
    reading(|_| {
        unsafe { bdf.write((0xc1 + index) << 8) };
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_gpu_asic_info(_gpu: *mut c_void, info: *mut u8) -> u32 {
    reading(|_| {
        let name = b"AMD Instinct MI300X\0";
        unsafe { info.copy_from(name.as_ptr(), name.len()) };
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_power_info(_gpu: *mut c_void, info: *mut u8) -> u32 {
    reading(|state| {
        // Sizes and places after the header of each ABI.
        let (size, current) = match state.abi {
            24 => (68, 0),
            25 => (40, 8),
            _ => (192, 8),
        };
        unsafe {
            info.write_bytes(0xAA, size);
            info.add(current).cast::<u32>().write_unaligned(state.current_watts as u32);
            info.add(current + 4).cast::<u32>().write_unaligned(state.average_watts as u32);
        }
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_energy_count(
    _gpu: *mut c_void,
    count: *mut u64,
    microjoules: *mut f32,
    nanos: *mut u64,
) -> u32 {
    reading(|state| {
        unsafe {
            // A resolution of 15.3 uJ is the real one; a power of two keeps the test exact.
            count.write(state.energy_joules * 1_000_000 / 16);
            microjoules.write(16.0);
            nanos.write(0);
        }
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_power_cap_info(_gpu: *mut c_void, sensor: u32, info: *mut u64) -> u32 {
    reading(|state| {
        if sensor != 0 {
            return 1;
        }
        let words = [state.cap_uw, 300_000_000, 0, state.min_cap_uw, state.max_cap_uw, 0, 0, 0];
        for (index, word) in words.into_iter().enumerate() {
            unsafe { info.add(index).write(word) };
        }
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_set_power_cap(_gpu: *mut c_void, sensor: u32, microwatts: u64) -> u32 {
    if sensor != 0 {
        return 1;
    }
    writing(|state| state.cap_uw = state.round(microwatts, 1_000_000))
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_clock_info(_gpu: *mut c_void, kind: u32, info: *mut u32) -> u32 {
    reading(|state| {
        if kind != 0 {
            return 2;
        }
        // Without a table the limits show in the clocks that are listed.
        let (min, max) = match state.perf_level {
            0 => (state.min_mhz, state.max_mhz),
            _ if state.abi == 25 => (state.low_limit, state.high_limit),
            _ => (state.min_mhz, state.max_mhz),
        };
        for (index, word) in [state.clock_mhz, min, max, 0, 0, 0, 0, 0].into_iter().enumerate() {
            unsafe { info.add(index).write(word as u32) };
        }
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_gpu_od_volt_info(_gpu: *mut c_void, info: *mut u64) -> u32 {
    reading(|state| {
        // In hertz, as older releases fill it.
        unsafe {
            info.write(state.low_limit * 1_000_000);
            info.add(1).write(state.high_limit * 1_000_000);
        }
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_set_gpu_clk_limit(_gpu: *mut c_void, kind: u32, limit: u32, mhz: u64) -> u32 {
    if kind != 0 || limit > 1 {
        return 1;
    }
    writing(|state| {
        state.perf_level = 3;
        let mhz = state.round(mhz, 1);
        if limit == 0 {
            state.low_limit = mhz;
        } else {
            state.high_limit = mhz;
        }
        if state.low_limit > state.high_limit {
            state.crossed += 1;
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_gpu_activity(_gpu: *mut c_void, usage: *mut u32) -> u32 {
    reading(|state| {
        unsafe { usage.write(state.activity as u32) };
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_temp_metric(
    _gpu: *mut c_void,
    sensor: u32,
    metric: u32,
    degrees: *mut i64,
) -> u32 {
    reading(|state| {
        if (sensor, metric) != (1, 0) {
            return 2;
        }
        unsafe { degrees.write(state.temperature as i64) };
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_get_gpu_perf_level(_gpu: *mut c_void, level: *mut u32) -> u32 {
    reading(|state| {
        unsafe { level.write(state.perf_level as u32) };
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn amdsmi_set_gpu_perf_level(_gpu: *mut c_void, level: u32) -> u32 {
    writing(|state| {
        state.perf_level = u64::from(level);
        if level == 0 {
            state.low_limit = state.min_mhz;
            state.high_limit = state.max_mhz;
        }
    })
}
