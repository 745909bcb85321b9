//! Software Carbon Intensity: `SCI = (E x I + M) per R` (SCI 1.1, ISO/IEC 21031:2024).

use serde::{Deserialize, Serialize};

use super::EmbodiedGrams;
use crate::units::{CarbonIntensity, GramsCo2e, Joules};

/// What a score counts, as the specification asks to tell.
pub const BOUNDARY_INCLUDED: [&str; 3] = [
    "energy of the metered device while the server ran, idle included, times the PUE",
    "location-based emissions of that energy, second by second",
    "making the device, by the time for which it was reserved",
];

/// What a score leaves out.
pub const BOUNDARY_EXCLUDED: [&str; 4] = [
    "what the power source doesn't meter: the rest of the machine where the device is a GPU",
    "network, storage and clients",
    "training the models",
    "contracts, certificates and offsets, which the market-based column shows",
];

/// How a score is made, as the specification asks to tell.
pub const METHOD: &str = "E x I is summed over the seconds of the ledger, each at its own intensity; idle energy and \
    the device's reserved time are shared out by busy time; M = embodied emissions x reserved time / lifetime x \
    reserved part of the device";

/// The terms of a score, before they are divided by what was done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SciTerms {
    /// `E`, with what the site adds to it.
    pub energy: Joules,
    /// `E x I`, location-based.
    pub operational: GramsCo2e,
    /// `M`. `None`: nothing is known of how the device was made, and there is no score.
    pub embodied: Option<EmbodiedGrams>,
}

/// A score: grams for each functional unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sci {
    /// With the low end of what making the device emitted.
    pub low: GramsCo2e,
    /// With the high end, where there is one.
    pub high: Option<GramsCo2e>,
}

impl SciTerms {
    /// The terms of energy that was all drawn at one intensity.
    pub fn at(energy: Joules, intensity: CarbonIntensity, embodied: Option<EmbodiedGrams>) -> Self {
        Self { energy, operational: energy * intensity, embodied }
    }

    /// `I`: the mean intensity over the energy; `None` where there was none.
    pub fn intensity(&self) -> Option<CarbonIntensity> {
        let one = Joules::new(1.0) * CarbonIntensity::new(1.0);
        let intensity = self.operational / (one * self.energy.get());
        intensity.is_finite().then(|| CarbonIntensity::new(intensity))
    }

    /// The score for each of `units` functional units (`R`), such as requests; `None` where nothing was done
    /// or nothing is known of how the device was made.
    pub fn per(&self, units: f64) -> Option<Sci> {
        let embodied = self.embodied?;
        let score = |embodied: GramsCo2e| (self.operational + embodied) / units;
        (units > 0.0).then(|| Sci { low: score(embodied.low), high: embodied.high.map(score) })
    }
}
