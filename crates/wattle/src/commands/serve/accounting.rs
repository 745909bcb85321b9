//! `[accounting]` of the configuration: how emissions are counted beside the carbon intensity of the grid.

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use wattle_core::carbon::{CarbonAccounting, Embodied, EmbodiedFigure};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::units::CarbonIntensity;

use super::policy::read_spec;
use crate::exit::ConfigError;

/// The table. Every figure goes with its source.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AccountingFile {
    /// Power usage effectiveness of the site, at least 1.
    pue: Option<f64>,
    /// Whose figure that is.
    pue_source: Option<String>,
    /// Carbon intensity by contract, for the market-based column.
    market_intensity_g_per_kwh: Option<f64>,
    /// Which contract.
    market_source: Option<String>,
    /// How the device was made: a built-in device or a TOML file; `device_spec` by default.
    device: Option<String>,
    /// The part of the device that is this server's, such as 0.571 for four of seven slices.
    device_share: Option<f64>,
    /// What making the device emitted, in place of the low end of its figures.
    embodied_low_kilograms: Option<f64>,
    /// The same of the high end.
    embodied_high_kilograms: Option<f64>,
    /// Whose figures those are.
    embodied_source: Option<String>,
    /// Years that the device is used for.
    lifetime_years: Option<f64>,
    /// Whose figure that is.
    lifetime_source: Option<String>,
}

impl AccountingFile {
    /// The accounting; `device_spec` names the device where the table names none.
    ///
    /// # Errors
    /// Names the key, what stands there and what could.
    pub(crate) fn accounting(&self, device_spec: Option<&str>) -> Result<CarbonAccounting> {
        self.checked(device_spec).context(ConfigError)
    }

    fn checked(&self, device_spec: Option<&str>) -> Result<CarbonAccounting> {
        let pue = sourced("pue", self.pue, "pue_source", self.pue_source.as_deref())?;
        let (pue, pue_source) = match pue {
            None => (1.0, None),
            Some((pue, source)) if (1.0..=100.0).contains(&pue) => (pue, Some(source)),
            Some((pue, _)) => return Err(wrong("pue", pue, "a number from 1 on, such as 1.2")),
        };
        let market = sourced(
            "market_intensity_g_per_kwh",
            self.market_intensity_g_per_kwh,
            "market_source",
            self.market_source.as_deref(),
        )?;
        let market = match market {
            Some((intensity, _)) if !(0.0..=1e5).contains(&intensity) => {
                return Err(wrong("market_intensity_g_per_kwh", intensity, "0 or more"));
            }
            other => other.map(|(intensity, source)| (CarbonIntensity::new(intensity), source)),
        };
        Ok(CarbonAccounting { pue, pue_source, market, embodied: self.embodied(device_spec)? })
    }

    fn embodied(&self, device_spec: Option<&str>) -> Result<Option<Embodied>> {
        let device = self.device.as_deref().or(device_spec);
        let spec = device.map(read_spec).transpose().context("accounting.device")?;
        let of_spec = spec.as_ref().and_then(|spec| spec.embodied_range());
        let source = self.embodied_source.as_deref();
        if self.embodied_low_kilograms.or(self.embodied_high_kilograms).is_none() {
            sourced("embodied_low_kilograms", None, "embodied_source", source)?;
        }
        // One source stands for both ends.
        let own = |key: &str, value: Option<f64>| -> Result<Option<EmbodiedFigure>> {
            let Some(kilograms) = value else { return Ok(None) };
            let found = sourced(key, Some(positive(key, kilograms)?), "embodied_source", source)?;
            Ok(found.map(|(kilograms, source)| EmbodiedFigure {
                kilograms,
                provenance: Provenance::new(Basis::Assumed, source),
            }))
        };
        let low = own("embodied_low_kilograms", self.embodied_low_kilograms)?;
        let high = own("embodied_high_kilograms", self.embodied_high_kilograms)?;
        let years = sourced(
            "lifetime_years",
            self.lifetime_years,
            "lifetime_source",
            self.lifetime_source.as_deref(),
        )?;
        let device_share = self.device_share.unwrap_or(1.0);
        // Written so that what is no number fails too.
        if !(device_share > 0.0 && device_share <= 1.0) {
            return Err(wrong("device_share", device_share, "a share over 0 and up to 1"));
        }
        let of_lifetime = of_spec.as_ref().map(|of| (of.lifetime_years, of.lifetime_source.clone()));
        let Some(low) = low.or_else(|| of_spec.as_ref().map(|of| of.low.clone())) else {
            let named = [
                ("embodied_high_kilograms", high.is_some()),
                ("lifetime_years", years.is_some()),
                ("device_share", self.device_share.is_some()),
                ("device", self.device.is_some()),
            ];
            return match named.iter().find(|(_, is_there)| *is_there) {
                None => Ok(None),
                Some((key, _)) => Err(anyhow!(
                    "accounting.{key} is given and nothing is known of how the device was made, expected \
                     accounting.device, the name of a device whose file has [embodied], or embodied_low_kilograms"
                )),
            };
        };
        let Some((lifetime_years, lifetime_source)) = years.or(of_lifetime) else {
            return Err(anyhow!(
                "accounting.lifetime_years is not there, expected the years that the device is used for, such as 5"
            ));
        };
        let high = high.or_else(|| of_spec.and_then(|of| of.high));
        if let Some(high) = high.as_ref().filter(|high| high.kilograms < low.kilograms) {
            let (high, low) = (high.kilograms, low.kilograms);
            return Err(anyhow!(
                "accounting: the high end of what making the device emitted is {high} kg, expected at least the \
                 low end, {low} kg"
            ));
        }
        positive("lifetime_years", lifetime_years)?;
        Ok(Some(Embodied { low, high, lifetime_years, lifetime_source, device_share }))
    }
}

