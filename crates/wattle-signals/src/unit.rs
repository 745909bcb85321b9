//! Units that sources speak in, and what they make of one of ours.

use std::fmt;

use serde::Deserialize;
use wattle_core::nearest::nearest;
use wattle_core::signal::Quantity;

/// Grams in an avoirdupois pound, exactly (the international yard and pound agreement of 1959).
pub(crate) const GRAMS_PER_POUND: f64 = 453.592_37;

/// The unit of a source's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Unit {
    /// Grams of CO2 or CO2e in a kilowatt-hour: `g/kWh`.
    GramsPerKilowattHour,
    /// Kilograms in a megawatt-hour, which is the same number: `kg/MWh`.
    KilogramsPerMegawattHour,
    /// Pounds in a megawatt-hour: `lbs/MWh`.
    PoundsPerMegawattHour,
    /// `W`.
    Watts,
    /// `kW`.
    Kilowatts,
    /// `MW`.
    Megawatts,
    /// A share, 0 to 1: `share`.
    Share,
    /// A share in hundredths: `%`.
    Percent,
}

/// Each with the name it has in configurations.
const UNITS: [(Unit, &str); 8] = [
    (Unit::GramsPerKilowattHour, "g/kWh"),
    (Unit::KilogramsPerMegawattHour, "kg/MWh"),
    (Unit::PoundsPerMegawattHour, "lbs/MWh"),
    (Unit::Watts, "W"),
    (Unit::Kilowatts, "kW"),
    (Unit::Megawatts, "MW"),
    (Unit::Share, "share"),
    (Unit::Percent, "%"),
];

impl Unit {
    /// The unit that `text` names: one of the names of configurations, or one of the usual spellings of
    /// sources (`gCO2eq/kWh`, `lbs_co2_per_mwh`). `None`: none of them.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // In units of power the case of a letter counts: mW is a milliwatt.
        if let Some((unit, _)) = UNITS.iter().find(|(_, name)| *name == text) {
            return Some(*unit);
        }
        let plain: String = text
            .to_lowercase()
            .replace("₂", "2")
            .replace("_per_", "/")
            .replace(" per ", "/")
            .chars()
            .filter(|letter| !matches!(letter, ' ' | '_' | '-'))
            .collect();
        let plain = ["co2equivalent", "co2eq", "co2e", "co2"]
            .iter()
            .fold(plain, |text, of_what| text.replacen(of_what, "", 1));
        match plain.as_str() {
            "g/kwh" => Some(Self::GramsPerKilowattHour),
            "kg/mwh" => Some(Self::KilogramsPerMegawattHour),
            "lbs/mwh" | "lb/mwh" => Some(Self::PoundsPerMegawattHour),
            "watts" | "watt" => Some(Self::Watts),
            "kilowatts" | "kilowatt" => Some(Self::Kilowatts),
            "megawatts" | "megawatt" => Some(Self::Megawatts),
            "percent" => Some(Self::Percent),
            _ => None,
        }
    }

    /// What it is a unit of.
    pub const fn quantity(self) -> Quantity {
        match self {
            Self::GramsPerKilowattHour | Self::KilogramsPerMegawattHour | Self::PoundsPerMegawattHour => {
                Quantity::CarbonIntensity
            }
            Self::Watts | Self::Kilowatts | Self::Megawatts => Quantity::Power,
            Self::Share | Self::Percent => Quantity::StateOfCharge,
        }
    }

    /// What a number in this unit is multiplied with to be in that of its quantity.
    pub const fn factor(self) -> f64 {
        match self {
            Self::GramsPerKilowattHour | Self::KilogramsPerMegawattHour | Self::Watts | Self::Share => 1.0,
            Self::Percent => 0.01,
            Self::PoundsPerMegawattHour => GRAMS_PER_POUND / 1000.0,
            Self::Kilowatts => 1e3,
            Self::Megawatts => 1e6,
        }
    }

    /// The names of all units of `quantity`, for errors.
    pub fn names_of(quantity: Quantity) -> String {
        let names: Vec<&str> =
            UNITS.iter().filter(|(unit, _)| unit.quantity() == quantity).map(|(_, name)| *name).collect();
        names.join(", ")
    }
}

impl TryFrom<String> for Unit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| {
            let names = UNITS.map(|(_, name)| name);
            let meant = nearest(&text, names).unwrap_or_default();
            format!("found the unit {text:?}, expected one of {} (did you mean {meant:?}?)", names.join(", "))
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = UNITS.iter().find(|(unit, _)| unit == self).map_or("", |(_, name)| *name);
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pounds_in_a_megawatt_hour_become_grams_in_a_kilowatt_hour() {
        assert!((Unit::PoundsPerMegawattHour.factor() * 1000.0 - 453.592_37).abs() < 1e-9);
    }

    #[test]
    fn usual_spellings_are_known_and_a_milliwatt_is_no_megawatt() {
        for (text, unit) in [
            ("gCO2eq/kWh", Unit::GramsPerKilowattHour),
            ("gCO₂/kWh", Unit::GramsPerKilowattHour),
            ("g per kWh", Unit::GramsPerKilowattHour),
            ("lbs_co2_per_mwh", Unit::PoundsPerMegawattHour),
            ("kgCO2e/MWh", Unit::KilogramsPerMegawattHour),
            ("kW", Unit::Kilowatts),
        ] {
            assert_eq!(Unit::parse(text), Some(unit), "{text}");
        }
        for text in ["mW", "kw", "", "lbs/kWh", "g/MWh", "co2"] {
            assert_eq!(Unit::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_unit_that_is_unknown_names_the_nearest() {
        let error = Unit::try_from("lb/kMWh".to_owned()).unwrap_err();
        assert!(error.contains("lbs/MWh") && error.contains("did you mean"), "{error}");
    }
}
