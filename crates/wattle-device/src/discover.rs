//! What devices there are on this machine, by asking every driver.
//!
//! - **Add a driver**: one line in [`DRIVERS`].

use std::path::PathBuf;
use std::sync::Arc;

use wattle_core::id::DeviceId;
use wattle_core::time::Timestamp;

use crate::amd;
use crate::cpu::{self, CoreBudget, CpuPowerEstimate, CpuRoots};
use crate::device::{Access, Device};
use crate::nvidia::{self, NvidiaRoots};
use crate::zeusd::{self, NotWrapped, Zeusd};

/// Where drivers look.
#[derive(Debug, Clone)]
pub struct Locations {
    /// Where the kernel shows its files.
    pub cpu: CpuRoots,
    /// The power of the CPU where it can't be measured; `None` for that of an average server.
    pub cpu_estimate: Option<CpuPowerEstimate>,
    /// The thread budget that the CPU's compute units turn.
    pub budget: Arc<CoreBudget>,
    /// NVIDIA's library.
    pub nvidia: NvidiaRoots,
    /// AMD's library; `None` for the one that ROCm installs.
    pub amd_smi: Option<PathBuf>,
    /// The socket of the zeusd that turns the knobs of GPUs that this user may not; `None` for no zeusd.
    pub zeusd: Option<PathBuf>,
}

/// What one driver found.
pub struct DriverReport {
    /// The driver's name, with which the names of its devices begin.
    pub driver: &'static str,
    /// Its devices, or why there are none.
    pub devices: Found,
}

/// The devices of a driver, or why there are none.
pub type Found = Access<Vec<Box<dyn Device>>>;

/// Opens all devices of one driver.
type OpenAll = fn(&Locations) -> Found;

/// Every driver of real devices, by its name.
const DRIVERS: [(&str, OpenAll); 3] = [("cpu", cpu), ("nvidia", nvidia), ("amd", amd)];

fn cpu(at: &Locations) -> Found {
    boxed(cpu::open_all(&at.cpu, at.cpu_estimate.clone(), &at.budget))
}

fn nvidia(at: &Locations) -> Found {
    via_zeusd(nvidia::open_all(&at.nvidia), at)
}

fn amd(at: &Locations) -> Found {
    via_zeusd(amd::open_all(at.amd_smi.as_deref(), &at.cpu.sys), at)
}

/// The GPUs of a driver, with the knobs that this user may not turn turned by zeusd, where that is asked for.
fn via_zeusd<D: Device + 'static>(found: Access<Vec<D>>, at: &Locations) -> Found {
    let devices = match boxed(found) {
        Access::Here(devices) => devices,
        none => return none,
    };
    let Some(socket) = &at.zeusd else { return Access::Here(devices) };
    let without = |because: &str| format!("zeusd is to turn its knobs, but {because}; or leave zeusd out");
    let zeusd = match Zeusd::connect(Some(socket), std::env::var(zeusd::TOKEN_VARIABLE).ok()) {
        Access::Here(zeusd) => zeusd,
        // It was asked for: to go on without would leave the knobs unturned, and nobody would know.
        Access::Denied { because, fix } => return Access::Denied { because: without(&because), fix },
        Access::Absent { because } | Access::Failed { because } => {
            return Access::Failed { because: without(&because) };
        }
    };
    let wrap = |device| match zeusd.wrap(device, Timestamp::ZERO) {
        Ok(device) => Box::new(device) as Box<dyn Device>,
        Err(NotWrapped { inner, because }) => {
            tracing::info!(device = %inner.info().id, because, "zeusd turns none of its knobs");
            inner
        }
    };
    Access::Here(devices.into_iter().map(wrap).collect())
}

/// The devices of a driver, as devices of any.
fn boxed<D: Device + 'static>(found: Access<Vec<D>>) -> Found {
    match found {
        Access::Here(devices) => {
            Access::Here(devices.into_iter().map(|device| Box::new(device) as Box<dyn Device>).collect())
        }
        Access::Absent { because } => Access::Absent { because },
        Access::Denied { because, fix } => Access::Denied { because, fix },
        Access::Failed { because } => Access::Failed { because },
    }
}

/// Names of all drivers of real devices.
pub fn drivers() -> impl Iterator<Item = &'static str> {
    DRIVERS.into_iter().map(|(driver, _)| driver)
}

/// Asks every driver.
pub fn all(at: &Locations) -> Vec<DriverReport> {
    DRIVERS.into_iter().map(|(driver, open_all)| DriverReport { driver, devices: open_all(at) }).collect()
}

