//! Asks the world for signals: carbon intensity, power caps, what a site makes of its own.
//!
//! A [`provider`] asks one source and makes points of its answer. Everything else is the same for all of
//! them: politeness, the cache on disk, staleness and what stands in for a signal that is too old.

pub mod cache;
pub mod config;
mod extra;
pub mod http;
mod json;
pub mod live;
pub mod outlook;
mod points;
pub mod poller;
pub mod provider;
pub mod providers;
pub mod schedule;
pub mod site;
pub mod supply;
mod times;
pub mod token;
pub mod unit;
