//! `wattle profile MODEL…`: flags in, profiles of the models out.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::json;
use wattle_core::units::Watts;
use wattle_search::{Constraints, Question};
use wattle_server::profiling::statistics::SteadyRule;
use wattle_server::profiling::{
    Bench, Clocks, Ending, Event, KnobValues, MeasureOptions, Plan, Profiled, ProfilingError,
};

use super::targets::Target;
use super::{Power, device, positive, report, stop_flag};
use crate::commands::serve::{MAX_CORES, available_cores, model_and_file};
use crate::devices::DeviceArgs;
use crate::exit::ConfigError;
use crate::output::say;
use crate::progress::Progress;
use crate::runtimes::RuntimeArgs;

/// How far temperatures of windows that agree may be apart: what sensors that tell whole degrees let see.
const DRIFT_CELSIUS: f64 = 1.0;

/// Flags of `wattle profile MODEL…`.
#[derive(Args)]
pub(super) struct MeasureArgs {
    /// The models, or families, which stand for their variants
    #[arg(value_name = "MODEL", required = true)]
    pub(super) names: Vec<String>,
    /// The model repository: a folder of NAME/VERSION/model.onnx
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub(super) models: PathBuf,
    /// The device that is read and turned: one that `wattle devices` lists, or simulated (made of the models'
    /// profiles)
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    pub(super) device: String,
    #[command(flatten)]
    pub(super) devices: DeviceArgs,
    /// simulated: the profile that plays a model, in place of its profile.csv
    #[arg(long, value_name = "MODEL=FILE", value_parser = model_and_file)]
    pub(super) profile: Vec<(String, PathBuf)>,
    /// Power of the CPU with nothing to do, where it can't be measured [default: 0.74 a core]
    #[arg(long, value_name = "WATTS", requires = "cpu_full_watts")]
    pub(super) cpu_idle_watts: Option<f64>,
    /// Power of the CPU with all cores busy, where it can't be measured [default: 3.5 a core]
    #[arg(long, value_name = "WATTS", requires = "cpu_idle_watts")]
    pub(super) cpu_full_watts: Option<f64>,
    /// Compute threads of all instances together [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CORES)))]
    pub(super) cores: Option<u32>,
    #[command(flatten)]
    pub(super) runtime: RuntimeArgs,
    /// What chooses the points: sampled, exhaustive, bisection, random or coordinate-descent
    #[arg(long, value_name = "NAME", default_value = "sampled")]
    search: String,
    /// Most points of a model that are measured [default: all for exhaustive, else 12 or 15 % of them]
    #[arg(long, visible_alias = "budget", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    points: Option<u32>,
    /// Batch sizes [default: powers of two up to the model's largest]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(super) batch_sizes: Option<Vec<u32>>,
    /// Numbers of instances [default: powers of two up to the compute threads, at most 8]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    instances: Option<Vec<u32>>,
    /// Compute threads of an instance [default: powers of two up to the compute threads]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cores_per_instance: Option<Vec<u32>>,
    /// Shares of time in which instances may compute, over 0 and up to 1 [default: 1]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    duty_cycles: Option<Vec<f64>>,
    /// Core clocks of the device in MHz, or auto for those it takes [default: as it stands]
    #[arg(long, value_name = "LIST", value_parser = clocks)]
    clocks: Option<Clocks>,
    /// Compute units of the device [default: as they stand]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    compute_units: Option<Vec<u32>>,
    /// Highest power: a point that goes above it is cut short, and the sampled search looks for points that are
    /// predicted to keep it
    #[arg(long, value_name = "WATTS", value_parser = positive)]
    pub(super) power_cap: Option<f64>,
    /// Which power counts
    #[arg(long, value_enum, default_value_t)]
    power: Power,
    /// Highest latency of a batch, by its 99th percentile
    #[arg(long, value_name = "MS", value_parser = positive)]
    latency_ms: Option<f64>,
    /// Most memory of the device; on the CPU, of this process beyond what it took without the model
    #[arg(long, value_name = "MB", value_parser = positive)]
    memory_mb: Option<f64>,
    /// What is sought: throughput (the most), least-power@RPS (at a load) or energy (the least of a row)
    #[arg(long, value_name = "WHAT", default_value = "throughput", value_parser = question)]
    question: Question,
    /// Pause between turning the knobs and the first window
    #[arg(long, value_name = "MS", default_value_t = 200)]
    settle_ms: u64,
    /// Length of a window; it is longer where batches take long
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    window_ms: u64,
    /// So many windows, one after another, have to agree
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..))]
    windows: u32,
    /// Most windows of a point; one that has not settled then is taken as it is, with a wide interval
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..))]
    max_windows: u32,
    /// How far apart windows that agree may be, in throughput and in power
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = positive)]
    band: f64,
    /// Pause before each point, to let the device cool down
    #[arg(long, value_name = "MS", default_value_t = 0)]
    cool_down_ms: u64,
    /// Luck of the search, of the inputs and of the times at which the device is read
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(super) seed: u64,
    /// Requests to send: one JSON body of the Open Inference Protocol, or a list of them [default: made up]
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,
    /// Where the profile goes [default: profile.csv in the model's folder]; a family in one file has a
    /// column for its variants
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Replace a profile that is there already
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) sharing: super::sharing::SharingArgs,
    /// Start anew, and forget the points of an interrupted run
    #[arg(long)]
    pub(super) restart: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

