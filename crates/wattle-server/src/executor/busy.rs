//! Core time of one model's batches, those that still run included, and whose it is: by rows.

use std::time::Duration;

use wattle_core::time::Timestamp;

/// One of a core, in the fixed point that parts of batches are counted in: what is added when a batch
/// begins is taken off exactly when it ends.
const ONE_CORE: u128 = 1 << 32;

/// What was done for one asker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AskerCounts {
    /// Core-nanoseconds of its rows' part of their batches, those that still run included.
    pub core_nanos: u64,
    /// Rows it was answered.
    pub rows: u64,
    /// Requests it was answered.
    pub requests: u64,
}

impl AskerCounts {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            core_nanos: self.core_nanos + other.core_nanos,
            rows: self.rows + other.rows,
            requests: self.requests + other.requests,
        }
    }
}

/// Core time spent computing: over all, and by the number of who asked.
#[derive(Debug, Default)]
pub(super) struct Busy {
    all: Cores,
    /// Batches that run now.
    running_batches: u32,
    /// Time in which at least one batch ran, up to the last moment at which none did.
    working: Duration,
    /// Since when at least one batch runs.
    working_since: Timestamp,
    by_asker: Vec<OfAsker>,
}

#[derive(Debug, Clone, Copy, Default)]
struct OfAsker {
    cores: Cores,
    rows: u64,
    requests: u64,
}

/// Cores that compute, and have.
#[derive(Debug, Clone, Copy, Default)]
struct Cores {
    /// Core-nanoseconds of batches that ended.
    ended: u128,
    /// Cores that compute now.
    running: u128,
    /// Sum over the batches that run of cores x start.
    started: u128,
}

impl Cores {
    fn began(&mut self, cores: u128, now: Timestamp) {
        self.running += cores;
        self.started += cores * u128::from(now.as_nanos());
    }

    fn ended(&mut self, cores: u128, began: Timestamp, now: Timestamp) {
        self.running -= cores;
        self.started -= cores * u128::from(began.as_nanos());
        self.ended += cores * now.saturating_since(began).as_nanos();
    }

    fn core_nanos(&self, now: Timestamp) -> u64 {
        let open = (self.running * u128::from(now.as_nanos())).saturating_sub(self.started);
        u64::try_from((self.ended + open) / ONE_CORE).unwrap_or(u64::MAX)
    }
}

/// A batch, as it is counted: on how many cores, and the rows of each number of asker.
pub(super) struct Load<P> {
    pub cores: u32,
    pub rows: u32,
    pub parts: P,
}

impl<P: Iterator<Item = (usize, u32)>> Load<P> {
    fn cores(&self) -> u128 {
        u128::from(self.cores) * ONE_CORE
    }

    /// The cores of each part, the same at the beginning and at the end.
    fn split(self) -> impl Iterator<Item = (usize, u128)> {
        let (cores, rows) = (self.cores(), u128::from(self.rows.max(1)));
        self.parts.map(move |(asker, own)| (asker, cores * u128::from(own) / rows))
    }
}

impl Busy {
    pub(super) fn began(&mut self, load: Load<impl Iterator<Item = (usize, u32)>>, now: Timestamp) {
        if self.running_batches == 0 {
            self.working_since = now;
        }
        self.running_batches += 1;
        self.all.began(load.cores(), now);
        for (asker, cores) in load.split() {
            self.of(asker).cores.began(cores, now);
        }
    }

    pub(super) fn ended(
        &mut self,
        load: Load<impl Iterator<Item = (usize, u32)>>,
        began: Timestamp,
        now: Timestamp,
    ) {
        self.all.ended(load.cores(), began, now);
        for (asker, cores) in load.split() {
            self.of(asker).cores.ended(cores, began, now);
        }
        self.running_batches -= 1;
        if self.running_batches == 0 {
            self.working += now.saturating_since(self.working_since);
        }
    }

