//! Which source a signal comes from, as configured, and the provider that it makes.
//!
//! The key `source` says which; all other keys are those of that source.

use std::path::Path;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use wattle_core::nearest::nearest;
use wattle_core::signal::{EmissionScope, IntensityKind, Quantity, SignalHead};

use crate::http::HttpLimits;
use crate::provider::Provider;
use crate::providers::carbon_aware_sdk::{CarbonAwareSdk, CarbonAwareSdkConfig};
use crate::providers::constant::{Constant, ConstantConfig};
use crate::providers::csv_file::{CsvConfig, CsvFile};
use crate::providers::electricity_maps::{ElectricityMaps, ElectricityMapsConfig};
use crate::providers::http_json::{HttpJson, HttpJsonConfig};
use crate::providers::prometheus::{Prometheus, PrometheusConfig};
use crate::providers::uk_carbon_intensity::{UkCarbonIntensity, UkCarbonIntensityConfig};
use crate::providers::watttime::{WattTime, WattTimeConfig};
use crate::unit::Unit;

/// The names of all sources, as `source` has them.
pub const SOURCES: [&str; 8] = [
    "electricity-maps",
    "watttime",
    "uk-carbon-intensity",
    "carbon-aware-sdk",
    "prometheus",
    "http-json",
    "csv",
    "constant",
];

/// A source of a signal, as configured.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceConfig {
    /// `electricity-maps`
    ElectricityMaps(ElectricityMapsConfig),
    /// `watttime`
    WattTime(WattTimeConfig),
    /// `uk-carbon-intensity`
    UkCarbonIntensity(UkCarbonIntensityConfig),
    /// `carbon-aware-sdk`
    CarbonAwareSdk(CarbonAwareSdkConfig),
    /// `prometheus`
    Prometheus(PrometheusConfig),
    /// `http-json`
    HttpJson(Box<HttpJsonConfig>),
    /// `csv`
    Csv(CsvConfig),
    /// `constant`
    Constant(ConstantConfig),
}

/// A source that can't be made of its configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the source {source_name}, {field}: found {found}, expected {expected}")]
pub struct ConfigError {
    /// Which source, as `source` has it.
    pub source_name: &'static str,
    /// Which key.
    pub field: String,
    /// What was found. Never a secret.
    pub found: String,
    /// What was expected, and what to do.
    pub expected: String,
}

impl ConfigError {
    pub(crate) fn new(
        source_name: &'static str,
        field: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { source_name, field: field.to_owned(), found: found.into(), expected: expected.into() }
    }
}

impl<'de> Deserialize<'de> for SourceConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut keys = Map::deserialize(deserializer)?;
        let source = match keys.remove("source") {
            Some(Value::String(source)) => source,
            Some(_) => {
                return Err(D::Error::custom(format!("source: expected one of {}", SOURCES.join(", "))));
            }
            None => {
                return Err(D::Error::custom(format!(
                    "found no key source, expected source = one of {}",
                    SOURCES.join(", ")
                )));
            }
        };
        let keys = Value::Object(keys);
        let config = match source.as_str() {
            "electricity-maps" => read(keys).map(Self::ElectricityMaps),
            "watttime" => read(keys).map(Self::WattTime),
            "uk-carbon-intensity" => read(keys).map(Self::UkCarbonIntensity),
            "carbon-aware-sdk" => read(keys).map(Self::CarbonAwareSdk),
            "prometheus" => read(keys).map(Self::Prometheus),
            "http-json" => read(keys).map(Self::HttpJson),
            "csv" => read(keys).map(Self::Csv),
            "constant" => read(keys).map(Self::Constant),
            _ => {
                let meant = nearest(&source, SOURCES).unwrap_or_default();
                return Err(D::Error::custom(format!(
                    "found the source {source:?}, expected one of {} (did you mean {meant:?}?)",
                    SOURCES.join(", ")
                )));
            }
        };
        config.map_err(|error| D::Error::custom(format!("the source {source}: {error}")))
    }
}

