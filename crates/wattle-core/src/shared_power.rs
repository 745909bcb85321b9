//! Power of a device that several models share, each in a slice of its own.
//!
//! `P = P_S + P_OI + overlap(dyn_1, dyn_2 …)`. `P_S` is the static power and `P_OI` the idle draw of the parts
//! that all slices share (caches, memory controllers), there as soon as one slice is busy.
//! `dyn_i = P_alone(i, slice) − P_S − P_OI` is what model i adds in its slice. After Sinha, Liakopoulos, Li and
//! Yadwadkar, "The Utilization Fallacy and the Real Drivers of Carbon-Efficient Inference Serving",
//! section 4.1, with two changes:
//!
//! - The paper splits `dyn` into compute and shared parts. Instances of one model on equal slices tell
//!   only the sum of the two, and an estimate needs no more, so the split is left out.
//! - The paper adds the `dyn` up and finds the result too high: shared parts saturate. Here two tenants
//!   that are busy at once draw in part the same power: `a + b − κ·a·b`, and for any number of them
//!   `(1 − Π(1 − κ·dyn_i)) / κ`, the rule for the chance that at least one of independent events happens.
//!   One number, κ per watt, is fitted, on sets of different models. With κ = 0 it is the sum. A model
//!   alone is exact for any κ. Small draws add up; large ones saturate at 1/κ. More draw of one
//!   model never lowers the whole while κ·dyn ≤ 1, which holds for every model the fit was shown.
//!
//! `P_OI` is fitted on instances as if they added up evenly, as in the paper. Where they overlap too it comes
//! out high, so measure it with a light model on small slices; the residual tells.
//!
//! Everything estimated here is **modelled**, and holds at the clock it was measured at.

mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::ModelName;
use crate::units::Watts;

pub use file::{SharingFile, SharingFileError, SharingRow};

/// Rows of equations whose share in the idle draw is smaller than this tell nothing of it.
const RANK_TOLERANCE: f64 = 1e-9;

/// A model in a slice of the device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tenant {
    /// The model.
    pub model: ModelName,
    /// The slice, as in [`OperatingPoint::partition`](crate::operating_point::OperatingPoint::partition): `3/7`, say.
    pub slice: String,
}

/// The power of the whole device while `tenants`, and nobody else, were busy on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Who was busy. The same tenant several times: so many instances on equal slices.
    pub tenants: Vec<Tenant>,
    /// Mean power of the device.
    pub power: Watts,
}

/// What the power of a shared device is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedPower {
    /// `P_S`: drawn whatever runs. Given, not fitted.
    pub static_power: Watts,
    /// `P_OI`: drawn by the parts that all slices share, as soon as one is busy. Fitted on instances
    /// of one model; at least 0, and no more than any tenant adds alone.
    pub shared_idle_power: Watts,
    /// κ: what share of its draw a tenant saves for each watt that another one draws. `None`: no set
    /// of different tenants was measured, so estimates are plain sums.
    pub overlap_per_watt: Option<f64>,
    /// Root mean square of what the fit of `P_OI` leaves unexplained. Large: instances of one model don't
    /// add up evenly, as where they saturate the device by themselves, and `P_OI` is too high.
    pub residual: Watts,
    alone: BTreeMap<Tenant, Watts>,
    /// Every set of tenants that was fitted on, each sorted.
    fitted: BTreeSet<Vec<Tenant>>,
}

/// Three estimates of the power of one set of tenants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// With the overlap; the same as [`additive`](Self::additive) where none could be fitted.
    pub power: Watts,
    /// `P_S + P_OI + Σ dyn`.
    pub additive: Watts,
    /// `P_S + Σ (P_alone − P_S)`, which counts the shared parts once for each tenant. For comparison.
    pub naive: Watts,
}

/// Mean of |estimate − measured| / measured over sets that were not fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ErrorReport {
    /// Sets of tenants compared.
    pub sets: usize,
    /// Of [`Estimate::naive`].
    pub mean_abs_error_share_naive: f64,
    /// Of [`Estimate::additive`].
    pub mean_abs_error_share_additive: f64,
    /// Of [`Estimate::power`]; `None` where no overlap was fitted.
    pub mean_abs_error_share_corrected: Option<f64>,
}

