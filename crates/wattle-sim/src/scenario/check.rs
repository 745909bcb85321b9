//! Bounds of what a scenario may say, so that every run ends and fits in memory.

use std::time::Duration;

use super::files::Files;
use super::load::{ScenarioError, wrong};
use super::{Level, ScenarioFile};

/// The highest rate of requests in a second.
pub(super) const MOST_RPS: f64 = 1e9;
/// The most clients of a workload.
pub(super) const MOST_CLIENTS: u32 = 1_000_000;
/// The most time in which policies may be shown the changes of a cap: some 11 days.
pub(super) const MOST_HORIZON_SECONDS: f64 = 1e6;
/// The shortest trace that may be repeated.
pub(super) const SHORTEST_REPEAT: Duration = Duration::from_millis(1);
/// The most points of a grid.
pub(super) const MOST_GRID_POINTS: u64 = 1_000_000;
const MOST_POINTS: usize = 100_000;
const MOST_SEEDS: usize = 10_000;
const MOST_SECONDS: Duration = Duration::from_secs(10_000_000_000);
const MOST_NAME_CHARACTERS: usize = 100;
const EXPECTED_SPAN: &str = "more than 0, and less than 300 years";

/// A span that no run can have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("found {found} seconds, expected {EXPECTED_SPAN}")]
pub struct SpanError {
    /// How long it was to be, in seconds.
    pub found: f64,
}

/// The span of a run of `seconds`, by the bounds of `span_seconds` in a scenario.
///
/// # Errors
/// When that is not more than 0 and less than 300 years.
pub fn check_span(seconds: f64) -> Result<Duration, SpanError> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|span| !span.is_zero() && *span < MOST_SECONDS)
        .ok_or(SpanError { found: seconds })
}

/// A length of time of the scenario `name` under `key`, with the bounds of a span.
pub(super) fn seconds(name: &str, key: &str, seconds: f64) -> Result<Duration, ScenarioError> {
    check_span(seconds).map_err(|error| wrong(name, key, &error.found.to_string(), EXPECTED_SPAN))
}

/// A number of at least 0.
pub(super) fn number(files: &Files<'_>, place: &str, value: f64) -> Result<f64, ScenarioError> {
    if value.is_finite() && (0.0..=1e15).contains(&value) {
        return Ok(value);
    }
    Err(wrong(files.name(), place, &value.to_string(), "a number of at least 0"))
}

/// A number in 0 to `most`.
pub(super) fn number_to(files: &Files<'_>, place: &str, value: f64, most: f64) -> Result<f64, ScenarioError> {
    if (0.0..=most).contains(&value) {
        return Ok(value);
    }
    Err(wrong(files.name(), place, &value.to_string(), &format!("a number in 0 to {most}")))
}

/// An error when one of `keys`, each with whether it is given, is: it would be of no effect.
pub(super) fn without(
    file: &str,
    place: &str,
    keys: &[(&str, bool)],
    expected: &str,
) -> Result<(), ScenarioError> {
    match keys.iter().find(|(_, is_given)| *is_given) {
        Some((key, _)) => {
            let place = if place.is_empty() { (*key).to_owned() } else { format!("{place}.{key}") };
            Err(wrong(file, &place, "a key that would be of no effect", expected))
        }
        None => Ok(()),
    }
}

/// Checks the keys of the scenario itself, called `file` in errors.
pub(super) fn top(scenario: &ScenarioFile, file: &str) -> Result<(), ScenarioError> {
    if let Some(name) = &scenario.name {
        check_name(name, file)?;
    }
    if !(1..=MOST_POINTS).contains(&scenario.points) {
        let expected = format!("1 to {MOST_POINTS}");
        return Err(wrong(file, "points", &scenario.points.to_string(), &expected));
    }
    if let Some(seeds) = &scenario.seeds {
        without(file, "", &[("seed", scenario.seed.is_some())], "seeds alone, or seed alone")?;
        if !(1..=MOST_SEEDS).contains(&seeds.len()) {
            let found = format!("{} seeds", seeds.len());
            return Err(wrong(file, "seeds", &found, &format!("1 to {MOST_SEEDS} seeds")));
        }
    }
    match scenario.level {
        Level::Request => {
            let given = scenario.epoch_seconds.is_some();
            without(file, "", &[("epoch_seconds", given)], "it with level = \"epoch\" alone")
        }
        Level::Epoch => {
            let expected = "it with level = \"request\" alone";
            without(file, "", &[("tick_ms", scenario.tick_ms.is_some())], expected)?;
            for device in &scenario.devices {
                let place = format!("devices.{}", device.name);
                without(file, &place, &[("sensor_noise", device.sensor_noise != 0.0)], expected)?;
            }
            for model in &scenario.models {
                let keys = [("spread", model.is_spread()), ("timeout_ms", model.timeout_ms.is_some())];
                without(file, &model.place(), &keys, expected)?;
            }
            Ok(())
        }
    }
}

/// Checks a name that becomes a part of a path.
fn check_name(name: &str, file: &str) -> Result<(), ScenarioError> {
    let is_known = |c: char| c.is_alphanumeric() || " -_.,".contains(c);
    let is_fit = name.chars().all(is_known) && !name.starts_with('.') && !name.trim().is_empty();
    if is_fit && name.chars().count() <= MOST_NAME_CHARACTERS {
        return Ok(());
    }
    let expected = format!(
        "letters, digits, spaces and - _ . , of which no dot comes first, and {MOST_NAME_CHARACTERS} of them \
         at most: the name becomes part of a path"
    );
    Err(wrong(file, "name", &format!("{name:?}"), &expected))
}
