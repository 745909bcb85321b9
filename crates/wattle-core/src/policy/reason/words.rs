//! Reasons in words, as logs and people read them.

use std::fmt;

use super::Reason;
use crate::knob::DeviceKnob;
use crate::units::Watts;

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
                let price = price_grams.map_or("any price".into(), |price| format!("{price:.3e} gCO2e"));
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
