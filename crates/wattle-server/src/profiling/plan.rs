//! Which points are measured, in search of what, and how.

use std::collections::BTreeMap;

use wattle_core::id::DeviceId;
use wattle_core::knob::{DeviceKnob, DeviceSetting, KnobRange, ServingLimits};
use wattle_core::operating_point::OperatingPoint;
use wattle_core::units::Megahertz;
use wattle_device::device::{DeviceError, DeviceInfo};
use wattle_search::{Axes, Constraints, Question, Space, SpaceError};

use super::measure::MeasureOptions;

/// Most instances that are tried unless asked for.
const MOST_INSTANCES: u32 = 8;
/// Clocks that are tried of a device that takes any in a range.
const CLOCKS_OF_RANGE: u32 = 5;
/// Points that a search is given at least, where there are as many.
const FEWEST_POINTS: usize = 12;
/// Share of the points that a search is given otherwise.
const SHARE_OF_POINTS: f64 = 0.15;

/// How a model is profiled.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the search, one of [`wattle_search::STRATEGIES`].
    pub search: String,
    /// What is sought.
    pub question: Question,
    /// What a point has to keep.
    pub constraints: Constraints,
    /// Most points; by default all for `exhaustive`, else the larger of 12 and 15 % of them.
    pub budget: Option<usize>,
    /// Luck of searches, inputs and sampling times.
    pub seed: u64,
    /// Values of the knobs.
    pub values: KnobValues,
    /// How long each point is looked at.
    pub measure: MeasureOptions,
    /// A file of requests, by name and text; made up from the seed by default.
    pub inputs: Option<(String, String)>,
}

/// Values of the knobs that are tried. `None`: the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnobValues {
    /// Most rows that run together; powers of two up to the model's largest batch by default.
    pub batch_sizes: Option<Vec<u32>>,
    /// Instances; powers of two up to the compute threads, at most 8, by default.
    pub instances: Option<Vec<u32>>,
    /// Compute threads of an instance; powers of two up to the compute threads by default.
    pub cores_per_instance: Option<Vec<u32>>,
    /// Shares of time; 1 alone by default.
    pub duty_cycles: Option<Vec<f64>>,
    /// Core clocks of the device; left alone by default.
    pub clocks: Option<Clocks>,
    /// Compute units of the device; left alone by default.
    pub compute_units: Option<Vec<u32>>,
}

/// Core clocks of the device.
#[derive(Debug, Clone, PartialEq)]
pub enum Clocks {
    /// Those that the device takes, or some spread evenly over its range.
    Auto,
    /// These.
    These(Vec<f64>),
}

/// Points that can't be measured here.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A value is one that the model or the server does not take.
    #[error("{knob} of {found} can't be measured, expected {min} to {max}")]
    OutOfRange {
        /// Which knob.
        knob: &'static str,
        /// The value asked for.
        found: u32,
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// A bound on memory, where nobody tells it.
    #[error("{device} does not tell its memory, so no bound on it can be kept; leave the bound out")]
    UnknownMemory {
        /// Which device.
        device: DeviceId,
    },
    /// A cap on power or a question about it, where nobody tells it.
    #[error(
        "{device} tells no power, so no cap on it can be kept and no least of it be found; leave the cap out, and ask for \
         throughput"
    )]
    UnknownPower {
        /// Which device.
        device: DeviceId,
    },
    /// A value of a knob of the device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The values make no space.
    #[error(transparent)]
    Space(#[from] SpaceError),
}

impl Plan {
    /// Most points that are measured of `points`.
    pub fn budget(&self, points: usize) -> usize {
        let default = if self.search == "exhaustive" {
            points
        } else {
            FEWEST_POINTS.max((points as f64 * SHARE_OF_POINTS).ceil() as usize)
        };
        self.budget.unwrap_or(default).min(points)
    }

    /// Whether nothing can be found where power is not known.
    pub(super) fn needs_power(&self) -> bool {
        self.constraints.cap.is_some() || self.question != Question::MostThroughput
    }

