//! Why decisions are made: each reason with its name, its figures and its text.

mod words;

use std::fmt;

use serde::Serialize;

use super::Level;
use crate::id::{FamilyName, ModelName};
use crate::knob::DeviceKnob;
use crate::refinement::RefinedFigure;
use crate::units::{CarbonIntensity, Joules, Megahertz, Watts};

/// Why a decision was made, with its figures. Logged, counted and shown from this one place.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// The policy turns nothing by design.
    Fixed,
    /// No power cap is in force.
    NoCap,
    /// No device gave a power sample since the last change: acting on old data is worse than waiting.
    NoPowerReading,
    /// Too few batches ran since the last change to judge it by.
    Gathering {
        /// Batches seen since the last change.
        batches_seen: u64,
        /// Batches the policy waits for.
        batches_needed: u64,
    },
    /// Power is in the wanted band: hold.
    WithinBand {
        /// Highest power in the window.
        power_watts_max: Watts,
        /// Lower edge of the band.
        band_watts_low: Watts,
        /// The cap, upper edge of the band.
        cap_watts: Watts,
    },
    /// Power is under the band: there is room to go up.
    BelowBand {
        /// Highest power in the window.
        power_watts_max: Watts,
        /// Lower edge of the band.
        band_watts_low: Watts,
        /// The cap.
        cap_watts: Watts,
        /// Level of the searched knob before.
        level_from: Level,
        /// Level asked for.
        level_to: Level,
    },
    /// Power is over the cap: go down.
    OverCap {
        /// Highest power in the window.
        power_watts_max: Watts,
        /// The cap.
        cap_watts: Watts,
        /// Level of the searched knob before.
        level_from: Level,
        /// Level asked for.
        level_to: Level,
    },
    /// Power is over the cap and the policy's knob is at its end.
    CapUnreachable {
        /// Highest power in the window.
        power_watts_max: Watts,
        /// The cap.
        cap_watts: Watts,
    },
    /// Power is under the band and the policy's knob is at its end.
    NothingToGain {
        /// Highest power in the window.
        power_watts_max: Watts,
        /// The cap.
        cap_watts: Watts,
    },
    /// Power is under the band, but the next higher level is known to be over the cap: hold.
    Converged {
        /// Highest power in the window.
        power_watts_max: Watts,
        /// The cap.
        cap_watts: Watts,
        /// Level held.
        level: Level,
        /// The next higher level.
        level_over: Level,
        /// Power that was seen there.
        power_watts_over: Watts,
    },
    /// The next lower level is tried, to see whether it is any slower.
    ProbingLower {
        /// Level tried.
        level: Level,
        /// Level held before, to which it goes back if that is faster.
        level_held: Level,
        /// Rows answered per second there, with the queue never empty.
        throughput_rps_held: f64,
    },
    /// The level tried is slower: back to the one held before.
    LowerIsSlower {
        /// Level tried.
        level_from: Level,
        /// Level held before.
        level_to: Level,
        /// Rows answered per second at the level tried; `None`: the queue ran empty, nothing to judge by.
        throughput_rps_from: Option<f64>,
        /// Rows answered per second at the level held before.
        throughput_rps_to: f64,
    },
    /// The next higher level is no faster: this one is kept.
    Saturated {
        /// Level kept.
        level: Level,
        /// The next higher level.
        level_higher: Level,
        /// Rows answered per second at the level kept, with the queue never empty.
        throughput_rps: f64,
        /// Most rows answered per second at a higher level, likewise.
        throughput_rps_higher: f64,
    },
    /// No device has the knob that the policy turns.
    NoKnob {
        /// The knob.
        knob: DeviceKnob,
    },
    /// The policy is asked at the start of each time slice only.
    BetweenSlices {
        /// When the next slice begins, in seconds since the start of the run.
        next_slice_seconds: f64,
    },
    /// The policy was shown another cap than the one in force, so that it acts before it has to.
    CapAhead {
        /// The cap in force; `None` when there is none yet.
        cap_watts_now: Option<Watts>,
        /// The cap that the policy was shown.
        cap_watts_shown: Watts,
        /// When the lower cap is expected, in seconds since the start of the run; `None`: only the
        /// margin differs.
        #[serde(skip_serializing_if = "Option::is_none")]
        at_seconds: Option<f64>,
        /// What is kept clear below the cap, for the noise and drift of power.
        margin_watts: Watts,
    },
    /// The profiled point of most throughput whose power fits the cap.
    BestUnderCap {
        /// The cap.
        cap_watts: Watts,
        /// The model's bound: idle power plus its share of what the cap leaves. The cap itself when
        /// the model is alone.
        bound_watts: Watts,
        /// Power the profile gives for the chosen point.
        predicted_watts: Watts,
        /// Throughput the profile gives for the chosen point.
        predicted_rps: f64,
        /// Batch size of the chosen point.
        batch_size: u32,
        /// Instances of the chosen point.
        instances: u32,
        /// Duty cycle of the chosen point.
        duty_cycle: f64,
        /// Core clock of the chosen point, where it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        core_clock_mhz: Option<Megahertz>,
        /// Compute units of the chosen point, where it has them.
        #[serde(skip_serializing_if = "Option::is_none")]
        compute_units: Option<u32>,
    },
    /// No profiled point fits the cap: the model is parked.
    Parked {
        /// The cap.
        cap_watts: Watts,
        /// The model's bound: idle power plus its share of what the cap leaves.
        bound_watts: Watts,
        /// Power of the least hungry point, or what was seen there if that was more.
        least_watts: Watts,
    },
    /// The model had no request of late: it is left alone and has no share of the cap.
    NoTraffic,
    /// The policy has no profiled point of this model that it could set, and leaves it alone.
    NoProfile,
    /// The point of least power that serves the load within the objective on the tail latency.
    LeastPower {
        /// Rows per second that are asked of the model.
        offered_rps: f64,
        /// Rows per second that the point is chosen for.
        planned_rps: f64,
        /// Core clock of the chosen point; `None`: left alone.
        core_clock_mhz: Option<Megahertz>,
        /// Compute units of the chosen point; `None`: left alone.
        compute_units: Option<u32>,
        /// Batch size of the chosen point.
        batch_size: u32,
        /// Power of the device that is expected with this model alone (modelled).
        predicted_watts: Watts,
        /// Tail latency that is expected with this model alone (modelled).
        predicted_tail_ms: Option<f64>,
        /// The bound on the tail latency.
        slo_ms: f64,
    },
    /// Rows that wait make new requests late: full clock and all units.
    SloAtRisk {
        /// Rows of the model that wait.
        queued_rows: u64,
        /// Time in which all that waits is served.
        wait_ms: f64,
        /// The bound on the tail latency.
        slo_ms: f64,
    },
    /// No point sustains the load within the objective: full clock and all units.
    LoadNotSustained {
        /// Rows per second that are asked of the model.
        offered_rps: f64,
        /// Rows per second of the full device, saturated.
        max_rps: f64,
        /// The bound on the tail latency.
        slo_ms: f64,
    },
    /// The load is not known yet, or that of a model without a profile: full clock and all units.
    LoadUnknown,
    /// No device has a knob that the policy turns: everything is left alone.
    KnobMissing {
        /// Which knob.
        knob: DeviceKnob,
    },
    /// The variant whose energy is nearest to what the carbon intensity allows.
    VariantForCarbon {
        /// The family.
        family: FamilyName,
        /// Carbon intensity now.
        carbon_intensity: CarbonIntensity,
        /// The lowest in the window.
        carbon_intensity_low: CarbonIntensity,
        /// The highest in the window.
        carbon_intensity_high: CarbonIntensity,
        /// Energy of one answer that the rule selects.
        wanted_joules: Joules,
        /// Energy of one answer of the chosen variant.
        joules: Joules,
    },
    /// The variant that the plan over the whole trace has for this time.
    VariantByPlan {
        /// The family.
        family: FamilyName,
        /// Emissions of the whole plan.
        plan_grams: f64,
        /// Mean quality of the whole plan; `None`: it foresees no rows.
        plan_quality: Option<f64>,
    },
    /// The variant that a price of quality in grams selects, so that a floor or a budget is kept.
    VariantByPrice {
        /// The family.
        family: FamilyName,
        /// Carbon intensity now.
        carbon_intensity: CarbonIntensity,
        /// Grams that a unit of quality of one row is worth; `None`: any, as all of the best is needed.
        price_grams: Option<f64>,
        /// Mean quality since the accounting period began; `None`: no rows yet.
        quality_mean: Option<f64>,
        /// What is to be kept.
        limit: CarbonLimit,
        /// When the accounting period ends.
        period_ends_seconds: f64,
    },
    /// The carbon budget of the accounting period is spent: the variant of least energy.
    CarbonBudgetSpent {
        /// The family.
        family: FamilyName,
        /// What is to be kept, with what is spent.
        limit: CarbonLimit,
        /// When the accounting period ends.
        period_ends_seconds: f64,
    },
    /// Carbon intensity is unknown or too old: the variant of least energy that keeps the floor on its own.
    VariantWithoutIntensity {
        /// The family.
        family: FamilyName,
        /// How old the last carbon intensity is; `None`: there is none, or its age is not told.
        carbon_intensity_age_seconds: Option<f64>,
        /// What is to be kept.
        limit: CarbonLimit,
    },
    /// Another variant would be better, but not by enough or not yet: hold.
    SwitchNotWorth {
        /// The family.
        family: FamilyName,
        /// The variant that would be better.
        better: ModelName,
        /// What switching would gain until it is looked at again, quality at its price.
        gain_grams: f64,
        /// What a switch is taken to cost.
        switch_cost_grams: f64,
        /// For so long yet no switch is allowed.
        dwell_seconds_left: f64,
    },
    /// Carbon intensity has been the same throughout the window: the rule gives no answer, hold.
    CarbonIntensityFlat {
        /// Carbon intensity now.
        carbon_intensity: CarbonIntensity,
    },
    /// Carbon intensity is unknown: hold.
    NoCarbonIntensity,
    /// No family serves whose variant could be chosen.
    NoFamily,
    /// No known variant of the family serves that could be chosen: hold.
    NoVariant {
        /// The family.
        family: FamilyName,
    },
    /// A figure of the profile is off by more than the threshold, and has been for a while.
    ProfileDrift {
        /// Which figure: the batch time of the model, or the power of the device.
        figure: RefinedFigure,
        /// What is seen over what the profile says (modelled).
        ratio: f64,
        /// The threshold, as a share.
        threshold: f64,
    },
    /// A figure of the profile that was off is as the profile says again.
    ProfileDriftOver {
        /// Which figure.
        figure: RefinedFigure,
        /// What is seen over what the profile says (modelled).
        ratio: f64,
        /// The threshold, as a share.
        threshold: f64,
    },
}

