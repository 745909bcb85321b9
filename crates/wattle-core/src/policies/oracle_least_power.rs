//! Least power for exactly the load to come, `oracle-least-power`: how well the look-up could do.
//!
//! Knows the load of the coming interval from foresight, so it estimates nothing, waits for nothing
//! and rounds nothing. Clock, units, batch size and instances are all free. What it knows are means
//! over short intervals: bursts within one are planned for as [`Arrivals`] says, and it does not look
//! at the queue.

use std::collections::BTreeMap;
use std::time::Duration;

use super::least_power_table::{
    Applier, Arrivals, FreeKnobs, LeastPowerTable, Load, Reach, full, full_device, least_power, tables_of,
};
use super::{PolicyError, PolicyOptions};
use crate::foresight::Foresight;
use crate::id::ModelName;
use crate::observation::{ModelObservation, Observation};
use crate::policy::{Decision, Policy, Reason};
use crate::time::Timestamp;

/// Every knob is free.
pub(super) const FREE: FreeKnobs = FreeKnobs { clock: true, units: true, batch_size: true, instances: true };

/// Chooses, for each interval, the point of least power for the highest load that it brings.
#[derive(Debug, Clone)]
pub struct OracleLeastPower {
    interval: Duration,
    arrivals: Arrivals,
    tables: BTreeMap<ModelName, LeastPowerTable>,
    foresight: Foresight,
    applier: Applier,
}

impl OracleLeastPower {
    /// Knows `foresight`, and takes tables, objectives and the interval from `options`.
    pub(super) fn new(options: &PolicyOptions, foresight: Foresight) -> Result<Self, PolicyError> {
        let settings = &options.least_power;
        Ok(Self {
            interval: Duration::try_from_secs_f64(settings.interval_seconds).unwrap_or(Duration::MAX),
            arrivals: settings.arrivals,
            tables: tables_of("oracle-least-power", FREE, options)?,
            foresight,
            applier: Applier::default(),
        })
    }

    /// The highest load of `model` in the interval that begins at `now`.
    fn load_to_come(&self, model: &ModelName, now: Timestamp) -> Option<f64> {
        let signal = self.foresight.offered_rps.get(model)?;
        let changes = signal.changes_ahead(now, self.interval).into_iter();
        let within = changes.filter(|(at, _)| *at < now + self.interval).map(|(_, rps)| rps);
        signal.at(now).into_iter().chain(within).reduce(f64::max)
    }
}

impl Policy for OracleLeastPower {
    fn name(&self) -> &'static str {
        "oracle-least-power"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let mut decision = Decision::nothing(self.interval);
        let mut served: Vec<(&ModelObservation, f64)> = Vec::new();
        let mut loads: Vec<Load<'_>> = Vec::new();
        for model in &seen.models {
            let Some(table) = self.tables.get(&model.name) else {
                decision.reasons.push((Some(model.name.clone()), Reason::NoProfile));
                continue;
            };
            let Some(rps) = self.load_to_come(&model.name, seen.now) else {
                decision.reasons.push((Some(model.name.clone()), Reason::LoadUnknown));
                continue;
            };
            served.push((model, rps));
            loads.push(Load { table, rps, limits: &model.limits });
        }
        let reach = Reach(&seen.devices);
        if let Some(knob) = reach.missing(loads.iter().map(|load| load.table)) {
            return Decision::keep(Reason::KnobMissing { knob }, self.interval);
        }
        let full_device = full_device(&loads);
        // Else the device is shared with a load that is not known.
        let is_known = served.len() == seen.models.len();
        let planned =
            if is_known { least_power(&loads, |point| reach.takes(point, full_device)) } else { None };
        let sustained = planned.is_some();
        let Some(plan) = planned.or_else(|| full(&loads)) else { return decision };
        if !is_known {
            decision.reasons.push((None, Reason::LoadUnknown));
        }
        for (((model, rps), load), candidate) in served.iter().zip(&loads).zip(&plan.chosen) {
            if candidate.is_within(&model.limits) && !candidate.change.is_noop_for(model.setting) {
                decision.serving.insert(model.name.clone(), candidate.change);
            }
            if !is_known {
                continue; // told already, by the models at fault
            }
            let slo_ms = load.table.slo().as_secs_f64() * 1e3;
            let reason = if sustained {
                Reason::LeastPower {
                    offered_rps: *rps,
                    planned_rps: *rps,
                    core_clock_mhz: plan.device.clock,
                    compute_units: plan.device.units,
                    batch_size: candidate.batch_size,
                    predicted_watts: candidate.power_at(*rps),
                    predicted_tail_ms: candidate.tail_at(*rps, self.arrivals).map(|tail| tail * 1e3),
                    slo_ms,
                }
            } else {
                Reason::LoadNotSustained { offered_rps: *rps, max_rps: load.table.max_rps(), slo_ms }
            };
            decision.reasons.push((Some(model.name.clone()), reason));
        }
        if sustained {
            self.applier.set_point(plan.device, full_device, seen, &mut decision);
        } else {
            self.applier.set_full(full_device, seen, &mut decision);
        }
        decision
    }
}
