//! MIG: the partitions of the GPU.

use super::*;

struct Profile {
    index: u32,
    id: u32,
    name: &'static str,
    slices: u32,
    multiprocessors: u32,
    memory_mib: u64,
    most: u32,
    starts: &'static [u32],
    memory_slices: u32,
}

/// Those of an A100 of 40 GB.
const PROFILES: [Profile; 5] = [
    Profile {
        index: 0,
        id: 19,
        name: "MIG 1g.5gb",
        slices: 1,
        multiprocessors: 14,
        memory_mib: 4864,
        most: 7,
        starts: &[0, 1, 2, 3, 4, 5, 6],
        memory_slices: 1,
    },
    Profile {
        index: 1,
        id: 14,
        name: "MIG 2g.10gb",
        slices: 2,
        multiprocessors: 28,
        memory_mib: 9856,
        most: 3,
        starts: &[0, 2, 4],
        memory_slices: 2,
    },
    Profile {
        index: 2,
        id: 9,
        name: "MIG 3g.20gb",
        slices: 3,
        multiprocessors: 42,
        memory_mib: 19968,
        most: 2,
        starts: &[0, 4],
        memory_slices: 4,
    },
    Profile {
        index: 3,
        id: 5,
        name: "MIG 4g.20gb",
        slices: 4,
        multiprocessors: 56,
        memory_mib: 19968,
        most: 1,
        starts: &[0],
        memory_slices: 4,
    },
    Profile {
        index: 4,
        id: 0,
        name: "MIG 7g.40gb",
        slices: 7,
        multiprocessors: 98,
        memory_mib: 40192,
        most: 1,
        starts: &[0],
        memory_slices: 8,
    },
];

#[derive(Clone)]
pub(crate) struct Instance {
    id: u32,
    profile_id: u32,
    start: u32,
    /// Numbers of its compute instances, each as large as it.
    computes: Vec<u32>,
}

impl State {
    fn free_of(&self, start: u32, size: u32) -> bool {
        self.instances.iter().all(|instance| {
            let profile = profile_of(instance.profile_id).expect("made of a profile");
            start + size <= instance.start || instance.start + profile.memory_slices <= start
        })
    }

    /// Where another instance of `profile` fits.
    fn room(&self, profile: &Profile) -> Vec<u32> {
        let used: u32 =
            self.instances.iter().filter_map(|i| profile_of(i.profile_id)).map(|p| p.slices).sum();
        let fits = |start: &u32| used + profile.slices <= 7 && self.free_of(*start, profile.memory_slices);
        profile.starts.iter().copied().filter(fits).collect()
    }
}

