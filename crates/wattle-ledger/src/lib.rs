//! Keeps the books on disk, and reads them.

pub mod store;
