//! The sharing file: what was measured of a device that models share, as TOML.
//!
//! ```toml
//! wattle_sharing = 1
//! device = "GPU-5a1c"
//! slice_means = "MIG instance"
//! static_watts = 45.2
//! power_basis = "measured"
//! power_source = "NVML energy counter"
//! [[measured]]
//! tenants = [{ model = "mobilenet", slice = "1/7" }, { model = "mobilenet", slice = "1/7" }]
//! power_watts = 92.4
//! power_watts_ci95 = 0.6
//! samples = 118
//! held_out = false
//! ```
//!
//! It holds measurements and no fit: [`SharingFile::fit`] makes that anew, so that the two can't disagree.

use serde::{Deserialize, Serialize};

use super::{ErrorReport, Measured, SharedPower, SharedPowerError, Tenant};
use crate::nearest::nearest;
use crate::provenance::{Basis, Provenance};
use crate::units::{Megahertz, Watts};

/// The version of the format that this code reads and writes.
const FORMAT_VERSION: u32 = 1;

const HEAD: [&str; 14] = [
    "wattle_sharing",
    "device",
    "slice_means",
    "static_watts",
    "core_clock_mhz",
    "batch_size",
    "power_basis",
    "power_source",
    "runtime",
    "driver",
    "sensors",
    "ambient",
    "created",
    "measured",
];
const ROW: [&str; 5] = ["tenants", "power_watts", "power_watts_ci95", "samples", "held_out"];
const TENANT: [&str; 2] = ["model", "slice"];

/// What was measured of a device that models share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharingFile {
    /// The version of the format.
    wattle_sharing: u32,
    /// The device.
    pub device: String,
    /// What a slice is on it: `MIG instance`, `equal core sets`.
    pub slice_means: String,
    /// Power of the device awake, with nothing running.
    pub static_watts: Watts,
    /// Core clock at which all was measured; `None`: as the device chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_clock_mhz: Option<Megahertz>,
    /// Batch size of every model; `None`: each one's largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// How power is known.
    pub power_basis: Basis,
    /// By which counter, or which model of power.
    pub power_source: String,
    /// What executed the models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The device's driver or kernel, with its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Sensors that were read, each with its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensors: Option<String>,
    /// Load and heat around the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ambient: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What was measured, in the order in which it was.
    pub measured: Vec<SharingRow>,
}

/// Power of the device while some tenants were busy on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharingRow {
    /// Who was busy. The same tenant several times: so many instances on equal slices.
    pub tenants: Vec<Tenant>,
    /// Mean power of the device.
    pub power_watts: Watts,
    /// Half the width of its 95 % confidence interval, where windows agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_watts_ci95: Option<Watts>,
    /// Power readings that it rests on.
    pub samples: u32,
    /// Whether the fit is not to see it, so that its error can be told.
    #[serde(default)]
    pub held_out: bool,
}

/// A sharing file that can't be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SharingFileError {
    /// It is not what it should be.
    #[error("{file}, line {line}: found {found}, expected {expected}")]
    Format {
        /// The file.
        file: String,
        /// The line, counted from 1; 0 where none can be told.
        line: usize,
        /// What stands there.
        found: String,
        /// What could stand there, and what to do.
        expected: String,
    },
}

impl SharingFile {
    /// A file of `device` without measurements yet.
    pub fn new(device: String, slice_means: String, static_watts: Watts, power: Provenance) -> Self {
        Self {
            wattle_sharing: FORMAT_VERSION,
            device,
            slice_means,
            static_watts,
            core_clock_mhz: None,
            batch_size: None,
            power_basis: power.basis,
            power_source: power.source,
            runtime: None,
            driver: None,
            sensors: None,
            ambient: None,
            created: None,
            measured: Vec::new(),
        }
    }