fn read<T: DeserializeOwned>(keys: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(keys)
}

/// Makes the provider of `config` for a signal of `quantity`. Secrets are read here for the first time;
/// relative files are looked for in `base`, the folder of the configuration.
pub fn build(
    config: &SourceConfig,
    quantity: Quantity,
    base: &Path,
) -> Result<Box<dyn Provider>, ConfigError> {
    build_with(config, quantity, base, HttpLimits::default())
}

/// As [`build`], with other limits of requests.
pub fn build_with(
    config: &SourceConfig,
    quantity: Quantity,
    base: &Path,
    limits: HttpLimits,
) -> Result<Box<dyn Provider>, ConfigError> {
    Ok(match config {
        SourceConfig::ElectricityMaps(config) => {
            only_carbon("electricity-maps", quantity)?;
            Box::new(ElectricityMaps::new(config, base, limits)?)
        }
        SourceConfig::WattTime(config) => {
            only_carbon("watttime", quantity)?;
            Box::new(WattTime::new(config, base, limits)?)
        }
        SourceConfig::UkCarbonIntensity(config) => {
            only_carbon("uk-carbon-intensity", quantity)?;
            Box::new(UkCarbonIntensity::new(config, limits)?)
        }
        SourceConfig::CarbonAwareSdk(config) => {
            only_carbon("carbon-aware-sdk", quantity)?;
            Box::new(CarbonAwareSdk::new(config, limits)?)
        }
        SourceConfig::Prometheus(config) => Box::new(Prometheus::new(config, quantity, base, limits)?),
        SourceConfig::HttpJson(config) => Box::new(HttpJson::new(config, quantity, base, limits)?),
        SourceConfig::Csv(config) => Box::new(CsvFile::new(config, quantity, base)?),
        SourceConfig::Constant(config) => Box::new(Constant::new(config, quantity)?),
    })
}

fn only_carbon(source_name: &'static str, quantity: Quantity) -> Result<(), ConfigError> {
    if quantity == Quantity::CarbonIntensity {
        return Ok(());
    }
    Err(ConfigError::new(
        source_name,
        "source",
        "a source of carbon intensity for a signal of something else",
        "one of prometheus, http-json, csv, constant",
    ))
}

/// The factor of `unit` for a signal of `quantity`, or an error if it is a unit of something else.
pub(crate) fn factor_of(
    source_name: &'static str,
    unit: Unit,
    quantity: Quantity,
) -> Result<f64, ConfigError> {
    if unit.quantity() == quantity {
        return Ok(unit.factor());
    }
    Err(ConfigError::new(
        source_name,
        "unit",
        format!("{unit}"),
        format!("a unit of this signal: {}", Unit::names_of(quantity)),
    ))
}

/// The head of a source of which the configuration tells what it is of.
pub(crate) fn told_head(
    source_name: &'static str,
    quantity: Quantity,
    (zone, kind, scope): (Option<&String>, Option<IntensityKind>, Option<EmissionScope>),
    source: String,
) -> Result<SignalHead, ConfigError> {
    if quantity != Quantity::CarbonIntensity && (kind.is_some() || scope.is_some()) {
        let field = if kind.is_some() { "kind" } else { "scope" };
        return Err(ConfigError::new(
            source_name,
            field,
            "it for a signal of something else",
            "it only for carbon intensity",
        ));
    }
    Ok(SignalHead {
        quantity,
        zone: zone.cloned(),
        kind: kind.unwrap_or_default(),
        scope: scope.unwrap_or_default(),
        source,
    })
}

/// `seconds` as a duration that is worth waiting between two requests.
pub(crate) fn interval_of(
    source_name: &'static str,
    field: &str,
    seconds: u64,
) -> Result<std::time::Duration, ConfigError> {
    if (1..=7 * 24 * 3600).contains(&seconds) {
        return Ok(std::time::Duration::from_secs(seconds));
    }
    Err(ConfigError::new(source_name, field, seconds.to_string(), "1 to 604800 seconds"))
}
