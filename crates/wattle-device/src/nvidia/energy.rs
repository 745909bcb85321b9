//! Energy of a GPU: its counter, completed and checked by power. Pure; knows no clock and no NVML.
//!
//! The counter (Volta and later) is the better source, with pitfalls: it moves about every 100 ms; on one
//! card it fell the shorter the more often it was read, by 13 % at 100 ms and by 1.6 % at 1 s (Dauner et
//! al.); on another it told 0.57 of the integrated power (ml-energy/zeus#181). So it is read once a second,
//! compared with integrated power in the first seconds, in which power counts where it is known, and given up
//! where it runs backwards, jumps or stands still. Between its readings integrated power fills in; what that
//! missed is made up for over the next seconds, so that the mean power of a short interval makes sense, too.

use std::time::Duration;

use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};

/// Time between two readings of the counter.
pub(super) const COUNTER_PERIOD: Duration = Duration::from_secs(1);
/// Shortest time over which the counter is compared with integrated power.
const CHECK_WINDOW: Duration = Duration::from_secs(2);
/// Fewest samples of power in that time.
const CHECK_SAMPLES: u32 = 5;
/// Ratios of counter to integrated power that are taken for agreement. NVML's power is off by up to 5 %,
/// and sampled a quarter of the time on some GPUs (Part-time Power Measurements, SC'24), so the band is
/// wide; 0.57, the known defect, is out of it.
const AGREEMENT: std::ops::RangeInclusive<f64> = 2.0 / 3.0..=1.5;
/// Windows in a row that must disagree: the load may have changed between two samples of one.
const CHECK_FAILURES: u32 = 2;
/// A counter that stands still for so long while power is drawn is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// More than any GPU draws.
const BEYOND_ANY_GPU: Watts = Watts::new(10_000.0);

/// Where the energy comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum EnergySource {
    /// The counter, not compared with integrated power yet.
    CounterUnchecked,
    /// The counter, which was `ratio` of integrated power over the first `window`.
    Counter {
        /// Energy by the counter over that by power.
        ratio: f64,
        /// Over how long.
        window: Duration,
    },
    /// Integrated power.
    Power {
        /// Why not the counter.
        because: String,
    },
}

/// What the counter answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum CounterReading {
    /// It was not asked: see [`EnergyMeter::is_counter_due`].
    NotAsked,
    /// Millijoules since the driver was loaded.
    At(u64),
    /// The device has none.
    Absent,
}

/// Adds up the energy of one GPU.
#[derive(Debug)]
pub(super) struct EnergyMeter {
    source: EnergySource,
    /// Energy told so far.
    told: Joules,
    /// Energy by power alone, since the first reading.
    integral: Joules,
    last: Option<(Timestamp, Option<Watts>)>,
    counter: Option<Counter>,
    /// Told too little (or, negative, too much), to be made up for over the next seconds.
    owed: Joules,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    asked_at: Timestamp,
    at_mj: u64,
    /// When it was last seen to move, and the integral then.
    moved: (Timestamp, Joules),
    /// Energy told when the counter stood at `origin_mj`.
    origin: (u64, Joules),
    check: Check,
}

/// A comparison of the counter with integrated power, under way.
#[derive(Debug, Clone, Copy)]
struct Check {
    since: Timestamp,
    from_mj: u64,
    from_integral: Joules,
    samples: u32,
    failures: u32,
}

impl EnergyMeter {
    pub(super) fn new() -> Self {
        Self {
            source: EnergySource::CounterUnchecked,
            told: Joules::ZERO,
            integral: Joules::ZERO,
            last: None,
            counter: None,
            owed: Joules::ZERO,
        }
    }

    /// Where the energy comes from, as far as is known now.
    pub(super) fn source(&self) -> &EnergySource {
        &self.source
    }

    /// Whether the counter is to be read at `now`.
    pub(super) fn is_counter_due(&self, now: Timestamp) -> bool {
        let is_counter = !matches!(self.source, EnergySource::Power { .. });
        is_counter && self.counter.is_none_or(|counter| now - counter.asked_at >= COUNTER_PERIOD)
    }

