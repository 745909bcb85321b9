//! Calls of NVML that `nvml-wrapper` has not, or that it gets wrong. The only unsafe code of the driver.
//!
//! `nvml-wrapper` 0.13 has no call that makes, lists or destroys MIG instances; its list of placements is
//! always empty, and its list of clocks is of zeros where a GPU has more than 128.
#![allow(unsafe_code, reason = "a foreign interface")]

use std::ffi::CStr;
use std::os::raw::c_uint;
use std::ptr::null_mut;

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings::{
    NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED, nvmlComputeInstance_t, nvmlComputeInstanceInfo_t,
    nvmlComputeInstancePlacement_t, nvmlComputeInstanceProfileInfo_t, nvmlDevice_t, nvmlGpuInstance_t,
    nvmlGpuInstanceInfo_t, nvmlGpuInstancePlacement_t, nvmlGpuInstanceProfileInfo_v2_t,
    nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE,
};

/// Number of profiles of GPU instances that are asked for: `nvml.h` of NVML 13 has 17, and later ones add
/// more behind those.
pub(super) const GPU_PROFILES: u32 = 24;
/// Likewise for compute instances, of which there are 8.
pub(super) const COMPUTE_PROFILES: u32 = 12;
/// Most of anything that a list may hold: no GPU has near as many.
const MOST: u32 = 4096;

/// A GPU instance of an open device.
#[derive(Clone, Copy)]
pub(super) struct GpuInstanceHandle(nvmlGpuInstance_t);

/// A compute instance of an open device.
#[derive(Clone, Copy)]
pub(super) struct ComputeInstanceHandle(nvmlComputeInstance_t);

/// Start and number of slices.
pub(super) type Slices = (u32, u32);

/// What a profile of GPU instances gives.
pub(super) struct GpuProfile {
    pub(super) id: u32,
    /// Such as `1g.5gb`.
    pub(super) name: String,
    pub(super) slices: u32,
    pub(super) multiprocessors: u32,
    pub(super) memory_mib: u64,
    pub(super) most: u32,
}

/// What a profile of compute instances gives.
pub(super) struct ComputeProfile {
    pub(super) id: u32,
    pub(super) slices: u32,
    pub(super) most: u32,
}

/// What a GPU instance is.
pub(super) struct GpuInstanceInfo {
    pub(super) id: u32,
    pub(super) slices: Slices,
}

/// Calls one function of the library, and gives its error.
macro_rules! call {
    ($device:expr, $function:ident($($argument:expr),*)) => {{
        let function = nvml_sym($device.nvml().lib().$function.as_ref())?;
        // SAFETY: the library is loaded as long as `Nvml` lives, which `Device` borrows. Handles are those
        // that this library gave. Pointers are to places on this stack, of the types of nvml.h, and
        // buffers are as long as the length that is given beside them.
        nvml_try(unsafe { function($($argument),*) })
    }};
}

fn handle(device: &Device<'_>) -> nvmlDevice_t {
    // SAFETY: it is only given to the library that it came from, while `Nvml` lives.
    unsafe { device.handle() }
}

/// The clocks that the cores can have while the memory has `memory_mhz`.
pub(super) fn supported_graphics_clocks(device: &Device<'_>, memory_mhz: u32) -> Result<Vec<u32>, NvmlError> {
    let function = nvml_sym(device.nvml().lib().nvmlDeviceGetSupportedGraphicsClocks.as_ref())?;
    let mut count: c_uint = 512;
    for _ in 0..2 {
        count = count.min(MOST);
        let mut clocks = vec![0; count as usize];
        // SAFETY: as in `call`; `count` is the length of `clocks`.
        let code = unsafe { function(handle(device), memory_mhz, &mut count, clocks.as_mut_ptr()) };
        if code != nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE {
            nvml_try(code)?;
            clocks.truncate(count as usize);
            return Ok(clocks);
        }
    }
    Err(NvmlError::InsufficientSize(Some(count as usize)))
}

