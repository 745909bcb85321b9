//! "BatchSizer: Power-Performance Trade-off for DNN Inference" (Nabavinejad, Reda, Ebrahimi): the batch size
//! against the core clock as the knob under a power cap.
//!
//! Twenty jobs on a Tesla P40, played request by request; a cap that falls and rises again, with the
//! algorithm as printed and as mended; and, where the user has them, the step logs of a controller of the
//! same author, each of whose decisions is put to our search.

mod falling;
mod jobs;
mod logged;
mod plots;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use wattle_core::foresight::Foresight;
use wattle_core::id::ModelName;
use wattle_core::operating_point::OperatingPoint;
use wattle_core::policies::best_under_cap::BestUnderCapOptions;
use wattle_core::policies::{self, PolicyOptions};
use wattle_core::profile::{PowerFigure, Profile};
use wattle_core::signal::Signal;
use wattle_sim::plan::Plan;
use wattle_sim::request_level::{self, Outcome};
use wattle_sim::scenario::Loaded;

use crate::row::analytic_basis;
use crate::{Options, ReproduceError, Reproduction};

const NAME: &str = "batchsizer";
const DEVICE: &str = "nvidia-p40";
/// Batch size of the comparison by DVFS (section 5.1).
const DVFS_BATCH: u32 = 16;
/// Batch sizes that BatchSizer chooses from (section 5.1).
const BATCH_SIZES: [u32; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// Core clocks in MHz (section 5.1).
const CLOCKS: [u32; 10] = [544, 632, 734, 835, 949, 1063, 1189, 1303, 1430, 1531];
const SEED: u64 = 1;

/// How much is run.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// How many of the twenty jobs.
    jobs: usize,
    /// How long each job runs.
    job_seconds: f64,
    /// How many of the ten networks see the cap that falls and rises.
    networks: usize,
    /// How long each of its three caps holds.
    cap_seconds: f64,
}

impl Scale {
    const FULL: Self = Self { jobs: 20, job_seconds: 180.0, networks: 10, cap_seconds: 60.0 };
}

/// Runs the experiment.
///
/// # Errors
/// When a file of the user's data can't be used.
pub fn run(options: &Options, progress: &(dyn Fn(f64) + Sync)) -> Result<Reproduction, ReproduceError> {
    run_at(&Scale::FULL, options, progress)
}

fn run_at(
    scale: &Scale,
    options: &Options,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Reproduction, ReproduceError> {
    let jobs = jobs::run(scale, options.threads)?;
    progress(0.6);
    let falling = falling::run(scale, options.threads)?;
    progress(0.9);
    let mut notes = rows::notes();
    let logged = match &options.data {
        Some(folder) => logged::run(folder, &mut notes)?,
        None => Vec::new(),
    };
    progress(1.0);
    let basis = analytic_basis(NAME, DEVICE, &jobs::NETWORKS)?;
    Ok(Reproduction {
        name: NAME.to_owned(),
        title: "BatchSizer: Power-Performance Trade-off for DNN Inference (Nabavinejad, Reda, Ebrahimi)"
            .to_owned(),
        rows: rows::all(basis, &jobs, &falling, &logged),
        notes,
        plots: plots::all(&jobs, &falling),
    })
}

/// A network, saturated, on a Tesla P40, with the profile of the analytic model over batch size and clock.
fn loaded(network: &str) -> Result<Loaded, ReproduceError> {
    let text = format!(
        "span_seconds = 60\n[[devices]]\nname = \"gpu\"\nspec = \"{DEVICE}\"\n[[models]]\n\
         name = \"{network}\"\nnetwork = \"{network}\"\nbatch_size = 1\ngrid.batch_sizes = {BATCH_SIZES:?}\n\
         grid.instances = [1]\ngrid.clocks = {CLOCKS:?}\n[models.workload]\nkind = \"saturated\"\n"
    );
    Loaded::parse(&text, NAME, std::path::Path::new("")).map_err(broken)
}

/// The rows of each profile whose point is `wanted`.
fn rows_where(loaded: &Loaded, wanted: impl Fn(&OperatingPoint) -> bool) -> BTreeMap<ModelName, Profile> {
    let mut profiles = loaded.profiles.clone();
    for profile in profiles.values_mut() {
        profile.rows.retain(|row| wanted(&row.point));
    }
    profiles
}

/// Whether the clock of a point is the highest.
fn is_at_top_clock(point: &OperatingPoint) -> bool {
    point.core_clock_mhz.is_none_or(|clock| clock.get() >= f64::from(CLOCKS[CLOCKS.len() - 1]))
}

/// Runs `plan` by `policy`, which plans with `profiles`, under `cap`.
fn play(
    plan: &Plan,
    policy: &str,
    profiles: BTreeMap<ModelName, Profile>,
    cap: Signal,
) -> Result<Outcome, ReproduceError> {
    let mut plan = plan.clone();
    plan.power_cap = Some(cap.clone());
    let options = PolicyOptions {
        // The searches go by samples of power, which are means over a tick: so does their oracle.
        best_under_cap: BestUnderCapOptions {
            power_figure: PowerFigure::Mean,
            ..BestUnderCapOptions::default()
        },
        profiles,
        foresight: Some(Foresight { power_cap: Some(cap), ..Foresight::default() }),
        ..PolicyOptions::default()
    };
    let mut policy = policies::build(policy, &options).map_err(broken)?;
    request_level::run(&plan, policy.as_mut(), SEED, &mut |_| ()).map_err(broken)
}

fn broken(cause: impl std::fmt::Display) -> ReproduceError {
    ReproduceError::Broken { name: NAME, cause: cause.to_string() }
}
