//! Contour lines of a grid by marching squares.

/// Values on a grid. Places along an axis need not be evenly spaced.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grid {
    /// Places along, rising.
    pub x: Vec<f64>,
    /// Places up, rising.
    pub y: Vec<f64>,
    /// A value for each place, row by row from the lowest y; unknown ones are none.
    pub values: Vec<Option<f64>>,
}

impl Grid {
    /// A grid of `value` at each of `x` and `y`.
    pub fn of(x: Vec<f64>, y: Vec<f64>, value: impl Fn(f64, f64) -> Option<f64>) -> Self {
        let values = y.iter().flat_map(|y| x.iter().map(|x| value(*x, *y))).collect();
        Self { x, y, values }
    }

    /// The value at a column and a row, if it is a finite number.
    pub(super) fn at(&self, column: usize, row: usize) -> Option<f64> {
        let value = self.values.get(row * self.x.len() + column).copied().flatten();
        value.filter(|value| value.is_finite())
    }
}

/// A straight piece of a contour line.
pub type Segment = ((f64, f64), (f64, f64));

/// The pieces of the line on which `grid` is `level`. A cell with an unknown corner has none. In a saddle
/// the mean of the corners decides which sides are joined.
pub fn segments(grid: &Grid, level: f64) -> Vec<Segment> {
    let mut found = Vec::new();
    if !level.is_finite() {
        return found;
    }
    for (row, y) in grid.y.windows(2).enumerate() {
        for (column, x) in grid.x.windows(2).enumerate() {
            let corners = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(right, up)| {
                let place = (x[right], y[up]);
                grid.at(column + right, row + up).map(|value| (place, value))
            });
            if let [Some(a), Some(b), Some(c), Some(d)] = corners {
                cell([a, b, c, d], level, &mut found);
            }
        }
    }
    found
}

/// One cell, its corners in order around it.
fn cell(corners: [((f64, f64), f64); 4], level: f64, found: &mut Vec<Segment>) {
    let is_above = |value: f64| value >= level;
    let mut crossings = Vec::with_capacity(4);
    for (index, (from, a)) in corners.iter().enumerate() {
        let (to, b) = &corners[(index + 1) % 4];
        if is_above(*a) != is_above(*b) {
            // Halved, as the difference of two large numbers may be infinite.
            let share = ((level / 2.0 - a / 2.0) / (b / 2.0 - a / 2.0)).clamp(0.0, 1.0);
            crossings.push((from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share));
        }
    }
    match crossings.as_slice() {
        [a, b] => found.push((*a, *b)),
        [a, b, c, d] => {
            let mean: f64 = corners.iter().map(|corner| corner.1 / 4.0).sum();
            // The sides meet around the corners that differ from the middle.
            if is_above(mean) == is_above(corners[0].1) {
                found.extend([(*a, *b), (*c, *d)]);
            } else {
                found.extend([(*d, *a), (*b, *c)]);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(count: u32) -> Vec<f64> {
        (0..=count).map(f64::from).collect()
    }

    #[test]
    fn the_contour_of_a_plane_is_its_straight_line() {
        let grid = Grid::of(steps(4), steps(4), |x, y| Some(x + y));
        let line = segments(&grid, 2.5);
        assert_eq!(line.len(), 5);
        for ((x0, y0), (x1, y1)) in line {
            assert!((x0 + y0 - 2.5).abs() < 1e-12 && (x1 + y1 - 2.5).abs() < 1e-12);
        }
    }

    #[test]
    fn the_contour_of_a_cone_is_about_as_long_as_its_circle() {
        let around: Vec<f64> = (-50..=50).map(|at| f64::from(at) / 10.0).collect();
        let grid = Grid::of(around.clone(), around, |x, y| Some(x.hypot(y)));
        let long: f64 = segments(&grid, 3.0).iter().map(|(a, b)| (b.0 - a.0).hypot(b.1 - a.1)).sum();
        let circle = 2.0 * std::f64::consts::PI * 3.0;
        assert!((long / circle - 1.0).abs() < 0.01, "{long} against {circle}");
    }

    #[test]
    fn a_saddle_joins_the_sides_that_its_middle_asks_for() {
        let saddle = |high: f64| Grid {
            x: vec![0.0, 1.0],
            y: vec![0.0, 1.0],
            values: vec![Some(high), Some(0.0), Some(0.0), Some(high)],
        };
        // The middle is high: the low corners are cut off.
        assert_eq!(segments(&saddle(4.0), 1.0), [((0.75, 0.0), (1.0, 0.25)), ((0.25, 1.0), (0.0, 0.75))]);
        // The middle is low: the high corners are cut off.
        assert_eq!(segments(&saddle(1.0), 0.75), [((0.0, 0.25), (0.25, 0.0)), ((1.0, 0.75), (0.75, 1.0))]);
    }

    #[test]
    fn a_cell_with_an_unknown_corner_has_no_line() {
        let mut grid = Grid::of(steps(1), steps(1), |x, _| Some(x));
        assert_eq!(segments(&grid, 0.5).len(), 1);
        grid.values[3] = None;
        assert_eq!(segments(&grid, 0.5), []);
    }

    proptest! {
        #[test]
        fn every_end_of_a_piece_lies_in_the_grid(
            values in proptest::collection::vec(proptest::option::of(any::<f64>()), 0..40),
            level in any::<f64>(),
        ) {
            let grid = Grid { x: steps(5), y: steps(5), values };
            for (a, b) in segments(&grid, level) {
                for (x, y) in [a, b] {
                    prop_assert!((0.0..=5.0).contains(&x) && (0.0..=5.0).contains(&y));
                }
            }
        }
    }
}
