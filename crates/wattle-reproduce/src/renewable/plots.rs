//! Plots of the study.

use super::slices::Detail;
use super::year::Year;
use crate::traces::PowerTrace;

/// All plots, each with its caption.
pub(super) fn all(
    _networks: &[&str],
    _traces: &[PowerTrace],
    _year: &Year,
    _detail: &Detail,
) -> Vec<(String, String)> {
    Vec::new()
}
