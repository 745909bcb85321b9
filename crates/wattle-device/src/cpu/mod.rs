//! The CPU of this machine, as a device: its power, and its knobs: cores in use, core clock, power limit.
//!
//! Power is measured by the CPU's own energy counters where they can be read, and estimated from
//! utilisation where not; which of the two, and why, is said by [`CpuDevice::power_source`].

mod core_budget;
mod cpufreq;
mod cstates;
mod inspect;
mod power_estimate;
mod power_meter;
mod rapl;
mod system_file;
mod topology;
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
use self::cstates::IdleStates;
use self::power_meter::{PowerMeter, estimated, why_not};
use self::rapl::limit::PowerLimits;
use self::rapl::perf_event::{self, OpenEvent};
use self::rapl::{Rapl, Ways};
use self::utilization::UtilizationMeter;
use crate::device::{Access, Device, DeviceError, DeviceInfo, Inspection, KnobState, Reading};

pub use self::core_budget::{CoreBudget, CoreGrant};
pub use self::power_estimate::{CpuPowerEstimate, CpuPowerEstimateError};
pub use self::power_meter::CpuPowerSource;
pub use self::topology::{LogicalCpu, Topology};

/// The name of the one CPU device of a machine.
const ID: &str = "cpu";

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
    roots: CpuRoots,
    power: PowerMeter,
    ways: Ways,
    /// Used where, or once, the counters are of no use.
    estimate: CpuPowerEstimate,
    utilization: UtilizationMeter,
    clock: Access<CpuFreq>,
    limit: Access<PowerLimits>,
    budget: Arc<CoreBudget>,
    idle_states: IdleStates,
    /// When it was last inspected, and the energy then.
    inspected: Option<(Timestamp, Joules)>,
}

/// The CPU of this machine: one device, however many packages it has. As [`CpuDevice::new`].
pub fn open_all(
    roots: &CpuRoots,
    estimate: Option<CpuPowerEstimate>,
    budget: &Arc<CoreBudget>,
) -> Access<Vec<CpuDevice>> {
    match CpuDevice::new(ID.into(), roots, estimate, Arc::clone(budget)) {
        Ok(device) => Access::Here(vec![device]),
        Err(error) => Access::Failed { because: error.to_string() },
    }
}

impl CpuDevice {
    /// Opens the CPU whose files are below `roots`. `budget` is the thread budget that its knob
    /// "compute units" turns. `estimate` is used where there are no energy counters, or where they turn
    /// out to stand still; where it is `None`, that of an average server with this machine's logical
    /// cores.
    ///
    /// Warns, once, where power is estimated or where the user lacks the permission to turn a knob.
    ///
    /// # Errors
    /// Where even the tick counts of the kernel can't be read.
    pub fn new(
        id: DeviceId,
        roots: &CpuRoots,
        estimate: Option<CpuPowerEstimate>,
        budget: Arc<CoreBudget>,
    ) -> Result<Self, DeviceError> {
        Self::with_events(id, roots, estimate, budget, &perf_event::in_kernel)
    }

    /// As [`new`](Self::new), with perf events opened by `open_event`.
    fn with_events(
        id: DeviceId,
        roots: &CpuRoots,
        estimate: Option<CpuPowerEstimate>,
        budget: Arc<CoreBudget>,
        open_event: &OpenEvent,
    ) -> Result<Self, DeviceError> {
        let utilization = UtilizationMeter::open(&roots.proc)?;
        let logical_cores = utilization.logical_cores();
        let estimate = estimate.unwrap_or_else(|| CpuPowerEstimate::of_logical_cores(logical_cores));
        let clock = CpuFreq::open(&roots.sys, id.clone());
        let limit = PowerLimits::open(&roots.sys, id.clone());
        let cores = KnobRange {
            knob: DeviceKnob::ComputeUnits,
            min: 1.0,
            max: f64::from(budget.total()),
            steps: Vec::new(),
        };
        let mut info = DeviceInfo {
            description: description(roots, logical_cores),
            id,
            knobs: vec![cores],
            power_provenance: Provenance::new(Basis::Measured, ""),
            idle_power: None,
            full_power: None,
        };
        for (knob, range) in [
            (DeviceKnob::CoreClock, turnable_clock(&clock)),
            (DeviceKnob::PowerLimit, turnable_limit(&limit)),
        ] {
            match range {
                Access::Here(range) => info.knobs.push(range),
                Access::Absent { .. } => {}
                Access::Denied { because, fix } => {
                    tracing::warn!(device = %info.id, ?knob, because, fix, "a knob can't be turned");
                }
                Access::Failed { because } => {
                    tracing::warn!(device = %info.id, ?knob, because, "a knob can't be turned");
                }
            }
        }
        let (rapl, ways) = Rapl::open(&roots.sys, open_event);
        let power = match rapl {
            Some(rapl) => {
                info.power_provenance.source = rapl.source();
                PowerMeter::Rapl(rapl)
            }
            None => estimated(&mut info, &estimate, Joules::ZERO, why_not(&ways)),
        };
        Ok(Self {
            info,
            roots: roots.clone(),
            power,
            ways,
            estimate,
            utilization,
            clock,
            limit,
            budget,
            idle_states: IdleStates::default(),
            inspected: None,
        })
    }

