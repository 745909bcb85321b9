//! AMD GPUs, as devices: power, energy and temperature, and two knobs, core clock and power limit.
//!
//! Through AMD SMI of ROCm 6.3 to 7, loaded at run time. Compute units are no live knob of an AMD GPU:
//! how many a process uses is fixed when it starts, see [`cu_mask`].

pub mod cu_mask;
mod energy;
mod error;
mod hsa;
mod layout;
mod release;
mod smi;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wattle_core::knob::{DeviceKnob, DeviceSetting, KnobRange};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::time::Timestamp;
use wattle_core::units::Watts;

use self::energy::EnergyMeter;
use self::error::{READ_FIX, SmiError};
use self::layout::PowerCapInfo;
use self::smi::{GpuHandle, LEVEL_AUTO, Smi};
use crate::device::{
    Access, Device, DeviceError, DeviceInfo, Inspection, KnobState, KnobView, Reading, SensorView,
};

/// How far, as a share, a knob may read back from what was set: drivers round to their own steps.
const READ_BACK_TOLERANCE: f64 = 0.01;
/// A power cap of 0 tells the driver to go back to its default, so that it is no value of the knob.
const LEAST_POWER_CAP: f64 = 1.0;
/// No part of a GPU that works is hotter.
const HIGHEST_TEMPERATURE: f64 = 200.0;

const TURN_FIX: &str = "run as root, or let zeusd turn it for this user (--zeusd); in a container, too: a writable \
                        /sys and --security-opt apparmor=unconfined";
const TURN_HINT: &str = "; run as root, or let zeusd turn it (--zeusd); in a container it takes a writable /sys and \
                         --security-opt apparmor=unconfined, too";
const BUSY_HINT: &str = "; AMD SMI hangs: restart the process, and look for the driver's messages in dmesg";

