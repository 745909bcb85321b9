//! A Gaussian process over places, for the logarithm of one figure.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::knobs::{KNOBS, Place};

/// A normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Normal {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
}

/// A Gaussian process that has seen some places.
#[derive(Debug, Clone)]
pub(crate) struct GaussianProcess {
    places: Vec<Place>,
    kernel: Kernel,
    factor: Cholesky<f64, Dyn>,
    weights: DVector<f64>,
    level: f64,
}

/// How alike two places are.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    slope: f64,
    bend: f64,
    length: f64,
    noise: f64,
    offset: f64,
}

impl Kernel {
    fn between(&self, one: &Place, other: &Place) -> f64 {
        let mut dot = 0.0;
        let mut square = 0.0;
        for knob in 0..KNOBS {
            dot += one.at[knob] * other.at[knob];
            square += (one.at[knob] - other.at[knob]).powi(2);
        }
        let shape =
            self.slope.powi(2) * dot + self.bend.powi(2) * (-0.5 * square / self.length.powi(2)).exp();
        let named = if one.names == other.names { self.offset.powi(2) } else { 0.0 };
        4.0 + shape + named
    }
}

impl GaussianProcess {
    pub(crate) fn fit(known: Vec<(Place, f64)>) -> Option<Self> {
        let level = known.iter().map(|(_, value)| value).sum::<f64>() / known.len().max(1) as f64;
        let (places, values): (Vec<Place>, Vec<f64>) =
            known.into_iter().map(|(place, value)| (place, value - level)).unzip();
        if places.is_empty() {
            return None;
        }
        let values = DVector::from_vec(values);
        let mut best: Option<(f64, Kernel, Cholesky<f64, Dyn>, DVector<f64>)> = None;
        for bend in [0.05, 0.1, 0.2, 0.4] {
            for length in [1.0, 2.0, 4.0] {
                let kernel = Kernel { slope: 0.5, bend, length, noise: 0.02, offset: 0.7 };
                let gram = DMatrix::from_fn(places.len(), places.len(), |row, column| {
                    let noise = if row == column { kernel.noise.powi(2) } else { 0.0 };
                    kernel.between(&places[row], &places[column]) + noise
                });
                let Some(factor) = gram.cholesky() else { continue };
                let weights = factor.solve(&values);
                let evidence = -0.5 * values.dot(&weights) - factor.l_dirty().diagonal().map(f64::ln).sum();
                if best.as_ref().is_none_or(|(most, ..)| evidence > *most) {
                    best = Some((evidence, kernel, factor, weights));
                }
            }
        }
        let (_, kernel, factor, weights) = best?;
        Some(Self { places, kernel, factor, weights, level })
    }

    pub(crate) fn at(&self, place: &Place) -> Normal {
        let likeness = DVector::from_iterator(
            self.places.len(),
            self.places.iter().map(|known| self.kernel.between(known, place)),
        );
        let explained =
            self.factor.l_dirty().solve_lower_triangular(&likeness).map_or(0.0, |part| part.norm_squared());
        let variance = self.kernel.between(place, place) - explained + self.kernel.noise.powi(2);
        Normal { mean: self.level + likeness.dot(&self.weights), deviation: variance.max(1e-12).sqrt() }
    }
}