    /// How power is known, and why not better.
    pub fn power_source(&self) -> CpuPowerSource<'_> {
        match &self.power {
            PowerMeter::Rapl(_) => CpuPowerSource::Rapl,
            PowerMeter::Estimate { because, .. } => CpuPowerSource::Estimate { because },
        }
    }

    /// The clock and the limit, where this user may turn them.
    fn turnable(&self, knob: DeviceKnob) -> Result<(), DeviceError> {
        if self.info.range(knob).is_some() { Ok(()) } else { Err(self.info.no_such_knob(knob)) }
    }
}

/// How far the clock turns, where this user may turn it.
fn turnable_clock(clock: &Access<CpuFreq>) -> Access<KnobRange> {
    and_then(clock, |clock| and_then(clock.may_turn(), |()| Access::Here(clock.range())))
}

/// How far the limit turns, where this user may turn it.
fn turnable_limit(limit: &Access<PowerLimits>) -> Access<KnobRange> {
    and_then(limit, |limit| and_then(limit.may_turn(), |()| limit.range()))
}

/// What can be had is made into something else, or found not to be had after all.
fn and_then<T, U>(access: &Access<T>, next: impl FnOnce(&T) -> Access<U>) -> Access<U> {
    match access {
        Access::Here(value) => next(value),
        Access::Absent { because } => Access::Absent { because: because.clone() },
        Access::Denied { because, fix } => Access::Denied { because: because.clone(), fix: fix.clone() },
        Access::Failed { because } => Access::Failed { because: because.clone() },
    }
}

impl Device for CpuDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Usage is that of the last window of at least 50 ms: readings closer together tell it again. Where
    /// the energy counters turn out to stand still, energy goes on by the estimate, and `info` tells so.
    fn read(&mut self, now: Timestamp) -> Result<Reading, DeviceError> {
        let window = self.utilization.sample(now)?;
        let (energy, power) = match &mut self.power {
            // The counters tell energy only; power is for the reader to divide.
            PowerMeter::Rapl(rapl) => (rapl.read(now)?, None),
            PowerMeter::Estimate { energy, .. } => {
                (energy.advance(now, window.map(|usage| usage.utilization)), energy.power())
            }
        };
        if let PowerMeter::Rapl(rapl) = &self.power
            && let Some(because) = rapl.stuck()
        {
            self.power = estimated(&mut self.info, &self.estimate, energy, because);
            if let PowerMeter::Estimate { energy, .. } = &mut self.power {
                energy.advance(now, None); // its first window starts now
            }
        }
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
        self.turnable(setting.knob())?;
        match (setting, &self.clock, &self.limit) {
            (DeviceSetting::CoreClock(highest), Access::Here(clock), _) => clock.set_max(highest),
            (DeviceSetting::PowerLimit(watts), _, Access::Here(limit)) => limit.set(watts),
            (DeviceSetting::ComputeUnits(cores), ..) => {
                self.budget.set_limit(cores);
                Ok(())
            }
            _ => Err(self.info.no_such_knob(setting.knob())),
        }
    }

    fn knob_state(&mut self, knob: DeviceKnob) -> Result<KnobState, DeviceError> {
        match (knob, &self.clock, &self.limit) {
            (DeviceKnob::CoreClock, Access::Here(clock), _) => clock.state(),
            (DeviceKnob::PowerLimit, _, Access::Here(limit)) => limit.state(),
            // The budget is this process's own: it ends with it, and there is nothing to record.
            (DeviceKnob::ComputeUnits, ..) => Ok(KnobState::default()),
            _ => Err(self.info.no_such_knob(knob)),
        }
    }

    fn put_back(&mut self, knob: DeviceKnob, state: &KnobState) -> Result<(), DeviceError> {
        match (knob, &self.clock, &self.limit) {
            (DeviceKnob::ComputeUnits, ..) => {
                self.budget.set_limit(self.budget.total());
                Ok(())
            }
            (DeviceKnob::CoreClock, Access::Here(clock), _) => clock.put_back(state),
            (DeviceKnob::PowerLimit, _, Access::Here(limit)) => limit.put_back(state),
            _ => Err(self.info.no_such_knob(knob)),
        }
    }

    fn inspect(&mut self, now: Timestamp) -> Inspection {
        inspect::inspect(self, now)
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
