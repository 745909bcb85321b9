//! Counts what became of each request. Every request sent is answered or failed, never neither.

use std::collections::BTreeMap;

use super::client::Outcome;

/// Requests so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Requests sent.
    pub(super) sent: u64,
    /// Answers whose class is the label.
    pub(super) correct: u64,
    /// Requests that failed, by kind.
    pub(super) failed: BTreeMap<&'static str, u64>,
    /// What was said of the last failure that is not the server being busy.
    pub(super) last_error: Option<String>,
    /// Time from sending to the answer, of each answered request.
    latencies_ms: Vec<f64>,
    is_closed: bool,
}

impl Tally {
    /// A request is sent.
    pub(super) fn sent(&mut self) {
        self.sent += 1;
    }

    /// What became of a request. Ignored once closed: it was counted as unanswered.
    pub(super) fn ended(&mut self, outcome: Outcome) {
        if self.is_closed {
            return;
        }
        match outcome {
            Outcome::Answered { is_correct, latency } => {
                self.correct += u64::from(is_correct);
                self.latencies_ms.push(latency.as_secs_f64() * 1e3);
            }
            Outcome::Failed { kind, detail } => {
                *self.failed.entry(kind).or_default() += 1;
                self.last_error = detail.or(self.last_error.take());
            }
        }
    }

    /// Counts what is still under way as failed, and takes in no more.
    pub(super) fn close(&mut self) {
        let unanswered = self.in_flight();
        self.is_closed = true;
        if unanswered > 0 {
            *self.failed.entry("unanswered_at_the_end").or_default() += unanswered;
        }
    }

    /// Requests answered.
    pub(super) fn answered(&self) -> u64 {
        self.latencies_ms.len() as u64
    }

    /// Requests that failed.
    pub(super) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> u64 {
        self.sent - self.answered() - self.failures()
    }

    /// Share of the answers that are right; `None` before the first answer.
    pub(super) fn accuracy(&self) -> Option<f64> {
        (self.answered() > 0).then(|| self.correct as f64 / self.answered() as f64)
    }

    /// Percentiles of the latencies of the answers from the `from`th on, in milliseconds.
    pub(super) fn latency_ms_since<const N: usize>(&self, from: u64, shares: [f64; N]) -> [Option<f64>; N] {
        let mut sorted = self.latencies_ms.get(from as usize..).unwrap_or_default().to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        shares.map(|share| percentile(&sorted, share))
    }
}

/// The smallest value that a `share` of all are at most (the nearest rank, nothing interpolated).
fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// As text for people: the failures by kind, most first.
pub(super) fn failures_in_words(failed: &BTreeMap<&'static str, u64>) -> String {
    let mut kinds: Vec<_> = failed.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let words: Vec<String> =
        kinds.iter().map(|(kind, count)| format!("{count} {}", kind.replace('_', " "))).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn answered(ms: u64, is_correct: bool) -> Outcome {
        Outcome::Answered { is_correct, latency: Duration::from_millis(ms) }
    }

    #[test]
    fn every_request_ends_as_answered_or_failed() {
        let mut tally = Tally::default();
        (0..6).for_each(|_| tally.sent());
        tally.ended(answered(4, true));
        tally.ended(answered(2, true));
        tally.ended(answered(9, false));
        tally.ended(Outcome::Failed { kind: "queue_full", detail: None });
        assert_eq!(tally.in_flight(), 2);
        tally.close();
        tally.ended(answered(1, true));
        assert_eq!((tally.sent, tally.answered(), tally.failures()), (6, 3, 3));
        assert_eq!(failures_in_words(&tally.failed), "2 unanswered at the end, 1 queue full");
        assert!((tally.accuracy().unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(tally.latency_ms_since(0, [0.5, 0.95]), [Some(4.0), Some(9.0)]);
        assert_eq!(tally.latency_ms_since(3, [0.5]), [None]);
    }

    #[test]
    fn percentiles_are_samples_of_the_nearest_rank() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&sorted, 0.5), Some(50.0));
        assert_eq!(percentile(&sorted, 0.95), Some(95.0));
        assert_eq!(percentile(&sorted, 0.99), Some(99.0));
        assert_eq!(percentile(&sorted[..1], 0.99), Some(1.0));
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(Tally::default().accuracy(), None);
    }
}