fn clocks(text: &str) -> Result<Clocks, String> {
    if text == "auto" {
        return Ok(Clocks::Auto);
    }
    let clocks: Result<Vec<f64>, String> = text.split(',').map(|clock| positive(clock.trim())).collect();
    clocks.map(Clocks::These).map_err(|_| "expected auto, or numbers of MHz such as 1200,2400".to_owned())
}

fn question(text: &str) -> Result<Question, String> {
    let expected = || "expected throughput, least-power@RPS such as least-power@900, or energy".to_owned();
    match text.split_once('@') {
        None if text == "throughput" => Ok(Question::MostThroughput),
        None if text == "energy" => Ok(Question::LeastEnergyPerRow),
        Some(("least-power", load)) => {
            Ok(Question::LeastPowerAt { load_rps: positive(load).map_err(|_| expected())? })
        }
        _ => Err(expected()),
    }
}

/// Runs the command.
pub(super) fn run(args: MeasureArgs) -> Result<()> {
    let cores = args.cores.unwrap_or_else(available_cores);
    let plan = args.plan()?;
    let bench = device::bench(&args, &args.models, cores, plan.measure.window)?;
    let targets = args.targets(&bench)?;
    for target in &targets {
        args.check_output(target)?;
    }
    let (stop, _signals) = stop_flag()?;
    let mut done = Vec::new();
    for target in &targets {
        let profiled = args.profile_one(&bench, &plan, target, &stop)?;
        let is_interrupted = profiled.ending == Ending::Interrupted;
        done.push(profiled);
        if is_interrupted {
            break;
        }
    }
    let is_whole = done.iter().all(|profiled| profiled.ending != Ending::Interrupted);
    let is_one_file = targets.iter().all(|target| target.output.is_none());
    if let Some(output) = args.output.as_ref().filter(|output| is_one_file && (is_whole || !output.exists()))
    {
        args.write_family(output, &done)?;
    }
    drop(bench);
    // Journals stay until all models are done, so that the same command goes on after those that are.
    if is_whole {
        for profiled in &done {
            profiled.finish().with_context(|| format!("failed to remove {}", profiled.journal.display()))?;
        }
    }
    if args.json {
        let all = done.iter().zip(&targets).map(|(profiled, target)| {
            report::json(profiled, target.output.as_deref().or(args.output.as_deref()))
        });
        say(json!({ "models": all.collect::<Vec<_>>() }));
    }
    if let Some(nothing) = done
        .iter()
        .find(|profiled| profiled.profile.rows.is_empty() && profiled.ending != Ending::Interrupted)
    {
        let why: Vec<String> = nothing.without_row().map(|(point, why)| format!("{point}: {why}")).collect();
        return Err(anyhow!(
            "nothing could be measured of {}: {}",
            nothing.profile.head.model,
            why.join("; ")
        ));
    }
    let interrupted = done.iter().find(|profiled| profiled.ending == Ending::Interrupted);
    match interrupted {
        None => Ok(()),
        Some(profiled) => Err(anyhow!(
            "interrupted at {}, after {} of its points; the knobs stand as they were found, and what was measured is in {}: \
             run the same command again to go on",
            profiled.profile.head.model,
            profiled.probes.len(),
            profiled.journal.display()
        )),
    }
}

