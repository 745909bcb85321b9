//! The decisions of a logged controller, put to our search one by one.
//!
//! The step logs are of BatchDVFS, the same author's later controller, on the same device. Each row has the
//! bounds of its search, the batch size, the largest power since the last decision, and the cap. So every
//! decision can be put to our search in the state that the logged one was in: the sizes left between its
//! bounds, the batch size it ran, a full window of batches with the logged power. What our search then
//! turns is compared with the next row.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wattle_core::knob::{ServingLimits, ServingSetting};
use wattle_core::observation::{DeviceObservation, ModelObservation, Observation, PowerSample};
use wattle_core::policies::batch_sizer::{BatchSizer, BatchSizerOptions, BatchSizes};
use wattle_core::policy::Policy;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::time::Timestamp;
use wattle_core::units::Watts;
use wattle_import::{Step, step_log};

use super::broken;
use crate::{ReproduceError, files};

/// Ends of the names of such logs.
const LOG: &str = "_BatchDVFS.csv";
/// Index of the largest size, 255: bounds are of indexes.
const LAST_INDEX: u32 = 254;
/// The logged controller decides at most so often, in seconds.
const DECISION_SECONDS: f64 = 3.0;
/// Batches in each observation: a full window.
const BATCHES: u64 = 10;
/// Observations until any size is reached by halving, several times over.
const MOST_STEPS: usize = 64;

/// How our search and one log agree.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Agreement {
    /// The log.
    pub(super) file: PathBuf,
    /// Decisions that moved the batch size.
    pub(super) moves: u32,
    /// Of these, ours moves the same way.
    pub(super) same_direction: u32,
    /// Of these, ours goes to the same size, or one row off: the log's bounds are rounded otherwise.
    pub(super) same_size: u32,
    /// Moves up from a reading within our band, where ours holds by design.
    pub(super) up_within_band: u32,
    /// The highest reading over the cap from which the log still went up, as a share.
    pub(super) highest_up: Option<f64>,
    /// Rows at which the log held, longer after its last decision than it waits for one.
    pub(super) holds: u32,
    /// Of these, ours holds too.
    pub(super) same_holds: u32,
    /// Decisions that turned the core clock, which ours doesn't have.
    pub(super) clock_turns: u32,
}

/// Compares every log below `folder`; a note where there is none.
pub(super) fn run(folder: &Path, notes: &mut Vec<String>) -> Result<Vec<Agreement>, ReproduceError> {
    let mut all = Vec::new();
    for file in files::find_all(folder, &|name| name.ends_with(LOG)) {
        let data = |cause: String| ReproduceError::Data { file: file.clone(), cause };
        let text = std::fs::read_to_string(&file);
        let text = text.map_err(|cause| data(format!("failed to read: {cause}")))?;
        let log = step_log(&text, &file.display().to_string()).map_err(|error| data(error.to_string()))?;
        all.push(Agreement { file, ..compare(&log.steps)? });
    }
    if all.is_empty() {
        notes.push(format!("no step log (*{LOG}) below {}: none replayed", folder.display()));
    }
    Ok(all)
}

fn compare(steps: &[Step]) -> Result<Agreement, ReproduceError> {
    let mut agreement = Agreement::default();
    let mut decided_at = steps.first().map_or(0.0, |step| step.seconds);
    for pair in steps.windows(2) {
        let [step, next] = pair else { continue };
        let Some(question) = Question::of(step, next) else { continue };
        if step.core_clock_mhz != next.core_clock_mhz {
            agreement.clock_turns += 1;
            decided_at = next.seconds;
            continue;
        }
        let is_move = step.batch_size != next.batch_size;
        if !is_move && step.seconds - decided_at <= DECISION_SECONDS {
            continue;
        }
        let ours = question.ask()?;
        if !is_move {
            agreement.holds += 1;
            agreement.same_holds += u32::from(ours.is_none_or(|size| size == step.batch_size));
            continue;
        }
        decided_at = next.seconds;
        agreement.moves += 1;
        let theirs = next.batch_size;
        let went_up = theirs > step.batch_size;
        // No size and power over the cap: ours would go down and has nowhere to go.
        let direction = ours.map_or(std::cmp::Ordering::Less, |size| size.cmp(&step.batch_size));
        agreement.same_direction += u32::from(direction == theirs.cmp(&step.batch_size));
        agreement.same_size +=
            u32::from(ours.is_some_and(|size| size.abs_diff(theirs) <= 1 && size != step.batch_size));
        if went_up {
            let share = question.power / question.cap;
            agreement.highest_up = Some(agreement.highest_up.map_or(share, |most| most.max(share)));
            let band = BatchSizerOptions::default().band_low..=1.0;
            agreement.up_within_band += u32::from(band.contains(&share));
        }
    }
    Ok(agreement)
}

/// The state of the logged search when it made a decision, and what it saw.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Question {
    /// Indexes of the smallest and largest size left, and of the one in force.
    low: u32,
    high: u32,
    current: u32,
    power: f64,
    cap: f64,
}

impl Question {
    /// What `step` ended with. The cap is that of the next row: it may have just changed. `None` where
    /// the log tells no bounds.
    fn of(step: &Step, next: &Step) -> Option<Self> {
        let current = step.batch_size.checked_sub(1)?.min(LAST_INDEX);
        // A bound that is the size in force bounds nothing: the search opens on that side.
        let low = step.min_index?;
        let low = if low < current { low } else { 0 };
        let high = step.max_index?.min(LAST_INDEX);
        let high = if high > current { high } else { LAST_INDEX };
        let (power, cap) = (step.power_watts, next.power_cap_watts);
        Some(Self { low, high, current, power, cap })
    }

