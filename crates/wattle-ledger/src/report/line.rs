//! A row as it is written: one flat record, the same in CSV and in JSON. What is unknown is empty.

use std::collections::BTreeSet;
use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;
use wattle_core::carbon::Sci;
use wattle_core::time::UnixTime;
use wattle_core::units::GramsCo2e;

use super::{Of, Report, Row};
use crate::query::KnownGrams;

/// One row of a report. `reserved` figures have a part of idle energy and time; others are of the work alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Start of the period, or of what was counted.
    pub period_start: Option<String>,
    /// Its end.
    pub period_end: Option<String>,
    /// By what rows are told apart.
    pub by: &'static str,
    /// The name of the model, family, class or device; empty where a request named none.
    pub name: String,
    /// `account`, `idle`, or `total`.
    pub row_kind: &'static str,
    /// Requests answered.
    pub requests: u64,
    /// Rows answered.
    pub rows: u64,
    /// Energy at the device.
    pub energy_joules: f64,
    /// The same with what the site adds.
    pub site_energy_joules: f64,
    /// With a part of idle energy.
    pub energy_reserved_joules: f64,
    /// The same with what the site adds.
    pub site_energy_reserved_joules: f64,
    /// Location-based emissions.
    pub location_grams: Option<f64>,
    /// With a part of those of idle energy.
    pub location_reserved_grams: Option<f64>,
    /// Market-based emissions.
    pub market_grams: Option<f64>,
    /// With a part of those of idle energy.
    pub market_reserved_grams: Option<f64>,
    /// The share of the energy whose carbon is known, which location-based emissions are of.
    pub carbon_known_share: Option<f64>,
    /// The same of the energy with its part of idle energy.
    pub carbon_known_reserved_share: Option<f64>,
    /// The share of the energy that market-based emissions are of: runs without a contract have none.
    pub market_known_share: Option<f64>,
    /// Of making the device, by busy time, low end.
    pub embodied_busy_low_grams: Option<f64>,
    /// High end.
    pub embodied_busy_high_grams: Option<f64>,
    /// Of making the device, by reserved time, low end.
    pub embodied_reserved_low_grams: Option<f64>,
    /// High end.
    pub embodied_reserved_high_grams: Option<f64>,
    /// By busy time alone, low end.
    pub busy_low_grams_per_request: Option<f64>,
    /// High end.
    pub busy_high_grams_per_request: Option<f64>,
    /// The SCI for each request, low end.
    pub sci_low_grams_per_request: Option<f64>,
    /// High end.
    pub sci_high_grams_per_request: Option<f64>,
    /// The SCI for each 1,000 rows, low end.
    pub sci_low_grams_per_1000_rows: Option<f64>,
    /// High end.
    pub sci_high_grams_per_1000_rows: Option<f64>,
    /// What the same requests would have drawn under the baseline, to compare with `energy_joules`.
    pub baseline_energy_joules: Option<f64>,
    /// What they would have emitted, to compare with `location_grams`.
    pub baseline_location_grams: Option<f64>,
    /// Rows that the baseline could not have answered.
    pub baseline_refused_rows: Option<f64>,
    /// How the baseline is known.
    pub baseline_source: Option<String>,
    /// How the energy is known, the worst of all.
    pub power_basis: Option<String>,
    /// Of the power.
    pub power_source: String,
    /// Of the carbon intensity.
    pub intensity_source: String,
    /// Of the market-based intensity.
    pub market_source: String,
    /// Of the power usage effectiveness.
    pub pue_source: String,
    /// Of what making the device emitted.
    pub embodied_source: String,
}

/// `at` as `2026-11-01T00:00:00Z`; the seconds themselves beyond the calendar.
pub fn utc(at: UnixTime) -> String {
    Timestamp::from_second(at.as_secs()).map_or_else(|_| at.as_secs().to_string(), |at| at.to_string())
}

