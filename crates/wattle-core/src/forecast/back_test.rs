//! How good a model would have been: forecasts from times gone by, against what came.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::history::History;
use super::models::{Model, seasonal_naive};
use super::regression;
use super::regression::LOOK_BACK_DAYS;
use super::scale::Scale;
use crate::time::UnixTime;

/// From which times forecasts are made in a back-test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origins {
    /// The first.
    pub first: UnixTime,
    /// All are before this.
    pub until: UnixTime,
    /// From one to the next: whole steps of the history, at least one.
    pub every: Duration,
}

/// How far forecasts of a model were off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Whose.
    pub model: Model,
    /// Forecasts that were made.
    pub forecasts: usize,
    /// Values that were forecast and came to be known.
    pub values: usize,
    /// Mean absolute error, in the unit of the quantity.
    pub mean_absolute_error: f64,
    /// Mean of the absolute error as a percentage of what came (MAPE). `None` where that was 0 at times.
    pub mean_absolute_percentage_error: Option<f64>,
}

/// What came of a model's forecasts.
#[derive(Debug, Clone, PartialEq)]
pub struct BackTest {
    /// How far they were off.
    pub score: Score,
    /// By lead time, how far what came was above the forecast, on the scale it is learned on.
    pub(super) errors: Vec<Vec<f64>>,
}

/// Makes the forecasts of `model` for `ahead` (at most [`FURTHEST_AHEAD`](super::FURTHEST_AHEAD)) that it
/// would have made at each of `origins`, knowing what came before it, and compares them with what came.
/// Gaps and what is still to come are left out. `None` where the history before an origin is too short
/// for the model, or nothing is there to compare with.
pub fn back_test(history: &History, model: Model, origins: Origins, ahead: Duration) -> Option<BackTest> {
    let leads = history.steps_in(ahead);
    let every = (origins.every.as_secs() / history.step().as_secs()).max(1) as usize;
    let first = history.index_of(origins.first);
    let until = history.index_of(origins.until).min(history.values().len());
    let mut tally = Tally::new(history, leads);
    if model == Model::Regression {
        // One pass for each time of the day: a pass makes one forecast a day.
        let day = history.steps_a_day();
        let is_due = |origin: &usize| (origin - first).is_multiple_of(every);
        for begin in first..until.min(first + day) {
            if (begin..until).step_by(day).any(|origin| is_due(&origin)) {
                let made = regression::forecasts(history, begin, until, leads)?;
                for (origin, made) in
                    (begin..until).step_by(day).zip(&made).filter(|(origin, _)| is_due(origin))
                {
                    tally.add(origin, made);
                }
            }
        }
    } else {
        for origin in (first..until).step_by(every) {
            tally.add(origin, &forecast(history, model, origin, leads)?);
        }
    }
    tally.finish(model)
}

/// The forecast of `model` for the `leads` steps from `origin` on, of which nothing is looked at.
pub(super) fn forecast(history: &History, model: Model, origin: usize, leads: usize) -> Option<Vec<f64>> {
    let past = history.filled().get(..origin)?;
    match model {
        Model::Persistence => seasonal_naive(past, 1, leads),
        Model::SeasonalNaiveDay => seasonal_naive(past, history.steps_a_day(), leads),
        Model::SeasonalNaiveWeek => seasonal_naive(past, 7 * history.steps_a_day(), leads),
        Model::Regression => regression::forecasts(history, origin, origin + 1, leads)?.pop(),
    }
}

/// On which scale errors of forecasts of `history` are kept.
pub(super) fn scale(history: &History) -> Scale {
    let begin = history.filled().len().min(LOOK_BACK_DAYS * history.steps_a_day());
    Scale::of(&history.filled()[..begin])
}

struct Tally<'h> {
    history: &'h History,
    scale: Scale,
    forecasts: usize,
    values: usize,
    absolute: f64,
    /// Infinite once a value of 0 came.
    relative: f64,
    errors: Vec<Vec<f64>>,
}

impl<'h> Tally<'h> {
    fn new(history: &'h History, leads: usize) -> Self {
        Self {
            history,
            scale: scale(history),
            forecasts: 0,
            values: 0,
            absolute: 0.0,
            relative: 0.0,
            errors: vec![Vec::new(); leads],
        }
    }

    fn add(&mut self, origin: usize, made: &[f64]) {
        let came = self.history.values().iter().skip(origin);
        self.forecasts += 1;
        for ((came, made), errors) in came.zip(made).zip(&mut self.errors) {
            let Some(came) = came else { continue };
            self.values += 1;
            self.absolute += (made - came).abs();
            self.relative += if *came > 0.0 { (made - came).abs() / came } else { f64::INFINITY };
            errors.push(self.scale.apply(*came) - self.scale.apply(*made));
        }
    }

    fn finish(self, model: Model) -> Option<BackTest> {
        let values = self.values;
        let percent = 100.0 * self.relative / values as f64;
        let score = Score {
            model,
            forecasts: self.forecasts,
            values,
            mean_absolute_error: self.absolute / values as f64,
            mean_absolute_percentage_error: percent.is_finite().then_some(percent),
        };
        (values > 0).then_some(BackTest { score, errors: self.errors })
    }
}
