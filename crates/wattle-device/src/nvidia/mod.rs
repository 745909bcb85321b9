//! NVIDIA GPUs, by way of their management library (NVML), which is loaded at run time.
//!
//! Power is the instant reading (field 186) where the device tells it. Energy is that of the counter,
//! checked against and completed by power. Knobs are the power limit and a lock of the highest core clock.

mod energy;
mod error;
mod ffi;
mod inspect;
mod knobs;
pub mod mig;
mod permission;
mod power;
mod processes;

use std::path::PathBuf;
use std::sync::Arc;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use wattle_core::id::DeviceId;
use wattle_core::knob::{DeviceKnob, DeviceSetting, KnobRange};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::time::Timestamp;
use wattle_core::units::Megahertz;

use self::energy::{CounterReading, EnergyMeter, EnergySource};
use self::error::{access, failed, known, words};
use self::power::{PowerSource, StuckPower};
use self::processes::OwnShare;
use crate::device::{Access, Device, DeviceError, DeviceInfo, Inspection, KnobState, Reading};

/// Where NVIDIA's library and the kernel's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvidiaRoots {
    /// The library, by path or by a name that the loader finds; usually `libnvidia-ml.so.1`.
    pub library: PathBuf,
    /// Usually `/proc`.
    pub proc: PathBuf,
}

impl Default for NvidiaRoots {
    fn default() -> Self {
        Self { library: "libnvidia-ml.so.1".into(), proc: "/proc".into() }
    }
}

/// One NVIDIA GPU.
#[derive(Debug)]
pub struct NvidiaDevice {
    nvml: Arc<Nvml>,
    /// NVML's number of the device, which stays while the library is loaded.
    index: u32,
    info: DeviceInfo,
    power: PowerSource,
    energy: EnergyMeter,
    stuck: StuckPower,
    is_stuck: bool,
    /// Whether the last reading told power, stuck or not.
    tells_power: bool,
    /// `None` where this process has another number for the driver than for itself.
    own_share: Option<OwnShare>,
    limit: Access<KnobRange>,
    clock: Access<KnobRange>,
    may_write: Access<()>,
    /// The lock that was set here last.
    locked: Lock,
}

/// What is known of the lock of the core clock, which NVML does not tell.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lock {
    /// Another process may have set one.
    Unknown,
    At(Megahertz),
    Reset,
}

/// Opens every NVIDIA GPU that this process may talk to. Nothing is changed.
///
/// GPUs that can't be opened (lost, or kept from this container) are left out and warned about.
pub fn open_all(roots: &NvidiaRoots) -> Access<Vec<NvidiaDevice>> {
    let nvml = match Nvml::builder().lib_path(roots.library.as_os_str()).init() {
        Ok(nvml) => Arc::new(nvml),
        Err(error) => return unavailable(roots, &error),
    };
    let count = match access("nvmlDeviceGetCount", nvml.device_count()) {
        Access::Here(0) => {
            let because = "NVIDIA's driver is loaded but lists no GPU (in a container: pass GPUs in)";
            return Access::Absent { because: because.into() };
        }
        Access::Here(count) => count,
        Access::Absent { because } | Access::Failed { because } => return Access::Failed { because },
        Access::Denied { because, fix } => return Access::Denied { because, fix },
    };
    let mut devices = Vec::new();
    let mut refused = None;
    for index in 0..count {
        match NvidiaDevice::open(&nvml, index, roots) {
            Ok(device) => devices.push(device),
            Err(error) => {
                tracing::warn!(index, error = words(&error), "an NVIDIA GPU can't be opened and is left out");
                refused = Some(error);
            }
        }
    }
    match refused {
        Some(error) if devices.is_empty() => access("nvmlDeviceGetHandleByIndex", Err(error)),
        _ => Access::Here(devices),
    }
}

