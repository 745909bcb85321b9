//! Profiles one model: asks the search where to go, measures there, and keeps what was seen.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wattle_core::id::ModelName;
use wattle_core::operating_point::{OperatingPoint, ProfileRow};
use wattle_core::profile::{Conditions, PowerFigure, Profile, ProfileHead};
use wattle_core::provenance::Basis;
use wattle_core::units::Watts;
use wattle_search::{
    Answer, Errors, FrontPoint, Next, Outcome, Probe, Space, Stop, Why, answer, build, front, held_back,
};

use super::bench::Bench;
use super::inputs::Inputs;
use super::journal::{Entry, EntryOutcome, Head, Journal, Subject};
use super::measure::{Measured, Measurer, Seen};
use super::plan::{Plan, PlanError};
use super::{ProfilingError, sha256_hex};
use crate::model_repository::ServedModel;

/// So long is looked at the power with nothing to do: for at least the one, and at most the other, as nothing
/// else goes on meanwhile.
const IDLE_WINDOW: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// Caps that the front is told for.
const CAPS: usize = 5;
/// Batches less full than this are told of.
const FULL: f64 = 0.95;

/// What happens while a model is profiled, for those who watch.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// Points of an interrupted run are taken up again.
    Resumed {
        /// How many.
        points: usize,
        /// Most points.
        budget: usize,
    },
    /// A point is about to be measured.
    Begins {
        /// Points tried before.
        done: usize,
        /// Most points.
        budget: usize,
        /// Where the knobs will stand.
        point: &'a OperatingPoint,
        /// Why there.
        why: &'a Why,
    },
    /// A point was measured, or not.
    Ended {
        /// Points tried so far.
        done: usize,
        /// Most points.
        budget: usize,
        /// What came of it.
        probe: &'a Probe,
    },
}

/// Why a profile ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The search ended.
    Done(Stop),
    /// It was told to stop. The same run again goes on.
    Interrupted,
}

/// A model that was profiled, or as far as it was.
#[derive(Debug, Clone)]
pub struct Profiled {
    /// What was measured. Has no row where nothing could be.
    pub profile: Profile,
    /// Every point tried, in order.
    pub probes: Vec<Probe>,
    /// Points there are.
    pub points: usize,
    /// Points taken over from an interrupted run.
    pub resumed: usize,
    /// Points whose windows did not agree in time.
    pub unsteady: usize,
    /// Points cut short for being above the cap.
    pub over_cap: usize,
    /// Share of the device that others kept busy meanwhile: in the mean over the points, and at most. `None`:
    /// not known.
    pub others: Option<(f64, f64)>,
    /// Why it ended.
    pub ending: Ending,
    /// The answer to the question.
    pub answer: Answer,
    /// The answers under some caps.
    pub front: Vec<FrontPoint>,
    /// How wrong predictions of points held back were.
    pub errors: Errors,
    /// How long measuring took, interrupted runs included.
    pub took: Duration,
    /// The journal, which is there until [`finish`](Self::finish).
    pub journal: PathBuf,
}

impl Profiled {
    /// Removes the journal, once the profile is where it belongs. That of an interrupted run stays.
    pub fn finish(&self) -> std::io::Result<()> {
        match self.ending {
            Ending::Done(_) => std::fs::remove_file(&self.journal),
            Ending::Interrupted => Ok(()),
        }
    }

    /// Each point that has no row, and why.
    pub fn without_row(&self) -> impl Iterator<Item = (&OperatingPoint, &str)> {
        self.probes.iter().filter_map(|probe| match &probe.outcome {
            Outcome::Measured(_) => None,
            Outcome::OutOfMemory => Some((&probe.point, "out of memory")),
            Outcome::Failed(why) => Some((&probe.point, why.as_str())),
        })
    }
}

