//! Electricity Maps, API v3: average carbon intensity of the electricity that a zone consumes.
//!
//! `latest` is the present hour and mostly an estimate; `history` holds the last 24 hours and settles it
//! later. The forecast is of a paid plan. Where a zone is not known the service answers for the place of
//! the caller's address: it is asked not to, and what it says about its zone is checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus, Quantity, SignalHead};
use wattle_core::time::UnixTime;

use crate::config::ConfigError;
use crate::extra::Extra;
use crate::http::{Http, HttpLimits, Login, Scheme};
use crate::json;
use crate::points::Points;
use crate::provider::{FetchError, Fetched, Provider};
use crate::times::shortened;
use crate::token::{Credential, SecretKeys};

const NAME: &str = "electricity-maps";
const HOUR: Duration = Duration::from_secs(3600);
const WANTED: &str = "a zone that exists and that the token may read (a free token reads one zone)";

/// `source = "electricity-maps"`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElectricityMapsConfig {
    /// The zone, such as `US-CAL-CISO`.
    pub zone: String,
    /// The environment variable that holds the token.
    pub token_env: Option<String>,
    /// The file that holds the token.
    pub token_file: Option<PathBuf>,
    /// Which emissions count: `life-cycle` unless told, as the service has it, or `direct`.
    #[serde(default = "life_cycle")]
    pub scope: EmissionScope,
    /// Whether to ask for the forecast, which free tokens can't read.
    #[serde(default = "yes")]
    pub forecast: bool,
    /// The address of the service.
    #[serde(default = "official")]
    pub base_url: String,
}

fn life_cycle() -> EmissionScope {
    EmissionScope::LifeCycle
}

fn yes() -> bool {
    true
}

fn official() -> String {
    "https://api.electricitymaps.com/v3".into()
}

/// Asks Electricity Maps.
#[derive(Debug)]
pub struct ElectricityMaps {
    head: SignalHead,
    http: Http,
    /// `lifecycle` or `direct`, as the service says it.
    factors: &'static str,
    zone: String,
    history: Extra,
    forecast: Option<Extra>,
}

impl ElectricityMaps {
    /// The source of `config`.
    pub fn new(config: &ElectricityMapsConfig, base: &Path, limits: HttpLimits) -> Result<Self, ConfigError> {
        let factors = match config.scope {
            EmissionScope::LifeCycle => "lifecycle",
            EmissionScope::Direct => "direct",
            EmissionScope::Unknown => {
                return Err(ConfigError::new(NAME, "scope", "unknown", "life-cycle or direct"));
            }
        };
        if config.zone.trim().is_empty() {
            return Err(ConfigError::new(NAME, "zone", "nothing", "a zone such as DE or US-CAL-CISO"));
        }
        let keys = SecretKeys {
            source_name: NAME,
            name: "token",
            env: config.token_env.as_deref(),
            file: config.token_file.as_deref(),
        };
        let credential = Credential::open(keys, base)?.ok_or_else(|| {
            ConfigError::new(
                NAME,
                "token_env",
                "no token",
                "token_env or token_file: the service answers nobody without",
            )
        })?;
        let login = Login { scheme: Scheme::Plain("auth-token".into()), credential };
        let name = "Electricity Maps v3";
        let http = Http::new(NAME, name, ("base_url", &config.base_url), vec![login], limits)?;
        Ok(Self {
            head: SignalHead {
                quantity: Quantity::CarbonIntensity,
                zone: Some(config.zone.clone()),
                kind: IntensityKind::Average,
                scope: config.scope,
                source: name.into(),
            },
            http,
            factors,
            zone: config.zone.clone(),
            history: Extra::new("the history", HOUR),
            forecast: config.forecast.then(|| Extra::new("the forecast", HOUR)),
        })
    }

    fn ask(&mut self, what: &str, wanted: &str, now: UnixTime) -> Result<(Value, Option<i64>), FetchError> {
        let path = format!("/carbon-intensity/{what}");
        let query = [
            ("zone", self.zone.as_str()),
            ("emissionFactorType", self.factors),
            ("shouldUseFallbackCallerLookup", "false"),
        ];
        let answer = self.http.get(&path, &query, wanted, now)?;
        for (key, asked) in [("zone", self.zone.as_str()), ("emissionFactorType", self.factors)] {
            if let Some(told) = json::text(&answer.json, key)
                && told != asked
            {
                return Err(self.http.nonsense(
                    format!("an answer with {key} {}", shortened(told)),
                    format!("{asked:?}, as asked"),
                ));
            }
        }
        Ok((answer.json, answer.clock_ahead_seconds))
    }

    /// The points under `key`, all of this status unless they say that they are estimated or not.
    fn take_list(&self, answer: &Value, key: &str, points: &mut Points) -> Result<(), FetchError> {
        let items =
            json::list(answer, key).map_err(|(found, expected)| self.http.nonsense(found, expected))?;
        for item in items {
            if let Err(problem) = self.take(item, key == "forecast", points) {
                points.note(format!("a value of the {key}: found {}", self.http.without_secrets(&problem)));
            }
        }
        Ok(())
    }

    fn take(&self, item: &Value, is_forecast: bool, points: &mut Points) -> Result<(), String> {
        let at = json::time(item, "datetime")?;
        if let Some(told) = json::text(item, "emissionFactorType")
            && told != self.factors
        {
            return Err(format!("the emission factors {}, not {:?}", shortened(told), self.factors));
        }
        let value = match item.get("carbonIntensity") {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::Null) => None,
            Some(other) => return Err(format!("{} under \"carbonIntensity\"", json::kind(other))),
            None => return Err("no \"carbonIntensity\"".into()),
        };
        let status = match item.get("isEstimated") {
            _ if is_forecast => PointStatus::Forecast,
            Some(Value::Bool(true)) => PointStatus::Estimated,
            Some(Value::Bool(false)) => PointStatus::Actual,
            _ => PointStatus::Unknown,
        };
        points.take(at, value, status);
        Ok(())
    }

    fn ask_list(
        &mut self,
        key: &str,
        wanted: &str,
        now: UnixTime,
        points: &mut Points,
    ) -> Result<(), FetchError> {
        let (answer, _) = self.ask(key, wanted, now)?;
        self.take_list(&answer, key, points)
    }
}

impl Provider for ElectricityMaps {
    fn head(&self) -> &SignalHead {
        &self.head
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(15 * 60)
    }

    fn most_requests(&self) -> u32 {
        3
    }

    fn fetch(&mut self, _since: UnixTime, now: UnixTime) -> Result<Fetched, FetchError> {
        let mut points = Points::new(Quantity::CarbonIntensity, 1.0, now);
        let (latest, clock_ahead) = self.ask("latest", WANTED, now)?;
        self.take(&latest, false, &mut points).map_err(|found| {
            self.http.nonsense(found, "the carbonIntensity of a datetime, as /carbon-intensity/latest has it")
        })?;
        if self.history.is_due(now) {
            match self.ask_list("history", WANTED, now, &mut points) {
                Ok(()) => self.history.answered(now),
                Err(error) => points.note(self.history.failed(now, &error)),
            }
        }
        if let Some(mut forecast) = self.forecast.take() {
            if forecast.is_due(now) {
                let wanted = "a plan with forecasts; set forecast = false without one";
                match self.ask_list("forecast", wanted, now, &mut points) {
                    Ok(()) => forecast.answered(now),
                    Err(error) => points.note(forecast.failed(now, &error)),
                }
            }
            self.forecast = Some(forecast);
        }
        Ok(points.finish(Some(HOUR), clock_ahead))
    }
}
