//! The profiled point of most throughput under a cap: `multi-tenant`, `batching`, `combination`.
//!
//! After the three approaches of "Opportunities of Renewable Energy Powered DNN Inference"
//! (Nabavinejad, Guo): instances with batches of one (b = 1), one instance that batches (m = 1), or
//! both knobs free. Where no point fits, the model is parked. Added here: several models share the cap, a
//! violation that is seen bars what would be over it for a while, and a choice stands for a while before it
//! goes up. How far off profiles are in the long run is not learned here: see [`crate::refinement`].
//! Rows taken at other settings of the device are passed over, unless the policy may turn the device's
//! knobs and one model has the device to itself.

mod evidence;
mod model_state;
mod shares;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::candidates::{Candidate, Candidates};
use super::device_knobs::KnobHand;
use super::power_window::PowerWindow;
use crate::id::ModelName;
use crate::knob::{KnobRange, ServingChange};
use crate::observation::{ModelObservation, Observation};
use crate::operating_point::OperatingPoint;
use crate::policy::{Decision, Policy, Reason};
use crate::profile::{PowerFigure, Profile, idle_power_of};
use crate::units::Watts;
use evidence::Evidence;
use model_state::{Bounds, ModelState};
use shares::{Need, shares};

/// When to ask again: often enough to see a model wake up.
const ASK_AGAIN_IN: Duration = Duration::from_millis(250);

/// Which knobs are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approach {
    /// Instances; batches of one.
    MultiTenant,
    /// The batch size; one instance.
    Batching,
    /// Both.
    Combination,
}

impl Approach {
    fn allows(self, point: &OperatingPoint) -> bool {
        match self {
            Self::MultiTenant => point.batch_size == 1,
            Self::Batching => point.instances == 1,
            Self::Combination => true,
        }
    }

    fn candidates(self, idle: Watts, profile: &Profile, figure: PowerFigure) -> Candidates {
        Candidates::above(idle, profile, figure, |point| self.allows(point))
    }
}

/// What can be set about the choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BestUnderCapOptions {
    /// Which power figure of a row has to fit.
    pub power_figure: PowerFigure,
    /// Seconds that a choice stands before one of more power, unless the cap itself rose. A model
    /// without a request keeps its share for as long.
    pub dwell_seconds: f64,
    /// Seconds for which a point that was over the cap is barred; twice as long each time that it comes
    /// back and is over again.
    pub bar_seconds: f64,
    /// Whether the device's knobs are turned too, core clock and compute units, when it is the only
    /// device and one model alone has traffic.
    pub device_knobs: bool,
}

impl Default for BestUnderCapOptions {
    fn default() -> Self {
        Self { power_figure: PowerFigure::Max, dwell_seconds: 1.0, bar_seconds: 2.0, device_knobs: false }
    }
}

/// Chooses, for each model, the best profiled point that fits the model's share of the cap.
///
/// What the cap leaves above idle power is shared by the models with traffic, see [`shares`]. Without a
/// cap nothing is turned.
#[derive(Debug, Clone)]
pub struct BestUnderCap {
    approach: Approach,
    figure: PowerFigure,
    dwell: Duration,
    bar: Duration,
    /// Idle power of the device, as [`idle_power_of`] tells it; zero when no profile does. Zero is the
    /// safe side: each model then has to fit its share with the whole power of its rows.
    idle: Watts,
    models: BTreeMap<ModelName, ModelState>,
    window: PowerWindow,
    evidence: Evidence,
    /// The cap when last asked: samples until now were drawn under it.
    last_cap: Option<Watts>,
    /// Turns the device's knobs; `None`: left alone.
    hand: Option<KnobHand>,
}

impl BestUnderCap {
    /// Chooses among the rows of `profiles` that `approach` allows.
    pub fn new(
        approach: Approach,
        options: &BestUnderCapOptions,
        profiles: &BTreeMap<ModelName, Profile>,
    ) -> Self {
        let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let idle = idle_power_of(profiles.values()).unwrap_or(Watts::ZERO);
        let models = profiles.iter().map(|(name, profile)| {
            (name.clone(), ModelState::new(approach.candidates(idle, profile, options.power_figure)))
        });
        Self {
            approach,
            figure: options.power_figure,
            dwell: seconds(options.dwell_seconds),
            bar: seconds(options.bar_seconds),
            idle,
            models: models.collect(),
            window: PowerWindow::default(),
            evidence: Evidence::default(),
            last_cap: None,
            hand: options.device_knobs.then(KnobHand::default),
        }
    }

    fn note_traffic(&mut self, seen: &Observation) {
        for model in &seen.models {
            // A batch that runs is traffic too, however long ago it was asked for: it draws power.
            if (model.arrived_rows > 0 || model.queued_rows > 0 || model.running_batches > 0)
                && let Some(state) = self.models.get_mut(&model.name)
            {
                state.last_traffic = Some(seen.now);
            }
        }
    }

    /// Power seen over the cap, beyond doubt. The points in force are then barred.
    fn judge(&mut self, seen: &Observation, cap: Watts) -> Option<Watts> {
        // Power drawn before the cap fell was no violation.
        let judged_by = self.last_cap.replace(cap).map_or(cap, |last| last.max(cap));
        let evidence = &mut self.evidence;
        let samples = self.window.fresh().iter();
        let over = samples.filter_map(|power| evidence.take_in(*power, judged_by)).last()?;
        let (now, dwell, bar) = (seen.now, self.dwell, self.bar);
        let left = judged_by - self.idle;
        let excess = if left > Watts::ZERO { (over - self.idle) / left } else { 1.0 };
        for state in self.models.values_mut() {
            let traffic = state.has_traffic(now, dwell);
            if let Some(candidate) = state.choice.and_then(|choice| choice.candidate).filter(|_| traffic) {
                state.raise_bar(&candidate, (over, excess), now, bar);
            }
        }
        Some(over)
    }

