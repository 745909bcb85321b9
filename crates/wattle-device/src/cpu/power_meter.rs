//! How the energy of a CPU is told: by its counters, or else by an estimate.

use wattle_core::units::Joules;

use super::power_estimate::{CpuPowerEstimate, EstimatedEnergy};
use super::rapl::{Rapl, Ways};
use crate::device::{Access, DeviceInfo};

/// How the power of a CPU is known.
#[derive(Debug)]
pub enum CpuPowerSource<'a> {
    /// By its energy counters.
    Rapl,
    /// By an estimate, because the counters are not to be had.
    Estimate {
        /// Why not, way by way, with what would grant it.
        because: &'a str,
    },
}

/// What tells the energy of a CPU.
#[derive(Debug)]
pub(super) enum PowerMeter {
    /// Its counters.
    Rapl(Rapl),
    /// An estimate, and why it is no better.
    Estimate { energy: EstimatedEnergy, because: String },
}

/// From now on power is estimated, and `info` says so. Energy goes on from `energy`.
pub(super) fn estimated(
    info: &mut DeviceInfo,
    estimate: &CpuPowerEstimate,
    energy: Joules,
    because: String,
) -> PowerMeter {
    let provenance = estimate.provenance();
    let source = &provenance.source;
    tracing::warn!(device = %info.id, because, source, "power is estimated, not measured");
    info.idle_power = Some((estimate.idle_watts(), provenance.clone()));
    info.full_power = Some((estimate.full_watts(), provenance.clone()));
    info.power_provenance = provenance;
    PowerMeter::Estimate { energy: EstimatedEnergy::new(estimate.clone()).starting_at(energy), because }
}

/// Why no way leads to the energy counters.
pub(super) fn why_not(ways: &Ways) -> String {
    let tried = [("powercap", Some(&ways.powercap)), ("perf_event", ways.perf_event.as_ref())];
    let said = tried.into_iter().filter_map(|(way, access)| match access? {
        Access::Here(_) => None,
        Access::Absent { because } | Access::Failed { because } => Some(format!("{way}: {because}")),
        Access::Denied { because, fix } => Some(format!("{way}: {because}; to be let: {fix}")),
    });
    said.collect::<Vec<_>>().join("; ")
}
