//! What is to be expected of points that were not measured, learned from those that were.
//!
//! Each figure has a law (see [`mod@law`]): physical terms whose weights, never negative, are learned, times
//! a Gaussian process for what they leave over. The time of a batch is made of what each call, row and
//! instance takes at each of the speeds there are, so throughput saturates as in a roofline; power of idle,
//! of parts switched on by the clock, and of the energy of rows. So a handful of rows says much, and
//! between and beyond them figures go as devices do; far from rows the interval is wide.
//!
//! The process is our own, on a Cholesky factor of `nalgebra`. `egobox-gp` (0.37) was looked at: it brings
//! some 120 crates and 80 seconds of building, its means are polynomials, not terms like these, and its
//! settings are those of most likelihood, with no prior to hold them where there are 6 or 12 rows.

mod frame;
mod gaussian_process;
mod law;
mod least_squares;

use wattle_core::operating_point::{OperatingPoint, ProfileRow};
use wattle_core::profile::PowerFigure;

use crate::question::Figures;
use crate::space::Space;
use frame::{Frame, Site};
use law::{Law, Seen, even_guess};

pub(crate) use gaussian_process::Normal;

/// How much variants differ, by the logarithm: in time and memory several times, in power little.
const LEVEL_OF_TIME: f64 = 1.0;
const LEVEL_OF_POWER: f64 = 0.3;

/// Standard normal quantile of 95 %: 90 % lie within so many standard deviations.
const Z90: f64 = 1.644_853_626_951_472_2;

/// A figure that is predicted: never measured, at best modelled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The most likely value (the median of what is expected).
    pub mean: f64,
    /// Lower end of the interval that holds the value with a probability of 90 %.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

/// What is predicted of a point. `None`: too few rows tell the figure.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Predicted {
    /// Rows answered per second.
    pub throughput_rps: Option<Estimate>,
    /// Latency of a batch in milliseconds, of the kind that [`latency_ms_of`](crate::latency_ms_of) gives.
    pub latency_ms: Option<Estimate>,
    /// Power of the device in watts, of the figure asked for.
    pub power_watts: Option<Estimate>,
    /// Memory of the device in bytes.
    pub memory_bytes: Option<Estimate>,
}

/// A model of one model on one device over all its knobs, fitted to measured rows.
#[derive(Debug, Clone)]
pub struct Surrogate {
    frame: Frame,
    /// Of the time in which b·m rows are answered.
    time: Option<Law>,
    latency: Option<Law>,
    power: Option<Law>,
    memory: Option<Law>,
    /// Natural logarithm of the highest rate, of what counts as fully busy.
    ln_busiest: f64,
}

/// The logarithms of the figures of a point, as normal distributions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LnFigures {
    pub(crate) throughput: Option<Normal>,
    pub(crate) latency: Option<Normal>,
    pub(crate) power: Option<Normal>,
    pub(crate) memory: Option<Normal>,
}

impl Surrogate {
    /// A surrogate of `rows`, for this power `figure`. It says nothing of points that differ from every
    /// row in a knob that no two rows differ in.
    pub fn fit(rows: &[ProfileRow], figure: PowerFigure) -> Self {
        Self::fit_with(rows, &[], figure)
    }

    /// As [`Surrogate::fit`], for all points of `space`: they tell how far knobs open, so that something
    /// can be said from the first row on.
    pub fn fit_over(space: &Space, rows: &[ProfileRow], figure: PowerFigure) -> Self {
        Self::fit_with(rows, space.points(), figure)
    }

    fn fit_with(rows: &[ProfileRow], points: &[OperatingPoint], figure: PowerFigure) -> Self {
        let frame = Frame::of(rows.iter().map(|row| &row.point).chain(points));
        let read: Vec<(Site, Figures)> =
            rows.iter().filter_map(|row| Some((frame.site(&row.point)?, Figures::of(row, figure)))).collect();
        let over_zero = |value: Option<f64>| value.filter(|value| *value > 0.0).map(f64::ln);
        let evenly = |seen: Vec<Seen>| Law::fit(&seen, &even_guess(&seen), LEVEL_OF_TIME);
        let seen = |site: &Site, terms: Vec<f64>, ln_value: f64| Seen { site: site.clone(), terms, ln_value };
        let time = read.iter().filter_map(|(site, figures)| {
            let ln_time = site.ln_rows() - over_zero(figures.throughput_rps)?;
            Some(seen(site, frame.time_terms(site, true), ln_time))
        });
        let latency = read.iter().filter_map(|(site, figures)| {
            Some(seen(site, frame.time_terms(site, false), over_zero(figures.latency_ms)?))
        });
        let memory = read.iter().filter_map(|(site, figures)| {
            Some(seen(site, frame.work(site), over_zero(figures.memory_bytes)?))
        });
        let mut made = Self {
            time: evenly(time.collect()),
            latency: evenly(latency.collect()),
            memory: evenly(memory.collect()),
            power: None,
            ln_busiest: 0.0,
            frame,
        };
        let sites: Vec<Site> = points.iter().filter_map(|point| made.frame.site(point)).collect();
        let ln_rates: Vec<Option<f64>> = read
            .iter()
            .map(|(site, figures)| made.ln_rate(site, over_zero(figures.throughput_rps)))
            .collect();
        let expected = sites.iter().filter_map(|site| made.ln_rate(site, None));
        made.ln_busiest = expected.chain(ln_rates.iter().copied().flatten()).reduce(f64::max).unwrap_or(0.0);
        let power = read.iter().zip(&ln_rates).filter_map(|((site, figures), ln_rate)| {
            let terms = made.power_values(site, *ln_rate);
            Some(seen(site, terms, over_zero(figures.power_watts)?))
        });
        let power: Vec<Seen> = power.collect();
        made.power = Law::fit(&power, &made.power_guess(&power), LEVEL_OF_POWER);
        made
    }

