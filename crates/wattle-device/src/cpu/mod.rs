//! The CPU of this machine, as a device: its power and two knobs, cores in use and core clock.
//!
//! Power is measured by the CPU's own energy counters where they can be read, and estimated from
//! utilisation where not; which of the two, and why, is said by [`CpuDevice::power_source`].

mod core_budget;
mod cpufreq;
mod power_estimate;
mod rapl;
mod system_file;
mod utilization;

#[cfg(test)]
pub(crate) mod fake_tree;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use wattle_core::id::DeviceId;
use wattle_core::knob::{DeviceKnob, DeviceSetting, KnobRange};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::time::Timestamp;
use wattle_core::units::Joules;

use self::cpufreq::CpuFreq;
use self::power_estimate::EstimatedEnergy;
use self::rapl::Rapl;
use self::utilization::UtilizationMeter;
use crate::device::{Access, Device, DeviceError, DeviceInfo, Inspection, KnobState, Reading, SensorView};

pub use self::core_budget::{CoreBudget, CoreGrant};
pub use self::cpufreq::CpuFreqUnavailable;
pub use self::power_estimate::{CpuPowerEstimate, CpuPowerEstimateError};
pub use self::rapl::RaplUnavailable;

/// Where the kernel shows its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuRoots {
    /// Usually `/sys`.
    pub sys: PathBuf,
    /// Usually `/proc`.
    pub proc: PathBuf,
}

impl Default for CpuRoots {
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into() }
    }
}

/// The CPU of this machine.
#[derive(Debug)]
pub struct CpuDevice {
    info: DeviceInfo,
    power: PowerMeter,
    utilization: UtilizationMeter,
    clock: Result<CpuFreq, CpuFreqUnavailable>,
    budget: Arc<CoreBudget>,
}

/// How the power of a CPU is known.
#[derive(Debug)]
pub enum CpuPowerSource<'a> {
    /// By its energy counters.
    Rapl,
    /// By an estimate, because the counters are not to be had.
    Estimate {
        /// Why not.
        because: &'a RaplUnavailable,
    },
}

#[derive(Debug)]
enum PowerMeter {
    Rapl(Rapl),
    Estimate { energy: EstimatedEnergy, because: RaplUnavailable },
}

impl CpuDevice {
    /// Opens the CPU whose files are below `roots`. `budget` is the thread budget that its knob
    /// "compute units" turns. `estimate` is used where there are no energy counters; where it is
    /// `None`, that of an average server with this machine's logical cores.
    ///
    /// Warns, once, where power is estimated or where the user lacks the permission to turn the clock.
    ///
    /// # Errors
    /// Where even the tick counts of the kernel can't be read.
    pub fn new(
        id: DeviceId,
        roots: &CpuRoots,
        estimate: Option<CpuPowerEstimate>,
        budget: Arc<CoreBudget>,
    ) -> Result<Self, DeviceError> {
        let utilization = UtilizationMeter::open(&roots.proc)?;
        let logical_cores = utilization.logical_cores();
        let clock = CpuFreq::open(&roots.sys, id.clone());
        let mut knobs = vec![KnobRange {
            knob: DeviceKnob::ComputeUnits,
            min: 1.0,
            max: f64::from(budget.total()),
            steps: Vec::new(),
        }];
        match &clock {
            Ok(clock) => knobs.push(clock.range()),
            Err(CpuFreqUnavailable::Absent { .. }) => {}
            Err(because) => tracing::warn!(device = %id, %because, "the core clock can't be turned"),
        }
        let mut info = DeviceInfo {
            description: description(roots, logical_cores),
            id,
            knobs,
            power_provenance: Provenance::new(Basis::Measured, ""),
            idle_power: None,
            full_power: None,
        };
        let power = match Rapl::open(&roots.sys) {
            Ok(rapl) => {
                info.power_provenance.source = rapl.source();
                PowerMeter::Rapl(rapl)
            }
            Err(because) => {
                let estimate = estimate.unwrap_or_else(|| CpuPowerEstimate::of_logical_cores(logical_cores));
                let provenance = estimate.provenance();
                let source = &provenance.source;
                tracing::warn!(device = %info.id, %because, %source, "power is estimated, not measured");
                info.idle_power = Some((estimate.idle_watts(), provenance.clone()));
                info.full_power = Some((estimate.full_watts(), provenance.clone()));
                info.power_provenance = provenance;
                PowerMeter::Estimate { energy: EstimatedEnergy::new(estimate), because }
            }
        };
        Ok(Self { info, power, utilization, clock, budget })
    }

