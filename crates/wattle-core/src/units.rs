//! Physical quantities as types, so that watts are never added to joules.
//!
//! Only lawful operations exist: `Watts * Duration = Joules`, `Joules / Duration = Watts`,
//! `Joules * CarbonIntensity = GramsCo2e`. Where types end (files, JSON, metrics) the unit stands in
//! the name of the field.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(f64);

        impl $name {
            /// No quantity at all.
            pub const ZERO: Self = Self(0.0);

            /// The quantity of `value` in the unit of this type.
            pub const fn new(value: f64) -> Self {
                Self(value)
            }

            /// The number in the unit of this type.
            pub const fn get(self) -> f64 {
                self.0
            }

            /// The smaller of two quantities.
            pub const fn min(self, other: Self) -> Self {
                Self(self.0.min(other.0))
            }

            /// The larger of two quantities.
            pub const fn max(self, other: Self) -> Self {
                Self(self.0.max(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl Mul<f64> for $name {
            type Output = Self;
            fn mul(self, factor: f64) -> Self {
                Self(self.0 * factor)
            }
        }

        impl Div<f64> for $name {
            type Output = Self;
            fn div(self, divisor: f64) -> Self {
                Self(self.0 / divisor)
            }
        }

        impl Div for $name {
            type Output = f64;
            fn div(self, other: Self) -> f64 {
                self.0 / other.0
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                // Of nothing it is 0, where that of floating-point numbers is -0.
                Self(parts.fold(0.0, |sum, part| sum + part.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let precision = f.precision().unwrap_or(1);
                write!(f, "{:.*} {}", precision, self.0, $unit)
            }
        }
    };
}

quantity!(
    /// Power.
    Watts, "W"
);
quantity!(
    /// Energy.
    Joules, "J"
);
quantity!(
    /// Clock frequency.
    Megahertz, "MHz"
);
quantity!(
    /// Emissions, as grams of CO2 equivalent.
    GramsCo2e, "gCO2e"
);
quantity!(
    /// Carbon intensity of electricity, in grams of CO2 equivalent per kilowatt-hour.
    CarbonIntensity, "gCO2e/kWh"
);

/// Joules in a kilowatt-hour.
const JOULES_PER_KILOWATT_HOUR: f64 = 3.6e6;

impl Mul<Duration> for Watts {
    type Output = Joules;
    fn mul(self, time: Duration) -> Joules {
        Joules(self.0 * time.as_secs_f64())
    }
}

impl Div<Duration> for Joules {
    type Output = Watts;
    /// Mean power. Dividing by a zero duration gives infinity or NaN, as floats do: callers check.
    fn div(self, time: Duration) -> Watts {
        Watts(self.0 / time.as_secs_f64())
    }
}

impl Mul<CarbonIntensity> for Joules {
    type Output = GramsCo2e;
    fn mul(self, intensity: CarbonIntensity) -> GramsCo2e {
        GramsCo2e(self.0 / JOULES_PER_KILOWATT_HOUR * intensity.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kilowatt_for_an_hour_at_100_g_per_kwh_emits_100_g() {
        let energy = Watts::new(1000.0) * Duration::from_secs(3600);
        assert!((energy.get() - 3.6e6).abs() < 1e-6);
        assert!(((energy * CarbonIntensity::new(100.0)).get() - 100.0).abs() < 1e-9);
        assert!(((energy / Duration::from_secs(3600)).get() - 1000.0).abs() < 1e-9);
    }

    #[test]
    fn display_names_the_unit() {
        assert_eq!(Watts::new(34.26).to_string(), "34.3 W");
        assert_eq!(format!("{:.3}", Joules::new(0.12349)), "0.123 J");
    }
}
