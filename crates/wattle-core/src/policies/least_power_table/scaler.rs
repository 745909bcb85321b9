//! The online part of CoFRIS: counts the load, looks it up, and sets the device.
//!
//! ```text
//!                     the load allows less power, for down_after_intervals
//!        ┌──────────────────────────────────────────────────────────────┐
//!   ┌────▼─────┐ the queue endangers the objective,             ┌───────┴──────┐
//!   │   full   │◄─no point sustains the load, or it is unknown──┤ looked-up    │◄─┐ a load that the
//!   └──────────┘                                                │ point        ├──┘ point can't
//!                                                               └──────────────┘    sustain: at once
//! ```
//!
//! The paper sets whatever the table says of the last half second. With the defaults here it is the
//! highest load of the last four: bursts come in trains, and going down costs the tail more than
//! staying up costs power.

use std::collections::BTreeMap;
use std::time::Duration;

use super::loads::Loads;
use super::{
    Applier, Candidate, DevicePoint, FreeKnobs, LeastPowerOptions, LeastPowerTable, Load, Plan, Reach, full,
    full_device, least_power, tables_of,
};
use crate::id::ModelName;
use crate::observation::{ModelObservation, Observation};
use crate::policies::{PolicyError, PolicyOptions};
use crate::policy::{Decision, Policy, Reason};
use crate::profile::Profile;
use crate::time::Timestamp;

/// Sets clock, units and, if free, batch sizes by the table of each model.
///
/// A model without a profile that has traffic puts the device to full: nothing is known of what it
/// would bear. It counts for as many intervals as a load does. Without any table, or without the knobs, everything is left alone.
#[derive(Debug, Clone)]
pub struct LeastPower {
    name: &'static str,
    free: FreeKnobs,
    options: LeastPowerOptions,
    interval: Duration,
    tables: BTreeMap<ModelName, LeastPowerTable>,
    loads: BTreeMap<ModelName, Loads>,
    /// When a model without a table last had traffic.
    stranger_at: Option<Timestamp>,
    /// What is set now.
    current: Option<Set>,
    /// Intervals in a row that allowed less power.
    lower_for: u32,
    applier: Applier,
}

/// A setting of the device, and what each model is served with there.
#[derive(Debug, Clone, PartialEq)]
struct Set {
    device: DevicePoint,
    chosen: BTreeMap<ModelName, Candidate>,
}

impl Set {
    fn of(plan: &Plan<'_>, served: &[&ModelObservation]) -> Self {
        let names = served.iter().map(|model| model.name.clone());
        let chosen = names.zip(plan.chosen.iter().copied().cloned()).collect();
        Self { device: plan.device, chosen }
    }

    /// Takes the figures of `tables`, which changed. `false`: one of them has not got its point any more.
    fn refine(&mut self, tables: &BTreeMap<ModelName, LeastPowerTable>) -> bool {
        let device = self.device;
        self.chosen.iter_mut().all(|(name, chosen)| {
            let at = tables.get(name).and_then(|table| table.candidates.get(&device));
            let now = at.into_iter().flatten().find(|candidate| candidate.change == chosen.change);
            now.map(|now| chosen.clone_from(now)).is_some()
        })
    }

