//! How operational emissions are counted: the site's overhead, and the contract beside the grid.

use serde::{Deserialize, Serialize};

use super::Embodied;
use crate::signal::SignalReading;
use crate::units::{CarbonIntensity, GramsCo2e, Joules};

/// How emissions are counted: what is configured beside the carbon intensity of the grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarbonAccounting {
    /// Power usage effectiveness: energy of the whole site over that of its computers, at least 1.
    pub pue: f64,
    /// Whose figure that is. `None`: nobody told one, and it is 1, the computers alone.
    pub pue_source: Option<String>,
    /// Carbon intensity by contract, and whose: what a market-based account counts with, as in the Scope 2
    /// Guidance of the GHG Protocol.
    pub market: Option<(CarbonIntensity, String)>,
    /// What making the device emitted. `None`: unknown.
    pub embodied: Option<Embodied>,
}

impl Default for CarbonAccounting {
    /// The computers alone, no contract, nothing known of how the device was made.
    fn default() -> Self {
        Self { pue: 1.0, pue_source: None, market: None, embodied: None }
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

    /// The power usage effectiveness with where it is from, for people.
    pub fn pue_told(&self) -> String {
        match &self.pue_source {
            Some(source) => format!("PUE {} ({source})", self.pue),
            None => "PUE 1 (none is configured: the device alone, without the site)".into(),
        }
    }
}
