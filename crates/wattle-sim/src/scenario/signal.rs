//! `[power_cap]` and `[carbon_intensity]`: a constant or a trace, aligned with the run in time.

use std::time::Duration;

use serde::Deserialize;
use wattle_core::signal::{AfterEnd, Signal, Trace};

use super::load::{Files, ScenarioError, wrong};
use super::traffic::number;

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
    #[serde(default)]
    pub start_seconds: f64,
    /// The trace runs so many times as fast; 1 by default.
    #[serde(default = "one")]
    pub speed: f64,
    /// Every value times this; 1 by default.
    #[serde(default = "one")]
    pub scale: f64,
    /// What holds past the end: `unknown`, `hold` (the default) or `repeat`.
    #[serde(default = "hold")]
    pub after_end: AfterEnd,
    /// Of a power cap: how far ahead policies are shown its changes, as from a schedule or a perfect
    /// forecast; 0 (the default): not at all.
    #[serde(default)]
    pub horizon_seconds: f64,
}

fn one() -> f64 {
    1.0
}

fn hold() -> AfterEnd {
    AfterEnd::Hold
}

impl SignalFile {
    /// The signal that it says, whose values a file calls `column`. `place` is for errors.
    pub(super) fn signal(
        &self,
        place: &str,
        column: &str,
        files: &mut Files<'_>,
    ) -> Result<Signal, ScenarioError> {
        let scale = number(files, &format!("{place}.scale"), self.scale)?;
        let signal = match (self.constant, &self.trace, &self.steps) {
            (Some(constant), None, None) => {
                Signal::Constant(number(files, &format!("{place}.constant"), constant)?)
            }
            (None, Some(file), None) => {
                let path = files.record(file)?;
                let text = files.text(&path)?;
                Signal::Trace(Trace::parse(&text, &path.display().to_string(), column, self.after_end)?)
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
                let trace = Trace::new(points, self.after_end);
                Signal::Trace(trace.map_err(|error| {
                    wrong(files.name(), &format!("{place}.steps"), &error.to_string(), "ascending seconds")
                })?)
            }
            _ => {
                let expected = "exactly one of constant, trace and steps";
                return Err(wrong(files.name(), place, "none or several", expected));
            }
        };
        let start = number(files, &format!("{place}.start_seconds"), self.start_seconds)?;
        let signal = signal.starting_at(Duration::from_secs_f64(start.min(1e12)));
        let signal = signal.sped_up(self.speed).ok_or_else(|| {
            wrong(files.name(), &format!("{place}.speed"), &self.speed.to_string(), "a number over 0")
        })?;
        Ok(if scale == 1.0 { signal } else { signal.map(|value| value * scale) })
    }
}
