//! Replays: runs the server's own policies, queue and ledger in virtual time, on devices made of profiles.
//!
//! One run is one thread and one seed: the same scenario gives the same bytes every time. Two levels:
//! [`request_level`] plays every request; [`epoch_level`] makes one decision an epoch with the models
//! saturated or at a mean load, for studies of a year.

pub mod arrivals;
pub mod baseline;
pub mod decisions;
pub mod epoch_level;
pub mod experiment;
pub mod foresight;

mod knobs;
pub mod plan;
pub mod plot;
pub mod recorder;
pub mod report;
pub mod request_level;
pub mod run_folder;
pub mod scenario;

pub mod summary;
pub mod workload;
