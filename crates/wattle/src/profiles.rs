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

/// Reads one profile; what is wrong with it is a fault of the configuration.
pub(crate) fn read(path: &Path) -> Result<Profile> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the profile {}", path.display()))
        .context(ConfigError)?;
    Profile::parse(&text, &path.display().to_string()).context(ConfigError)
}
