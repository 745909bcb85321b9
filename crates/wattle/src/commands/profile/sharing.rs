//! `wattle profile --sharing MODEL…`: what a device draws that models share; and how such a file is shown.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::{Value, json};
use wattle_core::id::ModelName;
use wattle_core::provenance::Basis;
use wattle_core::shared_power::{SharedPowerError, SharingFile, Tenant};
use wattle_server::profiling::{ProfilingError, SharingPlan};

use super::measure::MeasureArgs;
use super::{device, positive, stop_flag};
use crate::commands::serve::available_cores;
use crate::exit::ConfigError;
use crate::new_file;
use crate::output::say;
use crate::progress::Progress;
use crate::table::Table;

/// Flags of `wattle profile --sharing`.
#[derive(Args)]
pub(super) struct SharingArgs {
    /// Measure what the device draws while the models share it: nothing running, the first model (a light
    /// one is best) with 1, 2 and 3 instances, each alone, and sets of them, half of which check the fit
    #[arg(long, conflicts_with_all = ["search", "points", "question", "latency_ms", "memory_mb", "instances",
        "cores_per_instance", "duty_cycles", "clocks", "compute_units", "power_cap", "inputs"])]
    pub(super) sharing: bool,
    /// --sharing: cut the compute threads into so many equal slices [default: 2, or 3 with six threads or
    /// more]
    #[arg(long, value_name = "N", requires = "sharing", value_parser = clap::value_parser!(u32).range(2..))]
    slices: Option<u32>,
    /// --sharing: measure sets of three models too
    #[arg(long, requires = "sharing")]
    triples: bool,
    /// --sharing: go on where power is only assumed. An estimate from utilisation adds up by its making, so
    /// what it says of sharing is of the estimate, not of the device
    #[arg(long, requires = "sharing")]
    allow_assumed: bool,
    /// simulated: the parts that the models share draw this once while anything runs
    #[arg(long, value_name = "WATTS", value_parser = positive)]
    pub(super) simulated_shared_watts: Option<f64>,
}

/// Runs the command.
pub(super) fn run(args: MeasureArgs) -> Result<()> {
    let output = args.output.clone().unwrap_or_else(|| "sharing.toml".into());
    let partial = partial_of(&output);
    let is_going_on = partial.exists() && !args.restart;
    new_file::check(&output, args.force || is_going_on).context(ConfigError)?;
    let cores = args.cores.unwrap_or_else(available_cores);
    let measure = args.plan()?.measure;
    let bench = device::bench(&args, &args.models, cores, measure.window)?;
    let power = bench.device().power_provenance.clone();
    if power.basis == Basis::Assumed && !args.sharing.allow_assumed {
        let error = anyhow!(
            "power of {} is {power}: it adds up by its making and says nothing of sharing; measure on a device whose \
             power can be read (`wattle devices` lists them), or go on with --allow-assumed",
            bench.device().id
        );
        return Err(error).context(ConfigError);
    }
    let plan = args.sharing_plan(&bench, cores, measure)?;
    let before = if is_going_on { Some(read(&partial)?) } else { None };
    if let Some(before) = &before {
        let here = &bench.device().description;
        if let Some((found, expected)) = other_than(before, &plan, here) {
            let error = anyhow!(
                "{} is of another run: found {found}, expected {expected}; run that command again, or start anew with \
                 --restart",
                partial.display()
            );
            return Err(error).context(ConfigError);
        }
    }
    let (stop, _signals) = stop_flag()?;
    let bar = Progress::new("nothing running");
    let created = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let keep = |file: &SharingFile| {
        let text = file.to_text().map_err(std::io::Error::other)?;
        new_file::write(&partial, text.as_bytes(), true).map_err(std::io::Error::other)
    };
    let shared = bench.share(&plan, before, &stop, &created, keep, |done, all, step| {
        bar.say(names(&step.tenants));
        bar.tell(done as f64 / all.max(1) as f64);
    });
    drop(bar);
    let shared = shared.map_err(|error| {
        let is_of_device = matches!(error, ProfilingError::Device(_) | ProfilingError::Thread(_));
        let error = anyhow::Error::new(error);
        if is_of_device { error } else { error.context(ConfigError) }
    })?;
    drop(bench);
    if shared.is_interrupted {
        return Err(anyhow!(
            "interrupted after {} of {} sets, which are in {}: run the same command again to go on",
            shared.file.measured.len(),
            plan.steps().len(),
            partial.display()
        ));
    }
    if let Err(error) = shared.file.fit() {
        // Nothing to go on from: it has to be measured anew.
        if partial.exists() {
            std::fs::remove_file(&partial)
                .with_context(|| format!("failed to remove {}", partial.display()))?;
        }
        return Err(anyhow!(
            "what was measured can't be fitted, and nothing was written: {error}. Where other programs keep the device \
             busy at rest, measure when it is quiet"
        ));
    }
    new_file::write(&output, shared.file.to_text()?.as_bytes(), true)?;
    if partial.exists() {
        std::fs::remove_file(&partial).with_context(|| format!("failed to remove {}", partial.display()))?;
    }
    if args.json {
        say(report(&output, &shared.file)?);
    } else {
        print(&output, &shared.file)?;
        if shared.unsteady > 0 {
            say(format_args!("unsteady  {} sets did not settle: they rest on all windows", shared.unsteady));
        }
        say(format_args!("wrote     {}", output.display()));
    }
    Ok(())
}

