//! What the device draws: at rest, and while a batch runs.

use super::assumptions::{LOW_VOLTAGE, VOLTAGE_KNEE};
use super::timing::BatchTime;
use crate::device_spec::{Curve, DeviceSpec};
use crate::units::{Megahertz, Watts};

/// Bits of a byte times joules of a picojoule.
const JOULES_PER_BYTE_AT_ONE_PICOJOULE_PER_BIT: f64 = 8e-12;

/// The facts about a device that its power follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Power<'a> {
    /// The board's limit.
    pub(super) limit: Watts,
    /// Power with a model loaded, as far as known, and nothing to do.
    pub(super) at_rest: Watts,
    static_curve: Option<&'a Curve>,
    active_idle: Option<&'a Curve>,
    voltage: Option<&'a Curve>,
    boost_clock: Megahertz,
    units: f64,
    joules_per_byte: f64,
}

impl<'a> Power<'a> {
    /// `None` when the file of the device lacks what is needed: a limit, power at rest, memory energy.
    pub(super) fn of(spec: &'a DeviceSpec, units: u32, boost_clock: Megahertz) -> Option<Self> {
        let picojoules = spec.memory_energy_picojoules_per_bit.as_ref()?.value;
        let static_curve = spec.static_power_watts.as_ref().map(|curve| &curve.value);
        let flat = spec.loaded_idle_power_watts.as_ref().or(spec.idle_power_watts.as_ref());
        let at_boost = static_curve.and_then(|curve| curve.at(boost_clock)).map(Watts::new);
        Some(Self {
            limit: spec.max_power_watts.as_ref()?.value,
            at_rest: flat.map(|power| power.value).or(at_boost)?,
            static_curve,
            active_idle: spec.active_idle_power_watts.as_ref().map(|curve| &curve.value),
            voltage: spec.core_voltage_millivolts.as_ref().map(|curve| &curve.value),
            boost_clock,
            units: f64::from(units),
            joules_per_byte: picojoules * JOULES_PER_BYTE_AT_ONE_PICOJOULE_PER_BIT,
        })
    }

    /// Power while requests come but no batch runs: all that is clocked. `None` outside the device's
    /// curves.
    pub(super) fn clocked(&self, clock: Megahertz) -> Option<Watts> {
        match self.active_idle.or(self.static_curve) {
            Some(curve) => curve.at(clock).map(Watts::new),
            None => Some(self.at_rest),
        }
    }

    /// Voltage at `clock` as a share of that at the boost clock. `None` outside the device's curve.
    fn relative_voltage(&self, clock: Megahertz) -> Option<f64> {
        if let Some(curve) = self.voltage {
            return Some(curve.at(clock)? / curve.at(self.boost_clock)?);
        }
        let above_knee = (clock / self.boost_clock - VOLTAGE_KNEE.value) / (1.0 - VOLTAGE_KNEE.value);
        Some(LOW_VOLTAGE.value + (1.0 - LOW_VOLTAGE.value) * above_knee.max(0.0))
    }

    /// Power while a batch runs at `clock`, before the board's limit. What is left between the
    /// clocked device and the limit at the boost clock is what all units draw when they compute; it
    /// scales with clock, squared voltage and the share of units that compute. Memory traffic adds
    /// its own energy. `None` outside the device's curves.
    pub(super) fn busy(&self, batch: &BatchTime, clock: Megahertz) -> Option<Watts> {
        let room = (self.limit - self.clocked(self.boost_clock)?).max(Watts::ZERO);
        let scale = (clock / self.boost_clock) * self.relative_voltage(clock)?.powi(2);
        let computing = batch.units_at_work / self.units * (batch.compute / batch.device());
        let memory = Watts::new(self.joules_per_byte * batch.traffic_bytes / batch.device());
        Some(self.clocked(clock)? + room * (scale * computing) + memory)
    }
}
