//! `report.html`: what a command found, in one file that opens without a network and without a script.

#[cfg(test)]
pub(crate) mod example;
mod figures;
mod number;
mod page;
mod profile_plots;
mod profile_report;
mod profile_slice;
mod run_plots;
mod run_report;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod well_formed;

pub use page::{Block, Cell, Page, Plot, Table};
pub use profile_report::{ProfileReport, profile_report};
pub use profile_slice::{ProfileView, ProfileViewError};
pub use run_report::run_report;
