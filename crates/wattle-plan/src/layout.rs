//! The ways in which a device with MIG can be cut.
//!
//! A GPU instance lies on consecutive memory slices from one of a few starts, and takes compute
//! slices (NVIDIA Multi-Instance GPU user guide, tables of instance profiles and placements). A set of
//! instances is legal where they can be placed so that none overlap. Profiles with more memory for the same compute
//! (`1g.10gb` of an A100 40 GB, say) are left out: no profile file tells them apart by size.

use std::collections::BTreeSet;

/// An instance profile: compute slices, memory slices, and the memory slices it may start at.
struct InstanceProfile {
    compute: u32,
    memory: u32,
    starts: &'static [u32],
}

/// A100, A800, H100, H200 and the like: 7 compute slices on 8 memory slices.
const SEVENTHS: [InstanceProfile; 5] = [
    InstanceProfile { compute: 7, memory: 8, starts: &[0] },
    InstanceProfile { compute: 4, memory: 4, starts: &[0] },
    InstanceProfile { compute: 3, memory: 4, starts: &[0, 4] },
    InstanceProfile { compute: 2, memory: 2, starts: &[0, 2, 4] },
    InstanceProfile { compute: 1, memory: 1, starts: &[0, 1, 2, 3, 4, 5, 6] },
];

/// A30: 4 compute slices on 4 memory slices.
const FOURTHS: [InstanceProfile; 3] = [
    InstanceProfile { compute: 4, memory: 4, starts: &[0] },
    InstanceProfile { compute: 2, memory: 2, starts: &[0, 2] },
    InstanceProfile { compute: 1, memory: 1, starts: &[0, 1, 2, 3] },
];

fn profiles(slices: u32) -> &'static [InstanceProfile] {
    match slices {
        7 => &SEVENTHS,
        4 => &FOURTHS,
        _ => &[],
    }
}

/// Sizes of slices, in compute slices, of a device of `slices` of them; largest first. Empty: no such device.
pub fn sizes(slices: u32) -> Vec<u32> {
    profiles(slices).iter().map(|profile| profile.compute).collect()
}

/// The legal sets of slices that nothing can be added to, each largest first. Every other legal set is a part
/// of one of these.
pub fn fullest(slices: u32) -> Vec<Vec<u32>> {
    let mut all = BTreeSet::new();
    place(profiles(slices), 0, slices, &mut Vec::new(), &mut all);
    let kept = all.iter().filter(|set| !all.iter().any(|other| other != *set && contains(other, set)));
    let mut kept: Vec<Vec<u32>> = kept.filter(|set| !set.is_empty()).cloned().collect();
    kept.reverse();
    kept
}

/// Whether slices of these sizes can be on one device of `slices` compute slices together.
pub fn is_legal(slices: u32, sizes: &[u32]) -> bool {
    let mut sorted = sizes.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.is_empty() || fullest(slices).iter().any(|full| contains(full, &sorted))
}

/// Every placement of further instances on the free memory slices, as sets of sizes.
fn place(
    profiles: &[InstanceProfile],
    taken: u32,
    compute_left: u32,
    set: &mut Vec<u32>,
    all: &mut BTreeSet<Vec<u32>>,
) {
    let mut sorted = set.clone();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    all.insert(sorted);
    for profile in profiles.iter().filter(|profile| profile.compute <= compute_left) {
        // From the largest down, so that each set of sizes is built in few orders.
        if set.last().is_some_and(|last| *last < profile.compute) {
            continue;
        }
        for start in profile.starts {
            let mask = ((1u32 << profile.memory) - 1) << start;
            if taken & mask == 0 {
                set.push(profile.compute);
                place(profiles, taken | mask, compute_left - profile.compute, set, all);
                set.pop();
            }
        }
    }
}

/// Whether the sorted `set` is part of the sorted `other`.
fn contains(other: &[u32], set: &[u32]) -> bool {
    let mut left = other.iter();
    set.iter().all(|size| left.any(|have| have == size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_of_sevenths_is_cut_as_nvidia_lists_it() {
        let expected: Vec<Vec<u32>> = vec![
            vec![7],
            vec![4, 3],
            vec![4, 2, 1],
            vec![4, 1, 1, 1],
            vec![3, 3],
            vec![3, 2, 2],
            vec![3, 2, 1, 1],
            vec![3, 1, 1, 1, 1],
            vec![2, 2, 2, 1],
            vec![2, 2, 1, 1, 1],
            vec![2, 1, 1, 1, 1, 1],
            vec![1, 1, 1, 1, 1, 1, 1],
        ];
        assert_eq!(fullest(7), expected);
        assert_eq!(fullest(4), [vec![4], vec![2, 2], vec![2, 1, 1], vec![1, 1, 1, 1]]);
        assert!(fullest(5).is_empty());
    }

    #[test]
    fn two_slices_of_three_leave_no_memory_for_a_seventh_compute_slice() {
        assert!(is_legal(7, &[3, 3]));
        assert!(!is_legal(7, &[3, 3, 1]));
        assert!(!is_legal(7, &[4, 4]));
        assert!(is_legal(7, &[1, 3, 1]));
        assert!(is_legal(7, &[]));
        assert!(!is_legal(7, &[5]));
    }
}
