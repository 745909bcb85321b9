//! The power limit of the packages (RAPL's long-term limit), through the kernel's powercap files.
//!
//! A backstop: the hardware itself keeps the average power below it, over about a second, whatever the
//! software does. A limit of the machine goes to its packages in proportion to how far each turns.
//! Format: the kernel's `Documentation/power/powercap/powercap.rst`.

use std::path::{Path, PathBuf};

use wattle_core::id::DeviceId;
use wattle_core::knob::{DeviceKnob, KnobRange};
use wattle_core::units::Watts;

use super::super::system_file;
use super::powercap::{self, Zone};
use crate::device::{Access, DeviceError, KnobState};

/// The lowest limit as a share of the highest, where the kernel tells none. Assumed: the hardware takes
/// lower ones, but then crawls, and a backstop must not stop the machine.
const LOWEST_SHARE: f64 = 0.5;

/// A limit above this is a firmware's way to say that there is none.
const NO_LIMIT_UW: u64 = 2_000_000_000;

/// How far a limit may read back from what was set: the hardware's unit is at most an eighth of a watt
/// by default, and drivers round.
const READ_BACK_UW: u64 = 500_000;

/// The limits of all packages.
#[derive(Debug)]
pub(in super::super) struct PowerLimits {
    device: DeviceId,
    zones: Vec<LimitedZone>,
    may_turn: Access<()>,
}

/// The limit of one package. Microwatts, as in the files.
#[derive(Debug)]
struct LimitedZone {
    /// The name of its folder, such as `intel-rapl:0`.
    folder: String,
    limit: PathBuf,
    /// Whether the limit is in force; not every driver has it.
    enabled: Option<PathBuf>,
    min_uw: Option<u64>,
    max_uw: Option<u64>,
    /// What it stood at when it was opened.
    found_uw: u64,
}

impl PowerLimits {
    /// Finds the limits below `sys`, without turning any. `device` is whose limits these are, for errors.
    pub(in super::super) fn open(sys: &Path, device: DeviceId) -> Access<Self> {
        let zones = match powercap::zones(sys) {
            Access::Here(zones) => zones,
            Access::Absent { because } => return Access::Absent { because },
            Access::Denied { because, fix } => return Access::Denied { because, fix },
            Access::Failed { because } => return Access::Failed { because },
        };
        let mut limited = Vec::new();
        for zone in zones.iter().filter(|zone| zone.is_package()) {
            match LimitedZone::open(zone) {
                Ok(Some(zone)) => limited.push(zone),
                Ok(None) => {
                    let because = format!(
                        "{} ({}) has no constraint named long_term (AMD's have none)",
                        zone.folder.display(),
                        zone.name
                    );
                    return Access::Absent { because };
                }
                Err(error) => return system_file::no_access(&error),
            }
        }
        if limited.is_empty() {
            let because = format!("no RAPL zone in {} is of a package", powercap::class(sys).display());
            return Access::Absent { because };
        }
        let files = limited.iter().flat_map(|zone| [Some(&zone.limit), zone.enabled.as_ref()]).flatten();
        let writable = files.into_iter().try_for_each(|file| system_file::check_writable(file));
        Access::Here(Self { device, zones: limited, may_turn: system_file::access(writable) })
    }

    /// Whether this user may turn all of them.
    pub(in super::super) fn may_turn(&self) -> &Access<()> {
        &self.may_turn
    }

    /// How far the limit of all packages together turns, or why that isn't known.
    pub(in super::super) fn range(&self) -> Access<KnobRange> {
        let mut range = KnobRange { knob: DeviceKnob::PowerLimit, min: 0.0, max: 0.0, steps: Vec::new() };
        for zone in &self.zones {
            let Some((min_uw, max_uw)) = zone.range() else {
                let because = format!(
                    "{}: max_power_uw tells no highest limit, and the limit found, {} W, is none either",
                    zone.limit.display(),
                    watts(zone.found_uw)
                );
                return Access::Absent { because };
            };
            range.min += watts(min_uw);
            range.max += watts(max_uw);
        }
        Access::Here(range)
    }

    /// The files, and where the ends of the range come from, for people.
    pub(in super::super) fn source(&self) -> String {
        let limits: Vec<_> = self.zones.iter().map(|zone| zone.limit.display().to_string()).collect();
        let is_told =
            |told: fn(&LimitedZone) -> Option<u64>| self.zones.iter().all(|zone| told(zone).is_some());
        let highest = if is_told(|zone| zone.max_uw) { "max_power_uw" } else { "the limit as found" };
        let lowest =
            if is_told(|zone| zone.min_uw) { "min_power_uw" } else { "assumed, half of the highest" };
        format!("{} (highest: {highest}; lowest: {lowest})", limits.join(" + "))
    }

    /// The limits of all packages together, in watts; `None` where one of them has none in force.
    pub(in super::super) fn stands(&self) -> Result<Option<f64>, DeviceError> {
        let mut sum = 0.0;
        for zone in &self.zones {
            if zone.is_enabled()? == Some(false) {
                return Ok(None);
            }
            sum += watts(zone.read()?);
        }
        Ok(Some(sum))
    }

    /// Sets the limit of all packages together, puts it in force, and reads it back. Stops at the first
    /// package that fails: those before it keep the new limit until they are put back.
    pub(in super::super) fn set(&self, limit: Watts) -> Result<(), DeviceError> {
        let Access::Here(range) = self.range() else {
            return Err(DeviceError::Driver {
                device: self.device.clone(),
                action: "set the power limit".into(),
                said: "its range isn't known".into(),
                hint: "",
            });
        };
        let turned = range.max - range.min;
        let share = if turned > 0.0 { ((limit.get() - range.min) / turned).clamp(0.0, 1.0) } else { 1.0 };
        for zone in &self.zones {
            let Some((min_uw, max_uw)) = zone.range() else { continue };
            let wanted_uw = min_uw as f64 + share * (max_uw - min_uw) as f64;
            zone.set(wanted_uw.round() as u64, &self.device)?;
            zone.enable(true)?;
        }
        Ok(())
    }

