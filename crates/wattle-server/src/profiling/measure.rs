//! Measures one operating point: turns the knobs, keeps the model saturated, and looks at windows of time
//! until they agree.
//!
//! A window ends with the last batch that was answered in it, and the next begins there. So no batch is
//! cut in two, and a model whose batches take long gets longer windows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wattle_core::cap_account::is_over;
use wattle_core::knob::{DeviceSetting, ServingChange};
use wattle_core::operating_point::{Confidence, OperatingPoint, ProfileRow};
use wattle_core::profile::PowerFigure;
use wattle_core::provenance::Basis;
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};

use super::inputs::Inputs;
use super::load::Load;
use super::sampler::Sampler;
use super::statistics::{SteadyRule, WindowFigures, confidence_95, mean, percentile};
use crate::clock::Clock;
use crate::executor::RecordedBatch;
use crate::model_repository::ServedModel;

/// Batches in flight for each instance: one runs, and others wait to follow it at once.
const BATCHES_IN_FLIGHT: u32 = 4;
/// Batches that a window needs of each instance, so that one more or less matters little.
const FEWEST_BATCHES: u32 = 4;
/// A window with too few batches goes on for so many times its length.
const LONGEST_WINDOWS: u32 = 20;
/// How often it is looked whether a window is over or the power above the cap.
const POLL: Duration = Duration::from_millis(10);
/// So many samples above the cap cut a point short, where the highest power counts.
const SAMPLES_OVER: usize = 3;
/// Power samples that a mean over the cap rests on, at least.
const SAMPLES_OF_MEAN: usize = 3;

/// How long a point is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureOptions {
    /// Between turning the knobs and the first window: what ran at the point before has ended then.
    pub settle: Duration,
    /// Length of a window, at least.
    pub window: Duration,
    /// When enough windows agree.
    pub steady: SteadyRule,
    /// Most windows of a point; then it is taken as it is.
    pub most_windows: usize,
    /// Pause before each point, to let the device cool down.
    pub cool_down: Duration,
    /// No probe stays above this power: its window is cut short.
    pub cap: Option<Watts>,
    /// Which power is held against the cap: each sample, or their mean.
    pub figure: PowerFigure,
}

/// What came of a point.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// Its figures.
    Seen(Box<Seen>),
    /// The device or the machine has too little memory for it.
    OutOfMemory,
    /// Anything else went wrong.
    Failed(String),
    /// It was told to stop before enough was seen.
    Interrupted,
}

/// The figures of a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// As the profile has them.
    pub row: ProfileRow,
    /// Whether its last windows agreed. If not, the row rests on all of them.
    pub is_steady: bool,
    /// Whether it was cut short for being above the cap.
    pub is_over_cap: bool,
    /// Rows in a batch as a share of the most it may have, in the mean: less than 1 where requests came too
    /// slowly.
    pub fill: f64,
    /// Share of the device that others kept busy meanwhile, where it is known.
    pub others: Option<f64>,
}

/// Measures points of one model.
pub(super) struct Measurer<'a> {
    pub(super) clock: Clock,
    pub(super) model: &'a Arc<ServedModel>,
    pub(super) inputs: &'a Arc<Inputs>,
    pub(super) sampler: &'a Sampler,
    pub(super) options: &'a MeasureOptions,
    /// How time figures are known on this runtime.
    pub(super) basis: Basis,
    /// How power figures are known on this device.
    pub(super) power_basis: Basis,
    /// Memory in use now, where it is known.
    pub(super) memory_now: &'a dyn Fn() -> Option<u64>,
    /// Memory in use before the model was loaded.
    pub(super) memory_before: Option<u64>,
    /// Becomes true when the profile is to end.
    pub(super) stop: &'a AtomicBool,
}

/// A window of time that was looked at.
struct Window {
    start: Timestamp,
    end: Timestamp,
    batches: Vec<RecordedBatch>,
    figures: WindowFigures,
}

