//! Simulated closed loops against what Triton's Model Analyzer measured on a GPU.
//!
//! The measurements are in the folder `profiles/triton-model-analyzer` of the folder that `WATTLE_DATA`
//! names; without it the test is passed over. The rule by which a profile is made, not a fit:
//! - For each model in each configuration, its rows at one concurrency: the lowest at which its instances
//!   are busy 90 % of the time (throughput x compute time / batch size / instances). Where none is, one
//!   client, as nobody then waits for anybody.
//! - A batch takes what the server spent on input, inference and output there. All else but the queue is
//!   overhead; with one client the queue is overhead too, as it can only be the handing over.
//! - Where a configuration can also run smaller batches or fewer instances, the profile has the row of
//!   the default configuration (batches of one, one instance) at its own one concurrency as well.
//!
//! What stays off is no queueing: `add_sub`, a model of 0.1 ms, computes twice as fast for two clients as
//! for one, and `resnet50` beside an otherwise equally busy `vgg19` was measured at 124 and at 169 rows/s
//! with one client each.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "prints what was measured and simulated")]

mod common;

use std::fmt::Write as _;
use std::path::Path;

use common::fixed;
use serde_json::Value;

/// Beyond so many clients the one measuring program is the limit, not the server.
const MOST_CLIENTS: u32 = 64;
const BUSY: f64 = 0.9;
const WITHIN: f64 = 0.15;

/// One model in one configuration, measured beside others with one number of clients.
#[derive(Debug, Clone)]
struct Row {
    /// Configurations and clients of all models that ran together.
    run: String,
    model: String,
    config: String,
    rows: u32,
    clients: u32,
    batch_size: u32,
    instances: u32,
    throughput_rps: f64,
    latency_ms: f64,
    queue_ms: f64,
    compute_ms: f64,
    power_watts: f64,
}

impl Row {
    fn busy(&self) -> f64 {
        let slots = f64::from(self.batch_size * self.instances);
        self.throughput_rps * self.compute_ms / 1e3 / slots
    }

    fn overhead_ms(&self) -> f64 {
        let known = if self.clients == 1 { 0.0 } else { self.queue_ms };
        self.latency_ms - self.compute_ms - known
    }

    /// Whether both are of one model in one configuration, with requests of the same size.
    fn is_like(&self, other: &Self) -> bool {
        (&self.model, &self.config, self.rows) == (&other.model, &other.config, other.rows)
    }
}

fn metric(metrics: &Value, name: &str) -> f64 {
    let found = metrics.as_array().unwrap().iter().find(|metric| metric[0] == name);
    found.unwrap_or_else(|| panic!("no {name}"))[1]["_value"].as_f64().unwrap()
}

/// The measurements of one checkpoint.
fn measured(text: &str) -> Vec<Row> {
    let all: Value = serde_json::from_str(text).unwrap();
    let mut rows = Vec::new();
    for configs in all["ResultManager.results"]["_results"].as_object().unwrap().values() {
        for (config, result) in configs.as_object().unwrap() {
            let models = result[0]["_model_run_configs"].as_array().unwrap();
            for (run, measurement) in result[1].as_object().unwrap() {
                let power_watts = metric(&measurement["_avg_gpu_data"], "gpu_power_usage");
                let of_models = measurement["_model_config_measurements"].as_array().unwrap();
                for (model, of_model) in models.iter().zip(of_models) {
                    let written = &model["_model_config_variant"]["model_config"];
                    let count = |value: &Value| u32::try_from(value.as_u64().unwrap_or(1)).unwrap();
                    let params = &of_model["_model_specific_pa_params"];
                    let requests = count(&params["batch-size"]);
                    let metrics = &of_model["_non_gpu_data"];
                    let of = |name: &str| metric(metrics, &format!("perf_{name}"));
                    // Without dynamic batching each request runs alone.
                    let batches = !written["dynamicBatching"].is_null();
                    rows.push(Row {
                        run: run.clone(),
                        model: model["_model_name"].as_str().unwrap().to_owned(),
                        config: config.clone(),
                        rows: requests,
                        clients: count(&params["concurrency-range"]),
                        batch_size: if batches { count(&written["maxBatchSize"]) } else { requests },
                        instances: count(&written["instanceGroup"][0]["count"]),
                        throughput_rps: of("throughput"),
                        latency_ms: of("latency_avg"),
                        queue_ms: of("server_queue"),
                        compute_ms: of("server_compute_input")
                            + of("server_compute_infer")
                            + of("server_compute_output"),
                        power_watts,
                    });
                }
            }
        }
    }
    rows.retain(|row| row.clients <= MOST_CLIENTS);
    rows
}

