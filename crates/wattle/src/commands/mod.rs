//! One file a command.

pub(crate) mod runtimes;
pub(crate) mod serve;
