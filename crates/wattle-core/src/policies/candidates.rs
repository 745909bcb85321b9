//! The rows of one profile that may be chosen, and of these the ones worth choosing.
//!
//! Of two points the one of more power is worth it only for more throughput. What is left, the Pareto
//! front by power above idle and throughput, answers each decision by a binary search.

use crate::knob::{DeviceKnob, KnobRange, ServingChange, ServingLimits};
use crate::operating_point::{OperatingPoint, ProfileRow};
use crate::policies::device_knobs;
use crate::policy::Reason;
use crate::profile::{PowerFigure, Profile};
use crate::units::{Megahertz, Watts};

/// One row that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// The serving knobs of its point.
    pub(super) change: ServingChange,
    pub(super) batch_size: u32,
    pub(super) instances: u32,
    pub(super) duty_cycle: f64,
    /// The device's knobs of its point.
    pub(super) device: DevicePoint,
    pub(super) throughput_rps: f64,
    /// Power of the device by the profile.
    pub(super) power: Watts,
    /// The part of it above idle.
    pub(super) dynamic: Watts,
}

/// Where a point has the knobs of the device; `None`: at their default, fully open.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct DevicePoint {
    pub(super) core_clock_mhz: Option<Megahertz>,
    pub(super) compute_units: Option<u32>,
}

impl DevicePoint {
    /// The value of `knob`, in its unit.
    pub(super) fn value(self, knob: DeviceKnob) -> Option<f64> {
        match knob {
            DeviceKnob::CoreClock => self.core_clock_mhz.map(Megahertz::get),
            DeviceKnob::ComputeUnits => self.compute_units.map(f64::from),
            DeviceKnob::PowerLimit => None,
        }
    }

    /// Whether a device with these knobs can set it.
    fn is_taken_by(self, knobs: &[KnobRange]) -> bool {
        [DeviceKnob::CoreClock, DeviceKnob::ComputeUnits].into_iter().all(|knob| {
            self.value(knob).is_none_or(|value| {
                knobs.iter().any(|range| range.knob == knob && device_knobs::takes(range, value))
            })
        })
    }
}

impl Candidate {
    /// The row of `profile` as a candidate; `None` without throughput and power, or when it takes a
    /// partition or another variant.
    fn of(row: &ProfileRow, figure: PowerFigure, idle: Watts) -> Option<Self> {
        let point = &row.point;
        if point.partition.is_some() || point.variant.is_some() {
            return None;
        }
        let power = figure.of(row).filter(|power| power.get().is_finite())?;
        Some(Self {
            change: point.serving_change(),
            batch_size: point.batch_size,
            instances: point.instances,
            duty_cycle: point.duty_cycle.unwrap_or(1.0),
            device: DevicePoint { core_clock_mhz: point.core_clock_mhz, compute_units: point.compute_units },
            throughput_rps: row.throughput_rps.filter(|rps| rps.is_finite())?,
            power,
            // Noise can put a row under idle power; it frees nothing for others.
            dynamic: (power - idle).max(Watts::ZERO),
        })
    }

    /// Whether this server, with a device of `knobs`, can set the point.
    pub(super) fn is_within(&self, limits: &ServingLimits, knobs: &[KnobRange]) -> bool {
        self.batch_size <= limits.max_batch_size
            && self.instances <= limits.max_instances
            && self.change.cores_per_instance.is_none_or(|cores| cores <= limits.max_cores_per_instance)
            && self.device.is_taken_by(knobs)
    }

    /// Why this point was chosen.
    pub(super) fn reason(&self, cap_watts: Watts, bound_watts: Watts) -> Reason {
        Reason::BestUnderCap {
            cap_watts,
            bound_watts,
            predicted_watts: self.power,
            predicted_rps: self.throughput_rps,
            batch_size: self.batch_size,
            instances: self.instances,
            duty_cycle: self.duty_cycle,
            core_clock_mhz: self.device.core_clock_mhz,
            compute_units: self.device.compute_units,
        }
    }
}

/// The rows of one profile, and the front of those that can be set.
#[derive(Debug, Clone)]
pub(super) struct Candidates {
    all: Vec<Candidate>,
    front: Vec<Candidate>,
    /// What the front was made for.
    limits: Option<ServingLimits>,
    knobs: Vec<KnobRange>,
}

