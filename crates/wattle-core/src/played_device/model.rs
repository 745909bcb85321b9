//! One model's profile, made ready to be played: how long a batch takes and what it draws.
//!
//! Draws between the rows of the profile as [`Profile::predict`] does, so a policy that plans with the
//! same profile and a device that plays it agree. What a batch of each size takes and draws is worked out
//! once, as a replay asks millions of times a second.

use std::time::Duration;

use crate::id::ModelName;
use crate::operating_point::{OperatingPoint, ProfileRow};
use crate::profile::{PowerFigure, Profile};
use crate::provenance::Basis;
use crate::units::{Megahertz, Watts};

/// A profile can't be played.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UnplayableProfile {
    /// No row runs without idle injection.
    #[error("the profile of {model} has no row with a duty cycle of 1")]
    NoRows {
        /// Which model.
        model: ModelName,
    },
    /// A row tells neither latency nor throughput, or neither makes a time.
    #[error(
        "the profile of {model} tells no time at {point}: give latency_ms_mean or throughput_rps, over 0"
    )]
    NoTime {
        /// Which model.
        model: ModelName,
        /// Where the knobs stand.
        point: String,
    },
    /// A row tells no power.
    #[error("the profile of {model} tells no power at {point}: give power_watts_mean")]
    NoPower {
        /// Which model.
        model: ModelName,
        /// Where the knobs stand.
        point: String,
    },
    /// No profile tells what the device draws with nothing to do.
    #[error("none of the profiles tells idle_power_watts in its head; give it there or in the scenario")]
    NoIdlePower,
    /// Rows are of several partitions or variants, and a device is one.
    #[error("the profile of {model} has rows of several values of {column}: keep those of one")]
    Several {
        /// Which model.
        model: ModelName,
        /// In which column they differ.
        column: &'static str,
    },
    /// A knob is turned in some rows and not told in others.
    #[error("the profile of {model} has rows with and without {column}: fill it in every row")]
    Untold {
        /// Which model.
        model: ModelName,
        /// Which column.
        column: &'static str,
    },
    /// Profiles of models on one device share no value of a knob.
    #[error("the profiles share no value of {column}")]
    NothingShared {
        /// Which column.
        column: &'static str,
    },
    /// A combination of knobs that can be set has no row.
    #[error("the profile of {model} has no row where {knobs}")]
    Hole {
        /// Which model.
        model: ModelName,
        /// Where the knobs stand.
        knobs: String,
    },
}

/// Where the knobs of the device stand. `None`: the device has no such knob.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knobs {
    /// Core clock.
    pub clock: Option<Megahertz>,
    /// Compute units in use.
    pub units: Option<u32>,
}

/// One model's profile, by curve.
#[derive(Debug, Clone)]
pub(super) struct PlayedModel {
    pub(super) model: ModelName,
    curves: Vec<Curve>,
    /// The clocks that rows differ in, ascending; empty where all rows are of one.
    pub(super) clocks: Vec<f64>,
    /// The compute units that rows differ in, ascending; empty where all rows are of one.
    pub(super) units: Vec<u32>,
    /// The worst way in which a power figure is known.
    pub(super) power_basis: Basis,
}

/// Most batch sizes of one curve that are worked out ahead: any real one, and no file can fill memory.
const MOST_SIZES: u32 = 1 << 16;

/// The rows that differ in batch size alone.
#[derive(Debug, Clone)]
struct Curve {
    point: OperatingPoint,
    rows: Profile,
    smallest_batch: u32,
    largest_batch: u32,
    /// Latency in milliseconds and power at each batch size from the smallest on.
    figures: Vec<(f64, Watts)>,
}

/// Which curve of a model a batch plays on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CurveIndex(usize);

/// How one batch plays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Played {
    latency_ms: f64,
    /// Power of the whole device with this batch and its siblings, from its profile.
    power: Watts,
    /// By how many batches that power is shared.
    sharers: u32,
}

impl Played {
    /// How long the batch takes.
    pub(super) fn latency(&self) -> Duration {
        milliseconds(self.latency_ms).unwrap_or(Duration::MAX)
    }

    /// This batch's share of the power above `idle`. Never negative, though rows may be noisy.
    pub(super) fn share_above(&self, idle: Watts) -> Watts {
        (self.power - idle).max(Watts::ZERO) / f64::from(self.sharers)
    }
}

