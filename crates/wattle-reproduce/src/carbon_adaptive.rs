//! Carbon-adaptive model choice: large models when electricity is clean.
//!
//! "Carbon Intensity-Aware Adaptive Inference of DNNs" (Jung). Its four ResNets with the energies and
//! errors of its Table 1, a month by half hours. Its own arithmetic comes first, then the same from our
//! replay: the rule as it is meant, as it is printed, each network alone, and the best possible.

pub(crate) mod published;
pub(crate) mod replay;
mod rows;
#[cfg(test)]
mod tests;
pub(crate) mod traces;

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};

use wattle_sim::experiment::in_parallel;

use crate::{Options, ReproduceError, Reproduction};
use replay::{Month, Played};
use rows::Results;
use traces::{CarbonTrace, LoadTrace};

/// The rule as it is meant, and as it is printed.
const RULES: [&str; 2] = ["carbon-adaptive", "carbon-adaptive-printed"];

/// A defect of Wattle: something bundled doesn't hold together.
fn broken(cause: impl Display) -> ReproduceError {
    ReproduceError::Broken { name: "carbon-adaptive", cause: cause.to_string() }
}

/// How much is run: all of it, or a part for tests.
pub(crate) struct Scale {
    pub(crate) days: u32,
    /// Requests of 30 days.
    pub(crate) requests: f64,
    /// Length of the check request by request, in seconds.
    pub(crate) check_seconds: f64,
}

impl Scale {
    pub(crate) const FULL: Self = Self { days: 30, requests: 5e7, check_seconds: 86_400.0 };
}

/// Runs the experiment.
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
    let load = LoadTrace::of(options.data.as_deref(), scale)?;
    let carbon = CarbonTrace::all_of(options.data.as_deref(), scale.days)?;
    let months: Vec<Month<'_>> =
        carbon.iter().map(|carbon| Month::new(&load, carbon)).collect::<Result<_, _>>()?;
    let done = AtomicUsize::new(0);
    // For each month: the epochs, and one day request by request.
    let results = in_parallel(options.threads, months.len() * 2, |index| {
        let month = &months[index / 2];
        let played = if index % 2 == 0 {
            Played::Month(Box::new(Results::of(month)?))
        } else {
            Played::Day(month.request_level_over_epoch_level(RULES[0], 0.0, scale.check_seconds)?)
        };
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        progress(done as f64 / (months.len() * 2) as f64);
        Ok::<_, ReproduceError>(played)
    })?;
    rows::reproduction(&months, &results)
}
