//! The law of one figure: physical terms with weights learned from rows, and a Gaussian process for what
//! they leave over.

use std::collections::BTreeMap;

use super::frame::{Group, Site};
use super::gaussian_process::{GaussianProcess, Input, Normal, Settings};
use super::least_squares::multiples;

/// How far off physical terms are taken to be, as a share, when their weights are sought.
const TERMS_DEVIATION: f64 = 0.05;

/// Up to so many rows each is left out alone to see how wrong the law is; of more, so many parts of them.
const MOST_ALONE: usize = 60;
const PARTS: usize = 12;

/// Fewer rows than this can't tell how wrong the law is.
const LEAST_JUDGED: usize = 5;

/// One measured value.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) site: Site,
    pub(super) terms: Vec<f64>,
    /// Natural logarithm of the value.
    pub(super) ln_value: f64,
}

/// The law of one figure.
#[derive(Debug, Clone)]
pub(super) struct Law {
    shape: Shape,
    process: GaussianProcess,
    /// By how much the deviations of the process are too small, by the rows themselves.
    widening: f64,
}

/// What the terms say.
#[derive(Debug, Clone)]
struct Shape {
    guess: Vec<f64>,
    weights: Vec<f64>,
    /// Natural logarithm of how much more than the terms the figure is for each group.
    levels: BTreeMap<Group, f64>,
}

impl Shape {
    /// Weights of the terms and levels of the groups, one after the other until they agree.
    fn fit(seen: &[Seen], guess: &[f64]) -> Self {
        let mut shape = Self { guess: guess.to_vec(), weights: guess.to_vec(), levels: BTreeMap::new() };
        let groups = seen.iter().fold(BTreeMap::<Group, f64>::new(), |mut counts, one| {
            *counts.entry(one.site.group.clone()).or_default() += 1.0;
            counts
        });
        let rounds = if groups.len() > 1 { 4 } else { 1 };
        for _ in 0..rounds {
            if groups.len() > 1 {
                let mut sums: BTreeMap<Group, f64> = BTreeMap::new();
                for one in seen {
                    let off = one.ln_value - shape.ln_of(&one.terms).unwrap_or(one.ln_value);
                    *sums.entry(one.site.group.clone()).or_default() += off;
                }
                let mean = |(group, sum): (Group, f64)| {
                    let count = groups.get(&group).copied().unwrap_or(1.0);
                    (group, sum / count)
                };
                shape.levels = sums.into_iter().map(mean).collect();
            }
            let rows: Vec<Vec<f64>> = seen
                .iter()
                .map(|one| {
                    let value = (one.ln_value - shape.level(&one.site.group)).exp();
                    one.terms.iter().zip(guess).map(|(term, guess)| term * guess / value).collect()
                })
                .collect();
            let found = multiples(&rows, guess.len(), TERMS_DEVIATION);
            shape.weights = found.iter().zip(guess).map(|(multiple, guess)| multiple * guess).collect();
        }
        shape
    }

    fn level(&self, group: &Group) -> f64 {
        self.levels.get(group).copied().unwrap_or(0.0)
    }

    /// Natural logarithm of what the terms sum to. `None`: nothing at all.
    fn ln_of(&self, terms: &[f64]) -> Option<f64> {
        let sum: f64 = terms.iter().zip(&self.weights).map(|(term, weight)| term * weight).sum();
        (sum > 0.0 && sum.is_finite()).then(|| sum.ln())
    }

    /// What the terms say of a site, by its logarithm, and the site as the process takes it.
    fn input(&self, site: &Site, terms: &[f64]) -> Option<(f64, Input)> {
        let ln_sum = self.ln_of(terms)?;
        let sum = ln_sum.exp();
        let shares = terms.iter().zip(&self.guess).map(|(term, guess)| term * guess / sum).collect();
        let input = Input { axes: site.axes.clone(), group: site.group.clone(), terms: shares };
        Some((ln_sum + self.level(&site.group), input))
    }

