//! Turns nothing: the settings of the configuration stand. The base line of every comparison.

use std::time::Duration;

use crate::observation::Observation;
use crate::policy::{Decision, Policy, Reason};

/// Nothing changes, so there is little to ask for.
const ASK_AGAIN_IN: Duration = Duration::from_secs(10);

/// The policy that turns nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fixed;

impl Policy for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn decide(&mut self, _seen: &Observation) -> Decision {
        Decision::keep(Reason::Fixed, ASK_AGAIN_IN)
    }
}
