//! One file a command.

pub(crate) mod demo;
pub(crate) mod devices;
pub(crate) mod import;
pub(crate) mod partition;
pub(crate) mod plan;
pub(crate) mod profile;
pub(crate) mod report;
pub(crate) mod reproduce;
pub(crate) mod runtimes;
pub(crate) mod serve;
pub(crate) mod signals;
pub(crate) mod simulate;
