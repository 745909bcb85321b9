//! Tells once that a ratio has left 1 for good, and once that it is back.

use std::time::Duration;

use crate::time::Timestamp;

/// So long a ratio has to be beyond the threshold, or back, before it is told.
const LASTING: Duration = Duration::from_secs(10);
/// Back is this share of the threshold: a ratio right at it is not told over and over.
const BACK: f64 = 0.5;

/// What has become of a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It is beyond the threshold, and has been.
    Drifted,
    /// It is back near 1, and has been.
    Returned,
}

/// Watches one ratio.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Watch {
    is_told: bool,
    /// Since when it is on the other side of what was last told.
    since: Option<Timestamp>,
}

impl Watch {
    /// Whether it was last told to be beyond the threshold.
    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    /// The ratio is not known for a while: what lasted until now does not count.
    pub(super) fn pause(&mut self) {
        self.since = None;
    }

    /// Looks at `ratio` as it is `now`; a `threshold` of 0.1 is 10 % more or as much less.
    pub(super) fn look(&mut self, ratio: f64, threshold: f64, now: Timestamp) -> Option<News> {
        let off = ratio.ln().abs();
        let has_turned =
            if self.is_told { off < (BACK * threshold).ln_1p() } else { off >= threshold.ln_1p() - 1e-9 };
        if !has_turned {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_since(since) < LASTING {
            return None;
        }
        self.is_told = !self.is_told;
        self.since = None;
        Some(if self.is_told { News::Drifted } else { News::Returned })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drift_that_lasts_is_told_once_and_its_end_once() {
        let mut watch = Watch::default();
        let mut told = Vec::new();
        for tenth in 0..1200u64 {
            let second = tenth / 10;
            // A flicker, a drift, the threshold as such, and the way back.
            let ratio = match second {
                5..8 => 1.3,
                20..60 => 1.2,
                60..80 => 1.08,
                _ => 1.01,
            };
            let now = Timestamp::from_duration(Duration::from_millis(tenth * 100));
            told.extend(watch.look(ratio, 0.1, now).map(|news| (second, news)));
        }
        assert_eq!(told, [(30, News::Drifted), (90, News::Returned)]);
    }

    #[test]
    fn as_much_less_is_a_drift_too() {
        let mut watch = Watch::default();
        let at = |seconds| Timestamp::from_duration(Duration::from_secs(seconds));
        assert_eq!(watch.look(1.0 / 1.1, 0.1, at(0)), None);
        assert_eq!(watch.look(1.0 / 1.1, 0.1, at(10)), Some(News::Drifted));
    }
}
