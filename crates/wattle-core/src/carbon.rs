//! Grams of joules: what serving emits by the energy it takes, and by what making the device emitted.

pub mod mix;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::signal::SignalReading;
use crate::units::{CarbonIntensity, GramsCo2e, Joules};

/// A year, in seconds.
const SECONDS_PER_YEAR: f64 = 365.25 * 86_400.0;

/// How emissions are counted: what is configured beside the carbon intensity of the grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CarbonAccounting {
    /// Power usage effectiveness: energy of the whole site over that of its computers, at least 1.
    pub pue: f64,
    /// Carbon intensity by contract, and whose: what a market-based account counts with, as in the Scope 2
    /// Guidance of the GHG Protocol.
    pub market: Option<(CarbonIntensity, String)>,
}

impl Default for CarbonAccounting {
    /// The computers alone, no contract.
    fn default() -> Self {
        Self { pue: 1.0, market: None }
    }
}

/// Operational emissions of some energy, with what the site adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Emissions {
    /// By the carbon intensity of the grid.
    pub location: GramsCo2e,
    /// By that of the contract, if there is one.
    pub market: Option<GramsCo2e>,
}

impl CarbonAccounting {
    /// Emissions of `energy` drawn at `carbon_intensity`; `None` where that is not known.
    pub fn emissions(&self, energy: Joules, carbon_intensity: Option<&SignalReading>) -> Option<Emissions> {
        let intensity = CarbonIntensity::new(carbon_intensity?.value);
        let drawn = energy * self.pue;
        let market = self.market.as_ref().map(|(intensity, _)| drawn * *intensity);
        Some(Emissions { location: drawn * intensity, market })
    }
}

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
