//! Anything that answers a GET with JSON: one value, or a list of them with their times.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus, Quantity, SignalHead};
use wattle_core::time::UnixTime;

use super::prometheus::logins;
use crate::config::{ConfigError, factor_of, interval_of, told_head};
use crate::http::{Http, HttpLimits, Login, Scheme, host_of};
use crate::json;
pub use crate::json::JsonPath;
use crate::points::Points;
use crate::provider::{FetchError, Fetched, Provider};
use crate::times::{self, shortened};
use crate::token::{Credential, Secret, SecretKeys};
use crate::unit::Unit;

const NAME: &str = "http-json";
const WANTED: &str = "an answer; check url, headers and token";

/// The value of a header: as it stands, or from where it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum HeaderText {
    /// As it stands. Shown nowhere, as it may be secret after all.
    Text(Secret),
    /// In an environment variable or a file.
    Kept(HeaderPlace),
}

/// Where the value of a header is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderPlace {
    /// The environment variable.
    pub env: Option<String>,
    /// The file.
    pub file: Option<PathBuf>,
}

/// `source = "http-json"`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpJsonConfig {
    /// The whole address. What comes after its question mark is told in no error.
    pub url: Secret,
    /// Where in the answer, or in each item of the list, the value stands.
    pub value_path: JsonPath,
    /// Where its time stands: ISO 8601 with an offset, or seconds or milliseconds since 1970. Without it
    /// a value is of the time at which it came.
    pub time_path: Option<JsonPath>,
    /// Where the list of values stands, if there is one.
    pub list_path: Option<JsonPath>,
    /// The unit of its values.
    pub unit: Unit,
    /// Where the answer names its unit, to check that it is this one.
    pub unit_path: Option<JsonPath>,
    /// How long one value holds; as far apart as most of a list's are, unless told.
    pub step_seconds: Option<u64>,
    /// How often there can be something new.
    #[serde(default = "five_minutes")]
    pub interval_seconds: u64,
    /// Headers to send.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderText>,
    /// The environment variable that holds a bearer token.
    pub token_env: Option<String>,
    /// The file that holds a bearer token.
    pub token_file: Option<PathBuf>,
    /// The user, for basic authentication.
    pub username: Option<String>,
    /// The environment variable that holds the password.
    pub password_env: Option<String>,
    /// The file that holds the password.
    pub password_file: Option<PathBuf>,
    /// Of where.
    pub zone: Option<String>,
    /// Average or marginal.
    pub kind: Option<IntensityKind>,
    /// Direct or life-cycle.
    pub scope: Option<EmissionScope>,
}

fn five_minutes() -> u64 {
    300
}

/// Asks one address.
#[derive(Debug)]
pub struct HttpJson {
    head: SignalHead,
    http: Http,
    unit: Unit,
    value_path: JsonPath,
    time_path: Option<JsonPath>,
    list_path: Option<JsonPath>,
    unit_path: Option<JsonPath>,
    step: Option<Duration>,
    interval: Duration,
}

impl HttpJson {
    /// The source of `config`.
    pub fn new(
        config: &HttpJsonConfig,
        quantity: Quantity,
        base: &Path,
        limits: HttpLimits,
    ) -> Result<Self, ConfigError> {
        if config.list_path.is_some() && config.time_path.is_none() {
            let expected = "time_path as well: each value of a list has its own time";
            return Err(ConfigError::new(NAME, "list_path", "a list without time_path", expected));
        }
        let mut logins = logins(
            NAME,
            (config.token_env.as_deref(), config.token_file.as_deref()),
            config.username.as_deref(),
            (config.password_env.as_deref(), config.password_file.as_deref()),
            base,
        )?;
        for (name, text) in &config.headers {
            logins.push(Login { scheme: Scheme::Plain(name.clone()), credential: open(name, text, base)? });
        }
        factor_of(NAME, config.unit, quantity)?;
        let name = format!("JSON at {}", host_of(config.url.expose()));
        Ok(Self {
            head: told_head(
                NAME,
                quantity,
                (config.zone.as_ref(), config.kind, config.scope),
                format!("{name}, {}", config.value_path.written()),
            )?,
            http: Http::new(NAME, name, ("url", config.url.expose()), logins, limits)?,
            unit: config.unit,
            value_path: config.value_path.clone(),
            time_path: config.time_path.clone(),
            list_path: config.list_path.clone(),
            unit_path: config.unit_path.clone(),
            step: config
                .step_seconds
                .map(|seconds| interval_of(NAME, "step_seconds", seconds))
                .transpose()?,
            interval: interval_of(NAME, "interval_seconds", config.interval_seconds)?,
        })
    }