    /// Natural logarithm of the rate at `site` as if its group were as fast as the terms say, so that
    /// variants are equally busy at their own rates. Where none was measured, of the rate expected.
    fn ln_rate(&self, site: &Site, measured: Option<f64>) -> Option<f64> {
        let time = self.time.as_ref()?;
        let expected = || Some(site.ln_rows() - time.mean_at(site, &self.frame.time_terms(site, true))?);
        Some(measured.or_else(expected)? + time.level(&site.group))
    }

    /// The values of the terms of the power at `site`.
    fn power_values(&self, site: &Site, ln_rate: Option<f64>) -> Vec<f64> {
        self.frame.power_values(site, ln_rate.map_or(1.0, |ln_rate| (ln_rate - self.ln_busiest).exp()))
    }

    /// What the terms of power weigh before rows tell, scaled to what was seen.
    fn power_guess(&self, seen: &[Seen]) -> Vec<f64> {
        let guess: Vec<f64> = self.frame.power_terms().iter().map(|term| term.guess).collect();
        let ln_off = seen.iter().map(|one| {
            one.ln_value - one.terms.iter().zip(&guess).map(|(term, guess)| term * guess).sum::<f64>().ln()
        });
        let scale = (ln_off.sum::<f64>() / seen.len().max(1) as f64).exp();
        guess.iter().map(|guess| guess * scale).collect()
    }

    /// What is to be expected at `point`. `None` where nothing at all can be said.
    pub fn predict(&self, point: &OperatingPoint) -> Option<Predicted> {
        let figures = self.ln_figures(point)?;
        let predicted = Predicted {
            throughput_rps: figures.throughput.map(Estimate::of),
            latency_ms: figures.latency.map(Estimate::of),
            power_watts: figures.power.map(Estimate::of),
            memory_bytes: figures.memory.map(Estimate::of),
        };
        (predicted != Predicted::default()).then_some(predicted)
    }

    /// The logarithms of what is to be expected at `point`.
    pub(crate) fn ln_figures(&self, point: &OperatingPoint) -> Option<LnFigures> {
        let site = self.frame.site(point)?;
        let time_terms = self.frame.time_terms(&site, true);
        let time = self.time.as_ref().and_then(|law| law.at(&site, &time_terms));
        let throughput = time.map(|time| Normal { mean: site.ln_rows() - time.mean, ..time });
        let latency =
            self.latency.as_ref().and_then(|law| law.at(&site, &self.frame.time_terms(&site, false)));
        let memory = self.memory.as_ref().and_then(|law| law.at(&site, &self.frame.work(&site)));
        let ln_rate = throughput.and_then(|rate| self.ln_rate(&site, Some(rate.mean)));
        let power_terms = self.power_values(&site, ln_rate);
        let by_rate = self.frame.power_terms().iter().filter(|term| term.rate).count();
        let power = self.power.as_ref().and_then(|law| {
            let own = law.at(&site, &power_terms)?;
            // What is not known of the rate is not known of the power that goes with it.
            let of_rate =
                throughput.map_or(0.0, |rate| rate.deviation) * law.share_of_last(&power_terms, by_rate);
            Some(Normal { deviation: own.deviation.hypot(of_rate), ..own })
        });
        Some(LnFigures { throughput, latency, power, memory })
    }
}

impl Estimate {
    /// The estimate whose logarithm is `normal`.
    pub(crate) fn of(normal: Normal) -> Self {
        Self {
            mean: normal.mean.exp(),
            low: (normal.mean - Z90 * normal.deviation).exp(),
            high: (normal.mean + Z90 * normal.deviation).exp(),
        }
    }
}
