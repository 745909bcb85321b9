//! The figures of one run. The names are those of `summary.json` and of `--json`.

use std::collections::BTreeMap;

use serde::Serialize;
use wattle_core::id::ModelName;
use wattle_core::provenance::Provenance;

/// The figures of one run. `None` is unknown, and `null` in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// What the run is called: the policy's name, or what the scenario calls it.
    pub label: String,
    /// The policy.
    pub policy: String,
    /// The seed.
    pub seed: u64,
    /// `request` or `epoch`.
    pub level: &'static str,
    /// Length of the run.
    pub span_seconds: f64,
    /// Requests that arrived. At epoch level, rows.
    pub requests_total: u64,
    /// Requests answered.
    pub requests_completed: u64,
    /// Requests refused because a queue was full.
    pub requests_rejected: u64,
    /// Requests whose deadline passed while they waited.
    pub requests_expired: u64,
    /// Requests that still waited or ran at the end.
    pub requests_unfinished: u64,
    /// Rows answered per second.
    pub throughput_rps_mean: f64,
    /// Mean latency of answered requests.
    pub latency_ms_mean: Option<f64>,
    /// Median latency, to within 0.1 %, as the other percentiles.
    pub latency_ms_p50: Option<f64>,
    /// 95th percentile of the latency.
    pub latency_ms_p95: Option<f64>,
    /// 99th percentile of the latency.
    pub latency_ms_p99: Option<f64>,
    /// Answered requests that took longer than their model's objective.
    pub objective_misses: u64,
    /// Mean power of all devices.
    pub power_watts_mean: f64,
    /// Highest mean power of a control tick, or of an epoch.
    pub power_watts_max: f64,
    /// Energy of all devices.
    pub energy_joules: f64,
    /// Energy per row answered, idle energy included.
    pub energy_joules_per_row: Option<f64>,
    /// Mean cap while one was in force.
    pub cap_watts_mean: Option<f64>,
    /// Time over the cap, by means of ticks.
    pub cap_violation_seconds: f64,
    /// Energy above the cap.
    pub cap_violation_joules: f64,
    /// Time in which a model was parked, added up over the models.
    pub parked_seconds: f64,
    /// Emissions of the energy drawn while the carbon intensity was known.
    pub carbon_grams: Option<f64>,
    /// Mean quality of the answers, by rows; unknown where any answer's is.
    pub quality_mean: Option<f64>,
    /// Batches run.
    pub batches_total: u64,
    /// Batches of a size outside the profile, played as the nearest size in it.
    pub batches_outside_profile: u64,
    /// Decisions that turned something.
    pub decisions_turned: u64,
    /// Parts of decisions that could not be carried out.
    pub decisions_failed: u64,
    /// The best possible, where an oracle of the policy's family ran.
    pub oracle: Option<OracleDistance>,
    /// Why there is no such distance, where one was asked for.
    pub oracle_note: Option<String>,
    /// Each model.
    pub models: BTreeMap<ModelName, ModelSummary>,
    /// How power is known, by device.
    pub power_provenance: BTreeMap<String, Provenance>,
    /// What must hold in any run, with its figures.
    pub checks: Checks,
}

/// How far a run is from the best possible: this run's figure over the oracle's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OracleDistance {
    /// The oracle's policy name.
    pub policy: String,
    /// What the oracle makes most of or least of.
    pub objective: &'static str,
    /// The oracle's figure.
    pub best: Option<f64>,
    /// This run's figure over the oracle's.
    pub ratio: Option<f64>,
}

/// One model's figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ModelSummary {
    /// Requests that arrived.
    pub requests_total: u64,
    /// Requests answered.
    pub requests_completed: u64,
    /// Rows answered.
    pub rows_completed: u64,
    /// Batches run.
    pub batches_total: u64,
    /// Mean rows of a batch.
    pub batch_size_mean: Option<f64>,
    /// Mean latency.
    pub latency_ms_mean: Option<f64>,
    /// 95th percentile of the latency.
    pub latency_ms_p95: Option<f64>,
    /// 99th percentile of the latency.
    pub latency_ms_p99: Option<f64>,
    /// Energy attributed to the model.
    pub energy_joules: f64,
    /// Time in which it was parked.
    pub parked_seconds: f64,
    /// Answered requests that took longer than the objective.
    pub objective_misses: u64,
}

/// Conservation, in figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Checks {
    /// Arrived requests less those with an end or still there: 0. Unknown at epoch level, which plays none.
    pub requests_lost: Option<i64>,
    /// Mean number of requests in the system over time, Little's L. Unknown at epoch level.
    pub in_system_mean: Option<f64>,
    /// Time in the system of all requests over the span, Little's lambda times W.
    pub arrivals_times_latency: Option<f64>,
    /// Attributed and idle energy less metered energy, in joules: 0 to rounding.
    pub energy_unaccounted_joules: f64,
}