    /// Every one of `seen` as the process takes it, and what the terms leave over.
    fn rests(&self, seen: &[Seen]) -> Option<(Vec<Input>, Vec<f64>)> {
        let rest = |one: &Seen| {
            let (ln_sum, input) = self.input(&one.site, &one.terms)?;
            Some((input, one.ln_value - ln_sum))
        };
        Some(seen.iter().map(rest).collect::<Option<Vec<_>>>()?.into_iter().unzip())
    }
}

impl Law {
    /// The law of what was `seen`, whose terms weigh about `guess`; groups differ in level by about
    /// `level_deviation` (of the logarithm). `None` when nothing was seen.
    pub(super) fn fit(seen: &[Seen], guess: &[f64], level_deviation: f64) -> Option<Self> {
        if seen.is_empty() {
            return None;
        }
        let shape = Shape::fit(seen, guess);
        let (inputs, rests) = shape.rests(seen)?;
        let settings = Settings::tuned(&inputs, &rests, level_deviation);
        let process = GaussianProcess::new(inputs, &rests, settings)?;
        let widening = widening(seen, guess, process.settings());
        Some(Self { shape, process, widening })
    }

    /// The natural logarithm of the figure at `site`, with these terms.
    pub(super) fn at(&self, site: &Site, terms: &[f64]) -> Option<Normal> {
        let (ln_sum, input) = self.shape.input(site, terms)?;
        let rest = self.process.at(&input);
        Some(Normal { mean: ln_sum + rest.mean, deviation: rest.deviation * self.widening })
    }

    /// Only the most likely value of [`Law::at`], which is quicker.
    pub(super) fn mean_at(&self, site: &Site, terms: &[f64]) -> Option<f64> {
        let (ln_sum, input) = self.shape.input(site, terms)?;
        Some(ln_sum + self.process.mean_at(&input))
    }

    /// The share of the figure that comes from the last `count` terms.
    pub(super) fn share_of_last(&self, terms: &[f64], count: usize) -> f64 {
        let part = |skip: usize| -> f64 {
            terms.iter().zip(&self.shape.weights).skip(skip).map(|(term, weight)| term * weight).sum()
        };
        let share = part(terms.len().saturating_sub(count)) / part(0);
        if share.is_finite() { share } else { 0.0 }
    }

    /// Natural logarithm of how much more the figure is in `group` than the terms say.
    pub(super) fn level(&self, group: &Group) -> f64 {
        self.shape.level(group)
    }
}

/// Equal shares of all terms at the rows seen (in the geometric mean): the guess where physics tells no
/// more than which terms there may be.
pub(super) fn even_guess(seen: &[Seen]) -> Vec<f64> {
    let Some(first) = seen.first() else { return Vec::new() };
    let terms = first.terms.len();
    let ln_mean = |term: usize| {
        let logs = seen.iter().filter_map(|one| Some(one.ln_value - one.terms.get(term)?.ln()));
        logs.sum::<f64>() / seen.len() as f64
    };
    (0..terms).map(|term| ln_mean(term).exp() / terms as f64).collect()
}

/// How many times further off rows are than the deviations say, when each is predicted from the others:
/// the root mean square, and at least 1.
fn widening(seen: &[Seen], guess: &[f64], settings: &Settings) -> f64 {
    if seen.len() < LEAST_JUDGED {
        return 1.0;
    }
    let parts = if seen.len() <= MOST_ALONE { seen.len() } else { PARTS };
    let mut squares = Vec::with_capacity(seen.len());
    for part in 0..parts {
        let (held, shown): (Vec<_>, Vec<_>) =
            seen.iter().enumerate().partition(|(index, _)| index % parts == part);
        let shown: Vec<Seen> = shown.into_iter().map(|(_, one)| one.clone()).collect();
        let shape = Shape::fit(&shown, guess);
        let Some((inputs, rests)) = shape.rests(&shown) else { continue };
        let Some(process) = GaussianProcess::new(inputs, &rests, settings.clone()) else { continue };
        for (_, one) in held {
            if let Some((ln_sum, input)) = shape.input(&one.site, &one.terms) {
                let expected = process.at(&input);
                squares.push(((one.ln_value - ln_sum - expected.mean) / expected.deviation).powi(2));
            }
        }
    }
    let mean = squares.iter().sum::<f64>() / squares.len().max(1) as f64;
    mean.sqrt().max(1.0)
}
