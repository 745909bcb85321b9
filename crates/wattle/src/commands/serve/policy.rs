//! The policy of a server, with what the model repository says of its models and families.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use wattle_core::device_spec::{self, DeviceSpec};
use wattle_core::family::{Variant, energy_per_row};
use wattle_core::gating::{self, Gating};
use wattle_core::id::{FamilyName, ModelName};
use wattle_core::policies::{self, PolicyConfig, free_knobs, gating_of};
use wattle_core::policy::Policy;
use wattle_core::profile::Profile;
use wattle_core::units::Joules;
use wattle_server::model_repository::family::{VariantToml, read_families};
use wattle_server::model_repository::model_toml::latency_objectives;

use crate::exit::ConfigError;

/// The profiles with unused units gated, where the policy called `name` plans so. `spec`: name or file of
/// the device.
pub(super) fn gate(
    name: &str,
    spec: Option<&str>,
    profiles: BTreeMap<ModelName, Profile>,
) -> Result<BTreeMap<ModelName, Profile>> {
    let gating = gating_of(name);
    // Read in any case, so that a wrong one is told of.
    let spec = spec.map(read_spec).transpose().context("device_spec").context(ConfigError)?;
    if gating == Gating::None {
        return Ok(profiles);
    }
    let Some(spec) = spec else {
        let known: Vec<&str> = device_spec::BUNDLED.iter().map(|(name, _)| *name).collect();
        return Err(anyhow!(
            "policy {name} plans with unused units gated and needs the device's figures: found no device_spec, \
             expected one of {} or a TOML file",
            known.join(", ")
        ))
        .context(ConfigError);
    };
    let gated = profiles.into_iter().map(|(model, profile)| {
        let gated = gating::apply(&profile, &spec, gating)
            .with_context(|| format!("the profile of {model} can't be gated for policy {name}"))
            .context(ConfigError)?;
        Ok((model, gated))
    });
    gated.collect()
}

/// The device of that name, or in that file.
pub(super) fn read_spec(spec: &str) -> Result<DeviceSpec> {
    if Path::new(spec).extension().is_none_or(|extension| extension != "toml") {
        return Ok(device_spec::bundled(spec)?);
    }
    let text = std::fs::read_to_string(spec).with_context(|| format!("failed to read {spec}"))?;
    Ok(DeviceSpec::parse(&text, spec)?)
}

/// The policy of `config`, for the repository `models`.
pub(super) fn build(
    config: &PolicyConfig,
    models: &Path,
    profiles: BTreeMap<ModelName, Profile>,
) -> Result<Box<dyn Policy>> {
    let name = config.name.as_str();
    let needs_profiles = matches!(name, "multi-tenant" | "batching" | "combination")
        || free_knobs(name, &config.least_power).is_some();
    if needs_profiles && profiles.is_empty() {
        tracing::warn!(policy = name, "no model has a profile.csv: this policy will leave every knob alone");
    }
    let mut options = config.options(profiles);
    options.latency_objectives = latency_objectives(models).context(ConfigError)?;
    if matches!(name, "carbon-adaptive" | "carbon-adaptive-printed" | "carbon-budget") {
        options.families = families(models, &options.profiles)?;
        if options.families.is_empty() {
            tracing::warn!(policy = name, "no folder has a family.toml: this policy will switch nothing");
        }
    }
    let day_start = &mut options.carbon_budget.day_starts_at_seconds;
    *day_start = day_start.or_else(seconds_to_midnight);
    policies::build(name, &options).context(ConfigError)
}

/// Seconds until the next day begins in universal time; `None` where the clock is before 1970.
fn seconds_to_midnight() -> Option<f64> {
    const DAY: u64 = 86_400;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(((DAY - now % DAY) % DAY) as f64)
}

/// The families of the repository, each variant with its energy.
fn families(
    models: &Path,
    profiles: &BTreeMap<ModelName, Profile>,
) -> Result<BTreeMap<FamilyName, Vec<Variant>>> {
    let mut families = BTreeMap::new();
    for (name, family) in read_families(models).context(ConfigError)? {
        let variant = |VariantToml { model, quality, energy_joules_per_row }: VariantToml| {
            let energy = energy_joules_per_row.map(Joules::new);
            let energy = energy.or_else(|| energy_per_row(profiles.get(&model)?)).ok_or_else(|| {
                anyhow!(
                    "family {name}: the energy of an answer of {model} is unknown, expected \
                     energy_joules_per_row in family.toml, or a row of one instance with power and \
                     throughput in the profile of {model}"
                )
            })?;
            Ok(Variant { model, energy_joules_per_row: energy, quality })
        };
        let variants: Result<Vec<Variant>> = family.variants.into_iter().map(variant).collect();
        families.insert(name, variants.context(ConfigError)?);
    }
    Ok(families)
}
