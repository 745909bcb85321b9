//! Who makes a forecast.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who makes a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// As the last value.
    Persistence,
    /// As at the same time of the last day.
    SeasonalNaiveDay,
    /// As at the same time of the same day of the last week.
    SeasonalNaiveWeek,
    /// A ridge regression for each lead time, learned from all days before: on the same time of the last
    /// days, on how far the last hours were off their week's mean, and on the day of the week.
    Regression,
}

impl Model {
    /// All models, the simplest first.
    pub const ALL: [Self; 4] =
        [Self::Persistence, Self::SeasonalNaiveDay, Self::SeasonalNaiveWeek, Self::Regression];

    /// Its name, as in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Persistence => "persistence",
            Self::SeasonalNaiveDay => "seasonal-naive-day",
            Self::SeasonalNaiveWeek => "seasonal-naive-week",
            Self::Regression => "regression",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The value of the next `steps` steps after `past`, as it was some `period`s of steps before. `None`
/// where `past` is shorter than that.
pub(super) fn seasonal_naive(past: &[f64], period: usize, steps: usize) -> Option<Vec<f64>> {
    let last_period = &past[past.len().checked_sub(period)?..];
    if last_period.is_empty() {
        return None;
    }
    Some(last_period.iter().copied().cycle().take(steps).collect())
}
