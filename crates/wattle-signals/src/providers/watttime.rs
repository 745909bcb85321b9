//! WattTime, API v3: marginal (or average) operating emissions, in pounds of CO2 per megawatt-hour.
//!
//! A user and password give a token that holds for half an hour. The present is the first value of the
//! forecast, the past comes from `historical` somewhat later. Without a subscription only the region
//! `CAISO_NORTH` is told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus, Quantity, SignalHead};
use wattle_core::time::UnixTime;

use crate::config::ConfigError;
use crate::extra::Extra;
use crate::http::{Answer, Failure, Http, HttpLimits, Login, Scheme};
use crate::json;
use crate::points::Points;
use crate::provider::{FetchError, Fetched, Provider};
use crate::times::{iso, shortened};
use crate::token::{Credential, Secret, SecretKeys};
use crate::unit::Unit;

const NAME: &str = "watttime";
const WANTED: &str =
    "a region and signal type of the plan (without a subscription only the region CAISO_NORTH is told)";
/// The unit that the service names, and the only one that is taken.
const ITS_UNIT: &str = "lbs_co2_per_mwh";
/// A token holds for 30 minutes; it is renewed somewhat earlier.
const TOKEN_HOLDS: Duration = Duration::from_secs(25 * 60);
/// Values are of 5 minutes.
const STEP: Duration = Duration::from_secs(300);
/// `historical` tells at most 32 days at once.
const LONGEST_PAST: Duration = Duration::from_secs(31 * 24 * 3600);

/// Which of WattTime's signals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum SignalType {
    /// Marginal operating emissions rate.
    #[default]
    #[serde(rename = "co2_moer")]
    Marginal,
    /// Average operating emissions rate, of the past only.
    #[serde(rename = "co2_aoer")]
    Average,
}

impl SignalType {
    fn name(self) -> &'static str {
        match self {
            Self::Marginal => "co2_moer",
            Self::Average => "co2_aoer",
        }
    }
}

/// `source = "watttime"`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WattTimeConfig {
    /// The region, such as `CAISO_NORTH`.
    pub region: String,
    /// The user.
    pub username: String,
    /// The environment variable that holds the password.
    pub password_env: Option<String>,
    /// The file that holds the password.
    pub password_file: Option<PathBuf>,
    /// Marginal (`co2_moer`, unless told) or average (`co2_aoer`) emissions.
    #[serde(default)]
    pub signal_type: SignalType,
    /// The address of the service.
    #[serde(default = "official")]
    pub base_url: String,
}

fn official() -> String {
    "https://api.watttime.org".into()
}

/// Asks WattTime.
#[derive(Debug)]
pub struct WattTime {
    head: SignalHead,
    /// Gives tokens for user and password.
    door: Http,
    /// Takes tokens.
    http: Http,
    token: Option<(Secret, UnixTime)>,
    region: String,
    signal_type: SignalType,
    historical: Extra,
    /// `None`: there is none of this signal type.
    forecast: Option<Extra>,
}

impl WattTime {
    /// The source of `config`.
    pub fn new(config: &WattTimeConfig, base: &Path, limits: HttpLimits) -> Result<Self, ConfigError> {
        for (field, text) in [("region", &config.region), ("username", &config.username)] {
            if text.trim().is_empty() {
                return Err(ConfigError::new(NAME, field, "nothing", "a name"));
            }
        }
        if config.username.contains(':') {
            let found = "a user with a colon";
            return Err(ConfigError::new(NAME, "username", found, "one without: HTTP can't send it"));
        }
        let keys = SecretKeys {
            source_name: NAME,
            name: "password",
            env: config.password_env.as_deref(),
            file: config.password_file.as_deref(),
        };
        let credential = Credential::open(keys, base)?.ok_or_else(|| {
            ConfigError::new(NAME, "password_env", "no password", "password_env or password_file")
        })?;
        let name = "WattTime v3";
        let login = Login { scheme: Scheme::Basic(config.username.clone()), credential };
        let address = ("base_url", config.base_url.as_str());
        let marginal = config.signal_type == SignalType::Marginal;
        Ok(Self {
            head: SignalHead {
                quantity: Quantity::CarbonIntensity,
                zone: Some(config.region.clone()),
                kind: if marginal { IntensityKind::Marginal } else { IntensityKind::Average },
                // Operating emissions: of what is burnt.
                scope: EmissionScope::Direct,
                source: name.into(),
            },
            door: Http::new(NAME, name, address, vec![login], limits)?,
            http: Http::new(NAME, name, address, Vec::new(), limits)?,
            token: None,
            region: config.region.clone(),
            signal_type: config.signal_type,
            historical: Extra::new("the past", Duration::from_secs(1800)),
            forecast: marginal.then(|| Extra::new("the present and the forecast", Duration::ZERO)),
        })
    }

    /// The token, asked for anew where it is too old.
    fn token(&mut self, now: UnixTime) -> Result<Secret, Failure> {
        if let Some((token, since)) = &self.token
            && *since <= now
            && now.saturating_since(*since) < TOKEN_HOLDS
        {
            return Ok(token.clone());
        }
        let answer = self.door.get("/login", &[], "a user and password that it knows", now)?;
        let token = json::text(&answer.json, "token")
            .filter(|token| !token.is_empty() && token.chars().all(|letter| letter.is_ascii_graphic()))
            .ok_or_else(|| Failure {
                status: None,
                error: self.door.nonsense("no token in the answer of /login", "a token; check base_url"),
            })?;
        let token = Secret::new(token);
        self.token = Some((token.clone(), now));
        Ok(token)
    }

