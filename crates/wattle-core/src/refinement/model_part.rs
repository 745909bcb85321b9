//! One model: at which point it was, how busy, and how long its batches took.

use std::time::Duration;

use super::points::{DeviceStands, Point, Points};
use super::{Ratio, before, bounded};
use crate::observation::ModelObservation;
use crate::profile::Profile;
use crate::time::Timestamp;
use crate::units::Watts;

/// Readings of so long after a knob was turned tell of what was before; of longer, where batches take long.
const SETTLING: Duration = Duration::from_millis(500);
/// A batch time is a mean over so many batches, or over those of so long.
const BATCHES: u64 = 8;
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The mean batch may be so far from a whole number of rows, as a share.
const UNEVEN: f64 = 0.1;

/// One model with a profile.
#[derive(Debug, Clone)]
pub(super) struct ModelPart {
    pub(super) profile: Profile,
    pub(super) points: Points,
    pub(super) time: Ratio,
    /// Batches of the point in force that ended and count: number, time, and since when.
    batches: u64,
    batches_took: Duration,
    batches_since: Option<Timestamp>,
    /// Busy time in the last interval, over that of a saturated model; `None`: it tells nothing.
    pub(super) share: Option<f64>,
}

impl ModelPart {
    pub(super) fn new(profile: &Profile) -> Self {
        Self {
            profile: profile.clone(),
            points: Points::default(),
            time: Ratio::default(),
            batches: 0,
            batches_took: Duration::ZERO,
            batches_since: None,
            share: None,
        }
    }

    /// Takes in one interval in which the device stood at `stands`. `turned_at`: when a knob was last
    /// turned, the device's or the model's; `None`: where the knobs stand is not known.
    pub(super) fn take_in(
        &mut self,
        now: Timestamp,
        model: &ModelObservation,
        (stands, turned_at): (DeviceStands, Option<Timestamp>),
        idle: Watts,
        half_life: Duration,
    ) {
        self.share = None;
        let known = turned_at.is_some_and(|at| self.was_at_a_point(now, at, model, stands, idle));
        if known {
            self.take_in_batches(now, model, half_life);
        } else {
            self.begin_anew();
        }
    }

    fn begin_anew(&mut self) {
        (self.batches, self.batches_took, self.batches_since) = (0, Duration::ZERO, None);
    }

    /// Whether the last interval was spent at one operating point; that is then the first of `points`.
    fn was_at_a_point(
        &mut self,
        now: Timestamp,
        turned_at: Timestamp,
        model: &ModelObservation,
        stands: DeviceStands,
        idle: Watts,
    ) -> bool {
        let since = now.saturating_since(turned_at).saturating_sub(model.interval);
        if since < SETTLING || model.interval.is_zero() || model.setting.instances == 0 {
            return false;
        }
        if model.executed_batches > 0 {
            let mean = model.completed_rows as f64 / model.executed_batches as f64;
            let rows = mean.round();
            if !(rows >= 1.0 && (mean - rows).abs() <= UNEVEN * mean && rows <= f64::from(u32::MAX)) {
                return false;
            }
            let (rows, before) = (rows as u32, self.points.last().map(Point::batch_size));
            self.points.visit(rows, &model.setting, stands, &self.profile, idle);
            if before != Some(rows) {
                self.begin_anew();
            }
        }
        // Where no batch ended in the interval, it is the one before that still runs.
        let Some(point) = self.points.last().filter(|point| point.is_of(&model.setting, stands)) else {
            return false;
        };
        if point.batch_seconds.is_some_and(|seconds| since.as_secs_f64() < 2.0 * seconds) {
            return false;
        }
        let all =
            model.interval.as_secs_f64() * f64::from(model.setting.instances) * model.setting.duty_cycle;
        let share = model.busy.as_secs_f64() / all / point.saturated_share;
        if !share.is_finite() || model.setting.instances > 1 && share < super::SATURATED {
            return false;
        }
        self.share = Some(share.min(1.0));
        true
    }

    fn take_in_batches(&mut self, now: Timestamp, model: &ModelObservation, half_life: Duration) {
        if model.executed_batches == 0 {
            return;
        }
        // Those that ended first may have begun before the interval did.
        let each = model.batches_took.div_f64(model.executed_batches as f64);
        let from = *self.batches_since.get_or_insert(before(now, model.interval.max(each)));
        self.batches += model.executed_batches;
        self.batches_took += model.batches_took;
        let waited = now.saturating_since(from);
        if self.batches < BATCHES && waited < LONGEST_WAIT {
            return;
        }
        let seen = self.batches_took.as_secs_f64() / self.batches as f64;
        self.begin_anew();
        let log = self.time.log_at(from, half_life);
        let Some(point) = self.points.last_mut() else { return };
        let Some(profiled) = point.batch_seconds else { return };
        let rest = point.time * point.left_at(from, half_life);
        let ratio = seen / (profiled * bounded(log + rest).exp());
        let left = self.time.take_in(ratio, (from, now), half_life);
        point.remember(now, half_life, left, 0.0);
    }

    /// Whether more than a little has changed since it was handed over, everywhere or at the point in force.
    pub(super) fn has_moved(&self, now: Timestamp, half_life: Duration) -> bool {
        self.time.has_moved(now, half_life)
            || self.points.last().is_some_and(|point| point.has_moved(now, half_life))
    }

    /// Batch time over what the profile says, at the point in force.
    pub(super) fn time_now(&self, now: Timestamp, half_life: Duration) -> f64 {
        let rest = self.points.last().map_or(0.0, |point| point.time * point.left_at(now, half_life));
        let left = self.time.tracker.left_at(now, half_life);
        bounded(self.time.log_at(now, half_life) + rest * left).exp()
    }
}