impl Report {
    /// The rows as they are written.
    pub fn lines(&self) -> Vec<Line> {
        self.rows.iter().map(|row| self.line(row, kind(&row.of))).collect()
    }

    /// All rows together, likewise.
    pub fn total_line(&self) -> Line {
        self.line(&self.total, "total")
    }

    fn line(&self, row: &Row, row_kind: &'static str) -> Line {
        let grams = |known: Option<KnownGrams>| known.map(|known| known.grams.get());
        let low = |sci: Option<Sci>| sci.map(|sci| sci.low.get());
        let high = |sci: Option<Sci>| sci.and_then(|sci| sci.high).map(GramsCo2e::get);
        let period = row.period.or(self.counted);
        let baseline = self.baseline.as_ref().and_then(|told| told.as_ref().ok());
        let of_baseline = row.baseline.as_ref().filter(|_| baseline.is_some());
        let (busy, reserved) = (&row.busy, &row.reserved);
        let (per_request, per_rows) = (row.sci_per_request(), row.sci_per_1000_rows());
        let busy_per_request = row.busy_per_request();
        Line {
            period_start: period.map(|period| utc(period.from)),
            period_end: period.map(|period| utc(period.to)),
            by: self.by.name(),
            name: match &row.of {
                Of::Named(name) if row_kind != "total" => name.clone(),
                _ => String::new(),
            },
            row_kind,
            requests: row.requests,
            rows: row.rows,
            energy_joules: busy.energy.get(),
            site_energy_joules: busy.site_energy.get(),
            energy_reserved_joules: reserved.energy.get(),
            site_energy_reserved_joules: reserved.site_energy.get(),
            location_grams: grams(busy.location),
            location_reserved_grams: grams(reserved.location),
            market_grams: grams(busy.market),
            market_reserved_grams: grams(reserved.market),
            carbon_known_share: busy.known_share(),
            carbon_known_reserved_share: reserved.known_share(),
            market_known_share: busy.market_share(),
            embodied_busy_low_grams: busy.embodied.map(|of| of.low.get()),
            embodied_busy_high_grams: busy.embodied.and_then(|of| of.high).map(GramsCo2e::get),
            embodied_reserved_low_grams: reserved.embodied.map(|of| of.low.get()),
            embodied_reserved_high_grams: reserved.embodied.and_then(|of| of.high).map(GramsCo2e::get),
            busy_low_grams_per_request: low(busy_per_request),
            busy_high_grams_per_request: high(busy_per_request),
            sci_low_grams_per_request: low(per_request),
            sci_high_grams_per_request: high(per_request),
            sci_low_grams_per_1000_rows: low(per_rows),
            sci_high_grams_per_1000_rows: high(per_rows),
            baseline_energy_joules: of_baseline.map(|of| of.energy.get()),
            baseline_location_grams: of_baseline.and_then(|of| grams(of.location)),
            baseline_refused_rows: of_baseline.map(|of| of.refused_rows),
            baseline_source: of_baseline.and(baseline).map(|told| told.provenance.to_string()),
            power_basis: row.basis.map(|basis| basis.to_string()),
            power_source: joined(&row.sources.power),
            intensity_source: joined(&row.sources.intensity),
            market_source: joined(&row.sources.market),
            pue_source: joined(&row.sources.pue),
            embodied_source: joined(&row.sources.embodied),
        }
    }
}

fn kind(of: &Of) -> &'static str {
    if *of == Of::Idle { "idle" } else { "account" }
}

/// All of them in one cell.
fn joined(sources: &BTreeSet<String>) -> String {
    sources.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
}

/// Writes `lines` as CSV with a header.
///
/// # Errors
/// When `to` can't be written.
pub fn write_csv(lines: &[Line], to: impl Write) -> Result<(), csv::Error> {
    let mut writer = csv::Writer::from_writer(to);
    lines.iter().try_for_each(|line| writer.serialize(line))?;
    Ok(writer.flush()?)
}
