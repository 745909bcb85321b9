//! A first answer: the device that serves most for its cost, again and again.

use super::pricing::{price, worth};
use crate::instance::{Column, Instance};

/// Serves the models one device after another, each time the one whose cost is least for what it is worth at
/// `prices`. `None`: devices ran out.
pub(crate) fn greedy(instance: &Instance, prices: &[f64]) -> Option<Vec<Column>> {
    let mut left = instance.clone();
    let mut missing = vec![1.0; instance.models];
    let mut chosen: Vec<Column> = Vec::new();
    // What only a few devices can serve goes first: it is worth more as the rest fills up.
    let mut prices = prices.to_vec();
    let floor = prices.iter().copied().fold(0.0, f64::max) * 1e-3 + 1e-9;
    prices.iter_mut().for_each(|price| *price = price.max(floor));
    while missing.iter().any(|missing| *missing > 1e-9) {
        let open: Vec<f64> = prices
            .iter()
            .zip(&missing)
            .map(|(price, missing)| if *missing > 1e-9 { *price } else { 0.0 })
            .collect();
        let mut best: Option<(f64, Column)> = None;
        let mut scale = 1.0;
        // Higher prices until some device pays for itself.
        for _ in 0..12 {
            let scaled: Vec<f64> = open.iter().map(|price| price * scale).collect();
            for column in price(&left, &scaled).columns {
                if left.kinds[column.kind].count == 0 {
                    continue;
                }
                let ratio = column.cost / worth(&left, &column, &open).max(1e-12);
                if best.as_ref().is_none_or(|(known, _)| ratio < *known) {
                    best = Some((ratio, column));
                }
            }
            if best.is_some() {
                break;
            }
            scale *= 2.0;
        }
        let (_, mut column) = best?;
        // Who is served already needs no seat.
        let clock = left.kinds.get(column.kind)?.clocks.get(column.clock)?;
        let mut seats = Vec::new();
        for (slot, entry) in &column.seats {
            let entry_of = clock.entries.get(*slot)?.get(*entry)?;
            if missing[entry_of.model] > 1e-9 {
                missing[entry_of.model] -= entry_of.share();
                seats.push((*slot, *entry));
            }
        }
        if seats.is_empty() {
            return None;
        }
        column = left.column(column.kind, column.clock, column.layout, seats);
        left.kinds[column.kind].count -= 1;
        chosen.push(column);
    }
    instance.check(&chosen).ok().map(|()| chosen)
}
