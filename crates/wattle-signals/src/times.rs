//! Times as sources write them, and as requests need them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use wattle_core::time::UnixTime;

/// Numbers from here on are milliseconds: as seconds it is the year 5138, as milliseconds 1973.
const FIRST_MILLISECONDS: f64 = 1e11;

/// Reads an ISO 8601 time with its offset from UTC. An error says what is wrong with it.
pub(crate) fn parse_iso(text: &str) -> Result<UnixTime, String> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(UnixTime::from_secs(time.as_second()));
    }
    if text.parse::<DateTime>().is_ok() {
        // On the day that clocks are put back, an hour would be there twice.
        return Err(format!("the time {} without its offset from UTC", shortened(text)));
    }
    Err(format!("{}, which is no time", shortened(text)))
}

/// Reads an ISO 8601 time that is UTC where it has no offset.
pub(crate) fn parse_iso_or_utc(text: &str) -> Result<UnixTime, String> {
    parse_iso(text).or_else(|error| {
        let civil = text.trim().parse::<DateTime>().map_err(|_| error.clone())?;
        let time = TimeZone::UTC.to_timestamp(civil).map_err(|_| error)?;
        Ok(UnixTime::from_secs(time.as_second()))
    })
}

/// Seconds since 1970, or milliseconds where the number is too large for seconds. `None`: no such time.
pub(crate) fn from_number(number: f64) -> Option<UnixTime> {
    let seconds = if number.abs() >= FIRST_MILLISECONDS { number / 1e3 } else { number };
    if !seconds.is_finite() {
        return None;
    }
    // The cast saturates, and what is out of range is refused right after.
    let time = Timestamp::from_second(seconds.floor() as i64).ok()?;
    Some(UnixTime::from_secs(time.as_second()))
}

/// Reads the date of an HTTP header (RFC 9110, section 5.6.7).
pub(crate) fn parse_http_date(text: &str) -> Option<UnixTime> {
    let time = rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text.trim()).ok()?;
    Some(UnixTime::from_secs(time.as_second()))
}

/// `2026-11-21T21:30:00Z`.
pub(crate) fn iso(time: UnixTime) -> String {
    Timestamp::from_second(time.as_secs())
        .map_or_else(|_| format!("{} s since 1970", time.as_secs()), |time| time.to_string())
}

/// `2026-11-21T21:30Z`, the seconds cut off.
pub(crate) fn iso_minutes(time: UnixTime) -> String {
    let text = iso(UnixTime::from_secs(time.as_secs().div_euclid(60).saturating_mul(60)));
    text.strip_suffix(":00Z").map_or(text.clone(), |minutes| format!("{minutes}Z"))
}

/// `text` of a source in quotes where it is short and plain, else only how long it is: a part of a secret
/// that it repeats could not be told from other text.
pub(crate) fn shortened(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || " -_:.+/%()".contains(letter);
    if text.len() <= 40 && text.chars().all(is_plain) {
        format!("{text:?}")
    } else {
        format!("a text of {} characters", text.chars().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_source_are_read() {
        let noon = UnixTime::from_secs(1_516_449_600);
        for text in [
            "2018-01-20T12:00Z",
            "2018-01-20T12:00:00Z",
            "2018-01-20T12:00:00.000Z",
            "2018-01-20T12:00:00.5092741+00:00",
            "2018-01-20T13:00:00+01:00",
            "2018-01-20 12:00:00Z",
        ] {
            assert_eq!(parse_iso(text), Ok(noon), "{text}");
        }
        assert_eq!(from_number(1_516_449_600.7), Some(noon));
        assert_eq!(from_number(1_516_449_600_000.0), Some(noon));
        assert_eq!(parse_http_date("Sat, 20 Jan 2018 12:00:00 GMT"), Some(noon));
        assert_eq!(
            (iso(noon).as_str(), iso_minutes(noon).as_str()),
            ("2018-01-20T12:00:00Z", "2018-01-20T12:00Z")
        );
    }

    #[test]
    fn a_time_without_offset_is_no_time_unless_it_is_said_to_be_utc() {
        // In London 01:30 is there twice on this day.
        let error = parse_iso("2023-10-29T01:30:00").unwrap_err();
        assert!(error.contains("without its offset"), "{error}");
        assert_eq!(parse_iso_or_utc("2023-10-29T01:30:00"), parse_iso("2023-10-29T01:30:00Z"));
        assert!(parse_iso_or_utc("29/10/2023").is_err());
    }

    #[test]
    fn the_hour_that_is_there_twice_is_told_apart_by_its_offset() {
        let first = parse_iso("2023-10-29T01:30:00+01:00").unwrap();
        let second = parse_iso("2023-10-29T01:30:00+00:00").unwrap();
        assert_eq!(second.as_secs() - first.as_secs(), 3600);
    }

    #[test]
    fn numbers_that_are_no_times_are_refused() {
        for number in [f64::NAN, f64::INFINITY, 1e300, -1e300] {
            assert_eq!(from_number(number), None, "{number}");
        }
    }
}