impl MeasureArgs {
    fn sharing_plan(
        &self,
        bench: &wattle_server::profiling::Bench,
        cores: u32,
        measure: wattle_server::profiling::MeasureOptions,
    ) -> Result<SharingPlan> {
        let mut models: Vec<ModelName> = Vec::new();
        for name in &self.names {
            for model in bench.models_of(name).context(ConfigError)? {
                if !models.contains(&model) {
                    models.push(model);
                }
            }
        }
        let batch_size = match self.batch_sizes.as_deref() {
            None => None,
            Some([one]) => Some(*one),
            Some(several) => {
                let error = anyhow!("--batch-sizes names {}, expected one with --sharing", several.len());
                return Err(error).context(ConfigError);
            }
        };
        let slices = self.sharing.slices.unwrap_or(if cores >= 6 { 3 } else { 2 });
        Ok(SharingPlan {
            models,
            slices,
            slice_means: format!("{} of {cores} compute threads", cores / slices.max(1)),
            batch_size,
            triples: self.sharing.triples,
            measure,
            seed: self.seed,
        })
    }
}

/// What tells that `before` was measured by another command than `plan` on `device`, and what this one would have there.
fn other_than(before: &SharingFile, plan: &SharingPlan, device: &str) -> Option<(String, String)> {
    let size = |size: Option<u32>| {
        size.map_or("the largest batches".to_owned(), |size| format!("batches of {size}"))
    };
    let heads = [
        (before.device.clone(), device.to_owned()),
        (before.slice_means.clone(), plan.slice_means.clone()),
        (size(before.batch_size), size(plan.batch_size)),
    ];
    if let Some(other) = heads.into_iter().find(|(found, expected)| found != expected) {
        return Some(other);
    }
    let steps = plan.steps();
    let is_ours = |tenants: &[Tenant], held_out: bool| {
        steps.iter().any(|step| step.tenants == tenants && step.held_out == held_out)
    };
    let other = before.measured.iter().find(|row| !is_ours(&row.tenants, row.held_out))?;
    let held_out = if other.held_out { "held out" } else { "not held out" };
    Some((format!("{}, {held_out}", names(&other.tenants)), "the sets of this command and seed".to_owned()))
}

/// Whether `path` is a sharing file, by its first key.
pub(super) fn is_one(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.next().is_some_and(|line| line.starts_with("wattle_sharing"))
    })
}

/// Reads a sharing file.
pub(super) fn read(path: &Path) -> Result<SharingFile> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))
        .context(ConfigError)?;
    SharingFile::parse(&text, &path.display().to_string()).context(ConfigError)
}

