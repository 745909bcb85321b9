//! The tables of a ledger: what runs there were, whose energy it was, where figures are from, how much.
//!
//! A row of `entry` is a stretch of time of one run whose figures have one source. Its level is the
//! length in seconds of what it stands for: 1 as booked, 60, 3600 and 86 400 of a UTC minute, hour and day
//! rolled up. Every joule is in one row: a coarser row comes in the transaction in which the finer ones go.

/// Version of the tables below, kept as SQLite's `user_version`.
pub(crate) const VERSION: i64 = 2;

/// Tables of version 2 in SQLite.
///
/// - Text that is not told is empty, so that it can be part of a unique index.
/// - `run.next_number` is how many entries there were so far: each has a number below it.
/// - `run.accounting` is JSON; NULL where it was not recorded.
/// - `entry.number` tells seconds of a run apart; 0 in rolled-up rows.
/// - A column of grams is NULL where the intensity is not known, for all rows of its source.
/// - `unsent` are minutes that a copy elsewhere has not got yet; `revision` goes up with each entry of them.
pub(crate) const SQLITE: &str = "
CREATE TABLE run (
    run INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    started_unix_nanos INTEGER NOT NULL,
    wattle_version TEXT NOT NULL,
    host TEXT NOT NULL,
    device TEXT NOT NULL,
    cores INTEGER,
    accounting TEXT,
    next_number INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE account (
    account INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    family TEXT NOT NULL,
    class TEXT NOT NULL,
    UNIQUE (model, family, class)
) STRICT;
CREATE TABLE source (
    source INTEGER PRIMARY KEY,
    power_basis TEXT NOT NULL,
    power_source TEXT NOT NULL,
    carbon_source TEXT NOT NULL,
    zone TEXT NOT NULL,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    status TEXT NOT NULL,
    freshness TEXT NOT NULL,
    UNIQUE (power_basis, power_source, carbon_source, zone, kind, scope, status, freshness)
) STRICT;
CREATE TABLE entry (
    entry INTEGER PRIMARY KEY,
    level_seconds INTEGER NOT NULL CHECK (level_seconds IN (1, 60, 3600, 86400)),
    start_unix_nanos INTEGER NOT NULL,
    run INTEGER NOT NULL REFERENCES run,
    source INTEGER NOT NULL REFERENCES source,
    number INTEGER NOT NULL,
    covered_nanos INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    metered_joules REAL NOT NULL,
    idle_joules REAL NOT NULL,
    location_grams REAL,
    market_grams REAL,
    carbon_intensity_g_per_kwh REAL,
    carbon_intensity_min_g_per_kwh REAL,
    carbon_intensity_max_g_per_kwh REAL,
    power_max_watts REAL,
    UNIQUE (level_seconds, start_unix_nanos, run, source, number)
) STRICT;
CREATE TABLE part (
    entry INTEGER NOT NULL REFERENCES entry,
    account INTEGER NOT NULL REFERENCES account,
    dynamic_joules REAL NOT NULL,
    shared_joules REAL NOT NULL,
    location_grams REAL,
    market_grams REAL,
    rows INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    core_seconds REAL NOT NULL,
    PRIMARY KEY (entry, account)
) STRICT, WITHOUT ROWID;
CREATE TABLE unsent (
    minute_unix_seconds INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT;
";

/// The same tables in PostgreSQL, all but what is of one file only: `run.next_number` and `unsent`.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: &str = "
CREATE TABLE IF NOT EXISTS ledger_version (version BIGINT PRIMARY KEY);
INSERT INTO ledger_version SELECT 2 WHERE NOT EXISTS (SELECT 1 FROM ledger_version);
CREATE TABLE IF NOT EXISTS run (
    run BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    started_unix_nanos BIGINT NOT NULL,
    wattle_version TEXT NOT NULL,
    host TEXT NOT NULL,
    device TEXT NOT NULL,
    cores BIGINT,
    accounting TEXT
);
CREATE TABLE IF NOT EXISTS account (
    account BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model TEXT NOT NULL,
    family TEXT NOT NULL,
    class TEXT NOT NULL,
    UNIQUE (model, family, class)
);
CREATE TABLE IF NOT EXISTS source (
    source BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    power_basis TEXT NOT NULL,
    power_source TEXT NOT NULL,
    carbon_source TEXT NOT NULL,
    zone TEXT NOT NULL,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    status TEXT NOT NULL,
    freshness TEXT NOT NULL,
    UNIQUE (power_basis, power_source, carbon_source, zone, kind, scope, status, freshness)
);
CREATE TABLE IF NOT EXISTS entry (
    entry BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    level_seconds BIGINT NOT NULL CHECK (level_seconds IN (1, 60, 3600, 86400)),
    start_unix_nanos BIGINT NOT NULL,
    run BIGINT NOT NULL REFERENCES run,
    source BIGINT NOT NULL REFERENCES source,
    number BIGINT NOT NULL,
    covered_nanos BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    metered_joules DOUBLE PRECISION NOT NULL,
    idle_joules DOUBLE PRECISION NOT NULL,
    location_grams DOUBLE PRECISION,
    market_grams DOUBLE PRECISION,
    carbon_intensity_g_per_kwh DOUBLE PRECISION,
    carbon_intensity_min_g_per_kwh DOUBLE PRECISION,
    carbon_intensity_max_g_per_kwh DOUBLE PRECISION,
    power_max_watts DOUBLE PRECISION,
    UNIQUE (level_seconds, start_unix_nanos, run, source, number)
);
CREATE TABLE IF NOT EXISTS part (
    entry BIGINT NOT NULL REFERENCES entry,
    account BIGINT NOT NULL REFERENCES account,
    dynamic_joules DOUBLE PRECISION NOT NULL,
    shared_joules DOUBLE PRECISION NOT NULL,
    location_grams DOUBLE PRECISION,
    market_grams DOUBLE PRECISION,
    rows BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    core_seconds DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (entry, account)
);
";

/// How finely a row stands for time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// As booked.
    Second,
    /// A UTC minute.
    Minute,
    /// A UTC hour.
    Hour,
    /// A UTC day.
    Day,
}

impl Level {
    /// Length in seconds of what a row stands for, as in `entry.level_seconds`.
    pub(crate) const fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    /// The length in nanoseconds.
    pub(crate) const fn nanos(self) -> i64 {
        self.seconds() * NANOS
    }
}

/// Nanoseconds in a second.
pub(crate) const NANOS: i64 = 1_000_000_000;
