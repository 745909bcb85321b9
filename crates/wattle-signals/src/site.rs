//! The supply of a site as a power cap: its generators and its battery, each a live signal.

use std::sync::Arc;
use std::time::Duration;

use wattle_core::signal::{Freshness, Quantity, SignalHead, SignalReading};
use wattle_core::time::UnixTime;

use crate::live::LiveSignal;
use crate::outlook::AheadPoint;
use crate::points::sureness;
use crate::supply::SupplyRule;

/// What a site makes of its own, as a cap for this server.
#[derive(Debug)]
pub struct LiveSupply {
    generators: Vec<Arc<LiveSignal>>,
    battery_charge: Option<Arc<LiveSignal>>,
    rule: SupplyRule,
    head: Arc<SignalHead>,
}

impl LiveSupply {
    /// The supply of `generators`, in watts each, and of a battery whose state of charge is told as 0 to 1.
    pub fn new(
        generators: Vec<Arc<LiveSignal>>,
        battery_charge: Option<Arc<LiveSignal>>,
        rule: SupplyRule,
    ) -> Self {
        let names: Vec<&str> = generators.iter().chain(&battery_charge).map(|of| of.name()).collect();
        let source = format!("the site's supply: {}", names.join(", "));
        let head = Arc::new(SignalHead::configured(Quantity::Power, source));
        Self { generators, battery_charge, rule, head }
    }

    /// The signals it is made of.
    pub fn parts(&self) -> impl Iterator<Item = &Arc<LiveSignal>> {
        self.generators.iter().chain(&self.battery_charge)
    }

    /// What it is, and of what it is made.
    pub fn head(&self) -> &Arc<SignalHead> {
        &self.head
    }

    /// The cap at `now`; `None` where what a generator makes is unknown: unknown is not nothing.
    pub fn reading(&self, now: UnixTime) -> Option<SignalReading> {
        let generated: Vec<SignalReading> =
            self.generators.iter().map(|of| of.reading(now)).collect::<Option<_>>()?;
        let charge = self.battery_charge.as_ref().and_then(|of| of.reading(now));
        Some(cap(&generated, charge.as_ref(), &self.rule, &self.head))
    }

    /// The caps to come, as far as all generators' sources forecast, the battery charged as it is now.
    pub fn ahead(&self, now: UnixTime, horizon: Duration) -> Vec<AheadPoint> {
        let charge = self.battery_charge.as_ref().and_then(|of| of.reading(now)).map(|of| of.value);
        let forecasts: Vec<Vec<AheadPoint>> =
            self.generators.iter().map(|of| of.told_ahead(now, horizon)).collect();
        if forecasts.iter().any(Vec::is_empty) {
            return Vec::new();
        }
        let present: Option<Vec<f64>> =
            self.generators.iter().map(|of| of.reading(now).map(|of| of.value)).collect();
        let Some(present) = present else { return Vec::new() };
        let sums = sums_ahead(&present, &forecasts);
        let cap = |(at, sum)| AheadPoint { at, value: self.rule.watts(sum, charge), low: None, high: None };
        sums.into_iter().map(cap).collect()
    }
}

/// The sum of values that hold until the next, each `present` until its first of `forecasts`: at each time
/// at which one of them changes, up to the end of the one that ends first.
fn sums_ahead(present: &[f64], forecasts: &[Vec<AheadPoint>]) -> Vec<(UnixTime, f64)> {
    let end = forecasts.iter().filter_map(|of| of.last()).map(|last| last.at).min();
    let mut times: Vec<UnixTime> = forecasts.iter().flatten().map(|point| point.at).collect();
    times.retain(|at| end.is_some_and(|end| *at <= end));
    times.sort_unstable();
    times.dedup();
    let value_at = |at: UnixTime, (now, ahead): (&f64, &Vec<AheadPoint>)| {
        ahead.iter().take_while(|point| point.at <= at).last().map_or(*now, |point| point.value)
    };
    let sum = |at| (at, present.iter().zip(forecasts).map(|of| value_at(at, of)).sum());
    times.into_iter().map(sum).collect()
}

/// The cap that a rule makes of what is generated: as old, and as little known, as the worst of its parts.
pub fn cap(
    generated: &[SignalReading],
    charge: Option<&SignalReading>,
    rule: &SupplyRule,
    head: &Arc<SignalHead>,
) -> SignalReading {
    let parts = || generated.iter().chain(charge);
    let watts: f64 = generated.iter().map(|of| of.value).sum();
    SignalReading {
        value: rule.watts(watts, charge.map(|of| of.value)),
        at: parts().filter_map(|of| of.at).min(),
        age: parts().map(|of| of.age).max().unwrap_or_default(),
        status: parts().map(|of| of.status).min_by_key(|of| sureness(*of)).unwrap_or_default(),
        freshness: parts().map(|of| of.freshness).max().unwrap_or(Freshness::Fresh),
        head: Arc::clone(head),
    }
}

#[cfg(test)]
mod tests {
    use wattle_core::signal::PointStatus;

    use super::*;

    #[test]
    fn a_cap_is_as_old_and_as_little_known_as_the_worst_of_its_parts() {
        let head = Arc::new(SignalHead::configured(Quantity::Power, "a test"));
        let reading = |value, age: i64, status, freshness| SignalReading {
            value,
            at: Some(UnixTime::from_secs(1000 - age)),
            age: Duration::from_secs(age.unsigned_abs()),
            status,
            freshness,
            head: Arc::clone(&head),
        };
        let pv = reading(300.0, 10, PointStatus::Actual, Freshness::Fresh);
        let wind = reading(100.0, 900, PointStatus::Forecast, Freshness::Stale);
        let charge = reading(0.8, 20, PointStatus::Actual, Freshness::Fresh);
        let rule = SupplyRule { battery_floor: 0.5, battery_discharge_watts: 50.0, ..SupplyRule::default() };
        let cap = cap(&[pv, wind], Some(&charge), &rule, &head);
        assert_eq!(
            (cap.value, cap.age, cap.at),
            (450.0, Duration::from_secs(900), Some(UnixTime::from_secs(100)))
        );
        assert_eq!((cap.status, cap.freshness), (PointStatus::Forecast, Freshness::Stale));
    }

    #[test]
    fn forecasts_of_different_steps_add_up_until_the_first_ends() {
        let ahead = |points: &[(i64, f64)]| {
            let of = |(at, value): &(i64, f64)| AheadPoint {
                at: UnixTime::from_secs(*at),
                value: *value,
                low: None,
                high: None,
            };
            points.iter().map(of).collect::<Vec<_>>()
        };
        let sums = sums_ahead(
            &[1.0, 10.0],
            &[ahead(&[(5, 2.0), (10, 3.0), (15, 4.0)]), ahead(&[(7, 20.0), (14, 30.0)])],
        );
        let sums: Vec<(i64, f64)> = sums.into_iter().map(|(at, sum)| (at.as_secs(), sum)).collect();
        assert_eq!(sums, [(5, 12.0), (7, 22.0), (10, 23.0), (14, 33.0)]);
        assert!(sums_ahead(&[], &[]).is_empty());
    }
}
