//! Reads a profile between its rows, over all knobs at once.
//!
//! Every knob and every figure is taken by its logarithm, so what is drawn between rows is a power
//! law in each knob. Throughput, latency and energy then still agree with each other between rows as
//! they do in the rows (b·m / latency, power / throughput), and no figure comes out below 0. Distance
//! is counted in doublings, the same for each knob: nothing is fitted, to this table or to any other.
//!
//! A point is drawn between the rows at the corners of the Delaunay simplex around it (see
//! [`mod@super::enclosing`]): at most one row more than there are knobs that were turned, the nearest
//! ones that enclose it, and never outside the range of their figures.

use std::collections::BTreeMap;

use super::Profile;
use super::enclosing::enclosing;
use super::interpolate::{Prediction, draw};
use super::partition::{Notation, notation_of, size};
use crate::operating_point::{OperatingPoint, ProfileRow};

/// Knobs that are numbers: batch size, instances, duty cycle, cores, clock, compute units, partition.
const KNOBS: usize = 7;

/// Predicts the figures of operating points inside what was profiled. Made once from a [`Profile`].
///
/// Between rows every figure is a power law in each knob, drawn over the Delaunay simplex around the
/// point. Nothing is fitted, and what is drawn is at best modelled.
#[derive(Debug, Clone)]
pub struct Predictor {
    rows: Vec<ProfileRow>,
    /// How partitions tell their size; `None`: they are names only.
    notation: Option<Notation>,
    classes: BTreeMap<Class, Sites>,
}

/// What rows have to share before anything is drawn between them: the knobs that are names, and
/// which of the others are set at all. A knob at its default has no place on that knob's axis.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    variant: Option<String>,
    partition: Option<String>,
    is_set: [bool; 4],
}

/// Rows of one class, by the logarithms of their knobs.
#[derive(Debug, Clone, Default)]
struct Sites {
    /// Indexes into the rows of the profile.
    rows: Vec<usize>,
    places: Vec<[f64; KNOBS]>,
    /// The knobs that differ from row to row, and the places over them alone.
    turned: Vec<usize>,
    turned_places: Vec<Vec<f64>>,
}

impl Profile {
    /// A predictor of the points between the rows of this profile, over all knobs.
    pub fn predictor(&self) -> Predictor {
        Predictor::new(self)
    }
}

impl Predictor {
    /// A predictor of the points between the rows of `profile`.
    pub fn new(profile: &Profile) -> Self {
        let notation = notation_of(profile.rows.iter().map(|row| &row.point));
        let mut classes: BTreeMap<Class, Sites> = BTreeMap::new();
        for (index, row) in profile.rows.iter().enumerate() {
            if let Some((class, place)) = locate(&row.point, notation) {
                let sites = classes.entry(class).or_default();
                sites.rows.push(index);
                sites.places.push(place);
            }
        }
        classes.values_mut().for_each(Sites::find_turned);
        Self { rows: profile.rows.clone(), notation, classes }
    }

    /// What is to be expected at `point`: its own row, or what is drawn between the rows around it.
    ///
    /// `None` outside the hull, which is never left: the point has to lie between (in the convex hull,
    /// over the logarithms of the knobs) rows of its variant that set the same knobs. A partition
    /// counts as a knob by its size where every partition of the profile is written as `3/7` with one
    /// and the same whole, as `3g` (`3g.20gb`), or as a count; otherwise it has to be the same one.
    pub fn predict(&self, point: &OperatingPoint) -> Option<Prediction> {
        let (class, place) = locate(point, self.notation)?;
        let sites = self.classes.get(&class)?;
        if let Some(own) = sites.places.iter().position(|site| *site == place) {
            let row = self.rows.get(*sites.rows.get(own)?)?.clone();
            return Some(Prediction { row: ProfileRow { point: point.clone(), ..row }, between: Vec::new() });
        }
        self.drawn(point, sites.around(&place, None)?)
    }

    /// What would be expected at the point of the row at `index`, were there no such row.
    pub(super) fn predict_without(&self, index: usize) -> Option<Prediction> {
        let point = &self.rows.get(index)?.point;
        let (class, place) = locate(point, self.notation)?;
        self.drawn(point, self.classes.get(&class)?.around(&place, Some(index))?)
    }

    fn drawn(&self, point: &OperatingPoint, around: Vec<(usize, f64)>) -> Option<Prediction> {
        let parts: Option<Vec<_>> =
            around.iter().map(|(index, weight)| Some((self.rows.get(*index)?, *weight))).collect();
        Some(Prediction {
            row: draw(point, &parts?)?,
            between: around.into_iter().map(|(index, _)| index).collect(),
        })
    }
}

impl Sites {
    fn find_turned(&mut self) {
        let Some(first) = self.places.first() else { return };
        self.turned =
            (0..KNOBS).filter(|knob| self.places.iter().any(|place| place[*knob] != first[*knob])).collect();
        self.turned_places =
            self.places.iter().map(|place| self.turned.iter().map(|knob| place[*knob]).collect()).collect();
    }

    /// The rows around `place`, but for the one at index `left_out`, and their weights, ascending;
    /// `None` when it is outside.
    fn around(&self, place: &[f64; KNOBS], left_out: Option<usize>) -> Option<Vec<(usize, f64)>> {
        let first = self.places.first()?;
        if (0..KNOBS).any(|knob| !self.turned.contains(&knob) && place[knob] != first[knob]) {
            return None;
        }
        let at: Vec<f64> = self.turned.iter().map(|knob| place[*knob]).collect();
        let kept: Vec<usize> = self.rows.iter().copied().filter(|row| Some(*row) != left_out).collect();
        let sites: Vec<&[f64]> = (self.rows.iter().zip(&self.turned_places))
            .filter(|(row, _)| Some(**row) != left_out)
            .map(|(_, place)| place.as_slice())
            .collect();
        let around = enclosing(&sites, &at)?;
        around.into_iter().map(|(site, weight)| Some((*kept.get(site)?, weight))).collect()
    }
}

/// The class of `point` and the logarithms to base 2 of its knobs, 0 for one that is not set. `None`
/// when a knob has no logarithm, or when the partition does not tell its size as others do.
fn locate(point: &OperatingPoint, notation: Option<Notation>) -> Option<(Class, [f64; KNOBS])> {
    let partition = point.partition.as_deref();
    let slices = match (partition, notation) {
        (Some(name), Some(notation)) => {
            let (_, slices) = size(name).filter(|(found, _)| *found == notation)?;
            Some(slices)
        }
        _ => None,
    };
    let set = [
        point.cores_per_instance.map(f64::from),
        point.core_clock_mhz.map(|clock| clock.get()),
        point.compute_units.map(f64::from),
        slices.map(f64::from),
    ];
    let class = Class {
        variant: point.variant.clone(),
        partition: if slices.is_some() { None } else { point.partition.clone() },
        is_set: set.map(|knob| knob.is_some()),
    };
    let [cores, clock, units, slices] = set.map(|knob| knob.unwrap_or(1.0).log2());
    let place = [
        f64::from(point.batch_size).log2(),
        f64::from(point.instances).log2(),
        point.duty_cycle.unwrap_or(1.0).log2(),
        cores,
        clock,
        units,
        slices,
    ];
    place.iter().all(|knob| knob.is_finite()).then_some((class, place))
}
