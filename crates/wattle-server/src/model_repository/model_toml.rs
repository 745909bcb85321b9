//! `model.toml`: what an owner says of a model. Every key is optional; unknown keys are errors.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use wattle_core::id::ModelName;

use super::config::{Start, start};
use super::{RepositoryError, declared, folder_names};

/// The file, as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelToml {
    /// `onnx`, the only platform there is.
    pub platform: Option<String>,
    /// How requests are batched and queued.
    pub batching: Batching,
    /// How many instances run, on how many cores each.
    pub instances: Instances,
    /// What is wanted of its answers.
    pub objective: Objective,
    /// Which versions are served: `latest = N`, `all = true` or `specific = [..]`; the latest one by
    /// default.
    pub versions: Versions,
}

/// `[batching]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batching {
    /// Largest batch the model takes; 0: its inputs have no batch dimension.
    pub max_batch_size: Option<u32>,
    /// Batch limit at the start; the largest by default.
    pub batch_size: Option<u32>,
    /// How long a batch that isn't full waits, in microseconds; 0 by default.
    pub max_queue_delay_us: Option<u64>,
    /// Most requests that wait; 1024 by default.
    pub max_queue_size: Option<u32>,
    /// Deadline in the queue of requests that name none, in microseconds; none by default.
    pub default_timeout_us: Option<u64>,
    /// Highest priority number a request may name; 1 goes first. One level by default.
    pub priority_levels: Option<u32>,
    /// Priority of requests that name none; the middle level by default.
    pub default_priority: Option<u32>,
}

/// `[instances]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Instances {
    /// Instances at the start; as many as the server has compute threads, at most 8, by default.
    pub count: Option<u32>,
    /// Compute threads of each; 1 by default.
    pub cores: Option<u32>,
}

/// `[objective]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objective {
    /// Bound on the tail latency, in milliseconds, for policies that keep one; none by default.
    pub latency_ms: Option<f64>,
}

impl Objective {
    /// The bound on the tail latency, or why it is none.
    pub fn latency(&self) -> Result<Option<Duration>, String> {
        let Some(ms) = self.latency_ms else { return Ok(None) };
        let latency = Duration::try_from_secs_f64(ms / 1e3).ok().filter(|latency| !latency.is_zero());
        latency
            .map(Some)
            .ok_or_else(|| format!("objective.latency_ms is {ms}, expected milliseconds as a number over 0"))
    }
}

/// The bound on the tail latency of each model in `folder` that has one. Files that are not as they
/// should be are passed over here: loading the model tells what is wrong.
pub fn latency_objectives(folder: &Path) -> Result<BTreeMap<ModelName, Duration>, RepositoryError> {
    let objective = |name: String| {
        let declared = declared(&folder.join(&name), None).ok()?;
        Some((name.into(), declared.toml.objective.latency().ok()??))
    };
    Ok(folder_names(folder)?.into_iter().filter_map(objective).collect())
}

/// Where the knobs of each model in `folder` stand when a server with so many compute threads starts. Files
/// that are not as they should be are passed over here: loading the model tells what is wrong.
pub fn starts(folder: &Path, cores: u32) -> Result<BTreeMap<ModelName, Start>, RepositoryError> {
    let start =
        |name: String| Some((name.clone().into(), start(&declared(&folder.join(name), None).ok()?, cores)));
    Ok(folder_names(folder)?.into_iter().filter_map(start).collect())
}

/// `[versions]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Versions {
    /// Serve so many of the latest.
    pub latest: Option<u32>,
    /// Serve all.
    pub all: Option<bool>,
    /// Serve these.
    pub specific: Option<Vec<u64>>,
}