impl Bench {
    /// Profiles `model` by `plan`, and writes down each point in the file `journal` as soon as it is
    /// measured. Goes on with what stands there already, unless `restart`. Ends after the window under
    /// way when `stop` becomes true. `created` is the time of day, for the head.
    ///
    /// # Errors
    /// Where the model, the plan or the journal can't be used. A point that fails is no error: it is noted,
    /// and the profile goes on.
    pub fn profile(
        &self,
        model: &ModelName,
        plan: &Plan,
        (journal, restart): (&Path, bool),
        (stop, created): (&AtomicBool, &str),
        mut on_event: impl FnMut(Event<'_>),
    ) -> Result<Profiled, ProfilingError> {
        let memory_now = || self.memory_bytes();
        let memory_before = memory_now();
        if plan.constraints.memory_bytes.is_some() && memory_before.is_none() {
            return Err(PlanError::UnknownMemory { device: self.info.id.clone() }.into());
        }
        let loaded = self.load(model)?;
        let served = &loaded.model;
        let memory_loaded = memory_now();
        let inputs = Arc::new(match &plan.inputs {
            Some((file, text)) => Inputs::parse(text, file, served)?,
            None => Inputs::made_up(served, plan.seed)?,
        });
        // What is sent takes memory of this process too, and is none of the model's.
        let of_inputs = memory_now().zip(memory_loaded).map_or(0, |(now, before)| now.saturating_sub(before));
        let memory_before = memory_before.map(|before| before.saturating_add(of_inputs));
        let space = plan.values.space(served.config.limits, self.cores, &self.info)?;
        let budget = plan.budget(space.points().len());
        let mut search =
            build(&plan.search, space.clone(), plan.question, plan.constraints, budget, plan.seed)?;
        let (subject, sha256) = self.subject(served, plan, &space)?;
        let found = if restart { None } else { Journal::read(journal, &subject)? };
        let (head, mut entries) = match found {
            Some(found) => found,
            None => (Head::new(subject, self.idle_power(plan), self.ambient()), Vec::new()),
        };
        if plan.needs_power() && !self.sampler.finds_power(stop) {
            return Err(PlanError::UnknownPower { device: self.info.id.clone() }.into());
        }
        let mut file = Journal::create(journal, &head, &entries)?;
        let mut probes: Vec<Probe> = entries.iter().filter_map(Entry::probe).collect();
        let resumed = probes.len();
        if resumed > 0 {
            on_event(Event::Resumed { points: resumed, budget });
        }
        let measurer = Measurer {
            clock: self.clock,
            model: served,
            inputs: &inputs,
            sampler: &self.sampler,
            options: &plan.measure,
            // What a simulated runtime takes is its own profile's word, however it is timed.
            basis: if self.is_simulated() { Basis::Modelled } else { Basis::Measured },
            power_basis: self.info.power_provenance.basis,
            memory_now: &memory_now,
            memory_before,
            stop,
        };
        let ending = loop {
            if stop.load(Ordering::Relaxed) {
                break Ending::Interrupted;
            }
            let (point, why) = match search.next(&probes) {
                Next::Done(why) => break Ending::Done(why),
                Next::Probe { point, why } => (point, why),
            };
            on_event(Event::Begins { done: probes.len(), budget, point: &point, why: &why });
            file.append(&Entry::begun(&point))?;
            let began = self.clock.now();
            let outcome = match measurer.measure(&point) {
                Measured::Interrupted => {
                    // Told to stop, which says nothing of the point.
                    Journal::create(journal, &head, &entries)?;
                    break Ending::Interrupted;
                }
                Measured::OutOfMemory => EntryOutcome::OutOfMemory,
                Measured::Failed(detail) => EntryOutcome::Failed(detail),
                Measured::Seen(seen) => outcome_of(*seen),
            };
            let seconds = (self.clock.now() - began).as_secs_f64();
            let entry = Entry { point: *point, outcome, seconds };
            file.append(&entry)?;
            probes.extend(entry.probe());
            on_event(Event::Ended { done: probes.len(), budget, probe: &probes[probes.len() - 1] });
            entries.push(entry);
        };
        self.restore()?;
        let rows: Vec<ProfileRow> = probes.iter().filter_map(Probe::row).cloned().collect();
        let tally = Tally::of(&entries);
        let head = self.head(served, (&head, sha256), plan, created, &tally);
        Ok(Profiled {
            answer: answer(&space, &probes, plan.question, &plan.constraints),
            front: front(
                &space,
                &probes,
                plan.question,
                &plan.constraints,
                &caps(&rows, plan.constraints.figure),
            ),
            errors: held_back(&rows, plan.constraints.figure, plan.seed),
            profile: Profile { head, rows },
            points: space.points().len(),
            resumed,
            unsteady: tally.unsteady,
            over_cap: tally.over_cap,
            others: tally.others,
            ending,
            took: Duration::try_from_secs_f64(tally.seconds).unwrap_or_default(),
            journal: journal.to_owned(),
            probes,
        })
    }

    /// What is measured and how, and the SHA-256 of the model's file.
    fn subject(
        &self,
        model: &ServedModel,
        plan: &Plan,
        space: &Space,
    ) -> Result<(Subject, String), ProfilingError> {
        let path = self.file_of(model);
        let bytes = std::fs::read(&path)
            .map_err(|source| ProfilingError::ModelFile { path: path.display().to_string(), source })?;
        let sha256 = sha256_hex(&bytes);
        let mut keys = plan.settings(space);
        let info = &self.info;
        keys.extend([
            ("model".to_owned(), model.name.to_string()),
            ("model_version".to_owned(), model.version.to_string()),
            ("model_sha256".to_owned(), sha256.clone()),
            ("device".to_owned(), format!("{}: {}", info.id, info.description)),
            ("power_source".to_owned(), info.power_provenance.to_string()),
            ("runtime".to_owned(), self.runtime()),
            ("cores".to_owned(), self.cores.to_string()),
        ]);
        Ok((Subject(keys), sha256))
    }

    /// What the device draws with the model loaded and nothing to do: as it states, else its mean power
    /// over a while.
    fn idle_power(&self, plan: &Plan) -> Option<Watts> {
        if let Some((stated, _)) = &self.info.idle_power {
            return Some(*stated);
        }
        let start = self.clock.now();
        thread::sleep((plan.measure.window * 2).clamp(IDLE_WINDOW.0, IDLE_WINDOW.1));
        self.sampler.power(start, self.clock.now()).mean
    }

    fn head(
        &self,
        model: &ServedModel,
        (head, sha256): (&Head, String),
        plan: &Plan,
        created: &str,
        tally: &Tally,
    ) -> ProfileHead {
        let told = self.told();
        // By now: some drivers find out while they read. Not further down: the device is locked for so long.
        let power_source = self.sampler.device().info().power_provenance.to_string();
        let others = tally.others.map_or_else(
            || "other load on the device is unknown".to_owned(),
            |(mean, most)| {
                format!("others kept {:.0} % of the device busy, {:.0} % at most", mean * 100.0, most * 100.0)
            },
        );
        ProfileHead {
            model: model.name.clone(),
            device: self.info.description.clone(),
            runtime: self.runtime(),
            idle_power_watts: head.idle_power_watts,
            request_overhead_ms: None,
            quality: self.quality_of(&model.name),
            power_source,
            created: Some(created.to_owned()),
            notes: Some(tally.notes(plan)),
            conditions: Conditions {
                driver: told.driver,
                model_sha256: Some(sha256),
                sensors: told.sensors,
                ambient: Some(format!(
                    "at the start {}; at the end {}; {others}",
                    head.ambient,
                    self.ambient()
                )),
            },
        }
    }
}

fn outcome_of(seen: Seen) -> EntryOutcome {
    let Seen { row, is_steady, is_over_cap, fill, others } = seen;
    EntryOutcome::Measured { row: Box::new(row), is_steady, is_over_cap, fill, others }
}

/// Counts over all points tried.
struct Tally {
    unsteady: usize,
    over_cap: usize,
    not_full: usize,
    out_of_memory: usize,
    failed: usize,
    seconds: f64,
    /// Mean and most of what others kept busy.
    others: Option<(f64, f64)>,
}

impl Tally {
    fn of(entries: &[Entry]) -> Self {
        let count = |is: fn(&EntryOutcome) -> bool| entries.iter().filter(|entry| is(&entry.outcome)).count();
        let others: Vec<f64> = entries
            .iter()
            .filter_map(|entry| match &entry.outcome {
                EntryOutcome::Measured { others, .. } => *others,
                _ => None,
            })
            .collect();
        Self {
            unsteady: count(|outcome| {
                matches!(outcome, EntryOutcome::Measured { is_steady: false, is_over_cap: false, .. })
            }),
            over_cap: count(|outcome| matches!(outcome, EntryOutcome::Measured { is_over_cap: true, .. })),
            not_full: count(|outcome| matches!(outcome, EntryOutcome::Measured { fill, .. } if *fill < FULL)),
            out_of_memory: count(|outcome| matches!(outcome, EntryOutcome::OutOfMemory)),
            failed: count(|outcome| matches!(outcome, EntryOutcome::Failed(_))),
            seconds: entries.iter().map(|entry| entry.seconds).sum(),
            others: super::statistics::mean(&others)
                .map(|mean| (mean, others.iter().copied().fold(0.0, f64::max))),
        }
    }

