//! A device made of profiles: what its batches take and draw, with exact energy.
//!
//! The simulated device that ships and a replay both play it. Power is constant between two events (a
//! batch begins or ends, a knob turns), so energy is exact. Knows no clock: all times are given.

mod load;
mod model;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::ModelName;
use crate::knob::{DeviceKnob, DeviceSetting, KnobRange};
use crate::profile::{Profile, idle_power_of};
use crate::provenance::Basis;
use crate::time::Timestamp;
use crate::units::{Joules, Megahertz, Watts};

use load::ModelLoad;
use model::PlayedModel;

pub use load::RunToken;
pub use model::{Knobs, UnplayableProfile};

/// A batch can't be played: the smallest and the largest batch that are profiled there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutsideProfile {
    /// Rows of the smallest profiled batch.
    pub smallest: u32,
    /// Rows of the largest profiled batch.
    pub largest: u32,
}

/// A device that plays the profiles of its models.
#[derive(Debug, Clone)]
pub struct PlayedDevice {
    models: Vec<PlayedModel>,
    loads: Vec<ModelLoad>,
    idle: Watts,
    /// Drawn once while anything runs, by the parts that all models share; part of every row.
    shared_idle: Watts,
    clocks: Vec<f64>,
    units: Vec<u32>,
    knobs: Knobs,
    next_run: u64,
    runs: usize,
    /// Power since `at`.
    power: Watts,
    /// The latest event.
    at: Option<Timestamp>,
    energy: Joules,
    busy_nanos: u64,
}

impl PlayedDevice {
    /// A device that plays `profiles`, one model each.
    ///
    /// Power = idle + what each model's running batches add to it, by the model's own profile. Its knobs
    /// are those that rows differ in (core clock, compute units), each at its highest at first. Rows with
    /// a duty cycle below 1 are not played: idle injection is the executor's to do.
    ///
    /// # Errors
    /// Where the profiles leave open what the device would do.
    pub fn new(profiles: &BTreeMap<ModelName, Profile>) -> Result<Self, UnplayableProfile> {
        let idle = idle_power_of(profiles.values()).ok_or(UnplayableProfile::NoIdlePower)?;
        let mut models = Vec::new();
        for (name, profile) in profiles {
            models.push(PlayedModel::new(name.clone(), profile)?);
        }
        let nothing_shared = |column| UnplayableProfile::NothingShared { column };
        let clocks = shared(models.iter().map(|model| model.clocks.as_slice()))
            .ok_or_else(|| nothing_shared("core_clock_mhz"))?;
        let units = shared(models.iter().map(|model| model.units.as_slice()))
            .ok_or_else(|| nothing_shared("compute_units"))?;
        for clock in options(&clocks) {
            for units in options(&units) {
                let knobs = Knobs { clock: clock.map(Megahertz::new), units };
                models.iter().try_for_each(|model| model.check(knobs))?;
            }
        }
        let knobs = Knobs { clock: clocks.last().copied().map(Megahertz::new), units: units.last().copied() };
        Ok(Self {
            loads: models.iter().map(|_| ModelLoad::default()).collect(),
            models,
            idle,
            shared_idle: Watts::ZERO,
            clocks,
            units,
            knobs,
            next_run: 0,
            runs: 0,
            power: idle,
            at: None,
            energy: Joules::ZERO,
            busy_nanos: 0,
        })
    }

    /// The same device, whose models share parts that draw `power` once while anything runs, such as
    /// caches and memory controllers under MIG slices: [`SharedPower::shared_idle_power`]. Each profile
    /// has it in its rows, so without it models that run side by side count it once each.
    ///
    /// No more of it counts than any row has above idle power. A model alone draws what its rows say.
    ///
    /// [`SharedPower::shared_idle_power`]: crate::shared_power::SharedPower::shared_idle_power
    pub fn with_shared_idle(mut self, power: Watts) -> Self {
        let least = self.models.iter().filter_map(|model| model.least_above(self.idle)).reduce(Watts::min);
        self.shared_idle = power.min(least.unwrap_or(Watts::ZERO)).max(Watts::ZERO);
        self
    }

    /// The index by which `model` is named in the calls below; `None` where it has no profile here.
    pub fn index_of(&self, model: &str) -> Option<usize> {
        self.models.iter().position(|played| played.model.as_str() == model)
    }