/// Opens every AMD GPU. `library` is the AMD SMI to load; `None` takes the one that ROCm installs.
///
/// `sys` is where the kernel shows its files, usually `/sys`.
///
/// `Absent` where there is no AMD SMI, no driver or no GPU; `Denied` where this user may not read. Whether a
/// knob may be turned is told by the file behind it; where the kernel shows none, the knob is written with
/// the value that it has, which changes nothing.
pub fn open_all(library: Option<&Path>, sys: &Path) -> Access<Vec<AmdDevice>> {
    let smi = match Smi::load(library) {
        Access::Here(smi) => smi,
        Access::Absent { because } => return Access::Absent { because },
        Access::Denied { because, fix } => return Access::Denied { because, fix },
        Access::Failed { because } => return Access::Failed { because },
    };
    let gpus = match smi.gpus() {
        Ok(gpus) => gpus,
        Err(error) => return error.into_access(READ_FIX),
    };
    let mut devices = Vec::new();
    let mut failure = None;
    for gpu in gpus {
        match AmdDevice::open(&smi, gpu, sys) {
            Ok(device) => devices.push(device),
            // One lost GPU must not hide the others.
            Err(error) => {
                tracing::warn!(%error, "an AMD GPU can't be opened");
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if devices.is_empty() => error.into_access(READ_FIX),
        None if devices.is_empty() => Access::Absent { because: "AMD SMI knows of no GPU here".into() },
        _ => Access::Here(devices),
    }
}

/// One AMD GPU, or one die of a board with several.
#[derive(Debug)]
pub struct AmdDevice {
    smi: Arc<Smi>,
    gpu: GpuHandle,
    info: DeviceInfo,
    pci_address: String,
    energy: EnergyMeter,
    /// Which power it tells.
    power_source: &'static str,
    power_limit: KnobAccess,
    core_clock: KnobAccess,
}

/// A knob, as it was found when the GPU was opened.
#[derive(Debug)]
struct KnobAccess {
    range: Option<KnobRange>,
    turnable: Access<()>,
}

impl AmdDevice {
    fn open(smi: &Arc<Smi>, gpu: GpuHandle, sys: &Path) -> Result<Self, SmiError> {
        let pci_address = smi.pci_address(gpu)?;
        let name = smi.market_name(gpu).unwrap_or_else(|_| "an AMD GPU that doesn't tell its name".into());
        let files = sys.join("bus/pci/devices").join(&pci_address);
        let power_limit = KnobAccess::of(DeviceKnob::PowerLimit, power_range(smi, gpu), || {
            may_write(cap_file(&files), || {
                smi.power_cap(gpu).and_then(|info| smi.set_power_cap(gpu, info.power_cap))
            })
        });
        let core_clock = KnobAccess::of(DeviceKnob::CoreClock, clock_range(smi, gpu), || {
            may_write(files.join("power_dpm_force_performance_level"), || {
                smi.perf_level(gpu).and_then(|level| smi.set_perf_level(gpu, level))
            })
        });
        let power_source = match smi.power(gpu) {
            Ok((Some(_), _)) => "AMD SMI, current socket power",
            Ok((None, Some(_))) => "AMD SMI, average socket power",
            Ok((None, None)) | Err(_) => "AMD SMI, which tells no power of this GPU",
        };
        let info = DeviceInfo {
            id: format!("amd:{pci_address}").into(),
            description: name,
            knobs: [&core_clock, &power_limit].into_iter().filter_map(KnobAccess::turns).collect(),
            power_provenance: Provenance::new(Basis::Measured, power_source),
            idle_power: None,
            full_power: None,
        };
        let smi = Arc::clone(smi);
        let energy = EnergyMeter::default();
        Ok(Self { smi, gpu, info, pci_address, energy, power_source, power_limit, core_clock })
    }

    /// Where the GPU sits: `domain:bus:device.function`, as `lspci -D` prints it.
    pub fn pci_address(&self) -> &str {
        &self.pci_address
    }

    fn failed(&self, action: &str) -> impl FnOnce(SmiError) -> DeviceError {
        let (device, action) = (self.info.id.clone(), action.to_owned());
        move |error| {
            let said = error.to_string();
            if error.is_lost() {
                return DeviceError::Lost { device, said };
            }
            let hint = match error {
                SmiError::Busy { .. } => BUSY_HINT,
                error if error.is_denied() => TURN_HINT,
                _ => "",
            };
            DeviceError::Driver { device, action, said, hint }
        }
    }

    /// What a sensor tells; `None` where the GPU has no such sensor.
    fn sensor<T>(&self, action: &str, read: Result<Option<T>, SmiError>) -> Result<Option<T>, DeviceError> {
        match read {
            Err(error) if error.is_absent() => Ok(None),
            read => read.map_err(self.failed(action)),
        }
    }

    fn power(&self) -> Result<Option<f64>, SmiError> {
        self.smi.power(self.gpu).map(|(current, average)| current.or(average))
    }

    /// Where the highest core clock stands, in megahertz.
    fn clock_limit(&self) -> Result<f64, SmiError> {
        self.smi.core_clock_limits(self.gpu).map(|(_, high)| high)
    }

    fn set_clock_limits(&self, low: f64, high: f64) -> Result<(), DeviceError> {
        let set = self.smi.set_core_clock_limits(self.gpu, low, high);
        set.map_err(self.failed("set the limits of the core clock"))?;
        self.check_clock(high)
    }

    fn check_clock(&self, wanted: f64) -> Result<(), DeviceError> {
        let found = self.clock_limit().map_err(self.failed("read back the limit of the core clock"))?;
        self.check(DeviceKnob::CoreClock, wanted, found)
    }

    fn set_power_cap(&self, microwatts: u64) -> Result<(), DeviceError> {
        let set = self.smi.set_power_cap(self.gpu, microwatts);
        set.map_err(self.failed("set the power cap"))?;
        let found = self.smi.power_cap(self.gpu).map_err(self.failed("read back the power cap"))?;
        self.check(DeviceKnob::PowerLimit, watts(microwatts), watts(found.power_cap))
    }

    fn check(&self, knob: DeviceKnob, wanted: f64, found: f64) -> Result<(), DeviceError> {
        if (found - wanted).abs() <= READ_BACK_TOLERANCE * wanted {
            return Ok(());
        }
        Err(DeviceError::ReadBack { device: self.info.id.clone(), knob, wanted, found })
    }

    /// Makes the clock stand as it was found: by giving it back to the driver where the driver had it.
    fn put_clock_back(&self, level: u32, low: f64, high: f64) -> Result<(), DeviceError> {
        if level != LEVEL_AUTO {
            self.set_clock_limits(low, high)?;
        }
        let set = self.smi.perf_level(self.gpu).and_then(|now| {
            if now == level && level != LEVEL_AUTO {
                Ok(())
            } else {
                self.smi.set_perf_level(self.gpu, level)
            }
        });
        set.map_err(self.failed("set the performance level"))?;
        self.check_clock(high)
    }
}

impl Device for AmdDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn read(&mut self, now: Timestamp) -> Result<Reading, DeviceError> {
        let power = self.sensor("read the power", self.power())?;
        let count = self.sensor("read the energy counter", self.smi.energy(self.gpu))?;
        let utilization = self.sensor("read the utilisation", self.smi.busy(self.gpu))?;
        let energy = self.energy.advance(now, power, count);
        self.info.power_provenance.source =
            format!("{}; energy by {}", self.power_source, self.energy.source());
        Ok(Reading { at: now, energy, power: power.map(Watts::new), own_share: None, utilization })
    }

    fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
        match setting {
            DeviceSetting::PowerLimit(limit) => self.set_power_cap(microwatts(limit.get())),
            DeviceSetting::CoreClock(clock) => {
                let (low, _) = self
                    .smi
                    .core_clock_limits(self.gpu)
                    .map_err(self.failed("read the limits of the core clock"))?;
                self.set_clock_limits(low.min(clock.get()), clock.get())
            }
            DeviceSetting::ComputeUnits(_) => Err(self.info.no_such_knob(setting.knob())),
        }
    }

    fn knob_state(&mut self, knob: DeviceKnob) -> Result<KnobState, DeviceError> {
        let state = match knob {
            DeviceKnob::PowerLimit => {
                let info = self.smi.power_cap(self.gpu).map_err(self.failed("read the power cap"))?;
                vec![("power_cap_uw", info.power_cap.to_string())]
            }
            DeviceKnob::CoreClock => {
                let failed = || self.failed("read the limits of the core clock");
                let level = self.smi.perf_level(self.gpu).map_err(failed())?;
                let (low, high) = self.smi.core_clock_limits(self.gpu).map_err(failed())?;
                vec![
                    ("perf_level", level.to_string()),
                    ("min_mhz", low.to_string()),
                    ("max_mhz", high.to_string()),
                ]
            }
            DeviceKnob::ComputeUnits => return Err(self.info.no_such_knob(knob)),
        };
        Ok(KnobState(state.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
    }

    fn put_back(&mut self, knob: DeviceKnob, state: &KnobState) -> Result<(), DeviceError> {
        let refused = |expected| DeviceError::State {
            device: self.info.id.clone(),
            knob,
            found: format!("{:?}", state.0),
            expected,
        };
        match knob {
            DeviceKnob::PowerLimit => match number(&state.0, "power_cap_uw") {
                Some(microwatts) => self.set_power_cap(microwatts),
                None => Err(refused("power_cap_uw, a power cap in microwatts")),
            },
            DeviceKnob::CoreClock => {
                let clock = |key| number::<f64>(&state.0, key).filter(|mhz| mhz.is_finite() && *mhz >= 0.0);
                match (number(&state.0, "perf_level"), clock("min_mhz"), clock("max_mhz")) {
                    (Some(level), Some(low), Some(high)) => self.put_clock_back(level, low, high),
                    _ => Err(refused("perf_level, a number, and min_mhz and max_mhz, clocks")),
                }
            }
            DeviceKnob::ComputeUnits => Err(self.info.no_such_knob(knob)),
        }
    }

    fn inspect(&mut self, _now: Timestamp) -> Inspection {
        let count = access(self.smi.energy(self.gpu), "the GPU has no counter, or one that reads 0");
        let power = access(self.power(), "the GPU tells no power");
        let temperature = match self.smi.temperature(self.gpu) {
            Ok(degrees) if degrees.abs() > HIGHEST_TEMPERATURE => Access::Failed {
                because: format!("reads {degrees}, expected degrees Celsius up to {HIGHEST_TEMPERATURE}"),
            },
            read => access(read.map(Some), ""),
        };
        let clock = self.smi.core_clock(self.gpu).map(|clock| known(clock.clk));
        let sensors = [
            ("power", "W", self.power_source, power),
            ("energy", "J", "amdsmi_get_energy_count, since the driver was loaded", count),
            ("core_clock", "MHz", "amdsmi_get_clock_info", access(clock, "the GPU tells no clock")),
            ("temperature", "C", "amdsmi_get_temp_metric, hot spot", temperature),
            (
                "utilization",
                "share",
                "amdsmi_get_gpu_activity",
                access(self.smi.busy(self.gpu), "the GPU tells no utilisation"),
            ),
        ];
        let sensors = sensors.into_iter().map(|(name, unit, source, reading)| SensorView {
            name,
            unit,
            source: source.to_owned(),
            reading,
        });
        let cap = self.smi.power_cap(self.gpu).map(|info| Some(Some(watts(info.power_cap))));
        let limit = self
            .smi
            .perf_level(self.gpu)
            .and_then(|level| Ok(Some(if level == LEVEL_AUTO { None } else { Some(self.clock_limit()?) })));
        let knobs = vec![
            self.core_clock.view(DeviceKnob::CoreClock, "amdsmi_set_gpu_clk_limit", access(limit, "")),
            self.power_limit.view(DeviceKnob::PowerLimit, "amdsmi_set_power_cap", access(cap, "")),
        ];
        let mut facts = vec![
            ("pci_address", Access::Here(self.pci_address.clone())),
            ("amd_smi", Access::Here(self.smi.version().to_owned())),
            ("energy_source", Access::Here(self.energy.source())),
        ];
        if self.info.description.contains("MI250") {
            let told = "the first die of an MI250 measures both; the second one tells nothing";
            facts.push(("power_scope", Access::Here(told.into())));
        }
        Inspection { sensors: sensors.collect(), knobs, facts }
    }
}

impl KnobAccess {
    /// A knob whose range was read, and whose permission `may_write` tells.
    fn of(
        knob: DeviceKnob,
        range: Result<Option<(f64, f64)>, SmiError>,
        may_write: impl FnOnce() -> Access<()>,
    ) -> Self {
        let (range, turnable) = match range {
            Ok(Some((min, max))) => {
                let range = KnobRange { knob, min, max, steps: Vec::new() };
                (Some(range), may_write())
            }
            Ok(None) => (None, Access::Absent { because: "the GPU tells no range for it".into() }),
            Err(error) => (None, error.into_access(READ_FIX)),
        };
        Self { range, turnable }
    }

    /// Its range, where this process may turn it.
    fn turns(&self) -> Option<KnobRange> {
        self.range.clone().filter(|_| matches!(self.turnable, Access::Here(())))
    }

    fn view(&self, knob: DeviceKnob, source: &str, stands: Access<Option<f64>>) -> KnobView {
        KnobView {
            knob,
            unit: knob.unit(),
            source: format!("AMD SMI, {source}"),
            range: self.range.clone(),
            stands,
            turnable: self.turnable.clone(),
        }
    }
}

/// The file of the power cap, in the folder of the one sensor chip that the driver makes.
fn cap_file(files: &Path) -> PathBuf {
    let chips = fs::read_dir(files.join("hwmon")).into_iter().flatten().flatten();
    let file = chips.map(|chip| chip.path().join("power1_cap")).find(|file| file.exists());
    file.unwrap_or_else(|| files.join("power1_cap"))
}

/// Whether `file` may be written, without writing; where it isn't there, what `rewrite` says, which writes
/// what stands.
fn may_write(file: PathBuf, rewrite: impl FnOnce() -> Result<(), SmiError>) -> Access<()> {
    match fs::OpenOptions::new().write(true).open(&file) {
        Ok(_) => Access::Here(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            rewrite().map_or_else(|error| error.into_access(TURN_FIX), Access::Here)
        }
        Err(error) => {
            let because = format!("{}: {error}", file.display());
            match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Access::Denied { because, fix: TURN_FIX.into() }
                }
                _ => Access::Failed { because },
            }
        }
    }
}

