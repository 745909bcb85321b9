//! Ridge regression that learns row by row and forgets slowly.
//!
//! A few dozen unknowns: the sums of products are kept and the equations solved by Cholesky's method, for
//! which no crate is needed.

/// Sums of products of the rows seen, late ones weighing more, from which coefficients are solved.
#[derive(Debug, Clone)]
pub(super) struct Ridge {
    unknowns: usize,
    /// Lower triangle, row by row, of the sum of outer products of rows.
    products: Vec<f64>,
    with_target: Vec<f64>,
    weight: f64,
    rows: usize,
    /// What the weight of all earlier rows is multiplied with when one is added.
    forgetting: f64,
}

impl Ridge {
    /// Has seen nothing; a row's weight halves with every `half_life` rows after it.
    pub(super) fn new(unknowns: usize, half_life: f64) -> Self {
        Self {
            unknowns,
            products: vec![0.0; unknowns * (unknowns + 1) / 2],
            with_target: vec![0.0; unknowns],
            weight: 0.0,
            rows: 0,
            forgetting: 0.5_f64.powf(1.0 / half_life),
        }
    }

    /// Rows seen.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Learns that `row`, one number for each unknown, came with `target`.
    pub(super) fn add(&mut self, row: &[f64], target: f64) {
        let forgetting = self.forgetting;
        let mut rest = self.products.as_mut_slice();
        for (index, left) in row.iter().enumerate().take(self.unknowns) {
            let (line, after) = std::mem::take(&mut rest).split_at_mut(index + 1);
            for (product, right) in line.iter_mut().zip(row) {
                *product = *product * forgetting + left * right;
            }
            rest = after;
        }
        for (product, left) in self.with_target.iter_mut().zip(row) {
            *product = *product * forgetting + left * target;
        }
        self.weight = self.weight * forgetting + 1.0;
        self.rows += 1;
    }

    /// The coefficients with the least squared error, each held towards 0 as if `rows_of_zero` more rows
    /// had had its feature at its usual size and nothing came of it.
    pub(super) fn coefficients(&self, rows_of_zero: f64) -> Vec<f64> {
        let begin = |row: usize| row * (row + 1) / 2;
        let mut lower = self.products.clone();
        for row in 0..self.unknowns {
            let diagonal = &mut lower[begin(row) + row];
            *diagonal += rows_of_zero * *diagonal / self.weight.max(1.0) + f64::MIN_POSITIVE.sqrt();
        }
        for row in 0..self.unknowns {
            let (above, line) = lower.split_at_mut(begin(row));
            for column in 0..row {
                let other = &above[begin(column)..=begin(column) + column];
                let dot: f64 = line[..column].iter().zip(other).map(|(left, right)| left * right).sum();
                line[column] = (line[column] - dot) / other[column];
            }
            let squares: f64 = line[..row].iter().map(|value| value * value).sum();
            // What rounding leaves of a feature that says the same as others.
            let least = line[row].abs() * 1e-12 + f64::MIN_POSITIVE.sqrt();
            line[row] = (line[row] - squares).max(least).sqrt();
        }
        let mut solved = self.with_target.clone();
        for row in 0..self.unknowns {
            let line = &lower[begin(row)..=begin(row) + row];
            let dot: f64 = line[..row].iter().zip(&solved).map(|(left, right)| left * right).sum();
            solved[row] = (solved[row] - dot) / line[row];
        }
        for row in (0..self.unknowns).rev() {
            solved[row] /= lower[begin(row) + row];
            let value = solved[row];
            let line = &lower[begin(row)..begin(row) + row];
            for (above, factor) in solved.iter_mut().zip(line) {
                *above -= factor * value;
            }
        }
        solved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_data_without_a_penalty_give_the_coefficients_back() {
        let mut ridge = Ridge::new(3, 50.0);
        let wanted = [2.0, -0.5, 0.25];
        for step in 0..40 {
            let x = f64::from(step);
            let row = [1.0, (x * 0.7).sin(), (x * 1.3).cos()];
            ridge.add(&row, row.iter().zip(wanted).map(|(left, right)| left * right).sum());
        }
        for (found, wanted) in ridge.coefficients(0.0).into_iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        }
        assert!(ridge.coefficients(1e6).iter().all(|value| value.abs() < 0.01), "held towards 0");
    }

    #[test]
    fn features_that_say_the_same_or_nothing_are_no_trouble() {
        let mut ridge = Ridge::new(3, 50.0);
        for step in 0..40 {
            let x = f64::from(step % 7);
            ridge.add(&[x, x, 0.0], 3.0 * x);
        }
        let found = ridge.coefficients(0.1);
        assert!((found[0] + found[1] - 3.0).abs() < 0.05, "{found:?}");
        assert!(found.iter().all(|value| value.is_finite()) && found[2] == 0.0, "{found:?}");
    }
}
