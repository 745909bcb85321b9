//! Runs a scenario under each of its policies and seeds, on all cores, each beside its oracle.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use wattle_core::foresight::Foresight;
use wattle_core::id::ModelName;
use wattle_core::policies::carbon_adaptive::IntensityWindow;
use wattle_core::policies::{PolicyConfig, PolicyError, PolicyOptions, gating_of};
use wattle_core::profile::{PowerFigure, Profile};

use crate::epoch_level;
use crate::foresight;
use crate::plan::{ModelPlan, Plan, Target};
use crate::request_level::{self, Outcome};
use crate::scenario::{Level, Loaded, PolicyFile, ScenarioError, told};
use crate::summary::OracleDistance;
use crate::workload::WorkloadError;

/// The policies that look for a fitting power by trying, whatever a profile says of it.
const SEARCHES: [&str; 3] = ["batch-sizer", "batch-sizer-printed", "dvfs"];

/// An experiment that can't be run.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// The scenario doesn't hold together.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A policy can't be built.
    #[error("{scenario}, policies.{label}: {cause}")]
    Policy {
        /// The scenario.
        scenario: String,
        /// The run.
        label: String,
        /// What is wrong.
        cause: PolicyError,
    },
    /// The options of a policy are wrong.
    #[error("{scenario}, policies.{label}: {cause}")]
    Options {
        /// The scenario.
        scenario: String,
        /// The run.
        label: String,
        /// What is wrong, and where.
        cause: String,
    },
    /// Two runs have the same name.
    #[error("{scenario}: found two runs called {label:?}, expected each to have its own; give one a label")]
    SameLabel {
        /// The scenario.
        scenario: String,
        /// The name.
        label: String,
    },
    /// A policy is asked for by a name that several of the scenario have.
    #[error("{scenario}: found policy {name:?} asked for, which {labels} are; expected one of these labels")]
    Ambiguous {
        /// The scenario.
        scenario: String,
        /// The name.
        name: String,
        /// The labels of those that have it.
        labels: String,
    },
    /// A file of requests could not be read on.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
}

/// One policy of an experiment, ready to be built again for each seed.
#[derive(Debug, Clone)]
struct Contender {
    label: String,
    name: String,
    options: PolicyOptions,
    /// What the devices play.
    plan: Plan,
}

/// A scenario under its policies and seeds.
#[derive(Debug)]
pub struct Experiment {
    /// The scenario, as read.
    pub loaded: Loaded,
    contenders: Vec<Contender>,
    seeds: Vec<u64>,
}

/// What the command line says in place of the scenario.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// These policies, by the label or the name of an entry of the scenario, with its options; a policy
    /// that the scenario hasn't got runs as it comes.
    pub policies: Vec<String>,
    /// These seeds.
    pub seeds: Vec<u64>,
    /// This span.
    pub span: Option<Duration>,
    /// No oracles.
    pub no_oracle: bool,
}

impl Experiment {
    /// Prepares every run; policies are built once, so that an error is told before anything runs.
    ///
    /// # Errors
    /// When the scenario and its policies don't hold together.
    pub fn new(mut loaded: Loaded, overrides: &Overrides) -> Result<Self, ExperimentError> {
        if let Some(span) = overrides.span {
            loaded.plan.span = span;
        }
        loaded.file.oracle &= !overrides.no_oracle;
        let seeds = match (&overrides.seeds[..], &loaded.file.seeds, loaded.file.seed) {
            ([], Some(seeds), _) if !seeds.is_empty() => seeds.clone(),
            ([], _, seed) => vec![seed.unwrap_or(1)],
            (seeds, ..) => seeds.to_vec(),
        };
        let files = chosen(&loaded, &overrides.policies)?;
        let mut contenders: Vec<Contender> = Vec::new();
        for file in &files {
            let contender = Contender::new(&loaded, file)?;
            if contenders.iter().any(|other| other.label == contender.label) {
                let (scenario, label) = (loaded.name.clone(), contender.label);
                return Err(ExperimentError::SameLabel { scenario, label });
            }
            let mut trial = contender.clone();
            if needs_foresight(&trial.name, &trial.options) {
                trial.options.foresight = Some(foresight(loaded.file.level, &trial.plan, seeds[0])?);
            }
            trial.policy(&loaded.name)?;
            contenders.push(contender);
        }
        Ok(Self { loaded, contenders, seeds })
    }

