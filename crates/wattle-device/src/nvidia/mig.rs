//! Partitions of a GPU (MIG): what there is, what fits, and making and destroying them.
//!
//! A partition here is a GPU instance with one compute instance that fills it, which is what a server
//! uses. All partitions of a GPU share its clock and its power. Making and destroying is for the command
//! line, where a person asked for it; no policy does it.

mod layout;

use std::collections::BTreeMap;

use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;
use wattle_core::id::DeviceId;

use super::error::{failed, is_absent};
use super::ffi::{self, ComputeInstanceHandle, GpuInstanceHandle};
use crate::device::DeviceError;

pub use self::layout::{ComputeInstance, GpuInstance, MigLayout, MigMode, MigProfile};

/// A partition that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedPartition {
    /// Its profile, by number.
    pub profile_id: u32,
    /// The first slice of memory, or where the driver likes.
    pub start: Option<u32>,
}

/// Compute instances as every user sees them, by the numbers of their GPU instances and their own.
type MigDevices = BTreeMap<(u32, u32), MigDevice>;

struct MigDevice {
    uuid: String,
    profile: Option<String>,
}

/// The partitions that can be seen by what runs work in them.
fn seen(devices: &MigDevices) -> Vec<GpuInstance> {
    let mut instances: BTreeMap<u32, GpuInstance> = BTreeMap::new();
    for ((id, compute), device) in devices {
        let instance = instances.entry(*id).or_insert_with(|| GpuInstance {
            id: *id,
            profile: device.profile.clone(),
            start: None,
            memory_slices: None,
            compute_instances: Vec::new(),
        });
        instance.compute_instances.push(ComputeInstance { id: *compute, uuid: Some(device.uuid.clone()) });
    }
    instances.into_values().collect()
}

/// The partitions of one open GPU.
#[derive(Debug)]
pub struct Mig<'a> {
    pub(super) id: &'a DeviceId,
    pub(super) device: Device<'a>,
}

