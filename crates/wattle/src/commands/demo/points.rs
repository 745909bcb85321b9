//! Which operating points the demo profiles.

use wattle_core::operating_point::OperatingPoint;

const BATCH_SIZES: [u32; 3] = [1, 8, 32];
const INSTANCES: [u32; 3] = [1, 2, 4];
/// At these the batch is large: rests after small batches are too short for a clock to keep.
const DUTY_CYCLES: [f64; 3] = [0.75, 0.5, 0.3];

/// Some 18 to 24 points for a machine with so many compute threads, hungriest first: every batch size
/// and number of instances at full duty, and the larger batches at each lower duty cycle.
pub(super) fn candidates(cores: u32, max_batch_size: u32, max_instances: u32) -> Vec<OperatingPoint> {
    let most = cores.min(max_instances).max(1);
    let instances: Vec<u32> = INSTANCES.into_iter().filter(|instances| *instances <= most).rev().collect();
    let sizes: Vec<u32> = BATCH_SIZES.into_iter().filter(|size| *size <= max_batch_size).rev().collect();
    let hungriest = instances.first().copied().unwrap_or(1);
    let mut points = Vec::new();
    for duty_cycle in std::iter::once(1.0).chain(DUTY_CYCLES) {
        for &instances in &instances {
            for &batch_size in &sizes {
                let is_worth_it = duty_cycle == 1.0 || batch_size > 1 || sizes.len() == 1;
                // With many cores, the middle numbers of instances are told apart at full duty only.
                let is_end = duty_cycle == 1.0 || [1, hungriest].contains(&instances);
                if is_worth_it && is_end {
                    let mut point = OperatingPoint::of_batch_and_instances(batch_size, instances);
                    point.duty_cycle = Some(duty_cycle);
                    points.push(point);
                }
            }
        }
    }
    points
}

/// At most `count` of `points`, evenly spread, both ends among them.
pub(super) fn thinned(points: Vec<OperatingPoint>, count: usize) -> Vec<OperatingPoint> {
    let (all, count) = (points.len(), count.max(2));
    if all <= count {
        return points;
    }
    (0..count).map(|index| points[index * (all - 1) / (count - 1)].clone()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use wattle_core::operating_point::{Confidence, ProfileRow};
    use wattle_core::profile::{Conditions, Profile, ProfileHead};
    use wattle_core::provenance::Basis;
    use wattle_core::units::Watts;

    /// A profile of rows of throughput and power.
    pub(in crate::commands::demo) fn profile_of(idle_watts: f64, rows: &[(f64, f64)]) -> Profile {
        let row = |(index, (rps, watts)): (usize, &(f64, f64))| ProfileRow {
            point: OperatingPoint::of_batch_and_instances(index as u32 + 1, 1),
            throughput_rps: Some(*rps),
            latency_ms_mean: None,
            latency_ms_p50: None,
            latency_ms_p95: None,
            latency_ms_p99: None,
            power_watts_mean: Some(Watts::new(*watts)),
            power_watts_p95: None,
            power_watts_max: Some(Watts::new(*watts)),
            energy_joules_per_row: None,
            memory_bytes: None,
            basis: Basis::Measured,
            power_basis: Basis::Assumed,
            samples: 1,
            confidence: Confidence::default(),
        };
        Profile {
            head: ProfileHead {
                model: "m".into(),
                device: String::new(),
                runtime: String::new(),
                idle_power_watts: Some(Watts::new(idle_watts)),
                request_overhead_ms: None,
                quality: None,
                power_source: String::new(),
                created: None,
                notes: None,
                conditions: Conditions::default(),
            },
            rows: rows.iter().enumerate().map(row).collect(),
        }
    }

    #[test]
    fn some_twenty_points_whatever_the_machine_and_no_two_alike() {
        for (cores, wanted) in [(1, 9), (2, 18), (3, 18), (4, 21), (64, 21)] {
            let points = candidates(cores, 32, cores);
            assert_eq!(points.len(), wanted, "{cores} cores");
            assert!(points.iter().enumerate().all(|(at, point)| !points[..at].contains(point)));
            assert_eq!(points[0].batch_size, 32, "the hungriest goes first");
        }
        assert_eq!(candidates(2, 1, 2).len(), 8, "a model that takes no batches still has duty cycles");
    }

    #[test]
    fn thinning_keeps_both_ends() {
        let points = candidates(4, 32, 4);
        let few = thinned(points.clone(), 6);
        assert_eq!(few.len(), 6);
        assert_eq!((few.first(), few.last()), (points.first(), points.last()));
        assert_eq!(thinned(points.clone(), 100), points);
    }
}
