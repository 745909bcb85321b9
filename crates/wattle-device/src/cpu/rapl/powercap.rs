//! Energy counters through the kernel's powercap files.
//!
//! Counts the packages and their memory. Never counts `core` and `uncore`, which are parts of the
//! package, nor `psys`, which includes the packages. `intel-rapl-mmio` zones are the same counters seen
//! another way, and count only where there are no others. AMD's zones have the names of Intel's.
//! Format: the kernel's `Documentation/power/powercap/powercap.rst`.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::system_file::{self, KeptFile};
use super::Counter;
use crate::device::{Access, DeviceError};

/// Kinds of zones, the better first.
const KINDS: [&str; 2] = ["intel-rapl:", "intel-rapl-mmio:"];

/// A zone that is listed, and its name, such as `package-0`.
#[derive(Debug)]
pub(in super::super) struct Zone {
    pub(in super::super) folder: PathBuf,
    pub(in super::super) name: String,
}

/// The folder of all zones below `sys`.
pub(super) fn class(sys: &Path) -> PathBuf {
    sys.join("class/powercap")
}

/// Every zone, counted or not, in the order of their folders' names.
pub(in super::super) fn zones(sys: &Path) -> Access<Vec<Zone>> {
    let class = class(sys);
    let folders = KINDS.map(|kind| folders(&class, kind)).into_iter().find(|folders| !folders.is_empty());
    let Some(folders) = folders else {
        let because = format!("no RAPL zones in {} (virtual machines have none)", class.display());
        return Access::Absent { because };
    };
    let mut zones = Vec::new();
    for folder in folders {
        match system_file::read(&folder.join("name")) {
            Ok(name) => zones.push(Zone { folder, name }),
            // Listed but leading nowhere, as container runtimes make it.
            Err(error) if system_file::is_missing(&error) => {
                return Access::Denied {
                    because: format!("the RAPL zones in {} are masked", class.display()),
                    fix: "bind-mount /sys/devices/virtual/powercap into the container".into(),
                };
            }
            Err(error) => return system_file::no_access(&error),
        }
    }
    Access::Here(zones)
}

impl Zone {
    /// Whether it is of a whole package, or of a die that is a package of its own.
    pub(super) fn is_package(&self) -> bool {
        self.name.starts_with("package-") && self.parent().is_none()
    }

    /// The name of its folder, such as `intel-rapl:0`.
    pub(super) fn folder_name(&self) -> String {
        self.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The folder name of the zone it is part of: that of `intel-rapl:0:1` is `intel-rapl:0`.
    fn parent(&self) -> Option<String> {
        let name = self.folder_name();
        let (parent, _) = name.rsplit_once(':')?;
        parent.contains(':').then(|| parent.to_owned())
    }

    /// Whether its energy is to be added up: it is a package, or the memory of one.
    pub(in super::super) fn is_counted(&self, all: &[Self]) -> bool {
        let of_package =
            |parent: String| all.iter().any(|zone| zone.folder_name() == parent && zone.is_package());
        self.is_package() || (self.name == "dram" && self.parent().is_some_and(of_package))
    }

    fn counter(&self) -> Result<Counter, DeviceError> {
        let path = self.folder.join("energy_uj");
        let mut file = KeptFile::open(&path)?;
        let range = self.folder.join("max_energy_range_uj");
        let range_uj = system_file::read_number(&range, "the range of an energy counter, in microjoules")?;
        if range_uj == 0 {
            return Err(system_file::unexpected(&range, "0", "a range of more than no energy"));
        }
        let read = Box::new(move || file.number("an energy counter, in microjoules"));
        Counter::open(self.name.clone(), path.display().to_string(), 1e-6, Some(range_uj), read)
    }
}

/// The counters that add up to the energy of all packages.
pub(super) fn open(sys: &Path) -> Access<Vec<Counter>> {
    let zones = match zones(sys) {
        Access::Here(zones) => zones,
        Access::Absent { because } => return Access::Absent { because },
        Access::Denied { because, fix } => return Access::Denied { because, fix },
        Access::Failed { because } => return Access::Failed { because },
    };
    if !zones.iter().any(Zone::is_package) {
        let names: Vec<_> = zones.iter().map(|zone| zone.name.as_str()).collect();
        let class = class(sys);
        let because = format!("no RAPL zone in {} counts a package; it has {names:?}", class.display());
        return Access::Absent { because };
    }
    let counted = zones.iter().filter(|zone| zone.is_counted(&zones));
    system_file::access(counted.map(Zone::counter).collect())
}

/// The zone folders of a kind in `class`, such as `intel-rapl:0` and `intel-rapl:0:1`, in the order of
/// their names; none where `class` can't be listed.
fn folders(class: &Path, kind: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(class) else { return Vec::new() };
    let mut folders: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(kind))
        .collect();
    folders.sort();
    folders.into_iter().map(|name| class.join(name)).collect()
}
