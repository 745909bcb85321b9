//! Triton's Model Analyzer: checkpoints (`*.ckpt`) and metrics CSVs.
//!
//! A profile has no column for the requests in flight, so one concurrency is taken: the one asked for, or
//! of each configuration the highest up to 64 (the client saturates above). How many rows run together is
//! the setting `max_batch_size` where the server batches (dynamic batching), and the client's own batch
//! size where it does not.

mod checkpoint;
mod metrics_csv;

use std::collections::BTreeMap;

use wattle_core::operating_point::{Confidence, OperatingPoint, ProfileRow};
use wattle_core::profile::Profile;
use wattle_core::provenance::Basis;
use wattle_core::units::Watts;

use crate::archive::Unpacked;
use crate::error::{Blame, ImportError};
use crate::imported::{HeadFacts, Imported, ImportedProfile, amount, slug};
use crate::oddity::Oddities;
use crate::options::Options;

/// Highest concurrency that is taken unasked.
const HIGHEST_CONCURRENCY: u32 = 64;

/// One measurement of one model by Model Analyzer. `None`: the file doesn't say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelAnalyzerMeasurement {
    /// The model.
    pub model: String,
    /// Models that were measured on the same device at the same time; power and memory are of all of them.
    pub measured_beside: Vec<String>,
    /// The configuration's name; of several models, all their configurations.
    pub variant: String,
    /// Instances of the model on each device.
    pub instances: u32,
    /// The setting `max_batch_size`.
    pub max_batch_size: u32,
    /// Whether the server batches requests; CSVs don't say.
    pub dynamic_batching: Option<bool>,
    /// Rows of each request.
    pub client_batch_size: u32,
    /// Requests in flight at once.
    pub concurrency: u32,
    /// Rows per second.
    pub throughput_rps: Option<f64>,
    /// Mean latency of a request, as the client saw it.
    pub latency_ms_mean: Option<f64>,
    /// Its median.
    pub latency_ms_p50: Option<f64>,
    /// Its 90th percentile.
    pub latency_ms_p90: Option<f64>,
    /// Its 95th percentile.
    pub latency_ms_p95: Option<f64>,
    /// Its 99th percentile.
    pub latency_ms_p99: Option<f64>,
    /// Mean time of a request in the server's queue.
    pub server_queue_ms: Option<f64>,
    /// Mean time of a request in its batch: input, inference and output.
    pub server_compute_ms: Option<f64>,
    /// Mean time the client took to send the request and read the answer.
    pub client_send_recv_ms: Option<f64>,
    /// Mean time the client waited between sending and the answer.
    pub client_response_wait_ms: Option<f64>,
    /// Power of the devices together.
    pub gpu_power_watts: Option<f64>,
    /// Mean utilization of the devices, from 0 to 1.
    pub gpu_utilization: Option<f64>,
    /// Memory taken on the devices together.
    pub gpu_memory_bytes: Option<u64>,
}

impl ModelAnalyzerMeasurement {
    /// The most rows that run together.
    pub fn batch_size(&self) -> u32 {
        let client = self.client_batch_size.max(1);
        match self.dynamic_batching {
            Some(false) => client,
            _ => self.max_batch_size.max(client),
        }
    }

    /// Mean time of a request on the network and in the server's reading and writing: what the client
    /// waited, less queue and batch, in milliseconds.
    pub fn network_and_server_send_recv_ms(&self) -> Option<f64> {
        amount(self.client_response_wait_ms? - self.server_queue_ms? - self.server_compute_ms?)
    }

    /// Mean time of a request outside the queue and its batch, in milliseconds.
    pub fn overhead_ms(&self) -> Option<f64> {
        let overhead = self.latency_ms_mean? - self.server_queue_ms? - self.server_compute_ms?;
        amount(overhead)
    }
}

/// All that the files hold.
#[derive(Debug, Default)]
struct Found {
    measurements: Vec<ModelAnalyzerMeasurement>,
    device: Option<String>,
    /// Power of the devices with the server running and no model loaded.
    server_only_watts: Option<f64>,
}