/// From least to most power cap, in watts; `None` where the GPU tells no possible one.
fn power_range(smi: &Smi, gpu: GpuHandle) -> Result<Option<(f64, f64)>, SmiError> {
    let PowerCapInfo { min_power_cap, max_power_cap, .. } = smi.power_cap(gpu)?;
    let (min, max) = (watts(min_power_cap).max(LEAST_POWER_CAP), watts(max_power_cap));
    Ok((max_power_cap != u64::MAX && min <= max).then_some((min, max)))
}

/// From lowest to highest core clock, in megahertz; `None` where the GPU tells no possible one.
fn clock_range(smi: &Smi, gpu: GpuHandle) -> Result<Option<(f64, f64)>, SmiError> {
    let clock = smi.core_clock(gpu)?;
    Ok(known(clock.min_clk).zip(known(clock.max_clk)).filter(|(min, max)| min <= max))
}

/// A clock, unless the library says that it has none.
fn known(mhz: u32) -> Option<f64> {
    (!matches!(mhz, 0 | 0xFFFF | u32::MAX)).then(|| f64::from(mhz))
}

fn here<T>(value: Option<T>, because: &str) -> Access<T> {
    value.map_or_else(|| Access::Absent { because: because.into() }, Access::Here)
}

/// What was read; `Absent` with `because` where the GPU has no such thing.
fn access<T>(read: Result<Option<T>, SmiError>, because: &str) -> Access<T> {
    match read {
        Ok(value) => here(value, because),
        Err(error) => error.into_access(READ_FIX),
    }
}

fn number<T: std::str::FromStr>(state: &BTreeMap<String, String>, key: &str) -> Option<T> {
    state.get(key)?.parse().ok()
}

fn watts(microwatts: u64) -> f64 {
    microwatts as f64 / 1e6
}

fn microwatts(watts: f64) -> u64 {
    (watts * 1e6).round() as u64
}
