//! The WebAPI of the Green Software Foundation's Carbon Aware SDK, which itself asks Electricity Maps,
//! WattTime or a file. In g/kWh.
//!
//! It does not tell whose numbers it passes on or of which kind they are: the configuration does. What its
//! upstream does not know it passes on as -1, which is left out.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus, Quantity, SignalHead};
use wattle_core::time::UnixTime;

use crate::config::{ConfigError, interval_of, told_head};
use crate::extra::Extra;
use crate::http::{Http, HttpLimits, host_of};
use crate::json;
use crate::points::Points;
use crate::provider::{FetchError, Fetched, Provider};
use crate::times::iso;

const NAME: &str = "carbon-aware-sdk";
const WANTED: &str = "a location that its /locations lists; check base_url";
/// Of older times some of its upstreams know nothing.
const LONGEST_PAST: Duration = Duration::from_secs(7 * 24 * 3600);
/// The present value begins up to an hour ago, and may yet be corrected.
const OVERLAP: Duration = Duration::from_secs(3600);

/// `source = "carbon-aware-sdk"`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarbonAwareSdkConfig {
    /// The address of the WebAPI; there is no public one.
    pub base_url: String,
    /// The location, as its `/locations` has it, such as `westus`.
    pub location: String,
    /// Average or marginal, which depends on what it asks itself.
    pub kind: Option<IntensityKind>,
    /// Direct or life-cycle, likewise.
    pub scope: Option<EmissionScope>,
    /// Whether to ask for the forecast.
    #[serde(default = "yes")]
    pub forecast: bool,
    /// How often there can be something new.
    #[serde(default = "quarter_of_an_hour")]
    pub interval_seconds: u64,
}

fn yes() -> bool {
    true
}

fn quarter_of_an_hour() -> u64 {
    900
}

/// Asks a Carbon Aware SDK.
#[derive(Debug)]
pub struct CarbonAwareSdk {
    head: SignalHead,
    http: Http,
    location: String,
    interval: Duration,
    forecast: Option<Extra>,
    /// Until when it told the past.
    told_until: Option<UnixTime>,
}

impl CarbonAwareSdk {
    /// The source of `config`.
    pub fn new(config: &CarbonAwareSdkConfig, limits: HttpLimits) -> Result<Self, ConfigError> {
        if config.location.trim().is_empty() {
            return Err(ConfigError::new(NAME, "location", "nothing", "a location such as westus"));
        }
        let name = format!("Carbon Aware SDK at {}", host_of(&config.base_url));
        let http = Http::new(NAME, name.as_str(), ("base_url", &config.base_url), Vec::new(), limits)?;
        Ok(Self {
            head: told_head(
                NAME,
                Quantity::CarbonIntensity,
                (Some(&config.location), config.kind, config.scope),
                name,
            )?,
            http,
            location: config.location.clone(),
            interval: interval_of(NAME, "interval_seconds", config.interval_seconds)?,
            forecast: config.forecast.then(|| Extra::new("the forecast", Duration::from_secs(3600))),
            told_until: None,
        })
    }

    fn ask_past(
        &mut self,
        since: UnixTime,
        now: UnixTime,
        points: &mut Points,
    ) -> Result<Option<i64>, FetchError> {
        let told_until = self.told_until.filter(|until| *until <= now).unwrap_or(since);
        let since = (since.max(told_until).min(now) - OVERLAP).max(now - LONGEST_PAST);
        let (start, end) = (iso(since), iso(now));
        let query = [("location", self.location.as_str()), ("time", &start), ("toTime", &end)];
        let answer = self.http.get("/emissions/bylocation", &query, WANTED, now)?;
        match &answer.json {
            // HTTP 204: nothing is known of that time.
            Value::Null => points.note("an answer without a value"),
            Value::Array(items) => {
                for item in items {
                    if let Err(problem) = Self::take(item, ("time", "rating"), PointStatus::Unknown, points) {
                        points.note(format!("a value: found {problem}"));
                    }
                }
            }
            other => {
                return Err(self.http.nonsense(
                    json::kind(other),
                    "a list of location, time and rating, as /emissions/bylocation has it",
                ));
            }
        }
        self.told_until = Some(now);
        Ok(answer.clock_ahead_seconds)
    }

    fn ask_forecast(&mut self, now: UnixTime, points: &mut Points) -> Result<(), FetchError> {
        let wanted = "a source of the SDK that forecasts; set forecast = false without one";
        let query = [("location", self.location.as_str())];
        let answer = self.http.get("/emissions/forecasts/current", &query, wanted, now)?;
        let forecast = match &answer.json {
            Value::Array(forecasts) => forecasts.first().unwrap_or(&Value::Null),
            other => other,
        };
        let items = json::list(forecast, "forecastData")
            .map_err(|(found, expected)| self.http.nonsense(found, expected))?;
        for item in items {
            if let Err(problem) = Self::take(item, ("timestamp", "value"), PointStatus::Forecast, points) {
                points.note(format!("a value of the forecast: found {problem}"));
            }
        }
        Ok(())
    }

    fn take(
        item: &Value,
        (time_key, value_key): (&str, &str),
        status: PointStatus,
        points: &mut Points,
    ) -> Result<(), String> {
        let at = json::time(item, time_key)?;
        match item.get(value_key) {
            Some(Value::Number(number)) => points.take(at, number.as_f64(), status),
            Some(Value::Null) => points.take(at, None, status),
            Some(other) => return Err(format!("{} under {value_key:?}", json::kind(other))),
            None => return Err(format!("no {value_key:?}")),
        }
        Ok(())
    }
}

impl Provider for CarbonAwareSdk {
    fn head(&self) -> &SignalHead {
        &self.head
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn most_requests(&self) -> u32 {
        2
    }

    fn fetch(&mut self, since: UnixTime, now: UnixTime) -> Result<Fetched, FetchError> {
        let mut points = Points::new(Quantity::CarbonIntensity, 1.0, now);
        let clock_ahead = self.ask_past(since, now, &mut points)?;
        if let Some(mut forecast) = self.forecast.take() {
            if forecast.is_due(now) {
                match self.ask_forecast(now, &mut points) {
                    Ok(()) => forecast.answered(now),
                    Err(error) => points.note(forecast.failed(now, &error)),
                }
            }
            self.forecast = Some(forecast);
        }
        let step = points.usual_step();
        Ok(points.finish(step, clock_ahead))
    }
}
