//! Makes a year of hourly caps of each source: shaped by a simple process, then matched to Table 1.
//!
//! ```text
//! hydro   slow AR(1) of ten days + a season with its peak in May + a daily swing with demand
//! solar   sine of the sun's height at 37 degrees north x clearness (AR(1) of three days + of three
//!         hours); hours of night are left out and the hours of day joined up
//! wind    AR(1) of 18 hours + a season with its peak in winter
//! ```
//! The process gives the order of the hours: which are high, which low, how one follows another. The
//! values come from Table 1: the hour of rank r of n gets the quantile r/(n-1) of the beta distribution
//! on [0, 350 W] that has the published mean and deviation. That is the least that can be said of a
//! bounded quantity of which only those two are known. These are inputs that the paper states; no result
//! of it is used.
//!
//! Night is left out as the published mean of 68 % of the maximum leaves no room for it: a year with its
//! nights at zero has at most about a half.

use std::f64::consts::{PI, TAU};

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use wattle_core::provenance::Basis;

use super::{MAX_WATTS, PowerTrace, Source};

/// Hours of a year.
const HOURS: usize = 8760;
/// Where the sun is looked at from: the middle of California.
const LATITUDE_DEGREES: f64 = 37.0;
/// Cells of the numeric integral of the beta distribution.
const CELLS: usize = 20_000;

/// The trace of `source` that `seed` gives.
pub fn trace(source: Source, seed: u64) -> PowerTrace {
    // The three sources of one seed are independent.
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_mul(3).wrapping_add(source as u64));
    let shape = match source {
        Source::Hydro => hydro(&mut rng),
        Source::Solar => solar(&mut rng),
        Source::Wind => wind(&mut rng),
    };
    let published = source.published();
    PowerTrace {
        source,
        watts: matched(&shape, published.mean_watts / MAX_WATTS, published.deviation_watts / MAX_WATTS),
        basis: Basis::Assumed,
        rests_on: format!(
            "generated {} trace (seed {seed}), matched to the mean and deviation of {} in Table 1",
            source.name(),
            published.trace
        ),
        why: "an input, no result: matched to Table 1 by construction",
    }
}

/// A process that forgets: each hour keeps a share of the last. Mean 0, deviation 1.
struct Persistent {
    keeps: f64,
    state: f64,
}

impl Persistent {
    /// Deviations last for about `hours`.
    fn new(hours: f64, rng: &mut Xoshiro256PlusPlus) -> Self {
        Self { keeps: (-1.0 / hours).exp(), state: StandardNormal.sample(rng) }
    }

    fn next(&mut self, rng: &mut Xoshiro256PlusPlus) -> f64 {
        let fresh: f64 = StandardNormal.sample(rng);
        self.state = self.keeps * self.state + (1.0 - self.keeps * self.keeps).sqrt() * fresh;
        self.state
    }
}

/// A cosine over the year with its peak on `day`.
fn season(hour: usize, day: f64) -> f64 {
    (TAU * (hour as f64 / 24.0 - day) / 365.0).cos()
}

fn hydro(rng: &mut Xoshiro256PlusPlus) -> Vec<f64> {
    let mut flow = Persistent::new(240.0, rng);
    let swing = |hour: usize| (TAU * ((hour % 24) as f64 - 18.0) / 24.0).cos();
    (0..HOURS).map(|hour| flow.next(rng) + season(hour, 125.0) + 0.6 * swing(hour)).collect()
}

fn solar(rng: &mut Xoshiro256PlusPlus) -> Vec<f64> {
    let (mut weather, mut clouds) = (Persistent::new(72.0, rng), Persistent::new(3.0, rng));
    let latitude = LATITUDE_DEGREES.to_radians();
    let by_hour = |hour: usize| {
        let day = (hour / 24) as f64 + 1.0;
        let declination = (-23.44_f64).to_radians() * (TAU * (day + 10.0) / 365.0).cos();
        let turned = PI / 12.0 * ((hour % 24) as f64 + 0.5 - 12.0);
        let height = latitude.sin() * declination.sin() + latitude.cos() * declination.cos() * turned.cos();
        // Clearness between nothing and all, three quarters at most times.
        let clearness = 1.0 / (1.0 + (-(1.1 + 0.8 * weather.next(rng) + 0.4 * clouds.next(rng))).exp());
        (height > 0.0).then_some(height * clearness)
    };
    (0..HOURS).filter_map(by_hour).collect()
}

fn wind(rng: &mut Xoshiro256PlusPlus) -> Vec<f64> {
    let mut gusts = Persistent::new(18.0, rng);
    (0..HOURS).map(|hour| gusts.next(rng) + 0.6 * season(hour, 15.0)).collect()
}

/// Gives each value of `shape` the quantile of its rank of the beta distribution of this mean and
/// deviation, both as shares of the maximum.
fn matched(shape: &[f64], mean: f64, deviation: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..shape.len()).collect();
    order.sort_by(|a, b| shape[*a].total_cmp(&shape[*b]));
    let cumulated = cumulated_beta(mean, deviation);
    let mut watts = vec![0.0; shape.len()];
    let last = (shape.len() - 1).max(1) as f64;
    let mut cell = 0;
    for (rank, index) in order.into_iter().enumerate() {
        let wanted = rank as f64 / last;
        while cell + 2 < cumulated.len() && cumulated[cell + 1] < wanted {
            cell += 1;
        }
        let (low, high) = (cumulated[cell], cumulated[cell + 1]);
        let into = if high > low { ((wanted - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 };
        watts[index] = MAX_WATTS * (cell as f64 + into) / CELLS as f64;
    }
    watts
}

/// The distribution function at the edges of the cells, by the midpoint rule.
fn cumulated_beta(mean: f64, deviation: f64) -> Vec<f64> {
    let both = mean * (1.0 - mean) / deviation.powi(2) - 1.0;
    let (a, b) = (mean * both, (1.0 - mean) * both);
    let density = |cell: usize| {
        let x = (cell as f64 + 0.5) / CELLS as f64;
        x.powf(a - 1.0) * (1.0 - x).powf(b - 1.0)
    };
    let mut sum = 0.0;
    let mut cumulated = vec![0.0];
    for cell in 0..CELLS {
        sum += density(cell);
        cumulated.push(sum);
    }
    cumulated.iter_mut().for_each(|value| *value /= sum);
    cumulated
}
