//! Operating points as places: the logarithms of the knobs that are numbers, and the names of the rest.

use wattle_core::operating_point::OperatingPoint;
use wattle_core::profile::partition::{Notation, notation_of, size};

/// Knobs that are numbers.
pub(crate) const KNOBS: usize = 7;

/// Where each stands in a place.
pub(crate) const BATCH: usize = 0;
pub(crate) const INSTANCES: usize = 1;
pub(crate) const CORES: usize = 2;
pub(crate) const DUTY: usize = 3;
pub(crate) const CLOCK: usize = 4;
pub(crate) const UNITS: usize = 5;
pub(crate) const SLICES: usize = 6;

/// What tells two points apart, in an order.
pub(crate) type Key = (u32, u32, Option<u32>, u64, Option<u64>, Option<u32>, Option<String>, Option<String>);

/// The key of `point`. A duty cycle that is not given counts as 1.
pub(crate) fn key(point: &OperatingPoint) -> Key {
    (
        point.batch_size,
        point.instances,
        point.cores_per_instance,
        point.duty_cycle.unwrap_or(1.0).to_bits(),
        point.core_clock_mhz.map(|clock| clock.get().to_bits()),
        point.compute_units,
        point.partition.clone(),
        point.variant.clone(),
    )
}

/// Whether both are one point. A duty cycle that is not given counts as 1.
pub(crate) fn same_point(one: &OperatingPoint, other: &OperatingPoint) -> bool {
    one.batch_size == other.batch_size && one.differs_in_batch_only(other)
}

/// Knobs that are names: points that differ in them are told apart, not measured by distance.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Names {
    pub(crate) variant: Option<String>,
    /// The partition, where partitions tell no size.
    pub(crate) partition: Option<String>,
}

/// A point by the logarithms to base 2 of its numbers, and its names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) at: [f64; KNOBS],
    /// Which of the numbers are set at all.
    pub(crate) is_set: [bool; KNOBS],
    pub(crate) names: Names,
}

/// How places are read off points: whether partitions tell a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading(Option<Notation>);

impl Reading {
    /// The reading that suits all of `points`.
    pub(crate) fn of<'a>(points: impl IntoIterator<Item = &'a OperatingPoint>) -> Self {
        Self(notation_of(points))
    }

    /// The place of `point`; `None` when a knob has no logarithm, or when the partition does not tell
    /// its size as the others do.
    pub(crate) fn place(self, point: &OperatingPoint) -> Option<Place> {
        let partition = point.partition.as_deref();
        let slices = match (partition, self.0) {
            (Some(name), Some(notation)) => {
                Some(size(name).filter(|(found, _)| *found == notation).map(|(_, slices)| slices)?)
            }
            _ => None,
        };
        let set = [
            Some(f64::from(point.batch_size)),
            Some(f64::from(point.instances)),
            point.cores_per_instance.map(f64::from),
            Some(point.duty_cycle.unwrap_or(1.0)),
            point.core_clock_mhz.map(|clock| clock.get()),
            point.compute_units.map(f64::from),
            slices.map(f64::from),
        ];
        let at = set.map(|knob| knob.unwrap_or(1.0).log2());
        at.iter().all(|knob| knob.is_finite()).then(|| Place {
            at,
            is_set: set.map(|knob| knob.is_some()),
            names: Names {
                variant: point.variant.clone(),
                partition: if slices.is_some() { None } else { point.partition.clone() },
            },
        })
    }
}
