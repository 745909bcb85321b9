//! Turns a device's readings into power samples, and its energy into ledger entries.
//!
//! Owned and driven by the control loop: it has no thread and no clock of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use wattle_core::carbon::CarbonAccounting;
use wattle_core::id::ModelName;
use wattle_core::ledger::{Account, Activity, LedgerEntry, MeteredInterval, attribute};
use wattle_core::observation::PowerSample;
use wattle_core::provenance::Provenance;
use wattle_core::signal::SignalReading;
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};
use wattle_device::device::{DeviceInfo, Reading};

use crate::executor::StatsSnapshot;

/// Energy of a core-second of computing, as last metered, and where it is from: what an answer is told its
/// cost by before its interval is booked. Written by the meter, read by instances, without a lock.
#[derive(Debug)]
pub struct EnergyRate {
    joules_per_core_second: AtomicU64,
    source: ArcSwap<String>,
}

impl EnergyRate {
    /// Not known yet.
    pub fn unknown() -> Self {
        Self {
            joules_per_core_second: AtomicU64::new(f64::NAN.to_bits()),
            source: ArcSwap::from_pointee("unknown".to_owned()),
        }
    }

    /// Energy of so many core-seconds, or `None` where no power is known.
    pub fn of_core_seconds(&self, core_seconds: f64) -> Option<Joules> {
        let rate = f64::from_bits(self.joules_per_core_second.load(Ordering::Relaxed));
        (!rate.is_nan()).then(|| Joules::new(rate * core_seconds))
    }

    /// How the power behind it is known, in words.
    pub fn source(&self) -> Arc<String> {
        self.source.load_full()
    }

    fn set(&self, joules_per_core_second: f64) {
        self.joules_per_core_second.store(joules_per_core_second.to_bits(), Ordering::Relaxed);
    }

    fn set_source(&self, power: &Provenance) {
        self.source.store(Arc::new(format!(
            "{power}; a request's share of it is modelled from the core time of its batch"
        )));
    }
}

/// How long one ledger entry is.
const ENTRY_LENGTH: Duration = Duration::from_secs(1);

/// Keeps account of one device.
pub struct Meter {
    idle_power: Watts,
    provenance: Provenance,
    accounting: CarbonAccounting,
    /// The last reading that told anything.
    last: Option<Reading>,
    open: Option<OpenEntry>,
}

/// The ledger entry that is being filled.
struct OpenEntry {
    start: Timestamp,
    energy: Joules,
    /// Energy-weighted, to make the share of the whole entry from those of its samples.
    own_energy: Joules,
    stats_at_start: BTreeMap<ModelName, StatsSnapshot>,
}

impl Meter {
    /// A meter of the device of `info`. Primes `rate` where the device says what idle and full power
    /// are, over `cores` cores.
    pub fn new(info: &DeviceInfo, cores: u32, rate: &EnergyRate, accounting: CarbonAccounting) -> Self {
        // Where idle power isn't known, none of the energy is called idle for that reason.
        let idle_power = info.idle_power.as_ref().map_or(Watts::ZERO, |(power, _)| *power);
        if let Some((full_power, _)) = &info.full_power {
            rate.set((*full_power - idle_power).max(Watts::ZERO).get() / f64::from(cores.max(1)));
        }
        rate.set_source(&info.power_provenance);
        let provenance = info.power_provenance.clone();
        Self { idle_power, provenance, accounting, last: None, open: None }
    }

    /// Where the next sample begins: the time of the last reading that told anything.
    pub fn sampled_until(&self) -> Option<Timestamp> {
        self.last.as_ref().map(|reading| reading.at)
    }

    /// Takes in a reading; gives the mean power since the last one that told anything. A reading that tells
    /// neither energy nor power is passed over: the next sample covers its time, too.
    pub fn sample(&mut self, reading: &Reading) -> Option<PowerSample> {
        if reading.energy.is_none() && reading.power.is_none() {
            return None;
        }
        let before = self.last.replace(reading.clone())?;
        let interval = reading.at - before.at;
        if interval.is_zero() {
            return None;
        }
        // A device without a counter tells power, which is taken to hold over the interval.
        let drawn = match (reading.energy, before.energy, reading.power) {
            (Some(energy), Some(energy_before), _) => energy - energy_before,
            (_, _, Some(power)) => power * interval,
            _ => return None,
        };
        if let Some(open) = &mut self.open {
            open.energy += drawn;
            open.own_energy += drawn * reading.own_share.unwrap_or(1.0);
        }
        Some(PowerSample { at: reading.at, power: drawn / interval })
    }

