//! Carbon budgets: the price of quality held against the rule of the paper and against the best possible.
//!
//! Ours, no paper's. The networks, loads and months of half hours are those of [`carbon_adaptive`], on
//! more zones. The floor on mean quality is what `carbon-adaptive` reached on the same month, so that both
//! are compared at equal quality. The month begins without history, so that learning counts.
//!
//! [`carbon_adaptive`]: crate::carbon_adaptive

mod rows;
#[cfg(test)]
mod tests;
mod zones;

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wattle_core::policies::carbon_adaptive::IntensityWindow;
use wattle_sim::experiment::in_parallel;
use wattle_sim::plan::CarbonForecast;

use crate::carbon_adaptive::Scale;
use crate::carbon_adaptive::published::{RESNET50, RESNET101, RESNET152, gain_percent};
use crate::carbon_adaptive::replay::{Month, Served};
use crate::carbon_adaptive::traces::LoadTrace;
use crate::{Options, ReproduceError, Reproduction};
use zones::ZoneMonth;

const DAY: Duration = Duration::from_secs(86_400);

/// What is shown of the carbon intensity to come: its name, how it is known and how far.
type Forecast = (&'static str, CarbonForecast, Duration);

const FORECASTS: [Forecast; 4] = [
    ("no forecast", CarbonForecast::Perfect, Duration::ZERO),
    ("the day before as forecast", CarbonForecast::SeasonalNaive, DAY),
    ("a perfect forecast of a day", CarbonForecast::Perfect, DAY),
    ("a perfect forecast of four days", CarbonForecast::Perfect, Duration::from_secs(4 * 86_400)),
];

/// A defect of Wattle: something bundled doesn't hold together.
fn broken(cause: impl Display) -> ReproduceError {
    ReproduceError::Broken { name: "carbon-budget", cause: cause.to_string() }
}

/// One month of one zone under one load.
struct Case {
    zone: String,
    month: String,
    load: &'static str,
    basis: wattle_core::provenance::Basis,
    rests_on: String,
    results: Results,
}

/// What each policy came to on a month.
struct Results {
    /// ResNet50, ResNet101 and ResNet152 alone.
    alone: [Served; 3],
    adaptive: Served,
    /// By what is shown of the intensity to come; without a forecast first.
    budget: Vec<Served>,
    /// The least possible at the quality of `adaptive`.
    least_grams: f64,
}

impl Results {
    fn of(month: &Month<'_>, forecasts: &[Forecast]) -> Result<Self, ReproduceError> {
        let adaptive = month.under("carbon-adaptive", IntensityWindow::Trailing)?;
        let budget = forecasts
            .iter()
            .map(|(_, forecast, horizon)| month.within_budget(adaptive.error_percent, (*forecast, *horizon)));
        Ok(Self {
            alone: [month.alone(RESNET50)?, month.alone(RESNET101)?, month.alone(RESNET152)?],
            budget: budget.collect::<Result<_, _>>()?,
            least_grams: month.least_grams(adaptive.error_percent)?,
            adaptive,
        })
    }

    /// The paper's carbon emission efficiency: quality gained over ResNet50, in percent of its error, for
    /// each gram more than ResNet50's.
    fn efficiency(&self, error_percent: f64, grams: f64) -> f64 {
        let [base, ..] = &self.alone;
        gain_percent(error_percent) / (grams - base.grams)
    }

    /// By how much that efficiency is above that of ResNet152 alone, in percent: the scale of the paper's 80 %.
    fn points(&self, error_percent: f64, grams: f64) -> f64 {
        let [.., fixed] = &self.alone;
        (self.efficiency(error_percent, grams) / self.efficiency(fixed.error_percent, fixed.grams) - 1.0)
            * 100.0
    }

    /// Points of `served`.
    fn points_of(&self, served: &Served) -> f64 {
        self.points(served.error_percent, served.grams)
    }

    /// Grams of `served` beyond the least possible at the floor, in percent.
    fn beyond_least_percent(&self, served: &Served) -> f64 {
        (served.grams / self.least_grams - 1.0) * 100.0
    }
}

/// Runs the experiment: on the zones of the user's data, or on a generated one.
///
/// # Errors
/// When a file of the user's data can't be used.
pub fn run(options: &Options, progress: &(dyn Fn(f64) + Sync)) -> Result<Reproduction, ReproduceError> {
    run_at(&Scale::FULL, options, progress)
}

fn run_at(
    scale: &Scale,
    options: &Options,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Reproduction, ReproduceError> {
    let data = options.data.as_deref();
    let loads = [("constant load", LoadTrace::constant(scale)), ("daily load", LoadTrace::of(data, scale)?)];
    let zones = ZoneMonth::all_of(data, scale.days)?;
    let done = AtomicUsize::new(0);
    let count = zones.len() * loads.len();
    let cases = in_parallel(options.threads, count, |index| {
        let zone = zones.get(index / loads.len()).ok_or_else(|| broken("jobs out of their order"))?;
        let (called, load) = &loads[index % loads.len()];
        let month = Month::new(load, &zone.carbon)?;
        let results = Results::of(&month, &FORECASTS)?;
        progress((done.fetch_add(1, Ordering::Relaxed) + 1) as f64 / count as f64);
        Ok::<_, ReproduceError>(Case {
            zone: zone.zone.clone(),
            month: zone.month.clone(),
            load: called,
            basis: load.basis.max(zone.carbon.basis),
            rests_on: format!("Table 1 of carbon-adaptive; {}; {}", zone.carbon.source, load.source),
            results,
        })
    })?;
    Ok(rows::reproduction(&cases))
}
