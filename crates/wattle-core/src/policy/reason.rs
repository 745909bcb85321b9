//! Why decisions are made: each reason with its name, its figures and its text.

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

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => write!(f, "fixed by configuration"),
            Self::NoCap => write!(f, "no power cap in force"),
            Self::NoPowerReading => write!(f, "no fresh power reading"),
            Self::Gathering { batches_seen, batches_needed } => {
                write!(f, "gathering: {batches_seen} of {batches_needed} batches since the last change")
            }
            Self::WithinBand { power_watts_max, band_watts_low, cap_watts } => {
                write!(f, "{power_watts_max} within {band_watts_low} to {cap_watts}: hold")
            }
            Self::BelowBand { power_watts_max, band_watts_low, cap_watts, level_from, level_to } => write!(
                f,
                "{power_watts_max} under {band_watts_low} (cap {cap_watts}): {level_from} -> {level_to:#}"
            ),
            Self::OverCap { power_watts_max, cap_watts, level_from, level_to } => {
                write!(f, "{power_watts_max} over the cap of {cap_watts}: {level_from} -> {level_to:#}")
            }
            Self::CapUnreachable { power_watts_max, cap_watts } => write!(
                f,
                "{power_watts_max} over the cap of {cap_watts}: this knob can't go lower, the cap can't be met by it"
            ),
            Self::NothingToGain { power_watts_max, cap_watts } => {
                write!(f, "{power_watts_max} under the cap of {cap_watts}: this knob can't go higher")
            }
            Self::Converged { power_watts_max, cap_watts, level, level_over, power_watts_over } => write!(
                f,
                "{power_watts_max} under the cap of {cap_watts}: {level} is the best, {level_over:#} drew \
                 {power_watts_over}"
            ),
            Self::ProbingLower { level, level_held, throughput_rps_held } => write!(
                f,
                "tries {level}: is it slower than {level_held:#}, which answered {throughput_rps_held:.0} rows/s?"
            ),
            Self::LowerIsSlower {
                level_from,
                level_to,
                throughput_rps_from: Some(from),
                throughput_rps_to,
            } => write!(
                f,
                "{level_from} is slower ({from:.0} rows/s, {throughput_rps_to:.0} before): back to {level_to:#}"
            ),
            Self::LowerIsSlower { level_from, level_to, throughput_rps_from: None, .. } => {
                write!(f, "too little work to tell whether {level_from} is slower: back to {level_to:#}")
            }
            Self::Saturated { level, level_higher, throughput_rps, throughput_rps_higher } => write!(
                f,
                "{level} answers {throughput_rps:.0} rows/s, {level_higher:#} is no faster \
                 ({throughput_rps_higher:.0}): the lower is kept"
            ),
            Self::NoKnob { knob } => {
                let knob = match knob {
                    DeviceKnob::ComputeUnits => "compute units",
                    DeviceKnob::CoreClock => "core clock",
                    DeviceKnob::PowerLimit => "power limit",
                };
                write!(f, "no device lets its {knob} be turned: left alone")
            }
            Self::BetweenSlices { next_slice_seconds } => {
                write!(f, "between time slices: the next begins at {next_slice_seconds:.1} s")
            }
            Self::CapAhead { cap_watts_now, cap_watts_shown, at_seconds, margin_watts } => {
                match cap_watts_now {
                    Some(now) => write!(f, "cap of {now} taken as {cap_watts_shown}")?,
                    None => write!(f, "no cap, taken as {cap_watts_shown}")?,
                }
                if let Some(at) = at_seconds {
                    write!(f, ": a lower one is expected at {at:.1} s")?;
                }
                if *margin_watts > Watts::ZERO {
                    write!(f, "; {margin_watts} are kept clear of the cap")?;
                }
                Ok(())
            }
            Self::BestUnderCap {
                cap_watts,
                bound_watts,
                predicted_watts,
                predicted_rps,
                batch_size,
                instances,
                duty_cycle,
                core_clock_mhz,
                compute_units,
            } => {
                write!(f, "b={batch_size} m={instances} duty={duty_cycle:.2}")?;
                if let Some(clock) = core_clock_mhz {
                    write!(f, " f={clock:.0}")?;
                }
                if let Some(units) = compute_units {
                    write!(f, " u={units}")?;
                }
                write!(
                    f,
                    ": most throughput ({predicted_rps:.0} rows/s) whose power ({predicted_watts}) fits {bound_watts} of the cap of {cap_watts}"
                )
            }
            Self::Parked { cap_watts, bound_watts, least_watts } => write!(
                f,
                "parked: even its least hungry point draws {least_watts}, and the cap of {cap_watts} leaves it {bound_watts}, what is drawn anyway included"
            ),
            Self::NoTraffic => write!(f, "no requests of late: left alone"),
            Self::NoProfile => write!(f, "no profiled point of this model that can be set"),
            Self::LeastPower {
                offered_rps,
                planned_rps,
                core_clock_mhz,
                compute_units,
                batch_size,
                predicted_watts,
                predicted_tail_ms,
                slo_ms,
            } => {
                let clock = core_clock_mhz.map_or("clock left alone".into(), |clock| format!("{clock:.0}"));
                let units = compute_units.map_or("units left alone".into(), |units| format!("{units} units"));
                let tail = predicted_tail_ms.map_or("unknown".into(), |tail| format!("{tail:.1} ms"));
                write!(
                    f,
                    "{clock}, {units}, b={batch_size}: least power ({predicted_watts}) for {planned_rps:.0} rows/s \
                     ({offered_rps:.0} offered), tail {tail} within {slo_ms:.1} ms"
                )
            }
            Self::SloAtRisk { queued_rows, wait_ms, slo_ms } => write!(
                f,
                "{queued_rows} rows wait, {wait_ms:.1} ms to serve all, objective {slo_ms:.1} ms: full clock and \
                 all units"
            ),
            Self::LoadNotSustained { offered_rps, max_rps, slo_ms } => write!(
                f,
                "no point sustains {offered_rps:.0} rows/s (full device {max_rps:.0}) within {slo_ms:.1} ms: full \
                 clock and all units"
            ),
            Self::LoadUnknown => write!(f, "load unknown: full clock and all units"),
            Self::KnobMissing { knob } => write!(f, "no device has the knob {}: left alone", knob.name()),
            Self::VariantForCarbon {
                family,
                carbon_intensity,
                carbon_intensity_low,
                carbon_intensity_high,
                wanted_joules,
                joules,
            } => write!(
                f,
                "{family}: {joules:.3} per answer is nearest to {wanted_joules:.3}, for {carbon_intensity} within \
                 {carbon_intensity_low} to {carbon_intensity_high}"
            ),
            Self::VariantByPlan { family, plan_grams, plan_quality } => {
                let quality = plan_quality.map_or("unknown".into(), |quality| format!("{quality:.4}"));
                write!(
                    f,
                    "{family}: as planned for the whole trace, {plan_grams:.1} gCO2e, mean quality {quality}"
                )
            }
            Self::VariantByPrice {
                family,
                carbon_intensity,
                price_grams,
                quality_mean,
                limit,
                period_ends_seconds,
            } => {
                let price = price_grams.map_or("any price".into(), |price| format!("{price:.4} gCO2e"));
                let quality = quality_mean.map_or("unknown yet".into(), |quality| format!("{quality:.4}"));
                write!(
                    f,
                    "{family}: {price} for a unit of quality at {carbon_intensity}; {limit}, mean quality \
                     {quality}, period ends at {period_ends_seconds:.0} s"
                )
            }
            Self::CarbonBudgetSpent { family, limit, period_ends_seconds } => {
                write!(
                    f,
                    "{family}: least energy until {period_ends_seconds:.0} s, the budget is spent: {limit}"
                )
            }
            Self::VariantWithoutIntensity { family, carbon_intensity_age_seconds: Some(age), limit } => {
                write!(f, "{family}: carbon intensity is {age:.0} s old: least energy that keeps the {limit}")
            }
            Self::VariantWithoutIntensity { family, limit, .. } => {
                write!(f, "{family}: carbon intensity unknown: least energy that keeps the {limit}")
            }
            Self::SwitchNotWorth { family, better, gain_grams, switch_cost_grams, dwell_seconds_left } => {
                write!(
                    f,
                    "{family}: hold, {better} would gain {gain_grams:.3} gCO2e, a switch costs \
                     {switch_cost_grams:.3}, dwell {dwell_seconds_left:.0} s"
                )
            }
            Self::CarbonIntensityFlat { carbon_intensity } => {
                write!(f, "carbon intensity has been {carbon_intensity} throughout the window: hold")
            }
            Self::NoCarbonIntensity => write!(f, "carbon intensity unknown: hold"),
            Self::NoFamily => write!(f, "no family to choose a variant of"),
            Self::NoVariant { family } => write!(f, "{family}: no known variant serves: hold"),
            Self::ProfileDrift { figure, ratio, threshold } => write!(
                f,
                "{} is {ratio:.2} times what the profile says, more than {:.0} % off: its refined profiles say what is seen",
                figure.in_words(),
                threshold * 100.0
            ),
            Self::ProfileDriftOver { figure, ratio, .. } => {
                write!(f, "{} is as the profile says again (x{ratio:.2})", figure.in_words())
            }
        }
    }
}
