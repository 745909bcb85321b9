//! A query of Prometheus, or of what speaks its HTTP API (VictoriaMetrics, Thanos, Mimir).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus, Quantity, SignalHead};
use wattle_core::time::UnixTime;

use crate::config::{ConfigError, factor_of, interval_of, told_head};
use crate::http::{Http, HttpLimits, Login, Scheme, host_of};
use crate::json;
use crate::points::Points;
use crate::provider::{FetchError, Fetched, Provider};
use crate::times::{from_number, shortened};
use crate::token::{Credential, SecretKeys};
use crate::unit::Unit;

const NAME: &str = "prometheus";
const WANTED: &str = "a query that Prometheus understands, and an address below which /api/v1/query is";
/// A range has at most 11,000 points a series.
const MOST_STEPS: u32 = 10_000;

/// `source = "prometheus"`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusConfig {
    /// The address, without `/api/v1`.
    pub base_url: String,
    /// The query: one series, or a scalar.
    pub query: String,
    /// The unit of its values.
    pub unit: Unit,
    /// How often there can be something new, and the step of its past.
    #[serde(default = "minute")]
    pub interval_seconds: u64,
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

fn minute() -> u64 {
    60
}

/// Asks a Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    head: SignalHead,
    http: Http,
    query: String,
    factor: f64,
    step: Duration,
    /// Until when it answered. What is past does not change.
    told_until: Option<UnixTime>,
}

impl Prometheus {
    /// The source of `config`.
    pub fn new(
        config: &PrometheusConfig,
        quantity: Quantity,
        base: &Path,
        limits: HttpLimits,
    ) -> Result<Self, ConfigError> {
        if config.query.trim().is_empty() {
            return Err(ConfigError::new(NAME, "query", "nothing", "a query of one series"));
        }
        let step = interval_of(NAME, "interval_seconds", config.interval_seconds)?;
        let name = format!("Prometheus at {}", host_of(&config.base_url));
        let logins = logins(
            NAME,
            (config.token_env.as_deref(), config.token_file.as_deref()),
            config.username.as_deref(),
            (config.password_env.as_deref(), config.password_file.as_deref()),
            base,
        )?;
        Ok(Self {
            head: told_head(
                NAME,
                quantity,
                (config.zone.as_ref(), config.kind, config.scope),
                format!("{name}, the query {}", config.query),
            )?,
            http: Http::new(NAME, name, ("base_url", &config.base_url), logins, limits)?,
            query: config.query.clone(),
            factor: factor_of(NAME, config.unit, quantity)?,
            step,
            told_until: None,
        })
    }

    fn take_result(&self, answer: &Value, points: &mut Points) -> Result<(), FetchError> {
        const EXPECTED: &str = "an answer of Prometheus' query API";
        if json::text(answer, "status") != Some("success") {
            let kind = json::text(answer, "errorType").map_or_else(|| "no kind".to_owned(), shortened);
            return Err(self
                .http
                .nonsense(format!("an answer without the status success (error of {kind})"), WANTED));
        }
        let data = answer.get("data").unwrap_or(&Value::Null);
        let result = data.get("result").unwrap_or(&Value::Null);
        match json::text(data, "resultType") {
            Some("scalar") => self.take_sample(result, points),
            Some("vector") => {
                let sample = self.only_series(result)?.get("value").unwrap_or(&Value::Null);
                self.take_sample(sample, points)
            }
            Some("matrix") => {
                let samples = json::list(self.only_series(result)?, "values")
                    .map_err(|(found, expected)| self.http.nonsense(found, expected))?;
                samples.iter().try_for_each(|sample| self.take_sample(sample, points))
            }
            Some(other) => {
                let found = format!("a result of the type {}", shortened(other));
                Err(self.http.nonsense(found, "a query whose result is a number: one series or a scalar"))
            }
            None => Err(self.http.nonsense("an answer without data.resultType", EXPECTED)),
        }
    }