/// The one row that speaks for `of`'s configuration.
fn speaking<'a>(of: &Row, rows: &'a [Row]) -> &'a Row {
    let like = || rows.iter().filter(|row| row.is_like(of));
    let busy = like().filter(|row| row.busy() >= BUSY).min_by_key(|row| row.clients);
    busy.or_else(|| like().find(|row| row.clients == 1)).unwrap()
}

/// The scenario of one run: all models that were measured together, each asked by its clients.
fn scenario(together: &[&Row], rows: &[Row]) -> String {
    let mut text = String::from("span_seconds = 20\ntick_ms = 1000\npoints = 10\n");
    for row in together {
        let speaks = speaking(row, rows);
        let size = if speaks.clients == 1 { speaks.rows } else { speaks.batch_size };
        let mut profile = vec![(size, speaks.instances, speaks)];
        let default = rows.iter().find(|other| {
            other.model == row.model && other.config.contains("_config_default") && other.rows == row.rows
        });
        let default = default.map(|default| speaking(default, rows)).filter(|row| row.clients > 1);
        profile.extend(default.filter(|_| (size, speaks.instances) != (1, 1)).map(|row| (1, 1, row)));
        let _ = write!(
            text,
            "[[models]]\nname = \"{}\"\nidle_power_watts = 50\nbatch_size = {}\nmax_batch_size = {}\n\
             instances = {}\noverhead_ms = {}\n\
             workload = {{ kind = \"closed-loop\", clients = {}, rows = {} }}\nrows = [\n",
            row.model,
            row.batch_size,
            row.batch_size,
            row.instances,
            speaks.overhead_ms(),
            row.clients,
            row.rows,
        );
        for (batch_size, instances, row) in profile {
            let _ = writeln!(
                text,
                "{{ batch_size = {batch_size}, instances = {instances}, latency_ms_mean = {}, \
                 power_watts_mean = {} }},",
                row.compute_ms, row.power_watts
            );
        }
        text += "]\n";
    }
    text
}

#[test]
fn most_closed_loops_are_within_15_percent_of_what_model_analyzer_measured() {
    let Some(data) = std::env::var_os("WATTLE_DATA") else {
        println!("skipped: WATTLE_DATA names no folder of measured data");
        return;
    };
    let folder = Path::new(&data).join("profiles/triton-model-analyzer");
    let (mut all, mut within, mut unseen, mut unseen_within) = (0, 0, 0, 0);
    println!(
        "model, configurations, rows, clients | rows/s measured, simulated, ratio | ms measured, simulated, ratio"
    );
    for name in ["single-model-ckpt", "multi-model-ckpt"] {
        let rows = measured(&std::fs::read_to_string(folder.join(name).join("0.ckpt")).unwrap());
        for row in &rows {
            let together: Vec<&Row> = rows.iter().filter(|other| other.run == row.run).collect();
            let summary = fixed(&scenario(&together, &rows), 1);
            let of_model = &summary.models[row.model.as_str()];
            let rps = of_model.rows_completed as f64 / summary.span_seconds;
            let ms = of_model.latency_ms_mean.unwrap();
            let ratios = [rps / row.throughput_rps, ms / row.latency_ms];
            let is_within = ratios.iter().all(|ratio| (ratio - 1.0).abs() <= WITHIN);
            let is_unseen = speaking(row, &rows).clients != row.clients;
            all += 1;
            within += u32::from(is_within);
            unseen += u32::from(is_unseen);
            unseen_within += u32::from(is_unseen && is_within);
            println!(
                "{}, {}, {}, {} | {:.0} {rps:.0} {:.3} | {:.3} {ms:.3} {:.3}{}{}",
                row.model,
                row.config,
                row.rows,
                row.clients,
                row.throughput_rps,
                ratios[0],
                row.latency_ms,
                ratios[1],
                if is_unseen { "" } else { ", in the profile" },
                if is_within { "" } else { "  <- off" },
            );
        }
    }
    println!(
        "{within} of {all} within 15 %; of those that are not in the profile, {unseen_within} of {unseen}"
    );
    assert!(f64::from(within) >= 0.8 * f64::from(all), "{within} of {all}");
    assert!(f64::from(unseen_within) >= 0.6 * f64::from(unseen), "{unseen_within} of {unseen}");
}
