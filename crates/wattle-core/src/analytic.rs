//! Profiles of devices that nobody measured here, modelled from datasheets.
//!
//! ```text
//! device's part of a batch  max(compute, memory)
//!   compute   2 x MACs x b / (peak x 0.45 x f/f_boost x units at work / units)
//!   memory    (weights + b x activations) / (bandwidth x 0.8), slower while few units are at work
//!   units at work   1 / (1/u + 1/tiles), tiles = b x parallelism / 4096
//!   peak            of 16-bit values, or of 32-bit ones: TF32 where the device has it
//! host's part               operators x 11 us + input over the link
//! m instances               m batches in (host + device), until device or link is always busy
//! memory                    m x (weights + context + b x largest layer), must fit
//! power while a batch runs  clocked(f) + (limit - clocked(f_boost)) x f/f_boost x (V/V_boost)^2
//!                           x share of units that compute + bytes per second x energy of a byte
//! mean power                clocked(f) + (power while a batch runs - clocked(f)) x share of time that one runs
//! ```
//!
//! A board over its limit lowers its clock until it is under it. Every row is modelled and the head
//! of the profile lists all that it rests on. It is a starting point for replays and for a search,
//! good for shapes and within a factor of two or three for levels; it stands in for no measurement.

pub mod assumptions;
pub mod networks;
mod power;
mod slice;
#[cfg(test)]
mod tests;
mod timing;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::device_spec::DeviceSpec;
use crate::operating_point::{Confidence, OperatingPoint, ProfileRow};
use crate::profile::{Conditions, Profile, ProfileHead};
use crate::provenance::Basis;
use crate::units::{Joules, Megahertz, Watts};
use networks::Network;
use power::Power;
pub use slice::profile_on_slice;
use timing::{BatchTime, Speed, known};

/// Halvings when looking for the clock at which a board is just under its limit.
const THROTTLE_STEPS: u32 = 40;

/// The points to model: every combination. `clocks` or `units` empty: that knob at its default,
/// which is the boost clock and all units.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Batch sizes, `b`.
    pub batch_sizes: Vec<u32>,
    /// Numbers of instances, `m`.
    pub instances: Vec<u32>,
    /// Core clocks, `f`.
    #[serde(default)]
    pub clocks: Vec<Megahertz>,
    /// Compute units in use, `u`.
    #[serde(default)]
    pub units: Vec<u32>,
}

/// A profile that can't be modelled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AnalyticError {
    /// The device lacks a figure that the model needs.
    #[error("device {device}: {key} is unknown, but the analytic model needs it; add it with its source")]
    Unknown {
        /// The device.
        device: String,
        /// The key of its file.
        key: &'static str,
    },
    /// The grid asks for a point that the device doesn't have.
    #[error("{knob} of the grid: found {found}, expected {expected}")]
    Grid {
        /// Which list of the grid.
        knob: &'static str,
        /// What stands there.
        found: String,
        /// What could stand there.
        expected: String,
    },
}

/// The profile of `network` on the device of `spec` at every point of `grid` that fits its memory.
///
/// Power figures are unknown where the device's file lacks what they need.
pub fn profile(spec: &DeviceSpec, network: &Network, grid: &Grid) -> Result<Profile, AnalyticError> {
    Model::new(spec, network)?.profile(grid, None)
}

/// The values of a knob, or its default alone.
fn options<T: Copy>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() { vec![None] } else { values.iter().copied().map(Some).collect() }
}

/// One network on one device.
struct Model<'a> {
    spec: &'a DeviceSpec,
    network: &'a Network,
    speed: Speed,
    power: Option<Power<'a>>,
    memory_bytes: u64,
    context_bytes: f64,
    lowest_clock: Option<Megahertz>,
}

impl<'a> Model<'a> {
    fn new(spec: &'a DeviceSpec, network: &'a Network) -> Result<Self, AnalyticError> {
        let speed = Speed::of(spec, network.precision)?;
        let context = spec.context_memory_bytes.as_ref().map(|context| context.value as f64);
        Ok(Self {
            spec,
            network,
            speed,
            power: Power::of(spec, speed.units, speed.boost_clock),
            memory_bytes: known(spec, &spec.memory_bytes, "memory_bytes")?,
            context_bytes: context.unwrap_or(assumptions::CONTEXT_BYTES.value),
            lowest_clock: spec.core_clocks_mhz.as_ref().and_then(|clocks| clocks.value.first().copied()),
        })
    }