    /// Takes in one sample and gives the energy since the first. `power` is `None` where it is unknown.
    /// `None` where neither counter nor power tells the energy up to `now`: without power it is known when the
    /// counter is read, and not in between. What is given never runs backwards.
    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        power: Option<Watts>,
        counter: CounterReading,
    ) -> Option<Joules> {
        let (before, power_before) = self.last.unwrap_or((now, power));
        let elapsed = now - before;
        let now = now.max(before); // time never runs backwards here
        self.last = Some((now, power));
        // The mean of both ends: exact where power moves on a straight line.
        let drawn = power.zip(power_before).map(|(power, before)| (power + before) * 0.5 * elapsed);
        self.integral += drawn.unwrap_or(Joules::ZERO);
        if let Some(counter) = self.counter.as_mut().filter(|_| power.is_some()) {
            counter.check.samples = counter.check.samples.saturating_add(1);
        }
        self.fill_in(drawn, elapsed);
        match counter {
            CounterReading::NotAsked => {}
            CounterReading::Absent => self.give_up("the device tells no energy counter"),
            CounterReading::At(at_mj) => self.count(now, at_mj, drawn.is_some()),
        }
        let is_counted =
            matches!(counter, CounterReading::At(_)) && !matches!(self.source, EnergySource::Power { .. });
        let is_known = drawn.is_some() || is_counted;
        is_known.then_some(self.told)
    }

    /// Between two readings of the counter: power, and what is owed.
    fn fill_in(&mut self, drawn: Option<Joules>, elapsed: Duration) {
        let Some(drawn) = drawn else { return };
        let share = (elapsed.as_secs_f64() / COUNTER_PERIOD.as_secs_f64()).min(1.0);
        let told = (drawn + self.owed * share).max(Joules::ZERO);
        self.owed = self.owed - (told - drawn);
        self.told += told;
    }

    fn count(&mut self, now: Timestamp, at_mj: u64, is_power_known: bool) {
        if matches!(self.source, EnergySource::Power { .. }) {
            return;
        }
        let Some(mut counter) = self.counter else {
            let check =
                Check { since: now, from_mj: at_mj, from_integral: self.integral, samples: 0, failures: 0 };
            let moved = (now, self.integral);
            self.counter = Some(Counter { asked_at: now, at_mj, moved, origin: (at_mj, self.told), check });
            return;
        };
        let elapsed = now - counter.asked_at;
        let before_mj = counter.at_mj;
        let Some(step_mj) = at_mj.checked_sub(before_mj) else {
            return self.lose(now, at_mj, is_power_known, "ran backwards");
        };
        // A second more: the counter may have stood still before.
        if joules(step_mj) > BEYOND_ANY_GPU * (elapsed + Duration::from_secs(1)) {
            return self.lose(now, at_mj, is_power_known, "jumped by more than any GPU draws");
        }
        counter.asked_at = now;
        counter.at_mj = at_mj;
        if step_mj == 0 {
            let drawn_since = self.integral - counter.moved.1;
            self.counter = Some(counter);
            if now - counter.moved.0 >= STUCK_AFTER && drawn_since > Joules::ZERO {
                self.give_up("the energy counter stood still while power was drawn");
            }
            return;
        }
        counter.moved = (now, self.integral);
        let (origin_mj, origin) = counter.origin;
        let counted = origin + joules(at_mj.saturating_sub(origin_mj));
        if is_power_known {
            // A counter that is not compared yet may be wrong by half.
            if let EnergySource::Counter { .. } = self.source {
                self.owed = counted - self.told;
            }
        } else {
            self.told = self.told.max(counted);
            self.owed = Joules::ZERO;
        }
        self.counter = Some(counter);
        self.check(now);
    }

    /// Compares counter and integrated power, once, over the first window that is long enough.
    fn check(&mut self, now: Timestamp) {
        let Some(counter) = &mut self.counter else { return };
        let EnergySource::CounterUnchecked = self.source else { return };
        let check = &mut counter.check;
        let window = now - check.since;
        let by_power = self.integral - check.from_integral;
        if window < CHECK_WINDOW || check.samples < CHECK_SAMPLES || by_power <= Joules::ZERO {
            return;
        }
        let ratio = joules(counter.at_mj.saturating_sub(check.from_mj)) / by_power;
        if AGREEMENT.contains(&ratio) {
            self.source = EnergySource::Counter { ratio, window };
            counter.origin = (counter.at_mj, self.told);
            return;
        }
        let failures = check.failures + 1;
        *check =
            Check { since: now, from_mj: counter.at_mj, from_integral: self.integral, samples: 0, failures };
        if failures >= CHECK_FAILURES {
            self.give_up(&format!("the energy counter told {ratio:.2} of the integrated power"));
        }
    }

    /// The counter can't be trusted any more: power takes over where it is known. Where it is not, the
    /// counter counts on from where it stands, and nothing is counted for the step.
    fn lose(&mut self, now: Timestamp, at_mj: u64, is_power_known: bool, what: &str) {
        if is_power_known {
            return self.give_up(&format!("the energy counter {what}"));
        }
        tracing::warn!(at_mj, "the energy counter {what} and power is unknown; some energy is not counted");
        if let Some(counter) = &mut self.counter {
            counter.asked_at = now;
            counter.at_mj = at_mj;
            counter.moved = (now, self.integral);
            counter.origin = (at_mj, self.told);
        }
    }

    fn give_up(&mut self, because: &str) {
        self.owed = Joules::ZERO;
        self.source = EnergySource::Power { because: because.to_owned() };
    }
}

fn joules(millijoules: u64) -> Joules {
    Joules::new(millijoules as f64 * 1e-3)
}

#[cfg(test)]
mod tests;
