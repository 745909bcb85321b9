//! Energy that the CPU itself counts (RAPL), by either of the kernel's two ways.
//!
//! Counts every package, and the memory (`dram`) of each package where there is a counter for it: it is
//! listed below its package but is not part of it. Never counts what is part of the package or contains
//! it (see [`powercap`] and [`perf_event`]).

pub(super) mod limit;
pub(super) mod perf_event;
pub(super) mod powercap;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};

use self::perf_event::OpenEvent;
use crate::device::{Access, DeviceError};

/// No socket and no memory zone draws as much. An energy step above it is a counter that jumped.
const WATTS_BEYOND_ANY_ZONE: Watts = Watts::new(2000.0);

/// How much later than it was told a counter may really have been read, as where this process was kept from
/// running meanwhile. A step forward has so much longer to be drawn in.
const READ_LATE: Duration = Duration::from_secs(10);

/// A package that counts nothing for so long is not counting: even asleep it draws watts, and the
/// hardware counts every millisecond. Some virtual machines show counters that stand at one figure.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// The energy counters of every package of this machine.
///
/// Must be read at least once per turn of the counter (see [`blind_after`](Self::blind_after)): turns
/// between two readings can't be told apart.
#[derive(Debug)]
pub(super) struct Rapl {
    way: &'static str,
    counters: Vec<Counter>,
    counted: Joules,
    last_read: Option<Timestamp>,
}

/// Why energy can or can't be counted, way by way. Here: the names of its counters.
#[derive(Debug)]
pub(super) struct Ways {
    pub(super) powercap: Access<String>,
    /// `None` where it was not tried, because powercap will do.
    pub(super) perf_event: Option<Access<String>>,
}

/// One energy counter.
pub(super) struct Counter {
    /// Such as `package-0`.
    name: String,
    /// The file or event it comes from.
    source: String,
    /// Reads the count.
    read: Box<dyn FnMut() -> Result<u64, DeviceError> + Send>,
    joules_per_count: f64,
    /// The count after which it starts again from 0; `None` where the kernel sees to that.
    turns_over_at: Option<u64>,
    /// The count at the last reading.
    last: u64,
    /// When it was first seen to stand at `last`.
    stands_since: Option<Timestamp>,
}

impl Rapl {
    /// Finds the counters below `sys` (usually `/sys`) and reads each once: by powercap, else by perf
    /// events, which `open_event` opens. Counting starts at the first [`read`](Self::read).
    pub(super) fn open(sys: &Path, open_event: &OpenEvent) -> (Option<Self>, Ways) {
        let (rapl, powercap) = Self::count_by("powercap", powercap::open(sys));
        if rapl.is_some() {
            return (rapl, Ways { powercap, perf_event: None });
        }
        let (rapl, perf_event) = Self::count_by("perf_event", perf_event::open(sys, open_event));
        (rapl, Ways { powercap, perf_event: Some(perf_event) })
    }

    fn count_by(way: &'static str, counters: Access<Vec<Counter>>) -> (Option<Self>, Access<String>) {
        match counters {
            Access::Here(mut counters) => {
                // Packages first, whatever the order of their files: this is how the source reads.
                counters.sort_by_key(|counter| !counter.is_package());
                let rapl = Self { way, counters, counted: Joules::ZERO, last_read: None };
                let names = rapl.names();
                (Some(rapl), Access::Here(names))
            }
            Access::Absent { because } => (None, Access::Absent { because }),
            Access::Denied { because, fix } => (None, Access::Denied { because, fix }),
            Access::Failed { because } => (None, Access::Failed { because }),
        }
    }

    fn names(&self) -> String {
        let mut names: Vec<_> = self.counters.iter().map(|counter| counter.name.as_str()).collect();
        names.dedup();
        names.join(" + ")
    }

    /// Which counters are added up, such as `RAPL package-0 + package-1 + dram by powercap`.
    pub(super) fn source(&self) -> String {
        format!("RAPL {} by {}", self.names(), self.way)
    }

    /// Each counter's name, where it comes from, and what it shows now, in joules.
    pub(super) fn each(&mut self) -> Vec<(String, String, Result<Joules, DeviceError>)> {
        let counters = self.counters.iter_mut().map(|counter| {
            let shown = (counter.read)().map(|count| counter.joules(count));
            (counter.name.clone(), counter.source.clone(), shown)
        });
        counters.collect()
    }

