//! What places are compared by: which knobs are turned, and where each stands fully open.

use std::collections::BTreeSet;

use wattle_core::operating_point::OperatingPoint;

use crate::knobs::{BATCH, CLOCK, CORES, DUTY, INSTANCES, KNOBS, Names, Place, Reading, SLICES, UNITS};

/// Knobs that give the model more of the device.
const RESOURCES: [usize; 5] = [CORES, DUTY, CLOCK, UNITS, SLICES];

/// A term that power may be made of: a product of what is true of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PowerTerm {
    /// The power of the clock that it goes with.
    clock: i32,
    /// It goes with the share of the device that is switched on.
    on: bool,
    /// It goes with the rate of rows.
    pub(super) rate: bool,
    /// Of the rate of batches, not of rows.
    batches: bool,
    /// About how much it draws where the device is fully open, as a multiple of about what it rests at.
    pub(super) guess: f64,
}

/// How much more power a device draws fully open than at rest, about: the guess before rows tell. Cards
/// and servers lie between 3 and 10. Assumed; all terms but the first are taken to share in it evenly.
const OPEN_TO_REST: f64 = 4.0;

/// Rest; what idles by the clock and by the cube of it (voltage is taken to follow the clock); parts
/// switched on, likewise; the energy of each row and each batch, at the lowest voltage and by its square.
const POWER_TERMS: [PowerTerm; 10] = {
    const fn term(clock: i32, on: bool, rate: bool, batches: bool) -> PowerTerm {
        PowerTerm { clock, on, rate, batches, guess: OPEN_TO_REST / 9.0 }
    }
    [
        PowerTerm { guess: 0.8, ..term(0, false, false, false) },
        term(1, false, false, false),
        term(3, false, false, false),
        term(0, true, false, false),
        term(1, true, false, false),
        term(3, true, false, false),
        term(0, false, true, false),
        term(2, false, true, false),
        term(0, false, true, true),
        term(2, false, true, true),
    ]
};

/// Points that set the same knobs and have the same names: told apart by numbers alone.
pub(super) type Group = (Names, [bool; KNOBS]);

/// A place in a frame.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) group: Group,
    /// Doublings of each knob: of the batch and the instances from 1, of resources from fully open.
    doublings: [f64; KNOBS],
    /// Where it is on each axis along which a knob is turned.
    pub(super) axes: Vec<f64>,
}

/// Which knobs are turned, and where each stands fully open.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    reading: Reading,
    is_turned: [bool; KNOBS],
    open: [f64; KNOBS],
    least_batch: f64,
}

