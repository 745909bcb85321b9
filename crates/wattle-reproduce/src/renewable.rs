//! "Opportunities of Renewable Energy Powered DNN Inference" (Nabavinejad, Guo): batching and multi-tenancy
//! under a cap that moves with the weather.
//!
//! A year by the hour at epoch level: ten networks, three traces, three approaches and their oracle.
//! And what the paper asks for: caps handled by a fixed slice of time, when they change, or before,
//! played request by request.

mod handling;
mod plots;
mod rows;
mod slices;
#[cfg(test)]
mod tests;
mod year;

use std::time::Duration;

use wattle_core::policies::PolicyOptions;
use wattle_core::policies::best_under_cap::BestUnderCapOptions;
use wattle_core::profile::PowerFigure;
use wattle_sim::scenario::Loaded;

use crate::row::analytic_basis;
use crate::traces::{PowerTrace, Source, generate, measured};
use crate::{Options, ReproduceError, Reproduction};

const NAME: &str = "renewable";
const DEVICE: &str = "nvidia-rtx-3090";

/// The networks of the study. The text names MobileNet-V1, MobileNet-V3, Inception-V3 and NASNet-Large; the
/// names of the other six stand in Fig. 4 only, so that six others of the time and kind stand for them.
const NETWORKS: [&str; 10] = [
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "inception_v3",
    "inception_resnet_v2",
    "resnet_v2_50",
    "densenet121",
    "xception",
    "nasnet_mobile",
    "nasnet_large",
];

/// The approaches, and the best possible.
const APPROACHES: [&str; 4] = ["multi-tenant", "batching", "combination", "oracle-under-cap"];
const MULTI_TENANT: usize = 0;
const BATCHING: usize = 1;
const COMBINATION: usize = 2;
const ORACLE: usize = 3;

/// Which power of a row has to fit: "the power consumption is also calculated by averaging the power
/// consumption monitoring values over the execution time" (section 3).
const FIGURE: PowerFigure = PowerFigure::Mean;
/// Batch sizes of a profile: 1 to this.
const MOST_ROWS: u32 = 128;
/// Instances of a profile: 1 to this, as far as the device's memory goes.
const MOST_INSTANCES: u32 = 16;
/// Seed of the generated traces and of the runs at request level.
const SEED: u64 = 1;

/// How much is run.
#[derive(Debug, Clone)]
struct Scale {
    networks: Vec<&'static str>,
    /// Hours of each trace, at most.
    hours: usize,
    /// Steps of the trace that are played at request level.
    steps: usize,
    /// How long each of those is.
    step: Duration,
}

impl Scale {
    fn full() -> Self {
        Self { networks: NETWORKS.to_vec(), hours: usize::MAX, steps: 120, step: Duration::from_secs(60) }
    }
}

/// Runs the experiment.
///
/// # Errors
/// When a file of the user's data can't be used.
pub fn run(options: &Options, progress: &(dyn Fn(f64) + Sync)) -> Result<Reproduction, ReproduceError> {
    run_at(&Scale::full(), options, progress)
}

fn run_at(
    scale: &Scale,
    options: &Options,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Reproduction, ReproduceError> {
    let (traces, mut notes) = traces(scale, options)?;
    let caps: Vec<&PowerTrace> = traces.iter().collect();
    let year = year::run(scale, &caps, FIGURE, options.threads)?;
    progress(0.3);
    let by_max = year::run(scale, &caps, PowerFigure::Max, options.threads)?;
    progress(0.6);
    let points = year::single_points()?;
    let detail = slices::run(&traces[1])?;
    progress(0.7);
    let handled = handling::run(scale, &traces[2], options.threads)?;
    progress(1.0);
    notes.extend(rows::notes());
    Ok(Reproduction {
        name: NAME.to_owned(),
        title: "Opportunities of Renewable Energy Powered DNN Inference (Nabavinejad, Guo)".to_owned(),
        rows: rows::all(&rows::Results {
            profiles: analytic_basis(NAME, DEVICE, &NETWORKS)?,
            networks: &scale.networks,
            traces: &traces,
            year: &year,
            by_max: &by_max,
            points: &points,
            detail: &detail,
            handled: &handled,
            step: scale.step,
        }),
        notes,
        plots: plots::all(&scale.networks, &traces, &year, &detail),
    })
}

/// The three traces: the user's where there are any, else generated ones. With notes.
fn traces(scale: &Scale, options: &Options) -> Result<(Vec<PowerTrace>, Vec<String>), ReproduceError> {
    let (mut traces, mut notes) = (Vec::new(), Vec::new());
    for source in Source::ALL {
        let own = match &options.data {
            Some(folder) => measured::trace(source, folder, &measured::Rule::default())?,
            None => None,
        };
        if let (None, Some(folder)) = (&own, &options.data) {
            let file = measured::file_of(source);
            notes.push(format!("no {file} below {}: a generated {} trace", folder.display(), source.name()));
        }
        traces.push(own.unwrap_or_else(|| generate::trace(source, SEED)).first(scale.hours));
    }
    Ok((traces, notes))
}

/// A saturated network on an RTX 3090 with the profile of the analytic model, at `level`.
fn loaded(network: &str, level: &str, more: &str) -> Result<Loaded, ReproduceError> {
    let batch_sizes: Vec<u32> = (1..=MOST_ROWS).collect();
    let instances: Vec<u32> = (1..=MOST_INSTANCES).collect();
    let text = format!(
        "level = \"{level}\"\nspan_seconds = 3600\n[[devices]]\nname = \"gpu\"\nspec = \"{DEVICE}\"\n\
         sensor_noise = {noise}\n[[models]]\nname = \"{network}\"\nnetwork = \"{network}\"\n\
         batch_size = 1\nmax_queue_size = 100000\n{more}\ngrid.batch_sizes = {batch_sizes:?}\n\
         grid.instances = {instances:?}\n[models.workload]\nkind = \"saturated\"\n",
        noise = if level == "request" { handling::SENSOR_NOISE } else { 0.0 },
    );
    Loaded::parse(&text, NAME, std::path::Path::new("")).map_err(broken)
}

/// The options of every approach, to which a row fits by `figure`.
fn policy_options(loaded: &Loaded, figure: PowerFigure) -> PolicyOptions {
    PolicyOptions {
        best_under_cap: BestUnderCapOptions { power_figure: figure, ..BestUnderCapOptions::default() },
        profiles: loaded.profiles.clone(),
        ..PolicyOptions::default()
    }
}

fn broken(cause: impl std::fmt::Display) -> ReproduceError {
    ReproduceError::Broken { name: NAME, cause: cause.to_string() }
}