    /// The models, in the order of their indexes.
    pub fn models(&self) -> impl Iterator<Item = &ModelName> {
        self.models.iter().map(|model| &model.model)
    }

    /// What it draws with nothing to do.
    pub fn idle_power(&self) -> Watts {
        self.idle
    }

    /// What the parts that its models share draw once while anything runs.
    pub fn shared_idle_power(&self) -> Watts {
        self.shared_idle
    }

    /// The most it draws, with every model at its hungriest.
    pub fn full_power(&self) -> Watts {
        let floor = self.floor();
        floor + self.models.iter().map(|model| model.most_above(floor)).sum()
    }

    /// The worst way in which a power figure of its profiles is known.
    pub fn power_basis(&self) -> Option<Basis> {
        self.models.iter().map(|model| model.power_basis).max()
    }

    /// The knobs it has: those that rows of its profiles differ in.
    pub fn knob_ranges(&self) -> Vec<KnobRange> {
        let units: Vec<f64> = self.units.iter().copied().map(f64::from).collect();
        let knobs = [(DeviceKnob::ComputeUnits, units), (DeviceKnob::CoreClock, self.clocks.clone())];
        let range = |(knob, steps): (DeviceKnob, Vec<f64>)| {
            Some(KnobRange { knob, min: *steps.first()?, max: *steps.last()?, steps })
        };
        knobs.into_iter().filter_map(range).collect()
    }

    /// Where its knobs stand.
    pub fn knobs(&self) -> Knobs {
        self.knobs
    }

    /// The knobs with `setting` made, its value one of the steps. A knob that is not here is left out.
    pub fn knobs_with(&self, setting: DeviceSetting) -> Knobs {
        match setting {
            DeviceSetting::CoreClock(clock) if !self.clocks.is_empty() => {
                Knobs { clock: Some(clock), ..self.knobs }
            }
            DeviceSetting::ComputeUnits(units) if !self.units.is_empty() => {
                Knobs { units: Some(units), ..self.knobs }
            }
            _ => self.knobs,
        }
    }

    /// Turns the knobs at the latest event's time. Batches that run keep their latency, not their power.
    /// Values that are no steps of the knobs are refused: nothing is turned, and the answer is `false`.
    pub fn turn(&mut self, knobs: Knobs) -> bool {
        let has = |knobs: Knobs| {
            knobs.clock.is_none_or(|clock| self.clocks.contains(&clock.get()))
                && knobs.units.is_none_or(|units| self.units.contains(&units))
                && knobs.clock.is_some() != self.clocks.is_empty()
                && knobs.units.is_some() != self.units.is_empty()
        };
        if !has(knobs) {
            return false;
        }
        self.knobs = knobs;
        for model in 0..self.models.len() {
            self.loads[model].forget_curves();
            self.weigh(model);
        }
        true
    }

    /// The smallest and largest batch of `model` that is profiled for `instances` side by side of `cores`
    /// threads, with the knobs as they stand.
    pub fn batch_sizes(&self, model: usize, cores: u32, instances: u32) -> (u32, u32) {
        let played = &self.models[model];
        played.batch_sizes(played.curve(cores, instances.max(1), self.knobs))
    }

    /// What `instances` batches of `batch_size` rows that run without pause take and draw: latency of a
    /// batch, and power of the whole device when nothing else runs. Sizes outside the profile are taken
    /// for the nearest in it.
    pub fn steady(&self, model: usize, batch_size: u32, cores: u32, instances: u32) -> (Duration, Watts) {
        let played = &self.models[model];
        let instances = instances.max(1);
        let curve = played.curve(cores, instances, self.knobs);
        let plays = played.play_nearest(batch_size, instances, curve);
        let floor = self.floor();
        (plays.latency(), floor + plays.share_above(floor) * f64::from(instances))
    }

