//! Turns a device's readings into power samples, and its energy into ledger entries.
//!
//! Owned and driven by the control loop: it has no thread and no clock of its own.

mod energy_rate;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use wattle_core::carbon::CarbonAccounting;
use wattle_core::id::ModelName;
use wattle_core::ledger::{Account, Activity, LedgerEntry, MeteredInterval, PowerSplit, attribute_split};
use wattle_core::observation::PowerSample;
use wattle_core::provenance::Provenance;
use wattle_core::signal::SignalReading;
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};
use wattle_device::device::{DeviceInfo, Reading};

use crate::executor::StatsSnapshot;

pub use energy_rate::{CarbonRate, EnergyRate, Rates};

/// How long one ledger entry is.
const ENTRY_LENGTH: Duration = Duration::from_secs(1);
/// Rates are learned from entries with at least so many core-seconds: a handful of batches says little.
const LEAST_CORE_SECONDS: f64 = 0.05;
/// Weight of the latest entry in the mean of how far off requests were told.
const LATEST_WEIGHT: f64 = 0.1;

/// Keeps account of one device.
pub struct Meter {
    idle_power: Option<(Watts, Provenance)>,
    provenance: Provenance,
    accounting: CarbonAccounting,
    split: PowerSplit,
    power_error: Option<f64>,
    /// How far what requests were told was off what was booked then, as a share.
    told_off: Option<f64>,
    /// Whether the last entry was split by how hungry each model is.
    is_weighted: bool,
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
    /// A meter of the device of `info`, whose energy is split by `split`. Primes `rate` where the device says
    /// what idle and full power are, over `cores` cores. `power_error`: how far off the power source says it
    /// may be, as a share.
    pub fn new(
        info: &DeviceInfo,
        cores: u32,
        rate: &EnergyRate,
        accounting: CarbonAccounting,
        (split, power_error): (PowerSplit, Option<f64>),
    ) -> Self {
        let idle_power = split.idle_power.clone().or_else(|| info.idle_power.clone());
        let provenance = info.power_provenance.clone();
        rate.change(|rates| {
            rates.power = provenance.clone();
            if let Some((full_power, _)) = &info.full_power {
                let active = (*full_power - idle_watts(&idle_power)).max(Watts::ZERO).get();
                rates.joules_per_core_second = Some(active / f64::from(cores.max(1)));
            }
        });
        let (told_off, is_weighted) = (None, false);
        let (last, open) = (None, None);
        Self { idle_power, provenance, accounting, split, power_error, told_off, is_weighted, last, open }
    }

    /// What the device draws with nothing to do, and how that is known.
    pub fn idle_power(&self) -> Option<&(Watts, Provenance)> {
        self.idle_power.as_ref()
    }

    /// How energy is split, and whether the last entry was split by how hungry each model is.
    pub fn split(&self) -> (&PowerSplit, bool) {
        (&self.split, self.is_weighted)
    }

    /// Where the next sample begins: the time of the last reading that told anything.
    pub fn sampled_until(&self) -> Option<Timestamp> {
        self.last.as_ref().map(|reading| reading.at)
    }

    /// Takes in a reading; gives the mean power since the last one that told anything. A reading that tells
    /// neither energy nor power is passed over: the next sample covers its time, too. So is one whose figures
    /// can't be: negative, infinite or not a number.
    pub fn sample(&mut self, reading: &Reading) -> Option<PowerSample> {
        let can_be = |value: f64| value.is_finite() && value >= 0.0;
        let energy = reading.energy.filter(|energy| can_be(energy.get()));
        let power = reading.power.filter(|power| can_be(power.get()));
        if energy.is_none() && power.is_none() {
            return None;
        }
        let reading = Reading { energy, power, ..reading.clone() };
        let before = self.last.replace(reading.clone())?;
        let interval = reading.at - before.at;
        if interval.is_zero() {
            return None;
        }
        // A device without a counter, or whose counter began anew, tells power, which is taken to hold over
        // the interval.
        let counted = energy.zip(before.energy).map(|(energy, before)| energy - before);
        let drawn =
            counted.filter(|drawn| *drawn >= Joules::ZERO).or_else(|| power.map(|power| power * interval));
        if drawn.is_none() && counted.is_some() {
            tracing::warn!(
                "the device's energy counter ran backwards: what was drawn since the last reading is not known and not booked"
            );
        }
        let drawn = drawn?;
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
            rate.change(|rates| rates.power = provenance.clone());
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
        let done = done_between(&open.stats_at_start, stats);
        let interval = MeteredInterval {
            start: open.start,
            end: now,
            energy: open.energy,
            idle_power: idle_watts(&self.idle_power),
            own_share: (open.energy > Joules::ZERO).then(|| open.own_energy / open.energy),
            provenance: self.provenance.clone(),
        };
        let power = (&self.split, done.working);
        let entry = attribute_split(&interval, &activity, power, carbon_intensity, &self.accounting);
        self.learn(&entry, &done.told, rate);
        Some(entry)
    }