/// Measurements that tell too little, or make no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SharedPowerError {
    /// A power that can't be.
    #[error(
        "measurement {number}: found {found}, expected a finite power of at least {least}, the static power; \
         correct the measurement or the static power"
    )]
    Power {
        /// Which measurement, counted from 1; 0 is the static power itself.
        number: usize,
        /// What was found.
        found: Watts,
        /// The least that it can be.
        least: Watts,
    },
    /// A measurement of nobody.
    #[error(
        "measurement {number}: found no tenant, expected at least one; an idle device tells nothing here"
    )]
    NoTenant {
        /// Which measurement, counted from 1.
        number: usize,
    },
    /// `P_OI` and `dyn` can't be told apart.
    #[error(
        "the idle draw of the shared parts can't be told from what tenants add: found {found}, expected some \
         model measured with two numbers of instances on equal slices; measure one model with 1, 2 and 3"
    )]
    Rank {
        /// What was measured.
        found: String,
    },
    /// A tenant whose draw is unknown.
    #[error(
        "found {model} on {slice}, expected a tenant that was measured alone, one of: {known}; measure it alone"
    )]
    Unknown {
        /// The model.
        model: ModelName,
        /// Its slice.
        slice: String,
        /// Those that were measured alone.
        known: String,
    },
    /// A set to compare with that the fit has seen.
    #[error(
        "held-out measurement {number}: found a set of tenants that was fitted on, expected one that was not; \
         an error over what was fitted says nothing"
    )]
    Fitted {
        /// Which measurement, counted from 1.
        number: usize,
    },
    /// No set to compare with.
    #[error("found no held-out measurement, expected at least one; keep some sets of tenants out of the fit")]
    NothingHeldOut,
}

impl SharedPower {
    /// Fits the model on `samples`, which may be of three kinds, in any order: one tenant alone, from
    /// which its draw is taken; several of one tenant, from which `P_OI` is fitted together with the
    /// former, by least squares; and different tenants, on which κ is.
    ///
    /// Errors: a power below `static_power`, a sample of nobody, no model with two instance counts, a
    /// tenant in company that was never measured alone.
    pub fn fit(static_power: Watts, samples: &[Measured]) -> Result<Self, SharedPowerError> {
        if !(static_power.get().is_finite() && static_power >= Watts::ZERO) {
            return Err(SharedPowerError::Power { number: 0, found: static_power, least: Watts::ZERO });
        }
        check(static_power, samples)?;
        let mut instances: BTreeMap<&Tenant, Vec<(f64, f64)>> = BTreeMap::new();
        let mut company = Vec::new();
        for sample in samples {
            match &sample.tenants[..] {
                [first, others @ ..] if others.iter().all(|other| other == first) => {
                    let dynamic = (sample.power - static_power).get();
                    instances.entry(first).or_default().push((sample.tenants.len() as f64, dynamic));
                }
                _ => company.push(sample),
            }
        }
        let alone: BTreeMap<Tenant, Watts> = instances
            .iter()
            .filter_map(|(tenant, seen)| Some(((*tenant).clone(), static_power + alone_of(seen)?)))
            .collect();
        let (shared_idle_power, residual) = fit_shared_idle(static_power, &instances, &alone)?;
        let fitted = samples.iter().map(|sample| sorted(&sample.tenants)).collect();
        let mut fit =
            Self { static_power, shared_idle_power, overlap_per_watt: None, residual, alone, fitted };
        fit.overlap_per_watt = fit.fit_overlap(&company)?;
        Ok(fit)
    }

    /// The power of the device while `tenants` are all busy; the static power when there are none.
    ///
    /// Errors: a tenant that was not measured alone.
    pub fn estimate(&self, tenants: &[Tenant]) -> Result<Estimate, SharedPowerError> {
        let draws = self.draws(tenants)?;
        let floor = self.floor(tenants);
        let over_static: f64 = draws.iter().map(|draw| draw + self.shared_idle_power.get()).sum();
        Ok(Estimate {
            power: floor + Watts::new(overlapping(&draws, self.overlap_per_watt.unwrap_or(0.0))),
            additive: floor + Watts::new(draws.iter().sum()),
            naive: self.static_power + Watts::new(over_static),
        })
    }

