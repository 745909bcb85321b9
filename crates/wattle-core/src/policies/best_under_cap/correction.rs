//! How much more power is drawn here than the profiles say, learned from violations.

use std::time::Duration;

use crate::time::Timestamp;
use crate::units::Watts;

/// However wrong a profile is, its powers are not raised beyond this factor: a larger one is more
/// likely another program's doing.
const MOST: f64 = 3.0;

/// The factor on power above idle, in [1, 3]. Raised by a violation, relaxed with time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Correction {
    factor: f64,
    changed: Timestamp,
}

impl Default for Correction {
    fn default() -> Self {
        Self { factor: 1.0, changed: Timestamp::ZERO }
    }
}

impl Correction {
    pub(super) fn factor(self) -> f64 {
        self.factor
    }

    /// A violation: `measured` was drawn above idle where the profiles say `predicted`.
    pub(super) fn raise(&mut self, now: Timestamp, measured: Watts, predicted: Watts) {
        self.changed = now;
        // With nothing chosen, the power is not of any point and says nothing about one.
        if predicted > Watts::ZERO {
            self.factor = (measured / predicted).clamp(self.factor, MOST);
        }
    }

    /// No violation: half of the excess is forgotten in each `half_life`.
    pub(super) fn relax(&mut self, now: Timestamp, half_life: Duration) {
        let halvings = (now - self.changed).as_secs_f64() / half_life.as_secs_f64();
        // A half-life of zero, at once: 0/0 is no number.
        let kept = if halvings.is_nan() { 1.0 } else { 0.5f64.powf(halvings) };
        self.factor = 1.0 + (self.factor - 1.0) * kept;
        self.changed = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_at_once_stays_bounded_and_halves_its_excess() {
        let second = |seconds| Timestamp::from_duration(Duration::from_secs(seconds));
        let half_life = Duration::from_secs(10);
        let mut correction = Correction::default();
        correction.raise(second(1), Watts::new(150.0), Watts::new(100.0));
        assert_eq!(correction.factor(), 1.5);
        correction.raise(second(1), Watts::new(120.0), Watts::new(100.0));
        assert_eq!(correction.factor(), 1.5, "a smaller excess does not lower it");
        correction.relax(second(11), half_life);
        assert!((correction.factor() - 1.25).abs() < 1e-12);
        correction.raise(second(12), Watts::new(1e9), Watts::new(1.0));
        assert_eq!(correction.factor(), MOST);
        correction.relax(second(1000), half_life);
        assert!((correction.factor() - 1.0).abs() < 1e-9);
        correction.raise(second(1001), Watts::new(10.0), Watts::ZERO);
        assert!(correction.factor() < 1.1);
    }
}