/// Reads every measurement of a checkpoint or of an inference metrics CSV. `file` is for errors only.
pub fn measurements(text: &str, file: &str) -> Result<Vec<ModelAnalyzerMeasurement>, ImportError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut oddities = Oddities::default();
    let mut found = Found::default();
    if text.trim_start().starts_with('{') {
        checkpoint::read(text, Blame(file), &mut found, &mut oddities)?;
    } else {
        metrics_csv::read(text, Blame(file), &mut found, &mut oddities)?;
    }
    Ok(found.measurements)
}

pub(crate) fn import(
    inputs: &[Unpacked<'_>],
    options: &Options,
    oddities: &mut Oddities,
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    let mut tables = Vec::new();
    super::each(inputs, oddities, |input, oddities| {
        let text = input.text()?;
        if text.trim_start().starts_with('{') {
            // A checkpoint stands for itself: another may be of another device.
            let mut found = Found::default();
            checkpoint::read(text, Blame(&input.name), &mut found, oddities)?;
            imported.profiles.extend(profiles(&found, options, &input.name, oddities)?);
        } else {
            metrics_csv::check(text, Blame(&input.name))?;
            tables.push((text.to_owned(), input.name.clone()));
        }
        Ok(())
    })?;
    // Inference metrics first: the others add to their rows.
    tables.sort_by_key(|(text, _)| !metrics_csv::is_inference(text));
    if let Some((_, file)) = tables.first() {
        let mut found = Found::default();
        for (text, file) in &tables {
            metrics_csv::read(text, Blame(file), &mut found, oddities)?;
        }
        imported.profiles.extend(profiles(&found, options, file, oddities)?);
    }
    Ok(imported)
}

/// A profile of each model.
fn profiles(
    found: &Found,
    options: &Options,
    file: &str,
    oddities: &mut Oddities,
) -> Result<Vec<ImportedProfile>, ImportError> {
    let mut models: BTreeMap<&str, Vec<&ModelAnalyzerMeasurement>> = BTreeMap::new();
    for measurement in &found.measurements {
        models.entry(&measurement.model).or_default().push(measurement);
    }
    if models.is_empty() {
        return Err(Blame(file).file(
            "no measurement",
            "a checkpoint (*.ckpt) or metrics-model-inference.csv with measurements",
            "give the checkpoint, or the CSV of inference metrics beside that of the GPU",
        ));
    }
    let mut profiles = Vec::new();
    for (model, measurements) in models {
        let taken = at_one_concurrency(&measurements, options.concurrency, file, oddities);
        if taken.is_empty() {
            let mut known: Vec<u32> = measurements.iter().map(|one| one.concurrency).collect();
            known.sort_unstable();
            known.dedup();
            let known: Vec<String> = known.iter().map(u32::to_string).collect();
            let wanted = options.concurrency.map_or("up to 64".to_owned(), |wanted| wanted.to_string());
            return Err(Blame(file).file(
                format!("no measurement of {model} at concurrency {wanted}"),
                format!("one of: {}", known.join(", ")),
                "name one with --concurrency",
            ));
        }
        profiles.push(profile(model, &taken, found, options, file, oddities));
    }
    Ok(profiles)
}

/// Of each configuration the measurements at the concurrency asked for, or at its highest up to 64.
fn at_one_concurrency<'a>(
    all: &[&'a ModelAnalyzerMeasurement],
    wanted: Option<u32>,
    file: &str,
    oddities: &mut Oddities,
) -> Vec<&'a ModelAnalyzerMeasurement> {
    let mut highest: BTreeMap<_, u32> = BTreeMap::new();
    for one in all.iter().filter(|one| one.concurrency <= HIGHEST_CONCURRENCY) {
        let known = highest.entry((&one.variant, &one.measured_beside)).or_default();
        *known = one.concurrency.max(*known);
    }
    let is_taken = |one: &&&ModelAnalyzerMeasurement| match wanted {
        Some(wanted) => one.concurrency == wanted,
        None => highest.get(&(&one.variant, &one.measured_beside)) == Some(&one.concurrency),
    };
    let taken: Vec<_> = all.iter().filter(is_taken).copied().collect();
    let left_out = (all.len() - taken.len()) as u64;
    oddities.add_many(file, "measurements at other concurrencies", left_out, None, "left out of the profile");
    taken
}

