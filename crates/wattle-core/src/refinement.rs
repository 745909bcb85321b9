//! Profiles as they are seen to be: a profile was measured once, the device runs hotter today.
//!
//! ```text
//! observation -> seen / predicted ┬─> batch time: each model's ratio ─┐
//!                                 └─> power: the device's ratio ──────┼─> refined profiles -> policy
//!                                     of both, a rest at each point ──┘
//! ```
//! Two ratios are followed: batch time, one of each model (a slower clock, another tenant of the
//! device), and power above idle, one of the device and so of all its models (heat, drift, other
//! tenants). Most of what is off is taken to be off everywhere, the rest at the operating point in force
//! alone. So a point that was not visited yet is judged by those that were, and one that is unlike the
//! others is remembered. An estimate is robust, forgets with a half-life, and is bounded, see
//! [`MOST_RATIO`].
//!
//! Evidence is what the profile tells of: batches of a size that is profiled or lies between such, and
//! all instances busy where there are several. With one instance it may be busy for a part of the time;
//! power is then mean power at that utilization, see [`power_at_utilization`]. Intervals soon after a
//! knob was turned, with a model at a point that no profile tells of, with several devices (which of them
//! a model runs on is not known) or with little to do tell nothing.
//!
//! No power is refined to more than was ever seen or profiled on the device: a device that is shared and
//! full draws no more, whatever is set.
//!
//! What is refined is computed, so its basis is **modelled** at best; power that was refined by a sensor
//! whose own figures are assumed is **assumed**. Its confidence interval is dropped. What was unknown stays
//! unknown.
//!
//! [`power_at_utilization`]: crate::load_power::power_at_utilization

mod model_part;
mod points;
mod power;
#[cfg(test)]
mod tests;
mod tracker;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::ModelName;
use crate::knob::{DeviceKnob, DeviceSetting, KnobRange};
use crate::observation::Observation;
use crate::policy::{Decision, Reason};
use crate::profile::{Profile, idle_power_of, scale};
use crate::time::Timestamp;
use crate::units::{Megahertz, Watts};
use model_part::ModelPart;
use points::DeviceStands;
use power::PowerPart;
use tracker::Tracker;
use watch::{News, Watch};

/// However far off a profile is, its figures are not taken for more than this factor of themselves, nor
/// for less than its inverse: more is likelier another program's doing, or a sensor's.
pub const MOST_RATIO: f64 = 3.0;

/// Of what is off, this share is taken to be off everywhere, the rest at the point in force.
const SHARED: f64 = 0.8;
/// Several instances count as saturated from this share of their time on.
const SATURATED: f64 = 0.9;
/// A policy is handed profiles anew when a ratio has changed by so much, as a share,
const STEP: f64 = 0.02;
/// and no sooner than so long after the last time.
const HANDED_EVERY: Duration = Duration::from_secs(1);
/// What is left of a ratio nearer to 1 than this is forgotten.
const FORGOTTEN: f64 = 0.002;

/// What can be set about refinement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RefinementOptions {
    /// Whether the policy plans with refined profiles; else with the profiles as they are.
    pub enabled: bool,
    /// Seconds in which what was learned is half forgotten.
    pub half_life_seconds: f64,
    /// A ratio this far from 1, as a share, that lasts is told of.
    pub threshold: f64,
}

impl Default for RefinementOptions {
    fn default() -> Self {
        Self { enabled: true, half_life_seconds: 30.0, threshold: 0.1 }
    }
}

/// A figure of profiles that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefinedFigure {
    /// How long a batch takes, one ratio for each model.
    BatchTime,
    /// Power above idle, one ratio for the device.
    Power,
}

impl RefinedFigure {
    /// Its name, as in labels of metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BatchTime => "batch_time",
            Self::Power => "power",
        }
    }

    /// As it stands in sentences.
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::BatchTime => "batch time",
            Self::Power => "power above idle",
        }
    }
}

/// How far off a figure is, at the points in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// Which figure.
    pub figure: RefinedFigure,
    /// Of which model; `None`: of the device, and so of all.
    pub model: Option<ModelName>,
    /// What is seen over what the profile says (modelled).
    pub ratio: f64,
    /// Whether it is beyond the threshold and was told of.
    pub is_told: bool,
}

/// One ratio: its logarithm, and the memory it rests on.
#[derive(Debug, Clone, Copy, Default)]
struct Ratio {
    log: f64,
    /// As it was last handed over.
    handed: f64,
    tracker: Tracker,
    watch: Watch,
}

impl Ratio {
    fn log_at(&self, now: Timestamp, half_life: Duration) -> f64 {
        if self.log == 0.0 {
            return 0.0;
        }
        let log = self.log * self.tracker.left_at(now, half_life);
        if log.abs() < FORGOTTEN { 0.0 } else { log }
    }

    /// Whether it is more than a little off what was handed over.
    fn has_moved(&self, now: Timestamp, half_life: Duration) -> bool {
        (self.log_at(now, half_life) - self.handed).abs() > STEP
    }

