//! The best possible under a cap: the profiled points of most throughput together, at every instant.
//!
//! An upper bound to compare with, for replays only: it knows the cap of all times and takes the
//! profiles for the truth. No dwell, no correction, no margin. All knobs of a profile that the server
//! and the device can turn are turned, the device's included. Of each model it knows the load of the
//! next seconds; one whose load nobody can know, or that has a backlog, is taken to have as much to do
//! as it can.

mod split;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::candidates::{Candidate, Candidates, DevicePoint};
use super::device_knobs::KnobHand;
use crate::foresight::Foresight;
use crate::id::ModelName;
use crate::knob::{KnobRange, ServingChange, ServingLimits};
use crate::observation::{ModelObservation, Observation};
use crate::policy::{Decision, Policy, Reason};
use crate::profile::{PowerFigure, Profile, idle_power_of};
use crate::signal::Signal;
use crate::time::Timestamp;
use crate::units::Watts;
use split::Split;

/// How far ahead the next change of the cap is looked for, in turn.
const HORIZONS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(60),
    Duration::from_secs(3600),
    Duration::from_secs(86_400),
    Duration::from_secs(366 * 86_400),
];

/// Over so long the load to come is averaged.
const LOAD_WINDOW: Duration = Duration::from_secs(5);
/// Looks at the load within that time.
const LOAD_LOOKS: u32 = 10;
/// Loads are told apart by steps of this factor.
const LOAD_STEP: f64 = 1.02;

/// Chooses with knowledge of the cap and of the load at all times.
#[derive(Debug, Clone)]
pub struct OracleUnderCap {
    cap: Option<Signal>,
    offered_rps: BTreeMap<ModelName, Signal>,
    idle: Watts,
    models: BTreeMap<ModelName, Candidates>,
    plan: Option<Plan>,
    hand: KnobHand,
}

/// The points to choose from at each setting of the device, for the server as it was last seen.
#[derive(Debug, Clone)]
struct Plan {
    limits: Vec<(ModelName, ServingLimits)>,
    loads: Vec<Option<f64>>,
    knobs: Vec<KnobRange>,
    at_device: Vec<(DevicePoint, Split)>,
}

impl OracleUnderCap {
    /// Chooses among the rows of `profiles`, by the power of `figure`, under the cap of `foresight`.
    pub fn new(figure: PowerFigure, profiles: &BTreeMap<ModelName, Profile>, foresight: &Foresight) -> Self {
        let idle = idle_power_of(profiles.values()).unwrap_or(Watts::ZERO);
        let candidates = |(name, profile): (&ModelName, &Profile)| {
            (name.clone(), Candidates::above(idle, profile, figure, |_| true))
        };
        Self {
            cap: foresight.power_cap.clone(),
            offered_rps: foresight.offered_rps.clone(),
            idle,
            models: profiles.iter().map(candidates).collect(),
            plan: None,
            hand: KnobHand::default(),
        }
    }

    /// The plan for what is seen, made anew when models, limits or the device are others.
    fn plan(&mut self, seen: &Observation) -> &Plan {
        // Which of several devices a model runs on is not known: then their knobs are left alone.
        let knobs: &[KnobRange] = match &seen.devices[..] {
            [device] => &device.knobs,
            _ => &[],
        };
        let loads: Vec<Option<f64>> = seen.models.iter().map(|model| self.load(seen.now, model)).collect();
        let fits = |plan: &Plan| {
            plan.knobs == knobs
                && plan.loads == loads
                && plan.limits.len() == seen.models.len()
                && plan
                    .limits
                    .iter()
                    .zip(&seen.models)
                    .all(|((name, limits), model)| *name == model.name && *limits == model.limits)
        };
        let models = &self.models;
        self.plan.take_if(|plan| !fits(plan));
        self.plan.get_or_insert_with(|| Plan::new(models, seen, knobs, loads))
    }

    /// Rows per second that the model will be asked for, in steps; `None`: as many as it can answer.
    fn load(&self, now: Timestamp, model: &ModelObservation) -> Option<f64> {
        let offered = self.offered_rps.get(&model.name)?;
        let looks = (0..LOAD_LOOKS).filter_map(|look| offered.at(now + LOAD_WINDOW * look / LOAD_LOOKS));
        let load = looks.sum::<f64>() / f64::from(LOAD_LOOKS);
        let is_behind = model.queued_rows as f64 > load;
        (!is_behind && load > 0.0).then(|| LOAD_STEP.powf((load.ln() / LOAD_STEP.ln()).ceil()))
    }