    fn check_unit(&self, answer: &Value) -> Result<(), FetchError> {
        let Some(path) = &self.unit_path else { return Ok(()) };
        let told = path.find(answer).map_err(|found| self.http.nonsense(found, "the unit there"))?;
        let Some(text) = told.as_str() else {
            return Err(self.http.nonsense(format!("{} as the unit", json::kind(told)), "text"));
        };
        if Unit::parse(text) == Some(self.unit) {
            return Ok(());
        }
        let expected = format!("{}, as configured", self.unit);
        Err(self.http.nonsense(format!("the unit {}", shortened(text)), expected))
    }

    /// The value in `item`, taken at its time, or at `now` where no time is told.
    fn take(&self, item: &Value, now: UnixTime, points: &mut Points) -> Result<(), String> {
        let at = match &self.time_path {
            None => now,
            Some(path) => time_of(path.find(item)?)?,
        };
        let value = match self.value_path.find(item)? {
            Value::Null => None,
            value => Some(json::loose_number(value).ok_or_else(|| {
                format!("{} at {:?}, which is no number", json::kind(value), self.value_path.written())
            })?),
        };
        let status = if at > now { PointStatus::Forecast } else { PointStatus::Unknown };
        points.take(at, value, status);
        Ok(())
    }
}

fn time_of(value: &Value) -> Result<UnixTime, String> {
    match value {
        Value::String(text) => times::parse_iso(text),
        Value::Number(number) => {
            number.as_f64().and_then(times::from_number).ok_or_else(|| "a number that is no time".into())
        }
        other => Err(format!("{} as a time", json::kind(other))),
    }
}

fn open(name: &str, text: &HeaderText, base: &Path) -> Result<Credential, ConfigError> {
    let place = match text {
        HeaderText::Text(text) => return Ok(Credential::configured(text.clone())),
        HeaderText::Kept(place) => place,
    };
    let keys = SecretKeys { source_name: NAME, name, env: place.env.as_deref(), file: place.file.as_deref() };
    let field = format!("headers.{name}");
    Credential::open(keys, base)
        .map_err(|error| ConfigError { field: field.clone(), ..error })?
        .ok_or_else(|| ConfigError::new(NAME, &field, "neither env nor file", "one of the two"))
}

impl Provider for HttpJson {
    fn head(&self) -> &SignalHead {
        &self.head
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn fetch(&mut self, _since: UnixTime, now: UnixTime) -> Result<Fetched, FetchError> {
        let answer = self.http.get("", &[], WANTED, now)?;
        self.check_unit(&answer.json)?;
        let mut points = Points::new(self.head.quantity, self.unit.factor(), now);
        match &self.list_path {
            None => self
                .take(&answer.json, now, &mut points)
                .map_err(|found| self.http.nonsense(found, "a value (and its time); check the paths"))?,
            Some(path) => {
                let list =
                    path.find(&answer.json).map_err(|found| self.http.nonsense(found, "a list there"))?;
                let Value::Array(items) = list else {
                    let found = format!("{} at {:?}", json::kind(list), path.written());
                    return Err(self.http.nonsense(found, "a list there"));
                };
                let mut first_problem = None;
                for item in items {
                    if let Err(problem) = self.take(item, now, &mut points) {
                        let problem = self.http.without_secrets(&problem);
                        points.note(format!("a value of the list: found {problem}"));
                        first_problem.get_or_insert(problem);
                    }
                }
                // Where not one item is as configured, it is the configuration that is wrong.
                if let Some(problem) = first_problem.filter(|_| points.is_empty()) {
                    return Err(self.http.nonsense(problem, "values and their times; check the paths"));
                }
            }
        }
        let step = self.step.or_else(|| points.usual_step());
        Ok(points.finish(step, answer.clock_ahead_seconds))
    }
}