/// No such device could be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No driver has devices of such a name.
    #[error("device {wanted:?} is of no driver there is; expected {}", one_of(here))]
    NoDriver {
        /// The name that was asked for.
        wanted: String,
        /// Names of the devices that are here.
        here: Vec<DeviceId>,
    },
    /// The driver has no such device.
    #[error("device {wanted:?} is not here; expected {}", one_of(here))]
    NotHere {
        /// The name that was asked for.
        wanted: String,
        /// Names of the devices that are here.
        here: Vec<DeviceId>,
    },
    /// The driver has several, and the name fits all.
    #[error("device {wanted:?} may be any of several; expected {}", one_of(fitting))]
    Ambiguous {
        /// The name that was asked for.
        wanted: String,
        /// Names of the devices that fit.
        fitting: Vec<DeviceId>,
    },
    /// The driver has none at all.
    #[error("device {wanted:?} can't be opened: {because}; here are: {}", one_of(here))]
    Unavailable {
        /// The name that was asked for.
        wanted: String,
        /// What the driver lacks.
        because: String,
        /// Names of the devices that are here.
        here: Vec<DeviceId>,
    },
}

/// Opens the device named `wanted`: its whole name, or that of its driver where that has only one.
///
/// # Errors
/// Those of [`OpenError`], each with the names of the devices there are.
pub fn open(wanted: &str, at: &Locations) -> Result<Box<dyn Device>, OpenError> {
    let driver = wanted.split_once(':').map_or(wanted, |(driver, _)| driver);
    let here = || names(all(at));
    let wanted_name = || wanted.to_owned();
    let Some((_, open_all)) = DRIVERS.into_iter().find(|(name, _)| *name == driver) else {
        return Err(OpenError::NoDriver { wanted: wanted_name(), here: here() });
    };
    let devices = match open_all(at) {
        Access::Here(devices) => devices,
        Access::Denied { because, fix } => {
            let because = format!("{because}; {fix}");
            return Err(OpenError::Unavailable { wanted: wanted_name(), because, here: here() });
        }
        Access::Absent { because } | Access::Failed { because } => {
            return Err(OpenError::Unavailable { wanted: wanted_name(), because, here: here() });
        }
    };
    let mut fitting: Vec<_> = devices
        .into_iter()
        .filter(|device| wanted == driver || device.info().id.as_str().eq_ignore_ascii_case(wanted))
        .collect();
    match (fitting.pop(), fitting.is_empty()) {
        (Some(device), true) => Ok(device),
        (Some(device), false) => {
            let fitting = fitting.iter().chain([&device]).map(|device| device.info().id.clone()).collect();
            Err(OpenError::Ambiguous { wanted: wanted_name(), fitting })
        }
        (None, _) => Err(OpenError::NotHere { wanted: wanted_name(), here: here() }),
    }
}

/// Names of the devices that were found.
fn names(reports: Vec<DriverReport>) -> Vec<DeviceId> {
    let devices = reports.into_iter().filter_map(|report| match report.devices {
        Access::Here(devices) => Some(devices),
        Access::Absent { .. } | Access::Denied { .. } | Access::Failed { .. } => None,
    });
    devices.flatten().map(|device| device.info().id.clone()).collect()
}

fn one_of(devices: &[DeviceId]) -> String {
    match devices {
        [] => "no device at all".to_owned(),
        devices => devices.iter().map(DeviceId::as_str).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::fake_tree::FakeTree;

    fn locations(tree: &FakeTree) -> Locations {
        let nowhere = tree.path("no-library.so");
        Locations {
            cpu: tree.roots(),
            cpu_estimate: None,
            budget: CoreBudget::new(2),
            nvidia: NvidiaRoots { library: nowhere.clone(), ..NvidiaRoots::default() },
            amd_smi: Some(nowhere),
            zeusd: None,
        }
    }

    #[test]
    fn a_device_is_opened_by_its_name_and_one_that_is_not_here_lists_those_that_are() {
        let tree = FakeTree::new();
        tree.ticks(10, 90, 1);
        let at = locations(&tree);
        assert_eq!(open("cpu", &at).unwrap().info().id.as_str(), "cpu");
        for (wanted, expected) in [
            ("cpu:1", "device \"cpu:1\" is not here; expected cpu"),
            ("tpu:0", "device \"tpu:0\" is of no driver there is; expected cpu"),
            ("", "device \"\" is of no driver there is; expected cpu"),
        ] {
            let found = open(wanted, &at).map(|device| device.info().id.clone());
            assert_eq!(found.unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_driver_that_fails_says_why() {
        let tree = FakeTree::new();
        let at = locations(&tree);
        let [DriverReport { driver: "cpu", devices: Access::Failed { because } }, ..] = &all(&at)[..] else {
            panic!("no driver failed");
        };
        assert!(because.contains("proc/stat"), "{because}");
        let error = open("cpu", &at).map(|device| device.info().id.clone()).unwrap_err().to_string();
        assert!(error.contains("can't be opened: failed to read"), "{error}");
        assert!(error.ends_with("here are: no device at all"), "{error}");
    }
}
