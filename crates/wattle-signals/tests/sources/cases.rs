//! Every source that is asked over HTTP, with a configuration and with answers that are right.

use std::time::Duration;

use tempfile::TempDir;
use wattle_core::signal::{PointStatus, Quantity};
use wattle_core::time::UnixTime;
use wattle_signals::config::{ConfigError, SourceConfig, build_with};
use wattle_signals::http::HttpLimits;
use wattle_signals::provider::{FetchError, Fetched, Provider};

use crate::server::{Reply, Seen, Server};

/// 2026-03-29T00:40:00Z: twenty minutes before clocks in London are put forward.
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_774_744_800);
/// Fifteen minutes before.
pub(crate) const SINCE: UnixTime = UnixTime::from_secs(NOW.as_secs() - 900);
/// In no error and no debug text may this be.
pub(crate) const SECRET: &str = "swordfish-4711";

pub(crate) fn at(text: &str) -> UnixTime {
    UnixTime::from_secs(text.parse::<jiff::Timestamp>().unwrap().as_second())
}

pub(crate) fn limits() -> HttpLimits {
    HttpLimits { connect: Duration::from_secs(5), whole: Duration::from_secs(5), ..HttpLimits::default() }
}

/// A folder with a file `token`, which holds the secret.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), format!("{SECRET}\n")).unwrap();
    folder
}

pub(crate) fn config(text: &str) -> SourceConfig {
    toml::from_str(text).unwrap()
}

/// The provider of a configuration in TOML, and the folder that it reads its token from.
pub(crate) fn carbon(text: &str) -> (Box<dyn Provider>, TempDir) {
    of(Quantity::CarbonIntensity, text)
}

pub(crate) fn of(quantity: Quantity, text: &str) -> (Box<dyn Provider>, TempDir) {
    let folder = folder();
    let provider = build_with(&config(text), quantity, folder.path(), limits()).unwrap();
    (provider, folder)
}

pub(crate) fn refused(quantity: Quantity, text: &str) -> ConfigError {
    match build_with(&config(text), quantity, folder().path(), limits()) {
        Ok(_) => panic!("made a provider of {text}"),
        Err(error) => error,
    }
}

/// Times, values and statuses of what came back.
pub(crate) fn told(fetched: &Fetched) -> Vec<(UnixTime, f64, PointStatus)> {
    fetched.points.iter().map(|point| (point.at, point.value, point.status)).collect()
}

/// Whether some note holds `words`.
pub(crate) fn notes(fetched: &Fetched, words: &str) -> bool {
    fetched.left_out.iter().any(|note| note.contains(words))
}

/// One source: its name, its configuration for a server, and what the real one answers.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) config: fn(&str) -> String,
    pub(crate) answers: fn(&Seen) -> Reply,
    /// Whether it sends the secret.
    pub(crate) has_secret: bool,
}

impl Case {
    pub(crate) fn provider(&self, server: &Server) -> (Box<dyn Provider>, TempDir) {
        carbon(&(self.config)(&server.url()))
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "electricity-maps",
            config: crate::electricity_maps::config,
            answers: crate::electricity_maps::answers,
            has_secret: true,
        },
        Case {
            name: "watttime",
            config: crate::watttime::config,
            answers: crate::watttime::answers,
            has_secret: true,
        },
        Case {
            name: "uk-carbon-intensity",
            config: crate::uk_carbon_intensity::national,
            answers: crate::uk_carbon_intensity::answers,
            has_secret: false,
        },
        Case {
            name: "uk-carbon-intensity, a region",
            config: crate::uk_carbon_intensity::regional,
            answers: crate::uk_carbon_intensity::answers,
            has_secret: false,
        },
        Case {
            name: "carbon-aware-sdk",
            config: crate::carbon_aware_sdk::config,
            answers: crate::carbon_aware_sdk::answers,
            has_secret: false,
        },
        Case {
            name: "prometheus",
            config: crate::prometheus::config,
            answers: crate::prometheus::answers,
            has_secret: true,
        },
        Case {
            name: "http-json",
            config: crate::http_json::config,
            answers: crate::http_json::answers,
            has_secret: true,
        },
    ]
}

/// Who and the rest of an error, whatever its kind.
pub(crate) fn retry_after(error: &FetchError) -> Option<u64> {
    match error {
        FetchError::TooOften { retry_after, .. } | FetchError::Trouble { retry_after, .. } => {
            retry_after.map(|wait| wait.as_secs())
        }
        FetchError::Refused { .. } => None,
    }
}