impl PlayedModel {
    pub(super) fn new(model: ModelName, profile: &Profile) -> Result<Self, UnplayableProfile> {
        // Idle injection is the executor's to do: rows of it would count it twice.
        let at_full_duty =
            profile.rows.iter().filter(|row| row.point.duty_cycle.is_none_or(|duty| duty >= 1.0));
        let rows = at_full_duty.map(|row| complete(row, &model)).collect::<Result<Vec<_>, _>>()?;
        let Some(power_basis) = rows.iter().map(|row| row.power_basis).max() else {
            return Err(UnplayableProfile::NoRows { model });
        };
        for (column, is_other) in [
            (
                "partition",
                (|a, b| a.partition != b.partition) as fn(&OperatingPoint, &OperatingPoint) -> bool,
            ),
            ("variant", |a, b| a.variant != b.variant),
        ] {
            if rows.iter().any(|row| is_other(&row.point, &rows[0].point)) {
                return Err(UnplayableProfile::Several { model, column });
            }
        }
        let clocks = rows.iter().map(|row| row.point.core_clock_mhz.map(Megahertz::get));
        let clocks = turned(clocks, f64::total_cmp);
        let units = turned(rows.iter().map(|row| row.point.compute_units), u32::cmp);
        let untold = |column| UnplayableProfile::Untold { model: model.clone(), column };
        let clocks = clocks.ok_or_else(|| untold("core_clock_mhz"))?;
        let units = units.ok_or_else(|| untold("compute_units"))?;
        let mut curves: Vec<Curve> = Vec::new();
        for row in rows {
            match curves.iter_mut().find(|curve| curve.point.differs_in_batch_only(&row.point)) {
                Some(curve) => curve.push(row),
                None => curves.push(Curve::new(row, profile)),
            }
        }
        curves.iter_mut().for_each(Curve::work_out);
        Ok(Self { model, curves, clocks, units, power_basis })
    }

    /// Checks that there is a curve wherever `knobs` may stand.
    pub(super) fn check(&self, knobs: Knobs) -> Result<(), UnplayableProfile> {
        if self.curves_at(knobs).next().is_some() {
            return Ok(());
        }
        let clock = self.turned_clock(knobs).map(|clock| format!("core_clock_mhz = {}", clock.get()));
        let units = self.turned_units(knobs).map(|units| format!("compute_units = {units}"));
        let knobs = clock.into_iter().chain(units).collect::<Vec<_>>().join(" and ");
        Err(UnplayableProfile::Hole { model: self.model.clone(), knobs })
    }

    /// How a batch of `rows` rows plays on `curve`, as one of `running` batches of this model.
    ///
    /// # Errors
    /// The smallest and largest batch that are profiled there, where `rows` is not within.
    pub(super) fn play(&self, rows: u32, running: u32, curve: CurveIndex) -> Result<Played, (u32, u32)> {
        let curve = &self.curves[curve.0];
        curve.play(rows, running).ok_or((curve.smallest_batch, curve.largest_batch))
    }

    /// As [`play`](Self::play), with a batch size outside the curve taken for the nearest on it.
    pub(super) fn play_nearest(&self, rows: u32, running: u32, curve: CurveIndex) -> Played {
        let curve = &self.curves[curve.0];
        let rows = rows.clamp(curve.smallest_batch, curve.largest_batch);
        curve.play(rows, running).expect("a batch between two rows of a curve can be drawn")
    }

    /// The smallest and the largest batch size on `curve`.
    pub(super) fn batch_sizes(&self, curve: CurveIndex) -> (u32, u32) {
        let curve = &self.curves[curve.0];
        (curve.smallest_batch, curve.largest_batch)
    }

    /// The least power above `idle` that this model draws, at any point of its profile.
    pub(super) fn least_above(&self, idle: Watts) -> Option<Watts> {
        let rows = self.curves.iter().flat_map(|curve| &curve.rows.rows);
        let least = rows.filter_map(|row| row.power_watts_mean).reduce(Watts::min);
        least.map(|least| (least - idle).max(Watts::ZERO))
    }

    /// The most power above `idle` that this model draws, at any point of its profile.
    pub(super) fn most_above(&self, idle: Watts) -> Watts {
        let rows = self.curves.iter().flat_map(|curve| &curve.rows.rows);
        let most = rows.filter_map(|row| row.power_watts_mean).fold(Watts::ZERO, Watts::max);
        (most - idle).max(Watts::ZERO)
    }

    /// The curve to play. Threads: the most profiled that are not more than `cores`. Instances: the
    /// fewest profiled that are not fewer than `running`. Where there are none, the nearest.
    pub(super) fn curve(&self, cores: u32, running: u32, knobs: Knobs) -> CurveIndex {
        let distance = |(_, curve): &(usize, &Curve)| {
            let profiled = curve.point.cores_per_instance.unwrap_or(cores);
            let instances = curve.point.instances;
            (profiled > cores, profiled.abs_diff(cores), instances < running, instances.abs_diff(running))
        };
        self.curves_at(knobs)
            .min_by_key(distance)
            .map(|(index, _)| CurveIndex(index))
            .expect("the device checked that its knobs stand on a curve")
    }

