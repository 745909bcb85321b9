//! What was seen of carbon intensity and load, by half hours, and what is expected from it.

use std::collections::VecDeque;
use std::time::Duration;

use super::price::Piece;
use crate::time::Timestamp;
use crate::units::CarbonIntensity;

/// What is seen is kept as means over so long.
pub(super) const SLOT: Duration = Duration::from_secs(1800);
const SLOTS_A_DAY: usize = 48;
const DAY: Duration = Duration::from_secs(86_400);

/// One half hour, or as much of it as was seen.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Counted from the start of the run.
    index: u64,
    seconds: f64,
    intensity_seconds: f64,
    rows: f64,
}

/// The half hours of the last days.
#[derive(Debug, Clone)]
pub(super) struct History {
    most: u64,
    slots: VecDeque<Slot>,
    /// Rows per second since the last ask, where that is known.
    rate: Option<f64>,
}

/// Time at one intensity and load, before it is known whether any load is.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    intensity: CarbonIntensity,
    seconds: f64,
    rate: f64,
}

fn index_of(at: Timestamp) -> u64 {
    at.as_nanos() / u64::try_from(SLOT.as_nanos()).unwrap_or(u64::MAX)
}

/// Which half hour of the day, for the half hour `index` of the run.
fn of_day(index: u64) -> usize {
    usize::try_from(index % SLOTS_A_DAY as u64).unwrap_or(0)
}

/// The half hours from `start` to `end` with the time in each.
fn walk(start: Timestamp, end: Timestamp) -> impl Iterator<Item = (u64, Timestamp, Duration)> {
    let mut at = start;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (index, from) = (index_of(at), at);
        let next = Timestamp::ZERO + SLOT.saturating_mul(u32::try_from(index + 1).unwrap_or(u32::MAX));
        // Past what can be counted there is one last stretch.
        at = if next > from { next.min(end) } else { end };
        Some((index, from, at - from))
    })
}

impl History {
    /// Nothing was seen yet; `days` are kept.
    pub(super) fn new(days: u32) -> Self {
        Self { most: u64::from(days) * SLOTS_A_DAY as u64, slots: VecDeque::new(), rate: None }
    }

    /// From `start` to `end` there were `rows`, at an `intensity` where that is known.
    pub(super) fn see(&mut self, start: Timestamp, end: Timestamp, intensity: Option<f64>, rows: f64) {
        let seconds = (end - start).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        self.rate = Some(rows / seconds);
        let Some(intensity) = intensity else { return };
        // Of a longer pause only the last part is of use.
        let last = index_of(end);
        let first = SLOT.saturating_mul(u32::try_from(last.saturating_sub(self.most)).unwrap_or(u32::MAX));
        for (index, _, part) in walk(start.max(Timestamp::from_duration(first)), end) {
            if self.slots.back().is_none_or(|slot| slot.index != index) {
                self.slots.push_back(Slot { index, ..Slot::default() });
            }
            if let Some(slot) = self.slots.back_mut() {
                slot.seconds += part.as_secs_f64();
                slot.intensity_seconds += intensity * part.as_secs_f64();
                slot.rows += rows * part.as_secs_f64() / seconds;
            }
        }
        while self.slots.front().is_some_and(|slot| slot.index + self.most <= last) {
            self.slots.pop_front();
        }
    }

    /// Rows per second of late; 0 where nothing is known.
    pub(super) fn rate(&self) -> f64 {
        self.rate.unwrap_or(0.0)
    }

    /// The highest carbon intensity that was seen, as a mean over half an hour.
    pub(super) fn highest(&self) -> Option<f64> {
        self.slots.iter().map(|slot| slot.intensity_seconds / slot.seconds).reduce(f64::max)
    }

