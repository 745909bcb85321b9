//! Measures a device that models share: with nothing to do, with one model on more and more equal slices,
//! with each alone, and with several at once.
//!
//! After Sinha, Liakopoulos, Li and Yadwadkar, "The Utilization Fallacy", section 4.1, as
//! [`wattle_core::shared_power`] puts it: what it fits needs a light model with 1, 2 and 3 instances, each
//! tenant alone, and some sets of different tenants; the rest of those sets is held out, so that the error
//! can be told on what was not fitted. Which is which is drawn from a seed before anything is measured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_xoshiro::Xoshiro256PlusPlus;
use wattle_core::id::ModelName;
use wattle_core::knob::ServingChange;
use wattle_core::shared_power::{SharingFile, SharingRow, Tenant};
use wattle_core::units::Watts;

use super::bench::{Bench, Loaded};
use super::inputs::Inputs;
use super::load::Load;
use super::measure::MeasureOptions;
use super::statistics::{WindowFigures, confidence_95, mean};
use super::{PlanError, ProfilingError};

/// Instances of the light model are measured up to so many: as in the paper.
const MOST_INSTANCES: u32 = 3;
/// Requests in flight for each row of a batch: one batch runs, and others wait to follow it at once.
const BATCHES_IN_FLIGHT: u32 = 4;
/// How often it is looked whether a window is over.
const POLL: Duration = Duration::from_millis(10);

/// What is to be measured.
#[derive(Debug, Clone, PartialEq)]
pub struct SharingPlan {
    /// The models. The first is the light one, which is measured with several instances.
    pub models: Vec<ModelName>,
    /// The device is cut into so many equal slices, at least 2.
    pub slices: u32,
    /// What a slice is, in words.
    pub slice_means: String,
    /// Batch size of all of them; each one's largest by default.
    pub batch_size: Option<u32>,
    /// Sets of three are measured too.
    pub triples: bool,
    /// How long each set is looked at.
    pub measure: MeasureOptions,
    /// Luck of which sets are held out, and of made-up inputs.
    pub seed: u64,
}

/// One thing to measure: who is busy, and whether the fit is to see it.
#[derive(Debug, Clone, PartialEq)]
pub struct SharingStep {
    /// Who is busy.
    pub tenants: Vec<Tenant>,
    /// Whether it is held out.
    pub held_out: bool,
}

impl SharingPlan {
    /// Everything that is measured, in order: one model with more and more instances, the others alone,
    /// then sets of different ones, of which every second, drawn by luck, is held out. One set by itself
    /// is held out: an error that is told is worth more than a correction that nothing checks.
    pub fn steps(&self) -> Vec<SharingStep> {
        let tenant = |model: &ModelName| Tenant { model: model.clone(), slice: format!("1/{}", self.slices) };
        let fitted = |tenants| SharingStep { tenants, held_out: false };
        let mut steps = Vec::new();
        for (index, model) in self.models.iter().enumerate() {
            let most = if index == 0 { self.slices.min(MOST_INSTANCES) } else { 1 };
            steps.extend((1..=most).map(|count| fitted(vec![tenant(model); count as usize])));
        }
        let mut sets = Vec::new();
        for (index, a) in self.models.iter().enumerate() {
            for (next, b) in self.models.iter().enumerate().skip(index + 1) {
                sets.push(vec![tenant(a), tenant(b)]);
                if self.triples && self.slices >= 3 {
                    let third = self.models.iter().skip(next + 1);
                    sets.extend(third.map(|c| vec![tenant(a), tenant(b), tenant(c)]));
                }
            }
        }
        sets.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(self.seed));
        let sets = sets.into_iter().enumerate();
        steps.extend(sets.map(|(index, tenants)| SharingStep { tenants, held_out: index % 2 == 0 }));
        steps
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    /// What was measured, this time and before.
    pub file: SharingFile,
    /// Sets whose windows did not agree in time.
    pub unsteady: usize,
    /// Whether it was told to stop before all was measured.
    pub is_interrupted: bool,
}

