//! The statistics extension: counts and times of each model, as Triton's clients read them.

use serde_json::Value;
use wattle_core::id::ModelName;

use super::DataPlane;
use super::error::ApiError;
use super::proto::{
    self, InferBatchStatistics, InferStatistics, ModelStatistics, ModelStatisticsResponse, StatisticDuration,
};
use crate::model_repository::ServedModel;

/// Statistics of one model (every served version where `version` is empty), of every variant of a family,
/// or of all where `name` is empty.
pub fn of(plane: &DataPlane, name: &str, version: &str) -> Result<ModelStatisticsResponse, ApiError> {
    let table = plane.repository.table();
    let model_stats = if !version.is_empty() {
        vec![of_model(plane, plane.repository.find(name, version)?.as_ref())]
    } else {
        if !name.is_empty() {
            plane.repository.find(name, "")?;
        }
        let family = plane.repository.families().get(name);
        let is_asked = |model: &ModelName| {
            name.is_empty()
                || model.as_str() == name
                || family.is_some_and(|family| family.variants().contains(model))
        };
        let entries = table.iter().filter(|(model, _)| is_asked(model));
        let served = entries.flat_map(|(_, entry)| entry.versions.values());
        served.map(|served| of_model(plane, served)).collect()
    };
    Ok(ModelStatisticsResponse { model_stats })
}

fn of_model(plane: &DataPlane, served: &ServedModel) -> ModelStatistics {
    let stats = served.executor.stats();
    let some = |count, ns| Some(StatisticDuration { count, ns });
    let answered = |ns| some(stats.success_count, ns);
    // Gathering the inputs is part of the runtime's own time, so `compute_input` is honestly zero.
    let batch = |(&size, batch): (&u32, &crate::executor::BatchStats)| InferBatchStatistics {
        batch_size: u64::from(size),
        compute_input: some(batch.count, 0),
        compute_infer: some(batch.count, batch.infer_nanos),
        compute_output: some(batch.count, batch.output_nanos),
    };
    let last_inference = match stats.executions {
        0 => 0,
        _ => plane.clock.unix(stats.last_inference).as_millis() as u64,
    };
    ModelStatistics {
        name: served.name.to_string(),
        version: served.version.to_string(),
        last_inference,
        inference_count: stats.completed_rows,
        execution_count: stats.executions,
        inference_stats: Some(InferStatistics {
            success: answered(stats.success_nanos),
            fail: some(stats.fail_count, stats.fail_nanos),
            queue: answered(stats.queue_nanos),
            compute_input: answered(0),
            compute_infer: answered(stats.infer_nanos),
            compute_output: answered(stats.output_nanos),
            cache_hit: some(0, 0),
            cache_miss: some(0, 0),
        }),
        batch_stats: stats.by_batch_size.iter().map(batch).collect(),
        ..ModelStatistics::default()
    }
}

/// The HTTP form.
pub fn to_json(statistics: &ModelStatisticsResponse) -> Value {
    proto::to_json("inference.ModelStatisticsResponse", statistics)
}
