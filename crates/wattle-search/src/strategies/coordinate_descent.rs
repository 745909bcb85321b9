//! One knob at a time: steps that are better are taken until none is.

use std::collections::BTreeMap;

use wattle_core::operating_point::OperatingPoint;

use crate::knobs::{KNOBS, Place, Reading};
use crate::probe::Probe;
use crate::search::{Next, Search, Stop, Task, Why};
use crate::strategies::{Known, Seen};

/// Steps along one knob after another, from the lowest corner.
pub(crate) struct CoordinateDescent {
    task: Task,
    places: Vec<Option<Place>>,
    /// Where in the space each place is, with -0 and 0 as one.
    by_place: BTreeMap<Vec<u64>, Vec<usize>>,
    /// The values of each knob, ascending.
    values: [Vec<f64>; KNOBS],
    start: usize,
}

impl CoordinateDescent {
    pub(crate) fn new(task: Task) -> Self {
        let points = task.space.points();
        let reading = Reading::of(points);
        let places: Vec<Option<Place>> = points.iter().map(|point| reading.place(point)).collect();
        let mut by_place: BTreeMap<Vec<u64>, Vec<usize>> = BTreeMap::new();
        let mut values: [Vec<f64>; KNOBS] = Default::default();
        for (index, place) in places.iter().enumerate() {
            if let Some(place) = place {
                by_place.entry(bits(&place.at)).or_default().push(index);
                for (values, at) in values.iter_mut().zip(place.at) {
                    values.push(at);
                }
            }
        }
        for values in &mut values {
            values.sort_by(f64::total_cmp);
            values.dedup();
        }
        let height =
            |index: &usize| places.get(*index).and_then(Option::as_ref).map(|place| place.at.iter().sum());
        let start = (0..points.len())
            .min_by(|a, b| {
                let height = |index| height(index).unwrap_or(f64::INFINITY);
                f64::total_cmp(&height(a), &height(b))
            })
            .unwrap_or(0);
        Self { task, places, by_place, values, start }
    }

    /// The points one step from the point at `from`: down and up along each number, then every other name.
    fn neighbours(&self, from: usize) -> Vec<usize> {
        let Some(Some(place)) = self.places.get(from) else { return Vec::new() };
        let mut found = Vec::new();
        let same_names = |index: &&usize| {
            self.places.get(**index).and_then(Option::as_ref).is_some_and(|other| other.names == place.names)
        };
        for (knob, values) in self.values.iter().enumerate() {
            let Some(own) = place.at.get(knob) else { continue };
            let here = values.partition_point(|value| value < own);
            for beside in [Some(here + 1), here.checked_sub(1)].into_iter().flatten() {
                let Some(value) = values.get(beside) else { continue };
                let mut at = place.at;
                if let Some(moved) = at.get_mut(knob) {
                    *moved = *value;
                }
                let there = self.by_place.get(&bits(&at)).into_iter().flatten();
                found.extend(there.filter(same_names));
            }
        }
        let here = self.by_place.get(&bits(&place.at)).into_iter().flatten();
        found.extend(here.filter(|index| **index != from));
        found
    }
}

/// A place as a key; a knob is never -0, whose bits are others than those of 0.
fn bits(at: &[f64; KNOBS]) -> Vec<u64> {
    at.iter().map(|knob| (knob + 0.0).to_bits()).collect()
}

impl Search for CoordinateDescent {
    fn name(&self) -> &'static str {
        "coordinate-descent"
    }

    fn next(&mut self, seen: &[Probe]) -> Next {
        if let Some(done) = self.task.spent(seen) {
            return done;
        }
        let seen = Seen::of(seen);
        let points = self.task.space.points();
        let known = |index: usize| points.get(index).map(|point: &OperatingPoint| (point, seen.known(point)));
        // Played again from the start each time: what was seen tells where it stands.
        let mut current = self.start;
        let mut best = match known(current) {
            Some((point, Known::Nothing)) => return Next::probe(point, Why::First),
            Some((_, Known::Row(row))) => self.task.value_of(row),
            _ => None,
        };
        // Every move is to a better point, so there are no more moves than points.
        for _ in 0..points.len() {
            let mut moved = false;
            for neighbour in self.neighbours(current) {
                match known(neighbour) {
                    Some((point, Known::Nothing)) => return Next::probe(point, Why::Neighbour),
                    Some((_, Known::Row(row))) => {
                        if let Some(value) =
                            self.task.value_of(row).filter(|value| best.is_none_or(|best| *value > best))
                        {
                            (current, best, moved) = (neighbour, Some(value), true);
                            break;
                        }
                    }
                    _ => {}
                }
            }
            if !moved {
                break;
            }
        }
        Next::Done(Stop::Converged)
    }
}