    /// The profile at every point of `grid` that fits; `partition` names the slice it is of.
    fn profile(&self, grid: &Grid, partition: Option<&str>) -> Result<Profile, AnalyticError> {
        self.check(grid)?;
        let mut rows = Vec::new();
        let mut throttled = 0_usize;
        for unit in options(&grid.units) {
            for clock in options(&grid.clocks) {
                for &instances in &grid.instances {
                    for &batch_size in &grid.batch_sizes {
                        let point = OperatingPoint {
                            core_clock_mhz: clock,
                            compute_units: unit,
                            partition: partition.map(str::to_owned),
                            ..OperatingPoint::of_batch_and_instances(batch_size, instances)
                        };
                        let Some((row, is_throttled)) = self.row(point) else { continue };
                        throttled += usize::from(is_throttled);
                        rows.push(row);
                    }
                }
            }
        }
        Ok(Profile { head: self.head(rows.len(), throttled), rows })
    }

    /// Whether the device has every point of `grid`.
    fn check(&self, grid: &Grid) -> Result<(), AnalyticError> {
        let wrong =
            |knob, found: String, expected: String| Err(AnalyticError::Grid { knob, found, expected });
        for (knob, values) in [("batch_sizes", &grid.batch_sizes), ("instances", &grid.instances)] {
            if values.is_empty() || values.contains(&0) {
                return wrong(knob, format!("{values:?}"), "numbers of at least 1".into());
            }
        }
        let (low, high) = (self.lowest_clock.unwrap_or(Megahertz::ZERO), self.speed.boost_clock);
        for &clock in &grid.clocks {
            if !(clock >= low && clock <= high && clock > Megahertz::ZERO) {
                return wrong("clocks", clock.to_string(), format!("{low} to {high}"));
            }
        }
        for &units in &grid.units {
            if units == 0 || units > self.speed.units {
                return wrong("units", units.to_string(), format!("1 to {}", self.speed.units));
            }
        }
        Ok(())
    }

    /// The row at `point`, and whether the board's limit holds it back; `None` when it does not fit.
    fn row(&self, point: OperatingPoint) -> Option<(ProfileRow, bool)> {
        let memory = self.memory(&point);
        if memory > self.memory_bytes as f64 {
            return None;
        }
        let asked = point.core_clock_mhz.unwrap_or(self.speed.boost_clock);
        let clock = self.held_clock(&point, asked);
        let batch = self.batch(&point, clock);
        let batches = batch.batches_per_second(point.instances);
        let rows = batches * f64::from(point.batch_size);
        let busy_share = (batches * batch.device()).min(1.0);
        let mut is_held = clock < asked;
        let powers = self.power.as_ref().and_then(|power| {
            // Where even the lowest clock is over the limit, the limit still holds.
            let unlimited = power.busy(&batch, clock)?;
            is_held |= unlimited > power.limit;
            let busy = unlimited.min(power.limit);
            // A gap between two batches is too short for the clocks to fall.
            let between = power.clocked(clock)?.min(busy);
            Some(((between + (busy - between) * busy_share).min(busy), busy))
        });
        let mean: Option<Watts> = powers.map(|(mean, _)| mean);
        let row = ProfileRow {
            throughput_rps: Some(rows),
            latency_ms_mean: Some(f64::from(point.instances) / batches * 1e3),
            latency_ms_p50: None,
            latency_ms_p95: None,
            latency_ms_p99: None,
            power_watts_mean: mean,
            power_watts_p95: None,
            power_watts_max: powers.map(|(_, busy)| busy),
            energy_joules_per_row: mean.map(|mean| Joules::new(mean.get() / rows)),
            memory_bytes: Some(memory as u64),
            basis: Basis::Modelled,
            power_basis: Basis::Modelled,
            samples: 0,
            point,
            confidence: Confidence::default(),
        };
        Some((row, is_held))
    }