    /// Learns from `entry` what a core-second of each model takes, and how far off that was before.
    fn learn(&mut self, entry: &LedgerEntry, told: &BTreeMap<ModelName, Told>, rate: &EnergyRate) {
        let mut booked: BTreeMap<&ModelName, (f64, f64)> = BTreeMap::new();
        let (mut shared, mut dynamic) = (0.0, 0.0);
        for (account, of) in &entry.by_account {
            let (joules, core_seconds) = booked.entry(&account.model).or_default();
            *joules += of.energy().get();
            *core_seconds += of.core_seconds;
            shared += of.shared.get();
            dynamic += of.dynamic.get();
        }
        let core_seconds: f64 = booked.values().map(|(_, core_seconds)| core_seconds).sum();
        if core_seconds < LEAST_CORE_SECONDS {
            return;
        }
        // Held against each other as rates, so that batches that began or will end in other entries don't
        // count as error.
        let off = booked.iter().filter_map(|(model, (joules, core_seconds))| {
            let of = told.get(*model).filter(|of| of.core_seconds > 0.0)?;
            let (told, booked) = (of.joules / of.core_seconds, joules / core_seconds);
            (booked > 0.0).then(|| ((told - booked).abs() / booked * joules, *joules))
        });
        let (off, weight) = off.fold((0.0, 0.0), |(off, all), (one, joules)| (off + one, all + joules));
        if weight > 0.0 {
            let latest = off / weight;
            let mean = self.told_off.map_or(latest, |mean| mean + LATEST_WEIGHT * (latest - mean));
            self.told_off = Some(mean);
        }
        let worked = booked.iter().filter(|(_, (_, core_seconds))| *core_seconds > 0.0);
        self.is_weighted = self.split.knows_all(worked.map(|(model, _)| *model));
        let per_core = |model: &ModelName| self.split.per_core(model).map_or(0.0, Watts::get);
        let weighted: f64 =
            booked.iter().map(|(model, (_, core_seconds))| core_seconds * per_core(model)).sum();
        let by_model = if self.is_weighted {
            // Dynamic power seen over that of the profiles, which is taken to be the same for all models.
            let ratio = dynamic / weighted;
            let of = |model: &ModelName| {
                let power = self.split.per_core(model)?;
                Some((model.clone(), shared / core_seconds + ratio * power.get()))
            };
            self.split.watts_per_core.keys().filter_map(of).collect()
        } else {
            BTreeMap::new()
        };
        let uncertainty = self.told_off.map(|off| off.hypot(self.power_error.unwrap_or(0.0)));
        rate.change(|rates| {
            rates.joules_per_core_second = Some((shared + dynamic) / core_seconds);
            rates.by_model = by_model;
            rates.uncertainty = uncertainty;
        });
    }
}

/// Where idle power isn't known, none of the energy is called idle for that reason, as the status tells.
fn idle_watts(idle_power: &Option<(Watts, Provenance)>) -> Watts {
    idle_power.as_ref().map_or(Watts::ZERO, |(power, _)| *power)
}

/// What answered requests of one model were told, together.
struct Told {
    joules: f64,
    core_seconds: f64,
}

/// What was done in an interval, but for whose it was.
struct Done {
    /// How long at least one batch ran, at most: models that ran at the same time are added up.
    working: Duration,
    told: BTreeMap<ModelName, Told>,
}

fn done_between(
    before: &BTreeMap<ModelName, StatsSnapshot>,
    after: &BTreeMap<ModelName, StatsSnapshot>,
) -> Done {
    let mut done = Done { working: Duration::ZERO, told: BTreeMap::new() };
    let none = StatsSnapshot::default();
    for (name, after) in after {
        let before = before.get(name).unwrap_or(&none);
        let since = |of: fn(&StatsSnapshot) -> u64| of(after).saturating_sub(of(before));
        done.working += Duration::from_nanos(since(|stats| stats.working_nanos));
        let told = Told {
            joules: since(|stats| stats.told_nanojoules) as f64 / 1e9,
            core_seconds: since(|stats| stats.told_core_nanos) as f64 / 1e9,
        };
        done.told.insert(name.clone(), told);
    }
    done
}

/// What was done for each account between two looks at the statistics of its model, which never fall.
fn activity_between(
    before: &BTreeMap<ModelName, StatsSnapshot>,
    after: &BTreeMap<ModelName, StatsSnapshot>,
) -> BTreeMap<Account, Activity> {
    let mut activity = BTreeMap::new();
    for (name, after) in after {
        for (asker, counts) in &after.by_asker {
            let before = before.get(name).and_then(|stats| stats.by_asker.get(asker));
            let before = before.copied().unwrap_or_default();
            let of = Activity {
                core_seconds: counts.core_nanos.saturating_sub(before.core_nanos) as f64 / 1e9,
                rows: counts.rows.saturating_sub(before.rows),
                requests: counts.requests.saturating_sub(before.requests),
            };
            if of.core_seconds > 0.0 || of.requests > 0 {
                let (family, class) = (asker.family.clone(), asker.class.clone());
                activity.insert(Account { model: name.clone(), family, class }, of);
            }
        }
    }
    activity
}
