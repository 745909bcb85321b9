//! Sizes of partitions: `3/7`, `3g`, `3g.20gb` and `3` are all three slices.
//!
//! A partition is a name. It is also a number, and can be read between, where every partition of a
//! profile is written the same way and no two names are of the same size.

use std::collections::BTreeMap;

use crate::operating_point::OperatingPoint;

/// How a partition's size is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// `3`: so many of something.
    Count,
    /// `3/7`: so many of this many slices.
    ShareOf(u32),
    /// `3g` or `3g.20gb`: NVIDIA's names of MIG profiles, which begin with the number of slices.
    MigProfile,
}

/// The notation and size of the partition named `name`; `None` for a name that tells no size.
pub fn size(name: &str) -> Option<(Notation, u32)> {
    let count = |text: &str| text.parse::<u32>().ok().filter(|count| *count >= 1);
    if let Some((part, whole)) = name.split_once('/') {
        let (part, whole) = (count(part)?, count(whole)?);
        return (part <= whole).then_some((Notation::ShareOf(whole), part));
    }
    if let Some((slices, memory)) = name.split_once('g') {
        let memory = memory.strip_prefix('.').and_then(|memory| memory.strip_suffix("gb")).or(
            // `3g` alone leaves the memory open.
            memory.is_empty().then_some("1"),
        )?;
        count(memory)?;
        return Some((Notation::MigProfile, count(slices)?));
    }
    Some((Notation::Count, count(name)?))
}

/// The one notation in which every partition of `points` tells a size of its own, if there is one.
pub fn notation_of<'a>(points: impl IntoIterator<Item = &'a OperatingPoint>) -> Option<Notation> {
    let mut notation = None;
    let mut names = BTreeMap::new();
    for name in points.into_iter().filter_map(|point| point.partition.as_deref()) {
        let (found, slices) = size(name)?;
        if *notation.get_or_insert(found) != found || *names.entry(slices).or_insert(name) != name {
            return None;
        }
    }
    notation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_slices_tells_their_number() {
        assert_eq!(size("3/7"), Some((Notation::ShareOf(7), 3)));
        assert_eq!(size("3g"), Some((Notation::MigProfile, 3)));
        assert_eq!(size("3g.20gb"), Some((Notation::MigProfile, 3)));
        assert_eq!(size("3"), Some((Notation::Count, 3)));
        for other in
            ["", "0", "0/7", "8/7", "3/", "/7", "g", "3g.", "3g.20", "3gb", "big", "-1", "1g.10gb+me"]
        {
            assert_eq!(size(other), None, "{other:?}");
        }
    }
}
