//! Where the profiles that are measured go: each to its model's folder, or a family to one file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use wattle_core::id::ModelName;
use wattle_core::profile::Profile;
use wattle_search::Probe;
use wattle_server::profiling::{Bench, Profiled};

use super::measure::MeasureArgs;
use crate::exit::ConfigError;
use crate::new_file;
use crate::output::say;

/// One model to measure, and where what is seen of it goes.
pub(super) struct Target {
    pub(super) model: ModelName,
    pub(super) journal: PathBuf,
    /// Where its own profile goes; `None` where it is part of a family's one file.
    pub(super) output: Option<PathBuf>,
}

impl MeasureArgs {
    /// The models to measure, each once.
    pub(super) fn targets(&self, bench: &Bench) -> Result<Vec<Target>> {
        if let (Some(output), true) = (&self.output, self.names.len() > 1) {
            let error = anyhow!(
                "{} would hold the profiles of {}, expected one model or family with --output; leave it out to write \
                 each into its model's folder",
                output.display(),
                self.names.join(", ")
            );
            return Err(error).context(ConfigError);
        }
        let mut targets: Vec<Target> = Vec::new();
        for name in &self.names {
            let is_family = bench.is_family(name);
            for model in bench.models_of(name).context(ConfigError)? {
                if targets.iter().any(|target| target.model == model) {
                    continue;
                }
                let own = self.models.join(model.as_str()).join("profile.csv");
                let (output, journal) = match &self.output {
                    None => (Some(own.clone()), beside(&own, "partial")),
                    Some(output) if is_family => (None, beside(output, &format!("{model}.partial"))),
                    Some(output) => (Some(output.clone()), beside(output, "partial")),
                };
                targets.push(Target { model, journal, output });
            }
        }
        Ok(targets)
    }

    /// Fails where a profile is there that may not be replaced. One that an interrupted run of the same
    /// file wrote may be.
    pub(super) fn check_output(&self, target: &Target) -> Result<()> {
        let output = target.output.as_deref().or(self.output.as_deref());
        let may = self.force || target.journal.exists();
        output.map_or(Ok(()), |output| new_file::check(output, may)).context(ConfigError)
    }

    /// Writes a profile that has a row.
    pub(super) fn write(&self, output: &Path, profile: &Profile) -> Result<()> {
        if profile.rows.is_empty() {
            return Ok(());
        }
        // Whether it may be replaced was asked before any work.
        new_file::write(output, profile.to_text().as_bytes(), true)
    }

    /// Writes the profiles of a family's variants as one, with the knob `variant`.
    pub(super) fn write_family(&self, output: &Path, done: &[Profiled]) -> Result<()> {
        let Some(first) = done.first() else { return Ok(()) };
        let mut family = Profile { rows: Vec::new(), ..first.profile.clone() };
        family.head.model = self.names.first().map_or("", String::as_str).into();
        // Each variant has its own.
        family.head.quality = None;
        let each = |of: fn(&Profile) -> Option<&str>| {
            let told = done.iter().filter_map(|profiled| {
                Some(format!("{}: {}", profiled.profile.head.model, of(&profiled.profile)?))
            });
            Some(told.collect::<Vec<_>>().join("; ")).filter(|told| !told.is_empty())
        };
        family.head.conditions.model_sha256 = each(|profile| profile.head.conditions.model_sha256.as_deref());
        family.head.conditions.ambient = each(|profile| profile.head.conditions.ambient.as_deref());
        family.head.notes = each(|profile| profile.head.notes.as_deref());
        for profiled in done {
            family.rows.extend(profiled.probes.iter().filter_map(Probe::row).cloned().map(|mut row| {
                row.point.variant = Some(profiled.profile.head.model.to_string());
                row
            }));
        }
        self.write(output, &family)?;
        if !self.json && !family.rows.is_empty() {
            say(format_args!(
                "wrote     {} ({} rows of {} variants)",
                output.display(),
                family.rows.len(),
                done.len()
            ));
        }
        Ok(())
    }
}

/// `path` with another ending added.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}