/// What the file says, for programs.
pub(super) fn report(path: &Path, file: &SharingFile) -> Result<Value> {
    let fit = file.fit().context(ConfigError)?;
    let errors = match file.error_report(&fit) {
        Ok(errors) => Some(errors),
        Err(SharedPowerError::NothingHeldOut) => None,
        Err(error) => return Err(error).context(ConfigError),
    };
    let mut tenants = Vec::new();
    let mut sets = Vec::new();
    for row in &file.measured {
        let estimate = fit.estimate(&row.tenants).context(ConfigError)?;
        if let [one] = &row.tenants[..] {
            let above = row.power_watts - fit.static_power - fit.shared_idle_power;
            tenants.push(json!({ "model": one.model, "slice": one.slice, "dynamic_watts": above }));
        }
        sets.push(json!({
            "tenants": row.tenants, "held_out": row.held_out, "power_watts": row.power_watts,
            "power_watts_ci95": row.power_watts_ci95, "samples": row.samples,
            "estimate_watts": estimate.power, "additive_watts": estimate.additive, "naive_watts": estimate.naive,
        }));
    }
    Ok(json!({
        "file": path.display().to_string(), "device": file.device, "slice_means": file.slice_means, "batch_size": file.batch_size,
        "power_basis": file.power_basis, "power_source": file.power_source,
        "static_watts": fit.static_power, "shared_idle_watts": fit.shared_idle_power,
        "overlap_per_watt": fit.overlap_per_watt, "residual_watts": fit.residual,
        "tenants": tenants, "sets": sets, "held_out": errors,
    }))
}

/// What the file says, for people.
pub(super) fn print(path: &Path, file: &SharingFile) -> Result<()> {
    let fit = file.fit().context(ConfigError)?;
    say(format_args!("sharing   {} on {}; a slice is {}", path.display(), file.device, file.slice_means));
    say(format_args!("power     {}; all estimates below are modelled from it", file.power_provenance()));
    say(format_args!("static    {:.2} W with nothing running", fit.static_power.get()));
    say(format_args!(
        "shared    {:.2} W once anything runs, fitted (residual {:.2} W)",
        fit.shared_idle_power.get(),
        fit.residual.get()
    ));
    say(match fit.overlap_per_watt {
        Some(overlap) => format!("overlap   {overlap:.3e} per watt, fitted on sets of different models"),
        None => {
            "overlap   unknown: no set of different models was left to fit on; estimates are sums".to_owned()
        }
    });
    let mut table = Table::new(&["busy", "W", "± 95 %", "estimate", "sum", "naive sum", "seen by the fit"]);
    for row in &file.measured {
        let estimate = fit.estimate(&row.tenants).context(ConfigError)?;
        table.row([
            names(&row.tenants),
            format!("{:.2}", row.power_watts.get()),
            row.power_watts_ci95.map_or_else(|| "-".into(), |ci95| format!("{:.2}", ci95.get())),
            format!("{:.2}", estimate.power.get()),
            format!("{:.2}", estimate.additive.get()),
            format!("{:.2}", estimate.naive.get()),
            if row.held_out { "no" } else { "yes" }.to_owned(),
        ]);
    }
    say(table);
    match file.error_report(&fit) {
        Ok(errors) => {
            let percent = |share: f64| format!("{:.1} %", share * 100.0);
            say(format_args!(
                "error     over {} sets that were not fitted: {} with the overlap, {} as a sum, {} as a naive sum",
                errors.sets,
                errors.mean_abs_error_share_corrected.map_or_else(|| "unknown".into(), percent),
                percent(errors.mean_abs_error_share_additive),
                percent(errors.mean_abs_error_share_naive)
            ));
        }
        Err(SharedPowerError::NothingHeldOut) => say("error     unknown: nothing was held out of the fit"),
        Err(error) => return Err(error).context(ConfigError),
    }
    Ok(())
}

/// Who is busy, in words: `2 x a on 1/3 + b on 1/3`.
fn names(tenants: &[Tenant]) -> String {
    let mut told: Vec<(&Tenant, usize)> = Vec::new();
    for tenant in tenants {
        match told.iter_mut().find(|(known, _)| *known == tenant) {
            Some((_, count)) => *count += 1,
            None => told.push((tenant, 1)),
        }
    }
    let each = told.iter().map(|(tenant, count)| {
        let times = if *count > 1 { format!("{count} x ") } else { String::new() };
        format!("{times}{} on {}", tenant.model, tenant.slice)
    });
    each.collect::<Vec<_>>().join(" + ")
}

/// What of `output` is measured so far.
fn partial_of(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}
