//! ROCr (`libhsa-runtime64`), loaded at run time: how the compute units of a GPU are arranged, and which
//! of them the queues of this process may use.
#![allow(unsafe_code, reason = "calls into a C library; every call is in this file")]

use std::ffi::{CStr, c_char, c_void};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use libloading::Library;

use super::cu_mask::{CuMaskError, CuTopology};
use super::error::describe;

const SUCCESS: u32 = 0;
/// What iterating calls back with to go on no further.
const INFO_BREAK: u32 = 1;
const DEVICE_TYPE_GPU: u32 = 1;
const QUEUE_TYPE_MULTI: u32 = 0;

/// What can be asked of an agent, by the numbers of `hsa.h` and `hsa_ext_amd.h`.
mod info {
    pub(super) const NAME: u32 = 0;
    pub(super) const QUEUE_MIN_SIZE: u32 = 13;
    pub(super) const DEVICE: u32 = 17;
    pub(super) const COMPUTE_UNIT_COUNT: u32 = 0xA002;
    pub(super) const BDF_ID: u32 = 0xA006;
    pub(super) const NUM_SHADER_ENGINES: u32 = 0xA00C;
    pub(super) const DOMAIN: u32 = 0xA00F;
    pub(super) const NUM_XCC: u32 = 0xA111;
}

/// `hsa_agent_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Agent {
    handle: u64,
}

type Queue = *mut c_void;
type OnAgent = extern "C" fn(Agent, *mut c_void) -> u32;

struct Calls {
    init: unsafe extern "C" fn() -> u32,
    shut_down: unsafe extern "C" fn() -> u32,
    status_string: unsafe extern "C" fn(u32, *mut *const c_char) -> u32,
    iterate_agents: unsafe extern "C" fn(OnAgent, *mut c_void) -> u32,
    /// The type of the last argument is that of what is asked for.
    agent_get_info: unsafe extern "C" fn(Agent, u32, *mut c_void) -> u32,
    queue_create: unsafe extern "C" fn(
        Agent,
        u32,
        u32,
        Option<extern "C" fn(u32, Queue, *mut c_void)>,
        *mut c_void,
        u32,
        u32,
        *mut Queue,
    ) -> u32,
    queue_destroy: unsafe extern "C" fn(Queue) -> u32,
    queue_cu_get_mask: unsafe extern "C" fn(Queue, u32, *mut u32) -> u32,
}

/// ROCr, started. Stopped when dropped; the library stays loaded, as it was not made to be unloaded.
pub(super) struct Hsa {
    calls: Calls,
    _library: ManuallyDrop<Library>,
}

/// One GPU, as ROCr shows it to this process.
#[derive(Debug)]
pub(super) struct HsaGpu {
    agent: Agent,
    /// Its place among the GPUs that this process sees, which is how `HSA_CU_MASK` names it.
    pub(super) index: usize,
    /// `domain:bus:device.function`.
    pub(super) pci_address: String,
    /// How its compute units are arranged.
    pub(super) topology: CuTopology,
}

impl Hsa {
    /// Loads and starts `library`, or the one that ROCm installs.
    pub(super) fn start(library: Option<&Path>) -> Result<Self, CuMaskError> {
        let standard = ["libhsa-runtime64.so.1", "/opt/rocm/lib/libhsa-runtime64.so.1"].map(PathBuf::from);
        let candidates = library.map_or(standard.to_vec(), |path| vec![path.to_owned()]);
        let mut failures = Vec::new();
        for path in candidates {
            // SAFETY: loading runs the initialisers of ROCr; it is never unloaded.
            match unsafe { Library::new(&path) }.and_then(|library| Ok((Calls::find(&library)?, library))) {
                Ok((calls, library)) => {
                    // SAFETY: no arguments.
                    let status = unsafe { (calls.init)() };
                    calls.check("hsa_init", status)?;
                    return Ok(Self { calls, _library: ManuallyDrop::new(library) });
                }
                Err(error) => failures.push(describe(&error)),
            }
        }
        Err(CuMaskError::NoRuntime(failures.join("; ")))
    }

