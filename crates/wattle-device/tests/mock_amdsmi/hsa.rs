//! A libhsa-runtime64 that plays a CPU and two GPUs: built by the tests with rustc. It reads HSA_CU_MASK
//! when it starts, as ROCr does; `WATTLE_MOCK_HSA` says which GPU it plays and what is wrong with it.

use std::ffi::{c_char, c_void};
use std::sync::Mutex;

static MASK: Mutex<Option<Vec<u32>>> = Mutex::new(None);

/// Parts of `WATTLE_MOCK_HSA`, such as `mi300x` or `mi50,rounds`.
fn plays(what: &str) -> bool {
    std::env::var("WATTLE_MOCK_HSA").is_ok_and(|told| told.split(',').any(|part| part == what))
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Agent {
    handle: u64,
}

/// The units that `HSA_CU_MASK` gives GPU 1, which is the one under test.
fn parse(text: &str) -> Option<Vec<u32>> {
    let (gpu, units) = text.split_once(':')?;
    if gpu != "1" {
        return None;
    }
    let mut found = Vec::new();
    for part in units.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        found.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(found)
}

#[unsafe(no_mangle)]
pub extern "C" fn hsa_init() -> u32 {
    if plays("broken") {
        return 0x1008;
    }
    *MASK.lock().unwrap() = std::env::var("HSA_CU_MASK").ok().and_then(|text| parse(&text));
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn hsa_shut_down() -> u32 {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn hsa_status_string(status: u32, text: *mut *const c_char) -> u32 {
    let words = match status {
        0x1001 => c"HSA_STATUS_ERROR_INVALID_ARGUMENT: One of the actual arguments does not meet a precondition",
        0x1008 => c"HSA_STATUS_ERROR_OUT_OF_RESOURCES: The runtime failed to allocate the necessary resources",
        _ => return 0x1001,
    };
    unsafe { text.write(words.as_ptr()) };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn hsa_iterate_agents(
    callback: extern "C" fn(Agent, *mut c_void) -> u32,
    data: *mut c_void,
) -> u32 {
    for handle in [10, 11, 12] {
        callback(Agent { handle }, data);
    }
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn hsa_agent_get_info(agent: Agent, what: u32, value: *mut c_void) -> u32 {
    let gpu = agent.handle > 10;
    let mi300x = plays("mi300x");
    let number = match what {
        0 => {
            let name: &[u8] = match (gpu, mi300x) {
                (false, _) => b"EPYC\0",
                (true, true) => b"gfx942\0",
                (true, false) => b"gfx906\0",
            };
            unsafe { value.cast::<u8>().copy_from(name.as_ptr(), name.len()) };
            return 0;
        }
        13 => 64,
        17 => u32::from(gpu),
        0xA002 => if mi300x { 304 } else { 60 },
        0xA006 => (0xc1 + (agent.handle - 11) as u32) << 8,
        0xA00C => if mi300x { 32 } else { 4 },
        0xA00F => 0,
        // Runtimes of MI50 days don't know the question.
        0xA111 if mi300x => 8,
        _ => return 0x1001,
    };
    unsafe { value.cast::<u32>().write(number) };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn hsa_queue_create(
    agent: Agent,
    size: u32,
    _kind: u32,
    _callback: *mut c_void,
    _data: *mut c_void,
    _private: u32,
    _group: u32,
    queue: *mut *mut c_void,
) -> u32 {
    if size != 64 {
        return 0x1001;
    }
    unsafe { queue.write(agent.handle as *mut c_void) };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn hsa_queue_destroy(_queue: *mut c_void) -> u32 {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn hsa_amd_queue_cu_get_mask(queue: *mut c_void, bits: u32, words: *mut u32) -> u32 {
    if bits == 0 || bits % 32 != 0 {
        return 0x1001;
    }
    let mask = MASK.lock().unwrap();
    let has = |bit: u32| match &*mask {
        Some(units) if queue as u64 == 12 => {
            // Rounded up to whole bytes without a word, as was seen of ROC_GLOBAL_CU_MASK.
            if plays("rounds") { units.iter().any(|unit| unit / 8 == bit / 8) } else { units.contains(&bit) }
        }
        _ => true,
    };
    for word in 0..bits / 32 {
        let value = (0..32).map(|bit| u32::from(has(word * 32 + bit)) << bit).sum();
        unsafe { words.add(word as usize).write(value) };
    }
    0
}
