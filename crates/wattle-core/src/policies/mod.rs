//! The policies, one idea to a file, and how they are asked for by name.
//!
//! A policy knows the observation, the profile and the units, and never another policy.

pub mod batch_sizer;
pub mod best_under_cap;
mod candidates;
pub mod cap_handling;
pub mod carbon_adaptive;
mod cofris;
mod device_knobs;
pub mod dvfs;
pub mod fixed;
mod frequency_scaling;
pub mod least_power_table;
mod level_search;
pub mod oracle_carbon;
pub mod oracle_least_power;
#[cfg(test)]
mod plant;
mod power_window;
mod resource_scaling;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::family::Variant;
use crate::foresight::Foresight;
use crate::gating::Gating;
use crate::id::{FamilyName, ModelName};
use crate::nearest::nearest;
use crate::policy::Policy;
use crate::profile::Profile;
use batch_sizer::printed::PrintedBatchSizer;
use batch_sizer::{BatchSizer, BatchSizerOptions};
use best_under_cap::{Approach, BestUnderCap, BestUnderCapOptions};
use carbon_adaptive::{CarbonAdaptive, CarbonAdaptiveOptions, Direction};
use dvfs::{Dvfs, DvfsOptions};
use fixed::Fixed;
use least_power_table::LeastPowerOptions;
use oracle_carbon::{OracleCarbon, OracleCarbonOptions};
use oracle_least_power::OracleLeastPower;

/// The names by which policies are asked for.
pub const NAMES: [&str; 16] = [
    "fixed",
    "batch-sizer",
    "batch-sizer-printed",
    "dvfs",
    "multi-tenant",
    "batching",
    "combination",
    "frequency-scaling",
    "resource-scaling-cu",
    "resource-scaling-se",
    "cofris-cu",
    "cofris-se",
    "oracle-least-power",
    "carbon-adaptive",
    "carbon-adaptive-printed",
    "oracle-carbon",
];

/// What can be set about policies; each takes what it needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyOptions {
    /// For the policies that search the batch size.
    pub batch_sizer: BatchSizerOptions,
    /// For the policy that searches the core clock.
    pub dvfs: DvfsOptions,
    /// For the policies that choose from profiles.
    pub best_under_cap: BestUnderCapOptions,
    /// The profile of each model that has one.
    pub profiles: BTreeMap<ModelName, Profile>,
    /// The future of a replay, for oracles. `None` where nobody knows it.
    pub foresight: Option<Foresight>,
    /// Bounds on the tail latency, for the models that have one.
    pub latency_objectives: BTreeMap<ModelName, Duration>,
    /// The variants of each family.
    pub families: BTreeMap<FamilyName, Vec<Variant>>,
    /// For the policies of least power under an objective on the tail latency.
    pub least_power: LeastPowerOptions,
    /// For the policies that choose variants by carbon intensity as it comes.
    pub carbon_adaptive: CarbonAdaptiveOptions,
    /// For the best possible choice of variants.
    pub oracle_carbon: OracleCarbonOptions,
}

/// A policy that can't be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// No policy has this name.
    #[error("unknown policy {found:?}, did you mean {nearest:?}? known: {}", NAMES.join(", "))]
    Unknown {
        /// The name asked for.
        found: String,
        /// The known name nearest to it.
        nearest: &'static str,
    },
    /// An option is out of its range.
    #[error("option {option} is {found}, expected {expected}")]
    Option {
        /// Which option, by its name in files.
        option: &'static str,
        /// What was given.
        found: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A policy that has to know the future was asked for where nobody does.
    #[error("policy {policy} needs {what}: it can run in a replay only")]
    NoForesight {
        /// The policy.
        policy: &'static str,
        /// What it would have to know.
        what: &'static str,
    },
}