fn profile(
    model: &str,
    measurements: &[&ModelAnalyzerMeasurement],
    found: &Found,
    options: &Options,
    file: &str,
    oddities: &mut Oddities,
) -> ImportedProfile {
    // Of measurements of one point (the client's batch size differs) the one of most throughput: a profile
    // is of the model saturated.
    let mut best: BTreeMap<(u32, u32, Option<String>), &ModelAnalyzerMeasurement> = BTreeMap::new();
    for one in measurements.iter().copied() {
        let beside = (!one.measured_beside.is_empty())
            .then(|| format!("{} beside {}", one.variant, one.measured_beside.join(",")));
        if beside.is_some() {
            let what = "measurements of several models at once";
            oddities.add(file, what, None, "marked as a variant of their own, without power and memory");
        }
        let point = (one.batch_size(), one.instances.max(1), beside);
        let known = best.entry(point).or_insert(one);
        if !std::ptr::eq(*known, one) {
            let what = "measurements of one operating point with another client batch size or configuration";
            oddities.add(file, what, None, "the one of most throughput is kept");
            if one.throughput_rps > known.throughput_rps {
                *known = one;
            }
        }
    }
    let rows: Vec<ProfileRow> = best.iter().map(|(point, one)| row(point, one)).collect();
    let overheads: Vec<f64> = best.values().filter_map(|one| one.overhead_ms()).collect();
    let mean_overhead = overheads.iter().sum::<f64>() / overheads.len() as f64;
    let request_overhead_ms = amount(mean_overhead);
    let mut concurrencies: Vec<u32> = best.values().map(|one| one.concurrency).collect();
    concurrencies.sort_unstable();
    concurrencies.dedup();
    let concurrencies: Vec<String> = concurrencies.iter().map(u32::to_string).collect();
    let latency = match request_overhead_ms {
        Some(overhead) => format!(
            "latency_ms_mean is the mean time of a batch in the server (compute input, infer and output); \
             percentiles are left out, as the file has them for whole requests only. A request took \
             {overhead:.3} ms more outside queue and batch, in the mean over these rows."
        ),
        None => {
            "Latencies are of whole requests, queue and network included: the file does not say how long a \
                 batch took."
                .to_owned()
        }
    };
    let idle = match found.server_only_watts {
        Some(_) => " idle_power_watts is that of the server without a model loaded.",
        None => "",
    };
    let notes = format!(
        "From Triton's Model Analyzer, at concurrency {}. batch_size is max_batch_size where the server batches \
         (or the file does not say), the client's batch size where it does not. {latency}{idle} samples is 1: \
         the file does not say on how many batches a figure rests.",
        concurrencies.join(", ")
    );
    let head = HeadFacts {
        model,
        device: found.device.as_deref(),
        runtime: Some("Triton Inference Server"),
        idle_power_watts: found.server_only_watts,
        request_overhead_ms,
        quality: None,
        power_source: "Model Analyzer's gpu_power_usage (DCGM), whole GPU",
        notes,
    }
    .head(options);
    ImportedProfile { file_stem: slug(model), profile: Profile { head, rows } }
}

fn row(point: &(u32, u32, Option<String>), one: &ModelAnalyzerMeasurement) -> ProfileRow {
    let (batch_size, instances, beside) = point;
    let alone = beside.is_none();
    // The batch's own latency where it is known; its percentiles are not, and the request's are no stand-in.
    let request_only = one.server_compute_ms.is_none();
    let of_request = |latency: Option<f64>| latency.filter(|_| request_only);
    ProfileRow {
        point: OperatingPoint {
            variant: beside.clone(),
            ..OperatingPoint::of_batch_and_instances(*batch_size, *instances)
        },
        throughput_rps: one.throughput_rps,
        latency_ms_mean: one.server_compute_ms.or(one.latency_ms_mean),
        latency_ms_p50: of_request(one.latency_ms_p50),
        latency_ms_p95: of_request(one.latency_ms_p95),
        latency_ms_p99: of_request(one.latency_ms_p99),
        power_watts_mean: one.gpu_power_watts.filter(|_| alone).map(Watts::new),
        power_watts_p95: None,
        power_watts_max: None,
        energy_joules_per_row: None,
        memory_bytes: one.gpu_memory_bytes.filter(|_| alone),
        basis: Basis::Measured,
        power_basis: if alone && one.gpu_power_watts.is_some() { Basis::Measured } else { Basis::Assumed },
        samples: 1,
        confidence: Confidence::default(),
    }
}