    /// How the rows were made, and what of them needs care.
    fn notes(&self, plan: &Plan) -> String {
        let (steady, most) = (plan.measure.steady, plan.measure.most_windows);
        let mut notes = format!(
            "made by wattle profile: {} search; windows of {} ms or longer until {} agree within {} % in throughput and \
             power, at most {most}; the model was saturated from within the process, whose own work is included; \
             latencies are of batches, without the queue",
            plan.search,
            plan.measure.window.as_millis(),
            steady.windows,
            steady.band * 100.0,
        );
        let care = [
            (self.unsteady, "did not settle: they rest on all windows, and their intervals are wide"),
            (self.over_cap, "went above the power cap and were cut short"),
            (self.not_full, "had batches that were not full"),
            (self.out_of_memory, "ran out of memory and have no row"),
            (self.failed, "failed and have no row"),
        ];
        for (count, what) in care.into_iter().filter(|(count, _)| *count > 0) {
            notes.push_str(&format!("; {count} points {what}"));
        }
        notes
    }
}

/// Some caps, spread over the power that was seen.
fn caps(rows: &[ProfileRow], figure: PowerFigure) -> Vec<Watts> {
    let powers = || rows.iter().filter_map(|row| figure.of(row));
    let (Some(low), Some(high)) = (powers().reduce(Watts::min), powers().reduce(Watts::max)) else {
        return Vec::new();
    };
    if high.get() <= low.get() {
        return vec![high];
    }
    (0..CAPS).map(|step| low + (high - low) * (step as f64 / (CAPS - 1) as f64)).collect()
}
