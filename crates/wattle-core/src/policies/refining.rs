//! Hands a policy its profiles as they are seen to be. Goes around any policy that plans with profiles.
//!
//! The policy is shown every observation as it is; before it decides it is handed refined profiles, when
//! they changed by more than a little. So server and replay refine with the same code, and a decision
//! costs no more than following the ratios.

use std::collections::BTreeMap;

use crate::id::ModelName;
use crate::observation::Observation;
use crate::policy::{Decision, Policy};
use crate::profile::Profile;
use crate::refinement::{Refinement, RefinementOptions};

/// `inner`, which plans with `profiles`, refined. As it is where that is turned off or there are none.
pub(super) fn around(
    inner: Box<dyn Policy>,
    options: &RefinementOptions,
    profiles: &BTreeMap<ModelName, Profile>,
) -> Box<dyn Policy> {
    if !options.enabled || profiles.is_empty() {
        return inner;
    }
    Box::new(Refining { inner, refinement: Refinement::new(options, profiles) })
}

/// A policy whose profiles are refined.
struct Refining {
    inner: Box<dyn Policy>,
    refinement: Refinement,
}

impl Policy for Refining {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        if self.refinement.take_in(seen) {
            self.inner.refine(self.refinement.profiles());
        }
        let mut decision = self.inner.decide(seen);
        self.refinement.note_turned(&decision, seen.now);
        decision.reasons.extend(self.refinement.news(seen.now));
        decision
    }

    fn refinement(&self) -> Option<&Refinement> {
        Some(&self.refinement)
    }
}
