//! What a site makes of its own, as a power cap for this server.
//!
//! ```text
//! cap = share × max(0, generation − reserved) + discharge, within min and max
//! ```
//! The discharge is there only while the battery is known to be above its floor. A battery below it, or
//! one whose state of charge is not known, gives nothing: only the surplus is left.

use serde::Deserialize;

/// How the supply of a site becomes watts for this server.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SupplyRule {
    /// Of what is left after others, the share that is this server's: over 0, at most 1.
    pub share: f64,
    /// What others at the site get first, in watts.
    pub reserved_watts: f64,
    /// The state of charge, 0 to 1, above which the battery may give.
    pub battery_floor: f64,
    /// What the battery may give this server while it is above the floor, in watts.
    pub battery_discharge_watts: f64,
    /// Never less than this, in watts: what lacks comes from the grid.
    pub min_watts: f64,
    /// Never more than this, in watts; no limit where it is left out.
    pub max_watts: Option<f64>,
}

impl Default for SupplyRule {
    /// All that is generated, no battery, no limits.
    fn default() -> Self {
        Self {
            share: 1.0,
            reserved_watts: 0.0,
            battery_floor: 0.0,
            battery_discharge_watts: 0.0,
            min_watts: 0.0,
            max_watts: None,
        }
    }
}

/// A rule that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found}, expected {expected}")]
pub struct SupplyError {
    /// Which key.
    pub field: &'static str,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: &'static str,
}

impl SupplyRule {
    /// Whether the rule makes sense.
    ///
    /// # Errors
    /// The first key that is out of its range.
    pub fn check(&self) -> Result<(), SupplyError> {
        let at_least_0 = |value: f64| value.is_finite() && value >= 0.0;
        let checks = [
            ("share", self.share, self.share > 0.0 && self.share <= 1.0, "a number over 0, at most 1"),
            ("reserved_watts", self.reserved_watts, at_least_0(self.reserved_watts), "0 or more"),
            ("battery_floor", self.battery_floor, (0.0..=1.0).contains(&self.battery_floor), "0 to 1"),
            (
                "battery_discharge_watts",
                self.battery_discharge_watts,
                at_least_0(self.battery_discharge_watts),
                "0 or more",
            ),
            ("min_watts", self.min_watts, at_least_0(self.min_watts), "0 or more"),
            (
                "max_watts",
                self.max_watts.unwrap_or_default(),
                self.max_watts.is_none_or(|most| most.is_finite() && most >= self.min_watts),
                "a number of at least min_watts",
            ),
        ];
        for (field, found, is_right, expected) in checks {
            if !is_right {
                return Err(SupplyError { field, found: found.to_string(), expected });
            }
        }
        Ok(())
    }

    /// Watts for this server while the site generates `generation_watts` and its battery is charged to
    /// `state_of_charge`, 0 to 1; `None`: there is no battery, or nobody knows.
    pub fn watts(&self, generation_watts: f64, state_of_charge: Option<f64>) -> f64 {
        let left = (generation_watts - self.reserved_watts).max(0.0);
        let gives = state_of_charge.is_some_and(|charge| charge > self.battery_floor);
        let discharge = if gives { self.battery_discharge_watts } else { 0.0 };
        let watts = self.share * left + discharge;
        watts.max(self.min_watts).min(self.max_watts.unwrap_or(f64::INFINITY))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_cap_is_the_share_of_what_others_leave() {
        let rule = SupplyRule { share: 0.25, reserved_watts: 400.0, ..SupplyRule::default() };
        assert_eq!(rule.watts(1400.0, None), 250.0);
        assert_eq!(rule.watts(400.0, None), 0.0);
        assert_eq!(rule.watts(100.0, None), 0.0, "never below zero");
        assert_eq!(SupplyRule::default().watts(120.0, Some(0.9)), 120.0);
    }

    #[test]
    fn a_battery_gives_only_while_it_is_known_to_be_above_its_floor() {
        let rule = SupplyRule { battery_floor: 0.3, battery_discharge_watts: 80.0, ..SupplyRule::default() };
        for (charge, watts) in [(Some(0.31), 180.0), (Some(0.3), 100.0), (Some(0.0), 100.0), (None, 100.0)] {
            assert_eq!(rule.watts(100.0, charge), watts, "{charge:?}");
        }
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_told_by_its_key() {
        let told = |rule: SupplyRule| rule.check().unwrap_err().to_string();
        let default = SupplyRule::default;
        assert_eq!(
            told(SupplyRule { share: 1.5, ..default() }),
            "share: found 1.5, expected a number over 0, at most 1"
        );
        assert_eq!(
            told(SupplyRule { share: f64::NAN, ..default() }),
            "share: found NaN, expected a number over 0, at most 1"
        );
        assert_eq!(
            told(SupplyRule { battery_floor: 30.0, ..default() }),
            "battery_floor: found 30, expected 0 to 1"
        );
        assert_eq!(
            told(SupplyRule { min_watts: 9.0, max_watts: Some(8.0), ..default() }),
            "max_watts: found 8, expected a number of at least min_watts"
        );
        assert_eq!(default().check(), Ok(()));
    }

    proptest! {
        #[test]
        fn more_supply_is_never_a_lower_cap_and_limits_hold(
            share in 0.01..1.0f64, reserved in 0.0..500.0f64, floor in 0.0..1.0f64, discharge in 0.0..200.0f64,
            min in 0.0..100.0f64, above in 0.0..400.0f64, generation in 0.0..2000.0f64, more in 0.0..500.0f64,
            charge in proptest::option::of(0.0..1.0f64),
        ) {
            let rule = SupplyRule {
                share, reserved_watts: reserved, battery_floor: floor, battery_discharge_watts: discharge,
                min_watts: min, max_watts: Some(min + above),
            };
            prop_assert_eq!(rule.check(), Ok(()));
            let watts = rule.watts(generation, charge);
            prop_assert!((min..=min + above).contains(&watts));
            prop_assert!(rule.watts(generation + more, charge) >= watts);
            prop_assert!(rule.watts(generation, Some(1.0)) >= rule.watts(generation, None));
        }
    }
}
