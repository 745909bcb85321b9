//! Which points are out of memory, by those that were found to be.

use wattle_core::operating_point::OperatingPoint;
use wattle_core::profile::partition::size;

use crate::probe::{Outcome, Probe};

/// Whether `point` must be out of memory because one of `seen` was: it has at least as large a batch and
/// at least as many instances, of the same variant, in the same partition or a smaller one.
///
/// Both have to be at least as large. A larger product alone says nothing: many instances take memory
/// for their weights, large batches for what they compute, and each may run out without the other.
pub(crate) fn is_out_of_memory(point: &OperatingPoint, seen: &[Probe]) -> bool {
    seen.iter().filter(|probe| probe.outcome == Outcome::OutOfMemory).any(|probe| {
        let short = &probe.point;
        point.batch_size >= short.batch_size
            && point.instances >= short.instances
            && point.variant == short.variant
            && is_within(point.partition.as_deref(), short.partition.as_deref())
    })
}

/// How likely `point` has memory enough, guessed from its rows in flight per slice: certain up to the most
/// that ran, falling to a twentieth at the fewest that did not. It only lowers interest in a point.
pub(crate) fn chance_of_memory(point: &OperatingPoint, seen: &[Probe]) -> f64 {
    let load = |point: &OperatingPoint| {
        let slices = point.partition.as_deref().and_then(size).map_or(1, |(_, slices)| slices);
        (f64::from(point.batch_size) * f64::from(point.instances) / f64::from(slices)).log2()
    };
    let alike = |probe: &&Probe| probe.point.variant == point.variant;
    let loads = |has_run: bool| {
        let wanted = seen.iter().filter(alike).filter(move |probe| match probe.outcome {
            Outcome::Measured(_) => has_run,
            Outcome::OutOfMemory => !has_run,
            Outcome::Failed(_) => false,
        });
        wanted.map(|probe| load(&probe.point))
    };
    let Some(short) = loads(false).reduce(f64::min) else { return 1.0 };
    let ran = loads(true).reduce(f64::max).map_or(0.0, |ran| ran.min(short));
    let own = load(point);
    if own <= ran {
        return 1.0;
    }
    let way = ((own - ran) / (short - ran)).min(1.0);
    1.0 - 0.95 * if way.is_finite() { way } else { 1.0 }
}

/// Whether `partition` has no more memory than `other`, for all that their names tell.
fn is_within(partition: Option<&str>, other: Option<&str>) -> bool {
    let sizes = || Some((size(partition?)?, size(other?)?));
    partition == other || sizes().is_some_and(|(one, other)| one.0 == other.0 && one.1 <= other.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_a_point_out_of_memory_is_so_too_and_nothing_else() {
        let at = |batch, instances, partition: &str| OperatingPoint {
            partition: Some(partition.to_owned()),
            ..OperatingPoint::of_batch_and_instances(batch, instances)
        };
        let seen = [Probe { point: at(8, 2, "2g"), outcome: Outcome::OutOfMemory }];
        for (point, expected) in [
            (at(8, 2, "2g"), true),
            (at(16, 2, "2g"), true),
            (at(8, 3, "1g"), true),
            (at(8, 2, "3g"), false),
            (at(64, 1, "2g"), false),
            (at(4, 8, "2g"), false),
            (at(8, 2, "2/7"), false),
        ] {
            assert_eq!(is_out_of_memory(&point, &seen), expected, "{point:?}");
        }
    }
}
