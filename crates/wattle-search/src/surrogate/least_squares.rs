//! Non-negative least squares that leans on a guess: how much each physical term weighs.
//!
//! A term of a time or of a power can't be negative, and with few rows many weights would do. So each
//! weight `u`, told as a multiple of its guess, is held near 1 with a standard deviation of 1, and at or
//! above 0. The active-set method is that of Lawson and Hanson, "Solving Least Squares Problems", 1974.

use nalgebra::{DMatrix, DVector};

/// Pulls smaller than this add nothing.
const TOLERANCE: f64 = 1e-9;

/// The `u >= 0` for which `|rows·u - 1|² / deviation² + |u - 1|²` is least. Each row holds the guessed
/// terms of one measurement, as shares of it.
pub(super) fn multiples(rows: &[Vec<f64>], terms: usize, deviation: f64) -> Vec<f64> {
    let precision = deviation.powi(-2);
    let mut normal = DMatrix::<f64>::identity(terms, terms);
    let mut pull = DVector::<f64>::repeat(terms, 1.0);
    for row in rows {
        let row = DVector::from_iterator(terms, row.iter().copied());
        normal.ger(precision, &row, &row, 1.0);
        pull.axpy(precision, &row, 1.0);
    }
    let mut weights = DVector::<f64>::zeros(terms);
    let mut free: Vec<usize> = Vec::new();
    // Far more rounds than it ever takes: rounding must not make it run for ever.
    for _ in 0..10 * terms {
        let gradient = &pull - &normal * &weights;
        let next = (0..terms)
            .filter(|term| !free.contains(term) && gradient[*term] > TOLERANCE * pull[*term].abs().max(1.0))
            .max_by(|a, b| gradient[*a].total_cmp(&gradient[*b]));
        let Some(next) = next else { break };
        free.push(next);
        free.sort_unstable();
        while let Some(solution) = solve(&normal, &pull, &free) {
            let blocked = free
                .iter()
                .zip(solution.iter())
                .filter(|(_, wanted)| **wanted <= 0.0)
                .map(|(term, wanted)| weights[*term] / (weights[*term] - wanted))
                .filter(|step| step.is_finite())
                .fold(1.0, f64::min);
            for (term, wanted) in free.iter().zip(solution.iter()) {
                weights[*term] += blocked * (wanted - weights[*term]);
            }
            if solution.iter().all(|wanted| *wanted > 0.0) {
                break;
            }
            free.retain(|term| weights[*term] > TOLERANCE);
            (0..terms).filter(|term| !free.contains(term)).for_each(|term| weights[term] = 0.0);
        }
    }
    weights.iter().copied().collect()
}

/// The weights of the `free` terms, with all others 0.
fn solve(normal: &DMatrix<f64>, pull: &DVector<f64>, free: &[usize]) -> Option<DVector<f64>> {
    if free.is_empty() {
        return None;
    }
    let part = DMatrix::from_fn(free.len(), free.len(), |row, column| normal[(free[row], free[column])]);
    let wanted = DVector::from_iterator(free.len(), free.iter().map(|term| pull[*term]));
    part.cholesky().map(|factor| factor.solve(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_made_the_rows_are_found_again_and_none_is_negative() {
        // Terms 1, x, x², of which the last weighs nothing.
        let rows: Vec<Vec<f64>> = (1..=30)
            .map(|step| {
                let x = f64::from(step) / 10.0;
                let made = 2.0 + 3.0 * x;
                vec![1.0 / made, x / made, x * x / made]
            })
            .collect();
        let found = multiples(&rows, 3, 1e-4);
        for (found, expected) in found.iter().zip([2.0, 3.0, 0.0]) {
            assert!((found - expected).abs() < 0.01, "{found} for {expected}");
        }
        let noisy: Vec<Vec<f64>> = rows.iter().map(|row| vec![row[0], row[1] * 1.1, -row[2]]).collect();
        assert!(multiples(&noisy, 3, 0.05).iter().all(|weight| *weight >= 0.0));
    }

    #[test]
    fn without_rows_the_guess_stands() {
        assert_eq!(multiples(&[], 3, 0.05), [1.0, 1.0, 1.0]);
    }
}