    /// What is expected from `now` to `end`: first the time until the next ask in `step`, at `intensity`;
    /// then what `forecast` tells; then each half hour of the day as it was on the days seen. Half hours
    /// never seen are taken as the others were, and a load never seen as even.
    pub(super) fn expect(
        &self,
        (now, step, end): (Timestamp, Duration, Timestamp),
        intensity: CarbonIntensity,
        forecast: &[(Timestamp, CarbonIntensity)],
    ) -> Vec<Piece> {
        let next = (now + step).min(end);
        let rate = self.rate();
        let now = Stretch { intensity, seconds: (next - now).as_secs_f64(), rate };
        let mut stretches = vec![now];
        let mut by_slot: Vec<Vec<&Slot>> = vec![Vec::new(); SLOTS_A_DAY];
        for slot in &self.slots {
            if let Some(seen) = by_slot.get_mut(of_day(slot.index)) {
                seen.push(slot);
            }
        }
        let told = forecast.last().map_or(next, |(last, _)| (*last + SLOT).clamp(next, end.max(next)));
        for (index, at, length) in walk(next, told) {
            let begun = forecast.partition_point(|(from, _)| *from <= at);
            let value = begun.checked_sub(1).and_then(|last| forecast.get(last));
            let intensity = value.map_or(intensity, |(_, intensity)| *intensity);
            let seen = by_slot.get(of_day(index)).map(Vec::as_slice).unwrap_or_default();
            let seconds: f64 = seen.iter().map(|slot| slot.seconds).sum();
            let rows: f64 = seen.iter().map(|slot| slot.rows).sum();
            let rate = if seconds > 0.0 { rows / seconds } else { rate };
            stretches.push(Stretch { intensity, seconds: length.as_secs_f64(), rate });
        }
        self.repeat_days(told, end, now, &by_slot, &mut stretches);
        let is_load_known = stretches.iter().any(|stretch| stretch.rate * stretch.seconds > 0.0);
        let rows = |of: &Stretch| if is_load_known { of.seconds * of.rate } else { of.seconds };
        stretches.iter().map(|of| Piece { intensity: of.intensity, rows: rows(of) }).collect()
    }

    /// The time from `start` to `end`, each half hour of the day as it was seen; those never seen as all that
    /// was, and `now`, by how long each was.
    fn repeat_days(
        &self,
        start: Timestamp,
        end: Timestamp,
        now: Stretch,
        by_slot: &[Vec<&Slot>],
        stretches: &mut Vec<Stretch>,
    ) {
        let left = end - start;
        let days = (left.as_secs_f64() / DAY.as_secs_f64()).floor();
        let mut seconds = [days * SLOT.as_secs_f64(); SLOTS_A_DAY];
        let part = left.as_secs_f64() - days * DAY.as_secs_f64();
        for (index, _, length) in walk(start, start + Duration::from_secs_f64(part.max(0.0))) {
            if let Some(of_slot) = seconds.get_mut(of_day(index)) {
                *of_slot += length.as_secs_f64();
            }
        }
        let mut unseen = 0.0;
        for (seconds, seen) in seconds.iter().zip(by_slot) {
            if seen.is_empty() {
                unseen += seconds;
            } else {
                let all: f64 = seen.iter().map(|slot| slot.seconds).sum();
                stretches.extend(seen.iter().map(|slot| slot.stretch(seconds * slot.seconds / all)));
            }
        }
        if unseen > 0.0 {
            let all = now.seconds + self.slots.iter().map(|slot| slot.seconds).sum::<f64>();
            let part = |seconds: f64| if all > 0.0 { unseen * seconds / all } else { unseen };
            stretches.extend(self.slots.iter().map(|slot| slot.stretch(part(slot.seconds))));
            stretches.push(Stretch { seconds: part(now.seconds), ..now });
        }
    }
}

impl Slot {
    /// So many seconds that are as this half hour was.
    fn stretch(&self, seconds: f64) -> Stretch {
        let mean = CarbonIntensity::new(self.intensity_seconds / self.seconds);
        Stretch { intensity: mean, seconds, rate: self.rows / self.seconds }
    }
}