impl MeasureArgs {
    pub(super) fn plan(&self) -> Result<Plan> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("failed to read {}", path.display()))
                .context(ConfigError)?;
            anyhow::Ok((path.display().to_string(), text))
        };
        if self.max_windows < self.windows {
            return Err(anyhow!(
                "--max-windows is {}, expected at least {}, the windows that have to agree",
                self.max_windows,
                self.windows
            ))
            .context(ConfigError);
        }
        let constraints = Constraints {
            cap: self.power_cap.map(Watts::new),
            figure: self.power.into(),
            latency_ms: self.latency_ms,
            memory_bytes: self.memory_mb.map(|mb| (mb * 1e6) as u64),
        };
        Ok(Plan {
            search: self.search.clone(),
            question: self.question,
            constraints,
            budget: self.points.map(|points| points as usize),
            seed: self.seed,
            values: KnobValues {
                batch_sizes: self.batch_sizes.clone(),
                instances: self.instances.clone(),
                cores_per_instance: self.cores_per_instance.clone(),
                duty_cycles: self.duty_cycles.clone(),
                clocks: self.clocks.clone(),
                compute_units: self.compute_units.clone(),
            },
            measure: MeasureOptions {
                settle: Duration::from_millis(self.settle_ms),
                window: Duration::from_millis(self.window_ms),
                steady: SteadyRule {
                    windows: self.windows as usize,
                    band: self.band / 100.0,
                    drift_celsius: DRIFT_CELSIUS,
                },
                most_windows: self.max_windows as usize,
                cool_down: Duration::from_millis(self.cool_down_ms),
                cap: constraints.cap,
                figure: constraints.figure,
            },
            inputs: self.inputs.as_ref().map(read).transpose()?,
        })
    }

    fn profile_one(
        &self,
        bench: &Bench,
        plan: &Plan,
        target: &Target,
        stop: &AtomicBool,
    ) -> Result<Profiled> {
        let created = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let bar = Progress::new(target.model.as_str());
        let watch = |event: Event<'_>| self.watch(&bar, target, &event);
        let (journal, around) = ((target.journal.as_path(), self.restart), (stop, created.as_str()));
        let profiled = bench.profile(&target.model, plan, journal, around, watch);
        drop(bar);
        let profiled = profiled.map_err(|error| {
            let is_of_device = matches!(error, ProfilingError::Device(_) | ProfilingError::Thread(_));
            let error = anyhow::Error::new(error);
            if is_of_device { error } else { error.context(ConfigError) }
        })?;
        // A profile that is there is worth more than a part of the next one, which is in the journal.
        let is_part = profiled.ending == Ending::Interrupted;
        let output = target.output.as_deref().filter(|output| !(is_part && output.exists()));
        if let Some(output) = output {
            self.write(output, &profiled.profile)?;
        }
        if !self.json {
            report::print(&profiled, plan, output);
        }
        Ok(profiled)
    }

    fn watch(&self, bar: &Progress, target: &Target, event: &Event<'_>) {
        match event {
            Event::Resumed { points, budget } => {
                bar.go_on_from(*points as f64 / (*budget).max(1) as f64);
                // Where nobody reads it any more there is nobody to tell.
                let _ = writeln!(
                    std::io::stderr(),
                    "{}: goes on after {points} points of {}",
                    target.model,
                    target.journal.display()
                );
            }
            Event::Begins { done, budget, point, why } => {
                bar.say(format!("{}: {point} ({why})", target.model));
                bar.tell(*done as f64 / (*budget).max(1) as f64);
            }
            Event::Ended { done, budget, probe } => {
                bar.tell(*done as f64 / (*budget).max(1) as f64);
                tracing::info!(model = %target.model, point = %probe.point, outcome = report::outcome(probe), "measured");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_and_others_told_what_there_is() {
        assert_eq!(question("throughput"), Ok(Question::MostThroughput));
        assert_eq!(question("energy"), Ok(Question::LeastEnergyPerRow));
        assert_eq!(question("least-power@900"), Ok(Question::LeastPowerAt { load_rps: 900.0 }));
        for wrong in ["least-power", "least-power@-1", "speed", "throughput@5"] {
            assert!(question(wrong).unwrap_err().contains("least-power@RPS"), "{wrong}");
        }
    }

    #[test]
    fn clocks_are_auto_or_a_list() {
        assert_eq!(clocks("auto"), Ok(Clocks::Auto));
        assert_eq!(clocks("1200, 2400.5"), Ok(Clocks::These(vec![1200.0, 2400.5])));
        assert!(clocks("1200,").is_err());
    }
}
