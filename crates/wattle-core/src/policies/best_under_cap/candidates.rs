//! The rows of one profile that may be chosen, best first, with all that a decision needs of them.

use crate::knob::{ServingChange, ServingLimits};
use crate::operating_point::OperatingPoint;
use crate::profile::{PowerFigure, Profile};
use crate::units::Watts;

/// One row that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// The knobs of its point.
    pub(super) change: ServingChange,
    pub(super) batch_size: u32,
    pub(super) instances: u32,
    pub(super) duty_cycle: f64,
    pub(super) throughput_rps: f64,
    /// Power of the device by the profile.
    pub(super) power: Watts,
    /// The part of it above idle.
    pub(super) dynamic: Watts,
}

impl Candidate {
    /// Whether this server can set the point.
    pub(super) fn is_within(&self, limits: &ServingLimits) -> bool {
        self.batch_size <= limits.max_batch_size
            && self.instances <= limits.max_instances
            && self.change.cores_per_instance.is_none_or(|cores| cores <= limits.max_cores_per_instance)
    }
}

/// Rows in the order of preference: most throughput first, of equals least power.
#[derive(Debug, Clone)]
pub(super) struct Candidates(Vec<Candidate>);

impl Candidates {
    /// The rows of `profile` that are `allowed`, have throughput and power, and were taken with no
    /// knob of the device turned, since only serving knobs are turned here.
    pub(super) fn of(
        profile: &Profile,
        figure: PowerFigure,
        allowed: impl Fn(&OperatingPoint) -> bool,
    ) -> Self {
        let idle = profile.head.idle_power_watts.unwrap_or(Watts::ZERO);
        let only_serving_knobs = |point: &OperatingPoint| {
            point.core_clock_mhz.is_none()
                && point.compute_units.is_none()
                && point.partition.is_none()
                && point.variant.is_none()
        };
        let wanted = |point: &OperatingPoint| allowed(point) && only_serving_knobs(point);
        let candidate = |row: &crate::operating_point::ProfileRow| {
            let power = figure.of(row).filter(|power| power.get().is_finite())?;
            Some(Candidate {
                change: row.point.serving_change(),
                batch_size: row.point.batch_size,
                instances: row.point.instances,
                duty_cycle: row.point.duty_cycle.unwrap_or(1.0),
                throughput_rps: row.throughput_rps.filter(|rps| rps.is_finite())?,
                power,
                // Noise can put a row under idle power; it frees nothing for others.
                dynamic: (power - idle).max(Watts::ZERO),
            })
        };
        let mut candidates: Vec<Candidate> = profile.rows_where(wanted).filter_map(candidate).collect();
        candidates.sort_by(|a, b| {
            let more_throughput = b.throughput_rps.total_cmp(&a.throughput_rps);
            more_throughput.then(a.power.get().total_cmp(&b.power.get()))
        });
        Self(candidates)
    }

    /// The rows that this server can set, best first.
    pub(super) fn within(&self, limits: &ServingLimits) -> impl Iterator<Item = &Candidate> {
        self.0.iter().filter(|candidate| candidate.is_within(limits))
    }

    /// Whether there is any.
    pub(super) fn any_within(&self, limits: &ServingLimits) -> bool {
        self.within(limits).next().is_some()
    }
}
