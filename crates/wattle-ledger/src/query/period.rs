//! Stretches of UTC time that instants fall into.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use wattle_core::time::UnixTime;

use super::{Period, Span};
use crate::schema::NANOS;

/// The span of a row: from its start in nanoseconds, `level` seconds long, as booked `covered` nanoseconds.
pub(super) fn of_row(start: i64, level: i64, covered: i64) -> Span {
    let end = if level == 1 {
        start.saturating_add(covered.max(1))
    } else {
        start.saturating_add(level.saturating_mul(NANOS))
    };
    let from = start.div_euclid(NANOS);
    // The last second that it reaches into is its own.
    let to = end.saturating_add(NANOS - 1).div_euclid(NANOS).max(from + 1);
    Span { from: UnixTime::from_secs(from), to: UnixTime::from_secs(to) }
}

/// The period that a row is of: as asked for, or as long as the row where that is longer.
pub(super) fn holding(period: Period, start: i64, level: i64) -> Span {
    let at = start.div_euclid(NANOS);
    let seconds = match period {
        Period::Minute => 60,
        Period::Hour => 3600,
        Period::Day => 86_400,
        Period::Month => match month(at) {
            Some(span) => return span,
            // Out of the calendar's reach: the day is as good.
            None => 86_400,
        },
    };
    let seconds = seconds.max(level);
    let from = at.div_euclid(seconds) * seconds;
    Span { from: UnixTime::from_secs(from), to: UnixTime::from_secs(from + seconds) }
}

/// The calendar month of `at`, Unix seconds.
fn month(at: i64) -> Option<Span> {
    let first = Timestamp::from_second(at).ok()?.to_zoned(TimeZone::UTC).date().first_of_month();
    let unix = |date: jiff::civil::Date| {
        Some(UnixTime::from_secs(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()))
    };
    Some(Span { from: unix(first)?, to: unix(first.checked_add(1.month()).ok()?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins_leap_years_too() {
        // 2028-02-29 12:00 UTC.
        let span = holding(Period::Month, 1_835_438_400 * NANOS, 1);
        assert_eq!((span.from.as_secs(), span.to.as_secs()), (1_832_976_000, 1_835_481_600));
    }

    #[test]
    fn a_day_that_was_rolled_up_is_no_hour() {
        let day = 86_400 * 20_000;
        let span = holding(Period::Hour, day * NANOS, 86_400);
        assert_eq!((span.from.as_secs(), span.to.as_secs()), (day, day + 86_400));
        let span = holding(Period::Hour, (day + 3700) * NANOS, 60);
        assert_eq!((span.from.as_secs(), span.to.as_secs()), (day + 3600, day + 7200));
    }
}