    /// When the cap next changes.
    fn next_change(&self, now: Timestamp) -> Duration {
        let next = |horizon: &Duration| {
            let changes = self.cap.as_ref()?.changes_ahead(now, *horizon);
            changes.first().map(|(at, _)| *at - now)
        };
        let longest = HORIZONS[HORIZONS.len() - 1];
        HORIZONS.iter().find_map(next).unwrap_or(longest)
    }
}

impl Plan {
    fn new(
        models: &BTreeMap<ModelName, Candidates>,
        seen: &Observation,
        knobs: &[KnobRange],
        loads: Vec<Option<f64>>,
    ) -> Self {
        let front = |(model, load): (&ModelObservation, &Option<f64>)| match (models.get(&model.name), load) {
            (Some(all), None) => all.fronts_by_device(&model.limits, knobs),
            (Some(all), Some(load)) => all.at_load(*load).fronts_by_device(&model.limits, knobs),
            (None, _) => Vec::new(),
        };
        let fronts: Vec<Vec<(DevicePoint, Vec<Candidate>)>> =
            seen.models.iter().zip(&loads).map(front).collect();
        let mut settings: Vec<DevicePoint> = Vec::new();
        for (setting, _) in fronts.iter().flatten() {
            if !settings.contains(setting) {
                settings.push(*setting);
            }
        }
        let split_at = |setting: DevicePoint| {
            let of_model = |fronts: &Vec<(DevicePoint, Vec<Candidate>)>| {
                let own = fronts.iter().find(|(other, _)| *other == setting);
                own.map_or_else(Vec::new, |(_, front)| front.clone())
            };
            (setting, Split::new(fronts.iter().map(of_model).collect()))
        };
        Self {
            limits: seen.models.iter().map(|model| (model.name.clone(), model.limits)).collect(),
            loads,
            knobs: knobs.to_vec(),
            at_device: settings.into_iter().map(split_at).collect(),
        }
    }

    /// The device's setting and each model's point of most throughput together, for `left` above idle.
    fn best(&self, left: Watts) -> Option<(DevicePoint, Vec<Option<Candidate>>)> {
        let most = self.at_device.iter().max_by(|(_, a), (_, b)| {
            // Of equals the first, which max_by would pass over.
            a.most(left).total_cmp(&b.most(left)).then(std::cmp::Ordering::Greater)
        });
        most.map(|(setting, split)| (*setting, split.choose(left)))
    }

    /// Power above idle of the least hungry point of the model at `index`; `None` without any.
    fn least(&self, index: usize) -> Option<Watts> {
        self.at_device.iter().filter_map(|(_, split)| split.least(index)).reduce(Watts::min)
    }
}

impl Policy for OracleUnderCap {
    fn name(&self) -> &'static str {
        "oracle-under-cap"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let mut ask_again_in = self.next_change(seen.now);
        if !self.offered_rps.is_empty() {
            ask_again_in = ask_again_in.min(LOAD_WINDOW);
        }
        let Some(cap) = self.cap.as_ref().and_then(|cap| cap.at(seen.now)).map(Watts::new) else {
            return Decision::keep(Reason::NoCap, ask_again_in);
        };
        let idle = self.idle;
        let left = cap - idle;
        let plan = self.plan(seen);
        let (setting, chosen) = plan.best(left).unwrap_or((DevicePoint::default(), Vec::new()));
        let taken: Watts = chosen.iter().flatten().map(|candidate| candidate.dynamic).sum();
        let mut decision = Decision::nothing(ask_again_in);
        for (index, model) in seen.models.iter().enumerate() {
            let Some(least) = plan.least(index) else {
                decision.reasons.push((Some(model.name.clone()), Reason::NoProfile));
                continue;
            };
            let candidate = chosen.get(index).copied().flatten();
            let own = candidate.map_or(Watts::ZERO, |candidate| candidate.dynamic);
            let bound = cap - (taken - own);
            let (change, reason) = match candidate {
                Some(candidate) => (candidate.change, candidate.reason(cap, bound)),
                None => (
                    ServingChange { instances: Some(0), ..ServingChange::default() },
                    Reason::Parked { cap_watts: cap, bound_watts: bound, least_watts: idle + least },
                ),
            };
            if !change.is_noop_for(model.setting) {
                decision.serving.insert(model.name.clone(), change);
            }
            decision.reasons.push((Some(model.name.clone()), reason));
        }
        if let [device] = &seen.devices[..]
            && chosen.iter().any(Option::is_some)
        {
            decision.devices.extend(self.hand.turn(device, setting));
        }
        decision
    }
}
