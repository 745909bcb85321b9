//! One GET request and what its answer means: the same politeness and the same errors for every source.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use ureq::http::{HeaderName, HeaderValue, Uri, header};
use ureq::{Agent, Error};
use wattle_core::time::UnixTime;

use crate::config::ConfigError;
use crate::provider::FetchError;
use crate::times;
use crate::token::{Credential, Secret};

/// Longer than this no source keeps us from asking, whatever it says.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How long a request may take and how much may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// For finding the host and connecting to it.
    pub connect: Duration,
    /// For all of the request, to the last byte of its answer.
    pub whole: Duration,
    /// The largest answer.
    pub most_bytes: u64,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), whole: Duration::from_secs(30), most_bytes: 16 << 20 }
    }
}

/// How a secret is put into a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// As it is, in the header of this name.
    Plain(String),
    /// `Authorization: Bearer` (RFC 6750).
    Bearer,
    /// `Authorization: Basic` (RFC 7617), with this user.
    Basic(String),
}

/// A secret that goes along with every request.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) scheme: Scheme,
    pub(crate) credential: Credential,
}

impl Login {
    fn header(&self) -> (&str, String) {
        let secret = self.credential.secret().expose();
        match &self.scheme {
            Scheme::Plain(name) => (name, secret.to_owned()),
            Scheme::Bearer => ("Authorization", format!("Bearer {secret}")),
            Scheme::Basic(user) => {
                ("Authorization", format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{secret}"))))
            }
        }
    }
}

/// One place that is asked.
#[derive(Debug)]
pub(crate) struct Http {
    /// Who, for errors.
    name: String,
    /// Secret as its query may hold a key.
    base: Secret,
    agent: Agent,
    limits: HttpLimits,
    logins: Vec<Login>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// The body. `Null` where it is empty.
    pub(crate) json: Value,
    /// By how much the source's clock is ahead, where it told.
    pub(crate) clock_ahead_seconds: Option<i64>,
}

/// Why nothing came back, with the status of HTTP for those who can mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: Option<u16>,
    pub(crate) error: FetchError,
}