    /// It is handed over.
    fn handed(&mut self, now: Timestamp, half_life: Duration) {
        self.handed = self.log_at(now, half_life);
    }

    /// Whether there is nothing to forget.
    fn is_neutral(&self, now: Timestamp, half_life: Duration) -> bool {
        self.log_at(now, half_life) == 0.0 && self.handed == 0.0
    }

    /// What is to be told of it. What is forgotten for want of observations is no news.
    fn news(&mut self, ratio: f64, threshold: f64, now: Timestamp) -> Option<News> {
        if self.tracker.is_fresh(now) {
            return self.watch.look(ratio, threshold, now);
        }
        self.watch.pause();
        None
    }

    /// Lets it be forgotten up to the start of an observation, and takes that in. Gives the rest of the
    /// step, which is for the point in force.
    fn take_in(&mut self, ratio: f64, from_until: (Timestamp, Timestamp), half_life: Duration) -> f64 {
        let left = self.log_at(from_until.0, half_life);
        let step = self.tracker.step(ratio, from_until, half_life);
        self.log = bounded(left + SHARED * step);
        (1.0 - SHARED) * step
    }
}

fn before(now: Timestamp, interval: Duration) -> Timestamp {
    Timestamp::from_duration(now.since_start().saturating_sub(interval))
}

fn bounded(log: f64) -> f64 {
    log.clamp(-MOST_RATIO.ln(), MOST_RATIO.ln())
}

/// What is off about the profiles, and the profiles as they are seen to be.
#[derive(Debug, Clone)]
pub struct Refinement {
    options: RefinementOptions,
    half_life: Duration,
    /// Idle power of the device; `None`: no profile tells.
    idle: Option<Watts>,
    models: BTreeMap<ModelName, ModelPart>,
    power: PowerPart,
    /// Where the knobs of the device were turned to, and when.
    stands: BTreeMap<DeviceKnob, f64>,
    turned_at: Timestamp,
    /// What was last handed over, and when.
    refined: Arc<BTreeMap<ModelName, Profile>>,
    handed_at: Timestamp,
}

impl Refinement {
    /// Nothing is known yet: `profiles` are as they are.
    pub fn new(options: &RefinementOptions, profiles: &BTreeMap<ModelName, Profile>) -> Self {
        let part = |(name, profile): (&ModelName, &Profile)| (name.clone(), ModelPart::new(profile));
        Self {
            half_life: Duration::try_from_secs_f64(options.half_life_seconds).unwrap_or(Duration::MAX),
            options: options.clone(),
            idle: idle_power_of(profiles.values()),
            models: profiles.iter().map(part).collect(),
            power: PowerPart::new(profiles.values()),
            stands: BTreeMap::new(),
            turned_at: Timestamp::ZERO,
            refined: Arc::new(profiles.clone()),
            handed_at: Timestamp::ZERO,
        }
    }

    /// Takes in what was seen. Tells whether [`profiles`](Self::profiles) are others now.
    pub fn take_in(&mut self, seen: &Observation) -> bool {
        self.take_in_batches(seen);
        self.take_in_power(seen);
        self.hand_over(seen.now)
    }

    /// Notes which knobs of the device `decision` turns.
    pub fn note_turned(&mut self, decision: &Decision, now: Timestamp) {
        for setting in decision.devices.values().flatten() {
            let value = match *setting {
                DeviceSetting::CoreClock(clock) => clock.get(),
                DeviceSetting::ComputeUnits(units) => f64::from(units),
                DeviceSetting::PowerLimit(limit) => limit.get(),
            };
            self.stands.insert(setting.knob(), value);
            self.turned_at = now;
        }
    }

    /// The profiles, refined by what was known when they last changed by more than a little.
    pub fn profiles(&self) -> &Arc<BTreeMap<ModelName, Profile>> {
        &self.refined
    }

    /// How far off each figure is that was seen often enough: the device's power, then the models' batch
    /// times in the order of their names.
    pub fn drifts(&self, now: Timestamp) -> Vec<Drift> {
        let power = self.power.ratio.tracker.is_ready().then(|| Drift {
            figure: RefinedFigure::Power,
            model: None,
            ratio: self.power_now(now),
            is_told: self.power.ratio.watch.is_told(),
        });
        let times = self.models.iter().filter(|(_, part)| part.time.tracker.is_ready());
        let times = times.map(|(name, part)| Drift {
            figure: RefinedFigure::BatchTime,
            model: Some(name.clone()),
            ratio: part.time_now(now, self.half_life),
            is_told: part.time.watch.is_told(),
        });
        power.into_iter().chain(times).collect()
    }