impl Bench {
    /// Measures what `plan` says. `before` is what an interrupted run of the same plan measured: it is not
    /// measured again. `keep` is told the file after each set, so that none is lost; `on_step` what comes
    /// next, of how many.
    ///
    /// # Errors
    /// Where a model, the slices or the device can't be used, and where a request fails.
    pub fn share(
        &self,
        plan: &SharingPlan,
        before: Option<SharingFile>,
        stop: &AtomicBool,
        created: &str,
        mut keep: impl FnMut(&SharingFile) -> std::io::Result<()>,
        mut on_step: impl FnMut(usize, usize, &SharingStep),
    ) -> Result<Shared, ProfilingError> {
        let cores = self.cores / plan.slices.max(1);
        if plan.slices < 2 || cores == 0 {
            return Err(ProfilingError::Slices { slices: plan.slices, cores: self.cores });
        }
        if !self.sampler.finds_power(stop) {
            return Err(PlanError::UnknownPower { device: self.info.id.clone() }.into());
        }
        let mut company = Company { bench: self, plan, stop, cores, seats: BTreeMap::new() };
        for model in &plan.models {
            company.seat(model)?;
        }
        let mut unsteady = 0;
        let mut file = match before {
            Some(file) => file,
            None => {
                let Some((power, _, is_steady)) = company.look(&[])? else {
                    return Err(ProfilingError::Interrupted);
                };
                unsteady += usize::from(!is_steady);
                self.sharing_file(plan, power.power_watts, created)
            }
        };
        let steps = plan.steps();
        for (index, step) in steps.iter().enumerate() {
            if file.measured.iter().any(|row| row.tenants == step.tenants) {
                continue;
            }
            on_step(index, steps.len(), step);
            let Some((row, _, is_steady)) = company.look(&step.tenants)? else {
                return Ok(Shared { file, unsteady, is_interrupted: true });
            };
            unsteady += usize::from(!is_steady);
            file.measured.push(SharingRow { held_out: step.held_out, ..row });
            keep(&file).map_err(ProfilingError::Keep)?;
        }
        drop(company);
        self.restore()?;
        Ok(Shared { file, unsteady, is_interrupted: false })
    }

    fn sharing_file(&self, plan: &SharingPlan, static_watts: Watts, created: &str) -> SharingFile {
        let told = self.told();
        let power = self.sampler.device().info().power_provenance.clone();
        let mut file =
            SharingFile::new(self.info.description.clone(), plan.slice_means.clone(), static_watts, power);
        file.batch_size = plan.batch_size;
        file.runtime = Some(self.runtime());
        (file.driver, file.sensors) = (told.driver, told.sensors);
        file.ambient = Some(self.ambient());
        file.created = Some(created.to_owned());
        file
    }
}

/// The models that may be busy, each loaded once.
struct Company<'a> {
    bench: &'a Bench,
    plan: &'a SharingPlan,
    stop: &'a AtomicBool,
    /// Compute threads of a slice.
    cores: u32,
    seats: BTreeMap<ModelName, Seat<'a>>,
}

struct Seat<'a> {
    loaded: Loaded<'a>,
    inputs: Arc<Inputs>,
    batch_size: u32,
}

impl<'a> Company<'a> {
    fn seat(&mut self, model: &ModelName) -> Result<(), ProfilingError> {
        let loaded = self.bench.load(model)?;
        let inputs = Arc::new(Inputs::made_up(&loaded.model, self.plan.seed)?);
        let largest = loaded.model.config.limits.max_batch_size.max(1);
        let batch_size = self.plan.batch_size.unwrap_or(largest).min(largest);
        self.seats.insert(model.clone(), Seat { loaded, inputs, batch_size });
        Ok(())
    }

