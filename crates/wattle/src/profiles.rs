//! Finds and reads the profiles that stand beside the models.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use wattle_core::id::ModelName;
use wattle_core::profile::Profile;

use crate::exit::ConfigError;

/// The file read where nothing else is said.
const DEFAULT_FILE: &str = "profile.csv";

/// Reads `<models>/<name>/profile.csv` of every model that has one, and the files of `named`, which go
/// first.
pub(crate) fn read_all(
    models: &Path,
    named: &[(String, std::path::PathBuf)],
) -> Result<BTreeMap<ModelName, Profile>> {
    let mut profiles = BTreeMap::new();
    for (model, path) in named {
        profiles.insert(ModelName::from(model.as_str()), read(path)?);
    }
    // A repository that can't be read is told of by the server itself.
    for folder in std::fs::read_dir(models).into_iter().flatten().flatten() {
        let name = ModelName::from(folder.file_name().to_string_lossy().into_owned());
        let path = folder.path().join(DEFAULT_FILE);
        if path.is_file() && !profiles.contains_key(&name) {
            profiles.insert(name, read(&path)?);
        }
    }
    Ok(profiles)
}

/// Warns of profiles that were taken elsewhere than on `device`: their figures may be far off. A policy plans
/// with them all the same, for imported and modelled ones are of use too.
pub(crate) fn warn_of_others(profiles: &BTreeMap<ModelName, Profile>, device: &str) {
    for (model, profile) in profiles {
        let head = &profile.head;
        if head.device != device {
            tracing::warn!(%model, taken_on = head.device, this = device, "the profile was not taken on this device");
        }
        if head.model != *model {
            tracing::warn!(%model, of = %head.model, "the profile is of another model");
        }
    }
}

/// Reads one profile; what is wrong with it is a fault of the configuration.
pub(crate) fn read(path: &Path) -> Result<Profile> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the profile {}", path.display()))
        .context(ConfigError)?;
    Profile::parse(&text, &path.display().to_string()).context(ConfigError)
}