    /// All that decides which points are measured and how, but for the budget: more points may be asked
    /// for when a run is taken up again.
    pub(super) fn settings(&self, space: &Space) -> BTreeMap<String, String> {
        let MeasureOptions { settle, window, steady, most_windows, cool_down, cap: _, figure: _ } =
            &self.measure;
        let axis = |of: fn(&OperatingPoint) -> String| {
            let mut values: Vec<String> = Vec::new();
            for value in space.points().iter().map(of) {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            values.join(",")
        };
        let told = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let inputs = self.inputs.as_ref().map_or_else(
            || "made up".to_owned(),
            |(_, text)| format!("SHA-256 {}", super::sha256_hex(text.as_bytes())),
        );
        let Constraints { cap, figure, latency_ms, memory_bytes } = self.constraints;
        [
            ("search", self.search.clone()),
            ("question", format!("{:?}", self.question)),
            ("power_cap_watts", told(cap.map(|cap| cap.get()))),
            ("power_figure", format!("{figure:?}").to_lowercase()),
            ("latency_ms", told(latency_ms)),
            ("memory_bytes", memory_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string())),
            ("seed", self.seed.to_string()),
            ("inputs", inputs),
            ("settle_ms", settle.as_millis().to_string()),
            ("window_ms", window.as_millis().to_string()),
            ("windows", steady.windows.to_string()),
            ("band", steady.band.to_string()),
            ("max_windows", most_windows.to_string()),
            ("cool_down_ms", cool_down.as_millis().to_string()),
            ("points", space.points().len().to_string()),
            ("batch_sizes", axis(|point| point.batch_size.to_string())),
            ("instances", axis(|point| point.instances.to_string())),
            ("cores_per_instance", axis(|point| format!("{:?}", point.cores_per_instance))),
            ("duty_cycles", axis(|point| format!("{:?}", point.duty_cycle))),
            ("core_clocks_mhz", axis(|point| format!("{:?}", point.core_clock_mhz.map(Megahertz::get)))),
            ("compute_units", axis(|point| format!("{:?}", point.compute_units))),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

impl KnobValues {
    /// The points of these values, for a model with these `limits` on a server of so many `cores` compute
    /// threads and the device of `info`. Of combinations that were not all asked for, those that take more
    /// compute threads than there are stay out: their instances would wait for each other.
    ///
    /// # Errors
    /// Where a value is one that can't be set.
    pub fn space(&self, limits: ServingLimits, cores: u32, info: &DeviceInfo) -> Result<Space, PlanError> {
        let batch_size = self.batch_sizes.clone().unwrap_or_else(|| doublings(limits.max_batch_size));
        let most = cores.min(limits.max_instances).min(MOST_INSTANCES);
        let instances = self.instances.clone().unwrap_or_else(|| doublings(most));
        let cores_per_instance = self
            .cores_per_instance
            .clone()
            .unwrap_or_else(|| doublings(cores.min(limits.max_cores_per_instance)));
        let checked = [
            ("a batch size", &batch_size, limits.max_batch_size),
            ("a number of instances", &instances, limits.max_instances),
            ("a number of cores per instance", &cores_per_instance, limits.max_cores_per_instance),
        ];
        for (knob, values, max) in checked {
            if let Some(&found) = values.iter().find(|value| !(1..=max).contains(*value)) {
                return Err(PlanError::OutOfRange { knob, found, min: 1, max });
            }
        }
        let axes = Axes {
            batch_size,
            instances,
            cores_per_instance,
            duty_cycle: self.duty_cycles.clone().unwrap_or_default(),
            core_clock_mhz: self.clocks(info)?,
            compute_units: self.units(info)?,
            ..Axes::default()
        };
        let space = Space::product(&axes)?;
        if self.instances.is_some() && self.cores_per_instance.is_some() {
            return Ok(space);
        }
        let fits = |point: &&OperatingPoint| {
            point.instances.saturating_mul(point.cores_per_instance.unwrap_or(1)) <= cores
        };
        let fitting: Vec<OperatingPoint> = space.points().iter().filter(fits).cloned().collect();
        if fitting.is_empty() { Ok(space) } else { Ok(Space::new(fitting)?) }
    }

    fn clocks(&self, info: &DeviceInfo) -> Result<Vec<Megahertz>, PlanError> {
        let values = match &self.clocks {
            None => return Ok(Vec::new()),
            Some(Clocks::These(clocks)) => clocks.clone(),
            Some(Clocks::Auto) => {
                let knob = DeviceKnob::CoreClock;
                steps_of(info.range(knob).ok_or_else(|| info.no_such_knob(knob))?)
            }
        };
        let mut accepted: Vec<Megahertz> = Vec::new();
        for clock in values {
            let clock = Megahertz::new(info.accept(DeviceSetting::CoreClock(Megahertz::new(clock)))?);
            // Two that the device rounds to one step are one.
            if !accepted.contains(&clock) {
                accepted.push(clock);
            }
        }
        Ok(accepted)
    }

    fn units(&self, info: &DeviceInfo) -> Result<Vec<u32>, PlanError> {
        let units = self.compute_units.iter().flatten();
        Ok(units
            .map(|units| info.accept(DeviceSetting::ComputeUnits(*units)).map(|units| units as u32))
            .collect::<Result<_, _>>()?)
    }
}

/// The steps of a knob, or some values spread evenly over its range.
fn steps_of(range: &KnobRange) -> Vec<f64> {
    if !range.steps.is_empty() {
        return range.steps.clone();
    }
    let last = f64::from(CLOCKS_OF_RANGE - 1);
    (0..CLOCKS_OF_RANGE).map(|step| range.min + (range.max - range.min) * f64::from(step) / last).collect()
}

/// 1, 2, 4 and so on, and `most` itself at the end.
fn doublings(most: u32) -> Vec<u32> {
    let most = most.max(1);
    let below = std::iter::successors(Some(1u32), |value| value.checked_mul(2));
    below.take_while(|value| *value < most).chain([most]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_core::provenance::{Basis, Provenance};

    const LIMITS: ServingLimits =
        ServingLimits { max_batch_size: 12, max_instances: 64, max_cores_per_instance: 4 };

    fn info(steps: Vec<f64>) -> DeviceInfo {
        let knob = DeviceKnob::CoreClock;
        DeviceInfo {
            id: "d".into(),
            description: String::new(),
            knobs: vec![KnobRange { knob, min: 1000.0, max: 2000.0, steps }],
            power_provenance: Provenance::new(Basis::Assumed, "test"),
            idle_power: None,
            full_power: None,
        }
    }

    #[test]
    fn by_default_points_take_no_more_threads_than_there_are_and_every_size_of_batch() {
        let space = KnobValues::default().space(LIMITS, 4, &info(vec![])).unwrap();
        // Batches 1, 2, 4, 8, 12 with (m, c) of 1x1, 1x2, 1x4, 2x1, 2x2 and 4x1.
        assert_eq!(space.points().len(), 5 * 6);
        assert!(space.points().iter().all(|point| point.instances * point.cores_per_instance.unwrap() <= 4));
        assert!(space.points().iter().any(|point| point.batch_size == 12));
        assert!(space.points().iter().all(|point| point.core_clock_mhz.is_none()));
    }

    #[test]
    fn values_asked_for_are_taken_as_they_are_or_refused_by_name() {
        let asked = |instances, cores| KnobValues {
            batch_sizes: Some(vec![4]),
            instances: Some(vec![instances]),
            cores_per_instance: Some(vec![cores]),
            ..KnobValues::default()
        };
        assert_eq!(asked(8, 2).space(LIMITS, 4, &info(vec![])).unwrap().points().len(), 1);
        let error = asked(8, 5).space(LIMITS, 4, &info(vec![])).unwrap_err().to_string();
        assert_eq!(error, "a number of cores per instance of 5 can't be measured, expected 1 to 4");
        let clocks = KnobValues { clocks: Some(Clocks::These(vec![900.0])), ..asked(1, 1) };
        let error = clocks.space(LIMITS, 4, &info(vec![])).unwrap_err().to_string();
        assert!(error.contains("900 is out of its range, 1000 to 2000"), "{error}");
        let units = KnobValues { compute_units: Some(vec![1]), ..asked(1, 1) };
        let error = units.space(LIMITS, 4, &info(vec![])).unwrap_err().to_string();
        assert!(error.contains("has no knob compute_units"), "{error}");
    }

    #[test]
    fn clocks_are_the_steps_of_the_device_or_spread_over_its_range() {
        let clocks = |values, steps| {
            let values =
                KnobValues { batch_sizes: Some(vec![1]), clocks: Some(values), ..KnobValues::default() };
            let space = values.space(LIMITS, 1, &info(steps)).unwrap();
            let clocks = space.points().iter().filter_map(|point| Some(point.core_clock_mhz?.get()));
            clocks.collect::<Vec<_>>()
        };
        assert_eq!(clocks(Clocks::Auto, vec![]), [1000.0, 1250.0, 1500.0, 1750.0, 2000.0]);
        assert_eq!(clocks(Clocks::Auto, vec![1000.0, 1700.0, 2000.0]), [1000.0, 1700.0, 2000.0]);
        let asked = Clocks::These(vec![1100.0, 1650.0, 1700.0]);
        assert_eq!(clocks(asked, vec![1000.0, 1700.0, 2000.0]), [1000.0, 1700.0], "each step once");
    }
}
