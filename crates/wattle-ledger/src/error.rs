//! What can be wrong with a ledger's file, and what to do about it.

use std::path::Path;

/// A ledger could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file can't be opened, or is damaged.
    #[error(
        "failed to open the ledger {path}: {detail}; name another file with --ledger, or leave it out with --no-ledger"
    )]
    Open {
        /// Which file.
        path: String,
        /// What the system or SQLite said.
        detail: String,
    },
    /// Another server writes to the file.
    #[error(
        "the ledger {path} is in use by another server; stop that one, or name another file with --ledger"
    )]
    InUse {
        /// Which file.
        path: String,
    },
    /// An SQLite file of something else.
    #[error(
        "{path} is an SQLite file but no ledger: found the table {table}, expected a ledger's tables or none; name another file with --ledger"
    )]
    NotALedger {
        /// Which file.
        path: String,
        /// A table that no ledger has.
        table: String,
    },
    /// The file is of a later Wattle.
    #[error(
        "the ledger {path} has schema version {found}, expected at most {known}: it is of a later Wattle; use that one, or name another file with --ledger"
    )]
    Later {
        /// Which file.
        path: String,
        /// The version that the file has.
        found: i64,
        /// The latest version that is known.
        known: i64,
    },
    /// The file is of an earlier Wattle, and may only be read.
    #[error(
        "the ledger {path} has schema version {found}, expected {known}: it is of an earlier Wattle; start `wattle serve --ledger {path}` once, which brings it up to date"
    )]
    Earlier {
        /// Which file.
        path: String,
        /// The version that the file has.
        found: i64,
        /// The version that is read.
        known: i64,
    },
    /// There is no such file.
    #[error("found no ledger at {path}; name its file with --ledger")]
    Missing {
        /// Which file.
        path: String,
    },
    /// The place of the copy is none.
    #[error("the ledger can't be copied: {detail}; expected postgres://user:password@host/database")]
    Replica {
        /// What is wrong with it.
        detail: String,
    },
    /// The file could not be read.
    #[error("failed to read the ledger {path}: {detail}; name another file with --ledger")]
    Read {
        /// Which file.
        path: String,
        /// What SQLite said, or what was found in it and what was expected.
        detail: String,
    },
}

impl LedgerError {
    /// `path` could not be opened for `detail`.
    pub(crate) fn open(path: &Path, detail: impl ToString) -> Self {
        Self::Open { path: path.display().to_string(), detail: detail.to_string() }
    }

    /// `path` could not be read for `detail`.
    pub(crate) fn read(path: &Path, detail: impl ToString) -> Self {
        Self::Read { path: path.display().to_string(), detail: detail.to_string() }
    }
}
