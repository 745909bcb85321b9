//! What the same requests would have drawn with the knobs as at the start, hour by hour, by replay.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wattle_core::id::ModelName;
use wattle_core::profile::Profile;
use wattle_core::provenance::Provenance;
use wattle_core::units::Joules;
use wattle_ledger::query::{AccountRow, DeviceRow, GroupBy, KnownGrams, Ledger, Period, Query, Run, Span};
use wattle_ledger::report::{BaselineFigures, BaselineTold, Of, Range, Report};
use wattle_server::model_repository::config::Start;
use wattle_server::model_repository::model_toml::starts;
use wattle_sim::baseline::{Baseline, StartingModel};

use crate::exit::ConfigError;
use crate::profiles;

/// Seconds of a range whose loads are replayed minute by minute; longer ones are by the hour.
const BY_MINUTE: i64 = 3 * 3600;

/// The profiles of the models; none where neither a repository nor a file is named.
pub(super) fn profiles(
    models: Option<&Path>,
    named: &[(String, PathBuf)],
) -> Result<BTreeMap<ModelName, Profile>> {
    if let Some(models) = models
        && let Err(error) = std::fs::read_dir(models)
    {
        return Err(error)
            .with_context(|| format!("failed to read the model repository {}", models.display()))
            .context(ConfigError);
    }
    profiles::read_all(models.unwrap_or(Path::new("")), named)
}

/// Adds to `report` what its requests would have drawn. The inner error says why there is no baseline.
pub(super) fn add(
    report: &mut Report,
    ledger: &Ledger,
    runs: &[Run],
    range: Range,
    models: Option<&Path>,
    mut profiles: BTreeMap<ModelName, Profile>,
) -> Result<Result<BaselineTold, String>> {
    let Some(counted) = report.counted else { return Ok(Err("nothing was counted".into())) };
    let is_short = counted.to.as_secs().saturating_sub(counted.from.as_secs()) <= BY_MINUTE;
    let query = Query {
        from: range.0,
        to: range.1,
        group_by: BTreeSet::from([GroupBy::Run, GroupBy::Model, report.by.group()]),
        period: Some(if is_short { Period::Minute } else { Period::Hour }),
    };
    let answer = ledger.totals(&query)?;
    let asked: BTreeSet<&str> = answer
        .accounts
        .iter()
        .filter(|row| row.rows > 0)
        .filter_map(|row| row.group.model.as_deref())
        .collect();
    let missing: Vec<&str> = asked.iter().copied().filter(|model| !profiles.contains_key(*model)).collect();
    if !missing.is_empty() {
        return Ok(Err(format!(
            "{} {} no profile: name the repository with --models DIR, where `wattle profile` leaves a profile.csv \
             beside each model, or the file with --profile MODEL=FILE",
            missing.join(", "),
            if missing.len() == 1 { "has" } else { "have" }
        )));
    }
    // Models that nobody asked draw nothing, and need not go together with the others.
    profiles.retain(|model, _| asked.is_empty() || asked.contains(model.as_str()));
    let replays = match Replays::new(runs, &answer.devices, models, &profiles)? {
        Ok(replays) => replays,
        Err(why) => return Ok(Err(why)),
    };
    let Some(Provenance { basis, source }) = replays.told() else {
        return Ok(Err("nothing was counted".into()));
    };
    let mut accounts: BTreeMap<(Option<Span>, Option<i64>), Vec<&AccountRow>> = BTreeMap::new();
    for account in &answer.accounts {
        accounts.entry((account.group.period, account.group.run)).or_default().push(account);
    }
    for device in &answer.devices {
        let of_device = accounts.remove(&(device.group.period, device.group.run)).unwrap_or_default();
        replays.book(report, device, &of_device, runs);
    }
    let length = if is_short { "minute" } else { "hour" };
    Ok(Ok(BaselineTold {
        policy: "fixed".into(),
        provenance: Provenance::new(
            basis,
            format!(
                "the same rows under policy fixed, evenly over each {length}, with the knobs as at the start; {source}"
            ),
        ),
    }))
}

/// A baseline for each number of cores that a run had: instances at the start go by it.
struct Replays(BTreeMap<u32, Baseline>);

