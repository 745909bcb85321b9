//! How long batches take: what is turned now holds for the next batch, not for the one that runs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::ModelName;
use crate::observation::Observation;

/// In so many seconds half of what was seen is forgotten.
const HALF_SECONDS: f64 = 60.0;
/// Longer batches are not waited for.
const LONGEST: Duration = Duration::from_secs(30);

/// Mean time of a batch of each model, by Little's law: batches that run at a time over batches that
/// end in a second. So it needs no clock of each batch, and a long one counts while it runs.
#[derive(Debug, Clone, Default)]
pub(super) struct BatchTimes {
    models: BTreeMap<ModelName, Batches>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Batches {
    running_seconds: f64,
    ended: f64,
}

impl BatchTimes {
    pub(super) fn take_in(&mut self, seen: &Observation) {
        for model in &seen.models {
            if !self.models.contains_key(&model.name) {
                self.models.insert(model.name.clone(), Batches::default());
            }
            let Some(batches) = self.models.get_mut(&model.name) else { continue };
            let seconds = model.interval.as_secs_f64();
            let kept = 0.5f64.powf(seconds / HALF_SECONDS);
            batches.running_seconds =
                batches.running_seconds * kept + f64::from(model.running_batches) * seconds;
            batches.ended = batches.ended * kept + model.executed_batches as f64;
        }
        if self.models.len() > seen.models.len() {
            self.models.retain(|name, _| seen.models.iter().any(|model| model.name == *name));
        }
    }

    /// The longest of all models; zero before anything ran.
    pub(super) fn longest(&self) -> Duration {
        let times = self.models.values().map(|batches| batches.running_seconds / batches.ended.max(1.0));
        Duration::try_from_secs_f64(times.fold(0.0, f64::max)).unwrap_or(LONGEST).min(LONGEST)
    }
}