    /// Closes the open entry when it is long enough (or `at_once`), attributes it, and opens the next.
    /// `stats` are the models as of `now`, the time of the last reading: while the device can't be read or
    /// tells nothing, the entry stays open, so that no energy is booked as none. `provenance` is how the power is known by
    /// now: some drivers find that out while they read.
    pub fn book(
        &mut self,
        now: Timestamp,
        provenance: &Provenance,
        stats: &BTreeMap<ModelName, StatsSnapshot>,
        carbon_intensity: Option<SignalReading>,
        rate: &EnergyRate,
        at_once: bool,
    ) -> Option<LedgerEntry> {
        if *provenance != self.provenance {
            self.provenance = provenance.clone();
            rate.set_source(provenance);
        }
        let is_known = self.sampled_until().is_some_and(|until| until >= now);
        if !(is_known || at_once) {
            return None;
        }
        let is_due = self.open.as_ref().is_none_or(|open| at_once || now - open.start >= ENTRY_LENGTH);
        if !is_due {
            return None;
        }
        let next = OpenEntry {
            start: now,
            energy: Joules::ZERO,
            own_energy: Joules::ZERO,
            stats_at_start: stats.clone(),
        };
        let open = self.open.replace(next)?;
        if now <= open.start {
            return None;
        }
        let activity = activity_between(&open.stats_at_start, stats);
        let interval = MeteredInterval {
            start: open.start,
            end: now,
            energy: open.energy,
            idle_power: self.idle_power,
            own_share: (open.energy > Joules::ZERO).then(|| open.own_energy / open.energy),
            provenance: self.provenance.clone(),
        };
        let entry = attribute(&interval, &activity, carbon_intensity, &self.accounting);
        let core_seconds: f64 = entry.by_account.values().map(|of| of.core_seconds).sum();
        // A handful of batches says little: the rate is learned from entries with some work in them.
        if core_seconds > 0.05 {
            rate.set(entry.attributed().get() / core_seconds);
        }
        Some(entry)
    }
}