    /// How far the three estimates are off over `held_out`, none of which may have been fitted on.
    ///
    /// Errors: as in [`fit`](Self::fit) and [`estimate`](Self::estimate); a set that was fitted on;
    /// nothing to compare with.
    pub fn error_report(&self, held_out: &[Measured]) -> Result<ErrorReport, SharedPowerError> {
        check(self.static_power, held_out)?;
        if held_out.is_empty() {
            return Err(SharedPowerError::NothingHeldOut);
        }
        let (mut naive, mut additive, mut corrected) = (0.0, 0.0, 0.0);
        for (index, sample) in held_out.iter().enumerate() {
            if self.fitted.contains(&sorted(&sample.tenants)) {
                return Err(SharedPowerError::Fitted { number: index + 1 });
            }
            let estimate = self.estimate(&sample.tenants)?;
            let share_off = |estimate: Watts| ((estimate - sample.power) / sample.power).abs();
            naive += share_off(estimate.naive);
            additive += share_off(estimate.additive);
            corrected += share_off(estimate.power);
        }
        let sets = held_out.len();
        let mean = |sum: f64| sum / sets as f64;
        Ok(ErrorReport {
            sets,
            mean_abs_error_share_naive: mean(naive),
            mean_abs_error_share_additive: mean(additive),
            mean_abs_error_share_corrected: self.overlap_per_watt.map(|_| mean(corrected)),
        })
    }

    /// `dyn` of each tenant in watts, never below 0.
    fn draws(&self, tenants: &[Tenant]) -> Result<Vec<f64>, SharedPowerError> {
        let floor = self.static_power + self.shared_idle_power;
        let draw = |tenant: &Tenant| match self.alone.get(tenant) {
            Some(alone) => Ok((*alone - floor).get().max(0.0)),
            None => Err(SharedPowerError::Unknown {
                model: tenant.model.clone(),
                slice: tenant.slice.clone(),
                known: list(self.alone.keys()),
            }),
        };
        tenants.iter().map(draw).collect()
    }

    /// What is drawn before any tenant's own draw.
    fn floor(&self, tenants: &[Tenant]) -> Watts {
        if tenants.is_empty() { self.static_power } else { self.static_power + self.shared_idle_power }
    }

    /// The κ of least squared error over `company`: from 0 to where the largest draw would saturate
    /// the device by itself.
    fn fit_overlap(&self, company: &[&Measured]) -> Result<Option<f64>, SharedPowerError> {
        let mut sets = Vec::new();
        for sample in company {
            let over_floor = (sample.power - self.floor(&sample.tenants)).get();
            sets.push((self.draws(&sample.tenants)?, over_floor));
        }
        let largest =
            self.draws(&self.alone.keys().cloned().collect::<Vec<_>>())?.into_iter().fold(0.0, f64::max);
        if sets.is_empty() || largest <= 0.0 {
            return Ok(None);
        }
        let error = |overlap: f64| -> f64 {
            sets.iter().map(|(draws, seen)| (overlapping(draws, overlap) - seen).powi(2)).sum()
        };
        Ok(Some(least(error, 0.0, 1.0 / largest)))
    }
}

fn check(static_power: Watts, samples: &[Measured]) -> Result<(), SharedPowerError> {
    for (index, sample) in samples.iter().enumerate() {
        let number = index + 1;
        if sample.tenants.is_empty() {
            return Err(SharedPowerError::NoTenant { number });
        }
        let lawful =
            sample.power.get().is_finite() && sample.power >= static_power && sample.power > Watts::ZERO;
        if !lawful {
            return Err(SharedPowerError::Power { number, found: sample.power, least: static_power });
        }
    }
    Ok(())
}