    /// What is to be told at `now`: a ratio that went beyond the threshold and stayed there, or came back.
    pub fn news(&mut self, now: Timestamp) -> Vec<(Option<ModelName>, Reason)> {
        let (threshold, half_life) = (self.options.threshold, self.half_life);
        let mut told = Vec::new();
        let reason = |news, figure, ratio| match news {
            News::Drifted => Reason::ProfileDrift { figure, ratio, threshold },
            News::Returned => Reason::ProfileDriftOver { figure, ratio, threshold },
        };
        let power = self.power_now(now);
        if let Some(news) = self.power.ratio.news(power, threshold, now) {
            told.push((None, reason(news, RefinedFigure::Power, power)));
        }
        for (name, part) in &mut self.models {
            let ratio = part.time_now(now, half_life);
            if let Some(news) = part.time.news(ratio, threshold, now) {
                told.push((Some(name.clone()), reason(news, RefinedFigure::BatchTime, ratio)));
            }
        }
        told
    }

    /// Power above idle over what the profiles say, of what ran last.
    fn power_now(&self, now: Timestamp) -> f64 {
        let log = self.power.ratio.log_at(now, self.half_life);
        let left = self.power.ratio.tracker.left_at(now, self.half_life);
        bounded(log + self.power.rest * left).exp()
    }

    /// Where the knobs of the device stand: where they were turned to, else fully open.
    fn device_stands(&self, knobs: &[KnobRange]) -> DeviceStands {
        let of = |knob: DeviceKnob| {
            let range = knobs.iter().find(|range| range.knob == knob)?;
            let value = self.stands.get(&knob).copied().unwrap_or(range.max);
            Some((value, value >= range.max))
        };
        DeviceStands {
            clock: of(DeviceKnob::CoreClock).map(|(value, is_open)| (Megahertz::new(value), is_open)),
            units: of(DeviceKnob::ComputeUnits).map(|(value, is_open)| (value as u32, is_open)),
        }
    }

    /// Follows batch times; notes at which point each model was, and how busy.
    fn take_in_batches(&mut self, seen: &Observation) {
        let stands = match &seen.devices[..] {
            [device] => self.device_stands(&device.knobs),
            _ => DeviceStands::default(),
        };
        let (idle, half_life) = (self.idle.unwrap_or(Watts::ZERO), self.half_life);
        let is_lost = seen.devices.iter().any(|device| device.settings_failed);
        // Of a model that is not seen nothing is known.
        self.models.values_mut().for_each(|part| part.share = None);
        for model in &seen.models {
            let Some(part) = self.models.get_mut(&model.name) else { continue };
            let turned_at = (!is_lost).then(|| self.turned_at.max(model.setting_since));
            part.take_in(seen.now, model, (stands, turned_at), idle, half_life);
        }
    }

    /// Makes refined profiles anew if something changed by more than a little.
    fn hand_over(&mut self, now: Timestamp) -> bool {
        if now.saturating_since(self.handed_at) < HANDED_EVERY {
            return false;
        }
        let half_life = self.half_life;
        let has_moved = self.power.ratio.has_moved(now, half_life)
            || self.models.values().any(|part| part.has_moved(now, half_life));
        // What is off at points not visited is forgotten meanwhile.
        let is_old = now.saturating_since(self.handed_at) >= half_life;
        if !(has_moved || is_old && !self.is_neutral(now)) {
            return false;
        }
        self.handed_at = now;
        self.power.ratio.handed(now, half_life);
        for part in self.models.values_mut() {
            part.time.handed(now, half_life);
            part.points.handed(now, half_life);
        }
        let refined = self.models.iter().map(|(name, part)| (name.clone(), self.refined(part, now)));
        self.refined = Arc::new(refined.collect());
        true
    }

    fn is_neutral(&self, now: Timestamp) -> bool {
        let half_life = self.half_life;
        let is_neutral =
            |part: &ModelPart| part.time.is_neutral(now, half_life) && part.points.is_neutral(now, half_life);
        self.power.ratio.is_neutral(now, half_life) && self.models.values().all(is_neutral)
    }

    fn refined(&self, part: &ModelPart, now: Timestamp) -> Profile {
        let half_life = self.half_life;
        let (time, power) = (part.time.log_at(now, half_life), self.power.ratio.log_at(now, half_life));
        let mut profile = part.profile.clone();
        let idle = self.idle.unwrap_or(Watts::ZERO);
        for row in &mut profile.rows {
            let point = part.points.of(&row.point);
            let [time_rest, power_rest] = point.map_or([0.0; 2], |point| point.rests_at(now, half_life));
            let (time, power) = (bounded(time + time_rest).exp(), bounded(power + power_rest).exp());
            scale(row, time, (power, idle, self.power.highest));
            if power != 1.0 && row.power_known().is_some() {
                row.power_basis = row.power_basis.max(self.power.basis);
            }
        }
        if profile.rows != part.profile.rows {
            let told = format!(
                "refined online: power above idle x{:.3}, batch time x{:.3}, and what was off at single points",
                power.exp(),
                time.exp()
            );
            profile.head.notes = Some(match profile.head.notes.take() {
                Some(notes) => format!("{notes}; {told}"),
                None => told,
            });
        }
        profile
    }
}