    /// Whether it serves the loads of all `served`.
    fn serves(&self, served: &[&ModelObservation], loads: &[Load<'_>]) -> bool {
        let share = served.iter().zip(loads).map(|(model, load)| {
            let candidate = self.chosen.get(&model.name).filter(|one| one.is_within(load.limits));
            candidate.map_or(f64::INFINITY, |candidate| candidate.share_of(load.rps))
        });
        share.sum::<f64>() <= 1.0 + 1e-9
    }

    /// Seconds in which the queues are served, if they make new requests late.
    fn endangering_wait(&self, served: &[&ModelObservation], loads: &[Load<'_>]) -> Option<f64> {
        let queues = || {
            let each = served.iter().zip(loads);
            each.filter_map(|(model, load)| Some((model.queued_rows, load, self.chosen.get(&model.name)?)))
        };
        let wait: f64 = queues().map(|(queued, _, candidate)| queued as f64 / candidate.capacity_rps).sum();
        let late = |(queued, load, candidate): (u64, &Load<'_>, &Candidate)| {
            // What the next batches take does not wait in the sense of the objective.
            let next = u64::from(candidate.batch_size) * u64::from(candidate.instances);
            queued > next && wait + candidate.tail_seconds > load.table.slo_seconds
        };
        queues().any(late).then_some(wait)
    }
}

/// Why a set was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cause {
    LookedUp,
    NotSustained,
    AtRisk { wait: f64 },
    Stranger,
}

impl LeastPower {
    /// The policy called `name`, which turns the knobs in `free`.
    pub(in crate::policies) fn new(
        name: &'static str,
        free: FreeKnobs,
        options: &PolicyOptions,
    ) -> Result<Self, PolicyError> {
        let settings = options.least_power.clone();
        Ok(Self {
            name,
            free,
            interval: Duration::try_from_secs_f64(settings.interval_seconds).unwrap_or(Duration::MAX),
            tables: tables_of(name, free, options)?,
            options: settings,
            loads: BTreeMap::new(),
            stranger_at: None,
            current: None,
            lower_for: 0,
            applier: Applier::default(),
        })
    }

    /// Whether an interval of load is complete with what was seen.
    fn count(&mut self, seen: &Observation) -> bool {
        self.loads.retain(|name, _| seen.models.iter().any(|model| model.name == *name));
        let is_stranger = |model: &ModelObservation| {
            let has_traffic = model.arrived_rows > 0 || model.queued_rows > 0 || model.running_batches > 0;
            has_traffic && !self.tables.contains_key(&model.name)
        };
        if seen.models.iter().any(is_stranger) {
            self.stranger_at = Some(seen.now);
        }
        let mut complete = false;
        for model in &seen.models {
            if !self.loads.contains_key(&model.name) {
                let loads = Loads::new(self.interval, self.options.peak_of_intervals);
                self.loads.insert(model.name.clone(), loads);
            }
            complete |= self.loads.get_mut(&model.name).is_some_and(|loads| loads.take_in(model));
        }
        complete
    }

    fn offered_rps(&self, model: &ModelObservation) -> Option<f64> {
        self.loads.get(&model.name)?.peak_rps()
    }

    /// What to set, how many intervals now allowed less power, and why.
    fn choose(
        &self,
        seen: &Observation,
        served: &[&ModelObservation],
        loads: &[Load<'_>],
        complete: bool,
    ) -> Option<(Set, u32, Cause)> {
        let full = full(loads)?;
        let full_device = full.device;
        let full = Set::of(&full, served);
        // As long as the load of a model with a table would count.
        let remembered = self.interval.saturating_mul(self.options.peak_of_intervals);
        if self.stranger_at.is_some_and(|at| seen.now - at < remembered) {
            return Some((full, 0, Cause::Stranger));
        }
        if let Some(wait) = self.current.as_ref().and_then(|set| set.endangering_wait(served, loads)) {
            return Some((full, 0, Cause::AtRisk { wait }));
        }
        let reach = Reach(&seen.devices);
        let Some(plan) = least_power(loads, |point| reach.takes(point, full_device)) else {
            return Some((full, 0, Cause::NotSustained));
        };
        let wanted = Set::of(&plan, served);
        let held = self.current.as_ref().filter(|held| **held != wanted && held.serves(served, loads));
        let lower_for = held.map_or(0, |_| self.lower_for.saturating_add(u32::from(complete)));
        let set = match held {
            Some(held) if lower_for < self.options.down_after_intervals => held.clone(),
            _ => wanted,
        };
        Some((set, lower_for, Cause::LookedUp))
    }

    fn reason(&self, cause: Cause, model: &ModelObservation, load: &Load<'_>, set: &Set) -> Reason {
        let slo_ms = load.table.slo_seconds * 1e3;
        let candidate = set.chosen.get(&model.name);
        match (cause, self.offered_rps(model), candidate) {
            (Cause::Stranger, ..) | (_, None, _) | (_, _, None) => Reason::LoadUnknown,
            (Cause::AtRisk { wait }, ..) => {
                Reason::SloAtRisk { queued_rows: model.queued_rows, wait_ms: wait * 1e3, slo_ms }
            }
            (Cause::NotSustained, Some(offered_rps), _) => {
                Reason::LoadNotSustained { offered_rps, max_rps: load.table.max_rps, slo_ms }
            }
            (Cause::LookedUp, Some(offered_rps), Some(candidate)) => Reason::LeastPower {
                offered_rps,
                planned_rps: load.rps,
                core_clock_mhz: set.device.clock,
                compute_units: set.device.units,
                batch_size: candidate.batch_size,
                predicted_watts: candidate.power_at(load.rps),
                predicted_tail_ms: candidate.tail_at(load.rps, self.options.arrivals).map(|tail| tail * 1e3),
                slo_ms,
            },
        }
    }
}

impl Policy for LeastPower {
    fn name(&self) -> &'static str {
        self.name
    }

