//! What Wattle decides, as pure functions.
//!
//! Policies, the batcher, profiles, signals and the ledger live here. Nothing in this crate does
//! I/O, starts a thread, asks what time it is or draws luck: time, readings and seeds are arguments.
//! So the live control loop and a replay run the same code and can't drift apart.

pub mod analytic;
pub mod asking;
pub mod batching;
pub mod cap_account;
pub mod carbon;
pub mod device_spec;
pub mod family;
pub mod forecast;
pub mod foresight;
pub mod gating;
pub mod id;
pub mod knob;
pub mod ledger;
pub mod load_power;
pub mod nearest;
pub mod observation;
pub mod operating_point;
pub mod played_device;
pub mod policies;
pub mod policy;
pub mod profile;
pub mod provenance;
pub mod queueing;
pub mod refinement;
pub mod shared_power;
pub mod signal;
pub mod time;
pub mod units;