    /// Every GPU that this process sees, in the order in which `HSA_CU_MASK` counts them.
    pub(super) fn gpus(&self) -> Result<Vec<HsaGpu>, CuMaskError> {
        extern "C" fn collect(agent: Agent, agents: *mut c_void) -> u32 {
            if agents.is_null() {
                return INFO_BREAK;
            }
            // SAFETY: the address of `agents` below, which nothing else uses while this runs.
            unsafe { &mut *agents.cast::<Vec<Agent>>() }.push(agent);
            SUCCESS
        }
        let mut agents: Vec<Agent> = Vec::new();
        // SAFETY: `collect` gets the agents and the address that is given here, until the call returns.
        let status = unsafe { (self.calls.iterate_agents)(collect, (&raw mut agents).cast()) };
        self.calls.check("hsa_iterate_agents", status)?;
        let mut gpus = Vec::new();
        for agent in agents {
            if self.number(agent, "HSA_AGENT_INFO_DEVICE", info::DEVICE)? == DEVICE_TYPE_GPU {
                gpus.push(self.gpu(agent, gpus.len())?);
            }
        }
        Ok(gpus)
    }

    fn gpu(&self, agent: Agent, index: usize) -> Result<HsaGpu, CuMaskError> {
        let name = self.name(agent)?;
        let xccs = self.number(agent, "HSA_AMD_AGENT_INFO_NUM_XCC", info::NUM_XCC);
        let bdf = self.number(agent, "HSA_AMD_AGENT_INFO_BDFID", info::BDF_ID)?;
        let domain = self.number(agent, "HSA_AMD_AGENT_INFO_DOMAIN", info::DOMAIN)?;
        let (bus, device, function) = (bdf >> 8 & 0xff, bdf >> 3 & 0x1f, bdf & 7);
        let topology = CuTopology {
            compute_units: self.number(
                agent,
                "HSA_AMD_AGENT_INFO_COMPUTE_UNIT_COUNT",
                info::COMPUTE_UNIT_COUNT,
            )?,
            shader_engines: self.number(
                agent,
                "HSA_AMD_AGENT_INFO_NUM_SHADER_ENGINES",
                info::NUM_SHADER_ENGINES,
            )?,
            xccs: match xccs {
                // Runtimes that don't know the question are older than GPUs with several dies.
                Err(_) if !name.starts_with("gfx94") && !name.starts_with("gfx95") => 1,
                xccs => xccs?,
            },
            works_in_pairs: works_in_pairs(&name),
        };
        let pci_address = format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}");
        Ok(HsaGpu { agent, index, pci_address, topology })
    }

    /// The compute units that a new queue of this process may use on `gpu`, as words of 32 bits.
    pub(super) fn queue_mask(&self, gpu: &HsaGpu) -> Result<Vec<u32>, CuMaskError> {
        /// What stands for "not known in advance" where sizes of segments are asked for.
        const UNKNOWN: u32 = u32::MAX;
        let size = self.number(gpu.agent, "HSA_AGENT_INFO_QUEUE_MIN_SIZE", info::QUEUE_MIN_SIZE)?;
        let mut queue = std::ptr::null_mut();
        // SAFETY: the agent comes from this runtime; no callback and no data for it; `queue` is its place.
        let status = unsafe {
            (self.calls.queue_create)(
                gpu.agent,
                size,
                QUEUE_TYPE_MULTI,
                None,
                std::ptr::null_mut(),
                UNKNOWN,
                UNKNOWN,
                &raw mut queue,
            )
        };
        self.calls.check("hsa_queue_create", status)?;
        let mut words = vec![0_u32; gpu.topology.compute_units.div_ceil(32) as usize];
        // SAFETY: `words` has room for as many bits as are asked for.
        let status =
            unsafe { (self.calls.queue_cu_get_mask)(queue, words.len() as u32 * 32, words.as_mut_ptr()) };
        let read = self.calls.check("hsa_amd_queue_cu_get_mask", status);
        // SAFETY: the queue was made above and is used no more.
        let status = unsafe { (self.calls.queue_destroy)(queue) };
        read.and_then(|()| self.calls.check("hsa_queue_destroy", status))?;
        Ok(words)
    }

    /// A number that is asked of an agent: all of those above are 32 bits wide.
    fn number(&self, agent: Agent, call: &'static str, what: u32) -> Result<u32, CuMaskError> {
        let mut value = 0_u64;
        // SAFETY: the place is wider than any number asked for here.
        let status = unsafe { (self.calls.agent_get_info)(agent, what, (&raw mut value).cast()) };
        self.calls.check(call, status)?;
        Ok((value & u64::from(u32::MAX)) as u32)
    }

    fn name(&self, agent: Agent) -> Result<String, CuMaskError> {
        let mut name = [0_u8; 64];
        // SAFETY: the header says 64 bytes.
        let status = unsafe { (self.calls.agent_get_info)(agent, info::NAME, (&raw mut name).cast()) };
        self.calls.check("HSA_AGENT_INFO_NAME", status)?;
        let name: Vec<u8> = name.into_iter().take_while(|byte| *byte != 0).collect();
        Ok(String::from_utf8_lossy(&name).into_owned())
    }
}

