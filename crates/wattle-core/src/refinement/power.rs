//! Power seen over power predicted, for all that ran on the device together.

use super::{Ratio, Refinement, SATURATED, before, bounded};
use crate::observation::{DeviceObservation, Observation};
use crate::profile::{PowerFigure, Profile};
use crate::provenance::Basis;
use crate::time::Timestamp;
use crate::units::Watts;

/// What is predicted above idle must be this share of what it would be with all that ran saturated:
/// with little to do, idle power decides what is seen.
const LEAST_SHARE: f64 = 0.5;

/// The device's power.
#[derive(Debug, Clone, Copy)]
pub(super) struct PowerPart {
    pub(super) ratio: Ratio,
    /// What was off at the points in force last, weighted by what each draws.
    pub(super) rest: f64,
    /// The highest power that was ever seen or profiled.
    pub(super) highest: Watts,
    /// The least sure of what it was learned from: a figure refined by it is known no better.
    pub(super) basis: Basis,
    /// Samples missed a while: the next ones began before the interval they are told of in.
    is_behind: bool,
}

impl PowerPart {
    /// Nothing was seen yet.
    pub(super) fn new<'a>(profiles: impl Iterator<Item = &'a Profile>) -> Self {
        let powers = profiles.flat_map(|profile| &profile.rows).filter_map(|row| PowerFigure::Max.of(row));
        let highest = powers.filter(|power| power.get().is_finite()).fold(Watts::ZERO, Watts::max);
        Self { ratio: Ratio::default(), rest: 0.0, highest, basis: Basis::Measured, is_behind: false }
    }
}

/// What is predicted above idle for one interval.
#[derive(Debug, Clone, Copy, Default)]
struct Predicted {
    /// By the profiles.
    profiled: Watts,
    /// With what is off at single points.
    with_rests: Watts,
    /// By the profiles, with all that ran saturated.
    saturated: Watts,
    /// A figure above the mean stands in for one.
    is_bound: bool,
}

impl Refinement {
    /// Follows power.
    pub(super) fn take_in_power(&mut self, seen: &Observation) {
        let [device] = &seen.devices[..] else { return };
        let was_behind = std::mem::replace(&mut self.power.is_behind, device.power_samples.is_empty());
        if was_behind || device.power_samples.is_empty() {
            return;
        }
        let Some(from) = self.start_of(seen) else { return };
        let Some(drawn) = mean_of(device) else { return };
        self.power.highest = self.power.highest.max(drawn);
        let Some(predicted) = self.predicted(seen, from) else { return };
        let mut above = drawn - self.idle.unwrap_or(Watts::ZERO);
        if predicted.is_bound {
            // A mean below a maximum is as it should be.
            above = above.max(predicted.profiled);
        }
        self.power.basis = self.power.basis.max(device.power_provenance.basis);
        let half_life = self.half_life;
        let log = self.power.ratio.log_at(from, half_life);
        let ratio = above / (predicted.with_rests * log.exp());
        let rest = self.power.ratio.take_in(ratio, (from, seen.now), half_life);
        self.power.rest = 0.0;
        for part in self.models.values_mut() {
            let Some((share, point)) = part.share.zip(part.points.last_mut()) else { continue };
            let Some(of_point) = point.above_idle else { continue };
            let weight = of_point * share / predicted.profiled;
            point.remember(seen.now, half_life, 0.0, rest * weight);
            self.power.rest += point.power * weight;
        }
    }

    /// When the interval began; `None`: no model ran.
    fn start_of(&self, seen: &Observation) -> Option<Timestamp> {
        let interval = seen.models.iter().map(|model| model.interval).max()?;
        (!interval.is_zero()).then(|| before(seen.now, interval))
    }

    /// What the profiles lead to expect; `None` where they do not tell.
    fn predicted(&self, seen: &Observation, from: Timestamp) -> Option<Predicted> {
        let mut sum = Predicted::default();
        for model in seen.models.iter().filter(|model| !model.busy.is_zero() || model.running_batches > 0) {
            let part = self.models.get(&model.name)?;
            let share = part.share?;
            let point = part.points.last()?;
            let above = point.above_idle?;
            if self.idle.is_none() && share < SATURATED {
                return None; // then power at a lower load is not known
            }
            let rest = bounded(point.power * point.left_at(from, self.half_life)).exp();
            sum.profiled += above * share;
            sum.with_rests += above * (share * rest);
            sum.saturated += above;
            sum.is_bound |= point.is_bound;
        }
        (sum.profiled > Watts::ZERO && sum.profiled >= sum.saturated * LEAST_SHARE).then_some(sum)
    }
}

/// Mean of the samples; `None` where the sensor gave none, or no number.
fn mean_of(device: &DeviceObservation) -> Option<Watts> {
    let sum: Watts = device.power_samples.iter().map(|sample| sample.power).sum();
    let mean = sum / device.power_samples.len() as f64;
    mean.get().is_finite().then_some(mean)
}
