//! A Gaussian process for what physical terms leave over: the logarithm of measured over modelled.
//!
//! Its covariance has three parts: how far the weights of the terms may be wrong, a smooth bend over the
//! knobs (squared exponential, a length for each axis), and a level for each group of names, so that
//! variants share the shape and not the level. The size of the bend, its lengths and the noise are those
//! of the highest posterior density, with priors on their logarithms: see Rasmussen and Williams,
//! "Gaussian Processes for Machine Learning", 2006, chapter 5.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use super::frame::Group;

/// Priors of the bend, the noise and the lengths: the middle, and the standard deviation of the logarithm.
/// Physical terms leave some 10 % over, runs repeat within some 2 %, and a bend takes a factor of about 4
/// of a knob. They are wide, and stand for any device.
const BEND: (f64, f64) = (0.1, 0.35);
const NOISE: (f64, f64) = (0.02, 0.5);
const LENGTH: (f64, f64) = (2.0, 0.5);

/// Standard deviation of what all values have in common beyond the terms.
const COMMON: f64 = 0.1;

/// Share of a bend that groups of names have in common.
const SHARED: f64 = 0.5;

/// The settings are sought with the most places that this many at most; more take long and add little.
const MOST_TUNED: usize = 120;

/// A normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Normal {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
}

/// Where something was seen, as the process takes it.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) axes: Vec<f64>,
    pub(super) group: Group,
    /// The terms at their prior weights, as shares of the modelled value.
    pub(super) terms: Vec<f64>,
}

/// The settings of the covariance.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Logarithms of the bend, the noise, then the length of each axis.
    logs: Vec<f64>,
    /// Standard deviation of the level of a group.
    level: f64,
}

/// A Gaussian process that has seen some inputs.
#[derive(Debug, Clone)]
pub(super) struct GaussianProcess {
    inputs: Vec<Input>,
    settings: Settings,
    factor: Cholesky<f64, Dyn>,
    weights: DVector<f64>,
}

impl Settings {
    fn prior(axes: usize, level: f64) -> Self {
        let mut logs = vec![BEND.0.ln(), NOISE.0.ln()];
        logs.resize(2 + axes, LENGTH.0.ln());
        Self { logs, level }
    }

    /// The settings of highest posterior density, by steps along one after another.
    pub(super) fn tuned(inputs: &[Input], values: &[f64], level: f64) -> Self {
        let mut best = Self::prior(inputs.first().map_or(0, |input| input.axes.len()), level);
        if inputs.len() < 3 {
            return best; // two values tell nothing of three settings
        }
        let stride = inputs.len().div_ceil(MOST_TUNED);
        let inputs: Vec<Input> = inputs.iter().step_by(stride).cloned().collect();
        let values: Vec<f64> = values.iter().step_by(stride).copied().collect();
        let mut most = best.log_density(&inputs, &values);
        for step in [0.6, 0.3, 0.15] {
            for _ in 0..3 {
                let before = most;
                for index in 0..best.logs.len() {
                    for change in [step, -step] {
                        let mut tried = best.clone();
                        tried.logs[index] += change;
                        let density = tried.log_density(&inputs, &values);
                        if density > most {
                            (best, most) = (tried, density);
                            break;
                        }
                    }
                }
                if most <= before {
                    break;
                }
            }
        }
        best
    }

    fn log_density(&self, inputs: &[Input], values: &[f64]) -> f64 {
        let priors = [BEND, NOISE].into_iter().chain(std::iter::repeat(LENGTH));
        let prior: f64 = self
            .logs
            .iter()
            .zip(priors)
            .map(|(log, (middle, deviation))| -0.5 * ((log - middle.ln()) / deviation).powi(2))
            .sum();
        let Some(factor) = self.gram(inputs).cholesky() else { return f64::NEG_INFINITY };
        let values = DVector::from_column_slice(values);
        let fit = -0.5 * values.dot(&factor.solve(&values));
        fit - factor.l_dirty().diagonal().map(f64::ln).sum() + prior
    }

    fn noise_variance(&self) -> f64 {
        (2.0 * self.logs[1]).exp()
    }

    fn covariance(&self, one: &Input, other: &Input) -> f64 {
        let terms: f64 = one.terms.iter().zip(&other.terms).map(|(a, b)| a * b).sum();
        let squares: f64 = one
            .axes
            .iter()
            .zip(&other.axes)
            .zip(&self.logs[2..])
            .map(|((a, b), length)| (a - b).powi(2) * (-2.0 * length).exp())
            .sum();
        let bend = (2.0 * self.logs[0] - 0.5 * squares).exp();
        let (bend, level) =
            if one.group == other.group { (bend, self.level.powi(2)) } else { (bend * SHARED, 0.0) };
        COMMON.powi(2) + terms + bend + level
    }

    fn gram(&self, inputs: &[Input]) -> DMatrix<f64> {
        let mut gram = DMatrix::zeros(inputs.len(), inputs.len());
        for (row, one) in inputs.iter().enumerate() {
            for (column, other) in inputs.iter().enumerate().take(row + 1) {
                let covariance = self.covariance(one, other);
                gram[(row, column)] = covariance;
                gram[(column, row)] = covariance;
            }
            gram[(row, row)] += self.noise_variance();
        }
        gram
    }
}

impl GaussianProcess {
    /// The process of these settings that has seen `values` at `inputs`. `None` when it can't be computed.
    pub(super) fn new(inputs: Vec<Input>, values: &[f64], settings: Settings) -> Option<Self> {
        let factor = settings.gram(&inputs).cholesky()?;
        let weights = factor.solve(&DVector::from_column_slice(values));
        Some(Self { inputs, settings, factor, weights })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is most likely at `input`.
    pub(super) fn mean_at(&self, input: &Input) -> f64 {
        self.inputs
            .iter()
            .zip(self.weights.iter())
            .map(|(seen, weight)| weight * self.settings.covariance(seen, input))
            .sum()
    }

    /// What a measurement at `input` would give.
    pub(super) fn at(&self, input: &Input) -> Normal {
        let covariances = self.inputs.iter().map(|seen| self.settings.covariance(seen, input));
        let covariances = DVector::from_iterator(self.inputs.len(), covariances);
        let explained = self.factor.l_dirty().solve_lower_triangular(&covariances);
        let explained = explained.map_or(0.0, |part| part.norm_squared());
        let variance =
            (self.settings.covariance(input, input) - explained).max(0.0) + self.settings.noise_variance();
        Normal { mean: covariances.dot(&self.weights), deviation: variance.sqrt() }
    }
}