    /// How long may pass between two readings before a counter could have turned over unseen, if it
    /// counted as fast as none can; `None` where the counters don't turn over.
    pub(super) fn blind_after(&self) -> Option<Duration> {
        let blind = self.counters.iter().filter_map(Counter::blind_after);
        blind.min()
    }

    /// Energy since the first reading. On an error nothing is counted, and nothing is lost: the next
    /// reading catches up. After a longer time than [`blind_after`](Self::blind_after) it is the least
    /// that may have been drawn, and a warning says so.
    pub(super) fn read(&mut self, now: Timestamp) -> Result<Joules, DeviceError> {
        let counts =
            self.counters.iter_mut().map(|counter| (counter.read)()).collect::<Result<Vec<_>, _>>()?;
        let elapsed = self.last_read.map(|last_read| now - last_read);
        if let (Some(elapsed), Some(blind_after)) = (elapsed, self.blind_after())
            && elapsed > blind_after
        {
            tracing::warn!(
                seconds = elapsed.as_secs_f64(),
                blind_after_seconds = blind_after.as_secs_f64(),
                "energy counters were not read for so long that turns may have gone unseen; the least is counted"
            );
        }
        for (counter, count) in self.counters.iter_mut().zip(counts) {
            if let Some(elapsed) = elapsed {
                self.counted += counter.advance(count, elapsed);
            }
            if counter.last != count || counter.stands_since.is_none() {
                counter.stands_since = Some(now);
            }
            counter.last = count;
        }
        self.last_read = Some(self.last_read.map_or(now, |last_read| last_read.max(now)));
        Ok(self.counted)
    }

    /// The package whose counter stands still, and for how long, where one has for longer than any can.
    pub(super) fn stuck(&self) -> Option<String> {
        let last_read = self.last_read?;
        self.counters.iter().filter(|counter| counter.is_package()).find_map(|counter| {
            let still = last_read - counter.stands_since?;
            (still >= STUCK_AFTER).then(|| {
                let Counter { name, source, .. } = counter;
                format!("{name} ({source}) has counted no energy for {} s", still.as_secs())
            })
        })
    }
}

impl Counter {
    /// Reads the counter once, so that it is known to work.
    fn open(
        name: String,
        source: String,
        joules_per_count: f64,
        turns_over_at: Option<u64>,
        mut read: Box<dyn FnMut() -> Result<u64, DeviceError> + Send>,
    ) -> Result<Self, DeviceError> {
        let last = read()?;
        Ok(Self { name, source, read, joules_per_count, turns_over_at, last, stands_since: None })
    }

    fn is_package(&self) -> bool {
        self.name.starts_with("package")
    }

    fn joules(&self, count: u64) -> Joules {
        Joules::new(count as f64 * self.joules_per_count)
    }

    fn blind_after(&self) -> Option<Duration> {
        let turn = self.joules(self.turns_over_at?).get() / WATTS_BEYOND_ANY_ZONE.get();
        Some(Duration::try_from_secs_f64(turn).unwrap_or(Duration::MAX))
    }

    /// Energy between the last reading and this one, `elapsed` later. Never negative.
    ///
    /// A counter that stands lower has turned over, or was reset (suspend, a reloaded driver). Turned
    /// over is taken first; if that makes more power than any zone draws, it was reset, and what it
    /// shows has been drawn since; if that is too much as well, the counter jumped and tells nothing. So does
    /// one that went on further than any zone could, as where a virtual machine moved to another host.
    fn advance(&self, count: u64, elapsed: Duration) -> Joules {
        if let Some(step) = count.checked_sub(self.last) {
            let drawn = self.joules(step);
            if drawn <= WATTS_BEYOND_ANY_ZONE * elapsed.saturating_add(READ_LATE) {
                return drawn;
            }
            tracing::warn!(
                counter = %self.name,
                count_before = self.last,
                count,
                "an energy counter jumped ahead of all that can have been drawn; the step is not counted"
            );
            return Joules::ZERO;
        }
        let most = WATTS_BEYOND_ANY_ZONE * elapsed;
        if let Some(range) = self.turns_over_at.filter(|range| self.last <= *range) {
            let turned_over = self.joules((range - self.last).saturating_add(count));
            if turned_over <= most {
                return turned_over;
            }
        }
        let shown = self.joules(count);
        let counted = if shown <= most { shown } else { Joules::ZERO };
        tracing::warn!(
            counter = %self.name,
            count_before = self.last,
            count,
            counted_joules = counted.get(),
            "an energy counter ran backwards without turning over; some energy is not counted"
        );
        counted
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter")
            .field("name", &self.name)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