    /// Keeps `tenants` busy and nobody else, and looks at windows until they agree. Gives the row, rows
    /// answered per second, and whether they did agree; `None` when told to stop.
    fn look(&self, tenants: &[Tenant]) -> Result<Option<(SharingRow, f64, bool)>, ProfilingError> {
        if !self.nap(self.plan.measure.cool_down) {
            return Ok(None);
        }
        let mut counts: BTreeMap<&ModelName, u32> = BTreeMap::new();
        for tenant in tenants {
            *counts.entry(&tenant.model).or_default() += 1;
        }
        let busy: Vec<(&Seat<'a>, u32)> =
            counts.iter().filter_map(|(model, count)| Some((self.seats.get(*model)?, *count))).collect();
        let mut loads = Vec::new();
        self.bench.sampler.forget();
        for (seat, count) in &busy {
            loads.push(self.start(seat, *count)?);
        }
        let found = self.windows(&busy, &loads);
        drop(loads);
        for (seat, _) in &busy {
            seat.loaded.model.executor.stop_recording();
        }
        let Some((windows, samples, is_steady)) = found? else { return Ok(None) };
        let power: Vec<f64> = windows.iter().filter_map(|window| window.power_watts).collect();
        let rate: Vec<f64> = windows.iter().map(|window| window.throughput_rps).collect();
        let Some(mean_power) = mean(&power) else {
            return Err(PlanError::UnknownPower { device: self.bench.info.id.clone() }.into());
        };
        let row = SharingRow {
            tenants: tenants.to_vec(),
            power_watts: Watts::new(mean_power),
            power_watts_ci95: confidence_95(&power).map(Watts::new),
            samples: u32::try_from(samples).unwrap_or(u32::MAX),
            held_out: false,
        };
        Ok(Some((row, mean(&rate).unwrap_or(0.0), is_steady)))
    }

    fn start(&self, seat: &Seat<'a>, count: u32) -> Result<Load, ProfilingError> {
        let executor = &seat.loaded.model.executor;
        let rows = BATCHES_IN_FLIGHT.saturating_mul(seat.batch_size).saturating_mul(count);
        let in_flight = rows.div_ceil(seat.inputs.fewest_rows().max(1));
        let change = ServingChange {
            batch_size: Some(seat.batch_size),
            instances: Some(count),
            cores_per_instance: Some(self.cores),
            max_queue_size: Some(executor.setting().max_queue_size.max(in_flight)),
            ..ServingChange::default()
        };
        let failed =
            |detail: String| ProfilingError::Company { model: seat.loaded.model.name.clone(), detail };
        executor.turn(&change).map_err(|error| failed(error.to_string()))?;
        executor.take_recorded();
        let (model, inputs) = (Arc::clone(&seat.loaded.model), Arc::clone(&seat.inputs));
        Load::start(model, inputs, in_flight as usize).map_err(ProfilingError::Thread)
    }

    /// Windows until they agree or are as many as may be, without those from before they agreed; with the
    /// readings they rest on, and whether they agree.
    fn windows(
        &self,
        busy: &[(&Seat<'a>, u32)],
        loads: &[Load],
    ) -> Result<Option<(Vec<WindowFigures>, usize, bool)>, ProfilingError> {
        let options = &self.plan.measure;
        if !self.nap(options.settle) {
            return Ok(None);
        }
        busy.iter().for_each(|(seat, _)| drop(seat.loaded.model.executor.take_recorded()));
        let (clock, sampler) = (self.bench.clock, &self.bench.sampler);
        let mut windows: Vec<(WindowFigures, usize)> = Vec::new();
        while windows.len() < options.most_windows.max(1) {
            let start = clock.now();
            if !self.nap(options.window) {
                return Ok(None);
            }
            for ((seat, _), load) in busy.iter().zip(loads) {
                let model = &seat.loaded.model;
                let failure = load.failure().map(|error| error.to_string());
                if let Some(detail) = failure.or_else(|| model.executor.batch_failure()) {
                    return Err(ProfilingError::Company { model: model.name.clone(), detail });
                }
            }
            let end = clock.now();
            let batches = busy.iter().flat_map(|(seat, _)| seat.loaded.model.executor.take_recorded());
            let rows: u64 = batches.map(|batch| u64::from(batch.rows)).sum();
            let power = sampler.power(start, end);
            let figures = WindowFigures {
                throughput_rps: rows as f64 / (end - start).as_secs_f64(),
                power_watts: power.mean.map(Watts::get),
                temperature_celsius: sampler.temperature_celsius(end),
            };
            windows.push((figures, power.samples.len()));
            let figures: Vec<WindowFigures> = windows.iter().map(|(figures, _)| *figures).collect();
            if options.steady.is_met(&figures) {
                let kept = windows.split_off(windows.len().saturating_sub(options.steady.windows));
                return Ok(Some(summed(kept, true)));
            }
        }
        Ok(Some(summed(windows, false)))
    }

    /// Sleeps; false when told to stop meanwhile.
    fn nap(&self, length: Duration) -> bool {
        let until = self.bench.clock.now() + length;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            let left = self.bench.clock.until(until);
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(POLL));
        }
    }
}

fn summed(windows: Vec<(WindowFigures, usize)>, is_steady: bool) -> (Vec<WindowFigures>, usize, bool) {
    let samples = windows.iter().map(|(_, samples)| samples).sum();
    (windows.into_iter().map(|(figures, _)| figures).collect(), samples, is_steady)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profiling::statistics::SteadyRule;
    use wattle_core::profile::PowerFigure;

    fn plan(models: &[&str], slices: u32, triples: bool) -> SharingPlan {
        SharingPlan {
            models: models.iter().map(|model| (*model).into()).collect(),
            slices,
            slice_means: "a test".into(),
            batch_size: None,
            triples,
            measure: MeasureOptions {
                settle: Duration::ZERO,
                window: Duration::from_millis(1),
                steady: SteadyRule { windows: 2, band: 0.1, drift_celsius: 1.0 },
                most_windows: 2,
                cool_down: Duration::ZERO,
                cap: None,
                figure: PowerFigure::Mean,
            },
            seed: 1,
        }
    }

    #[test]
    fn one_model_is_measured_with_several_instances_each_alone_and_half_the_sets_are_held_out() {
        let steps = plan(&["a", "b", "c"], 4, true).steps();
        let sizes: Vec<usize> = steps.iter().map(|step| step.tenants.len()).collect();
        assert_eq!(sizes[..5], [1, 2, 3, 1, 1]);
        assert_eq!(sizes.len(), 5 + 3 + 1, "three pairs, one triple");
        assert!(steps[..5].iter().all(|step| !step.held_out));
        assert_eq!(steps.iter().filter(|step| step.held_out).count(), 2);
        assert_eq!(steps, plan(&["a", "b", "c"], 4, true).steps(), "the same seed holds out the same");
        let one_pair = plan(&["a", "b"], 2, false).steps();
        assert_eq!(one_pair.len(), 2 + 1 + 1);
        assert!(one_pair[3].held_out);
    }
}
