//! What an answer says of its own cost when it is asked to: energy, emissions, and how both are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use wattle_core::units::Joules;

use super::DataPlane;
use super::error::ApiError;
use crate::meter::{CarbonRate, Rates};

/// Names the class of a request: an HTTP header, or metadata of gRPC.
pub const CLASS_HEADER: &str = "x-wattle-class";
/// Asks for the cost: an HTTP header.
const ENERGY_HEADER: &str = "x-wattle-energy";

/// What a request cost.
pub(super) struct Cost {
    energy: Option<Joules>,
    rates: Arc<Rates>,
    carbon: Option<Arc<CarbonRate>>,
}

/// A value of a response parameter.
pub(super) enum CostParameter {
    /// A number.
    Number(f64),
    /// Words.
    Text(String),
}

impl Cost {
    /// The cost of a request that took `energy`.
    pub(super) fn of(plane: &DataPlane, energy: Option<Joules>) -> Self {
        Self { energy, rates: plane.energy_rate.rates(), carbon: plane.energy_rate.carbon() }
    }

    fn energy_mj(&self) -> Option<f64> {
        self.energy.map(|energy| energy.get() * 1e3)
    }

    /// How far off the energy may be, as a share of it.
    fn uncertainty(&self) -> Option<f64> {
        self.energy.and(self.rates.uncertainty())
    }

    fn carbon_mg(&self) -> Option<f64> {
        Some(self.carbon.as_ref()?.of(self.energy?).get() * 1e3)
    }

    /// As response parameters: nothing but the source where the energy is unknown.
    pub(super) fn parameters(&self) -> BTreeMap<&'static str, CostParameter> {
        let numbers = [
            ("wattle_energy_mj", self.energy_mj()),
            ("wattle_energy_uncertainty", self.uncertainty()),
            ("wattle_carbon_mg", self.carbon_mg()),
        ];
        let numbers =
            numbers.into_iter().filter_map(|(key, value)| Some((key, CostParameter::Number(value?))));
        let texts = [
            ("wattle_power_source", Some(self.rates.source())),
            ("wattle_carbon_source", self.carbon.as_ref().map(|carbon| carbon.source.clone())),
        ];
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key, CostParameter::Text(text?))));
        numbers.chain(texts).collect()
    }

    /// Adds it to the headers of an answer. `x-wattle-provenance` is the basis of the request's energy, then
    /// how the power of the device is known.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        let mut add = |name: &'static str, value: String| {
            // Sources may be in any language; headers are not.
            let visible = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
            if let Ok(value) = HeaderValue::try_from(value.chars().map(visible).collect::<String>()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        if let Some(energy) = self.energy_mj() {
            add("x-wattle-energy-mj", energy.to_string());
        }
        if let Some(carbon) = self.carbon_mg() {
            add("x-wattle-carbon-mg", carbon.to_string());
        }
        if let Some(uncertainty) = self.uncertainty() {
            add("x-wattle-energy-uncertainty", uncertainty.to_string());
        }
        add("x-wattle-provenance", format!("{}; power {}", self.rates.basis(), self.rates.power()));
    }
}

/// Whether the headers ask for the cost.
pub(super) fn is_asked_by(headers: &HeaderMap) -> Result<bool, ApiError> {
    match headers.get(ENERGY_HEADER).map(HeaderValue::as_bytes) {
        None | Some(b"0" | b"false") => Ok(false),
        Some(b"1" | b"true") => Ok(true),
        Some(other) => Err(ApiError::invalid(format!(
            "header '{ENERGY_HEADER}' is {:?}, expected 1 or 0",
            String::from_utf8_lossy(other)
        ))),
    }
}

/// The class that the headers name: `x-wattle-class`, or the header that is configured beside it. `header`
/// gives the value of a header.
///
/// # Errors
/// The two name different classes, or one is no text.
pub(super) fn class_named_by<'a>(
    plane: &DataPlane,
    header: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<Option<&'a str>, ApiError> {
    let text = |name: &str| match header(name).map(std::str::from_utf8) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => {
            Err(ApiError::invalid(format!("header '{name}' is no text, expected the name of a class")))
        }
    };
    let own = text(CLASS_HEADER)?;
    let other = plane.class_header.as_ref().map(|name| text(name.as_str())).transpose()?.flatten();
    one_class(own, other)
}

/// The one class that is named at two places.
pub(super) fn one_class<'a>(a: Option<&'a str>, b: Option<&'a str>) -> Result<Option<&'a str>, ApiError> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => Err(ApiError::invalid(format!(
            "the request names two classes, '{a}' and '{b}', expected one; leave out one of them"
        ))),
        _ => Ok(a.or(b)),
    }
}

impl From<CostParameter> for serde_json::Value {
    fn from(parameter: CostParameter) -> Self {
        match parameter {
            CostParameter::Number(value) => value.into(),
            CostParameter::Text(text) => text.into(),
        }
    }
}