    /// How many runs there are, oracles aside.
    pub fn runs(&self) -> usize {
        self.contenders.len() * self.seeds.len()
    }

    /// Runs all on `threads` threads, in the order policy by policy, seed by seed. `progress` is told the
    /// share that is done.
    ///
    /// # Errors
    /// When a file of requests can't be read on. An oracle that can't be built is told in the summary.
    pub fn run(
        &self,
        threads: usize,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Vec<Outcome>, ExperimentError> {
        let jobs: Vec<(&Contender, u64)> = self
            .contenders
            .iter()
            .flat_map(|contender| self.seeds.iter().map(move |seed| (contender, *seed)))
            .collect();
        let done: Vec<AtomicU64> = jobs.iter().map(|_| AtomicU64::new(0)).collect();
        let tell = |job: usize, share: f64| {
            done[job].store(share.to_bits(), Ordering::Relaxed);
            let sum: f64 = done.iter().map(|share| f64::from_bits(share.load(Ordering::Relaxed))).sum();
            progress(sum / done.len().max(1) as f64);
        };
        in_parallel(threads, jobs.len(), |job| {
            let (contender, seed) = jobs[job];
            self.run_one(contender, seed, &mut |share| tell(job, share))
        })
    }

    fn run_one(
        &self,
        contender: &Contender,
        seed: u64,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Outcome, ExperimentError> {
        let mut outcome = self.play(contender, seed, progress)?;
        if self.loaded.file.oracle {
            // A run that is done isn't lost because its oracle fails.
            match self.oracle_distance(contender, seed, &outcome) {
                Ok(distance) => outcome.summary.oracle = distance,
                Err(why) => outcome.summary.oracle_note = Some(why),
            }
        }
        Ok(outcome)
    }

    fn play(
        &self,
        contender: &Contender,
        seed: u64,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Outcome, ExperimentError> {
        let mut contender = contender.clone();
        if contender.options.foresight.is_none() && needs_foresight(&contender.name, &contender.options) {
            contender.options.foresight = Some(foresight(self.loaded.file.level, &contender.plan, seed)?);
        }
        let mut policy = contender.policy(&self.loaded.name)?;
        let mut outcome = match self.loaded.file.level {
            Level::Request => request_level::run(&contender.plan, policy.as_mut(), seed, progress)?,
            Level::Epoch => epoch_level::run(&contender.plan, policy.as_mut(), seed, progress),
        };
        outcome.summary.label = contender.label;
        outcome.summary.policy = contender.name;
        Ok(outcome)
    }

    /// How far `outcome` is from what the oracle of its policy's family makes of the same run. `None` where
    /// the family has no oracle.
    ///
    /// # Errors
    /// Why the oracle of the family knows no best.
    fn oracle_distance(
        &self,
        contender: &Contender,
        seed: u64,
        outcome: &Outcome,
    ) -> Result<Option<OracleDistance>, String> {
        let Some((policy, objective)) = oracle_of(&contender.name, contender.plan.power_cap.is_some()) else {
            return Ok(None);
        };
        let why = |error: ExperimentError| error.to_string();
        let mut oracle = Contender { label: policy.into(), name: policy.into(), ..contender.clone() };
        let future = foresight(self.loaded.file.level, &oracle.plan, seed).map_err(why)?;
        if let Some(unknown) = unknown_to(policy, &oracle.plan, &future) {
            return Err(format!("{policy} knows no best here: {unknown}"));
        }
        oracle.options.foresight = Some(future);
        // The best possible is best on the device as it is.
        oracle.options.profiles = oracle.true_profiles();
        oracle.options.cap_handling = Default::default();
        if SEARCHES.contains(&contender.name.as_str()) {
            // A search goes by samples, which are means: a bound by the maximum could be beaten.
            oracle.options.best_under_cap.power_figure = PowerFigure::Mean;
        }
        let of = &outcome.summary;
        if policy == "oracle-carbon" {
            // The best possible at the same quality.
            let Some(quality) = of.quality_mean else {
                return Err(format!("{policy} knows no best here: the quality of an answer is unknown"));
            };
            oracle.options.oracle_carbon.quality_floor = Some(quality);
            oracle.options.oracle_carbon.carbon_budget_grams = None;
        }
        let best = self.play(&oracle, seed, &mut |_| ()).map_err(why)?.summary;
        let (run, best) = match objective {
            "throughput_rps_mean" => (Some(of.throughput_rps_mean), Some(best.throughput_rps_mean)),
            "energy_joules" => (Some(of.energy_joules), Some(best.energy_joules)),
            _ => (of.carbon_grams, best.carbon_grams),
        };
        let ratio = run.zip(best).map(|(run, best)| run / best).filter(|ratio| ratio.is_finite());
        Ok(Some(OracleDistance { policy: policy.into(), objective, best, ratio }))
    }
}

impl Contender {
    fn new(loaded: &Loaded, file: &PolicyFile) -> Result<Self, ExperimentError> {
        let named = file.config.get("name").and_then(toml::Value::as_str).unwrap_or("?").to_owned();
        let label = file.label.clone().unwrap_or_else(|| named.clone());
        let config: PolicyConfig =
            file.config.clone().try_into().map_err(|error: toml::de::Error| ExperimentError::Options {
                scenario: loaded.name.clone(),
                label: label.clone(),
                cause: told(&error),
            })?;
        let gating = file.gating.unwrap_or_else(|| gating_of(&config.name));
        let profiles = loaded.gated_profiles(gating)?;
        let mut options = config.options(profiles);
        options.families = loaded.families.clone();
        options.latency_objectives = loaded
            .plan
            .models
            .iter()
            .filter_map(|model| Some((model.name.clone(), model.objective?)))
            .collect();
        Ok(Self { label, name: config.name, options, plan: loaded.gated_plan(gating)? })
    }

    /// The profiles as they would be measured on the devices as they are.
    fn true_profiles(&self) -> BTreeMap<ModelName, Profile> {
        let mut profiles = BTreeMap::new();
        for (index, device) in self.plan.devices.iter().enumerate() {
            let here = self.plan.models.iter().filter(|model| model.device == index);
            let of_model = |model: &ModelPlan| {
                Some((model.name.clone(), self.options.profiles.get(&model.name)?.clone()))
            };
            profiles.extend(device.truth.of(&here.filter_map(of_model).collect()));
        }
        profiles
    }

    fn policy(&self, scenario: &str) -> Result<Box<dyn wattle_core::policy::Policy>, ExperimentError> {
        wattle_core::policies::build(&self.name, &self.options).map_err(|cause| ExperimentError::Policy {
            scenario: scenario.to_owned(),
            label: self.label.clone(),
            cause,
        })
    }
}

/// The policies to run: the scenario's, or those of the command line with the scenario's options. One of
/// the command line is looked for by label first, which is the name where an entry has none, then by name.
fn chosen(loaded: &Loaded, wanted: &[String]) -> Result<Vec<PolicyFile>, ExperimentError> {
    let plain = |name: &str| PolicyFile {
        label: None,
        gating: None,
        config: toml::Table::from_iter([("name".to_owned(), toml::Value::from(name))]),
    };
    let of_scenario = &loaded.file.policies;
    if wanted.is_empty() {
        return Ok(if of_scenario.is_empty() { vec![plain("fixed")] } else { of_scenario.clone() });
    }
    let name_of =
        |file: &PolicyFile| file.config.get("name").and_then(toml::Value::as_str).map(str::to_owned);
    let label_of = |file: &PolicyFile| file.label.clone().or_else(|| name_of(file));
    let find = |name: &String| {
        let labelled = of_scenario.iter().find(|file| label_of(file).as_ref() == Some(name));
        let named: Vec<&PolicyFile> =
            of_scenario.iter().filter(|file| name_of(file).as_ref() == Some(name)).collect();
        match (labelled, &named[..]) {
            (Some(file), _) => Ok(file.clone()),
            (None, [file]) => Ok(PolicyFile::clone(file)),
            (None, []) => Ok(plain(name)),
            (None, several) => Err(ExperimentError::Ambiguous {
                scenario: loaded.name.clone(),
                name: name.clone(),
                labels: several.iter().copied().filter_map(label_of).collect::<Vec<_>>().join(", "),
            }),
        }
    };
    wanted.iter().map(find).collect()
}

/// Whether the policy is one that only a replay can have.
fn needs_foresight(name: &str, options: &PolicyOptions) -> bool {
    name.starts_with("oracle-") || options.carbon_adaptive.window == IntensityWindow::Whole
}

/// The oracle of a policy's family, and what it makes most or least of.
fn oracle_of(policy: &str, is_capped: bool) -> Option<(&'static str, &'static str)> {
    match policy {
        "batch-sizer" | "batch-sizer-printed" | "dvfs" | "multi-tenant" | "batching" | "combination" => {
            is_capped.then_some(("oracle-under-cap", "throughput_rps_mean"))
        }
        "frequency-scaling" | "resource-scaling-cu" | "resource-scaling-se" | "cofris-cu" | "cofris-se" => {
            Some(("oracle-least-power", "energy_joules"))
        }
        "carbon-adaptive" | "carbon-adaptive-printed" | "carbon-budget" => {
            Some(("oracle-carbon", "carbon_grams"))
        }
        _ => None,
    }
}

/// What `oracle` would have to know of the future and doesn't, without which it is no bound.
fn unknown_to(oracle: &str, plan: &Plan, future: &Foresight) -> Option<String> {
    match oracle {
        "oracle-least-power" => {
            let unknown = plan.models.iter().find(|model| !future.offered_rps.contains_key(&model.name))?;
            let name = &unknown.name;
            Some(format!("the load of {name} depends on its answers, or reaches it through a family"))
        }
        "oracle-carbon" => {
            let asked = |index| plan.streams.iter().any(|stream| stream.target == Target::Family(index));
            let mut families = plan.families.iter().enumerate().filter(|(index, _)| asked(*index)).peekable();
            if families.peek().is_none() {
                return Some("no family is asked for anything".into());
            }
            let (_, unknown) =
                families.find(|(_, family)| !future.offered_family_rps.contains_key(&family.name))?;
            Some(format!("the load of {} depends on its answers", unknown.name))
        }
        _ => None,
    }
}

/// The future of a run of `plan` with `seed`.
fn foresight(level: Level, plan: &Plan, seed: u64) -> Result<Foresight, ExperimentError> {
    Ok(match level {
        Level::Request => foresight::of_requests(plan, seed)?,
        Level::Epoch => foresight::of_epochs(plan),
    })
}

/// The results of `job(0..count)` in their order, worked out on `threads` threads. The first error ends it.
pub fn in_parallel<T: Send, E: Send>(
    threads: usize,
    count: usize,
    job: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<T, E>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(slot) = results.get(index) else { return };
                    let result = job(index);
                    if result.is_err() {
                        next.store(count, Ordering::Relaxed);
                    }
                    if let Ok(mut slot) = slot.lock() {
                        *slot = Some(result);
                    }
                }
            });
        }
    });
    let results = results.into_iter().filter_map(|slot| slot.into_inner().ok().flatten());
    let (mut all, mut failed) = (Vec::with_capacity(count), None);
    for result in results {
        match result {
            Ok(result) => all.push(result),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(all), Err)
}