    /// Memory of the device at `point`, in bytes. Each instance is a process of its own.
    fn memory(&self, point: &OperatingPoint) -> f64 {
        let values = self.network.parameters + f64::from(point.batch_size) * self.network.peak_values_per_row;
        f64::from(point.instances) * (self.context_bytes + values * self.network.precision.bytes())
    }

    fn batch(&self, point: &OperatingPoint, clock: Megahertz) -> BatchTime {
        let units = point.compute_units.unwrap_or(self.speed.units);
        BatchTime::of(&self.speed, self.network, point.batch_size, units, clock)
    }

    /// The clock that the board runs at when asked for `asked`: lower while it would be over its limit.
    fn held_clock(&self, point: &OperatingPoint, asked: Megahertz) -> Megahertz {
        let Some(power) = &self.power else { return asked };
        let is_over =
            |clock| power.busy(&self.batch(point, clock), clock).is_some_and(|busy| busy > power.limit);
        if !is_over(asked) {
            return asked;
        }
        let mut under = self.lowest_clock.unwrap_or(asked).min(asked);
        let mut over = asked;
        for _ in 0..THROTTLE_STEPS {
            let middle = (under + over) / 2.0;
            if is_over(middle) { over = middle } else { under = middle }
        }
        under
    }

    fn head(&self, rows: usize, throttled: usize) -> ProfileHead {
        let mut notes = format!(
            "Modelled, not measured: no figure here was read from a sensor. Network ({}): {}. Of {rows} \
             rows, {throttled} are held back by the board's limit. Assumptions:",
            self.network.basis, self.network.source,
        );
        for assumption in assumptions::ALL {
            let _ = write!(notes, "\n{} = {} ({})", assumption.name, assumption.value, assumption.source);
        }
        notes.push_str("\nDevice:");
        for (key, figure) in figures_used(self.spec) {
            let _ = match figure {
                Some((basis, source)) => write!(notes, "\n{key}: {basis}, {source}"),
                None => write!(notes, "\n{key}: unknown"),
            };
        }
        let _ = write!(notes, "\nThe worst of all that this rests on: {}.", basis(self.spec, self.network));
        let idle = self.power.as_ref().map(|power| power.at_rest);
        ProfileHead {
            model: self.network.name.as_str().into(),
            device: self.spec.title.clone(),
            runtime: format!("none: analytic model of wattle {}", env!("CARGO_PKG_VERSION")),
            idle_power_watts: idle,
            request_overhead_ms: None,
            quality: None,
            power_source: "analytic model from datasheet figures".to_owned(),
            created: None,
            notes: Some(notes),
            conditions: Conditions::default(),
        }
    }
}

/// How well a profile of `network` on the device of `spec` is known: the worst of the figures of both that
/// the model uses, and of its constants. Its rows are computed, so it is modelled at best.
pub fn basis(spec: &DeviceSpec, network: &Network) -> Basis {
    let of_device = figures_used(spec).into_iter().filter_map(|(_, figure)| Some(figure?.0));
    of_device.fold(network.basis.max(assumptions::BASIS).max(Basis::Modelled), Basis::max)
}

/// A figure's key, and how it is known and from where; `None` where it is unknown.
type Known<'a> = (&'static str, Option<(Basis, &'a str)>);

/// The figures of a device that the model uses.
fn figures_used(spec: &DeviceSpec) -> Vec<Known<'_>> {
    macro_rules! figures {
        ($($key:ident),*) => {
            vec![$((
                stringify!($key),
                spec.$key.as_ref().map(|figure| (figure.basis, figure.source.as_str())),
            )),*]
        };
    }
    figures!(
        compute_units,
        memory_bytes,
        memory_bandwidth_bytes_per_second,
        memory_energy_picojoules_per_bit,
        host_link_bytes_per_second,
        peak_flops_fp32,
        peak_flops_tf32,
        peak_flops_fp16,
        boost_clock_mhz,
        idle_power_watts,
        loaded_idle_power_watts,
        max_power_watts,
        static_power_watts,
        active_idle_power_watts,
        core_voltage_millivolts,
        context_memory_bytes
    )
}
