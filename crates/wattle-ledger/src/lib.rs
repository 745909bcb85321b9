//! Keeps the books on disk, and reads them.

pub mod check;
mod error;
mod migrate;
#[cfg(feature = "postgres")]
mod postgres;
pub mod query;
pub mod report;
mod retention;
mod rollup;
mod schema;
mod source;
pub mod store;
#[cfg(test)]
mod testing;
mod write;

pub use error::LedgerError;
pub use retention::{Retention, RetentionError};
pub use source::{CarbonSource, Source};