impl Replays {
    fn new(
        runs: &[Run],
        devices: &[DeviceRow],
        models: Option<&Path>,
        profiles: &BTreeMap<ModelName, Profile>,
    ) -> Result<Result<Self, String>> {
        let mut replays = BTreeMap::new();
        for run in devices.iter().filter_map(|device| run_of(runs, device)) {
            let Some(cores) = run.cores else {
                return Ok(Err(format!(
                    "the ledger does not tell how many cores the run of {} had: it is of an earlier Wattle",
                    wattle_ledger::report::utc(run.started)
                )));
            };
            if replays.contains_key(&cores) {
                continue;
            }
            let starts = match models {
                Some(folder) => starts(folder, cores).context(ConfigError)?,
                None => BTreeMap::new(),
            };
            let starting = profiles.iter().map(|(name, profile)| {
                let start = starts.get(name).copied();
                (name.clone(), starting(profile, start, cores))
            });
            match Baseline::new(&starting.collect()) {
                Ok(baseline) => replays.insert(cores, baseline),
                Err(error) => return Ok(Err(error.to_string())),
            };
        }
        Ok(Ok(Self(replays)))
    }

    /// How the figures are known.
    fn told(&self) -> Option<Provenance> {
        self.0.values().next()?.provenance().cloned()
    }

    /// Replays the time of `device` and adds what it would have drawn to `report`.
    fn book(&self, report: &mut Report, device: &DeviceRow, accounts: &[&AccountRow], runs: &[Run]) {
        let Some(run) = run_of(runs, device) else { return };
        let Some(baseline) = run.cores.and_then(|cores| self.0.get(&cores)) else { return };
        let Some(period) = device.group.period else { return };
        let mut rows: BTreeMap<ModelName, u64> = BTreeMap::new();
        for account in accounts {
            if let Some(model) = &account.group.model {
                *rows.entry(model.as_str().into()).or_default() += account.rows;
            }
        }
        let drawn = baseline.replay(device.covered, &rows);
        let figures = |energy: Joules, refused_rows: f64| BaselineFigures {
            energy,
            location: emissions(energy, device, run),
            refused_rows,
        };
        for account in accounts {
            let Some(model) = account.group.model.as_deref() else { continue };
            let all = rows.get(model).copied().unwrap_or(0);
            if all == 0 {
                continue;
            }
            let share = account.rows as f64 / all as f64;
            let energy = drawn.by_model.get(model).copied().unwrap_or(Joules::ZERO);
            let refused = drawn.refused_rows.get(model).copied().unwrap_or(0.0);
            let of = report.by.of(&account.group);
            report.add_baseline(period.from, &of, &figures(energy * share, refused * share));
        }
        report.add_baseline(period.from, &Of::Idle, &figures(drawn.idle, 0.0));
    }
}

fn run_of<'a>(runs: &'a [Run], device: &DeviceRow) -> Option<&'a Run> {
    runs.iter().find(|run| Some(run.run) == device.group.run)
}

/// A model as a server with so many cores starts it.
fn starting(profile: &Profile, start: Option<Start>, cores: u32) -> StartingModel {
    let most = profile.rows.iter().map(|row| row.point.instances).max().unwrap_or(1);
    // Where no file tells, as many as the server would start, as far as the profile goes.
    let instances = start.map_or_else(|| cores.clamp(1, most.max(1)), |start| start.instances);
    StartingModel {
        profile: profile.clone(),
        batch_size: start.and_then(|start| start.batch_size),
        instances,
        cores_per_instance: start.map_or(1, |start| start.cores_per_instance),
    }
}

/// Emissions of `energy` at the intensity of that time, known for as large a share as they were.
fn emissions(energy: Joules, device: &DeviceRow, run: &Run) -> Option<KnownGrams> {
    let intensity = device.intensity?.mean;
    let share = device.location?.energy / device.metered;
    let energy = energy * if share.is_finite() { share.clamp(0.0, 1.0) } else { return None };
    let pue = run.accounting.as_ref().map_or(1.0, |accounting| accounting.pue);
    Some(KnownGrams { grams: energy * pue * intensity, energy })
}