/// The policy called `name`.
pub fn build(name: &str, options: &PolicyOptions) -> Result<Box<dyn Policy>, PolicyError> {
    check(options)?;
    let best_under_cap = |approach| BestUnderCap::new(approach, &options.best_under_cap, &options.profiles);
    Ok(match name {
        "fixed" => Box::new(Fixed),
        "batch-sizer" => Box::new(BatchSizer::new(options.batch_sizer.clone(), &options.profiles)),
        "batch-sizer-printed" => Box::new(PrintedBatchSizer::new(options.batch_sizer.clone())),
        "dvfs" => Box::new(Dvfs::new(&options.dvfs)),
        "multi-tenant" => Box::new(best_under_cap(Approach::MultiTenant)),
        "batching" => Box::new(best_under_cap(Approach::Batching)),
        "combination" => Box::new(best_under_cap(Approach::Combination)),
        "frequency-scaling" => Box::new(frequency_scaling::build(options)),
        "resource-scaling-cu" => Box::new(resource_scaling::build("resource-scaling-cu", options)),
        "resource-scaling-se" => Box::new(resource_scaling::build("resource-scaling-se", options)),
        "cofris-cu" => Box::new(cofris::build("cofris-cu", options)),
        "cofris-se" => Box::new(cofris::build("cofris-se", options)),
        "oracle-least-power" => {
            let what = "the load of every model";
            let unknown = PolicyError::NoForesight { policy: "oracle-least-power", what };
            Box::new(OracleLeastPower::new(options, options.foresight.clone().ok_or(unknown)?))
        }
        "carbon-adaptive" => Box::new(CarbonAdaptive::new(Direction::LowIsLarge, options)?),
        "carbon-adaptive-printed" => Box::new(CarbonAdaptive::new(Direction::AsPrinted, options)?),
        "oracle-carbon" => Box::new(OracleCarbon::new(options)?),
        _ => {
            let nearest = nearest(name, NAMES).unwrap_or(NAMES[0]);
            return Err(PolicyError::Unknown { found: name.to_owned(), nearest });
        }
    })
}

/// How the profiles of the policy called `name` are to be gated. The driver prepares them with
/// [`gating::apply`](crate::gating::apply); the policy plans with what it is handed.
pub fn gating_of(name: &str) -> Gating {
    match name {
        "resource-scaling-cu" | "cofris-cu" => Gating::ComputeUnit,
        "resource-scaling-se" | "cofris-se" => Gating::ShaderEngine,
        _ => Gating::None,
    }
}

fn check(options: &PolicyOptions) -> Result<(), PolicyError> {
    let number = |option, found: f64, lawful: bool, expected| {
        if lawful { Ok(()) } else { Err(PolicyError::Option { option, found: found.to_string(), expected }) }
    };
    let band_low = options.batch_sizer.band_low;
    number("band_low", band_low, (0.0..=1.0).contains(&band_low), "a number in 0 to 1")?;
    let seconds = [
        ("reprobe_after_seconds", options.batch_sizer.reprobe_after_seconds),
        ("dwell_seconds", options.best_under_cap.dwell_seconds),
        ("forget_half_seconds", options.best_under_cap.forget_half_seconds),
    ];
    for (option, found) in seconds {
        number(option, found, found.is_finite() && found >= 0.0, "seconds as a number of at least 0")?;
    }
    options.least_power.check()?;
    options.carbon_adaptive.check()?;
    options.oracle_carbon.check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::{AfterEnd, Signal, Trace};

    #[test]
    fn every_name_builds_the_policy_of_that_name() {
        let load = Trace::new(vec![(Duration::ZERO, 1.0), (Duration::from_secs(9), 2.0)], AfterEnd::Hold);
        let foresight = Foresight {
            carbon_intensity: Some(Signal::Constant(100.0)),
            offered_family_rps: [("family".into(), Signal::Trace(load.unwrap()))].into(),
            ..Foresight::default()
        };
        let mut options = PolicyOptions { foresight: Some(foresight), ..PolicyOptions::default() };
        options.oracle_carbon.quality_floor = Some(0.0);
        for name in NAMES {
            assert_eq!(build(name, &options).unwrap().name(), name);
        }
    }

    fn error(name: &str, options: &PolicyOptions) -> String {
        build(name, options).err().unwrap().to_string()
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_and_all() {
        assert_eq!(
            error("batchsizer", &PolicyOptions::default()),
            format!(
                "unknown policy \"batchsizer\", did you mean \"batch-sizer\"? known: {}",
                NAMES.join(", ")
            )
        );
    }

    #[test]
    fn an_oracle_without_foresight_says_what_it_would_have_to_know() {
        assert_eq!(
            error("oracle-least-power", &PolicyOptions::default()),
            "policy oracle-least-power needs the load of every model: it can run in a replay only"
        );
    }

    #[test]
    fn gated_profiles_go_to_the_policies_that_plan_with_gating() {
        let gated: Vec<_> = NAMES.iter().filter(|name| gating_of(name) != Gating::None).collect();
        assert_eq!(gated, [&"resource-scaling-cu", &"resource-scaling-se", &"cofris-cu", &"cofris-se"]);
    }

    #[test]
    fn an_option_out_of_range_is_named() {
        let mut options = PolicyOptions::default();
        options.batch_sizer.band_low = 1.5;
        assert_eq!(error("fixed", &options), "option band_low is 1.5, expected a number in 0 to 1");
        options.batch_sizer.band_low = 0.8;
        options.best_under_cap.dwell_seconds = f64::NAN;
        assert_eq!(
            error("fixed", &options),
            "option dwell_seconds is NaN, expected seconds as a number of at least 0"
        );
    }
}
