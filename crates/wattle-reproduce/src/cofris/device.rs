//! The MI50 and its workloads by the analytic model: profiles, gated and not, and the power between requests.

use std::collections::BTreeMap;

use wattle_core::analytic::networks::{self, Network};
use wattle_core::analytic::{self, Grid};
use wattle_core::device_spec::{self, DeviceSpec};
use wattle_core::gating::{self, Gating};
use wattle_core::operating_point::{Confidence, OperatingPoint, ProfileRow};
use wattle_core::profile::{Conditions, Profile, ProfileHead};
use wattle_core::provenance::Basis;
use wattle_core::units::{Megahertz, Watts};

use super::broken;
use crate::ReproduceError;

/// The workloads of Table I, by the names of bundled networks.
pub(super) const NETWORKS: [&str; 8] = [
    "albert_base",
    "alexnet",
    "densenet201",
    "resnet152",
    "resnext101_32x8d",
    "shufflenet_v2",
    "squeezenet1_0",
    "vgg19",
];

/// The name of the device of the paper.
pub(super) const DEVICE: &str = "amd-mi50";

/// The device of the paper.
#[derive(Debug, Clone)]
pub(super) struct Board {
    spec: DeviceSpec,
    pub(super) clocks: Vec<Megahertz>,
    /// Numbers of active compute units that policies choose from.
    pub(super) units: Vec<u32>,
    /// Power between requests at each clock and number of units, for each kind of gating.
    clocked: BTreeMap<(u64, u32), Clocked>,
}

/// Power with everything that is on clocked and nothing to run, in watts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocked {
    pub(super) ungated: f64,
    pub(super) by_engine: f64,
    pub(super) by_unit: f64,
}

impl Board {
    /// The MI50 with `units` to choose from; all of them if empty.
    pub(super) fn new(units: &[u32]) -> Result<Self, ReproduceError> {
        let spec = device_spec::bundled(DEVICE).map_err(broken)?;
        let unknown = |key: &str| broken(format!("amd-mi50: {key} is unknown"));
        let clocks = spec.core_clocks_mhz.as_ref().ok_or_else(|| unknown("core_clocks_mhz"))?.value.clone();
        let all = spec.compute_units.as_ref().ok_or_else(|| unknown("compute_units"))?.value;
        let units = if units.is_empty() { (1..=all).collect() } else { units.to_vec() };
        let mut board = Self { spec, clocks, units, clocked: BTreeMap::new() };
        board.work_out_clocked()?;
        Ok(board)
    }

    /// Gates a profile of a device that runs nothing: what is left is the power between requests.
    fn work_out_clocked(&mut self) -> Result<(), ReproduceError> {
        let curve = self.spec.active_idle_power_watts.as_ref();
        let curve = curve.ok_or_else(|| broken("amd-mi50: active_idle_power_watts is unknown"))?;
        let mut rows = Vec::new();
        for clock in &self.clocks {
            let power =
                curve.value.at(*clock).ok_or_else(|| broken("a clock outside the active-idle curve"))?;
            rows.extend(self.units.iter().map(|units| running_nothing(*clock, *units, Watts::new(power))));
        }
        let head = ProfileHead {
            model: "nothing".into(),
            device: self.spec.title.clone(),
            runtime: "none".into(),
            idle_power_watts: None,
            request_overhead_ms: None,
            quality: None,
            power_source: "active-idle power of the device's file".into(),
            created: None,
            notes: None,
            conditions: Conditions::default(),
        };
        let ungated = Profile { head, rows };
        let (by_engine, by_unit) =
            (self.gated(&ungated, Gating::ShaderEngine)?, self.gated(&ungated, Gating::ComputeUnit)?);
        let watts = |row: &ProfileRow| row.power_watts_mean.map_or(0.0, Watts::get);
        for ((ungated, by_engine), by_unit) in ungated.rows.iter().zip(&by_engine.rows).zip(&by_unit.rows) {
            let [ungated_watts, by_engine, by_unit] = [ungated, by_engine, by_unit].map(watts);
            let clocked = Clocked { ungated: ungated_watts, by_engine, by_unit };
            self.clocked.insert(key(&ungated.point), clocked);
        }
        Ok(())
    }

    /// Power between requests at `clock` with `units`; `None` for a point that is not on the board's grid.
    pub(super) fn clocked(&self, clock: f64, units: u32) -> Option<Clocked> {
        self.clocked.get(&(clock.to_bits(), units)).copied()
    }

    /// Power between requests at full clock with all units.
    pub(super) fn fully_clocked(&self) -> Option<Clocked> {
        self.clocked(self.clocks.last()?.get(), *self.units.last()?)
    }

    /// The profile of `network` at every clock, number of units and batch size, with nothing gated.
    pub(super) fn profile(&self, network: &str, batch_sizes: &[u32]) -> Result<Profile, ReproduceError> {
        let network: Network = networks::bundled(network).map_err(broken)?;
        let grid = Grid {
            batch_sizes: batch_sizes.to_vec(),
            instances: vec![1],
            clocks: self.clocks.clone(),
            units: self.units.clone(),
        };
        analytic::profile(&self.spec, &network, &grid).map_err(broken)
    }

    pub(super) fn gated(&self, profile: &Profile, gating: Gating) -> Result<Profile, ReproduceError> {
        gating::apply(profile, &self.spec, gating).map_err(broken)
    }

    /// `profile`, ungated, with what a running batch adds to the clocked device as its power, and no idle
    /// power. Gating takes the same from both, so this part is the same however units are gated.
    pub(super) fn above_clocked(&self, profile: &Profile) -> Result<Profile, ReproduceError> {
        let mut above = profile.clone();
        above.head.idle_power_watts = Some(Watts::ZERO);
        for row in &mut above.rows {
            let clocked = self.clocked.get(&key(&row.point)).ok_or_else(|| broken("a row off the grid"))?;
            let less = |power: Watts| (power - Watts::new(clocked.ungated)).max(Watts::ZERO);
            row.power_watts_mean = row.power_watts_mean.map(less);
            row.power_watts_max = row.power_watts_max.map(less);
            row.energy_joules_per_row = None;
        }
        Ok(above)
    }
}

fn key(point: &OperatingPoint) -> (u64, u32) {
    (point.core_clock_mhz.map_or(0.0, Megahertz::get).to_bits(), point.compute_units.unwrap_or(0))
}

fn running_nothing(clock: Megahertz, units: u32, power: Watts) -> ProfileRow {
    ProfileRow {
        point: OperatingPoint {
            core_clock_mhz: Some(clock),
            compute_units: Some(units),
            ..OperatingPoint::of_batch_and_instances(1, 1)
        },
        throughput_rps: None,
        latency_ms_mean: None,
        latency_ms_p50: None,
        latency_ms_p95: None,
        latency_ms_p99: None,
        power_watts_mean: Some(power),
        power_watts_p95: None,
        power_watts_max: None,
        energy_joules_per_row: None,
        memory_bytes: None,
        basis: Basis::Assumed,
        power_basis: Basis::Assumed,
        samples: 0,
        confidence: Confidence::default(),
    }
}