/// Why the library is not to be had.
fn unavailable(roots: &NvidiaRoots, error: &NvmlError) -> Access<Vec<NvidiaDevice>> {
    let because = match error {
        NvmlError::LibloadingError(error) => error.to_string(), // names the library
        error => format!("{}: {}", roots.library.display(), words(error)),
    };
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound | NvmlError::DriverNotLoaded => {
            Access::Absent { because }
        }
        NvmlError::NoPermission | NvmlError::OperatingSystem => Access::Denied {
            because,
            fix:
                "give this process the devices /dev/nvidiactl and /dev/nvidia* (in a container: pass GPUs in)"
                    .into(),
        },
        _ => Access::Failed { because },
    }
}

impl NvidiaDevice {
    fn open(nvml: &Arc<Nvml>, index: u32, roots: &NvidiaRoots) -> Result<Self, NvmlError> {
        let device = nvml.device_by_index(index)?;
        let uuid = device.uuid()?;
        let description = device.name().unwrap_or_else(|_| "NVIDIA GPU that doesn't tell its name".into());
        let power = PowerSource::of(&device);
        let limit = knobs::limit_range(&device);
        let clock = knobs::clock_range(&device);
        let may_write = permission::may_write(&roots.proc);
        let mut knobs = Vec::new();
        if let Access::Here(()) = may_write {
            knobs.extend([&clock, &limit].into_iter().filter_map(|range| match range {
                Access::Here(range) => Some(range.clone()),
                _ => None,
            }));
        }
        // A limit is a setting, not a measurement of what the device draws.
        let full_power = device.enforced_power_limit().ok().map(|limit| {
            let source = "the power limit enforced at the start (nvmlDeviceGetEnforcedPowerLimit)";
            (knobs::watts(limit), Provenance::new(Basis::Assumed, source))
        });
        let info = DeviceInfo {
            id: DeviceId::from(format!("nvidia:{uuid}").as_str()),
            description,
            knobs,
            power_provenance: Provenance::new(Basis::Measured, ""),
            idle_power: None,
            full_power,
        };
        let mut opened = Self {
            nvml: Arc::clone(nvml),
            index,
            info,
            power,
            energy: EnergyMeter::new(),
            stuck: StuckPower::default(),
            is_stuck: false,
            tells_power: true,
            own_share: permission::sees_driver_pids(&roots.proc).then(OwnShare::default),
            limit,
            clock,
            may_write,
            locked: Lock::Unknown,
        };
        opened.info.power_provenance.source = opened.source();
        if let Access::Denied { because, fix } = &opened.may_write {
            tracing::warn!(device = %opened.info.id, because, fix, "no knob of the GPU can be turned");
        }
        Ok(opened)
    }

    /// The partitions of this GPU.
    ///
    /// # Errors
    /// Where the device is lost.
    pub fn mig(&self) -> Result<mig::Mig<'_>, DeviceError> {
        Ok(mig::Mig { id: &self.info.id, device: self.device()? })
    }

    fn device(&self) -> Result<nvml_wrapper::Device<'_>, DeviceError> {
        let found = self.nvml.device_by_index(self.index);
        found.map_err(|error| failed(&self.info.id, "find the device", &error))
    }

    /// Says how the power is known, and logs where that has changed.
    fn tell_source(&mut self) {
        let source = self.source();
        if source == self.info.power_provenance.source {
            return;
        }
        let device = &self.info.id;
        if self.is_stuck || matches!(self.energy.source(), EnergySource::Power { .. }) {
            tracing::warn!(%device, source, "how the power is known has changed");
        } else {
            tracing::info!(%device, source, "how the power is known has changed");
        }
        self.info.power_provenance.source = source;
    }

    /// How the power is known, as it is now.
    fn source(&self) -> String {
        let power = if self.tells_power { self.power.describe() } else { "unknown" };
        let source = match self.energy.source() {
            EnergySource::CounterUnchecked => {
                format!("NVML energy counter, not compared with power yet; power: {power}")
            }
            EnergySource::Counter { ratio, window } => format!(
                "NVML energy counter, {ratio:.2} of integrated power in the first {:.1} s; power: {power}",
                window.as_secs_f64()
            ),
            EnergySource::Power { because } if self.tells_power => {
                format!("{power}, integrated, because {because}")
            }
            EnergySource::Power { because } => format!("unknown: no power is told, and {because}"),
        };
        let stuck = if self.is_stuck { " (stuck: unknown until it moves)" } else { "" };
        format!("{source}{stuck}")
    }
}