impl From<Failure> for FetchError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Http {
    /// A place at `base_url`, of which errors say `name`. `field` is the key that the address comes from.
    pub(crate) fn new(
        source_name: &'static str,
        name: impl Into<String>,
        (field, base_url): (&str, &str),
        logins: Vec<Login>,
        limits: HttpLimits,
    ) -> Result<Self, ConfigError> {
        let wrong = |field: &str, found: &str, expected: &str| ConfigError {
            source_name,
            field: field.to_owned(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        };
        check_address(base_url).map_err(|(found, expected)| wrong(field, &found, expected))?;
        if field == "base_url" && base_url.contains('?') {
            return Err(wrong(field, "an address with a question mark", "an address that paths can follow"));
        }
        for login in &logins {
            let (name, value) = login.header();
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                return Err(wrong("headers", &format!("{name:?}"), "the name of an HTTP header"));
            }
            if HeaderValue::from_str(&value).is_err() {
                return Err(wrong(
                    "token",
                    &format!("a secret for the header {name} with a letter that no header can hold"),
                    "ASCII letters, digits and signs",
                ));
            }
        }
        let is_here = is_this_machine(base_url);
        if !logins.is_empty() && !is_here && base_url.starts_with("http://") {
            tracing::warn!(
                source = source_name,
                "the token is sent unencrypted: the address is not https://"
            );
        }
        let mut agent = Agent::config_builder();
        if is_here {
            // A proxy of the environment would look for the source on its own machine.
            agent = agent.proxy(None);
        }
        let agent = agent
            .http_status_as_error(false)
            // A redirect would carry the token to wherever it points.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(limits.connect))
            .timeout_global(Some(limits.whole))
            .user_agent(concat!("wattle/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .build()
            .into();
        Ok(Self { name: name.into(), base: Secret::new(base_url), agent, limits, logins })
    }

    /// Asks for `path` below the base address, or for that address where it is empty. `wanted` says what a refusal lacks, for errors. On a 401 the
    /// files of secrets are read again, and if there is news the request is sent once more.
    pub(crate) fn get(
        &mut self,
        path: &str,
        query: &[(&str, &str)],
        wanted: &str,
        now: UnixTime,
    ) -> Result<Answer, Failure> {
        self.get_as(None, path, query, wanted, now)
    }

    /// As [`get`](Self::get), with a bearer token that the source itself gave.
    pub(crate) fn get_as(
        &mut self,
        bearer: Option<&Secret>,
        path: &str,
        query: &[(&str, &str)],
        wanted: &str,
        now: UnixTime,
    ) -> Result<Answer, Failure> {
        let answer = self.ask(bearer, path, query, wanted, now);
        match &answer {
            Err(Failure { status: Some(401), .. })
                // All of them: one file may have changed with another.
                if self.logins.iter_mut().fold(false, |news, login| login.credential.reread() | news) =>
            {
                self.ask(bearer, path, query, wanted, now)
            }
            _ => answer,
        }
    }

    fn ask(
        &self,
        bearer: Option<&Secret>,
        path: &str,
        query: &[(&str, &str)],
        wanted: &str,
        now: UnixTime,
    ) -> Result<Answer, Failure> {
        let started = Instant::now();
        let base = self.base.expose();
        let mut request = match path {
            "" => self.agent.get(base),
            path => self.agent.get(format!("{}{path}", base.trim_end_matches('/'))),
        };
        for (name, value) in query {
            request = request.query(name, value);
        }
        for login in &self.logins {
            let (name, value) = login.header();
            request = request.header(name, value);
        }
        if let Some(token) = bearer {
            request = request.header("Authorization", format!("Bearer {}", token.expose()));
        }
        let mut response = request.call().map_err(|error| self.failed(&error))?;
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let its_time = header(header::DATE).and_then(times::parse_http_date);
        let our_time = now + started.elapsed();
        let clock_ahead_seconds = its_time.map(|time| time.as_secs().saturating_sub(our_time.as_secs()));
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            let retry_after =
                header(header::RETRY_AFTER).and_then(|text| retry_after(text, its_time.unwrap_or(our_time)));
            let elsewhere = header(header::LOCATION).map(|place| self.without_secrets(place));
            return Err(Failure {
                status: Some(status),
                error: self.refused_with(status, retry_after, elsewhere, wanted),
            });
        }
        let body = response
            .body_mut()
            .with_config()
            .limit(self.limits.most_bytes)
            .read_to_vec()
            .map_err(|error| self.failed(&error))?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Answer { json: Value::Null, clock_ahead_seconds });
        }
        // What serde_json says here tells the place, not what stands there.
        let json = serde_json::from_slice(&body).map_err(|error| Failure {
            status: Some(status),
            error: self.nonsense(format!("an answer that is no JSON ({error})"), "JSON; check the address"),
        })?;
        Ok(Answer { json, clock_ahead_seconds })
    }

    /// An answer that makes no sense. `found` may hold what the source sent.
    pub(crate) fn nonsense(&self, found: impl AsRef<str>, expected: impl Into<String>) -> FetchError {
        FetchError::Refused {
            source_name: self.name.clone(),
            found: self.without_secrets(found.as_ref()),
            expected: expected.into(),
        }
    }

    /// Something that may pass. `detail` may hold what the source sent.
    pub(crate) fn trouble(&self, detail: impl AsRef<str>) -> FetchError {
        FetchError::Trouble {
            source_name: self.name.clone(),
            detail: self.without_secrets(detail.as_ref()),
            retry_after: None,
        }
    }

    /// `text` of the source's own, which may repeat what it was sent.
    pub(crate) fn without_secrets(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for login in &self.logins {
            let (_, value) = login.header();
            let encoded = value.rsplit(' ').next().unwrap_or_default();
            for secret in [login.credential.secret().expose(), encoded] {
                if !secret.is_empty() {
                    text = text.replace(secret, "***");
                }
            }
        }
        let query = self.base.expose().split_once('?').map_or("", |(_, query)| query);
        for value in query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value) {
            // Short ones are no keys, and are in every other word.
            if value.len() >= 8 {
                text = text.replace(value, "***");
            }
        }
        text
    }

    fn refused_with(
        &self,
        status: u16,
        retry_after: Option<Duration>,
        elsewhere: Option<String>,
        wanted: &str,
    ) -> FetchError {
        let source_name = self.name.clone();
        match status {
            429 => FetchError::TooOften { source_name, retry_after },
            408 | 425 | 500 | 502..=599 => FetchError::Trouble {
                source_name,
                detail: format!("found HTTP {status}, expected an answer"),
                retry_after,
            },
            300..=399 => {
                let place = elsewhere.as_deref().unwrap_or("somewhere else");
                // What comes after the question mark may be a key.
                let place: String = place.split('?').next().unwrap_or_default().chars().take(200).collect();
                FetchError::Refused {
                    source_name,
                    found: format!("HTTP {status}, which points to {place:?}"),
                    expected: "an answer from the address that is configured; redirects are not followed, \
                               as they would take the token along: configure the new address if it is the \
                               source's"
                        .into(),
                }
            }
            401 if self.logins.is_empty() => FetchError::Refused {
                source_name,
                found: "HTTP 401".into(),
                expected: format!("an answer without a token, as none is configured; {wanted}"),
            },
            401 => FetchError::Refused {
                source_name,
                found: "HTTP 401".into(),
                expected: "that it takes the token or password: check that it is right and has not run out"
                    .into(),
            },
            _ => FetchError::Refused {
                source_name,
                found: format!("HTTP {status}"),
                expected: wanted.to_owned(),
            },
        }
    }

    /// Says what went wrong below HTTP. An error of ureq may hold the address, and so a key in it: only
    /// those that don't are repeated.
    fn failed(&self, error: &Error) -> Failure {
        let whole = self.limits.whole.as_secs_f64();
        let detail = match error {
            Error::Timeout(which) => {
                format!("no whole answer within {whole} s (the time for {which} was up)")
            }
            Error::HostNotFound => "found no such host".into(),
            Error::ConnectionFailed => "could not connect".into(),
            Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                format!("no whole answer within {whole} s")
            }
            Error::Io(error) => format!("the connection failed ({})", error.kind()),
            Error::Tls(said) => format!("no secure connection ({said})"),
            Error::Rustls(error) => format!("no secure connection ({error})"),
            Error::BodyExceedsLimit(most) => {
                return Failure {
                    status: None,
                    error: self.nonsense(
                        format!("an answer of more than {most} bytes"),
                        "a smaller one; check the address",
                    ),
                };
            }
            Error::Protocol(_) | Error::Http(_) | Error::BodyStalled => {
                "found an answer that is no whole HTTP, expected one".into()
            }
            _ => "the request could not be sent or its answer not read".into(),
        };
        Failure { status: None, error: self.trouble(detail) }
    }
}

