//! The five papers' experiments, run by Wattle's own policies: published figures beside ours. And one of
//! our own, of a policy that no paper has.
//!
//! Nothing here is fitted to a published result. Inputs that a paper states, such as the mean and deviation
//! of its traces, are matched; its results are not. Every figure of ours says what it rests on, and every
//! difference that we can explain is explained.

pub mod batchsizer;
pub mod carbon_adaptive;
pub mod carbon_budget;
pub mod cofris;
mod files;
pub mod renewable;
pub mod row;
pub mod sharing;
pub mod traces;

use std::path::PathBuf;

pub use row::{Reproduction, Row};

/// The experiments, by name.
pub const NAMES: [&str; 6] =
    ["batchsizer", "renewable", "cofris", "sharing", "carbon-adaptive", "carbon-budget"];

/// What an experiment is run with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Folder of the user's own measured profiles and traces, used in place of the bundled ones.
    pub data: Option<PathBuf>,
    /// Threads to run on.
    pub threads: usize,
}

/// An experiment that can't be run.
#[derive(Debug, thiserror::Error)]
pub enum ReproduceError {
    /// A file of the user's data can't be used.
    #[error("{file}: {cause}")]
    Data {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// There is no such experiment.
    #[error("unknown experiment {name:?}; known: {}", NAMES.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// Something of the bundled experiment doesn't hold together: a defect of Wattle.
    #[error("experiment {name}: {cause}")]
    Broken {
        /// Which experiment.
        name: &'static str,
        /// What is wrong.
        cause: String,
    },
}

/// Runs the experiment called `name`, telling `progress` the share that is done.
///
/// # Errors
/// When it is not one of [`NAMES`], or a file of the user's data can't be used.
pub fn run(
    name: &str,
    options: &Options,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Reproduction, ReproduceError> {
    match name {
        "batchsizer" => batchsizer::run(options, progress),
        "renewable" => renewable::run(options, progress),
        "cofris" => cofris::run(options, progress),
        "sharing" => sharing::run(options, progress),
        "carbon-adaptive" => carbon_adaptive::run(options, progress),
        "carbon-budget" => carbon_budget::run(options, progress),
        _ => Err(ReproduceError::Unknown { name: name.to_owned() }),
    }
}
