//! Two ways to ask: as fast as answers come (to saturate a model while it is profiled), and at the
//! times a trace says, whatever becomes of the answers (as the world does).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use wattle_core::time::Timestamp;
use wattle_server::clock::Clock;

use super::client::{Client, Outcome};
use super::day::Day;
use super::tally::Tally;

/// Most requests under way in the replay. Far more than the server's queue holds, so that it is the
/// server that says no; a bound all the same, for memory.
const MOST_IN_FLIGHT: u64 = 4096;

/// The tally, shared between the replay, its requests and those who look.
#[derive(Clone, Default)]
pub(super) struct SharedTally(Arc<Mutex<Tally>>);

impl SharedTally {
    /// A panic elsewhere leaves counts, which are still counts.
    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps `count` requests under way until dropped.
pub(super) fn saturate(client: &Client, count: usize) -> JoinSet<()> {
    let mut askers = JoinSet::new();
    for first in 0..count {
        let client = client.clone();
        askers.spawn(async move {
            let mut number = first;
            loop {
                if matches!(client.ask(number).await, Outcome::Failed { .. }) {
                    // A server that says no at once must not be asked in a tight loop.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                number += count;
            }
        });
    }
    askers
}

/// Sends requests at the day's times until `end`, never waiting for an answer.
pub(super) async fn replay(
    client: &Client,
    day: &Day,
    peak_rps: f64,
    mut arrivals: Arrivals,
    (clock, end): (Clock, Timestamp),
    tally: &SharedTally,
) {
    let mut number = 0;
    loop {
        let at = arrivals.next(peak_rps, |at| day.load(at));
        if at >= end {
            return;
        }
        let wait = clock.until(at);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let is_full = {
            let mut tally = tally.lock();
            tally.sent();
            let is_full = tally.in_flight() > MOST_IN_FLIGHT;
            if is_full {
                tally.ended(Outcome::Failed { kind: "too_many_under_way", detail: None });
            }
            is_full
        };
        if !is_full {
            let (client, tally) = (client.clone(), tally.clone());
            tokio::spawn(async move {
                let outcome = client.ask(number).await;
                tally.lock().ended(outcome);
            });
        }
        number += 1;
    }
}

/// Times of requests that come independently of each other (a Poisson process) at a rate that changes.
pub(super) struct Arrivals {
    now: Timestamp,
    random: SplitMix64,
}

impl Arrivals {
    /// Arrivals after `start`; the same for the same `seed`.
    pub(super) fn new(start: Timestamp, seed: u64) -> Self {
        Self { now: start, random: SplitMix64(seed) }
    }

    /// The next one. Drawn at the peak rate and kept with the probability of the load at its time,
    /// which is exact whatever the load does (Lewis and Shedler's thinning). A load that stays at zero
    /// gives a time an hour away.
    fn next(&mut self, peak_rps: f64, load: impl Fn(Timestamp) -> f64) -> Timestamp {
        let give_up = self.now + Duration::from_secs(3600);
        loop {
            let gap_seconds = -(1.0 - self.random.unit()).ln() / peak_rps;
            let gap = Duration::try_from_secs_f64(gap_seconds).unwrap_or(Duration::from_secs(3600));
            self.now = self.now + gap.max(Duration::from_nanos(1));
            if self.now >= give_up || self.random.unit() < load(self.now) {
                return self.now;
            }
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough luck for arrivals, the same on every machine.
struct SplitMix64(u64);

impl SplitMix64 {
    /// A number in [0, 1).
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_follow_the_load_and_the_seed() {
        let half_then_full = |at: Timestamp| if at.as_secs_f64() < 10.0 { 0.5 } else { 1.0 };
        let times = |seed| {
            let mut arrivals = Arrivals::new(Timestamp::ZERO, seed);
            let mut times = Vec::new();
            loop {
                let at = arrivals.next(1000.0, half_then_full).as_secs_f64();
                if at >= 20.0 {
                    return times;
                }
                times.push(at);
            }
        };
        let first = times(1);
        assert_eq!(first, times(1));
        assert_ne!(first, times(2));
        let early = first.iter().filter(|at| **at < 10.0).count() as f64;
        let late = first.len() as f64 - early;
        // Five standard deviations of a Poisson count.
        assert!((early - 5000.0).abs() < 5.0 * 5000_f64.sqrt(), "{early}");
        assert!((late - 10_000.0).abs() < 5.0 * 10_000_f64.sqrt(), "{late}");
    }

    #[test]
    fn no_load_is_not_searched_for_ever() {
        let at = Arrivals::new(Timestamp::ZERO, 1).next(100.0, |_| 0.0);
        assert!(at >= Timestamp::from_duration(Duration::from_secs(3600)));
    }
}
