//! What power gating of idle compute units would save: CoFRIS's model (Chow and Wong, section II-B).
//!
//! Masking compute units gates no power on the boards that exist. So the saving is modelled: each
//! unit that is gated spares the power that a clocked unit with nothing to do draws,
//! `CU_ActiveIdle(f) = (GPU_ActiveIdle(f) - GPU_Idle) / N_CU`. Every profile that comes from here
//! says so.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::device_spec::{Curve, DeviceSpec};
use crate::operating_point::ProfileRow;
use crate::profile::Profile;
use crate::provenance::Basis;
use crate::units::{Megahertz, Watts};

/// What is switched off when it has nothing to run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gating {
    /// Nothing: what real boards do.
    #[default]
    #[serde(rename = "none")]
    None,
    /// Each compute unit that is not in use.
    #[serde(rename = "cu")]
    ComputeUnit,
    /// Shader engines of which no compute unit is in use.
    #[serde(rename = "se")]
    ShaderEngine,
}

/// A profile or device that can't be gated. Rows count from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GatingError {
    /// The device lacks a figure.
    #[error("device {device}: {key} is unknown, but gating needs it; add it with its source")]
    Unknown {
        /// The device.
        device: String,
        /// The key of its file.
        key: &'static str,
    },
    /// A row doesn't tell where a knob stood.
    #[error("row {row}: found no {column}, expected one; profile the model with {column} set")]
    NotTold {
        /// The row.
        row: usize,
        /// The column.
        column: &'static str,
    },
    /// The clock of a row is not one that the active-idle curve covers.
    #[error("row {row}: found {clock}, expected {low} to {high}, which active_idle_power_watts covers")]
    Clock {
        /// The row.
        row: usize,
        /// Its clock.
        clock: Megahertz,
        /// Lowest clock of the curve.
        low: Megahertz,
        /// Highest clock of the curve.
        high: Megahertz,
    },
    /// A row uses more units than there are.
    #[error("row {row}: found {found} compute units, expected at most {units}; is it of this device?")]
    Units {
        /// The row.
        row: usize,
        /// Units of the row.
        found: u32,
        /// Units of the device.
        units: u32,
    },
}

/// Active units of each engine when `units` are in use, by CoFRIS's "conserved" policy: the fewest
/// engines that hold them, spread evenly over those (engines at the front take one more). Units
/// beyond `engines * units_per_engine` don't exist and are not placed.
pub fn conserved_placement(units: u32, engines: u32, units_per_engine: u32) -> Vec<u32> {
    let units = units.min(engines.saturating_mul(units_per_engine));
    let used = if units == 0 { 0 } else { units.div_ceil(units_per_engine) };
    let share = units.checked_div(used).unwrap_or(0);
    let left_over = units.checked_rem(used).unwrap_or(0);
    (0..engines).map(|engine| if engine < used { share + u32::from(engine < left_over) } else { 0 }).collect()
}

/// `profile`, measured or modelled with nothing gated, as it would be on `spec` with `gating`.
///
/// Power falls by the active-idle power of the gated units, never below idle, and is modelled from
/// then on; energy per row falls with it. Latency and throughput stay. `Gating::None` changes
/// nothing.
pub fn apply(profile: &Profile, spec: &DeviceSpec, gating: Gating) -> Result<Profile, GatingError> {
    if gating == Gating::None {
        return Ok(profile.clone());
    }
    let device = GatedDevice::of(spec)?;
    let rows = profile.rows.iter().enumerate();
    let rows = rows.map(|(index, row)| device.gate(index + 1, row, gating)).collect::<Result<_, _>>()?;
    let mut head = profile.head.clone();
    let what = if gating == Gating::ComputeUnit { "compute units" } else { "whole shader engines" };
    let told = format!(
        "Power gating of unused {what} is modelled: less the active-idle power of {} (CoFRIS, section \
         II-B); the board itself gates nothing.",
        device.name
    );
    head.notes = Some(match head.notes {
        Some(notes) => format!("{notes}\n{told}"),
        None => told,
    });
    Ok(Profile { head, rows })
}

/// What gating must know of a device.
struct GatedDevice<'a> {
    name: &'a str,
    units: u32,
    engines: Option<(u32, u32)>,
    idle: Watts,
    active_idle: &'a Curve,
}

impl<'a> GatedDevice<'a> {
    fn of(spec: &'a DeviceSpec) -> Result<Self, GatingError> {
        let unknown = |key| GatingError::Unknown { device: spec.name.clone(), key };
        let engines = spec.shader_engines.as_ref().map(|engines| engines.value);
        Ok(Self {
            name: &spec.name,
            units: spec.compute_units.as_ref().ok_or_else(|| unknown("compute_units"))?.value,
            engines: engines.zip(spec.units_per_engine()),
            idle: spec.idle_power_watts.as_ref().ok_or_else(|| unknown("idle_power_watts"))?.value,
            active_idle: &spec
                .active_idle_power_watts
                .as_ref()
                .ok_or_else(|| unknown("active_idle_power_watts"))?
                .value,
        })
    }

    /// Active-idle power of one unit at `clock`.
    fn unit_active_idle(&self, row: usize, clock: Megahertz) -> Result<Watts, GatingError> {
        let (low, high) = self.active_idle.range();
        let active_idle = self.active_idle.at(clock).ok_or(GatingError::Clock { row, clock, low, high })?;
        Ok((Watts::new(active_idle) - self.idle).max(Watts::ZERO) / f64::from(self.units))
    }

    /// Units that are off while `active` are in use.
    fn gated_units(&self, active: u32, gating: Gating) -> Result<u32, GatingError> {
        match gating {
            Gating::None => Ok(0),
            Gating::ComputeUnit => Ok(self.units - active),
            Gating::ShaderEngine => {
                let (engines, units_per_engine) = self.engines.ok_or_else(|| GatingError::Unknown {
                    device: self.name.to_owned(),
                    key: "shader_engines",
                })?;
                let placed = conserved_placement(active, engines, units_per_engine);
                Ok(placed.iter().filter(|active| **active == 0).map(|_| units_per_engine).sum())
            }
        }
    }

    fn gate(&self, index: usize, row: &ProfileRow, gating: Gating) -> Result<ProfileRow, GatingError> {
        let not_told = |column| GatingError::NotTold { row: index, column };
        let active = row.point.compute_units.ok_or_else(|| not_told("compute_units"))?;
        let clock = row.point.core_clock_mhz.ok_or_else(|| not_told("core_clock_mhz"))?;
        if active > self.units {
            return Err(GatingError::Units { row: index, found: active, units: self.units });
        }
        let gated = f64::from(self.gated_units(active, gating)?);
        let saved = self.unit_active_idle(index, clock)? * gated;
        // A reading below idle is noise of the sensor; it stays as it was.
        let less = |power: Watts| (power - saved).max(self.idle.min(power));
        let mean = row.power_watts_mean.map(less);
        let share = mean.zip(row.power_watts_mean).filter(|(_, before)| before.get() > 0.0);
        let energy = row.energy_joules_per_row.zip(share);
        Ok(ProfileRow {
            power_watts_mean: mean,
            power_watts_p95: row.power_watts_p95.map(less),
            power_watts_max: row.power_watts_max.map(less),
            energy_joules_per_row: energy.map(|(energy, (after, before))| energy * (after / before)),
            power_basis: Basis::Modelled.max(row.power_basis),
            ..row.clone()
        })
    }
}