impl Frame {
    /// The frame of all `points`.
    pub(super) fn of<'a>(points: impl Iterator<Item = &'a OperatingPoint> + Clone) -> Self {
        let reading = Reading::of(points.clone());
        let places: Vec<Place> = points.filter_map(|point| reading.place(point)).collect();
        let set = |knob: usize| {
            places.iter().filter(move |place| place.is_set[knob]).map(move |place| place.at[knob])
        };
        let knobs: [usize; KNOBS] = std::array::from_fn(|knob| knob);
        Self {
            reading,
            is_turned: knobs.map(|knob| set(knob).map(f64::to_bits).collect::<BTreeSet<_>>().len() > 1),
            open: knobs.map(|knob| set(knob).reduce(f64::max).unwrap_or(0.0)),
            least_batch: set(BATCH).fold(f64::INFINITY, f64::min),
        }
    }

    /// Where `point` is. `None` when it differs from all points of the frame in a knob that none of them
    /// turns: nothing can be said of what that does.
    pub(super) fn site(&self, point: &OperatingPoint) -> Option<Site> {
        let place = self.reading.place(point)?;
        let mut doublings = place.at;
        for knob in RESOURCES {
            doublings[knob] = if place.is_set[knob] { place.at[knob] - self.open[knob] } else { 0.0 };
        }
        let is_outside =
            |knob: usize| place.is_set[knob] && !self.is_turned[knob] && place.at[knob] != self.open[knob];
        if (0..KNOBS).any(is_outside) {
            return None;
        }
        let mut axes: Vec<f64> =
            (0..KNOBS).filter(|knob| self.is_turned[*knob]).map(|knob| doublings[knob]).collect();
        if self.is_turned[BATCH] && self.is_turned[INSTANCES] {
            // Rows in flight, which is what fills a device.
            axes.push(doublings[BATCH] + doublings[INSTANCES]);
        }
        Some(Site { group: (place.names, place.is_set), doublings, axes })
    }

    /// The terms that the time of a batch on all instances may be made of: something for each call, each
    /// row, each instance and each row of each, at no, one or all speeds: constant (host, launches), by
    /// the clock, by the share of the device, and by both. Throughput is b·m over it. For each busy
    /// second of a `duty` cycle there is more of it.
    pub(super) fn time_terms(&self, site: &Site, with_duty: bool) -> Vec<f64> {
        let clock = self.is_turned[CLOCK].then(|| (-site.doublings[CLOCK]).exp2());
        let share = self.turns_share().then(|| (-share(site)).exp2());
        let speeds = [Some(1.0), clock, share, clock.zip(share).map(|(clock, share)| clock * share)];
        let duty = if with_duty { (-site.doublings[DUTY]).exp2() } else { 1.0 };
        let speeds = speeds.into_iter().flatten();
        self.work(site)
            .into_iter()
            .flat_map(|work| speeds.clone().map(move |speed| work * speed * duty))
            .collect()
    }

    /// The terms that memory may be made of: something at all, for each row, instance, and row of each.
    pub(super) fn work(&self, site: &Site) -> Vec<f64> {
        let batch = self.is_turned[BATCH].then(|| site.doublings[BATCH].exp2());
        let instances = self.is_turned[INSTANCES].then(|| site.doublings[INSTANCES].exp2());
        let both = batch.zip(instances).map(|(batch, instances)| batch * instances);
        [Some(1.0), batch, instances, both].into_iter().flatten().collect()
    }

    /// The terms of [`POWER_TERMS`] that can be told apart by the knobs that are turned, with the sum of the
    /// guesses of those that can't. Those by the rate come last.
    pub(super) fn power_terms(&self) -> Vec<PowerTerm> {
        let mut told: Vec<PowerTerm> = Vec::new();
        for term in POWER_TERMS {
            let term = PowerTerm {
                clock: if self.is_turned[CLOCK] { term.clock } else { 0 },
                on: term.on && (self.turns_share() || self.is_turned[DUTY]),
                batches: term.batches && self.is_turned[BATCH],
                ..term
            };
            match told.iter_mut().find(|other| PowerTerm { guess: term.guess, ..**other } == term) {
                Some(same) => same.guess += term.guess,
                None => told.push(term),
            }
        }
        told
    }

    /// The values of [`Frame::power_terms`] where rows are computed at the rate `rate`, as a share of the
    /// highest.
    pub(super) fn power_values(&self, site: &Site, rate: f64) -> Vec<f64> {
        let value = |term: PowerTerm| {
            let clock = (f64::from(term.clock) * site.doublings[CLOCK]).exp2();
            let on = if term.on { (share(site) + site.doublings[DUTY]).exp2() } else { 1.0 };
            let rate = if term.rate { rate } else { 1.0 };
            let batch = if term.batches { (self.least_batch - site.doublings[BATCH]).exp2() } else { 1.0 };
            clock * on * rate * batch
        };
        self.power_terms().into_iter().map(value).collect()
    }

    fn turns_share(&self) -> bool {
        [CORES, UNITS, SLICES].iter().any(|knob| self.is_turned[*knob])
    }
}

impl Site {
    /// The logarithm of b·m: rows of one batch on all instances.
    pub(super) fn ln_rows(&self) -> f64 {
        (self.doublings[BATCH] + self.doublings[INSTANCES]) * std::f64::consts::LN_2
    }
}

/// Doublings of the share of the device that a model has.
fn share(site: &Site) -> f64 {
    site.doublings[CORES] + site.doublings[UNITS] + site.doublings[SLICES]
}