/// What each model did between two looks at its statistics, which never fall.
fn activity_between(
    before: &BTreeMap<ModelName, StatsSnapshot>,
    after: &BTreeMap<ModelName, StatsSnapshot>,
) -> BTreeMap<Account, Activity> {
    let none = StatsSnapshot::default();
    let of = |(name, after): (&ModelName, &StatsSnapshot)| {
        let before = before.get(name).unwrap_or(&none);
        let nanos = after.busy_core_nanos.saturating_sub(before.busy_core_nanos);
        let activity = Activity {
            core_seconds: nanos as f64 / 1e9,
            rows: after.completed_rows.saturating_sub(before.completed_rows),
            requests: after.completed_requests.saturating_sub(before.completed_requests),
        };
        (activity.core_seconds > 0.0 || activity.requests > 0)
            .then(|| (Account::of_model(name.clone()), activity))
    };
    after.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_core::provenance::Basis;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_duration(Duration::from_millis(ms))
    }

    fn reading(ms: u64, energy: f64) -> Reading {
        Reading {
            at: at(ms),
            energy: Some(Joules::new(energy)),
            power: None,
            own_share: None,
            utilization: None,
        }
    }

    fn known() -> Provenance {
        Provenance::new(Basis::Measured, "a test")
    }

    fn meter() -> (Meter, EnergyRate) {
        let info = DeviceInfo {
            id: "cpu".into(),
            description: String::new(),
            knobs: vec![],
            power_provenance: known(),
            idle_power: Some((Watts::new(10.0), Provenance::new(Basis::Assumed, "a test"))),
            full_power: None,
        };
        let rate = EnergyRate::unknown();
        (Meter::new(&info, 2, &rate, CarbonAccounting::default()), rate)
    }

    #[test]
    fn power_is_energy_over_the_time_between_two_readings() {
        let (mut meter, _) = meter();
        assert_eq!(meter.sample(&reading(0, 0.0)), None);
        let sample = meter.sample(&reading(100, 3.0)).unwrap();
        assert!((sample.power.get() - 30.0).abs() < 1e-9);
        assert_eq!(meter.sample(&reading(100, 3.0)), None, "no time passed, no power known");
    }

    #[test]
    fn a_reading_that_tells_nothing_is_no_power_and_loses_no_energy() {
        let (mut meter, rate) = meter();
        meter.sample(&reading(0, 0.0));
        meter.book(at(0), &known(), &BTreeMap::new(), None, &rate, false);
        let nothing = |ms| Reading { energy: None, ..reading(ms, 0.0) };
        assert_eq!(meter.sample(&nothing(100)), None);
        assert_eq!(meter.sampled_until(), Some(at(0)));
        assert_eq!(meter.sample(&nothing(1000)), None);
        assert_eq!(meter.book(at(1000), &known(), &BTreeMap::new(), None, &rate, false), None);
        let sample = meter.sample(&reading(1500, 45.0)).unwrap();
        assert!((sample.power.get() - 30.0).abs() < 1e-9);
        let entry = meter.book(at(1500), &known(), &BTreeMap::new(), None, &rate, false).unwrap();
        assert!((entry.metered.get() - 45.0).abs() < 1e-9);
    }

    #[test]
    fn an_entry_says_how_the_power_was_known_when_it_was_booked() {
        let (mut meter, rate) = meter();
        meter.sample(&reading(0, 0.0));
        meter.book(at(0), &known(), &BTreeMap::new(), None, &rate, false);
        meter.sample(&reading(1000, 30.0));
        let found_out = Provenance::new(Basis::Measured, "a counter, compared with power");
        let entry = meter.book(at(1000), &found_out, &BTreeMap::new(), None, &rate, false).unwrap();
        assert_eq!(entry.provenance, found_out);
        assert!(rate.source().starts_with("measured: a counter, compared with power; "), "{}", rate.source());
    }

    #[test]
    fn a_device_without_a_counter_is_metered_by_its_power() {
        let (mut meter, rate) = meter();
        let reading = |ms| Reading { energy: None, power: Some(Watts::new(25.0)), ..reading(ms, 0.0) };
        meter.sample(&reading(0));
        meter.book(at(0), &known(), &BTreeMap::new(), None, &rate, false);
        assert_eq!(meter.sample(&reading(1000)).unwrap().power, Watts::new(25.0));
        let entry = meter.book(at(1000), &known(), &BTreeMap::new(), None, &rate, false).unwrap();
        assert!((entry.metered.get() - 25.0).abs() < 1e-9);
    }

    #[test]
    fn an_entry_closes_after_a_second_and_its_books_close_too() {
        let (mut meter, rate) = meter();
        let name = ModelName::from("m");
        let stats = |core_nanos, executions| {
            let stats = StatsSnapshot { busy_core_nanos: core_nanos, executions, ..StatsSnapshot::default() };
            BTreeMap::from([(name.clone(), stats)])
        };
        meter.sample(&reading(0, 0.0));
        assert_eq!(meter.book(at(0), &known(), &stats(0, 0), None, &rate, false), None);
        for tick in 1..10 {
            meter.sample(&reading(tick * 100, tick as f64 * 3.0));
            assert_eq!(meter.book(at(tick * 100), &known(), &stats(0, 0), None, &rate, false), None);
        }
        meter.sample(&reading(1000, 30.0));
        let entry = meter.book(at(1000), &known(), &stats(500_000_000, 4), None, &rate, false).unwrap();
        let attributed = entry.by_account[&Account::of_model(name)].energy();
        assert!((entry.metered.get() - 30.0).abs() < 1e-9);
        assert!((attributed.get() - 20.0).abs() < 1e-9, "{attributed}");
        assert!(((attributed + entry.idle).get() - 30.0).abs() < 1e-9);
        assert!((rate.of_core_seconds(1.0).unwrap().get() - 40.0).abs() < 1e-9);
    }
}