/// Why a point ended before its windows agreed.
enum Cut {
    Interrupted,
    OverCap,
    Failed(String),
}

impl Measurer<'_> {
    /// Measures `point`. Leaves the knobs there, and nothing under way.
    pub(super) fn measure(&self, point: &OperatingPoint) -> Measured {
        if self.nap(self.options.cool_down).is_err() {
            return Measured::Interrupted;
        }
        if let Err(failure) = self.turn(point) {
            return Measured::Failed(failure);
        }
        self.sampler.forget();
        let started = self.clock.now();
        let load = Load::start(Arc::clone(self.model), Arc::clone(self.inputs), self.in_flight(point));
        let load = match load {
            Ok(load) => load,
            Err(error) => return Measured::Failed(format!("no thread could be started: {error}")),
        };
        let mut windows = Vec::new();
        let ended = self.look(point, &load, started, &mut windows);
        let span = (started, self.clock.now());
        drop(load);
        self.model.executor.stop_recording();
        let (is_steady, is_over_cap) = match ended {
            Ok(is_steady) => (is_steady, false),
            Err(Cut::OverCap) => (false, true),
            Err(Cut::Interrupted) => return Measured::Interrupted,
            Err(Cut::Failed(detail)) if tells_out_of_memory(&detail) => return Measured::OutOfMemory,
            Err(Cut::Failed(detail)) => return Measured::Failed(detail),
        };
        let kept = if is_steady { windows.len().saturating_sub(self.options.steady.windows) } else { 0 };
        self.seen(point, windows.get(kept..).unwrap_or_default(), span, (is_steady, is_over_cap))
    }

    /// Takes windows until they agree (true) or are as many as may be (false).
    fn look(
        &self,
        point: &OperatingPoint,
        load: &Load,
        started: Timestamp,
        windows: &mut Vec<Window>,
    ) -> Result<bool, Cut> {
        let executor = &self.model.executor;
        executor.take_recorded();
        // Until the first answer it is not known where a window begins.
        let mut before = Vec::new();
        let limit = self.options.window.max(self.options.settle) * LONGEST_WINDOWS;
        while before.is_empty() || self.clock.now() - started < self.options.settle {
            self.watch(load, started)?;
            before.extend(executor.take_recorded());
            if self.clock.now() - started > limit && before.is_empty() {
                return Err(Cut::Failed(format!("no batch was answered within {} s", limit.as_secs_f64())));
            }
        }
        let mut start = last_end(&before).unwrap_or(started);
        let fewest = (FEWEST_BATCHES * point.instances) as usize;
        while windows.len() < self.options.most_windows.max(1) {
            let mut batches: Vec<RecordedBatch> = Vec::new();
            let (began, mut cut) = (self.clock.now(), None);
            loop {
                batches.extend(executor.take_recorded());
                let elapsed = self.clock.now() - began;
                let is_full = elapsed >= self.options.window && batches.len() >= fewest;
                if is_full || elapsed >= self.options.window * LONGEST_WINDOWS {
                    break;
                }
                if let Err(why) = self.watch(load, started) {
                    cut = Some(why);
                    break;
                }
            }
            let end = last_end(&batches);
            // What was seen before it went above the cap is kept; other ends leave nothing to keep.
            if let Some(end) = end.filter(|end| *end > start && matches!(cut, None | Some(Cut::OverCap))) {
                windows.push(self.window(start, end, batches));
                start = end;
            } else if cut.is_none() {
                let length = (self.options.window * LONGEST_WINDOWS).as_secs_f64();
                return Err(Cut::Failed(format!("no batch was answered within {length} s")));
            }
            if let Some(cut) = cut {
                return Err(cut);
            }
            let figures: Vec<WindowFigures> = windows.iter().map(|window| window.figures).collect();
            if self.options.steady.is_met(&figures) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn window(&self, start: Timestamp, end: Timestamp, batches: Vec<RecordedBatch>) -> Window {
        let rows: u64 = batches.iter().map(|batch| u64::from(batch.rows)).sum();
        let figures = WindowFigures {
            throughput_rps: rows as f64 / (end - start).as_secs_f64(),
            power_watts: self.sampler.power(start, end).mean.map(Watts::get),
            temperature_celsius: self.sampler.temperature_celsius(self.clock.now()),
        };
        Window { start, end, batches, figures }
    }

    /// Waits a moment, and tells what ends the point.
    fn watch(&self, load: &Load, started: Timestamp) -> Result<(), Cut> {
        self.nap(POLL)?;
        if let Some(error) = load.failure() {
            return Err(Cut::Failed(error.to_string()));
        }
        if let Some(error) = self.model.executor.batch_failure() {
            return Err(Cut::Failed(error));
        }
        let Some(cap) = self.options.cap else { return Ok(()) };
        if let Some(error) = self.sampler.error() {
            return Err(Cut::Failed(format!("its power could not be held against the cap: {error}")));
        }
        if self.sampler.is_silent(self.clock.now()) {
            let detail = "its power could not be held against the cap: the device no longer tells it";
            return Err(Cut::Failed(detail.into()));
        }
        let samples = self.sampler.samples_since(started, self.clock.now());
        let power = match self.options.figure {
            // The highest but for a few: single samples may be another program's doing.
            PowerFigure::Max => {
                let mut sorted = samples;
                sorted.sort_by(|a, b| f64::total_cmp(b, a));
                sorted.get(SAMPLES_OVER - 1).copied()
            }
            PowerFigure::P95 | PowerFigure::Mean => {
                mean(&samples).filter(|_| samples.len() >= SAMPLES_OF_MEAN)
            }
        };
        if power.is_some_and(|power| is_over(Watts::new(power), cap)) { Err(Cut::OverCap) } else { Ok(()) }
    }

    fn nap(&self, length: Duration) -> Result<(), Cut> {
        let until = self.clock.now() + length;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Cut::Interrupted);
            }
            let left = self.clock.until(until);
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(POLL));
        }
    }

    /// Turns every knob of `point`: those of the device first.
    fn turn(&self, point: &OperatingPoint) -> Result<(), String> {
        if let Some(partition) = &point.partition {
            return Err(format!("partition {partition:?} can't be set while serving"));
        }
        let settings = [
            point.core_clock_mhz.map(DeviceSetting::CoreClock),
            point.compute_units.map(DeviceSetting::ComputeUnits),
        ];
        for setting in settings.into_iter().flatten() {
            self.sampler.device().apply(setting).map_err(|error| error.to_string())?;
        }
        let executor = &self.model.executor;
        let waiting = u32::try_from(self.in_flight(point)).unwrap_or(u32::MAX);
        let change = ServingChange {
            max_queue_size: Some(executor.setting().max_queue_size.max(waiting)),
            ..point.serving_change()
        };
        executor.turn(&change).map(drop).map_err(|error| error.to_string())
    }

    /// Requests in flight, so that batches are full.
    fn in_flight(&self, point: &OperatingPoint) -> usize {
        let rows = BATCHES_IN_FLIGHT.saturating_mul(point.batch_size).saturating_mul(point.instances);
        rows.div_ceil(self.inputs.fewest_rows().max(1)) as usize
    }

    /// The row of the windows kept, of all the time that was looked.
    fn seen(
        &self,
        point: &OperatingPoint,
        kept: &[Window],
        (started, ended): (Timestamp, Timestamp),
        (is_steady, is_over_cap): (bool, bool),
    ) -> Measured {
        let span = kept.first().zip(kept.last()).map(|(first, last)| (first.start, last.end));
        // A probe cut short before its first batch still tells its power.
        let (start, end) = span.unwrap_or((started, ended));
        let power = self.sampler.power(start, end);
        let batches: Vec<&RecordedBatch> = kept.iter().flat_map(|window| &window.batches).collect();
        let rows: f64 = batches.iter().map(|batch| f64::from(batch.rows)).sum();
        let latencies: Vec<f64> = batches.iter().map(|batch| batch.took.as_secs_f64() * 1e3).collect();
        let throughput = span.map(|(start, end)| rows / (end - start).as_secs_f64());
        let of_windows = |figure: fn(&WindowFigures) -> Option<f64>| {
            let figures: Vec<f64> = kept.iter().filter_map(|window| figure(&window.figures)).collect();
            // Below the rounding of the figures themselves there is no spread.
            let least = mean(&figures)? * 1e-9;
            confidence_95(&figures).map(|half| if half < least { 0.0 } else { rounded(half) })
        };
        // All samples of a probe that was cut short count: the one above the cap may be its last.
        let all = self.sampler.samples_since(started, ended);
        // Their mean is what the cap was held against: by that of its windows alone it might seem to keep it.
        let (samples, power_mean) = if is_over_cap {
            (&all, mean(&all).map(Watts::new).or(power.mean))
        } else {
            (&power.samples, power.mean)
        };
        let memory = self.memory_before.zip((self.memory_now)());
        let milliseconds = |share| percentile(&latencies, share).map(rounded);
        let watts = |share| percentile(samples, share).map(|power| Watts::new(rounded(power)));
        let row = ProfileRow {
            point: point.clone(),
            throughput_rps: throughput.map(rounded),
            latency_ms_mean: mean(&latencies).map(rounded),
            latency_ms_p50: milliseconds(0.50),
            latency_ms_p95: milliseconds(0.95),
            latency_ms_p99: milliseconds(0.99),
            power_watts_mean: power_mean.map(|power| Watts::new(rounded(power.get()))),
            power_watts_p95: watts(0.95),
            power_watts_max: watts(1.0),
            energy_joules_per_row: power_mean
                .zip(throughput.filter(|rps| *rps > 0.0))
                .map(|(power, rps)| Joules::new(rounded(power.get() / rps))),
            memory_bytes: memory.and_then(|(before, now)| now.checked_sub(before)).filter(|bytes| *bytes > 0),
            basis: self.basis,
            power_basis: self.power_basis,
            samples: u32::try_from(batches.len()).unwrap_or(u32::MAX),
            confidence: Confidence {
                windows: u32::try_from(kept.len()).ok(),
                throughput_rps_ci95: of_windows(|window| Some(window.throughput_rps)),
                power_watts_ci95: of_windows(|window| window.power_watts).map(Watts::new),
                power_samples: u32::try_from(samples.len()).ok(),
            },
        };
        let most = f64::from(point.batch_size) * batches.len() as f64;
        let fill = if most > 0.0 { rows / most } else { 0.0 };
        Measured::Seen(Box::new(Seen { row, is_steady, is_over_cap, fill, others: power.others }))
    }
}

/// To nine digits: more than any sensor tells, few enough that every reader of numbers reads the same.
fn rounded(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}

fn last_end(batches: &[RecordedBatch]) -> Option<Timestamp> {
    batches.iter().map(|batch| batch.ended).max()
}

/// Whether a runtime's error says that memory ran out.
fn tells_out_of_memory(error: &str) -> bool {
    const SIGNS: [&str; 5] =
        ["out of memory", "out_of_memory", "bad_alloc", "cannot allocate memory", "failed to allocate"];
    let error = error.to_lowercase();
    SIGNS.iter().any(|sign| error.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_runtimes_that_ran_out_of_memory_are_known() {
        for error in [
            "CUDA failure 2: out of memory",
            "Failed to allocate memory for requested buffer of size 1024",
            "std::bad_alloc",
            "CUDA_ERROR_OUT_OF_MEMORY",
        ] {
            assert!(tells_out_of_memory(error), "{error}");
        }
        assert!(!tells_out_of_memory("input x has 3 bytes, expected 4"));
    }
}
