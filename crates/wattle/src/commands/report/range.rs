//! From when until when: instants in UTC, or how long ago.

use anyhow::{Result, anyhow};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use wattle_core::time::UnixTime;
use wattle_ledger::report::{Range, utc};

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// That instant.
    Instant(UnixTime),
    /// So many seconds before now.
    Ago(i64),
}

/// Units of how long ago, in seconds.
const UNITS: [(char, i64); 5] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 7 * 86_400)];

/// Reads an end of a range.
pub(super) fn parse(text: &str) -> Result<At, String> {
    let expected = || {
        format!(
            "found {text:?}, expected a day such as 2026-11-01, a time such as 2026-11-01T06:00 (UTC) or \
             2026-11-01T06:00:00+01:00, or how long ago, such as 7d, 12h, 30m or 2w"
        )
    };
    if let Some((number, seconds)) =
        UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)))
        && let Ok(number) = number.parse::<u32>()
    {
        return Ok(At::Ago(i64::from(number).saturating_mul(seconds)));
    }
    let instant = |at: Timestamp| At::Instant(UnixTime::from_secs(at.as_second()));
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(instant(at));
    }
    let civil = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(|day| day.at(0, 0, 0, 0)));
    let zoned = civil.ok().and_then(|civil| civil.to_zoned(TimeZone::UTC).ok());
    zoned.map(|zoned| instant(zoned.timestamp())).ok_or_else(expected)
}

/// The range between both ends.
///
/// # Errors
/// Where it ends before it begins.
pub(super) fn of(since: Option<At>, until: Option<At>, now_unix_seconds: i64) -> Result<Range> {
    let instant = |at: At| match at {
        At::Instant(at) => at,
        At::Ago(seconds) => UnixTime::from_secs(now_unix_seconds.saturating_sub(seconds)),
    };
    let range = (since.map(instant), until.map(instant));
    if let (Some(since), Some(until)) = range
        && until <= since
    {
        return Err(anyhow!("--until is {}, expected a time after --since, {}", utc(until), utc(since)));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_times_and_how_long_ago_are_read_as_utc() {
        let at = |text| match parse(text).unwrap() {
            At::Instant(at) => at.as_secs(),
            At::Ago(seconds) => -seconds,
        };
        assert_eq!(at("2026-11-01"), 1_793_491_200);
        assert_eq!(at("2026-11-01T06:00"), 1_793_491_200 + 6 * 3600);
        assert_eq!(at("2026-11-01T06:00:00Z"), 1_793_491_200 + 6 * 3600);
        assert_eq!(at("2026-11-01T06:00:00+01:00"), 1_793_491_200 + 5 * 3600);
        assert_eq!((at("7d"), at("12h"), at("30m"), at("2w")), (-604_800, -43_200, -1800, -1_209_600));
    }

    #[test]
    fn what_is_no_time_is_told_with_what_is_one() {
        for wrong in ["", "d", "yesterday", "2026-13-01", "-7d", "7 days", "1e3d"] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains("expected a day such as 2026-11-01"), "{error}");
        }
    }

    #[test]
    fn a_range_ends_after_it_begins() {
        let range = of(Some(At::Ago(3600)), Some(At::Ago(0)), 7200).unwrap();
        assert_eq!(range, (Some(UnixTime::from_secs(3600)), Some(UnixTime::from_secs(7200))));
        let error = of(Some(At::Ago(0)), Some(At::Ago(1)), 7200).unwrap_err().to_string();
        assert!(error.contains("--until is 1970-01-01T01:59:59Z"), "{error}");
    }
}