    fn refine(&mut self, profiles: &BTreeMap<ModelName, Profile>) {
        for (name, table) in &mut self.tables {
            let Some(profile) = profiles.get(name) else { continue };
            // The objective is what it was: a device that got slower is no excuse.
            let objective = Some(table.slo());
            if let Ok(refined) = LeastPowerTable::build(profile, self.free, &self.options, objective) {
                *table = refined;
            }
        }
        let is_known = self.current.as_mut().is_some_and(|set| set.refine(&self.tables));
        if !is_known {
            self.current = None;
        }
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let complete = self.count(seen);
        let mut decision = Decision::nothing(self.interval);
        for model in seen.models.iter().filter(|model| !self.tables.contains_key(&model.name)) {
            decision.reasons.push((Some(model.name.clone()), Reason::NoProfile));
        }
        let known = seen.models.iter().filter_map(|model| Some((model, self.tables.get(&model.name)?)));
        let load_of = |(model, table): (&'_ ModelObservation, &'_ LeastPowerTable)| {
            // Unknown, or above the table: more than anything sustains.
            let row = self.offered_rps(model).and_then(|offered| table.look_up(offered));
            row.map_or(f64::INFINITY, |row| row.rps)
        };
        let loads: Vec<Load<'_>> = known
            .clone()
            .map(|(model, table)| Load { table, rps: load_of((model, table)), limits: &model.limits })
            .collect();
        let served: Vec<&ModelObservation> = known.map(|(model, _)| model).collect();
        if let Some(knob) = Reach(&seen.devices).missing(loads.iter().map(|load| load.table)) {
            return Decision::keep(Reason::KnobMissing { knob }, self.interval);
        }
        let Some((set, lower_for, cause)) = self.choose(seen, &served, &loads, complete) else {
            return decision;
        };
        for (model, load) in served.iter().zip(&loads) {
            let chosen = set.chosen.get(&model.name).filter(|candidate| candidate.is_within(load.limits));
            if let Some(change) =
                chosen.map(|one| one.change).filter(|change| !change.is_noop_for(model.setting))
            {
                decision.serving.insert(model.name.clone(), change);
            }
            decision.reasons.push((Some(model.name.clone()), self.reason(cause, model, load, &set)));
        }
        let full = full_device(&loads);
        match cause {
            Cause::LookedUp => self.applier.set_point(set.device, full, seen, &mut decision),
            _ => self.applier.set_full(full, seen, &mut decision),
        }
        self.lower_for = lower_for;
        self.current = Some(set);
        decision
    }
}