    /// The limit of every package and whether it is in force, by the names of the files.
    pub(in super::super) fn state(&self) -> Result<KnobState, DeviceError> {
        let mut state = KnobState::default();
        for zone in &self.zones {
            state.0.insert(zone.key(LIMIT), zone.read()?.to_string());
            if let Some(is_enabled) = zone.is_enabled()? {
                state.0.insert(zone.key(ENABLED), u8::from(is_enabled).to_string());
            }
        }
        Ok(state)
    }

    /// Sets every file that `state` names. Tries all of them; tells the first failure.
    pub(in super::super) fn put_back(&self, state: &KnobState) -> Result<(), DeviceError> {
        let mut result = Ok(());
        for (key, value) in &state.0 {
            result = result.and(self.put_back_one(key, value));
        }
        result
    }

    fn put_back_one(&self, key: &str, value: &str) -> Result<(), DeviceError> {
        for zone in &self.zones {
            match value.parse() {
                Ok(limit_uw) if key == zone.key(LIMIT) => return zone.set(limit_uw, &self.device),
                Ok(is_on @ 0..=1) if key == zone.key(ENABLED) => {
                    return zone.enable(is_on == 1);
                }
                _ => {}
            }
        }
        Err(DeviceError::State {
            device: self.device.clone(),
            knob: DeviceKnob::PowerLimit,
            found: format!("{key} = {value:?}"),
            expected: "a zone of this machine, such as intel-rapl:0/limit_uw, and microwatts, or \
                       intel-rapl:0/enabled and 0 or 1",
        })
    }
}

const LIMIT: &str = "limit_uw";
const ENABLED: &str = "enabled";

impl LimitedZone {
    /// `None` where the zone has no long-term limit.
    fn open(zone: &Zone) -> Result<Option<Self>, DeviceError> {
        let file = |index: u32, what: &str| zone.folder.join(format!("constraint_{index}_{what}"));
        for index in 0.. {
            match system_file::read(&file(index, "name")) {
                Ok(name) if name != "long_term" => {}
                Err(error) if system_file::is_missing(&error) => return Ok(None),
                Err(error) => return Err(error),
                Ok(_) => {
                    let limit = file(index, "power_limit_uw");
                    let enabled = zone.folder.join(ENABLED);
                    let told = |what| {
                        let told = system_file::read_number_if_any(&file(index, what), "microwatts")?;
                        Ok(told.filter(|uw| *uw > 0)) // 0: the hardware doesn't tell
                    };
                    let zone = Self {
                        folder: zone.folder_name(),
                        min_uw: told("min_power_uw")?,
                        max_uw: told("max_power_uw")?,
                        found_uw: system_file::read_number(&limit, "microwatts")?,
                        enabled: enabled.exists().then_some(enabled),
                        limit,
                    };
                    zone.is_enabled()?;
                    return Ok(Some(zone));
                }
            }
        }
        Ok(None)
    }

    /// The lowest and highest limit; `None` where no highest is known. Where the hardware tells none it
    /// is the limit as found: that one is known to be taken.
    fn range(&self) -> Option<(u64, u64)> {
        let found_uw = Some(self.found_uw).filter(|uw| (1..=NO_LIMIT_UW).contains(uw));
        let max_uw = self.max_uw.or(found_uw)?;
        let min_uw = self.min_uw.unwrap_or((max_uw as f64 * LOWEST_SHARE).round() as u64);
        Some((min_uw.min(max_uw), max_uw))
    }

    fn key(&self, what: &str) -> String {
        format!("{}/{what}", self.folder)
    }

    fn read(&self) -> Result<u64, DeviceError> {
        system_file::read_number(&self.limit, "microwatts")
    }

    fn is_enabled(&self) -> Result<Option<bool>, DeviceError> {
        let Some(enabled) = &self.enabled else { return Ok(None) };
        match system_file::read_number(enabled, "0 or 1")? {
            found @ 0..=1 => Ok(Some(found == 1)),
            found => Err(system_file::unexpected(enabled, &found.to_string(), "0 or 1")),
        }
    }

    /// Sets the limit and reads it back.
    fn set(&self, wanted_uw: u64, device: &DeviceId) -> Result<(), DeviceError> {
        system_file::write(&self.limit, &wanted_uw.to_string())?;
        let found_uw = self.read()?;
        if found_uw.abs_diff(wanted_uw) <= READ_BACK_UW {
            return Ok(());
        }
        Err(read_back(device, watts(wanted_uw), watts(found_uw)))
    }

    /// Puts the limit in force or not, where it isn't so already, and reads that back.
    fn enable(&self, wanted: bool) -> Result<(), DeviceError> {
        let Some(enabled) = &self.enabled else { return Ok(()) };
        if self.is_enabled()? == Some(wanted) {
            return Ok(());
        }
        system_file::write(enabled, if wanted { "1" } else { "0" })?;
        if self.is_enabled()? == Some(wanted) {
            return Ok(());
        }
        Err(system_file::unexpected(
            enabled,
            if wanted { "0" } else { "1" },
            "a limit that can be put in and out of force",
        ))
    }
}

fn read_back(device: &DeviceId, wanted: f64, found: f64) -> DeviceError {
    DeviceError::ReadBack { device: device.clone(), knob: DeviceKnob::PowerLimit, wanted, found }
}

fn watts(microwatts: u64) -> f64 {
    microwatts as f64 * 1e-6
}

#[cfg(test)]
pub(in super::super) mod tests;
