//! The variant by carbon intensity, `carbon-adaptive`: large models when electricity is clean.
//!
//! After "Carbon Intensity-Aware Adaptive Inference of DNNs" (Jung). The variant served is the one
//! whose energy per answer is nearest to
//!
//! ```text
//! E_sel = E_high - (C_now - C_low) / (C_high - C_low) * (E_high - E_low)
//! ```
//!
//! The paper prints the rule the wrong way round, so that high intensity selects high energy; its text
//! and its results mean the one above. The printed one is `carbon-adaptive-printed`, to compare with.
//!
//! C_low and C_high are of "observed values for a certain period of time": what this policy itself saw
//! within a trailing window, the present value included. Added here: variants that another beats in
//! both energy and quality are passed over before E_low and E_high are taken.

#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{PolicyError, PolicyOptions};
use crate::family::{Variant, pareto_front};
use crate::foresight::Foresight;
use crate::id::FamilyName;
use crate::observation::{FamilyObservation, Observation};
use crate::policy::{Decision, Policy, Reason};
use crate::signal::Signal;
use crate::units::{CarbonIntensity, Joules};
use window::Extremes;

/// Over which time the lowest and the highest carbon intensity are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntensityWindow {
    /// What was seen in the last `window_seconds`, as in the paper.
    #[default]
    Trailing,
    /// The whole trace. Needs foresight.
    Whole,
}

/// What can be set about the choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CarbonAdaptiveOptions {
    /// Over which time the extremes are taken.
    pub window: IntensityWindow,
    /// Length of the trailing window. A day: carbon intensity has a daily pattern.
    pub window_seconds: f64,
    /// Seconds between two decisions at most.
    pub interval_seconds: f64,
}

impl Default for CarbonAdaptiveOptions {
    fn default() -> Self {
        Self { window: IntensityWindow::Trailing, window_seconds: 86_400.0, interval_seconds: 60.0 }
    }
}

impl CarbonAdaptiveOptions {
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let expected = "seconds as a number over 0";
        for (option, found) in
            [("window_seconds", self.window_seconds), ("interval_seconds", self.interval_seconds)]
        {
            if !(found.is_finite() && found > 0.0) {
                return Err(PolicyError::Option { option, found: found.to_string(), expected });
            }
        }
        Ok(())
    }
}

/// Which way the rule runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Low intensity selects large models, as the paper means it.
    LowIsLarge,
    /// High intensity selects large models, as the paper prints it.
    AsPrinted,
}

/// Chooses variants by the carbon intensity as it comes.
///
/// Until two different intensities were seen the rule gives no answer, and the active variant stays.
#[derive(Debug, Clone)]
pub struct CarbonAdaptive {
    direction: Direction,
    interval: Duration,
    families: BTreeMap<FamilyName, Vec<Variant>>,
    seen: Extremes,
    /// The extremes of the whole trace, where they count.
    whole: Option<(f64, f64)>,
}

impl CarbonAdaptive {
    /// Runs `direction` over `options.families`.
    ///
    /// # Errors
    /// When the window is the whole trace and there is no foresight of carbon intensity.
    pub fn new(direction: Direction, options: &PolicyOptions) -> Result<Self, PolicyError> {
        let settings = &options.carbon_adaptive;
        let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let whole = match settings.window {
            IntensityWindow::Trailing => None,
            IntensityWindow::Whole => {
                let extremes = options.foresight.as_ref().and_then(extremes_of);
                let what = "the whole trace of carbon intensity (window = \"whole\")";
                Some(extremes.ok_or(PolicyError::NoForesight { policy: name_of(direction), what })?)
            }
        };
        Ok(Self {
            direction,
            interval: seconds(settings.interval_seconds),
            families: options.families.clone(),
            seen: Extremes::new(seconds(settings.window_seconds)),
            whole,
        })
    }

    /// The energy per answer that the rule selects, between `low` and `high`.
    fn selected(&self, share: f64, low: Joules, high: Joules) -> Joules {
        let share = share.clamp(0.0, 1.0);
        match self.direction {
            Direction::LowIsLarge => high - (high - low) * share,
            Direction::AsPrinted => low + (high - low) * share,
        }
    }

    /// The variant of `family` to serve, and why. `share` is where the intensity stands in its range.
    fn choose(&self, family: &FamilyObservation, share: f64) -> Option<(&Variant, Joules)> {
        let known = self.families.get(&family.name)?;
        let front = pareto_front(known.iter().filter(|variant| family.variants.contains(&variant.model)));
        let (low, high) = (front.first()?.energy_joules_per_row, front.last()?.energy_joules_per_row);
        let wanted = self.selected(share, low, high);
        let distance = |variant: &Variant| (variant.energy_joules_per_row - wanted).get().abs();
        // By ascending energy, and the first of equals is taken: ties go to the lower energy.
        let nearest = front.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        Some((nearest, wanted))
    }
}

/// The lowest and the highest carbon intensity of the whole trace.
fn extremes_of(foresight: &Foresight) -> Option<(f64, f64)> {
    match foresight.carbon_intensity.as_ref()? {
        Signal::Constant(value) => Some((*value, *value)),
        Signal::Trace(trace) => {
            let values = || trace.points().iter().map(|(_, value)| *value).filter(|value| value.is_finite());
            Some((values().reduce(f64::min)?, values().reduce(f64::max)?))
        }
    }
}

const fn name_of(direction: Direction) -> &'static str {
    match direction {
        Direction::LowIsLarge => "carbon-adaptive",
        Direction::AsPrinted => "carbon-adaptive-printed",
    }
}

impl Policy for CarbonAdaptive {
    fn name(&self) -> &'static str {
        name_of(self.direction)
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        if seen.families.is_empty() {
            return Decision::keep(Reason::NoFamily, self.interval);
        }
        let known = seen.carbon_intensity.filter(|intensity| intensity.get().is_finite());
        let Some(intensity) = known else {
            return Decision::keep(Reason::NoCarbonIntensity, self.interval);
        };
        self.seen.take_in(seen.now, intensity.get());
        let (low, high) =
            self.whole.or_else(|| self.seen.range()).unwrap_or((intensity.get(), intensity.get()));
        let share = (intensity.get() - low) / (high - low);
        if !share.is_finite() {
            let flat = Reason::CarbonIntensityFlat { carbon_intensity: intensity };
            return Decision::keep(flat, self.interval);
        }
        let mut decision = Decision::nothing(self.interval);
        for family in &seen.families {
            let Some((variant, wanted_joules)) = self.choose(family, share) else {
                decision.reasons.push((None, Reason::NoVariant { family: family.name.clone() }));
                continue;
            };
            if variant.model != family.active {
                decision.variants.insert(family.name.clone(), variant.model.clone());
            }
            let reason = Reason::VariantForCarbon {
                family: family.name.clone(),
                carbon_intensity: intensity,
                carbon_intensity_low: CarbonIntensity::new(low),
                carbon_intensity_high: CarbonIntensity::new(high),
                wanted_joules,
                joules: variant.energy_joules_per_row,
            };
            decision.reasons.push((Some(variant.model.clone()), reason));
        }
        decision
    }
}
