//! Caps from a grid's measured generation by source, by a stated rule.
//!
//! The published mean and deviation don't come from division by the maximum, and the paper states no
//! rule. [`Rule::default`] was picked because it comes close on all six figures of Table 1. So that the
//! caps are near the table is no result: they are an input, and modelled, though generation is measured.

use std::path::Path;

use wattle_core::provenance::Basis;
use wattle_import::{Format, Gaps, Input, Options, import};

use super::{MAX_WATTS, PowerTrace, Source};
use crate::{ReproduceError, files};

/// Hours of a leap year: the first year of a series is taken.
const HOURS: usize = 8784;

/// Why these traces are near Table 1, and why not on it.
const WHY: &str = "an input, no result: the paper states no rule, and this one was picked because it comes close to \
                   Table 1; another region";

/// How generation becomes a cap. The default was picked by Table 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The share of hours whose generation is at or under what becomes the maximum; above is clipped.
    pub percentile: f64,
    /// Hours whose cap is under this are left out, and the others joined up.
    pub drop_under_watts: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self { percentile: 0.98, drop_under_watts: 60.0 }
    }
}

/// Caps in watts of hourly `generation`; empty where nothing was generated.
pub fn capped(generation: &[f64], rule: &Rule) -> Vec<f64> {
    let mut ordered = generation.to_vec();
    ordered.sort_by(f64::total_cmp);
    let index = (rule.percentile * ordered.len().saturating_sub(1) as f64) as usize;
    let Some(full) = ordered.get(index).copied().filter(|full| *full > 0.0) else { return Vec::new() };
    let caps = generation.iter().map(|value| (MAX_WATTS * value / full).clamp(0.0, MAX_WATTS));
    caps.filter(|watts| *watts >= rule.drop_under_watts).collect()
}

/// The region of the user's data that stands for the paper's, by the name of its file.
pub const fn file_of(source: Source) -> &'static str {
    match source {
        Source::Hydro | Source::Wind => "ISNE.csv",
        Source::Solar => "CISO.csv",
    }
}

/// The trace of `source` from the generation files below `folder`; `None` where they are not there.
///
/// # Errors
/// When a file is there but can't be read.
pub fn trace(source: Source, folder: &Path, rule: &Rule) -> Result<Option<PowerTrace>, ReproduceError> {
    let Some(path) = files::find(folder, file_of(source)) else { return Ok(None) };
    let mut generation = generation(&path, source.name())?;
    generation.truncate(HOURS);
    let watts = capped(&generation, rule);
    if watts.is_empty() {
        let cause = format!("found no hour with {}, expected some", source.name());
        return Err(ReproduceError::Data { file: path, cause });
    }
    let rests_on = format!(
        "measured {} generation of {} (DACF), first year, the {} % quantile set to {MAX_WATTS} W, hours \
         under {} W left out: a rule picked because it comes close to Table 1",
        source.name(),
        file_of(source).trim_end_matches(".csv"),
        rule.percentile * 100.0,
        rule.drop_under_watts,
    );
    Ok(Some(PowerTrace { source, watts, basis: Basis::Modelled, rests_on, why: WHY }))
}

/// Hourly generation of `source` in a file of DACF, in megawatts.
fn generation(path: &Path, source: &str) -> Result<Vec<f64>, ReproduceError> {
    let data = |cause: String| ReproduceError::Data { file: path.to_owned(), cause };
    let bytes = std::fs::read(path).map_err(|cause| data(format!("failed to read: {cause}")))?;
    let input = Input { name: path.display().to_string(), bytes };
    let options =
        Options { source: Some(source.to_owned()), gaps: Some(Gaps::Interpolate), ..Options::default() };
    let imported = import(Format::Dacf, &[input], &options).map_err(|error| data(error.to_string()))?;
    let signal = imported.signals.into_iter().next();
    let signal = signal.ok_or_else(|| data(format!("found no column {source}, expected one")))?;
    Ok(signal.points.into_iter().map(|(_, megawatts)| megawatts).collect())
}
