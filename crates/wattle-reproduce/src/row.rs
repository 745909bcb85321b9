//! What an experiment gives: rows of published and own figures, plots, and what it all rests on.

use serde::Serialize;
use wattle_core::analytic::{self, networks};
use wattle_core::device_spec;
use wattle_core::provenance::Basis;

use crate::ReproduceError;

/// One figure, published and ours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which figure, such as `Fig. 5, job 19: throughput of BatchSizer over DVFS`.
    pub figure: String,
    /// What the paper reports; `None` where it gives no number.
    pub published: Option<f64>,
    /// What we get; `None` where it can't be told.
    pub ours: Option<f64>,
    /// The unit of both, such as `%`, `W`, `ratio`.
    pub unit: String,
    /// How our figure is known: the worst of what it rests on.
    pub basis: Basis,
    /// What ours rests on: which profile, trace and model.
    pub rests_on: String,
    /// Why the two differ, as far as known; empty where they agree.
    pub why: String,
}

/// One experiment's results.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Reproduction {
    /// The experiment's name.
    pub name: String,
    /// The paper, in words.
    pub title: String,
    /// The figures.
    pub rows: Vec<Row>,
    /// What a reader has to know to read them.
    pub notes: Vec<String>,
    /// Plots: a caption and SVG text each.
    #[serde(skip)]
    pub plots: Vec<(String, String)>,
}

/// How well the analytic model's profiles of `networks` on the bundled `device` are known: the worst of them.
pub(crate) fn analytic_basis(
    experiment: &'static str,
    device: &str,
    networks: &[&str],
) -> Result<Basis, ReproduceError> {
    let broken = |cause: String| ReproduceError::Broken { name: experiment, cause };
    let spec = device_spec::bundled(device).map_err(|error| broken(error.to_string()))?;
    let mut worst = Basis::Modelled;
    for name in networks {
        let network = networks::bundled(name).map_err(|error| broken(error.to_string()))?;
        worst = worst.max(analytic::basis(&spec, &network));
    }
    Ok(worst)
}

/// Makes the basis of `rows` no better than `basis`, on which they all rest.
pub(crate) fn rest_on(basis: Basis, rows: &mut [Row]) {
    rows.iter_mut().for_each(|row| row.basis = row.basis.max(basis));
}
