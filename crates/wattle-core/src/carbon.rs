//! What serving emits beside its energy: a share of what making the device emitted.

use std::time::Duration;

use crate::units::GramsCo2e;

/// A year, in seconds.
const SECONDS_PER_YEAR: f64 = 365.25 * 86_400.0;

/// The share of a device's embodied emissions that falls to a stretch of time for which it is reserved:
/// `C_E = T / LT x C_M` (Sinha et al., "The Utilization Fallacy", equation 3; ACT).
///
/// Count it once for each device, however many models are on it.
pub fn embodied(making_kilograms: f64, lifetime_years: f64, reserved: Duration) -> GramsCo2e {
    GramsCo2e::new(making_kilograms * 1e3 * reserved.as_secs_f64() / (lifetime_years * SECONDS_PER_YEAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_reserved_for_all_its_life_has_all_its_embodied_emissions() {
        let life = Duration::from_secs(5 * 31_557_600);
        assert!((embodied(21.56, 5.0, life).get() - 21_560.0).abs() < 1e-6);
        assert!((embodied(21.56, 5.0, life / 1000).get() - 21.56).abs() < 1e-6);
    }
}
