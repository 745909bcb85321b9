//! Asks a policy at the start of each time slice and at no other time.

use std::time::Duration;

use crate::observation::Observation;
use crate::policy::{Decision, Policy, Reason};
use crate::time::Timestamp;

/// The slices of a run, and what was counted since the policy was last asked.
#[derive(Debug, Clone)]
pub(super) struct Slices {
    length: Duration,
    next: Timestamp,
    /// What was seen since, with its counts added up and without power samples.
    pending: Option<Observation>,
}

impl Slices {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, next: Timestamp::ZERO, pending: None }
    }

    pub(super) fn decide(&mut self, inner: &mut dyn Policy, seen: &Observation) -> Decision {
        let mut since = seen.clone();
        for device in &mut since.devices {
            device.power_samples.clear();
        }
        if let Some(pending) = self.pending.take() {
            add_counts(&mut since, &pending);
        }
        if seen.now < self.next {
            self.pending = Some(since);
            let reason = Reason::BetweenSlices { next_slice_seconds: self.next.as_secs_f64() };
            return Decision::keep(reason, self.next - seen.now);
        }
        let slices = seen.now.as_nanos() as u128 / self.length.as_nanos().max(1) + 1;
        let next = slices.saturating_mul(self.length.as_nanos().max(1));
        self.next = Timestamp::from_nanos(u64::try_from(next).unwrap_or(u64::MAX));
        let decision = inner.decide(&since);
        Decision { ask_again_in: self.next - seen.now, ..decision }
    }
}

/// Adds to what `seen` counts since the last ask what was counted `before`.
fn add_counts(seen: &mut Observation, before: &Observation) {
    for model in &mut seen.models {
        if let Some(before) = before.models.iter().find(|before| before.name == model.name) {
            model.arrived_rows += before.arrived_rows;
            model.completed_rows += before.completed_rows;
            model.executed_batches += before.executed_batches;
            model.interval += before.interval;
        }
    }
    for family in &mut seen.families {
        if let Some(before) = before.families.iter().find(|before| before.name == family.name) {
            family.arrived_rows += before.arrived_rows;
        }
    }
}
