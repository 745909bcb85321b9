//! `[ledger_retention]` and where the ledger goes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use wattle_ledger::Retention;
use wattle_ledger::store::LedgerOptions;

use crate::exit::ConfigError;

/// The ledger's file unless another is named.
const DEFAULT: &str = "wattle-ledger.sqlite";
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;
/// Days that nobody counts on: more would overflow where nanoseconds are counted.
const MOST_DAYS: u64 = 36_500;

/// How long which rows of the ledger are kept before coarser ones stand for them. Days are kept for ever.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LedgerRetention {
    /// Hours for which entries are kept as booked, about one a second.
    entries_hours: Option<u64>,
    /// Days for which minutes are kept.
    minutes_days: Option<u64>,
    /// Days for which hours are kept.
    hours_days: Option<u64>,
}

impl LedgerRetention {
    fn retention(&self) -> Result<Retention> {
        let usual = Retention::default();
        let time = |name: &str, value: Option<u64>, unit: u64, usual: Duration| match value {
            None => Ok(usual),
            Some(count) if (1..=MOST_DAYS * DAY / unit).contains(&count) => {
                Ok(Duration::from_secs(count * unit))
            }
            Some(count) => {
                bail!("ledger_retention.{name} is {count}, expected 1 to {}", MOST_DAYS * DAY / unit)
            }
        };
        let retention = Retention {
            seconds: time("entries_hours", self.entries_hours, HOUR, usual.seconds)?,
            minutes: time("minutes_days", self.minutes_days, DAY, usual.minutes)?,
            hours: time("hours_days", self.hours_days, DAY, usual.hours)?,
        };
        retention.checked().context("ledger_retention")
    }
}

/// Where the ledger goes, for how long, and where a copy goes.
pub(super) fn options(
    path: Option<PathBuf>,
    replicate_to: Option<String>,
    retention: &LedgerRetention,
) -> Result<LedgerOptions> {
    Ok(LedgerOptions {
        path: path.unwrap_or_else(|| DEFAULT.into()),
        retention: retention.retention().context(ConfigError)?,
        replicate_to,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Retention> {
        toml::from_str::<LedgerRetention>(text)?.retention()
    }

    #[test]
    fn what_is_not_set_is_as_usual_and_nonsense_is_named() {
        assert_eq!(read("").unwrap(), Retention::default());
        let week = read("entries_hours = 24").unwrap();
        assert_eq!(week, Retention { seconds: Duration::from_secs(DAY), ..Retention::default() });
        let error = |text| format!("{:#}", read(text).unwrap_err());
        assert!(
            error("minutes_days = 0").contains("ledger_retention.minutes_days is 0, expected 1 to 36500")
        );
        assert!(error("entries_hours = 999999999").contains("expected 1 to 876000"));
        assert!(
            error("entries_hours = 200").contains("seconds are kept for 720000 s and minutes for 604800 s")
        );
        assert!(error("minute_days = 3").contains("minutes_days"), "{}", error("minute_days = 3"));
    }
}