impl Mig<'_> {
    /// Reads all there is. Some of NVML's calls take 50 to 100 ms each: not for a control loop.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], and [`DeviceError::Driver`] where the driver refuses.
    pub fn layout(&self) -> Result<MigLayout, DeviceError> {
        let (mode, mode_after_reset) = self.mode()?;
        let mut layout = MigLayout {
            mode,
            mode_after_reset,
            profiles: Vec::new(),
            gpu_instances: Vec::new(),
            is_complete: true,
        };
        if mode != MigMode::Enabled {
            return Ok(layout);
        }
        layout.profiles = self.profiles()?;
        let devices = self.mig_devices()?;
        for profile in &layout.profiles {
            let found = ffi::gpu_instances(&self.device, profile.id, profile.most);
            let Some(found) = self.allowed("list the GPU instances", found)? else {
                layout.gpu_instances = seen(&devices);
                layout.is_complete = false;
                break;
            };
            for handle in found {
                layout.gpu_instances.push(self.gpu_instance(handle, profile, &devices)?);
            }
        }
        layout.gpu_instances.sort_by_key(|instance| (instance.start, instance.id));
        Ok(layout)
    }

    /// Makes partitions: those with a place of their own first, then the largest, so that small ones don't
    /// take the place of large ones. Each gets one compute instance, as large as it. Where one can't be made,
    /// those made are destroyed again.
    ///
    /// # Errors
    /// Where the GPU is not in MIG mode, has no such profile or place, or has no room left; and where the
    /// driver refuses.
    pub fn create(&self, wanted: &[WantedPartition]) -> Result<Vec<GpuInstance>, DeviceError> {
        let layout = self.layout()?;
        if layout.mode != MigMode::Enabled {
            return Err(self.not_enabled(layout.mode));
        }
        let mut wanted =
            wanted.iter().map(|partition| self.placed(&layout, *partition)).collect::<Result<Vec<_>, _>>()?;
        wanted.sort_by_key(|(profile, place)| {
            (place.is_none(), std::cmp::Reverse((profile.slices, profile.memory_mib)))
        });
        let mut made = Vec::new();
        for (profile, placement) in &wanted {
            match self.create_one(profile, *placement) {
                Ok(instance) => made.push((instance, *profile)),
                Err(error) => {
                    for (instance, _) in made.into_iter().rev() {
                        self.undo(instance);
                    }
                    return Err(error);
                }
            }
        }
        let devices = self.mig_devices()?;
        made.into_iter().map(|(instance, profile)| self.gpu_instance(instance, profile, &devices)).collect()
    }

    /// Destroys partitions, by their numbers: their compute instances, then they themselves.
    ///
    /// # Errors
    /// Where there is none of a number (then nothing is destroyed), and where the driver refuses, as it
    /// does while a process uses one.
    pub fn destroy(&self, ids: &[u32]) -> Result<(), DeviceError> {
        let (mode, _) = self.mode()?;
        if mode != MigMode::Enabled {
            return Err(self.not_enabled(mode));
        }
        let mut found = Vec::new();
        for profile in self.profiles()? {
            let handles = ffi::gpu_instances(&self.device, profile.id, profile.most);
            for handle in self.tried("list the GPU instances", handles)? {
                found.push((self.info(handle)?.id, handle));
            }
        }
        let there: Vec<_> = found.iter().map(|(id, _)| *id).collect();
        if let Some(id) = ids.iter().find(|id| !there.contains(id)) {
            return Err(self.refused(
                format!("destroy GPU instance {id}"),
                format!("there is none of this number; there are {there:?}"),
            ));
        }
        for (id, handle) in found.into_iter().filter(|(id, _)| ids.contains(id)) {
            for (_, compute) in self.compute_instances(handle)? {
                let destroyed = ffi::destroy_compute_instance(&self.device, compute);
                self.tried(format!("destroy a compute instance of GPU instance {id}"), destroyed)?;
            }
            let destroyed = ffi::destroy_gpu_instance(&self.device, handle);
            self.tried(format!("destroy GPU instance {id}"), destroyed)?;
        }
        Ok(())
    }

    pub(super) fn mode(&self) -> Result<(MigMode, Option<MigMode>), DeviceError> {
        let mode = |value| if value == 0 { MigMode::Disabled } else { MigMode::Enabled };
        match self.device.mig_mode() {
            Ok(found) => {
                let (current, pending) = (mode(found.current), mode(found.pending));
                Ok((current, (pending != current).then_some(pending)))
            }
            Err(error) if is_absent(&error) => Ok((MigMode::Unsupported, None)),
            Err(error) => Err(failed(self.id, "read the MIG mode", &error)),
        }
    }

    fn profiles(&self) -> Result<Vec<MigProfile>, DeviceError> {
        let mut profiles: Vec<MigProfile> = Vec::new();
        for index in 0..ffi::GPU_PROFILES {
            let profile = match ffi::gpu_profile(&self.device, index) {
                Ok(profile) => profile,
                // Profiles of other GPUs, and those that this library does not know.
                Err(NvmlError::NotSupported | NvmlError::InvalidArg) => continue,
                Err(error) => return Err(failed(self.id, "read the MIG profiles", &error)),
            };
            let placements = ffi::placements(&self.device, profile.id);
            let placements = self.allowed("read the places of a MIG profile", placements)?;
            let remaining = ffi::remaining(&self.device, profile.id);
            profiles.push(MigProfile {
                id: profile.id,
                name: profile.name,
                slices: profile.slices,
                multiprocessors: profile.multiprocessors,
                memory_mib: profile.memory_mib,
                most: profile.most,
                remaining: self.allowed("read what is left of a MIG profile", remaining)?,
                memory_slices: placements.as_ref().and_then(|places| places.first()).map(|(_, size)| *size),
                starts: placements.map(|places| places.iter().map(|(start, _)| *start).collect()),
            });
        }
        Ok(profiles)
    }

    fn gpu_instance(
        &self,
        handle: GpuInstanceHandle,
        profile: &MigProfile,
        devices: &MigDevices,
    ) -> Result<GpuInstance, DeviceError> {
        let info = self.info(handle)?;
        let compute_instances = self.compute_instances(handle)?.into_iter().map(|(id, _)| {
            let uuid = devices.get(&(info.id, id)).map(|device| device.uuid.clone());
            ComputeInstance { id, uuid }
        });
        let compute_instances = compute_instances.collect();
        Ok(GpuInstance {
            id: info.id,
            profile: Some(profile.name.clone()).filter(|name| !name.is_empty()),
            start: Some(info.slices.0),
            memory_slices: Some(info.slices.1),
            compute_instances,
        })
    }

    fn info(&self, handle: GpuInstanceHandle) -> Result<ffi::GpuInstanceInfo, DeviceError> {
        self.tried("read a GPU instance", ffi::gpu_instance_info(&self.device, handle))
    }

    fn compute_profiles(&self, handle: GpuInstanceHandle) -> Result<Vec<ffi::ComputeProfile>, DeviceError> {
        let mut profiles = Vec::new();
        for index in 0..ffi::COMPUTE_PROFILES {
            match ffi::compute_profile(&self.device, handle, index) {
                Ok(profile) => profiles.push(profile),
                Err(NvmlError::NotSupported | NvmlError::InvalidArg) => {}
                Err(error) => return Err(failed(self.id, "read the profiles of compute instances", &error)),
            }
        }
        Ok(profiles)
    }

    fn compute_instances(
        &self,
        handle: GpuInstanceHandle,
    ) -> Result<Vec<(u32, ComputeInstanceHandle)>, DeviceError> {
        let mut found = Vec::new();
        for profile in self.compute_profiles(handle)? {
            let listed = ffi::compute_instances(&self.device, handle, profile.id, profile.most);
            for instance in self.tried("list the compute instances", listed)? {
                let id = ffi::compute_instance_id(&self.device, instance);
                found.push((self.tried("read a compute instance", id)?, instance));
            }
        }
        Ok(found)
    }

    /// The compute instances that can run work, which every user may see.
    fn mig_devices(&self) -> Result<MigDevices, DeviceError> {
        let count = self.tried("count the MIG devices", self.device.mig_device_count())?;
        let mut devices = MigDevices::new();
        for index in 0..count {
            let device = match self.device.mig_device_by_index(index) {
                Ok(device) => device,
                Err(NvmlError::NotFound | NvmlError::InvalidArg) => continue, // the numbers have gaps
                Err(error) => return Err(failed(self.id, "find a MIG device", &error)),
            };
            let ids = self.tried("read which partition a MIG device is", ffi::mig_device_ids(&device))?;
            let uuid = self.tried("read the UUID of a MIG device", device.uuid())?;
            // Such as `NVIDIA A100-PCIE-40GB MIG 1g.5gb`.
            let name = device.name().unwrap_or_default();
            let profile = name.split_once(" MIG ").map(|(_, profile)| profile.to_owned());
            devices.insert(ids, MigDevice { uuid, profile });
        }
        Ok(devices)
    }

    /// The profile of a wanted partition, and where it is to lie.
    fn placed<'l>(
        &self,
        layout: &'l MigLayout,
        wanted: WantedPartition,
    ) -> Result<(&'l MigProfile, Option<ffi::Slices>), DeviceError> {
        let action = || format!("make a partition of profile {}", wanted.profile_id);
        let Some(profile) = layout.profiles.iter().find(|profile| profile.id == wanted.profile_id) else {
            let there: Vec<_> = layout.profiles.iter().map(|profile| profile.id).collect();
            return Err(self.refused(action(), format!("there is no such profile; there are {there:?}")));
        };
        let Some(start) = wanted.start else { return Ok((profile, None)) };
        let Some((starts, size)) = profile.starts.as_ref().zip(profile.memory_slices) else {
            return Err(failed(self.id, action(), &NvmlError::NoPermission));
        };
        if !starts.contains(&start) {
            let said = format!("it can't start at slice {start}; it can at {starts:?}");
            return Err(self.refused(action(), said));
        }
        Ok((profile, Some((start, size))))
    }

    fn create_one(
        &self,
        profile: &MigProfile,
        placement: Option<ffi::Slices>,
    ) -> Result<GpuInstanceHandle, DeviceError> {
        let at = placement.map_or(String::new(), |(start, _)| format!(" at slice {start}"));
        let action = format!("make a partition of profile {} ({}){at}", profile.id, profile.name);
        let instance = ffi::create_gpu_instance(&self.device, profile.id, placement);
        let instance = self.tried(action.clone(), instance)?;
        let filled = self.compute_profiles(instance).and_then(|profiles| {
            let largest = profiles.into_iter().max_by_key(|profile| profile.slices);
            let largest = largest
                .ok_or_else(|| self.refused(action.clone(), "it has no profile of compute instances".into()));
            let made = ffi::create_compute_instance(&self.device, instance, largest?.id);
            self.tried(action, made)
        });
        match filled {
            Ok(_) => Ok(instance),
            Err(error) => {
                self.undo(instance);
                Err(error)
            }
        }
    }

    /// Destroys what was just made. That this failed, too, is logged: the first failure is the one to tell.
    fn undo(&self, instance: GpuInstanceHandle) {
        let destroyed = self.info(instance).and_then(|info| self.destroy(&[info.id]));
        if let Err(error) = destroyed {
            tracing::error!(device = %self.id, %error, "a partition that was just made is left over");
        }
    }

    fn not_enabled(&self, mode: MigMode) -> DeviceError {
        let said = match mode {
            MigMode::Unsupported => "this GPU can't be partitioned",
            _ => "the GPU is not in MIG mode",
        };
        DeviceError::Driver {
            device: self.id.clone(),
            action: "repartition".into(),
            said: said.into(),
            hint: match mode {
                MigMode::Unsupported => "",
                _ => "; stop all that uses it and run, as root: nvidia-smi --id=UUID --multi-instance-gpu=1",
            },
        }
    }

    fn refused(&self, action: String, said: String) -> DeviceError {
        DeviceError::Driver { device: self.id.clone(), action, said, hint: "" }
    }

    /// `None` where the answer is kept from this user.
    fn allowed<T>(&self, action: &str, answer: Result<T, NvmlError>) -> Result<Option<T>, DeviceError> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(NvmlError::NoPermission) => Ok(None),
            Err(error) => Err(failed(self.id, action, &error)),
        }
    }

    fn tried<T>(&self, action: impl Into<String>, answer: Result<T, NvmlError>) -> Result<T, DeviceError> {
        answer.map_err(|error| failed(self.id, action, &error))
    }
}