    /// Sees to it that each model's points are those that can be set now. Tells whether one model has
    /// the device to itself, with the device's knobs to turn.
    fn prepare(&mut self, seen: &Observation) -> bool {
        let (now, dwell) = (seen.now, self.dwell);
        let has_traffic = |model: &&ModelObservation| {
            self.models.get(&model.name).is_some_and(|state| state.has_traffic(now, dwell))
        };
        let (knobs, open) = match &seen.devices[..] {
            [device] => (&device.knobs[..], device.knobs.iter().map(fully_open).collect()),
            _ => (&[][..], Vec::new()),
        };
        let sole = self.hand.is_some() && seen.models.iter().filter(has_traffic).count() == 1;
        for model in &seen.models {
            if let Some(state) = self.models.get_mut(&model.name) {
                // Knobs that are not turned stand fully open: rows taken there can be set.
                let own = sole && state.has_traffic(now, dwell);
                state.candidates.prepare(&model.limits, if own { knobs } else { &open });
            }
        }
        sole && !knobs.is_empty()
    }

    fn decide_under(&mut self, seen: &Observation, cap: Watts) -> Decision {
        self.note_traffic(seen);
        let sole = self.prepare(seen);
        let over = self.judge(seen, cap);
        self.window.roll();
        let need = |model: &ModelObservation| {
            let state = self.models.get(&model.name)?;
            let least =
                state.candidates.least_hungry().filter(|_| state.has_traffic(seen.now, self.dwell))?;
            // The front ascends in power.
            let most = state.candidates.front().last()?;
            Some(Need { least: least.dynamic, most: most.dynamic })
        };
        let needs: Vec<Need> = seen.models.iter().filter_map(need).collect();
        let mut shares = shares(cap - self.idle, &needs).into_iter();

        let mut decision = Decision::nothing(ASK_AGAIN_IN);
        let (mut moved, mut went_down, mut all_parked) = (false, false, true);
        for model in &seen.models {
            let dwell = self.dwell;
            let state = self.models.get_mut(&model.name);
            let Some(state) = state.filter(|state| !state.candidates.front().is_empty()) else {
                decision.reasons.push((Some(model.name.clone()), Reason::NoProfile));
                continue;
            };
            if !state.has_traffic(seen.now, dwell) {
                // Left alone, and free to be chosen for anew when it wakes up.
                state.choice = None;
                decision.reasons.push((Some(model.name.clone()), Reason::NoTraffic));
                continue;
            }
            let share = shares.next().unwrap_or(Watts::ZERO);
            let bounds = Bounds { cap, idle: self.idle, share, now: seen.now };
            let before = state.choice.map(|choice| choice.candidate);
            let candidate = state.choose(&bounds, dwell);
            if before != Some(candidate) {
                moved = true;
                let dynamic = |candidate: Option<Candidate>| candidate.map_or(Watts::ZERO, |c| c.dynamic);
                went_down |= before.is_none_or(|before| dynamic(candidate) < dynamic(before));
            }
            all_parked &= candidate.is_none();
            let change = match candidate {
                Some(candidate) => candidate.change,
                None => ServingChange { instances: Some(0), ..ServingChange::default() },
            };
            if let (Some(hand), Some(device), Some(candidate)) =
                (&mut self.hand, seen.devices.first(), candidate)
                && (sole || hand.has_turned())
            {
                decision.devices.extend(hand.turn(device, candidate.device));
            }
            if !change.is_noop_for(model.setting) {
                decision.serving.insert(model.name.clone(), change);
            }
            decision.reasons.push((Some(model.name.clone()), state.reason(candidate, &bounds)));
        }
        if moved {
            self.window.restart(seen, went_down);
            self.evidence = Evidence::default();
        }
        if let Some(power_watts_max) = over.filter(|_| all_parked && !moved && !needs.is_empty()) {
            decision.reasons.push((None, Reason::CapUnreachable { power_watts_max, cap_watts: cap }));
        }
        decision
    }
}

/// The knob as it stands when nobody turns it.
fn fully_open(range: &KnobRange) -> KnobRange {
    KnobRange { knob: range.knob, min: range.max, max: range.max, steps: Vec::new() }
}

impl Policy for BestUnderCap {
    fn name(&self) -> &'static str {
        match self.approach {
            Approach::MultiTenant => "multi-tenant",
            Approach::Batching => "batching",
            Approach::Combination => "combination",
        }
    }

    fn refine(&mut self, profiles: &BTreeMap<ModelName, Profile>) {
        for (name, profile) in profiles {
            if let Some(state) = self.models.get_mut(name) {
                state.refine(self.approach.candidates(self.idle, profile, self.figure));
            }
        }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        self.window.take_in(seen);
        match seen.power_cap.filter(|cap| !cap.get().is_nan()) {
            Some(cap) => self.decide_under(seen, cap),
            None => {
                self.window.roll();
                Decision::keep(Reason::NoCap, ASK_AGAIN_IN)
            }
        }
    }
}
