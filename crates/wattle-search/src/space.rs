//! The finite grid of points that may be measured.

use wattle_core::operating_point::OperatingPoint;
use wattle_core::units::Megahertz;

use crate::knobs::same_point;

/// More points than this are refused: no search would look at them all in time.
const MOST_POINTS: usize = 100_000;

/// Values of each knob. An empty list leaves the knob at its default; for batch size and instances
/// that is 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axes {
    /// Most rows that run together.
    pub batch_size: Vec<u32>,
    /// Instances of the model side by side.
    pub instances: Vec<u32>,
    /// Compute threads of one instance.
    pub cores_per_instance: Vec<u32>,
    /// Shares of time in which the instances may compute, in (0, 1].
    pub duty_cycle: Vec<f64>,
    /// Core clocks of the device.
    pub core_clock_mhz: Vec<Megahertz>,
    /// Compute units of the device in use.
    pub compute_units: Vec<u32>,
    /// Partitions of the device.
    pub partition: Vec<String>,
    /// Variants of the model's family.
    pub variant: Vec<String>,
}

/// The points that may be measured: at least one, each once.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    points: Vec<OperatingPoint>,
}

/// Points that make no space.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpaceError {
    /// There is none.
    #[error("found no operating point, expected at least one; give some values of the knobs")]
    Empty,
    /// There are far too many.
    #[error(
        "found {found} operating points, expected at most {MOST_POINTS}; give fewer values of some knobs"
    )]
    TooMany {
        /// How many.
        found: usize,
    },
    /// A knob has a value that no device takes.
    #[error("operating point {index}, {knob}: found {found}, expected {expected}; correct the value")]
    BadValue {
        /// Which point, from 0.
        index: usize,
        /// The knob.
        knob: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A point stands twice.
    #[error("operating point {index} is the same as point {first}, expected each once; leave one out")]
    Twice {
        /// The earlier one, from 0.
        first: usize,
        /// The later one.
        index: usize,
    },
}

impl Space {
    /// The space of `points`.
    pub fn new(points: Vec<OperatingPoint>) -> Result<Self, SpaceError> {
        if points.is_empty() {
            return Err(SpaceError::Empty);
        }
        if points.len() > MOST_POINTS {
            return Err(SpaceError::TooMany { found: points.len() });
        }
        for (index, point) in points.iter().enumerate() {
            check(index, point)?;
        }
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_by_cached_key(|index| points.get(*index).map(crate::knobs::key));
        for pair in order.windows(2) {
            if let [a, b] = pair
                && let (Some(one), Some(other)) = (points.get(*a), points.get(*b))
                && same_point(one, other)
            {
                return Err(SpaceError::Twice { first: *a.min(b), index: *a.max(b) });
            }
        }
        Ok(Self { points })
    }

    /// Every combination of the values of `axes`.
    pub fn product(axes: &Axes) -> Result<Self, SpaceError> {
        let lengths = [
            axes.batch_size.len(),
            axes.instances.len(),
            axes.cores_per_instance.len(),
            axes.duty_cycle.len(),
            axes.core_clock_mhz.len(),
            axes.compute_units.len(),
            axes.partition.len(),
            axes.variant.len(),
        ];
        let found = lengths.iter().fold(1usize, |count, length| count.saturating_mul((*length).max(1)));
        if found > MOST_POINTS {
            return Err(SpaceError::TooMany { found });
        }
        let mut points = vec![OperatingPoint::of_batch_and_instances(1, 1)];
        cross(&mut points, &axes.variant, |point, value| point.variant = Some(value.clone()));
        cross(&mut points, &axes.partition, |point, value| point.partition = Some(value.clone()));
        cross(&mut points, &axes.compute_units, |point, value| point.compute_units = Some(*value));
        cross(&mut points, &axes.core_clock_mhz, |point, value| point.core_clock_mhz = Some(*value));
        cross(&mut points, &axes.duty_cycle, |point, value| point.duty_cycle = Some(*value));
        cross(&mut points, &axes.cores_per_instance, |point, value| point.cores_per_instance = Some(*value));
        cross(&mut points, &axes.instances, |point, value| point.instances = *value);
        cross(&mut points, &axes.batch_size, |point, value| point.batch_size = *value);
        Self::new(points)
    }

    /// The points, in the order given.
    pub fn points(&self) -> &[OperatingPoint] {
        &self.points
    }
}

/// Every one of `points` at every one of `values`; as they are where there is none.
fn cross<T>(points: &mut Vec<OperatingPoint>, values: &[T], set: impl Fn(&mut OperatingPoint, &T)) {
    if values.is_empty() {
        return;
    }
    let crossed = points.iter().flat_map(|point| {
        values.iter().map(|value| {
            let mut point = point.clone();
            set(&mut point, value);
            point
        })
    });
    *points = crossed.collect();
}

/// Fails when a knob of `point` has a value that no device takes.
fn check(index: usize, point: &OperatingPoint) -> Result<(), SpaceError> {
    let counts = [
        ("batch_size", Some(point.batch_size)),
        ("instances", Some(point.instances)),
        ("cores_per_instance", point.cores_per_instance),
        ("compute_units", point.compute_units),
    ];
    let bad = |knob, found: String, expected| Err(SpaceError::BadValue { index, knob, found, expected });
    if let Some((knob, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
        return bad(knob, "0".to_owned(), "at least 1");
    }
    if let Some(duty) = point.duty_cycle.filter(|duty| !(*duty > 0.0 && *duty <= 1.0)) {
        return bad("duty_cycle", duty.to_string(), "a share over 0, up to 1");
    }
    let bad_clock = |clock: &Megahertz| !(clock.get().is_finite() && clock.get() > 0.0);
    if let Some(clock) = point.core_clock_mhz.filter(bad_clock) {
        return bad("core_clock_mhz", clock.get().to_string(), "MHz over 0");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_has_every_combination_once() {
        let axes = Axes {
            batch_size: vec![1, 2, 4],
            instances: vec![1, 2],
            partition: vec!["1g".to_owned(), "7g".to_owned()],
            ..Axes::default()
        };
        let space = Space::product(&axes).unwrap();
        assert_eq!(space.points().len(), 12);
        assert_eq!(Space::product(&Axes::default()).unwrap().points().len(), 1);
    }

    #[test]
    fn errors_name_the_point_and_the_knob() {
        let axes = Axes { duty_cycle: vec![0.5, 1.5], ..Axes::default() };
        let error = Space::product(&axes).unwrap_err().to_string();
        assert!(error.contains("point 1, duty_cycle: found 1.5"), "{error}");
        let axes = Axes { batch_size: vec![4, 0], ..Axes::default() };
        assert!(Space::product(&axes).unwrap_err().to_string().contains("batch_size: found 0"));
        let axes = Axes { batch_size: vec![4, 8, 4], ..Axes::default() };
        assert_eq!(Space::product(&axes), Err(SpaceError::Twice { first: 0, index: 2 }));
        assert_eq!(Space::new(Vec::new()), Err(SpaceError::Empty));
        let axes =
            Axes { batch_size: (1..=1000).collect(), instances: (1..=1000).collect(), ..Axes::default() };
        assert_eq!(Space::product(&axes), Err(SpaceError::TooMany { found: 1_000_000 }));
    }
}