impl Drop for Hsa {
    fn drop(&mut self) {
        // SAFETY: as often as it was started.
        unsafe { (self.calls.shut_down)() };
    }
}

impl Calls {
    fn find(library: &Library) -> Result<Self, libloading::Error> {
        // SAFETY: each type is that of the function of this name in `hsa.h` and `hsa_ext_amd.h`; enums of
        // C are `u32` there.
        unsafe {
            Ok(Self {
                init: *library.get(b"hsa_init\0")?,
                shut_down: *library.get(b"hsa_shut_down\0")?,
                status_string: *library.get(b"hsa_status_string\0")?,
                iterate_agents: *library.get(b"hsa_iterate_agents\0")?,
                agent_get_info: *library.get(b"hsa_agent_get_info\0")?,
                queue_create: *library.get(b"hsa_queue_create\0")?,
                queue_destroy: *library.get(b"hsa_queue_destroy\0")?,
                queue_cu_get_mask: *library.get(b"hsa_amd_queue_cu_get_mask\0")?,
            })
        }
    }

    fn check(&self, call: &'static str, status: u32) -> Result<(), CuMaskError> {
        if status == SUCCESS {
            return Ok(());
        }
        let mut text = std::ptr::null();
        // SAFETY: the library writes the address of a text of its own that lives as long as it does.
        let told = unsafe { (self.status_string)(status, &raw mut text) };
        let said = if told == SUCCESS && !text.is_null() {
            // SAFETY: as above; texts of C end with a zero.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
        } else {
            format!("status {status:#x}")
        };
        Err(CuMaskError::Runtime { call, said })
    }
}

/// Whether compute units work in pairs, as on RDNA: by a name such as `gfx1101`, whose last two digits are
/// minor version and stepping.
fn works_in_pairs(name: &str) -> bool {
    let digits = name.strip_prefix("gfx").unwrap_or_default();
    let major = digits.len().checked_sub(2).and_then(|end| digits.get(..end)?.parse::<u32>().ok());
    major.is_some_and(|major| major >= 10)
}

#[cfg(test)]
mod tests {
    use super::works_in_pairs;

    #[test]
    fn compute_units_work_in_pairs_on_rdna_only() {
        let names = ["gfx906", "gfx90a", "gfx942", "gfx950", "", "aie2", "gfx1030", "gfx1101", "gfx1201"];
        assert_eq!(names.map(works_in_pairs), [false, false, false, false, false, false, true, true, true]);
    }
}