    /// The one series of a result. Of several the labels are told, of which the query must choose.
    fn only_series<'a>(&self, result: &'a Value) -> Result<&'a Value, FetchError> {
        let Value::Array(series) = result else {
            return Err(self.http.nonsense(format!("{} as data.result", json::kind(result)), "a list"));
        };
        match series.as_slice() {
            [one] => Ok(one),
            // A target that is down has none; it may come back.
            [] => Err(self.http.trouble("found no series, expected one: check that the query names one")),
            several => {
                let labels: Vec<String> = several.iter().take(5).map(labels_of).collect();
                let more = several.len() - labels.len();
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                Err(self.http.nonsense(
                    format!("{} series: {}{more}", several.len(), labels.join(", ")),
                    "one: choose it by its labels, or use sum() or avg()",
                ))
            }
        }
    }

    fn take_sample(&self, sample: &Value, points: &mut Points) -> Result<(), FetchError> {
        let expected = "a time and a value, as Prometheus has them";
        let Some([time, value]) = sample.as_array().map(Vec::as_slice) else {
            return Err(self.http.nonsense(format!("{} as a sample", json::kind(sample)), expected));
        };
        let (time, value) = (time.as_f64().and_then(from_number), json::loose_number(value));
        let (Some(at), Some(value)) = (time, value) else {
            return Err(self.http.nonsense("a sample whose time or value is no number", expected));
        };
        points.take(at, Some(value), PointStatus::Unknown);
        Ok(())
    }
}

/// `{instance="a", job="b"}`, of what is short and plain.
fn labels_of(series: &Value) -> String {
    let Some(Value::Object(metric)) = series.get("metric") else { return "{}".into() };
    let labels: Vec<String> = metric
        .iter()
        .take(6)
        .map(|(name, value)| {
            let name = shortened(name);
            format!("{}={}", name.trim_matches('"'), value.as_str().map_or("?".into(), shortened))
        })
        .collect();
    format!("{{{}}}", labels.join(", "))
}

/// The bearer token or the user and password of a configuration, if any.
pub(crate) fn logins(
    source_name: &'static str,
    (token_env, token_file): (Option<&str>, Option<&Path>),
    username: Option<&str>,
    (password_env, password_file): (Option<&str>, Option<&Path>),
    base: &Path,
) -> Result<Vec<Login>, ConfigError> {
    let open = |name, env, file| Credential::open(SecretKeys { source_name, name, env, file }, base);
    let token = open("token", token_env, token_file)?;
    let password = open("password", password_env, password_file)?;
    let wrong =
        |field: &str, found: &str, expected: &str| Err(ConfigError::new(source_name, field, found, expected));
    match (token, username, password) {
        (None, None, None) => Ok(Vec::new()),
        (Some(credential), None, None) => Ok(vec![Login { scheme: Scheme::Bearer, credential }]),
        (None, Some(user), Some(_)) if user.contains(':') => {
            wrong("username", "a user with a colon", "one without: HTTP can't send it")
        }
        (None, Some(user), Some(credential)) => {
            Ok(vec![Login { scheme: Scheme::Basic(user.to_owned()), credential }])
        }
        (Some(_), _, _) => wrong("token_env", "a token and a user or password", "one of the two"),
        (None, Some(_), None) => {
            wrong("username", "a user without a password", "password_env or password_file")
        }
        (None, None, Some(_)) => wrong("username", "a password without a user", "username as well"),
    }
}

impl Provider for Prometheus {
    fn head(&self) -> &SignalHead {
        &self.head
    }

    fn interval(&self) -> Duration {
        self.step
    }

    fn fetch(&mut self, since: UnixTime, now: UnixTime) -> Result<Fetched, FetchError> {
        let mut points = Points::new(self.head.quantity, self.factor, now);
        let query = self.query.clone();
        let since = since.max(self.told_until.filter(|until| *until <= now).unwrap_or(since));
        let answer = if since + self.step * 2 < now {
            // Whole steps, so that the same times come back when asked again.
            let step = i64::try_from(self.step.as_secs()).unwrap_or(i64::MAX).max(1);
            let start =
                since.max(now - self.step * MOST_STEPS).as_secs().div_euclid(step).saturating_mul(step);
            let (start, end, step) = (start.to_string(), now.as_secs().to_string(), step.to_string());
            let query = [("query", query.as_str()), ("start", &start), ("end", &end), ("step", &step)];
            self.http.get("/api/v1/query_range", &query, WANTED, now)?
        } else {
            // No time: it is the source's own present that counts, whatever our clock says.
            self.http.get("/api/v1/query", &[("query", query.as_str())], WANTED, now)?
        };
        self.take_result(&answer.json, &mut points)?;
        self.told_until = Some(now);
        Ok(points.finish(Some(self.step), answer.clock_ahead_seconds))
    }
}
