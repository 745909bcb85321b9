//! The model that was best of late, and its forecasts with intervals.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::back_test::{self, BackTest, Origins, Score};
use super::history::History;
use super::models::Model;
use crate::time::UnixTime;

/// The share of values that intervals are made to hold.
pub const NOMINAL_COVERAGE: f64 = 0.8;

/// Models are compared on so many of the last days, one forecast a day.
const MOST_DAYS: usize = 56;
/// Models are not compared on fewer days.
const LEAST_DAYS: usize = 7;

/// A forecast of a quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Who made it.
    pub model: Model,
    /// One value for each step, from the end of the history on.
    pub points: Vec<ForecastPoint>,
}

/// What is expected of one step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ForecastPoint {
    /// When the step begins.
    pub at: UnixTime,
    /// The value expected, in the unit of the quantity.
    pub value: f64,
    /// Where the value will be, 4 times in 5 ([`NOMINAL_COVERAGE`]). `None` where too few forecasts could
    /// be compared with what came.
    pub interval: Option<Interval>,
}

/// A range of values, in the unit of the quantity. It holds the value forecast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The model that was best of late.
#[derive(Debug, Clone, PartialEq)]
pub struct Picked {
    model: Model,
    scores: Vec<Score>,
    leads: usize,
    /// By lead time, the lower and upper end of the errors of this model, on the scale of the history.
    errors: Vec<Option<(f64, f64)>>,
}

/// Picks the model that would have had the least mean absolute error in forecasting `ahead` (at most
/// [`FURTHEST_AHEAD`](super::FURTHEST_AHEAD)) on each of the last days, at this time of the day.
///
/// Days are the last 56, or the last third of a shorter history. Models that need more history than there
/// was before the first of them are not in the comparison. With less than 7 such days there is none: it is
/// persistence then, without scores or intervals. `None` where not one value is known.
///
/// All that was learned is of this time of the day: pick again when new values came. That costs little
/// more than one forecast.
pub fn pick(history: &History, ahead: Duration) -> Option<Picked> {
    history.values().last()?;
    let leads = history.steps_in(ahead);
    let day = history.steps_a_day();
    let days = (history.values().len() / day / 3).min(MOST_DAYS);
    if days < LEAST_DAYS {
        return Some(Picked { model: Model::Persistence, scores: Vec::new(), leads, errors: Vec::new() });
    }
    let length = history.values().len();
    let origins = Origins {
        first: history.time_of(length - days * day),
        until: history.end(),
        every: Duration::from_secs(86_400),
    };
    let tests: Vec<BackTest> =
        Model::ALL.iter().filter_map(|model| back_test::back_test(history, *model, origins, ahead)).collect();
    let off = |test: &&BackTest| test.score.mean_absolute_error;
    let best = tests.iter().min_by(|left, right| off(left).total_cmp(&off(right)));
    let (model, errors) = match best {
        Some(best) => (best.score.model, spread(&best.errors, day / 24)),
        None => (Model::Persistence, Vec::new()),
    };
    Some(Picked { model, scores: tests.iter().map(|test| test.score).collect(), leads, errors })
}

impl Picked {
    /// Which.
    pub fn model(&self) -> Model {
        self.model
    }

    /// How far each model's forecasts were off that could be compared, the simplest model first.
    pub fn scores(&self) -> &[Score] {
        &self.scores
    }

    /// How far the picked model's forecasts were off. `None` where none could be compared.
    pub fn score(&self) -> Option<&Score> {
        self.scores.iter().find(|score| score.model == self.model)
    }

    /// What is expected after the end of `history`, for as long as was asked of [`pick`]. `None` where the
    /// history is too short for the model, or has no value.
    pub fn forecast(&self, history: &History) -> Option<Forecast> {
        let origin = history.values().len();
        let values = back_test::forecast(history, self.model, origin, self.leads)?;
        let scale = back_test::scale(history);
        let interval = |lead: usize, value: f64| {
            let (low, high) = (*self.errors.get(lead)?)?;
            let moved = |by: f64| scale.undo(scale.apply(value) + by);
            Some(Interval { low: moved(low).min(value), high: moved(high).max(value) })
        };
        let point = |(lead, value): (usize, f64)| ForecastPoint {
            at: history.time_of(origin + lead),
            value,
            interval: interval(lead, value),
        };
        Some(Forecast { model: self.model, points: values.into_iter().enumerate().map(point).collect() })
    }
}

/// The quantiles of errors between which [`NOMINAL_COVERAGE`] of a new one's chances lie, by lead time.
/// Errors of lead times up to `around` steps before and after are taken together, as there are few of each.
/// The ranks are those of conformal prediction: of n errors, a new one is as likely to come to lie in any of
/// the n + 1 spaces between them, whatever their distribution.
fn spread(errors: &[Vec<f64>], around: usize) -> Vec<Option<(f64, f64)>> {
    let of = |lead: usize| {
        let until = errors.len().min(lead + around + 1);
        let mut near: Vec<f64> = errors[lead.saturating_sub(around)..until].concat();
        near.sort_by(f64::total_cmp);
        let left_out = (near.len() + 1) as f64 * (1.0 - NOMINAL_COVERAGE) / 2.0;
        // What is whole but for rounding is whole.
        let rank = (left_out + 1e-9).floor() as usize;
        let low = near.get(rank.checked_sub(1)?)?;
        let high = near.get(near.len() - rank)?;
        Some((*low, *high))
    };
    (0..errors.len()).map(of).collect()
}
