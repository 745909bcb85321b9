//! What an experiment gives: rows of published and own figures, plots, and what it all rests on.

use serde::Serialize;
use wattle_core::provenance::Basis;

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