impl Candidates {
    /// The rows of `profile` that are `allowed` and have throughput and power, on a device that draws
    /// `idle` with nothing to do.
    pub(super) fn above(
        idle: Watts,
        profile: &Profile,
        figure: PowerFigure,
        allowed: impl Fn(&OperatingPoint) -> bool,
    ) -> Self {
        let mut all: Vec<Candidate> =
            profile.rows_where(allowed).filter_map(|row| Candidate::of(row, figure, idle)).collect();
        // Least power above idle first; of equals most throughput, then least power.
        all.sort_by(|a, b| {
            let less_dynamic = a.dynamic.get().total_cmp(&b.dynamic.get());
            let more_throughput = b.throughput_rps.total_cmp(&a.throughput_rps);
            less_dynamic.then(more_throughput).then(a.power.get().total_cmp(&b.power.get()))
        });
        Self { all, front: Vec::new(), limits: None, knobs: Vec::new() }
    }

    /// The point of most power above idle, whether it can be set or not.
    pub(super) fn most_hungry(&self) -> Option<&Candidate> {
        self.all.last()
    }

    /// The point where `candidate`, of before some figures changed, has all knobs.
    pub(super) fn same_point(&self, candidate: &Candidate) -> Option<Candidate> {
        let same = |other: &&Candidate| other.change == candidate.change && other.device == candidate.device;
        self.all.iter().find(same).copied()
    }

    /// The same points for a model that is asked for `load_rps` rows per second: it answers no more, and
    /// is at each point's power only as long as it takes.
    pub(super) fn at_load(&self, load_rps: f64) -> Self {
        let at_load = |candidate: &Candidate| {
            let share = (load_rps / candidate.throughput_rps).clamp(0.0, 1.0);
            let dynamic = candidate.dynamic * share;
            Candidate { throughput_rps: candidate.throughput_rps * share, dynamic, ..*candidate }
        };
        let mut all: Vec<Candidate> = self.all.iter().map(at_load).collect();
        all.sort_by(|a, b| {
            let less_dynamic = a.dynamic.get().total_cmp(&b.dynamic.get());
            less_dynamic.then(b.throughput_rps.total_cmp(&a.throughput_rps))
        });
        Self { all, front: Vec::new(), limits: None, knobs: Vec::new() }
    }

    /// Makes the front for a server of these `limits` and a device of these `knobs`, unless it is.
    pub(super) fn prepare(&mut self, limits: &ServingLimits, knobs: &[KnobRange]) {
        if self.limits.as_ref() == Some(limits) && self.knobs == knobs {
            return;
        }
        self.limits = Some(*limits);
        self.knobs = knobs.to_vec();
        self.front.clear();
        for candidate in self.all.iter().filter(|candidate| candidate.is_within(limits, knobs)) {
            if self.front.last().is_none_or(|last| candidate.throughput_rps > last.throughput_rps) {
                self.front.push(*candidate);
            }
        }
    }

    /// The points worth choosing at each setting of the device, for a server of these `limits` and a
    /// device of these `knobs`.
    pub(super) fn fronts_by_device(
        &self,
        limits: &ServingLimits,
        knobs: &[KnobRange],
    ) -> Vec<(DevicePoint, Vec<Candidate>)> {
        let mut fronts: Vec<(DevicePoint, Vec<Candidate>)> = Vec::new();
        for candidate in self.all.iter().filter(|candidate| candidate.is_within(limits, knobs)) {
            match fronts.iter_mut().find(|(setting, _)| *setting == candidate.device) {
                None => fronts.push((candidate.device, vec![*candidate])),
                Some((_, front)) => {
                    if front.last().is_none_or(|last| candidate.throughput_rps > last.throughput_rps) {
                        front.push(*candidate);
                    }
                }
            }
        }
        fronts
    }

    /// The points worth choosing, ascending in power above idle and in throughput.
    pub(super) fn front(&self) -> &[Candidate] {
        &self.front
    }

    /// Whether this server and device can set `candidate`, of this profile.
    pub(super) fn can_be_set(&self, candidate: &Candidate) -> bool {
        self.limits.as_ref().is_some_and(|limits| candidate.is_within(limits, &self.knobs))
    }

    /// The point of most throughput that `fits`; what fits at some power must fit at any less.
    pub(super) fn best(&self, fits: impl Fn(&Candidate) -> bool) -> Option<Candidate> {
        self.front[..self.front.partition_point(fits)].last().copied()
    }

    /// The point of least power.
    pub(super) fn least_hungry(&self) -> Option<&Candidate> {
        self.front.first()
    }
}