/// Whether `address` can be asked; if not, what was found, without anything secret, and what was expected.
fn check_address(address: &str) -> Result<(), (String, &'static str)> {
    const EXPECTED: &str = "an address such as https://host/path";
    let uri: Uri = address.parse().map_err(|_| ("an address that is none".to_owned(), EXPECTED))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(("an address that begins with neither http:// nor https://".to_owned(), EXPECTED));
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => Err((
            "an address with a user or password in it".into(),
            "an address without, and username and password_env or password_file, or token_env or token_file",
        )),
        Some(_) => Ok(()),
        None => Err(("an address without a host".into(), EXPECTED)),
    }
}

/// Whether an address that was checked is of the machine that asks.
fn is_this_machine(address: &str) -> bool {
    let host = address.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

/// The host of an address that was checked, for names of sources.
pub(crate) fn host_of(address: &str) -> String {
    address
        .parse::<Uri>()
        .ok()
        .and_then(|uri| uri.authority().map(|authority| authority.as_str().to_owned()))
        .and_then(|authority| authority.rsplit('@').next().map(str::to_owned))
        .unwrap_or_else(|| "an unknown host".to_owned())
}

/// How long a source wants to be left alone (RFC 9110, section 10.2.3): seconds, or a date by its own clock.
fn retry_after(text: &str, its_time: UnixTime) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => times::parse_http_date(text)?.saturating_since(its_time),
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_a_day() {
        let its_time = times::parse_iso("2026-11-21T21:30:00Z").unwrap();
        for (text, wait) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Sat, 21 Nov 2026 21:35:00 GMT", Some(300)),
            ("Sat, 21 Nov 2026 21:00:00 GMT", Some(0)),
            ("99999999", Some(86_400)),
            ("soon", None),
            ("-3", None),
        ] {
            assert_eq!(retry_after(text, its_time).map(|wait| wait.as_secs()), wait, "{text}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_refused_without_showing_it() {
        let error = Http::new(
            "prometheus",
            "Prometheus",
            ("base_url", "http://user:swordfish@host"),
            Vec::new(),
            HttpLimits::default(),
        )
        .unwrap_err();
        assert!(!format!("{error} {error:?}").contains("swordfish"), "{error}");
        assert_eq!(host_of("http://user:swordfish@host:90/path"), "host:90");
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (address, is_here) in [
            ("http://localhost:9090/x", true),
            ("http://127.0.0.53", true),
            ("http://[::1]:80/", true),
            ("http://localhost.example.org", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_this_machine(address), is_here, "{address}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in ["", "host", "ftp://host", "/path", "https://", "http://ho st"] {
            assert!(check_address(address).is_err(), "{address}");
        }
    }
}
