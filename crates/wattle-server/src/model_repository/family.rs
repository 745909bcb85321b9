//! Families: names that one of several models answers for, so that the one can change under load.
//!
//! ```text
//! <models>/<family>/family.toml
//! ```
//! ```toml
//! active = "digits-m"                  # answers at first; the first variant by default
//! [[variants]]
//! model = "digits-s"
//! quality = 0.97
//! energy_joules_per_row = 0.002        # from the model's profile by default
//! ```
//! Which model answers is looked up with the name; everything after that is as for the model itself. So
//! a request that waits in the queue of a variant is answered by it, whatever is switched meanwhile.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use serde::Deserialize;
use wattle_core::id::{FamilyName, ModelName};
use wattle_core::nearest::nearest;
use wattle_runtime::tensor::TensorSpec;

use super::config::ModelConfig;
use super::{RepositoryError, Table, folder_names, join, versions};

/// The file that makes a folder a family.
const FILE: &str = "family.toml";

/// `family.toml`, as written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamilyToml {
    /// The variant that answers at first; the first one by default.
    pub active: Option<ModelName>,
    /// The models that can answer. Where the active one is not loaded, the first that is answers.
    pub variants: Vec<VariantToml>,
}

/// `[[variants]]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantToml {
    /// A model of the same repository.
    pub model: ModelName,
    /// How good its answers are, in 0 to 1: accuracy, say.
    pub quality: f64,
    /// Energy of one answer, in joules; by default that of its profile.
    pub energy_joules_per_row: Option<f64>,
}

/// The families of the repository in `folder`, by name.
///
/// # Errors
/// Names the file and the key that is not as it should be.
pub fn read_families(folder: &Path) -> Result<BTreeMap<FamilyName, FamilyToml>, RepositoryError> {
    let names = folder_names(folder)?;
    let is_family = |name: &&String| folder.join(name).join(FILE).is_file();
    let models: Vec<&str> = names.iter().filter(|name| !is_family(name)).map(String::as_str).collect();
    let mut families = BTreeMap::new();
    for name in names.iter().filter(is_family) {
        let path = folder.join(name).join(FILE);
        let failed = |detail: String| RepositoryError::Family { path: path.display().to_string(), detail };
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let family: FamilyToml = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
        family.check(&models).map_err(failed)?;
        if versions(&folder.join(name)).is_ok() {
            return Err(failed("there is a model in the same folder; expected a folder of its own".into()));
        }
        families.insert(FamilyName::from(name.as_str()), family);
    }
    Ok(families)
}

impl FamilyToml {
    /// `models`: those of the repository.
    fn check(&self, models: &[&str]) -> Result<(), String> {
        if self.variants.is_empty() {
            return Err("variants is empty, expected at least one [[variants]]".into());
        }
        for (index, VariantToml { model, quality, energy_joules_per_row }) in self.variants.iter().enumerate()
        {
            if !models.contains(&model.as_str()) {
                let meant = nearest(model.as_str(), models.iter().copied());
                let meant = meant.map_or_else(String::new, |name| format!(", did you mean {name:?}?"));
                return Err(format!("variant {model} is not a model of the repository{meant}"));
            }
            if self.variants[..index].iter().any(|other| other.model == *model) {
                return Err(format!("variant {model} is there twice, expected once"));
            }
            if !(0.0..=1.0).contains(quality) {
                return Err(format!("quality of variant {model} is {quality}, expected a number in 0 to 1"));
            }
            if let Some(energy) =
                energy_joules_per_row.filter(|energy| !(energy.is_finite() && *energy > 0.0))
            {
                return Err(format!(
                    "energy_joules_per_row of variant {model} is {energy}, expected a number over 0"
                ));
            }
        }
        match &self.active {
            Some(active) if self.position(active).is_none() => {
                let known = join(self.variants.iter().map(|variant| variant.model.as_str()));
                Err(format!("active is {active}, expected one of the variants: {known}"))
            }
            _ => Ok(()),
        }
    }

    fn position(&self, model: &ModelName) -> Option<usize> {
        self.variants.iter().position(|variant| variant.model == *model)
    }
}