/// A figure with its source: both or neither.
fn sourced(
    key: &str,
    value: Option<f64>,
    source_key: &str,
    source: Option<&str>,
) -> Result<Option<(f64, String)>> {
    match (value, source.filter(|source| !source.trim().is_empty())) {
        (None, None) => Ok(None),
        (Some(value), Some(source)) => Ok(Some((value, source.to_owned()))),
        (Some(value), None) => Err(anyhow!(
            "accounting.{key} is {value} without a source, expected accounting.{source_key}: whose figure it is"
        )),
        (None, Some(_)) => Err(anyhow!(
            "accounting.{source_key} is given without accounting.{key}, expected both or neither"
        )),
    }
}

fn positive(key: &str, value: f64) -> Result<f64> {
    if value > 0.0 && value.is_finite() { Ok(value) } else { Err(wrong(key, value, "a number over 0")) }
}

fn wrong(key: &str, found: f64, expected: &str) -> anyhow::Error {
    anyhow!("accounting.{key} is {found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<CarbonAccounting> {
        toml::from_str::<AccountingFile>(text)?.accounting(None)
    }

    #[test]
    fn nothing_configured_is_the_device_alone() {
        assert_eq!(read("").unwrap(), CarbonAccounting::default());
    }

    #[test]
    fn a_device_gives_its_range_and_what_is_told_goes_first() {
        let of_device = read("device = \"nvidia-a100-40gb\"").unwrap().embodied.unwrap();
        assert!((of_device.low.kilograms - 21.56).abs() < 0.005);
        assert_eq!((of_device.high.unwrap().kilograms, of_device.lifetime_years), (181.0, 5.0));
        let told = "device = \"nvidia-a100-40gb\"\ndevice_share = 0.5\nlifetime_years = 4\n\
                    lifetime_source = \"ours\"\nembodied_high_kilograms = 318\nembodied_source = \"s\"";
        let told = read(told).unwrap().embodied.unwrap();
        assert_eq!((told.high.unwrap().kilograms, told.lifetime_years, told.device_share), (318.0, 4.0, 0.5));
    }

    #[test]
    fn the_devices_spec_stands_where_the_table_names_none() {
        let file: AccountingFile = toml::from_str("").unwrap();
        assert!(file.accounting(Some("nvidia-h100")).unwrap().embodied.is_some());
        assert!(file.accounting(Some("x86-server-small")).unwrap().embodied.is_none());
    }

    #[test]
    fn wrong_tables_are_told_which_key_what_is_there_and_what_could_be() {
        let wrong = [
            ("pue = 0.9\npue_source = \"s\"", "accounting.pue is 0.9, expected a number from 1 on"),
            ("pue = nan\npue_source = \"s\"", "accounting.pue is NaN"),
            ("pue = 1.2", "expected accounting.pue_source"),
            ("pue_source = \"s\"", "without accounting.pue"),
            ("market_intensity_g_per_kwh = -1\nmarket_source = \"s\"", "is -1, expected 0 or more"),
            ("market_intensity_g_per_kwh = 1", "accounting.market_source"),
            ("device = \"nvidia-a100\"", "did you mean"),
            ("device_share = 0.5", "accounting.device_share is given"),
            ("device = \"nvidia-v100\"\ndevice_share = 1.5", "device_share is 1.5"),
            ("device = \"nvidia-v100\"\nembodied_high_kilograms = 3\nembodied_source = \"s\"", "the low end"),
            ("device = \"x86-server-small\"", "whose file has [embodied]"),
            ("embodied_low_kilograms = 30\nembodied_source = \"s\"", "accounting.lifetime_years"),
            ("embodied_source = \"s\"", "without accounting.embodied_low_kilograms"),
            ("puee = 1.2", "unknown field `puee`"),
        ];
        for (text, expected) in wrong {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