/// The profile of GPU instances with this index, from 0 to [`GPU_PROFILES`].
pub(super) fn gpu_profile(device: &Device<'_>, index: u32) -> Result<GpuProfile, NvmlError> {
    let mut info = nvmlGpuInstanceProfileInfo_v2_t {
        // NVML_STRUCT_VERSION of nvml.h: size in the low bytes, version in the highest.
        version: size_of::<nvmlGpuInstanceProfileInfo_v2_t>() as c_uint | (2 << 24),
        id: 0,
        isP2pSupported: 0,
        sliceCount: 0,
        instanceCount: 0,
        multiprocessorCount: 0,
        copyEngineCount: 0,
        decoderCount: 0,
        encoderCount: 0,
        jpegCount: 0,
        ofaCount: 0,
        memorySizeMB: 0,
        name: [0; 96],
    };
    call!(device, nvmlDeviceGetGpuInstanceProfileInfoV(handle(device), index, &mut info))?;
    let bytes = info.name.map(|byte| byte as u8); // `c_char` has a sign on some machines
    let name = CStr::from_bytes_until_nul(&bytes).map_or(String::new(), |name| name.to_string_lossy().into());
    Ok(GpuProfile {
        id: info.id,
        name: name.strip_prefix("MIG ").unwrap_or(&name).to_owned(),
        slices: info.sliceCount,
        multiprocessors: info.multiprocessorCount,
        memory_mib: info.memorySizeMB,
        most: info.instanceCount.min(MOST),
    })
}

/// Where instances of a profile may lie.
pub(super) fn placements(device: &Device<'_>, profile_id: u32) -> Result<Vec<Slices>, NvmlError> {
    let mut count: c_uint = 0;
    let of = handle(device);
    call!(device, nvmlDeviceGetGpuInstancePossiblePlacements_v2(of, profile_id, null_mut(), &mut count))?;
    count = count.min(MOST);
    let mut found = vec![nvmlGpuInstancePlacement_t { start: 0, size: 0 }; count as usize];
    call!(
        device,
        nvmlDeviceGetGpuInstancePossiblePlacements_v2(of, profile_id, found.as_mut_ptr(), &mut count)
    )?;
    found.truncate(count as usize);
    Ok(found.iter().map(|placement| (placement.start, placement.size)).collect())
}

/// How many more instances of a profile fit.
pub(super) fn remaining(device: &Device<'_>, profile_id: u32) -> Result<u32, NvmlError> {
    let mut count: c_uint = 0;
    call!(device, nvmlDeviceGetGpuInstanceRemainingCapacity(handle(device), profile_id, &mut count))?;
    Ok(count)
}

/// The instances of a profile; `most` is how many of it there can be.
pub(super) fn gpu_instances(
    device: &Device<'_>,
    profile_id: u32,
    most: u32,
) -> Result<Vec<GpuInstanceHandle>, NvmlError> {
    let mut found = vec![null_mut(); most as usize];
    let mut count = most;
    call!(device, nvmlDeviceGetGpuInstances(handle(device), profile_id, found.as_mut_ptr(), &mut count))?;
    found.truncate(count as usize);
    Ok(found.into_iter().map(GpuInstanceHandle).collect())
}

/// What an instance is.
pub(super) fn gpu_instance_info(
    device: &Device<'_>,
    instance: GpuInstanceHandle,
) -> Result<GpuInstanceInfo, NvmlError> {
    let mut info = nvmlGpuInstanceInfo_t {
        device: null_mut(),
        id: 0,
        profileId: 0,
        placement: nvmlGpuInstancePlacement_t { start: 0, size: 0 },
    };
    call!(device, nvmlGpuInstanceGetInfo(instance.0, &mut info))?;
    let slices = (info.placement.start, info.placement.size);
    Ok(GpuInstanceInfo { id: info.id, slices })
}

/// Makes an instance, at the given place or where the driver likes.
pub(super) fn create_gpu_instance(
    device: &Device<'_>,
    profile_id: u32,
    placement: Option<Slices>,
) -> Result<GpuInstanceHandle, NvmlError> {
    let mut instance = null_mut();
    match placement {
        None => call!(device, nvmlDeviceCreateGpuInstance(handle(device), profile_id, &mut instance))?,
        Some((start, size)) => {
            let at = nvmlGpuInstancePlacement_t { start, size };
            let of = handle(device);
            call!(device, nvmlDeviceCreateGpuInstanceWithPlacement(of, profile_id, &at, &mut instance))?;
        }
    }
    Ok(GpuInstanceHandle(instance))
}

