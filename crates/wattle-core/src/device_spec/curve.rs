//! A figure that depends on the core clock.

use serde::Serialize;

use crate::units::Megahertz;

/// A figure at several core clocks. Between them it is interpolated; beyond them it is unknown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Curve(Vec<(Megahertz, f64)>);

impl Curve {
    /// A curve through `points`; `None` unless there is one at least and their clocks ascend.
    pub fn new(points: Vec<(Megahertz, f64)>) -> Option<Self> {
        let ascending = !points.is_empty() && points.is_sorted_by(|(a, _), (b, _)| a < b);
        ascending.then_some(Self(points))
    }

    /// The points, by clock.
    pub fn points(&self) -> &[(Megahertz, f64)] {
        &self.0
    }

    /// The figure at `clock`, linear between two points; `None` below the first and above the last.
    pub fn at(&self, clock: Megahertz) -> Option<f64> {
        let after = self.0.partition_point(|(known, _)| *known < clock);
        let (high, above) = *self.0.get(after)?;
        if high == clock {
            return Some(above);
        }
        let (low, below) = *self.0.get(after.checked_sub(1)?)?;
        Some(below + (above - below) * ((clock - low) / (high - low)))
    }

    /// The lowest and the highest clock of the curve.
    pub fn range(&self) -> (Megahertz, Megahertz) {
        let clock = |point: Option<&(Megahertz, f64)>| point.map_or(Megahertz::ZERO, |(clock, _)| *clock);
        (clock(self.0.first()), clock(self.0.last()))
    }
}
