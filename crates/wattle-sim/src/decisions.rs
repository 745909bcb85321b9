//! Decisions as they are told in a run folder: those that turned something or had a new reason.

use serde::Serialize;
use wattle_core::id::ModelName;
use wattle_core::observation::Observation;
use wattle_core::policy::{Decision, Reason};
use wattle_core::units::Watts;

/// A decision, told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionTold {
    /// When it was made.
    pub seconds: f64,
    /// The cap the policy was shown.
    pub power_cap_watts: Option<Watts>,
    /// The highest power the policy was shown.
    pub power_watts_max: Option<Watts>,
    /// Whether it turned anything.
    pub turned: bool,
    /// Why, in sentences.
    pub because: Vec<String>,
}

/// The cap and the reasons that were told last, so that the same is not told again.
pub(crate) type LastTold = (Option<Watts>, Vec<(Option<ModelName>, &'static str)>);

/// The decision told, if it turned something or has a new cap or a new reason.
pub(crate) fn tell(decision: &Decision, seen: &Observation, last: &mut LastTold) -> Option<DecisionTold> {
    let is_same = last.0 == seen.power_cap
        && last.1.len() == decision.reasons.len()
        && last.1.iter().zip(&decision.reasons).all(|(a, b)| a.0 == b.0 && a.1 == b.1.name());
    if is_same && !decision.turns_something() {
        return None;
    }
    let reasons = decision.reasons.iter().map(|(model, reason)| (model.clone(), reason.name()));
    *last = (seen.power_cap, reasons.collect());
    let sentence = |(model, reason): &(Option<ModelName>, Reason)| {
        model.as_ref().map_or(reason.to_string(), |model| format!("{model}: {reason}"))
    };
    Some(DecisionTold {
        seconds: seen.now.as_secs_f64(),
        power_cap_watts: seen.power_cap.filter(|cap| cap.get().is_finite()),
        power_watts_max: seen.power_max(),
        turned: decision.turns_something(),
        because: decision.reasons.iter().map(sentence).collect(),
    })
}
