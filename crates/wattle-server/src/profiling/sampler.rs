//! Reads the device while points are measured, at times that keep no step with its own.
//!
//! Sensors that average over a part of their period only are blind to what always falls into the rest.
//! So the gaps between readings are drawn anew each time, within a quarter of the period around it
//! (Yang et al., "Part-time power measurements", SC 2024).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use wattle_core::time::Timestamp;
use wattle_core::units::Watts;
use wattle_device::device::{Access, Reading, SensorView};
use wattle_device::held::Held;

use crate::clock::Clock;

/// Gaps are drawn between these shares of the period.
const GAP: std::ops::Range<f64> = 0.75..1.25;
/// Readings kept: several minutes of any window.
const KEPT: usize = 100_000;

/// A device that has told no power for so long tells none.
const SILENT: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const POLL: Duration = Duration::from_millis(10);

/// Owns the device and reads it on a thread of its own until dropped.
pub(super) struct Sampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    device: Mutex<Held>,
    trace: Mutex<Trace>,
    stop: AtomicBool,
}

#[derive(Default)]
struct Trace {
    readings: Vec<Reading>,
    error: Option<String>,
}

/// Power over a span of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct PowerSeen {
    /// Mean power: from the energy counter where the device has one, else of its power readings.
    pub(super) mean: Option<Watts>,
    /// The power of each reading.
    pub(super) samples: Vec<f64>,
    /// Share of the device that others than this process kept busy, in the mean, where it tells.
    pub(super) others: Option<f64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sampler {
    /// Reads `device` about once a `period`.
    pub(super) fn start(device: Held, clock: Clock, period: Duration, seed: u64) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            device: Mutex::new(device),
            trace: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("profile/sampler".into()).spawn(move || {
            let mut luck = Xoshiro256PlusPlus::seed_from_u64(seed);
            while !of_thread.stop.load(Ordering::Acquire) {
                let reading = lock(&of_thread.device).read(clock.now());
                {
                    let mut trace = lock(&of_thread.trace);
                    match reading {
                        Ok(reading) if tells_power(&reading) && trace.readings.len() < KEPT => {
                            trace.readings.push(reading);
                        }
                        Ok(_) => {}
                        Err(error) => trace.error = Some(error.to_string()),
                    }
                }
                thread::park_timeout(period.mul_f64(luck.random_range(GAP)));
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The device, which is not read while this is held.
    pub(super) fn device(&self) -> MutexGuard<'_, Held> {
        lock(&self.shared.device)
    }

    /// Forgets all readings but the last, which what follows is counted from.
    pub(super) fn forget(&self) {
        let mut trace = lock(&self.shared.trace);
        let all_but_one = trace.readings.len().saturating_sub(1);
        trace.readings.drain(..all_but_one);
        trace.error = None;
    }

    /// Why a reading failed since the last [`forget`](Self::forget), if one did.
    pub(super) fn error(&self) -> Option<String> {
        lock(&self.shared.trace).error.clone()
    }

    /// Power between `start` and `end`.
    pub(super) fn power(&self, start: Timestamp, end: Timestamp) -> PowerSeen {
        power_between(&lock(&self.shared.trace).readings, start, end)
    }

    /// The power of each reading since `start`, but for the first: that one may tell what was drawn before.
    pub(super) fn samples_since(&self, start: Timestamp, end: Timestamp) -> Vec<f64> {
        samples_within(&lock(&self.shared.trace).readings, start, end)
    }

    /// Whether the device has told no power for so long that nothing is known of it now.
    pub(super) fn is_silent(&self, now: Timestamp) -> bool {
        let told = lock(&self.shared.trace).readings.last().map(|reading| reading.at);
        told.is_none_or(|told| now - told > SILENT)
    }

    /// Whether the device tells its power, as it does from its second reading on. Ends early when `stop` is
    /// true, with a yes.
    pub(super) fn finds_power(&self, stop: &AtomicBool) -> bool {
        let began = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let told = {
                let trace = lock(&self.shared.trace);
                let ends = trace.readings.first().zip(trace.readings.last());
                ends.is_some_and(|(first, last)| {
                    power_between(&trace.readings, first.at, last.at).mean.is_some()
                })
            };
            if told || began.elapsed() > SILENT {
                return told;
            }
            thread::sleep(POLL);
        }
        true
    }

    /// The highest temperature that the device tells now, in degrees Celsius.
    pub(super) fn temperature_celsius(&self, now: Timestamp) -> Option<f64> {
        self.readings_of(now, |sensor| matches!(sensor.unit, "°C" | "C")).into_iter().reduce(f64::max)
    }

    /// Memory of the device that is in use now, in bytes, where it tells.
    pub(super) fn memory_used_bytes(&self, now: Timestamp) -> Option<u64> {
        let is_memory = |sensor: &SensorView| sensor.name == "memory_used" && sensor.unit == "bytes";
        self.readings_of(now, is_memory).first().map(|bytes| *bytes as u64)
    }

    fn readings_of(&self, now: Timestamp, is_wanted: impl Fn(&SensorView) -> bool) -> Vec<f64> {
        let sensors = self.device().inspect(now).sensors;
        let here =
            sensors.iter().filter(|sensor| is_wanted(sensor)).filter_map(|sensor| match sensor.reading {
                Access::Here(reading) => Some(reading),
                _ => None,
            });
        here.collect()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}

/// The power of each of `readings` that tells only of a span: steps of the counter that began before it
/// hold what was drawn then, as by the point that was measured before.
fn samples_within(readings: &[Reading], start: Timestamp, end: Timestamp) -> Vec<f64> {
    let first = readings.partition_point(|reading| reading.at < start);
    match readings.get(first) {
        Some(reading) => power_between(readings, reading.at, end).samples,
        None => Vec::new(),
    }
}

/// Whether a reading tells energy or power. One that doesn't is passed over: a counter that is read now and
/// then tells the energy in between, too.
fn tells_power(reading: &Reading) -> bool {
    reading.energy.is_some() || reading.power.is_some()
}

/// Power of `readings` in a span: from the last reading up to its start to the last up to its end, so that
/// of spans one after another each joule belongs to one.
fn power_between(readings: &[Reading], start: Timestamp, end: Timestamp) -> PowerSeen {
    let first = readings.partition_point(|reading| reading.at <= start).saturating_sub(1);
    let after = readings.partition_point(|reading| reading.at <= end);
    let inside = readings.get(first..after).unwrap_or_default();
    let steps = || inside.windows(2).filter_map(|pair| <&[Reading; 2]>::try_from(pair).ok());
    let step_power = |[before, now]: &[Reading; 2]| {
        let elapsed = now.at - before.at;
        let drawn = now.energy? - before.energy?;
        (!elapsed.is_zero()).then(|| (drawn / elapsed).get())
    };
    let samples: Vec<f64> =
        steps().filter_map(|step| step[1].power.map(Watts::get).or_else(|| step_power(step))).collect();
    let whole = match inside {
        [first, .., last] => step_power(&[first.clone(), last.clone()]),
        _ => None,
    };
    let others: Vec<f64> =
        steps().filter_map(|[_, now]| Some(now.utilization? * (1.0 - now.own_share?))).collect();
    PowerSeen {
        mean: whole.or_else(|| super::statistics::mean(&samples)).map(Watts::new),
        others: super::statistics::mean(&others),
        samples,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_core::units::Joules;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_duration(Duration::from_millis(ms))
    }

    fn reading(ms: u64, energy: Option<f64>, power: Option<f64>) -> Reading {
        Reading {
            at: at(ms),
            energy: energy.map(Joules::new),
            power: power.map(Watts::new),
            own_share: Some(0.75),
            utilization: Some(0.8),
        }
    }

    #[test]
    fn each_joule_belongs_to_one_of_two_spans_side_by_side() {
        let readings: Vec<Reading> =
            [(90, 0.0), (210, 2.4), (290, 4.0), (410, 10.0)].map(|(ms, j)| reading(ms, Some(j), None)).into();
        let power = |from, to| power_between(&readings, at(from), at(to)).mean.unwrap().get();
        assert!((power(100, 300) * 0.2 - 4.0).abs() < 1e-9, "from the reading at 90 to the one at 290");
        assert!((power(300, 420) * 0.12 - 6.0).abs() < 1e-9);
        assert_eq!(power_between(&readings, at(100), at(300)).samples.len(), 2);
    }

    #[test]
    fn power_that_the_device_tells_goes_before_steps_of_its_counter() {
        let readings = [(0, 0.0, 9.0), (100, 1.0, 30.0), (200, 2.0, 5.0)]
            .map(|(ms, joules, watts)| reading(ms, Some(joules), Some(watts)));
        let seen = power_between(&readings, at(0), at(200));
        assert_eq!(seen.samples, [30.0, 5.0]);
        assert!((seen.mean.unwrap().get() - 10.0).abs() < 1e-9, "the mean is the counter's");
        assert!((seen.others.unwrap() - 0.2).abs() < 1e-9);
    }

    #[test]
    fn what_was_drawn_before_a_span_is_no_sample_of_it() {
        // The point before drew 200 W until 100 ms, this one draws 10 W.
        let readings: Vec<Reading> = [(50, 0.0), (150, 10.5), (250, 11.5), (350, 12.5)]
            .map(|(ms, j)| reading(ms, Some(j), None))
            .into();
        assert_eq!(samples_within(&readings, at(100), at(350)), [10.0, 10.0]);
        assert_eq!(samples_within(&readings, at(100), at(240)), [0.0; 0]);
        assert_eq!(samples_within(&readings, at(360), at(400)), [0.0; 0]);
    }

    #[test]
    fn what_is_not_read_is_unknown() {
        let none = PowerSeen::default();
        assert_eq!(power_between(&[], at(0), at(100)), none);
        assert_eq!(power_between(&[reading(50, Some(1.0), None)], at(0), at(100)), none);
        assert!(!tells_power(&reading(0, None, None)) && tells_power(&reading(0, Some(1.0), None)));
        let silent = [0, 100].map(|ms| Reading { utilization: None, ..reading(ms, None, None) });
        assert_eq!(power_between(&silent, at(0), at(100)), none);
    }
}