/// The mean of what one instance alone drew over the static power.
fn alone_of(seen: &[(f64, f64)]) -> Option<Watts> {
    let alone: Vec<f64> = seen.iter().filter(|(count, _)| *count == 1.0).map(|(_, power)| *power).collect();
    (!alone.is_empty()).then(|| Watts::new(alone.iter().sum::<f64>() / alone.len() as f64))
}

/// `P_OI`, and the root mean square of what is left, by least squares over
/// `power = P_OI + count·dyn` with one `dyn` for each tenant and one `P_OI` for all.
///
/// For a given `P_OI` the best `dyn` of a tenant is a quotient of sums; put in, it leaves one equation
/// in `P_OI`, to which a tenant contributes nothing when it was measured with one count only.
fn fit_shared_idle(
    static_power: Watts,
    instances: &BTreeMap<&Tenant, Vec<(f64, f64)>>,
    alone: &BTreeMap<Tenant, Watts>,
) -> Result<(Watts, Watts), SharedPowerError> {
    let sums = |seen: &[(f64, f64)]| {
        let counts: f64 = seen.iter().map(|(count, _)| count).sum();
        let squares: f64 = seen.iter().map(|(count, _)| count * count).sum();
        let products: f64 = seen.iter().map(|(count, power)| count * power).sum();
        (counts, squares, products)
    };
    let (mut weight, mut weighted) = (0.0, 0.0);
    for seen in instances.values() {
        let (counts, squares, products) = sums(seen);
        weight += seen.len() as f64 - counts * counts / squares;
        weighted += seen.iter().map(|(_, power)| power).sum::<f64>() - counts * products / squares;
    }
    if weight < RANK_TOLERANCE {
        let counts = |seen: &[(f64, f64)]| seen.first().map_or(0.0, |(count, _)| *count);
        let each = instances
            .iter()
            .map(|(tenant, seen)| format!("{} on {} with {} only", tenant.model, tenant.slice, counts(seen)));
        let found = each.collect::<Vec<_>>().join(", ");
        return Err(SharedPowerError::Rank {
            found: if found.is_empty() { "no model by itself".into() } else { found },
        });
    }
    // Whoever is busy draws it, so nobody draws less alone; and it is no source of power.
    let most = alone.values().map(|power| (*power - static_power).get()).fold(f64::INFINITY, f64::min);
    let shared_idle = (weighted / weight).min(most).max(0.0);
    let (mut squared, mut number) = (0.0, 0.0);
    for seen in instances.values() {
        let (counts, squares, products) = sums(seen);
        let draw = (products - shared_idle * counts) / squares;
        squared +=
            seen.iter().map(|(count, power)| (power - shared_idle - count * draw).powi(2)).sum::<f64>();
        number += seen.len() as f64;
    }
    Ok((Watts::new(shared_idle), Watts::new((squared / number).sqrt())))
}

/// `(1 − Π(1 − κ·draw)) / κ`; the sum of the draws for κ = 0.
fn overlapping(draws: &[f64], overlap_per_watt: f64) -> f64 {
    if overlap_per_watt <= 0.0 {
        return draws.iter().sum();
    }
    // By logarithms, so that a small κ loses no digits.
    let free: f64 = draws.iter().map(|draw| (-overlap_per_watt * draw).max(-1.0).ln_1p()).sum();
    -free.exp_m1() / overlap_per_watt
}

/// Where `error` is least between `low` and `high`: the best of 33 values, then of 33 around it…
fn least(error: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    let (mut from, mut to, mut best) = (low, high, low);
    for _ in 0..12 {
        let step = (to - from) / 32.0;
        for index in 0..=32 {
            let value = from + step * f64::from(index);
            if error(value) < error(best) {
                best = value;
            }
        }
        (from, to) = ((best - step).max(low), (best + step).min(high));
    }
    best
}

fn sorted(tenants: &[Tenant]) -> Vec<Tenant> {
    let mut tenants = tenants.to_vec();
    tenants.sort();
    tenants
}

fn list<'a>(tenants: impl Iterator<Item = &'a Tenant>) -> String {
    tenants.map(|tenant| format!("{} on {}", tenant.model, tenant.slice)).collect::<Vec<_>>().join(", ")
}