    /// How power is known, and why not better.
    pub fn power_source(&self) -> CpuPowerSource<'_> {
        match &self.power {
            PowerMeter::Rapl(_) => CpuPowerSource::Rapl,
            PowerMeter::Estimate { because, .. } => CpuPowerSource::Estimate { because },
        }
    }

    /// Why the core clock is not among the knobs; `None` where it is.
    pub fn clock_unavailable(&self) -> Option<&CpuFreqUnavailable> {
        self.clock.as_ref().err()
    }
}

impl Device for CpuDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Usage is that of the last window of at least 50 ms: readings closer together tell it again.
    fn read(&mut self, now: Timestamp) -> Result<Reading, DeviceError> {
        let window = self.utilization.sample(now)?;
        let (energy, power) = match &mut self.power {
            // The counters tell energy only; power is for the reader to divide.
            PowerMeter::Rapl(rapl) => (rapl.read(now)?, None),
            PowerMeter::Estimate { energy, .. } => {
                (energy.advance(now, window.map(|usage| usage.utilization)), energy.power())
            }
        };
        let usage = self.utilization.last();
        Ok(Reading {
            at: now,
            energy: Some(energy),
            power,
            own_share: usage.and_then(|usage| usage.own_share),
            utilization: usage.map(|usage| usage.utilization),
        })
    }

    fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
        match (setting, &self.clock) {
            (DeviceSetting::CoreClock(limit), Ok(clock)) => clock.set_max(limit),
            (DeviceSetting::ComputeUnits(cores), _) => {
                self.budget.set_limit(cores);
                Ok(())
            }
            (DeviceSetting::CoreClock(_) | DeviceSetting::PowerLimit(_), _) => {
                Err(self.info.no_such_knob(setting.knob()))
            }
        }
    }

    fn knob_state(&mut self, knob: DeviceKnob) -> Result<KnobState, DeviceError> {
        match (knob, &self.clock) {
            (DeviceKnob::CoreClock, Ok(clock)) => clock.state(),
            // The budget is this process's own: it ends with it, and there is nothing to record.
            _ => Ok(KnobState::default()),
        }
    }

    fn put_back(&mut self, knob: DeviceKnob, state: &KnobState) -> Result<(), DeviceError> {
        match (knob, &self.clock) {
            (DeviceKnob::ComputeUnits, _) => {
                self.budget.set_limit(self.budget.total());
                Ok(())
            }
            (DeviceKnob::CoreClock, Ok(clock)) => clock.put_back(state),
            (DeviceKnob::CoreClock | DeviceKnob::PowerLimit, _) => Err(self.info.no_such_knob(knob)),
        }
    }

    fn inspect(&mut self, now: Timestamp) -> Inspection {
        let reading = self.read(now);
        let mut inspection = Inspection::default();
        let mut sensor = |name, unit, reading| {
            let source = self.info.power_provenance.source.clone();
            inspection.sensors.push(SensorView { name, unit, source, reading });
        };
        match reading {
            Ok(reading) => {
                let because = || "the first reading starts it".to_owned();
                let access = |value: Option<f64>| {
                    value.map_or_else(|| Access::Absent { because: because() }, Access::Here)
                };
                sensor("energy", "J", access(reading.energy.map(Joules::get)));
                sensor("utilization", "share", access(reading.utilization));
            }
            Err(error) => sensor("energy", "J", Access::Failed { because: error.to_string() }),
        }
        inspection
    }
}

/// The model as `/proc/cpuinfo` names it. ARM names none, and a name is not worth failing for.
fn description(roots: &CpuRoots, logical_cores: u32) -> String {
    let text = system_file::read(&roots.proc.join("cpuinfo")).unwrap_or_default();
    let model = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim())
    });
    format!("{}, {logical_cores} logical cores", model.unwrap_or("CPU that doesn't tell its model"))
}