    /// The size our search goes to, the same where it holds; `None` where power is over the cap at its
    /// smallest.
    fn ask(self) -> Result<Option<u32>, ReproduceError> {
        let sizes = BatchSizes::new((self.low + 1..=self.high + 1).collect()).map_err(broken)?;
        let options = BatchSizerOptions {
            batch_sizes: sizes,
            // The log's throughput is that of the host, which decodes images: it says nothing here.
            saturation_check: false,
            ..BatchSizerOptions::default()
        };
        let mut search = BatchSizer::new(options, &std::collections::BTreeMap::new());
        let mut seen = observation(self.low + 1);
        // Up to the size in force, the model taking no larger one; then all that was seen is forgotten,
        // as someone turned another knob.
        seen.models[0].limits.max_batch_size = self.current + 1;
        seen.models[0].setting.instances = 2;
        for _ in 0..MOST_STEPS {
            step(&mut search, &mut seen, 1.0, 1e6);
        }
        if seen.models[0].setting.batch_size != self.current + 1 {
            return Err(broken(format!(
                "the search stands at {} rows, not {}",
                seen.models[0].setting.batch_size,
                self.current + 1
            )));
        }
        seen.models[0].limits.max_batch_size = self.high + 1;
        seen.models[0].setting.instances = 1;
        seen.models[0].setting_since = seen.now;
        for _ in 0..4 {
            let reason = step(&mut search, &mut seen, self.power, self.cap);
            if seen.models[0].setting.batch_size != self.current + 1 {
                break;
            }
            if reason == "cap_unreachable" {
                return Ok(None);
            }
        }
        Ok(Some(seen.models[0].setting.batch_size))
    }
}

/// One observation with `power` under `cap`, and what is turned by it. Gives the reason's name.
fn step(search: &mut BatchSizer, seen: &mut Observation, power: f64, cap: f64) -> &'static str {
    seen.now = seen.now + Duration::from_secs(1);
    seen.power_cap = Some(Watts::new(cap));
    seen.devices[0].power_samples = vec![PowerSample { at: seen.now, power: Watts::new(power) }];
    let decision = search.decide(seen);
    let model = &mut seen.models[0];
    if let Some(change) = decision.serving.get(&model.name) {
        model.setting = change.apply_to(model.setting);
        model.setting_since = seen.now;
    }
    decision.reasons.first().map_or("", |(_, reason)| reason.name())
}

fn observation(batch_size: u32) -> Observation {
    Observation {
        now: Timestamp::ZERO,
        power_cap: None,
        power_cap_ahead: Vec::new(),
        carbon_intensity_age: None,
        carbon_intensity_ahead: Vec::new(),
        carbon_intensity: None,
        devices: vec![DeviceObservation {
            id: "gpu".into(),
            power_samples: Vec::new(),
            power_provenance: Provenance::new(Basis::Measured, "a step log"),
            knobs: Vec::new(),
            settings_failed: false,
        }],
        models: vec![ModelObservation {
            name: "logged".into(),
            setting: ServingSetting {
                batch_size,
                instances: 1,
                cores_per_instance: 1,
                duty_cycle: 1.0,
                max_queue_delay: Duration::ZERO,
                max_queue_size: 1024,
            },
            limits: ServingLimits {
                max_batch_size: LAST_INDEX + 1,
                max_instances: 2,
                max_cores_per_instance: 1,
            },
            queued_rows: 1024,
            arrived_rows: 1024,
            completed_rows: 1024,
            executed_batches: BATCHES,
            batches_took: Duration::from_secs(1),
            running_batches: 1,
            busy: Duration::from_secs(1),
            interval: Duration::from_secs(1),
            setting_since: Timestamp::ZERO,
        }],
        families: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seconds: f64, batch_size: u32, power_watts: f64, bounds: (u32, u32)) -> Step {
        Step {
            seconds,
            throughput_rps: 80.0,
            power_watts,
            batch_size,
            min_index: Some(bounds.0),
            max_index: Some(bounds.1),
            best_index: Some(batch_size - 1),
            power_cap_watts: 150.0,
            core_clock_mhz: 1063.0,
            line: 1,
        }
    }

    #[test]
    fn our_search_answers_from_the_logged_state() {
        let ask =
            |low, high, current, power| Question { low, high, current, power, cap: 150.0 }.ask().unwrap();
        assert_eq!(ask(0, 254, 0, 88.0), Some(128), "the middle of 1 and 255");
        assert_eq!(ask(127, 254, 127, 100.0), Some(192));
        assert_eq!(ask(0, 251, 251, 160.0), Some(126), "down to the middle");
        assert_eq!(ask(127, 254, 191, 130.0), Some(192), "within the band");
        assert_eq!(ask(0, 254, 0, 160.0), None, "nothing smaller");
    }

    #[test]
    fn moves_holds_and_turns_of_the_clock_are_counted_apart() {
        let mut steps = vec![
            row(0.0, 1, 88.0, (0, 254)),
            row(1.0, 128, 125.0, (0, 254)),    // up: ours too
            row(2.0, 128, 125.0, (0, 254)),    // too soon to count as held
            row(9.0, 128, 125.0, (0, 254)),    // held, ours too: 0.83 of the cap
            row(10.0, 192, 125.0, (127, 254)), // up from within our band: ours holds
        ];
        steps.push(Step { core_clock_mhz: 1189.0, ..row(11.0, 192, 100.0, (127, 254)) });
        let agreement = compare(&steps).unwrap();
        assert_eq!((agreement.moves, agreement.same_direction, agreement.same_size), (2, 1, 1));
        assert_eq!((agreement.up_within_band, agreement.clock_turns), (1, 1));
        assert_eq!((agreement.holds, agreement.same_holds), (0, 0));
        assert_eq!(agreement.highest_up, Some(125.0 / 150.0));
    }
}
