//! What making a device emitted, as a range, and the part of it that falls to a stretch of time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::provenance::Provenance;
use crate::units::{CarbonIntensity, GramsCo2e, Watts};

/// A year, in seconds.
const SECONDS_PER_YEAR: f64 = 365.25 * 86_400.0;
/// Hours in a year.
const HOURS_PER_YEAR: f64 = SECONDS_PER_YEAR / 3600.0;

/// Emissions of making a device, and how they are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbodiedFigure {
    /// Kilograms of CO2 equivalent.
    pub kilograms: f64,
    /// How it is known, and whose figure it is.
    pub provenance: Provenance,
}

/// Emissions of making a device: a range, for what is counted differs by an order of magnitude.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embodied {
    /// The low end: by ACT, which counts die, memory and package.
    pub low: EmbodiedFigure,
    /// The high end: published for the whole board. `None`: nobody published one.
    pub high: Option<EmbodiedFigure>,
    /// Years that the device is used for.
    pub lifetime_years: f64,
    /// Whose figure that is.
    pub lifetime_source: String,
    /// The part of the device that is reserved for this server, in (0, 1]: 4/7 for four of seven slices.
    pub device_share: f64,
}

/// A part of the emissions of making a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbodiedGrams {
    /// By the low end.
    pub low: GramsCo2e,
    /// By the high end, where there is one.
    pub high: Option<GramsCo2e>,
}

impl EmbodiedGrams {
    /// The same part of both ends.
    #[must_use]
    pub fn times(self, share: f64) -> Self {
        Self { low: self.low * share, high: self.high.map(|high| high * share) }
    }

    /// Both ends of both. The high end is unknown where one of them is.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let high = self.high.zip(other.high).map(|(one, other)| one + other);
        Self { low: self.low + other.low, high }
    }
}

impl Embodied {
    /// What falls to `reserved` of the device's life, as far as the device is this server's.
    ///
    /// Count it once for each device, however many models are on it.
    pub fn of(&self, reserved: Duration) -> EmbodiedGrams {
        let part = |figure: &EmbodiedFigure| {
            embodied(figure.kilograms, self.lifetime_years, reserved) * self.device_share
        };
        EmbodiedGrams { low: part(&self.low), high: self.high.as_ref().map(part) }
    }
}

/// The share of a device's embodied emissions that falls to a stretch of time for which it is reserved:
/// `C_E = T / LT x C_M` (Sinha et al., "The Utilization Fallacy", equation 3; ACT).
pub fn embodied(making_kilograms: f64, lifetime_years: f64, reserved: Duration) -> GramsCo2e {
    GramsCo2e::new(making_kilograms * 1e3 * reserved.as_secs_f64() / (lifetime_years * SECONDS_PER_YEAR))
}

/// The mean power below which making a device emits more than running it: `C_M / (LT x CI)`.
///
/// `None` where the electricity emits nothing: then there is no such power.
pub fn crossover_power(
    making_kilograms: f64,
    lifetime_years: f64,
    intensity: CarbonIntensity,
) -> Option<Watts> {
    let kilowatts = making_kilograms * 1e3 / (lifetime_years * HOURS_PER_YEAR * intensity.get());
    kilowatts.is_finite().then(|| Watts::new(kilowatts * 1e3))
}