    /// Reads a file from `text`; `file_name` is for errors only.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, SharingFileError> {
        let text = text.trim_start_matches('\u{feff}');
        let wrong = |line: usize, found: String, expected: String| SharingFileError::Format {
            file: file_name.to_owned(),
            line,
            found,
            expected,
        };
        let file: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| line_of(text, span.start));
            let message = error.message().to_owned();
            let expected = unknown_key(&message)
                .and_then(|key| nearest(key, HEAD.into_iter().chain(ROW).chain(TENANT)))
                .map_or_else(
                    || "a sharing file as `wattle profile --sharing` writes it".to_owned(),
                    |meant| format!("a known key; did you mean {meant:?}?"),
                );
            wrong(line, message, expected)
        })?;
        if file.wattle_sharing != FORMAT_VERSION {
            let found = format!("wattle_sharing = {}", file.wattle_sharing);
            return Err(wrong(1, found, format!("{FORMAT_VERSION}; measure anew with this version")));
        }
        let is_power = |power: Watts| power.get().is_finite() && power >= Watts::ZERO;
        if !is_power(file.static_watts) {
            let found = format!("static_watts = {}", file.static_watts.get());
            return Err(wrong(line_of_key(text, "static_watts"), found, "watts of at least 0".into()));
        }
        for (index, row) in file.measured.iter().enumerate() {
            let number = index + 1;
            let wrong =
                |found: String, expected: &str| wrong(line_of_row(text, index), found, expected.into());
            if row.tenants.is_empty() {
                let found = format!("measurement {number} of nobody");
                return Err(wrong(found, "at least one tenant; static_watts is what is drawn with none"));
            }
            let ci95 = row.power_watts_ci95.unwrap_or(Watts::ZERO);
            if let Some(power) = [row.power_watts, ci95].into_iter().find(|power| !is_power(*power)) {
                let found = format!("{} watts in measurement {number}", power.get());
                return Err(wrong(found, "watts of at least 0; correct the row or measure it anew"));
            }
        }
        Ok(file)
    }

    /// The file as text. [`parse`](Self::parse) of it gives the same again.
    ///
    /// # Errors
    /// Where a figure is no number that TOML can hold.
    pub fn to_text(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// What the measurements that are not held out tell.
    ///
    /// # Errors
    /// As [`SharedPower::fit`].
    pub fn fit(&self) -> Result<SharedPower, SharedPowerError> {
        SharedPower::fit(self.static_watts, &self.rows(false)).map_err(|error| self.numbered(false, error))
    }

    /// How far `fit` is off over the measurements that are held out.
    ///
    /// # Errors
    /// As [`SharedPower::error_report`], so also where nothing is held out.
    pub fn error_report(&self, fit: &SharedPower) -> Result<ErrorReport, SharedPowerError> {
        fit.error_report(&self.rows(true)).map_err(|error| self.numbered(true, error))
    }

    /// How power is known.
    pub fn power_provenance(&self) -> Provenance {
        Provenance::new(self.power_basis, self.power_source.as_str())
    }

    /// `error` with the measurement numbered as it is in the file, not among those that are held out or not.
    fn numbered(&self, held_out: bool, mut error: SharedPowerError) -> SharedPowerError {
        if let SharedPowerError::Power { number, .. }
        | SharedPowerError::NoTenant { number }
        | SharedPowerError::Fitted { number } = &mut error
            && let Some(before) = number.checked_sub(1)
        {
            let mut rows = self.measured.iter().enumerate().filter(|(_, row)| row.held_out == held_out);
            *number = rows.nth(before).map_or(*number, |(index, _)| index + 1);
        }
        error
    }

    fn rows(&self, held_out: bool) -> Vec<Measured> {
        let rows = self.measured.iter().filter(|row| row.held_out == held_out);
        rows.map(|row| Measured { tenants: row.tenants.clone(), power: row.power_watts }).collect()
    }
}

/// The line of the byte at `offset`, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The line of `key` in the head of a file; 0 where it is not found.
fn line_of_key(text: &str, key: &str) -> usize {
    text.lines().position(|line| line.trim_start().starts_with(key)).map_or(0, |place| place + 1)
}

