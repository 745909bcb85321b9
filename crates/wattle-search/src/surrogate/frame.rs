//! What places are compared by: which knobs are turned, and where each stands fully open.

use std::collections::BTreeSet;

use wattle_core::operating_point::OperatingPoint;

use crate::knobs::{BATCH, CLOCK, CORES, DUTY, INSTANCES, KNOBS, Names, Place, Reading, SLICES, UNITS};

/// Knobs that give the model more of the device.
const RESOURCES: [usize; 5] = [CORES, DUTY, CLOCK, UNITS, SLICES];

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

    /// The terms that power may be made of where rows are computed at the rate `rate`, as a share of the
    /// highest: idle, and idle of the parts that follow the clock; parts switched on, by the clock; the
    /// energy of each row and of each batch, at the lowest voltage and by the square of it, taken to
    /// follow the clock. Those by the rate come last; also how many of them there are.
    pub(super) fn power_terms(&self, site: &Site, rate: f64) -> (Vec<f64>, usize) {
        let clock = self.is_turned[CLOCK].then(|| site.doublings[CLOCK].exp2());
        let cube = clock.map(|clock| clock.powi(3));
        let on =
            (self.turns_share() || self.is_turned[DUTY]).then(|| (share(site) + site.doublings[DUTY]).exp2());
        let batches = self.is_turned[BATCH].then(|| rate / (site.doublings[BATCH] - self.least_batch).exp2());
        let times = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a * b);
        let square = clock.map(|clock| clock.powi(2));
        let by_rate = [Some(rate), times(Some(rate), square), batches, times(batches, square)];
        let still = [Some(1.0), clock, cube, on, times(on, clock), times(on, cube)];
        let count = by_rate.iter().flatten().count();
        (still.into_iter().chain(by_rate).flatten().collect(), count)
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