    /// A batch of `rows` rows of `model` starts at `now` on at most `cores` compute threads, which matter
    /// only where the profile tells `cores_per_instance`. Gives how long it takes.
    ///
    /// The latency is that of the batches running and the knobs as they stand now; what changes later
    /// changes the power, not the latency of what runs already.
    ///
    /// # Errors
    /// Where the profile doesn't tell. Nothing then runs.
    pub fn begin(
        &mut self,
        model: usize,
        rows: u32,
        cores: u32,
        now: Timestamp,
    ) -> Result<(RunToken, Duration), OutsideProfile> {
        let curve = self.curve_of_next(model, cores);
        let running = self.loads[model].running() + 1;
        let plays = self.models[model].play(rows, running, curve);
        let plays = plays.map_err(|(smallest, largest)| OutsideProfile { smallest, largest })?;
        Ok((self.start(model, rows, cores, now), plays.latency()))
    }

    /// As [`begin`](Self::begin), with a batch outside the profile taken for the nearest in it. The
    /// last of the answer tells whether that was so.
    pub fn begin_nearest(
        &mut self,
        model: usize,
        rows: u32,
        cores: u32,
        now: Timestamp,
    ) -> (RunToken, Duration, bool) {
        let curve = self.curve_of_next(model, cores);
        let running = self.loads[model].running() + 1;
        let played = &self.models[model];
        let (plays, is_outside) = match played.play(rows, running, curve) {
            Ok(plays) => (plays, false),
            Err(_) => (played.play_nearest(rows, running, curve), true),
        };
        (self.start(model, rows, cores, now), plays.latency(), is_outside)
    }

    /// The batch of `token` stopped at `now`, finished or not.
    pub fn end(&mut self, token: RunToken, now: Timestamp) {
        self.advance(now);
        let model = token.model();
        if self.loads[model].remove(token) {
            self.runs -= 1;
            self.weigh(model);
        }
    }

    /// Lets time pass to `now`. Time never runs backwards: threads may report a little out of order, and
    /// the later report then counts from the earlier one's time.
    pub fn advance(&mut self, now: Timestamp) {
        let Some(at) = self.at else {
            self.at = Some(now);
            return;
        };
        // By hand, as a replay does this twice for each batch, and durations are slow.
        let elapsed = now.as_nanos().saturating_sub(at.as_nanos());
        self.energy += Joules::new(self.power.get() * (elapsed as f64 / 1e9));
        if self.runs > 0 {
            self.busy_nanos += elapsed;
        }
        self.at = Some(at.max(now));
    }

    /// The latest event's time; `None` before the first.
    pub fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// Power since the latest event.
    pub fn power(&self) -> Watts {
        self.power
    }

    /// Energy drawn up to the latest event.
    pub fn energy(&self) -> Joules {
        self.energy
    }

    /// Time up to the latest event in which anything ran.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_nanos)
    }

    fn start(&mut self, model: usize, rows: u32, cores: u32, now: Timestamp) -> RunToken {
        self.advance(now);
        let token = RunToken::new(model, self.next_run);
        self.next_run += 1;
        self.runs += 1;
        self.loads[model].add(&token, rows, cores);
        self.weigh(model);
        token
    }

    fn curve_of_next(&mut self, model: usize, cores: u32) -> model::CurveIndex {
        let running = self.loads[model].running() + 1;
        self.loads[model].curve(&self.models[model], cores, running, self.knobs)
    }

    /// What it draws as soon as anything runs, whatever that is.
    fn floor(&self) -> Watts {
        self.idle + self.shared_idle
    }

    /// Works out anew what `model` adds to the power, and the sum.
    fn weigh(&mut self, model: usize) {
        let floor = self.floor();
        self.loads[model].weigh(&self.models[model], floor, self.knobs);
        let base = if self.runs > 0 { floor } else { self.idle };
        self.power = base + self.loads.iter().map(ModelLoad::above_floor).sum();
    }
}

/// The values that all non-empty `lists` share, in their order; `None` where there are lists but no
/// shared value. An empty list is of a model that the knob does nothing to.
fn shared<'a, T: Copy + PartialEq + 'a>(lists: impl Iterator<Item = &'a [T]>) -> Option<Vec<T>> {
    let mut lists = lists.filter(|list| !list.is_empty());
    let Some(first) = lists.next() else { return Some(Vec::new()) };
    let rest: Vec<_> = lists.collect();
    let values: Vec<_> =
        first.iter().copied().filter(|value| rest.iter().all(|list| list.contains(value))).collect();
    (!values.is_empty()).then_some(values)
}

/// Every value, or one `None` where there is no value.
fn options<T: Copy>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() { vec![None] } else { values.iter().copied().map(Some).collect() }
}
