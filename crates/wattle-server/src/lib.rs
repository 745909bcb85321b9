//! Serves models over the Open Inference Protocol v2 and turns their knobs while they serve.
//!
//! The only crate with tokio. It drives what `wattle-core` decides with real time, real devices and
//! real requests.

pub mod accounts;
pub mod admin;
pub mod clock;
pub mod control_loop;
pub mod data_plane;
pub mod executor;
pub mod latency_histogram;
pub mod meter;
pub mod metrics;
pub mod model_repository;
pub mod profiling;
pub mod quick_profile;
pub mod serve;
