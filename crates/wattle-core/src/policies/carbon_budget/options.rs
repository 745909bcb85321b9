//! What can be set about `carbon-budget`, and its bounds.

use serde::{Deserialize, Serialize};

use crate::policies::PolicyError;

/// What can be set about the choice. One of the first two is to be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CarbonBudgetOptions {
    /// Least mean quality over the rows of each family in each accounting period, in 0 to 1: emit as
    /// little as that allows.
    pub quality_floor: Option<f64>,
    /// Grams of CO2 equivalent for each day, over all families: the best mean quality for them.
    pub carbon_budget_grams_per_day: Option<f64>,
    /// Days of an accounting period; 30 with a floor and 1 with a budget by default. At its end the
    /// budget begins anew; missing quality is carried over.
    pub period_days: Option<u32>,
    /// When, after the start of the run, a day begins; the part of a day before is part of the first
    /// period. The run's start by default; a server takes midnight UTC.
    pub day_starts_at_seconds: Option<f64>,
    /// Days of carbon intensity and load that are remembered: a week has working days and others.
    pub history_days: u32,
    /// Seconds between two decisions at most.
    pub interval_seconds: f64,
    /// A variant serves so long at least.
    pub dwell_seconds: f64,
    /// What a switch is taken to cost: one that gains no more within half an hour, or the dwell if that is
    /// longer, is not made.
    pub switch_cost_grams: f64,
    /// A carbon intensity older than this is taken as unknown.
    pub stale_after_seconds: f64,
}

impl Default for CarbonBudgetOptions {
    fn default() -> Self {
        Self {
            quality_floor: None,
            carbon_budget_grams_per_day: None,
            period_days: None,
            day_starts_at_seconds: None,
            history_days: 7,
            interval_seconds: 60.0,
            dwell_seconds: 0.0,
            switch_cost_grams: 0.0,
            stale_after_seconds: 7200.0,
        }
    }
}

/// Days that an accounting period or the memory may have at most: a year.
const MOST_DAYS: u32 = 366;

impl CarbonBudgetOptions {
    pub(in crate::policies) fn check(&self) -> Result<(), PolicyError> {
        let error = |option, found: String, expected| Err(PolicyError::Option { option, found, expected });
        if let Some(floor) = self.quality_floor.filter(|floor| !(0.0..=1.0).contains(floor)) {
            return error("carbon_budget.quality_floor", floor.to_string(), "a number in 0 to 1");
        }
        if let Some(grams) = self.carbon_budget_grams_per_day {
            let option = "carbon_budget.carbon_budget_grams_per_day";
            if self.quality_floor.is_some() {
                return error(option, grams.to_string(), "nothing, beside quality_floor");
            }
            if !(grams.is_finite() && grams >= 0.0) {
                return error(option, grams.to_string(), "grams as a number of at least 0");
            }
        }
        let days = [
            ("carbon_budget.period_days", self.period_days),
            ("carbon_budget.history_days", Some(self.history_days)),
        ];
        for (option, found) in days {
            if let Some(found) = found.filter(|days| !(1..=MOST_DAYS).contains(days)) {
                return error(option, found.to_string(), "a whole number of days in 1 to 366");
            }
        }
        if let Some(start) = self.day_starts_at_seconds.filter(|start| !(0.0..86_400.0).contains(start)) {
            let option = "carbon_budget.day_starts_at_seconds";
            return error(option, start.to_string(), "seconds of at least 0 and under 86400");
        }
        let interval = self.interval_seconds;
        if !(interval.is_finite() && interval > 0.0) {
            let option = "carbon_budget.interval_seconds";
            return error(option, interval.to_string(), "seconds as a number over 0");
        }
        let expected = "a number of at least 0";
        for (option, found) in [
            ("carbon_budget.dwell_seconds", self.dwell_seconds),
            ("carbon_budget.switch_cost_grams", self.switch_cost_grams),
            ("carbon_budget.stale_after_seconds", self.stale_after_seconds),
        ] {
            if !(found.is_finite() && found >= 0.0) {
                return error(option, found.to_string(), expected);
            }
        }
        Ok(())
    }
}
