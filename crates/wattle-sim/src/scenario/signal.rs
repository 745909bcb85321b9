//! `[power_cap]` and `[carbon_intensity]`: a constant or a trace, aligned with the run in time.

use std::time::Duration;

use serde::Deserialize;
use wattle_core::signal::{AfterEnd, Signal, Trace};

use super::check::{MOST_HORIZON_SECONDS, SHORTEST_REPEAT, number, number_to, without};
use super::files::Files;
use super::load::{ScenarioError, wrong};
use crate::plan::CarbonForecast;

/// A seasonal-naive forecast reaches no further: it repeats the day before.
const SECONDS_A_DAY: f64 = 86_400.0;

/// A signal, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalFile {
    /// A constant: watts, or gCO2e/kWh.
    pub constant: Option<f64>,
    /// A CSV file `seconds,power_cap_watts` or `seconds,carbon_intensity_g_per_kwh`.
    pub trace: Option<String>,
    /// Steps in the scenario itself: `[[seconds, value], …]`.
    pub steps: Option<Vec<(f64, f64)>>,
    /// Where in the trace's own time the run begins; 0 by default.
    pub start_seconds: Option<f64>,
    /// The trace runs so many times as fast; 1 by default.
    pub speed: Option<f64>,
    /// Every value times this; 1 by default.
    #[serde(default = "one")]
    pub scale: f64,
    /// What holds past the end: `unknown`, `hold` (the default) or `repeat`.
    pub after_end: Option<AfterEnd>,
    /// How far ahead policies are shown its changes, as from a schedule or a forecast; 0 (the default): not
    /// at all.
    pub horizon_seconds: Option<f64>,
    /// Of a carbon intensity: how its changes within the horizon are known, `perfect` (the default) or
    /// `seasonal-naive`.
    pub forecast: Option<CarbonForecast>,
}

fn one() -> f64 {
    1.0
}

impl SignalFile {
    /// How far ahead policies are shown the changes of the signal.
    pub(super) fn horizon(&self, place: &str, files: &Files<'_>) -> Result<Duration, ScenarioError> {
        let place = format!("{place}.horizon_seconds");
        let seconds = number_to(files, &place, self.horizon_seconds.unwrap_or(0.0), MOST_HORIZON_SECONDS)?;
        Ok(Duration::from_secs_f64(seconds))
    }

    /// How the changes within the horizon are known.
    pub(super) fn forecast(&self, place: &str, files: &Files<'_>) -> Result<CarbonForecast, ScenarioError> {
        if self.horizon(place, files)?.is_zero() {
            let keys = [("forecast", self.forecast.is_some())];
            without(files.name(), place, &keys, "it with a horizon_seconds over 0 alone")?;
        }
        let forecast = self.forecast.unwrap_or_default();
        if forecast == CarbonForecast::SeasonalNaive {
            let place = format!("{place}.horizon_seconds");
            number_to(files, &place, self.horizon_seconds.unwrap_or(0.0), SECONDS_A_DAY)?;
        }
        Ok(forecast)
    }

    /// Refuses a forecast: the schedule of this signal is known.
    pub(super) fn without_forecast(&self, place: &str, files: &Files<'_>) -> Result<(), ScenarioError> {
        let keys = [("forecast", self.forecast.is_some())];
        without(files.name(), place, &keys, "it under carbon_intensity alone")
    }

    /// The signal that it says, whose values a file calls `column`. `place` is for errors.
    pub(super) fn signal(
        &self,
        place: &str,
        column: &str,
        files: &mut Files<'_>,
    ) -> Result<Signal, ScenarioError> {
        let after_end = self.after_end.unwrap_or(AfterEnd::Hold);
        if self.constant.is_some() {
            let keys = [
                ("start_seconds", self.start_seconds.is_some()),
                ("speed", self.speed.is_some()),
                ("after_end", self.after_end.is_some()),
                ("horizon_seconds", self.horizon_seconds.is_some()),
            ];
            without(files.name(), place, &keys, "it with trace or steps alone")?;
        }
        let scale = number(files, &format!("{place}.scale"), self.scale)?;
        let signal = match (self.constant, &self.trace, &self.steps) {
            (Some(constant), None, None) => {
                Signal::Constant(number(files, &format!("{place}.constant"), constant)?)
            }
            (None, Some(file), None) => {
                let path = files.record(file)?;
                let text = files.text(&path)?;
                Signal::Trace(Trace::parse(&text, &path.display().to_string(), column, after_end)?)
            }
            (None, None, Some(steps)) => {
                let points = steps.iter().map(|(seconds, value)| {
                    let offset = Duration::try_from_secs_f64(*seconds).map_err(|_| {
                        wrong(
                            files.name(),
                            &format!("{place}.steps"),
                            &seconds.to_string(),
                            "seconds of at least 0",
                        )
                    })?;
                    Ok((offset, *value))
                });
                let points = points.collect::<Result<Vec<_>, ScenarioError>>()?;
                let trace = Trace::new(points, after_end);
                Signal::Trace(trace.map_err(|error| {
                    wrong(files.name(), &format!("{place}.steps"), &error.to_string(), "ascending seconds")
                })?)
            }
            _ => {
                let expected = "exactly one of constant, trace and steps";
                return Err(wrong(files.name(), place, "none or several", expected));
            }
        };
        let start = number(files, &format!("{place}.start_seconds"), self.start_seconds.unwrap_or(0.0))?;
        let signal = signal.starting_at(Duration::from_secs_f64(start.min(1e12)));
        let speed = self.speed.unwrap_or(1.0);
        let signal = signal.sped_up(speed).ok_or_else(|| {
            wrong(files.name(), &format!("{place}.speed"), &speed.to_string(), "a number over 0")
        })?;
        if let (Signal::Trace(trace), AfterEnd::Repeat) = (&signal, after_end) {
            let first = trace.points().first().map_or(Duration::ZERO, |(offset, _)| *offset);
            // A trace of one value never ends.
            if let Some(length) = trace.end().map(|end| end.saturating_sub(first))
                && length < SHORTEST_REPEAT
            {
                let found = format!("a repeated trace of {} seconds", length.as_secs_f64());
                let expected = format!("at least {}", SHORTEST_REPEAT.as_secs_f64());
                return Err(wrong(files.name(), place, &found, &expected));
            }
        }
        Ok(if scale == 1.0 { signal } else { signal.map(|value| value * scale) })
    }
}
