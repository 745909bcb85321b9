//! Model Analyzer's checkpoint: JSON of every run's configuration and measurements.

use serde_json::Value;

use super::{Found, ModelAnalyzerMeasurement};
use crate::error::{Blame, ImportError, quoted};
use crate::imported::amount;
use crate::oddity::Oddities;

const WHAT: &str = "a checkpoint of Triton's Model Analyzer (JSON with \"ResultManager.results\")";
const HELP: &str = "give the file as Model Analyzer wrote it";

/// Adds what the checkpoint holds to `found`.
pub(super) fn read(
    text: &str,
    blame: Blame<'_>,
    found: &mut Found,
    oddities: &mut Oddities,
) -> Result<(), ImportError> {
    let whole: Value = serde_json::from_str(text)
        .map_err(|error| blame.at(Some(error.line() as u64), None, error.to_string(), WHAT, HELP))?;
    let wrong = |place: &str, found: Option<&Value>| {
        let found = found.map_or("no such key".to_owned(), |value| quoted(&value.to_string()));
        blame.at(None, Some(place.to_owned()), found, WHAT, HELP)
    };
    let results = whole.get("ResultManager.results").and_then(|results| results.get("_results"));
    let Some(models) = results.and_then(Value::as_object) else {
        return Err(wrong("key \"ResultManager.results\"", whole.get("ResultManager.results")));
    };
    for (models_name, configurations) in models {
        let Some(configurations) = configurations.as_object() else {
            return Err(wrong(&format!("results of {models_name}"), Some(configurations)));
        };
        for (variant, run) in configurations {
            let place = format!("configuration {variant}");
            let run_configs =
                run.get(0).and_then(|run| run.get("_model_run_configs")).and_then(Value::as_array);
            let measured = run.get(1).and_then(Value::as_object);
            let (Some(run_configs), Some(measured)) = (run_configs, measured) else {
                return Err(wrong(&place, Some(run)));
            };
            for measurement in measured.values() {
                read_run(variant, run_configs, measurement, blame, found, oddities)
                    .ok_or_else(|| wrong(&place, Some(measurement)))?;
            }
        }
    }
    let gpus = whole.get("MetricsManager.gpus").and_then(Value::as_object);
    if let Some(gpu) = gpus.and_then(|gpus| gpus.values().next()) {
        found.device = gpu.get("name").and_then(Value::as_str).map(str::to_owned);
    }
    if let Some(server_only) = whole.get("ResultManager.server_only_data") {
        found.server_only_watts =
            over_gpus(server_only, "gpu_power_usage").map(|(sum, _)| sum).and_then(amount);
    }
    Ok(())
}

/// One run: a measurement for each of its models. `None` when it is not of the shape.
fn read_run(
    variant: &str,
    run_configs: &[Value],
    run: &Value,
    blame: Blame<'_>,
    found: &mut Found,
    oddities: &mut Oddities,
) -> Option<()> {
    let models = run.get("_model_config_measurements")?.as_array()?;
    let gpu = |tag: &str| over_gpus(run.get("_gpu_data")?, tag);
    for (index, measured) in models.iter().enumerate() {
        let run_config = run_configs.get(index)?;
        let model = run_config.get("_model_name")?.as_str()?;
        let settings = run_config.get("_model_config_variant")?.get("model_config")?;
        let parameters = measured.get("_model_specific_pa_params")?;
        let Some(concurrency) = parameters.get("concurrency-range").and_then(whole) else {
            let what = "measurements at a request rate, not a concurrency";
            oddities.add(blame.0, what, None, "left out");
            continue;
        };
        let figures = measured.get("_non_gpu_data")?.as_array()?;
        let figure = |tag: &str| tagged(figures, tag).and_then(amount);
        let compute =
            ["perf_server_compute_input", "perf_server_compute_infer", "perf_server_compute_output"];
        let beside = run_configs.iter().enumerate().filter(|(other, _)| *other != index);
        found.measurements.push(ModelAnalyzerMeasurement {
            model: model.to_owned(),
            measured_beside: beside
                .filter_map(|(_, other)| other.get("_model_config_variant")?.get("variant_name")?.as_str())
                .map(str::to_owned)
                .collect(),
            variant: match run_config
                .get("_model_config_variant")?
                .get("variant_name")
                .and_then(Value::as_str)
            {
                Some(own) => own.to_owned(),
                None => variant.to_owned(),
            },
            instances: instances(settings)?,
            max_batch_size: either(settings, "maxBatchSize", "max_batch_size").map_or(Some(1), whole)?,
            dynamic_batching: Some(either(settings, "dynamicBatching", "dynamic_batching").is_some()),
            client_batch_size: parameters.get("batch-size").map_or(Some(1), whole)?,
            concurrency,
            throughput_rps: figure("perf_throughput"),
            latency_ms_mean: figure("perf_latency_avg"),
            latency_ms_p50: figure("perf_latency_p50"),
            latency_ms_p90: figure("perf_latency_p90"),
            latency_ms_p95: figure("perf_latency_p95"),
            latency_ms_p99: figure("perf_latency_p99"),
            server_queue_ms: figure("perf_server_queue"),
            // The file has microseconds: more digits are noise of the sum.
            server_compute_ms: compute
                .iter()
                .map(|tag| figure(tag))
                .sum::<Option<f64>>()
                .map(|millis| (millis * 1e3).round() / 1e3)
                .and_then(amount),
            client_send_recv_ms: figure("perf_client_send_recv"),
            client_response_wait_ms: figure("perf_client_response_wait"),
            gpu_power_watts: gpu("gpu_power_usage").map(|(sum, _)| sum).and_then(amount),
            gpu_utilization: gpu("gpu_utilization").and_then(|(sum, gpus)| amount(sum / gpus / 100.0)),
            // Megabytes of a million bytes.
            gpu_memory_bytes: gpu("gpu_used_memory")
                .and_then(|(sum, _)| amount(sum))
                .map(|megabytes| (megabytes * 1e6).round() as u64),
        });
    }
    Some(())
}

/// The instances of a configuration: the sum over its groups, 1 where it has none or a group says no count.
fn instances(settings: &Value) -> Option<u32> {
    let Some(groups) = either(settings, "instanceGroup", "instance_group") else { return Some(1) };
    let mut counts = groups.as_array()?.iter().map(|group| group.get("count").map_or(Some(1), whole));
    counts.try_fold(0, |sum: u32, count| sum.checked_add(count?)).map(|count| count.max(1))
}

fn either<'v>(settings: &'v Value, name: &str, other_name: &str) -> Option<&'v Value> {
    settings.get(name).or_else(|| settings.get(other_name)).filter(|value| !value.is_null())
}

/// A whole number that is no more than a thousand thousand: no setting is.
fn whole(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok().filter(|count| *count <= 1_000_000)
}

/// The value of `tag` in a list of `[tag, {"_value": …}]`.
fn tagged(figures: &[Value], tag: &str) -> Option<f64> {
    let figure = figures.iter().find(|figure| figure.get(0).and_then(Value::as_str) == Some(tag))?;
    figure.get(1)?.get("_value")?.as_f64()
}

/// The sum of `tag` over all GPUs, and how many have it.
fn over_gpus(gpus: &Value, tag: &str) -> Option<(f64, f64)> {
    let values: Vec<f64> =
        gpus.as_object()?.values().filter_map(|gpu| tagged(gpu.as_array()?, tag)).collect();
    (!values.is_empty()).then(|| (values.iter().sum(), values.len() as f64))
}
