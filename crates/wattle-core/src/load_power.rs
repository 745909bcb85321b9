//! Mean power of a device that is busy for a share of the time.
//!
//! A profile row was seen with the model saturated. At a smaller load the model is busy for a share
//! of the time only, its utilization, and the device idles for the rest; mean power is the mean of the
//! two (Fan, Weber and Barroso, "Power provisioning for a warehouse-sized computer", 2007).

use crate::units::Watts;

/// Mean power of a device that draws `busy_power` for a share `utilization` of the time, and
/// `idle_power` for the rest. **Modelled**, however the two are known.
pub fn power_at_utilization(idle_power: Watts, busy_power: Watts, utilization: f64) -> Watts {
    idle_power + (busy_power - idle_power) * utilization
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_goes_from_idle_to_busy_in_proportion_to_the_utilization() {
        let at = |utilization| power_at_utilization(Watts::new(50.0), Watts::new(150.0), utilization);
        assert_eq!([0.0, 0.25, 1.0].map(at), [50.0, 75.0, 150.0].map(Watts::new));
    }
}