/// A family that is served: which of its variants answers is one atomic.
#[derive(Debug)]
pub struct Family {
    variants: Vec<ModelName>,
    /// Of each variant.
    qualities: Vec<f64>,
    chosen: AtomicUsize,
    switches: AtomicU64,
    asked_rows: AtomicU64,
}

impl From<&FamilyToml> for Family {
    fn from(family: &FamilyToml) -> Self {
        let active = family.active.as_ref().and_then(|active| family.position(active));
        Self {
            variants: family.variants.iter().map(|variant| variant.model.clone()).collect(),
            qualities: family.variants.iter().map(|variant| variant.quality).collect(),
            chosen: AtomicUsize::new(active.unwrap_or(0)),
            switches: AtomicU64::new(0),
            asked_rows: AtomicU64::new(0),
        }
    }
}

impl Family {
    /// Its variants, in the order of its file.
    pub fn variants(&self) -> &[ModelName] {
        &self.variants
    }

    /// How good the answers of `model` are, in 0 to 1; `None` where it is no variant.
    pub fn quality(&self, model: &ModelName) -> Option<f64> {
        self.variants
            .iter()
            .zip(&self.qualities)
            .find(|(variant, _)| *variant == model)
            .map(|(_, quality)| *quality)
    }

    /// The variant that answers: the one chosen, or the first that is served where that one is not.
    pub fn active(&self, table: &Table) -> Option<&ModelName> {
        let chosen = self.variants.get(self.chosen.load(Relaxed));
        chosen.into_iter().chain(&self.variants).find(|model| table.contains_key(*model))
    }

    /// How often a variant was chosen that did not answer already.
    pub fn switches(&self) -> u64 {
        self.switches.load(Relaxed)
    }

    /// Rows that were asked of the family.
    pub fn asked_rows(&self) -> u64 {
        self.asked_rows.load(Relaxed)
    }

    /// Counts rows that were asked of the family.
    pub(super) fn asked(&self, rows: u32) {
        self.asked_rows.fetch_add(u64::from(rows), Relaxed);
    }

    /// Lets `model` answer from now on. Or says why it can't: it may have been unloaded since the policy
    /// saw it.
    pub(super) fn choose(&self, model: &ModelName, table: &Table) -> Result<(), String> {
        let Some(index) = self.variants.iter().position(|variant| variant == model) else {
            let variants = join(self.variants.iter().map(ModelName::as_str));
            return Err(format!("has no variant {model}; it has {variants}"));
        };
        let before = self.active(table);
        if !table.contains_key(model) {
            let before = before.map_or("none", ModelName::as_str);
            return Err(format!("can't switch to {model}, which is not loaded; {before} answers"));
        }
        if before != Some(model) {
            self.switches.fetch_add(1, Relaxed);
        }
        self.chosen.store(index, Relaxed);
        Ok(())
    }
}

/// The first thing in which a client could tell `a` from `b` but for the answers: variants must have
/// none.
pub(super) fn difference(
    (a_name, a): (&ModelName, &ModelConfig),
    (b_name, b): (&ModelName, &ModelConfig),
) -> Option<String> {
    let sizes = [
        ("max_batch_size", a.max_batch_size, b.max_batch_size),
        ("priority_levels", a.priority_levels, b.priority_levels),
    ];
    let tensors = [("input", &a.inputs, &b.inputs), ("output", &a.outputs, &b.outputs)];
    let tell = |spec: Option<&TensorSpec>| {
        spec.map_or_else(
            || "not there".to_owned(),
            |spec| format!("'{}' {} {:?}", spec.name, spec.datatype, spec.shape),
        )
    };
    let of_tensors = tensors.into_iter().find_map(|(what, a, b)| {
        let index = (0..a.len().max(b.len())).find(|&index| a.get(index) != b.get(index))?;
        let (a, b) = (tell(a.get(index)), tell(b.get(index)));
        Some(format!("{what} {index} is {a} in {a_name}, but {b} in {b_name}"))
    });
    of_tensors.or_else(|| {
        let (what, a, b) = sizes.into_iter().find(|(_, a, b)| a != b)?;
        Some(format!("{what} is {a} in {a_name}, but {b} in {b_name}; set it in their model.toml"))
    })
}
