//! Profiles models as they are served: the same repository, executor, runtime and device, asked from
//! within the process instead of over the network.
//!
//! ```text
//! search (pure, wattle-search) -> point -> knobs -> load -> windows until they agree -> journal -> search
//! ```
//! One point after another is measured while a closed loop keeps the model saturated. Whether windows agree,
//! and what they say together, is decided by pure functions in [`statistics`].

mod bench;
mod inputs;
mod journal;
mod load;
mod measure;
mod memory;
mod plan;
mod run;
mod sampler;
mod sharing;
pub mod statistics;

use wattle_search::BuildError;

use crate::model_repository::RepositoryError;

pub use bench::{Bench, BenchConfig};
pub use inputs::{Inputs, InputsError};
pub use journal::{JournalError, Subject};
pub use measure::{MeasureOptions, Measured, Seen};
pub use plan::{Clocks, KnobValues, Plan, PlanError};
pub use run::{Ending, Event, Profiled};
pub use sharing::{Shared, SharingPlan, SharingStep};

/// A model could not be profiled.
#[derive(Debug, thiserror::Error)]
pub enum ProfilingError {
    /// The model, or its repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Neither a model nor a family has the name.
    #[error("no model or family {found:?} in {folder}{meant}")]
    UnknownModel {
        /// The name.
        found: String,
        /// The repository's folder.
        folder: String,
        /// What may have been meant, starting with `, `, or empty.
        meant: String,
    },
    /// What it is to be asked.
    #[error(transparent)]
    Inputs(#[from] InputsError),
    /// The points.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The search.
    #[error(transparent)]
    Search(#[from] BuildError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file of the model.
    #[error("failed to read {path}: {source}")]
    ModelFile {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("failed to start the thread that reads the device: {0}")]
    Thread(std::io::Error),
    /// The compute threads there are can't be cut so.
    #[error(
        "found {slices} slices of {cores} compute threads, expected at least 2, of at least one thread each; name another number with --slices or --cores"
    )]
    Slices {
        /// Slices asked for.
        slices: u32,
        /// Compute threads there are.
        cores: u32,
    },
    /// A model could not be kept busy beside others.
    #[error("{model} could not be kept busy: {detail}")]
    Company {
        /// Which model.
        model: wattle_core::id::ModelName,
        /// Why.
        detail: String,
    },
    /// It was told to stop before anything was measured.
    #[error("interrupted before anything was measured")]
    Interrupted,
    /// What was measured could not be kept.
    #[error("failed to keep what was measured: {0}")]
    Keep(std::io::Error),
    /// A knob of the device does not stand as it was found.
    #[error(transparent)]
    Device(#[from] wattle_device::device::DeviceError),
}

/// SHA-256 of `bytes`, in hexadecimal.
fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
