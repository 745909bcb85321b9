//! Energy that the CPU itself counts (RAPL), through the kernel's powercap files.
//!
//! Counts every package, and the memory (`dram`) zone of each package where there is one: `dram` is
//! listed below its package but is not part of it. Never counts `core` and `uncore`, which are parts
//! of the package, nor `psys`, which includes the packages, nor the `intel-rapl-mmio` zones, which are
//! the same counters seen another way.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};

use super::system_file;
use crate::device::DeviceError;

/// No socket and no memory zone draws as much. An energy step above it is a counter that jumped.
const WATTS_BEYOND_ANY_ZONE: Watts = Watts::new(2000.0);

/// The energy counters of every package of this machine.
///
/// Must be read at least once per turn of the counter (a minute or more, by the machine's range and
/// power): turns between two readings can't be told apart.
#[derive(Debug)]
pub(super) struct Rapl {
    zones: Vec<Zone>,
    counted: Joules,
    last_read: Option<Timestamp>,
}

/// One energy counter.
#[derive(Debug)]
struct Zone {
    /// Such as `package-0`.
    name: String,
    counter: PathBuf,
    /// Where the counter turns over, in microjoules.
    range_uj: u64,
    /// The counter at the last reading, in microjoules.
    last_uj: u64,
}

/// Why this machine's energy counters can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RaplUnavailable {
    /// The machine has none, as most virtual machines.
    #[error("no RAPL zones in {path} (virtual machines have none)")]
    Absent {
        /// Where they would be.
        path: String,
    },
    /// Zones are listed but lead nowhere, as container runtimes make it.
    #[error(
        "the RAPL zones in {path} are masked; bind-mount /sys/devices/virtual/powercap into the container"
    )]
    Masked {
        /// Where they are listed.
        path: String,
    },
    /// There are zones, but none of a whole package.
    #[error("no RAPL zone in {path} counts a package; it has {zones:?}")]
    NoPackage {
        /// Where they are listed.
        path: String,
        /// Their names.
        zones: Vec<String>,
    },
    /// This user may not read the counters, as is usual since CVE-2020-8694.
    #[error("{0}")]
    Denied(#[source] DeviceError),
    /// The counters can't be read, or hold what no counter holds.
    #[error("{0}")]
    Broken(#[source] DeviceError),
}

impl From<DeviceError> for RaplUnavailable {
    fn from(error: DeviceError) -> Self {
        if system_file::is_denied(&error) { Self::Denied(error) } else { Self::Broken(error) }
    }
}

impl Rapl {
    /// Finds the counters below `sys` (usually `/sys`) and reads each once. Counting starts at the
    /// first [`read`](Self::read).
    pub(super) fn open(sys: &Path) -> Result<Self, RaplUnavailable> {
        let class = sys.join("class/powercap");
        let path = || class.display().to_string();
        let listed = zone_folders(&class);
        if listed.is_empty() {
            return Err(RaplUnavailable::Absent { path: path() });
        }
        let mut named = Vec::new();
        for folder in listed {
            match system_file::read(&class.join(&folder).join("name")) {
                Ok(name) => named.push((folder, name)),
                Err(error) if system_file::is_missing(&error) => {
                    return Err(RaplUnavailable::Masked { path: path() });
                }
                Err(error) => return Err(error.into()),
            }
        }
        let is_package = |folder: &str| {
            named.iter().any(|(other, name)| other.as_str() == folder && name.starts_with("package-"))
        };
        let counts = |folder: &str, name: &str| match folder.rsplit_once(':') {
            Some((parent, _)) if name == "dram" => is_package(parent),
            _ => is_package(folder),
        };
        let counted = named.iter().filter(|(folder, name)| counts(folder, name));
        let mut zones = Vec::new();
        for (folder, name) in counted {
            zones.push(Zone::open(&class.join(folder), name.clone())?);
        }
        if zones.is_empty() {
            let zones = named.into_iter().map(|(_, name)| name).collect();
            return Err(RaplUnavailable::NoPackage { path: path(), zones });
        }
        // Packages first, whatever the order of their folders: this is how the source reads.
        zones.sort_by_key(|zone| zone.name == "dram");
        Ok(Self { zones, counted: Joules::ZERO, last_read: None })
    }

    /// Which counters are added up, such as `RAPL package-0 + package-1 + dram`.
    pub(super) fn source(&self) -> String {
        let mut names: Vec<_> = self.zones.iter().map(|zone| zone.name.as_str()).collect();
        names.dedup();
        format!("RAPL {}", names.join(" + "))
    }

    /// Energy since the first reading. On an error nothing is counted, and nothing is lost: the next
    /// reading catches up.
    pub(super) fn read(&mut self, now: Timestamp) -> Result<Joules, DeviceError> {
        let counters =
            self.zones.iter().map(|zone| read_counter(&zone.counter)).collect::<Result<Vec<_>, _>>()?;
        for (zone, counter_uj) in self.zones.iter_mut().zip(counters) {
            if let Some(last_read) = self.last_read {
                self.counted += zone.advance(counter_uj, now - last_read);
            }
            zone.last_uj = counter_uj;
        }
        self.last_read = Some(self.last_read.map_or(now, |last_read| last_read.max(now)));
        Ok(self.counted)
    }
}

impl Zone {
    fn open(folder: &Path, name: String) -> Result<Self, DeviceError> {
        let counter = folder.join("energy_uj");
        let last_uj = read_counter(&counter)?;
        let range = folder.join("max_energy_range_uj");
        let range_uj = system_file::read_number(&range, "the range of an energy counter, in microjoules")?;
        if range_uj == 0 {
            return Err(system_file::unexpected(&range, "0", "a range of more than no energy"));
        }
        Ok(Self { name, counter, range_uj, last_uj })
    }

    /// Energy between the last reading and this one, `elapsed` later. Never negative.
    ///
    /// A counter that stands lower has turned over, or was reset (suspend, a reloaded driver). Turned
    /// over is taken first; if that makes more power than any zone draws, it was reset, and what it
    /// shows has been drawn since; if that is too much as well, the counter jumped and tells nothing.
    fn advance(&self, counter_uj: u64, elapsed: Duration) -> Joules {
        if let Some(step_uj) = counter_uj.checked_sub(self.last_uj) {
            return joules(step_uj);
        }
        let turned_over_uj = self.range_uj.saturating_sub(self.last_uj).saturating_add(counter_uj);
        let most = WATTS_BEYOND_ANY_ZONE * elapsed;
        if self.last_uj <= self.range_uj && joules(turned_over_uj) <= most {
            return joules(turned_over_uj);
        }
        let counted = if joules(counter_uj) <= most { joules(counter_uj) } else { Joules::ZERO };
        tracing::warn!(
            zone = %self.name,
            counter_before_uj = self.last_uj,
            counter_uj,
            counted_joules = counted.get(),
            "an energy counter ran backwards without turning over; some energy is not counted"
        );
        counted
    }
}

/// The zone folders in `class`, such as `intel-rapl:0` and `intel-rapl:0:1`, in the order of their
/// names; none where `class` can't be listed. AMD's zones have the same name.
fn zone_folders(class: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(class) else { return Vec::new() };
    let mut folders: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("intel-rapl:"))
        .collect();
    folders.sort();
    folders
}

