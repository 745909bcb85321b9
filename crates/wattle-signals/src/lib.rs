//! Asks the world for signals: carbon intensity, power caps, what a site makes of its own.
//!
//! A [`provider`] asks one source and makes points of its answer. Everything else is the same for all of
//! them: politeness, the cache on disk, staleness and what stands in for a signal that is too old.

pub mod config;
mod extra;
pub mod http;
mod json;
mod points;
pub mod provider;
pub mod providers;
mod times;
pub mod token;
pub mod unit;