fn profile_of(id: u32) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.id == id)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigMode(_: Device, current: *mut c_uint, pending: *mut c_uint) -> u32 {
    let state = enter!("nvmlDeviceGetMigMode");
    unsafe {
        *current = state.number("mig");
        *pending = state.number("mig").max(state.number("mig_pending"));
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(_: Device, to: *mut c_uint) -> u32 {
    let _state = enter!("nvmlDeviceGetMaxMigDeviceCount");
    unsafe { *to = 7 };
    SUCCESS
}

/// Such as `MIG 1g.5gb`.
pub(crate) fn profile_name(state: &State, instance: u32) -> &'static str {
    let found = state.instances.iter().find(|found| found.id == instance);
    found.and_then(|found| profile_of(found.profile_id)).map_or("", |profile| profile.name)
}

/// The compute instances, in the order of MIG devices: GPU instance and own number.
fn mig_devices(state: &State) -> Vec<(u32, u32)> {
    let of = |instance: &Instance| {
        let id = instance.id;
        instance.computes.iter().map(move |compute| (id, *compute)).collect::<Vec<_>>()
    };
    state.instances.iter().flat_map(of).collect()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    _: Device,
    index: c_uint,
    to: *mut Device,
) -> u32 {
    let state = enter!("nvmlDeviceGetMigDeviceHandleByIndex");
    let Some((gpu, compute)) = mig_devices(&state).get(index as usize).copied() else { return NOT_FOUND };
    unsafe { *to = (100 + 10 * gpu + compute) as usize as Device };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuInstanceId(mig_device: Device, to: *mut c_uint) -> u32 {
    let _state = enter!("nvmlDeviceGetGpuInstanceId");
    unsafe { *to = (mig_device as usize as u32 - 100) / 10 };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeInstanceId(mig_device: Device, to: *mut c_uint) -> u32 {
    let _state = enter!("nvmlDeviceGetComputeInstanceId");
    unsafe { *to = (mig_device as usize as u32 - 100) % 10 };
    SUCCESS
}

#[repr(C)]
pub struct GpuProfileV2 {
    version: c_uint,
    id: c_uint,
    is_p2p_supported: c_uint,
    slice_count: c_uint,
    instance_count: c_uint,
    multiprocessor_count: c_uint,
    copy_engine_count: c_uint,
    decoder_count: c_uint,
    encoder_count: c_uint,
    jpeg_count: c_uint,
    ofa_count: c_uint,
    memory_size_mb: c_ulonglong,
    name: [c_char; 96],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuInstanceProfileInfoV(
    _: Device,
    index: c_uint,
    to: *mut GpuProfileV2,
) -> u32 {
    let _state = enter!("nvmlDeviceGetGpuInstanceProfileInfoV");
    let to = unsafe { &mut *to };
    if to.version != size_of::<GpuProfileV2>() as u32 | (2 << 24) {
        return ARGUMENT_VERSION_MISMATCH;
    }
    if index >= 17 {
        return INVALID_ARGUMENT;
    }
    let Some(profile) = PROFILES.iter().find(|profile| profile.index == index) else { return NOT_SUPPORTED };
    to.id = profile.id;
    to.slice_count = profile.slices;
    to.instance_count = profile.most;
    to.multiprocessor_count = profile.multiprocessors;
    to.memory_size_mb = profile.memory_mib;
    unsafe { write_text(profile.name, to.name.as_mut_ptr(), 96) }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Placement {
    start: c_uint,
    size: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuInstancePossiblePlacements_v2(
    _: Device,
    profile_id: c_uint,
    to: *mut Placement,
    count: *mut c_uint,
) -> u32 {
    let _state = enter!("nvmlDeviceGetGpuInstancePossiblePlacements_v2");
    let Some(profile) = profile_of(profile_id) else { return INVALID_ARGUMENT };
    let all: Vec<_> =
        profile.starts.iter().map(|start| Placement { start: *start, size: profile.memory_slices }).collect();
    if to.is_null() {
        unsafe { *count = all.len() as u32 };
        return SUCCESS;
    }
    unsafe { write_list(&all, to, count) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuInstanceRemainingCapacity(
    _: Device,
    profile_id: c_uint,
    count: *mut c_uint,
) -> u32 {
    let state = enter!("nvmlDeviceGetGpuInstanceRemainingCapacity");
    let Some(profile) = profile_of(profile_id) else { return INVALID_ARGUMENT };
    unsafe { *count = state.room(profile).len() as u32 };
    SUCCESS
}

fn create(state: &mut State, profile_id: u32, start: Option<u32>, to: *mut Device) -> u32 {
    let Some(profile) = profile_of(profile_id) else { return INVALID_ARGUMENT };
    let room = state.room(profile);
    let start = match start {
        Some(start) if room.contains(&start) => start,
        None if !room.is_empty() => room[0],
        _ => return INSUFFICIENT_RESOURCES,
    };
    let id = (1..).find(|id| state.instances.iter().all(|instance| instance.id != *id)).expect("a number");
    state.instances.push(Instance { id, profile_id, start, computes: Vec::new() });
    unsafe { *to = (1000 + id) as usize as Device };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceCreateGpuInstance(_: Device, profile_id: c_uint, to: *mut Device) -> u32 {
    let mut state = enter!("nvmlDeviceCreateGpuInstance");
    create(&mut state, profile_id, None, to)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceCreateGpuInstanceWithPlacement(
    _: Device,
    profile_id: c_uint,
    placement: *const Placement,
    to: *mut Device,
) -> u32 {
    let mut state = enter!("nvmlDeviceCreateGpuInstanceWithPlacement");
    create(&mut state, profile_id, Some(unsafe { (*placement).start }), to)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlGpuInstanceDestroy(instance: Device) -> u32 {
    let mut state = enter!("nvmlGpuInstanceDestroy");
    let id = instance as usize as u32 - 1000;
    match state.instances.iter().position(|instance| instance.id == id) {
        None => INVALID_ARGUMENT,
        Some(index) if !state.instances[index].computes.is_empty() => IN_USE,
        Some(index) => {
            state.instances.remove(index);
            SUCCESS
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuInstances(
    _: Device,
    profile_id: c_uint,
    to: *mut Device,
    count: *mut c_uint,
) -> u32 {
    let state = enter!("nvmlDeviceGetGpuInstances");
    let of = state.instances.iter().filter(|instance| instance.profile_id == profile_id);
    let all: Vec<_> = of.map(|instance| (1000 + instance.id) as usize as Device).collect();
    unsafe { write_list(&all, to, count) }
}

#[repr(C)]
pub struct GpuInstanceInfo {
    device: Device,
    id: c_uint,
    profile_id: c_uint,
    placement: Placement,
}

fn find(state: &State, instance: Device) -> Option<Instance> {
    state.instances.iter().find(|found| found.id as usize + 1000 == instance as usize).cloned()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpuInstanceGetInfo(instance: Device, to: *mut GpuInstanceInfo) -> u32 {
    let state = enter!("nvmlGpuInstanceGetInfo");
    let Some(found) = find(&state, instance) else { return INVALID_ARGUMENT };
    let size = profile_of(found.profile_id).map_or(0, |profile| profile.memory_slices);
    let placement = Placement { start: found.start, size };
    unsafe {
        *to = GpuInstanceInfo { device: 1 as Device, id: found.id, profile_id: found.profile_id, placement };
    }
    SUCCESS
}

#[repr(C)]
pub struct ComputeProfile {
    id: c_uint,
    slice_count: c_uint,
    instance_count: c_uint,
    multiprocessor_count: c_uint,
    engines: [c_uint; 5],
}

/// Compute profile `index` has this number and so many slices.
const COMPUTE_PROFILES: [(u32, u32, u32); 5] = [(0, 0, 1), (1, 1, 2), (2, 2, 3), (3, 3, 4), (4, 4, 7)];

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpuInstanceGetComputeInstanceProfileInfo(
    instance: Device,
    index: c_uint,
    _: c_uint,
    to: *mut ComputeProfile,
) -> u32 {
    let state = enter!("nvmlGpuInstanceGetComputeInstanceProfileInfo");
    let Some(found) = find(&state, instance) else { return INVALID_ARGUMENT };
    let slices = profile_of(found.profile_id).map_or(0, |profile| profile.slices);
    let Some((_, id, size)) =
        COMPUTE_PROFILES.into_iter().find(|(i, _, size)| *i == index && *size <= slices)
    else {
        return NOT_SUPPORTED;
    };
    unsafe {
        *to = ComputeProfile {
            id,
            slice_count: size,
            instance_count: slices / size,
            multiprocessor_count: size * 14,
            engines: [0; 5],
        };
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpuInstanceGetComputeInstances(
    instance: Device,
    profile_id: c_uint,
    to: *mut Device,
    count: *mut c_uint,
) -> u32 {
    let state = enter!("nvmlGpuInstanceGetComputeInstances");
    let Some(found) = find(&state, instance) else { return INVALID_ARGUMENT };
    let slices = profile_of(found.profile_id).map_or(0, |profile| profile.slices);
    let is_whole = COMPUTE_PROFILES.iter().any(|(_, id, size)| *id == profile_id && *size == slices);
    let computes = found.computes.iter().filter(|_| is_whole);
    let all: Vec<_> = computes.map(|c| (10_000 + 100 * found.id + c) as usize as Device).collect();
    unsafe { write_list(&all, to, count) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpuInstanceCreateComputeInstance(
    instance: Device,
    profile_id: c_uint,
    to: *mut Device,
) -> u32 {
    let mut state = enter!("nvmlGpuInstanceCreateComputeInstance");
    let Some(found) = find(&state, instance) else { return INVALID_ARGUMENT };
    let slices = profile_of(found.profile_id).map_or(0, |profile| profile.slices);
    if !COMPUTE_PROFILES.iter().any(|(_, id, size)| *id == profile_id && *size == slices) {
        return INSUFFICIENT_RESOURCES; // this mock makes whole ones only
    }
    let instance = state.instances.iter_mut().find(|instance| instance.id == found.id).expect("found");
    instance.computes.push(0);
    unsafe { *to = (10_000 + 100 * found.id) as usize as Device };
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlComputeInstanceDestroy(compute: Device) -> u32 {
    let mut state = enter!("nvmlComputeInstanceDestroy");
    let (gpu, own) = ((compute as usize as u32 - 10_000) / 100, compute as usize as u32 % 100);
    let Some(instance) = state.instances.iter_mut().find(|instance| instance.id == gpu) else {
        return INVALID_ARGUMENT;
    };
    instance.computes.retain(|id| *id != own);
    SUCCESS
}

#[repr(C)]
pub struct ComputeInstanceInfo {
    device: Device,
    gpu_instance: Device,
    id: c_uint,
    profile_id: c_uint,
    placement: Placement,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlComputeInstanceGetInfo_v2(compute: Device, to: *mut ComputeInstanceInfo) -> u32 {
    let _state = enter!("nvmlComputeInstanceGetInfo_v2");
    let gpu = (compute as usize - 10_000) / 100;
    unsafe {
        *to = ComputeInstanceInfo {
            device: 1 as Device,
            gpu_instance: (1000 + gpu) as Device,
            id: compute as usize as u32 % 100,
            profile_id: 0,
            placement: Placement { start: 0, size: 1 },
        };
    }
    SUCCESS
}