/// Destroys an instance, which must have no compute instances left.
pub(super) fn destroy_gpu_instance(
    device: &Device<'_>,
    instance: GpuInstanceHandle,
) -> Result<(), NvmlError> {
    call!(device, nvmlGpuInstanceDestroy(instance.0))
}

/// The profile of compute instances with this index, from 0 to [`COMPUTE_PROFILES`].
pub(super) fn compute_profile(
    device: &Device<'_>,
    instance: GpuInstanceHandle,
    index: u32,
) -> Result<ComputeProfile, NvmlError> {
    let mut info = nvmlComputeInstanceProfileInfo_t {
        id: 0,
        sliceCount: 0,
        instanceCount: 0,
        multiprocessorCount: 0,
        sharedCopyEngineCount: 0,
        sharedDecoderCount: 0,
        sharedEncoderCount: 0,
        sharedJpegCount: 0,
        sharedOfaCount: 0,
    };
    let engines = NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED;
    call!(device, nvmlGpuInstanceGetComputeInstanceProfileInfo(instance.0, index, engines, &mut info))?;
    Ok(ComputeProfile { id: info.id, slices: info.sliceCount, most: info.instanceCount.min(MOST) })
}

/// The compute instances of a profile in a GPU instance; `most` is how many of it there can be.
pub(super) fn compute_instances(
    device: &Device<'_>,
    instance: GpuInstanceHandle,
    profile_id: u32,
    most: u32,
) -> Result<Vec<ComputeInstanceHandle>, NvmlError> {
    let mut found = vec![null_mut(); most as usize];
    let mut count = most;
    call!(
        device,
        nvmlGpuInstanceGetComputeInstances(instance.0, profile_id, found.as_mut_ptr(), &mut count)
    )?;
    found.truncate(count as usize);
    Ok(found.into_iter().map(ComputeInstanceHandle).collect())
}

/// The number of a compute instance.
pub(super) fn compute_instance_id(
    device: &Device<'_>,
    instance: ComputeInstanceHandle,
) -> Result<u32, NvmlError> {
    let mut info = nvmlComputeInstanceInfo_t {
        device: null_mut(),
        gpuInstance: null_mut(),
        id: 0,
        profileId: 0,
        placement: nvmlComputeInstancePlacement_t { start: 0, size: 0 },
    };
    call!(device, nvmlComputeInstanceGetInfo_v2(instance.0, &mut info))?;
    Ok(info.id)
}

/// Makes a compute instance in a GPU instance.
pub(super) fn create_compute_instance(
    device: &Device<'_>,
    instance: GpuInstanceHandle,
    profile_id: u32,
) -> Result<ComputeInstanceHandle, NvmlError> {
    let mut made = null_mut();
    call!(device, nvmlGpuInstanceCreateComputeInstance(instance.0, profile_id, &mut made))?;
    Ok(ComputeInstanceHandle(made))
}

/// Destroys a compute instance, which no process may use.
pub(super) fn destroy_compute_instance(
    device: &Device<'_>,
    instance: ComputeInstanceHandle,
) -> Result<(), NvmlError> {
    call!(device, nvmlComputeInstanceDestroy(instance.0))
}

/// Which GPU instance and which compute instance a MIG device is.
pub(super) fn mig_device_ids(mig_device: &Device<'_>) -> Result<(u32, u32), NvmlError> {
    let (mut gpu_instance, mut compute_instance): (c_uint, c_uint) = (0, 0);
    let of = handle(mig_device);
    call!(mig_device, nvmlDeviceGetGpuInstanceId(of, &mut gpu_instance))?;
    call!(mig_device, nvmlDeviceGetComputeInstanceId(of, &mut compute_instance))?;
    Ok((gpu_instance, compute_instance))
}