impl Device for NvidiaDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// One call that fails is an error of this reading; nothing is lost, the next catches up.
    /// Utilisation is that of the driver's last sample, a sixth of a second to a second long.
    fn read(&mut self, now: Timestamp) -> Result<Reading, DeviceError> {
        let index = self.index;
        let id = &self.info.id;
        let found = self.nvml.device_by_index(index);
        let device = found.map_err(|error| failed(id, "find the device", &error))?;
        // First all that may fail.
        let power = known(self.power.read(&device)).map_err(|error| failed(id, "read the power", &error))?;
        let utilization = known(device.utilization_rates());
        let utilization = utilization.map_err(|error| failed(id, "read the utilization", &error))?;
        let counter = if self.energy.is_counter_due(now) {
            let answer = known(device.total_energy_consumption());
            let answer = answer.map_err(|error| failed(id, "read the energy counter", &error))?;
            answer.map_or(CounterReading::Absent, CounterReading::At)
        } else {
            CounterReading::NotAsked
        };
        let own_share = match &mut self.own_share {
            Some(share) => {
                let share = share.read(&device, now);
                share.map_err(|error| failed(id, "read what processes use", &error))?
            }
            None => None,
        };
        let utilization = utilization.map(|rates| (f64::from(rates.gpu) / 100.0).min(1.0));
        self.tells_power = power.is_some();
        self.is_stuck = power.is_some_and(|power| self.stuck.is_stuck(now, power, utilization));
        let power = power.filter(|_| !self.is_stuck);
        let energy = self.energy.advance(now, power, counter);
        self.tell_source();
        Ok(Reading { at: now, energy, power, own_share, utilization })
    }

    fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
        let Some(range) = self.info.range(setting.knob()) else {
            return Err(self.info.no_such_knob(setting.knob()));
        };
        let mut device = self.device()?;
        match setting {
            DeviceSetting::PowerLimit(limit) => knobs::set_limit(&self.info.id, &mut device, limit),
            DeviceSetting::CoreClock(clock) => {
                let lowest = Megahertz::new(range.min);
                let locked = knobs::lock_clock(&self.info.id, &mut device, lowest, clock);
                self.locked = if locked.is_ok() { Lock::At(clock) } else { Lock::Unknown };
                locked
            }
            DeviceSetting::ComputeUnits(_) => Err(self.info.no_such_knob(setting.knob())),
        }
    }

    /// Of a lock of the core clock, which NVML does not tell, only that it is put back by a reset: one that
    /// another process set before is lost.
    fn knob_state(&mut self, knob: DeviceKnob) -> Result<KnobState, DeviceError> {
        if self.info.range(knob).is_none() {
            return Err(self.info.no_such_knob(knob));
        }
        knobs::state(&self.info.id, &self.device()?, knob)
    }

    fn put_back(&mut self, knob: DeviceKnob, state: &KnobState) -> Result<(), DeviceError> {
        if self.info.range(knob).is_none() {
            return Err(self.info.no_such_knob(knob));
        }
        let mut device = self.device()?;
        let result = knobs::put_back(&self.info.id, &mut device, knob, state);
        if knob == DeviceKnob::CoreClock && result.is_ok() {
            self.locked = Lock::Reset;
        }
        result
    }

    fn inspect(&mut self, _now: Timestamp) -> Inspection {
        inspect::inspect(self)
    }
}