/// What a choice of variants has to keep, and what it came to so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "limit", rename_all = "snake_case")]
pub enum CarbonLimit {
    /// A floor on the mean quality over the accounting period.
    QualityFloor {
        /// Least mean quality.
        quality_floor: f64,
    },
    /// A budget of carbon for the accounting period, over all families.
    CarbonBudget {
        /// Grams in all.
        budget_grams: f64,
        /// Grams spent (modelled).
        spent_grams: f64,
    },
}

impl fmt::Display for CarbonLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QualityFloor { quality_floor } => write!(f, "floor {quality_floor:.4}"),
            Self::CarbonBudget { budget_grams, spent_grams } => {
                write!(f, "budget {budget_grams:.1} gCO2e, spent {spent_grams:.1}")
            }
        }
    }
}

impl Reason {
    /// The reason's name, as in logs, JSON and the label of the decision counter.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::NoCap => "no_cap",
            Self::NoPowerReading => "no_power_reading",
            Self::Gathering { .. } => "gathering",
            Self::WithinBand { .. } => "within_band",
            Self::BelowBand { .. } => "below_band",
            Self::OverCap { .. } => "over_cap",
            Self::CapUnreachable { .. } => "cap_unreachable",
            Self::NothingToGain { .. } => "nothing_to_gain",
            Self::Converged { .. } => "converged",
            Self::ProbingLower { .. } => "probing_lower",
            Self::LowerIsSlower { .. } => "lower_is_slower",
            Self::Saturated { .. } => "saturated",
            Self::NoKnob { .. } => "no_knob",
            Self::BetweenSlices { .. } => "between_slices",
            Self::CapAhead { .. } => "cap_ahead",
            Self::BestUnderCap { .. } => "best_under_cap",
            Self::Parked { .. } => "parked",
            Self::NoTraffic => "no_traffic",
            Self::NoProfile => "no_profile",
            Self::LeastPower { .. } => "least_power",
            Self::SloAtRisk { .. } => "slo_at_risk",
            Self::LoadNotSustained { .. } => "load_not_sustained",
            Self::LoadUnknown => "load_unknown",
            Self::KnobMissing { .. } => "knob_missing",
            Self::VariantForCarbon { .. } => "variant_for_carbon",
            Self::VariantByPlan { .. } => "variant_by_plan",
            Self::VariantByPrice { .. } => "variant_by_price",
            Self::CarbonBudgetSpent { .. } => "carbon_budget_spent",
            Self::VariantWithoutIntensity { .. } => "variant_without_intensity",
            Self::SwitchNotWorth { .. } => "switch_not_worth",
            Self::CarbonIntensityFlat { .. } => "carbon_intensity_flat",
            Self::NoCarbonIntensity => "no_carbon_intensity",
            Self::NoFamily => "no_family",
            Self::NoVariant { .. } => "no_variant",
            Self::ProfileDrift { .. } => "profile_drift",
            Self::ProfileDriftOver { .. } => "profile_drift_over",
        }
    }
}