    fn ask(&mut self, path: &str, query: &[(&str, &str)], now: UnixTime) -> Result<Answer, FetchError> {
        let token = self.token(now)?;
        match self.http.get_as(Some(&token), path, query, WANTED, now) {
            // The token may have run out early: once more with a new one.
            Err(Failure { status: Some(401), .. }) => {
                self.token = None;
                let token = self.token(now)?;
                Ok(self.http.get_as(Some(&token), path, query, WANTED, now)?)
            }
            answer => Ok(answer?),
        }
    }

    /// What an answer says of itself must be what was asked for. The step that it tells.
    fn check(&self, answer: &Value) -> Result<Duration, FetchError> {
        let meta = answer.get("meta").unwrap_or(&Value::Null);
        let asked =
            [("units", ITS_UNIT), ("region", self.region.as_str()), ("signal_type", self.signal_type.name())];
        for (key, asked) in asked {
            match json::text(meta, key) {
                Some(told) if told == asked => {}
                Some(told) => {
                    let found =
                        format!("an answer with meta.{key} {}", shortened(&self.without_secrets(told)));
                    return Err(self.http.nonsense(found, format!("{asked:?}")));
                }
                // The unit is never guessed.
                None if key == "units" => {
                    return Err(self.http.nonsense("an answer without meta.units", format!("{asked:?}")));
                }
                None => {}
            }
        }
        let seconds = meta.get("data_point_period_seconds").and_then(Value::as_u64);
        Ok(seconds.filter(|seconds| (1..=86_400).contains(seconds)).map_or(STEP, Duration::from_secs))
    }

    /// `text` of its own without the password and without the token that it gave.
    fn without_secrets(&self, text: &str) -> String {
        let text = self.door.without_secrets(text);
        match &self.token {
            Some((token, _)) => text.replace(token.expose(), "***"),
            None => text,
        }
    }

    fn take_all(
        &self,
        answer: &Value,
        is_forecast: bool,
        points: &mut Points,
    ) -> Result<Duration, FetchError> {
        let step = self.check(answer)?;
        let items =
            json::list(answer, "data").map_err(|(found, expected)| self.http.nonsense(found, expected))?;
        for item in items {
            let at = match json::time(item, "point_time") {
                Ok(at) => at,
                Err(problem) => {
                    points.note(format!("a value: found {}", self.without_secrets(&problem)));
                    continue;
                }
            };
            let value = match item.get("value") {
                Some(Value::Number(number)) => number.as_f64(),
                Some(Value::Null) | None => None,
                Some(other) => {
                    points.note(format!("the value of {}: found {}", iso(at), json::kind(other)));
                    continue;
                }
            };
            let status = match item.get("imputed_data_used") {
                _ if is_forecast => PointStatus::Forecast,
                Some(Value::Bool(true)) => PointStatus::Estimated,
                Some(Value::Bool(false)) => PointStatus::Actual,
                _ => PointStatus::Unknown,
            };
            points.take(at, value, status);
        }
        Ok(step)
    }

    fn ask_forecast(&mut self, now: UnixTime, points: &mut Points) -> Result<Told, FetchError> {
        let region = self.region.clone();
        let query = [("region", region.as_str()), ("signal_type", self.signal_type.name())];
        let answer = self.ask("/v3/forecast", &query, now)?;
        Ok((self.take_all(&answer.json, true, points)?, answer.clock_ahead_seconds))
    }

    fn ask_past(&mut self, since: UnixTime, now: UnixTime, points: &mut Points) -> Result<Told, FetchError> {
        let region = self.region.clone();
        let (start, end) = (iso(since.min(now).max(now - LONGEST_PAST)), iso(now));
        let query = [
            ("region", region.as_str()),
            ("signal_type", self.signal_type.name()),
            ("start", &start),
            ("end", &end),
            ("include_imputed_marker", "true"),
        ];
        let answer = self.ask("/v3/historical", &query, now)?;
        Ok((self.take_all(&answer.json, false, points)?, answer.clock_ahead_seconds))
    }
}

/// The step of values, and by how much the clock is ahead.
type Told = (Duration, Option<i64>);

impl Provider for WattTime {
    fn head(&self) -> &SignalHead {
        &self.head
    }

    fn interval(&self) -> Duration {
        STEP
    }

    fn most_requests(&self) -> u32 {
        3
    }

    fn fetch(&mut self, since: UnixTime, now: UnixTime) -> Result<Fetched, FetchError> {
        let mut points = Points::new(Quantity::CarbonIntensity, Unit::PoundsPerMegawattHour.factor(), now);
        let mut told = None;
        let mut failed = None;
        if let Some(mut forecast) = self.forecast.take() {
            if forecast.is_due(now) {
                match self.ask_forecast(now, &mut points) {
                    Ok(its) => told = Some(its),
                    Err(error) => {
                        points.note(forecast.failed(now, &error));
                        failed = Some(error);
                    }
                }
            }
            self.forecast = Some(forecast);
        }
        // After a refused login or a spent quota there is no use in asking on. Without a forecast the past
        // is all there is.
        let is_shut =
            failed.is_some() && (self.token.is_none() || matches!(failed, Some(FetchError::TooOften { .. })));
        if !is_shut && (told.is_none() || self.historical.is_due(now)) {
            match self.ask_past(since, now, &mut points) {
                Ok(its) => {
                    self.historical.answered(now);
                    told = told.or(Some(its));
                }
                Err(error) => {
                    points.note(self.historical.failed(now, &error));
                    failed = failed.or(Some(error));
                }
            }
        }
        match (told, failed) {
            (None, Some(error)) => {
                self.historical.reset();
                if let Some(forecast) = &mut self.forecast {
                    forecast.reset();
                }
                Err(error)
            }
            (told, _) => {
                let (step, clock_ahead) = told.map_or((None, None), |(step, ahead)| (Some(step), ahead));
                Ok(points.finish(step, clock_ahead))
            }
        }
    }
}