    fn curves_at(&self, knobs: Knobs) -> impl Iterator<Item = (usize, &Curve)> {
        let (clock, units) = (self.turned_clock(knobs), self.turned_units(knobs));
        self.curves.iter().enumerate().filter(move |(_, curve)| {
            clock.is_none_or(|clock| curve.point.core_clock_mhz == Some(clock))
                && units.is_none_or(|units| curve.point.compute_units == Some(units))
        })
    }

    /// The clock that matters to this model: `None` where its rows don't differ in it.
    fn turned_clock(&self, knobs: Knobs) -> Option<Megahertz> {
        knobs.clock.filter(|_| !self.clocks.is_empty())
    }

    fn turned_units(&self, knobs: Knobs) -> Option<u32> {
        knobs.units.filter(|_| !self.units.is_empty())
    }
}

impl Curve {
    fn new(row: ProfileRow, profile: &Profile) -> Self {
        let point = row.point.clone();
        let (smallest_batch, largest_batch) = (point.batch_size, point.batch_size);
        let rows = Profile { head: profile.head.clone(), rows: vec![row] };
        Self { point, rows, smallest_batch, largest_batch, figures: Vec::new() }
    }

    fn push(&mut self, row: ProfileRow) {
        self.smallest_batch = self.smallest_batch.min(row.point.batch_size);
        self.largest_batch = self.largest_batch.max(row.point.batch_size);
        self.rows.rows.push(row);
    }

    fn work_out(&mut self) {
        let last = self.largest_batch.min(self.smallest_batch.saturating_add(MOST_SIZES - 1));
        self.figures = (self.smallest_batch..=last).map_while(|size| self.drawn(size)).collect();
    }

    /// Latency in milliseconds and power at `batch_size`; `None` outside the hull.
    fn drawn(&self, batch_size: u32) -> Option<(f64, Watts)> {
        let row = self.rows.predict(&self.at(batch_size))?.row;
        Some((row.latency_ms_mean?, row.power_watts_mean?))
    }

    fn at(&self, batch_size: u32) -> OperatingPoint {
        OperatingPoint { batch_size, ..self.point.clone() }
    }

    /// `None` outside the hull.
    ///
    /// Beside fewer batches than the curve has instances, a batch draws one instance's share. Beside
    /// more, the device is full: together they draw no more, and each takes longer in proportion.
    fn play(&self, batch_size: u32, running: u32) -> Option<Played> {
        let index = batch_size.checked_sub(self.smallest_batch)? as usize;
        let (latency_ms, power) = self.figures.get(index).copied().or_else(|| self.drawn(batch_size))?;
        let crowding = (f64::from(running) / f64::from(self.point.instances)).max(1.0);
        Some(Played { latency_ms: latency_ms * crowding, power, sharers: running.max(self.point.instances) })
    }
}

/// `row` with mean latency and mean power filled in from what else it tells, and no duty cycle.
fn complete(row: &ProfileRow, model: &ModelName) -> Result<ProfileRow, UnplayableProfile> {
    let mut row = row.clone();
    row.point.duty_cycle = None;
    let rows_in_flight = f64::from(row.point.instances) * f64::from(row.point.batch_size);
    let by_throughput = row.throughput_rps.map(|rps| rows_in_flight / rps * 1e3);
    row.latency_ms_mean = row.latency_ms_mean.or(by_throughput);
    row.power_watts_mean = PowerFigure::Mean.of(&row);
    let point = || format!("batch_size = {}, instances = {}", row.point.batch_size, row.point.instances);
    let time = row.latency_ms_mean.and_then(milliseconds).filter(|time| !time.is_zero());
    if rows_in_flight == 0.0 || time.is_none() {
        return Err(UnplayableProfile::NoTime { model: model.clone(), point: point() });
    }
    if !row.power_watts_mean.is_some_and(|power| power.get().is_finite()) {
        return Err(UnplayableProfile::NoPower { model: model.clone(), point: point() });
    }
    Ok(row)
}

fn milliseconds(milliseconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(milliseconds / 1e3).ok()
}

/// The values that rows differ in, ascending; empty where there is one value or none. `None` where
/// some rows tell a value and others don't.
fn turned<T: Copy>(
    values: impl Iterator<Item = Option<T>>,
    order: fn(&T, &T) -> std::cmp::Ordering,
) -> Option<Vec<T>> {
    let values: Vec<_> = values.collect();
    let mut told: Vec<_> = values.iter().copied().flatten().collect();
    if !told.is_empty() && told.len() < values.len() {
        return None;
    }
    told.sort_by(order);
    told.dedup_by(|a, b| order(a, b).is_eq());
    Some(if told.len() > 1 { told } else { Vec::new() })
}
