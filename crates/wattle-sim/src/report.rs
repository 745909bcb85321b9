//! `report.html`: what a command found, in one file that opens without a network and without a script.

mod page;
#[cfg(test)]
pub(crate) mod well_formed;

pub use page::{Block, Cell, Page, Plot, Table};
