//! What can be wrong with the repository, its models and its families.

/// A model could not be found, loaded or unloaded.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// There is no such model.
    #[error("Request for unknown model: '{name}' is not found; served now: {served}")]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The names there are.
        served: String,
    },
    /// There is no such version of the model.
    #[error("Request for unknown model: '{name}' version {version} is not found; served versions: {served}")]
    UnknownVersion {
        /// The model asked for.
        name: String,
        /// The version asked for.
        version: String,
        /// The versions there are.
        served: String,
    },
    /// The model could not be loaded; what was served before still is.
    #[error("failed to load '{name}', {detail}")]
    Load {
        /// Which model.
        name: String,
        /// Why, with the file and what to do.
        detail: String,
    },
    /// A version was asked of a family. Each variant has versions of its own, so that such a request would
    /// fail once another variant answers.
    #[error(
        "'{name}' is a family and has no versions, found version {version}; leave it out, or ask one of its variants: {variants}"
    )]
    VersionOfFamily {
        /// Which family.
        name: String,
        /// The version asked for.
        version: String,
        /// The models that answer for it.
        variants: String,
    },
    /// A family can't be loaded or unloaded, only its variants can.
    #[error("'{name}' is a family, expected one of its variants: {variants}")]
    IsFamily {
        /// Which family.
        name: String,
        /// The models that answer for it.
        variants: String,
    },
    /// A family is not as it should be.
    #[error("{path}: {detail}")]
    Family {
        /// Its file.
        path: String,
        /// What was found and what was expected.
        detail: String,
    },
    /// The folder could not be read.
    #[error("failed to read the model repository {path}: {source}")]
    Folder {
        /// Which folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}
