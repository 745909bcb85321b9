//! The price of quality: the dual of a floor or a budget over what is expected.

use crate::family::{Variant, joules_per_quality};
use crate::units::{CarbonIntensity, Joules};

/// Prices this near each other, as a share, are one: what is taken in part is shared among their steps.
const SAME_PRICE: f64 = 1e-9;

/// Rows that are expected at one carbon intensity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Piece {
    pub(super) intensity: CarbonIntensity,
    pub(super) rows: f64,
}

/// What one family is expected to serve, and with what it can.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    /// By ascending energy and quality, convex.
    pub(super) hull: &'a [Variant],
    pub(super) pieces: &'a [Piece],
}

/// What bounds what is expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limit {
    /// At least so much quality, as a sum over rows.
    Quality(f64),
    /// At most so many grams.
    Grams(f64),
}

/// What a unit of quality of one row is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Price {
    /// In grams; infinite where all that can be had is needed.
    pub(super) grams: f64,
    /// Share that is taken of the steps at this very price. In 0 to 1.
    pub(super) share: f64,
}

/// How far a price goes along a hull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    /// The variant all of whose steps are cheaper.
    pub(super) sure: usize,
    /// The next one is at the price itself: it may serve part of the time.
    pub(super) is_next_at_price: bool,
}

/// Grams for a unit of quality of one row, from one variant to another.
fn step_grams(from: &Variant, to: &Variant, intensity: CarbonIntensity) -> f64 {
    (Joules::new(joules_per_quality(from, to)) * intensity).get()
}

impl Price {
    /// The lowest price at which `limit` is kept, or with a budget the highest. The linear program is solved
    /// exactly, by taking the steps along the hulls cheapest first; the last one is taken in part.
    pub(super) fn of(expected: &[Expected<'_>], limit: Limit) -> Self {
        let mut missing = match limit {
            Limit::Quality(wanted) => wanted,
            Limit::Grams(budget) => budget,
        };
        let mut steps: Vec<(f64, f64)> = Vec::new();
        for Expected { hull, pieces } in expected {
            let Some(least) = hull.first() else { continue };
            for piece in pieces.iter().filter(|piece| piece.rows > 0.0) {
                missing -= piece.rows
                    * match limit {
                        Limit::Quality(_) => least.quality,
                        Limit::Grams(_) => (least.energy_joules_per_row * piece.intensity).get(),
                    };
                for pair in hull.windows(2) {
                    let [from, to] = pair else { continue };
                    let price = step_grams(from, to, piece.intensity);
                    let quality = piece.rows * (to.quality - from.quality);
                    let size = match limit {
                        Limit::Quality(_) => quality,
                        Limit::Grams(_) => quality * price,
                    };
                    steps.push((price, size));
                }
            }
        }
        if missing <= 0.0 {
            return Self { grams: 0.0, share: 0.0 };
        }
        steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut rest = steps.as_slice();
        while let Some((price, _)) = rest.first() {
            let same = rest.partition_point(|(other, _)| *other <= price * (1.0 + SAME_PRICE));
            let (group, after) = rest.split_at(same.max(1));
            let size: f64 = group.iter().map(|(_, size)| size).sum();
            if size > missing {
                return Self { grams: *price, share: missing / size };
            }
            missing -= size;
            rest = after;
        }
        Self { grams: f64::INFINITY, share: 1.0 }
    }

    /// How far along `hull` this price goes at `intensity`. What costs nothing is always taken.
    pub(super) fn reach(&self, hull: &[Variant], intensity: CarbonIntensity) -> Reach {
        let margin = self.grams.abs() * SAME_PRICE * 2.0;
        let mut reach = Reach { sure: 0, is_next_at_price: false };
        for pair in hull.windows(2) {
            let [from, to] = pair else { continue };
            let price = step_grams(from, to, intensity);
            if price <= 0.0 || price < self.grams - margin || self.grams.is_infinite() {
                reach.sure += 1;
            } else {
                reach.is_next_at_price = self.share > 0.0 && price <= self.grams + margin;
                break;
            }
        }
        reach
    }
}