    pub(super) fn answered(&mut self, parts: impl Iterator<Item = (usize, u32)>) {
        for (asker, rows) in parts {
            let of = self.of(asker);
            of.rows += u64::from(rows);
            of.requests += 1;
        }
    }

    fn of(&mut self, asker: usize) -> &mut OfAsker {
        if self.by_asker.len() <= asker {
            self.by_asker.resize(asker + 1, OfAsker::default());
        }
        &mut self.by_asker[asker]
    }

    pub(super) fn core_nanos(&self, now: Timestamp) -> u64 {
        self.all.core_nanos(now)
    }

    pub(super) fn running_batches(&self) -> u32 {
        self.running_batches
    }

    /// Nanoseconds in which at least one batch ran.
    pub(super) fn working_nanos(&self, now: Timestamp) -> u64 {
        let open =
            if self.running_batches > 0 { now.saturating_since(self.working_since) } else { Duration::ZERO };
        u64::try_from((self.working + open).as_nanos()).unwrap_or(u64::MAX)
    }

    /// By the number of who asked.
    pub(super) fn by_asker(&self, now: Timestamp) -> Vec<AskerCounts> {
        let counts = |of: &OfAsker| AskerCounts {
            core_nanos: of.cores.core_nanos(now),
            rows: of.rows,
            requests: of.requests,
        };
        self.by_asker.iter().map(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(cores: u32, parts: &[(usize, u32)]) -> Load<impl Iterator<Item = (usize, u32)>> {
        Load { cores, rows: parts.iter().map(|(_, rows)| rows).sum(), parts: parts.iter().copied() }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_batch_is_split_by_rows_while_it_runs_and_after() {
        let mut busy = Busy::default();
        let parts = [(0, 1), (3, 3)];
        busy.began(load(2, &parts), at(10));
        let core_ms = |busy: &Busy, ms| {
            busy.by_asker(at(ms)).iter().map(|of| of.core_nanos / 1_000_000).collect::<Vec<_>>()
        };
        assert_eq!((core_ms(&busy, 30), busy.working_nanos(at(30))), (vec![10, 0, 0, 30], 20_000_000));
        busy.ended(load(2, &parts), at(10), at(50));
        busy.answered(parts.into_iter());
        assert_eq!((core_ms(&busy, 90), busy.core_nanos(at(90))), (vec![20, 0, 0, 60], 80_000_000));
        assert_eq!((busy.working_nanos(at(90)), busy.running_batches()), (40_000_000, 0));
        assert_eq!((busy.by_asker(at(90))[3].rows, busy.by_asker(at(90))[3].requests), (3, 1));
    }

    proptest! {
        #[test]
        fn the_parts_of_batches_make_the_whole_at_every_moment(
            batches in proptest::collection::vec(
                (1..64u32, proptest::collection::vec((0..5usize, 1..40u32), 1..6), 0..1000u64, 0..1000u64),
                1..20,
            ),
            look in 0..2500u64,
        ) {
            let mut busy = Busy::default();
            let mut events = Vec::new();
            for (index, (_, _, start, length)) in batches.iter().enumerate() {
                events.push((*start, index, true));
                events.push((start + length + 1, index, false));
            }
            events.sort_unstable();
            for (when, index, begins) in events {
                let (cores, parts, start, _) = &batches[index];
                if when > look {
                    break;
                }
                if begins {
                    busy.began(load(*cores, parts), at(when));
                } else {
                    busy.ended(load(*cores, parts), at(*start), at(when));
                }
            }
            let parts: u64 = busy.by_asker(at(look)).iter().map(|of| of.core_nanos).sum();
            let all = busy.core_nanos(at(look));
            // Each part of a batch may lose a 2^32nd of a core, and each sum a nanosecond.
            prop_assert!(parts <= all && all - parts <= 200, "{} of {}", parts, all);
            prop_assert!(busy.working_nanos(at(look)) <= look * 1_000_000);
        }
    }
}
