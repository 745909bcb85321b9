//! Plots of the jobs and of the cap that falls and rises.

use super::falling::Recovery;
use super::jobs::Job;

/// All plots, each with its caption.
pub(super) fn all(_jobs: &[Job], _falling: &[Recovery]) -> Vec<(String, String)> {
    Vec::new()
}
