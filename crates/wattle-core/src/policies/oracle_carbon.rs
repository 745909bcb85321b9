//! The best possible choice of variants, `oracle-carbon`: planned over the whole trace.
//!
//! Knows the carbon intensity and the load of every family to the end. Emits least for a mean quality
//! that is asked for ([`OracleCarbonOptions::quality_floor`]), or reaches the best mean quality for a
//! budget ([`OracleCarbonOptions::carbon_budget_grams`]). The plan is made once; deciding looks it up.
//!
//! Optimal: time is cut where intensity or load changes, so within a piece only the share of time that
//! each variant serves matters, and the choice of shares is a linear program. Each piece has the same
//! variants, of which only those on the lower convex hull of energy over quality are worth serving. A
//! step along the hull costs `intensity * dE / dQ` grams for each unit of quality; with the steps of
//! all pieces taken cheapest first, one multiplier separates those taken from those left, which is the
//! certificate of optimality. One step at most is taken in part: that piece is cut in two. So no
//! schedule of these variants does better at the loads and intensities foreseen, however often it
//! switches. Nothing is rounded but the time of that cut, to a nanosecond.
//!
//! Grams are those of the variants' energy per row. Idle power is the same whatever the plan.

mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{PolicyError, PolicyOptions};
use crate::id::FamilyName;
use crate::observation::Observation;
use crate::policy::{Decision, Policy, Reason};
pub use plan::FamilyPlan;
use plan::{Course, Limit, plan_within};

/// When to ask again at the latest: a variant that was not there may serve by then.
const ASK_AGAIN_IN: Duration = Duration::from_secs(60);

/// What is asked of the plan. One of the two is to be set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OracleCarbonOptions {
    /// Least mean quality over all rows of each family, in 0 to 1: emit as little as that allows.
    pub quality_floor: Option<f64>,
    /// Most grams of CO2 equivalent over all families: the best mean quality over all rows for them.
    pub carbon_budget_grams: Option<f64>,
}

impl OracleCarbonOptions {
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let error = |option, found: f64, expected| {
            Err(PolicyError::Option { option, found: found.to_string(), expected })
        };
        match (self.quality_floor, self.carbon_budget_grams) {
            (Some(floor), _) if !(0.0..=1.0).contains(&floor) => {
                error("quality_floor", floor, "a number in 0 to 1")
            }
            (Some(_), Some(grams)) => error("carbon_budget_grams", grams, "nothing, beside quality_floor"),
            (None, Some(grams)) if !(grams.is_finite() && grams >= 0.0) => {
                error("carbon_budget_grams", grams, "grams as a number of at least 0")
            }
            _ => Ok(()),
        }
    }
}

/// Serves the variants of a plan that was made with foresight.
#[derive(Debug, Clone)]
pub struct OracleCarbon {
    plans: BTreeMap<FamilyName, FamilyPlan>,
}

impl OracleCarbon {
    /// Makes the plan.
    ///
    /// # Errors
    /// Without foresight of the carbon intensity and of a load whose trace, or that of the intensity,
    /// has an end; when neither a floor nor a budget is set; and when it can't be kept.
    pub fn new(options: &PolicyOptions) -> Result<Self, PolicyError> {
        let wanted = &options.oracle_carbon;
        wanted.check()?;
        let what = "carbon intensity and the load of every family, as traces with an end";
        let unknown = || PolicyError::NoForesight { policy: "oracle-carbon", what };
        let foresight = options.foresight.as_ref().ok_or_else(unknown)?;
        let intensity = foresight.carbon_intensity.as_ref().ok_or_else(unknown)?;
        let mut courses: Vec<(FamilyName, Course)> = Vec::new();
        for (name, load) in &foresight.offered_family_rps {
            let variants = options.families.get(name).map(Vec::as_slice).unwrap_or_default();
            courses.push((name.clone(), Course::new(variants, intensity, load).ok_or_else(unknown)?));
        }
        let option = |option, found: String, expected| PolicyError::Option { option, found, expected };
        let mut plans = BTreeMap::new();
        match (wanted.quality_floor, wanted.carbon_budget_grams) {
            (Some(floor), _) => {
                for (name, course) in courses {
                    let limit = Limit::Quality(floor * course.rows());
                    let expected = "at most the quality of the best variant of every family";
                    let planned = plan_within(&[&course], limit);
                    let planned =
                        planned.ok_or_else(|| option("quality_floor", floor.to_string(), expected))?;
                    plans.extend(planned.into_iter().map(|plan| (name.clone(), plan)));
                }
            }
            (None, Some(grams)) => {
                let all: Vec<&Course> = courses.iter().map(|(_, course)| course).collect();
                let expected = "at least the grams of the variants of least energy";
                let planned = plan_within(&all, Limit::Grams(grams));
                let planned =
                    planned.ok_or_else(|| option("carbon_budget_grams", grams.to_string(), expected))?;
                plans.extend(courses.iter().map(|(name, _)| name.clone()).zip(planned));
            }
            (None, None) => {
                let expected = "a mean quality, or carbon_budget_grams in its place";
                return Err(option("quality_floor", "not set".into(), expected));
            }
        }
        Ok(Self { plans })
    }

    /// The plan of each family, for reports.
    pub fn plans(&self) -> &BTreeMap<FamilyName, FamilyPlan> {
        &self.plans
    }
}

impl Policy for OracleCarbon {
    fn name(&self) -> &'static str {
        "oracle-carbon"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        if seen.families.is_empty() {
            return Decision::keep(Reason::NoFamily, ASK_AGAIN_IN);
        }
        let mut decision = Decision::nothing(ASK_AGAIN_IN);
        for family in &seen.families {
            let plan = self.plans.get(&family.name);
            if let Some(next) = plan.and_then(|plan| plan.next_switch(seen.now)) {
                decision.ask_again_in = decision.ask_again_in.min(next - seen.now);
            }
            let planned = plan.and_then(|plan| Some((plan, plan.variant_at(seen.now)?)));
            let Some((plan, variant)) = planned.filter(|(_, variant)| family.variants.contains(variant))
            else {
                decision.reasons.push((None, Reason::NoVariant { family: family.name.clone() }));
                continue;
            };
            if *variant != family.active {
                decision.variants.insert(family.name.clone(), variant.clone());
            }
            let reason = Reason::VariantByPlan {
                family: family.name.clone(),
                plan_grams: plan.grams.get(),
                plan_quality: plan.mean_quality,
            };
            decision.reasons.push((Some(variant.clone()), reason));
        }
        decision
    }
}
