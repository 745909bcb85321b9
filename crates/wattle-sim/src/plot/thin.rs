//! Fewer points for the same picture: the lowest and the highest of each stretch stay.

/// Points sorted by x, with no number as y where the value is unknown, and none without an x.
pub(super) fn cleaned(points: &[(f64, Option<f64>)]) -> Vec<(f64, Option<f64>)> {
    let known = points.iter().filter(|point| point.0.is_finite());
    let mut cleaned: Vec<_> = known.map(|(x, y)| (*x, y.filter(|y| y.is_finite()))).collect();
    cleaned.sort_by(|a, b| a.0.total_cmp(&b.0));
    cleaned
}

/// At most about `limit` of `points`, which are sorted by x: of each of equal stretches the first, the
/// lowest, the highest and the last, and one that is unknown, so that peaks and gaps stay.
pub(super) fn thinned(points: Vec<(f64, Option<f64>)>, limit: usize) -> Vec<(f64, Option<f64>)> {
    if points.len() <= limit {
        return points;
    }
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return points };
    // Halved, as the difference of two large numbers may be infinite.
    let (start, half_span) = (first.0, last.0 / 2.0 - first.0 / 2.0);
    let stretches = (limit / 5).max(1);
    let stretch_of = |x: f64| ((x / 2.0 - start / 2.0) / half_span * stretches as f64) as usize;
    let mut kept = Vec::with_capacity(limit);
    for stretch in points.chunk_by(|a, b| stretch_of(a.0) == stretch_of(b.0)) {
        keep(stretch, &mut kept);
    }
    kept
}

fn keep(stretch: &[(f64, Option<f64>)], kept: &mut Vec<(f64, Option<f64>)>) {
    let known = || stretch.iter().enumerate().filter_map(|(index, (_, y))| Some((index, (*y)?)));
    let mut indices: Vec<usize> = [
        known().next(),
        known().min_by(|a, b| a.1.total_cmp(&b.1)),
        known().max_by(|a, b| a.1.total_cmp(&b.1)),
        known().next_back(),
    ]
    .into_iter()
    .flatten()
    .map(|(index, _)| index)
    .chain(stretch.iter().position(|(_, y)| y.is_none()))
    .collect();
    indices.sort_unstable();
    indices.dedup();
    kept.extend(indices.into_iter().filter_map(|index| stretch.get(index)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_and_a_gap_of_one_point_stay() {
        let mut points: Vec<_> = (0..100_000).map(|index| (f64::from(index), Some(1.0))).collect();
        points[51_234].1 = Some(9.0);
        points[77_001].1 = None;
        let thin = thinned(points, 2000);
        assert!(thin.len() <= 2000, "{}", thin.len());
        assert!(thin.contains(&(51_234.0, Some(9.0))));
        assert!(thin.contains(&(77_001.0, None)));
        assert_eq!(thin.last(), Some(&(99_999.0, Some(1.0))));
    }

    #[test]
    fn points_at_one_place_are_thinned_too() {
        let points: Vec<_> = (0..10_000).map(|index| (3.0, Some(f64::from(index)))).collect();
        assert_eq!(thinned(points, 100), [(3.0, Some(0.0)), (3.0, Some(9999.0))]);
    }
}