fn read_counter(path: &Path) -> Result<u64, DeviceError> {
    system_file::read_number(path, "an energy counter, in microjoules")
}

fn joules(microjoules: u64) -> Joules {
    Joules::new(microjoules as f64 * 1e-6)
}

#[cfg(test)]
mod tests {
    use super::super::fake_tree::FakeTree;
    use super::*;

    const RANGE_UJ: u64 = 262_143_328_850;

    fn zone(tree: &FakeTree, folder: &str, name: &str, counter: &str) {
        let folder = format!("sys/class/powercap/{folder}");
        tree.write(&format!("{folder}/name"), name);
        tree.write(&format!("{folder}/energy_uj"), counter);
        tree.write(&format!("{folder}/max_energy_range_uj"), &RANGE_UJ.to_string());
    }

    fn count(tree: &FakeTree, counter: u64) {
        tree.write("sys/class/powercap/intel-rapl:0/energy_uj", &counter.to_string());
    }

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_duration(Duration::from_secs_f64(seconds))
    }

    fn open_one(counter: u64) -> (FakeTree, Rapl) {
        let tree = FakeTree::new();
        zone(&tree, "intel-rapl:0", "package-0\n", &counter.to_string());
        let mut rapl = Rapl::open(&tree.sys()).unwrap();
        assert_eq!(rapl.read(at(0.0)).unwrap(), Joules::ZERO);
        (tree, rapl)
    }

    #[track_caller]
    fn check_read(rapl: &mut Rapl, seconds: f64, joules: f64) {
        let found = rapl.read(at(seconds)).unwrap().get();
        assert!((found - joules).abs() < 1e-6, "{found} J, expected {joules} J");
    }

    #[test]
    fn adds_packages_and_their_dram_and_nothing_twice() {
        let tree = FakeTree::new();
        tree.dir("sys/class/powercap/intel-rapl"); // the control type, not a zone
        for (folder, name) in [
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:0:1", "dram"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:1:0", "uncore"),
            ("intel-rapl:1:1", "dram"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl:2:0", "dram"),
            ("intel-rapl-mmio:0", "package-0"),
        ] {
            zone(&tree, folder, name, "0");
        }
        let mut rapl = Rapl::open(&tree.sys()).unwrap();
        assert_eq!(rapl.source(), "RAPL package-0 + package-1 + dram");
        rapl.read(at(0.0)).unwrap();
        let folders = ["0", "0:0", "0:1", "1", "1:0", "1:1", "2", "2:0"];
        for (i, folder) in folders.iter().enumerate() {
            let microjoules = 10_u64.pow(i as u32) * 1_000_000;
            tree.write(
                &format!("sys/class/powercap/intel-rapl:{folder}/energy_uj"),
                &microjoules.to_string(),
            );
        }
        check_read(&mut rapl, 1.0, 1.0 + 100.0 + 1_000.0 + 100_000.0);
    }

    #[test]
    fn a_counter_that_turns_over_counts_on() {
        let (tree, mut rapl) = open_one(RANGE_UJ - 3_000_000);
        count(&tree, 2_000_000);
        check_read(&mut rapl, 1.0, 5.0);
        count(&tree, 3_000_000);
        check_read(&mut rapl, 2.0, 6.0);
    }

    #[test]
    fn a_counter_that_was_reset_counts_what_it_shows() {
        let (tree, mut rapl) = open_one(1_000_000);
        count(&tree, 500_000); // turning over would be 260 kJ in a second
        check_read(&mut rapl, 1.0, 0.5);
    }

    #[test]
    fn a_counter_that_jumped_back_counts_nothing_and_then_counts_on() {
        let (tree, mut rapl) = open_one(100_000_000_000);
        count(&tree, 99_999_000_000);
        check_read(&mut rapl, 1.0, 0.0);
        count(&tree, 100_000_000_000);
        check_read(&mut rapl, 2.0, 1.0);
        count(&tree, 99_000_000_000);
        check_read(&mut rapl, 1.0, 1.0); // time ran backwards too
    }

    #[test]
    fn a_failed_reading_loses_no_energy() {
        let (tree, mut rapl) = open_one(0);
        tree.write("sys/class/powercap/intel-rapl:0/energy_uj", "garbage");
        let error = rapl.read(at(1.0)).unwrap_err().to_string();
        assert!(error.ends_with(r#"holds "garbage", expected an energy counter, in microjoules"#), "{error}");
        count(&tree, 4_000_000);
        check_read(&mut rapl, 2.0, 4.0);
    }

    #[test]
    fn says_why_there_is_no_counter() {
        let tree = FakeTree::new();
        assert!(matches!(Rapl::open(&tree.sys()), Err(RaplUnavailable::Absent { .. })));
        tree.dir("sys/class/powercap/intel-rapl:0");
        assert!(matches!(Rapl::open(&tree.sys()), Err(RaplUnavailable::Masked { .. })));
        zone(&tree, "intel-rapl:0", "psys", "0");
        let Err(RaplUnavailable::NoPackage { zones, .. }) = Rapl::open(&tree.sys()) else {
            panic!("psys is no package");
        };
        assert_eq!(zones, ["psys"]);
        zone(&tree, "intel-rapl:0", "package-0", "-1");
        assert!(matches!(Rapl::open(&tree.sys()), Err(RaplUnavailable::Broken(DeviceError::Content { .. }))));
        tree.dir_in_place_of("sys/class/powercap/intel-rapl:0/energy_uj");
        assert!(matches!(Rapl::open(&tree.sys()), Err(RaplUnavailable::Broken(DeviceError::File { .. }))));
    }

    #[test]
    fn a_refused_counter_is_told_apart_and_says_how_to_grant_it() {
        // Root reads everything, so the refusal itself is made here.
        let refused = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = RaplUnavailable::from(system_file::failed("read", Path::new("/sys/energy_uj"), refused));
        assert!(matches!(error, RaplUnavailable::Denied(_)));
        assert!(error.to_string().contains("CAP_DAC_READ_SEARCH"), "{error}");
    }
}
