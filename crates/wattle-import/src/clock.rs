//! Time stamps as files write them, and their place in universal time.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// What a time stamp is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// Milliseconds since 1970, universal time.
    At(i64),
    /// A local time that clocks jump over in spring.
    JumpedOver,
    /// No time stamp at all.
    Bad,
}

/// Reads the time stamps of one file, in the order of its lines.
///
/// A stamp with an offset or a `Z` says itself where it stands. One without is local time of `zone`, or
/// universal time where no zone is given. Of the hour that clocks repeat in autumn, the first is taken
/// unless that would step back.
pub(crate) struct Clock<'a> {
    zone: Option<&'a TimeZone>,
    latest: Option<i64>,
}

impl<'a> Clock<'a> {
    /// A reader of stamps of `zone`.
    pub(crate) fn new(zone: Option<&'a TimeZone>) -> Self {
        Self { zone, latest: None }
    }

    /// Reads one stamp.
    pub(crate) fn read(&mut self, text: &str) -> Stamp {
        let stamp = self.place(text.trim());
        if let Stamp::At(millis) = stamp {
            self.latest = self.latest.max(Some(millis));
        }
        stamp
    }

    fn place(&self, text: &str) -> Stamp {
        let text = text.replace('/', "-");
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Stamp::At(timestamp.as_millisecond());
        }
        let Ok(local) = text.parse::<DateTime>() else { return Stamp::Bad };
        let at = |offset: Offset| match offset.to_timestamp(local) {
            Ok(timestamp) => Stamp::At(timestamp.as_millisecond()),
            Err(_) => Stamp::Bad,
        };
        let Some(zone) = self.zone else { return at(Offset::UTC) };
        match zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset),
            AmbiguousOffset::Gap { .. } => Stamp::JumpedOver,
            AmbiguousOffset::Fold { before, after } => match (at(before), self.latest) {
                (Stamp::At(first), Some(latest)) if first <= latest => at(after),
                (first, _) => first,
            },
        }
    }
}

/// A time in universal time, as text.
pub(crate) fn text_of(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| "unknown".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    /// Central European Time, by its rule, so that no time zone files are needed.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn reads_the_spellings_of_the_formats() {
        let first = Stamp::At(1_577_836_800_000);
        for text in [
            "2020-01-01 00:00:00",
            "2020-01-01T00:00Z",
            "2020-01-01T00:00:00Z",
            "2020-01-01 01:00:00+01:00",
            "2020/01/01 00:00:00.000",
            "2020-01-01 00:00:00+00",
            "2020-01-01",
        ] {
            assert_eq!(Clock::new(None).read(text), first, "{text}");
        }
        for text in ["", "yesterday", "2020-13-01 00:00:00", "1609405360.3"] {
            assert_eq!(Clock::new(None).read(text), Stamp::Bad, "{text}");
        }
    }

    #[test]
    fn the_repeated_hour_of_autumn_runs_on() {
        let zone = berlin();
        let mut clock = Clock::new(Some(&zone));
        let mut seen = Vec::new();
        for text in ["2020-10-25 01:30", "2020-10-25 02:00", "2020-10-25 02:30", "2020-10-25 02:00"] {
            let Stamp::At(millis) = clock.read(text) else { panic!("{text}") };
            seen.push(millis);
        }
        let steps: Vec<i64> = seen.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(steps, [HOUR / 2; 3]);
    }

    #[test]
    fn the_hour_that_spring_jumps_over_is_told() {
        let zone = berlin();
        assert_eq!(Clock::new(Some(&zone)).read("2020-03-29 02:30:00"), Stamp::JumpedOver);
    }
}
