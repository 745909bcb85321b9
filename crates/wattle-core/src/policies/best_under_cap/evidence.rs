//! Whether power is over the cap beyond doubt.
//!
//! A sample over the cap may be noise, and a point given up for noise is throughput lost. So samples
//! are weighed together; one that is far over the cap counts alone.

use crate::units::Watts;

/// What of each sample's excess over the cap, as a share of the cap, is taken for noise.
const NOISE: f64 = 0.025;
/// What is left must add up to this much.
const ENOUGH: f64 = 0.03;
/// A small excess must show in the mean of so many samples,
const MANY: u32 = 50;
/// by so many standard errors.
const STANDARD_ERRORS: f64 = 4.0;

/// Samples at the choice in force, and whether they are over the cap beyond doubt.
///
/// The rule: a violation counts when the excesses of successive samples, each less 2.5 % of the cap for
/// noise, add up to 3 % (one sample 5.5 % over, two 4 % over), or when the mean of 50 samples is over
/// the cap by four standard errors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Evidence {
    /// What the excesses add up to, as a share of the cap; never below zero (a one-sided CUSUM).
    sum: f64,
    /// Samples since that was zero.
    rising: Mean,
    all: Mean,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    count: u32,
    power: f64,
    /// Of the excess as a share of the cap, with its sum of squared deviations.
    excess: f64,
    squares: f64,
}

impl Mean {
    fn add(&mut self, power: f64, excess: f64) {
        self.count += 1;
        let share = 1.0 / f64::from(self.count);
        self.power += (power - self.power) * share;
        let deviation = excess - self.excess;
        self.excess += deviation * share;
        self.squares += deviation * (excess - self.excess);
    }

    fn is_over_beyond_doubt(&self) -> bool {
        let count = f64::from(self.count);
        self.excess > STANDARD_ERRORS * (self.squares / (count - 1.0) / count).sqrt()
    }
}

impl Evidence {
    /// Takes in a sample under `cap`. If that makes a violation, its mean power, and all begins anew.
    pub(super) fn take_in(&mut self, power: Watts, cap: Watts) -> Option<Watts> {
        let excess = power / cap - 1.0;
        if excess.is_nan() || excess == f64::NEG_INFINITY {
            return None; // no power under a cap of zero
        }
        if excess.is_infinite() {
            *self = Self::default();
            return Some(power);
        }
        self.sum = (self.sum + excess - NOISE).max(0.0);
        if self.sum == 0.0 {
            self.rising = Mean::default();
        } else {
            self.rising.add(power.get(), excess);
        }
        self.all.add(power.get(), excess);
        let violation = if self.sum >= ENOUGH {
            Some(self.rising.power)
        } else if self.all.count < MANY {
            return None;
        } else {
            self.all.is_over_beyond_doubt().then_some(self.all.power)
        };
        if violation.is_some() {
            *self = Self::default();
        }
        self.all = Mean::default();
        violation.map(Watts::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many samples of `powers` under a cap of 100 W it takes for a violation to count.
    fn counts_after(powers: impl IntoIterator<Item = f64>) -> Option<usize> {
        let mut evidence = Evidence::default();
        let found = |power: f64| evidence.take_in(Watts::new(power), Watts::new(100.0)).is_some();
        powers.into_iter().map(found).position(|counts| counts).map(|index| index + 1)
    }

    #[test]
    fn a_clear_violation_counts_at_once_a_small_one_when_it_lasts_and_noise_never() {
        assert_eq!(counts_after([105.6]), Some(1));
        assert_eq!(counts_after([104.1; 10]), Some(2));
        assert_eq!(counts_after([101.0; 100]), Some(50));
        assert_eq!(counts_after([104.0, 96.0].repeat(1000)), None);
        assert_eq!(counts_after([100.0; 1000]), None);
        assert_eq!(counts_after([f64::NAN; 1000]), None);
        assert!(Evidence::default().take_in(Watts::new(1.0), Watts::ZERO).is_some());
        assert!(Evidence::default().take_in(Watts::ZERO, Watts::ZERO).is_none());
        assert!(Evidence::default().take_in(Watts::new(-1.0), Watts::ZERO).is_none());
    }
}