/// The line of the table of a measurement, counted from 0; 0 where they are not written as tables.
fn line_of_row(text: &str, index: usize) -> usize {
    let mut lines = text.lines().enumerate().filter(|(_, line)| line.trim().starts_with("[[measured]]"));
    lines.nth(index).map_or(0, |(place, _)| place + 1)
}

/// The key that serde did not know, from its words.
fn unknown_key(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field `")?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> SharingFile {
        let provenance = Provenance::new(Basis::Measured, "a counter");
        let mut file = SharingFile::new("gpu".into(), "MIG instance".into(), Watts::new(45.0), provenance);
        let tenant = |model: &str, slice: &str| Tenant { model: model.into(), slice: slice.into() };
        let mut row = |tenants: &[Tenant], power: f64, held_out| {
            file.measured.push(SharingRow {
                tenants: tenants.to_vec(),
                power_watts: Watts::new(power),
                power_watts_ci95: Some(Watts::new(0.5)),
                samples: 100,
                held_out,
            });
        };
        let (light, a, b) = (tenant("light", "1/7"), tenant("a", "4/7"), tenant("b", "3/7"));
        row(std::slice::from_ref(&light), 80.0, false);
        row(&[light.clone(), light.clone()], 90.0, false);
        row(&[light.clone(), light.clone(), light], 100.0, false);
        row(std::slice::from_ref(&a), 150.0, false);
        row(std::slice::from_ref(&b), 120.0, false);
        row(&[a, b], 200.0, true);
        file
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let text = file().to_text().unwrap();
        assert_eq!(SharingFile::parse(&text, "sharing.toml").unwrap(), file(), "{text}");
    }

    #[test]
    fn what_is_held_out_is_not_fitted_and_its_error_is_told() {
        let file = file();
        let fit = file.fit().unwrap();
        assert!((fit.shared_idle_power.get() - 25.0).abs() < 1e-9);
        assert_eq!(fit.overlap_per_watt, None);
        let report = file.error_report(&fit).unwrap();
        // 45 + 25 + 80 + 50 W are expected, and measured; the naive sum counts 25 W twice.
        assert!(report.mean_abs_error_share_additive < 1e-9);
        assert!((report.mean_abs_error_share_naive - 25.0 / 200.0).abs() < 1e-9);
    }

    #[test]
    fn a_file_that_is_none_is_told_with_its_line_and_the_nearest_key() {
        let good = file().to_text().unwrap();
        let error = |text: &str| SharingFile::parse(text, "sharing.toml").unwrap_err().to_string();
        let told = error(&good.replace("slice_means", "slice_mean"));
        assert!(told.contains("sharing.toml, line 3") && told.contains("\"slice_means\""), "{told}");
        let told = error(&good.replace("wattle_sharing = 1", "wattle_sharing = 7"));
        assert!(told.contains("wattle_sharing = 7") && told.contains("measure anew"), "{told}");
        assert!(error("").contains("device") || error("").contains("wattle_sharing"), "{}", error(""));
    }

    #[test]
    fn a_power_that_can_not_be_is_told_with_its_line_and_its_number_in_the_file() {
        let good = file().to_text().unwrap();
        let error = |text: &str| SharingFile::parse(text, "sharing.toml").unwrap_err().to_string();
        let told = error(&good.replace("power_watts = 90.0", "power_watts = nan"));
        let line = 1 + good.lines().enumerate().filter(|(_, line)| *line == "[[measured]]").nth(1).unwrap().0;
        assert!(
            told.starts_with(&format!("sharing.toml, line {line}: found NaN watts in measurement 2")),
            "{told}"
        );
        assert!(
            error(&good.replace("static_watts = 45.0", "static_watts = -1.0")).contains("static_watts = -1")
        );
        // The fit sees the fourth row as its third, where the second is held out.
        let mut file = file();
        let held_out = file.measured.pop().unwrap();
        file.measured.insert(1, held_out);
        file.measured[3].power_watts = Watts::new(1.0);
        assert!(file.fit().unwrap_err().to_string().starts_with("measurement 4:"), "{:?}", file.fit());
    }
}
