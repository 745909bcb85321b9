//! The policies, one idea to a file, and how they are asked for by name.
//!
//! A policy knows the observation, the profile and the units, and never another policy.

#[cfg(test)]
mod any_input;
pub mod batch_sizer;
pub mod best_under_cap;
mod candidates;
pub mod cap_handling;
pub mod carbon_adaptive;
pub mod carbon_budget;
mod cofris;
mod device_knobs;
pub mod dvfs;
pub mod fixed;
mod frequency_scaling;
pub mod least_power_table;
mod level_search;
pub mod oracle_carbon;
pub mod oracle_least_power;
pub mod oracle_under_cap;
#[cfg(test)]
mod plant;
mod power_window;
mod refining;
mod resource_scaling;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::family::Variant;
use crate::foresight::Foresight;
use crate::gating::Gating;
use crate::id::{FamilyName, ModelName};
use crate::nearest::nearest;
use crate::policy::Policy;
use crate::profile::Profile;
use crate::refinement::{MOST_RATIO, RefinementOptions};
use batch_sizer::printed::PrintedBatchSizer;
use batch_sizer::{BatchSizer, BatchSizerOptions};
use best_under_cap::{Approach, BestUnderCap, BestUnderCapOptions};
use cap_handling::CapHandlingOptions;
use carbon_adaptive::{CarbonAdaptive, CarbonAdaptiveOptions, Direction};
use carbon_budget::{CarbonBudget, CarbonBudgetOptions};
use dvfs::{Dvfs, DvfsOptions};
use fixed::Fixed;
use least_power_table::{FreeKnobs, LeastPowerOptions, TableError};
use oracle_carbon::{OracleCarbon, OracleCarbonOptions};
use oracle_least_power::OracleLeastPower;
use oracle_under_cap::OracleUnderCap;

/// The names by which policies are asked for.
pub const NAMES: [&str; 18] = [
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
    "carbon-budget",
    "oracle-carbon",
    "oracle-under-cap",
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
    /// When the policy is asked, and which cap it is shown.
    pub cap_handling: CapHandlingOptions,
    /// How profiles are refined by what is seen. Not for oracles, which take them for the truth.
    pub refinement: RefinementOptions,
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
    /// For the policy that chooses variants within a floor on quality or a budget of carbon.
    pub carbon_budget: CarbonBudgetOptions,
    /// For the best possible choice of variants.
    pub oracle_carbon: OracleCarbonOptions,
}

/// A policy and its options, as they stand in files: one section for the server and for a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// One of [`NAMES`].
    pub name: String,
    /// When the policy is asked, and which cap it is shown.
    pub cap_handling: CapHandlingOptions,
    /// How profiles are refined by what is seen. Not for oracles, which take them for the truth.
    pub refinement: RefinementOptions,
    /// For `batch-sizer` and `batch-sizer-printed`.
    pub batch_sizer: BatchSizerOptions,
    /// For `dvfs`.
    pub dvfs: DvfsOptions,
    /// For `multi-tenant`, `batching` and `combination`; `oracle-under-cap` takes its power figure.
    pub best_under_cap: BestUnderCapOptions,
    /// For `frequency-scaling`, `resource-scaling-…`, `cofris-…` and their oracle.
    pub least_power: LeastPowerOptions,
    /// For `carbon-adaptive` and `carbon-adaptive-printed`.
    pub carbon_adaptive: CarbonAdaptiveOptions,
    /// For `carbon-budget`.
    pub carbon_budget: CarbonBudgetOptions,
    /// For `oracle-carbon`.
    pub oracle_carbon: OracleCarbonOptions,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            name: "fixed".into(),
            cap_handling: CapHandlingOptions::default(),
            refinement: RefinementOptions::default(),
            batch_sizer: BatchSizerOptions::default(),
            dvfs: DvfsOptions::default(),
            best_under_cap: BestUnderCapOptions::default(),
            least_power: LeastPowerOptions::default(),
            carbon_adaptive: CarbonAdaptiveOptions::default(),
            carbon_budget: CarbonBudgetOptions::default(),
            oracle_carbon: OracleCarbonOptions::default(),
        }
    }
}

impl PolicyConfig {
    /// The options of this section, with the profile of each model that has one. What no file says, such
    /// as the future, is left out.
    pub fn options(&self, profiles: BTreeMap<ModelName, Profile>) -> PolicyOptions {
        PolicyOptions {
            cap_handling: self.cap_handling.clone(),
            refinement: self.refinement.clone(),
            batch_sizer: self.batch_sizer.clone(),
            dvfs: self.dvfs.clone(),
            best_under_cap: self.best_under_cap.clone(),
            least_power: self.least_power.clone(),
            carbon_adaptive: self.carbon_adaptive.clone(),
            carbon_budget: self.carbon_budget.clone(),
            oracle_carbon: self.oracle_carbon.clone(),
            profiles,
            ..PolicyOptions::default()
        }
    }

    /// The policy of this section, with the profile of each model that has one.
    pub fn build(&self, profiles: BTreeMap<ModelName, Profile>) -> Result<Box<dyn Policy>, PolicyError> {
        build(&self.name, &self.options(profiles))
    }
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
    /// The profile of a model makes no table of least power.
    #[error("policy {policy}, model {model}: {cause}")]
    NoTable {
        /// The policy.
        policy: &'static str,
        /// The model.
        model: ModelName,
        /// What its profile lacks.
        cause: TableError,
    },
    /// A policy that has to know the future was asked for where nobody does.
    #[error("policy {policy} needs {what}, which only a replay knows; a server can have any of {}", live_names().join(", "))]
    NoForesight {
        /// The policy.
        policy: &'static str,
        /// What it would have to know.
        what: &'static str,
    },
}

/// The names of the policies that need no foresight.
pub fn live_names() -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| !name.starts_with("oracle-")).collect()
}

/// The policy called `name`.
pub fn build(name: &str, options: &PolicyOptions) -> Result<Box<dyn Policy>, PolicyError> {
    check(options)?;
    let policy = cap_handling::around(build_bare(name, options)?, &options.cap_handling);
    let takes_profiles_for_true = name.starts_with("oracle-");
    Ok(if takes_profiles_for_true {
        policy
    } else {
        refining::around(policy, &options.refinement, &options.profiles)
    })
}

fn build_bare(name: &str, options: &PolicyOptions) -> Result<Box<dyn Policy>, PolicyError> {
    let best_under_cap = |approach| BestUnderCap::new(approach, &options.best_under_cap, &options.profiles);
    let foresight =
        |policy, what| options.foresight.as_ref().ok_or(PolicyError::NoForesight { policy, what });
    Ok(match name {
        "fixed" => Box::new(Fixed),
        "batch-sizer" => Box::new(BatchSizer::new(options.batch_sizer.clone(), &options.profiles)),
        "batch-sizer-printed" => Box::new(PrintedBatchSizer::new(options.batch_sizer.clone())),
        "dvfs" => Box::new(Dvfs::new(&options.dvfs)),
        "multi-tenant" => Box::new(best_under_cap(Approach::MultiTenant)),
        "batching" => Box::new(best_under_cap(Approach::Batching)),
        "combination" => Box::new(best_under_cap(Approach::Combination)),
        "frequency-scaling" => Box::new(frequency_scaling::build(options)?),
        "resource-scaling-cu" => Box::new(resource_scaling::build("resource-scaling-cu", options)?),
        "resource-scaling-se" => Box::new(resource_scaling::build("resource-scaling-se", options)?),
        "cofris-cu" => Box::new(cofris::build("cofris-cu", options)?),
        "cofris-se" => Box::new(cofris::build("cofris-se", options)?),
        "oracle-least-power" => {
            let foresight = foresight("oracle-least-power", "the load to come")?;
            Box::new(OracleLeastPower::new(options, foresight.clone())?)
        }
        "carbon-adaptive" => Box::new(CarbonAdaptive::new(Direction::LowIsLarge, options)?),
        "carbon-adaptive-printed" => Box::new(CarbonAdaptive::new(Direction::AsPrinted, options)?),
        "carbon-budget" => Box::new(CarbonBudget::new(options)?),
        "oracle-carbon" => Box::new(OracleCarbon::new(options)?),
        "oracle-under-cap" => Box::new(OracleUnderCap::new(
            options.best_under_cap.power_figure,
            &options.profiles,
            foresight("oracle-under-cap", "the caps to come")?,
        )),
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

/// The knobs that the policy called `name` turns by a table of least power, for reports that show the
/// table ([`LeastPowerTable::build`](least_power_table::LeastPowerTable::build)). `None`: it has none.
pub fn free_knobs(name: &str, options: &LeastPowerOptions) -> Option<FreeKnobs> {
    match name {
        "frequency-scaling" => Some(frequency_scaling::free(options)),
        "resource-scaling-cu" | "resource-scaling-se" => Some(resource_scaling::free(options)),
        "cofris-cu" | "cofris-se" => Some(cofris::free(options)),
        "oracle-least-power" => Some(oracle_least_power::FREE),
        _ => None,
    }
}

fn check(options: &PolicyOptions) -> Result<(), PolicyError> {
    let number = |option, found: f64, lawful: bool, expected| {
        if lawful { Ok(()) } else { Err(PolicyError::Option { option, found: found.to_string(), expected }) }
    };
    let shares = [
        ("batch_sizer.band_low", options.batch_sizer.band_low),
        ("batch_sizer.saturation_tolerance", options.batch_sizer.saturation_tolerance),
        ("dvfs.band_low", options.dvfs.band_low),
        ("cap_handling.margin_max_share", options.cap_handling.margin_max_share),
    ];
    for (option, found) in shares {
        number(option, found, (0.0..=1.0).contains(&found), "a number in 0 to 1")?;
    }
    let seconds = [
        ("batch_sizer.reprobe_after_seconds", options.batch_sizer.reprobe_after_seconds),
        ("dvfs.reprobe_after_seconds", options.dvfs.reprobe_after_seconds),
        ("best_under_cap.dwell_seconds", options.best_under_cap.dwell_seconds),
        ("best_under_cap.bar_seconds", options.best_under_cap.bar_seconds),
        ("cap_handling.lead_seconds", options.cap_handling.lead_seconds),
    ];
    for (option, found) in seconds {
        number(option, found, found.is_finite() && found >= 0.0, "seconds as a number of at least 0")?;
    }
    options.least_power.check()?;
    options.carbon_adaptive.check()?;
    options.carbon_budget.check()?;
    options.oracle_carbon.check()?;
    let lengths = [
        ("cap_handling.time_slice_seconds", options.cap_handling.time_slice_seconds),
        ("cap_handling.period_seconds", options.cap_handling.period_seconds),
        ("refinement.half_life_seconds", options.refinement.half_life_seconds),
    ];
    for (option, found) in lengths {
        number(option, found, found.is_finite() && found > 0.0, "seconds as a number over 0")?;
    }
    let threshold = options.refinement.threshold;
    // A ratio is bounded, so what lies beyond is never told.
    let lawful = threshold > 0.0 && threshold < MOST_RATIO - 1.0;
    number("refinement.threshold", threshold, lawful, "a number over 0 and under 2")?;
    let deviations = options.cap_handling.margin_deviations;
    let lawful = deviations.is_finite() && deviations >= 0.0;
    number("cap_handling.margin_deviations", deviations, lawful, "a number of at least 0")?;
    let batch_size = options.dvfs.batch_size;
    number("dvfs.batch_size", batch_size.into(), batch_size >= 1, "at least 1")
}

#[cfg(test)]
mod tests {
    use super::cap_handling::CapHandlingMode;
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
        options.carbon_budget.quality_floor = Some(0.0);
        for mode in [CapHandlingMode::None, CapHandlingMode::Reactive, CapHandlingMode::Proactive] {
            options.cap_handling = CapHandlingOptions { mode, ..CapHandlingOptions::default() };
            for name in NAMES {
                assert_eq!(build(name, &options).unwrap().name(), name);
            }
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
    fn gated_profiles_go_to_the_policies_that_plan_with_gating() {
        let gated: Vec<_> = NAMES.iter().filter(|name| gating_of(name) != Gating::None).collect();
        assert!(gated.iter().all(|name| free_knobs(name, &LeastPowerOptions::default()).is_some()));
        assert_eq!(gated, [&"resource-scaling-cu", &"resource-scaling-se", &"cofris-cu", &"cofris-se"]);
    }

    #[test]
    fn an_oracle_cannot_be_chosen_where_the_future_is_unknown() {
        let error = error("oracle-under-cap", &PolicyOptions::default());
        assert!(
            error.starts_with("policy oracle-under-cap needs the caps to come, which only a replay knows"),
            "{error}"
        );
        assert!(!live_names().contains(&"oracle-under-cap"));
    }

    #[test]
    fn one_section_of_a_file_names_the_policy_and_its_options() {
        let text = "name = \"dvfs\"\n[dvfs]\nbatch_size = 8\n[cap_handling]\nmode = \"proactive\"\nforecast = \"trend\"";
        let config: PolicyConfig = toml::from_str(text).unwrap();
        assert_eq!(config.build(BTreeMap::new()).unwrap().name(), "dvfs");
        assert_eq!(config.options(BTreeMap::new()).dvfs.batch_size, 8);
        assert_eq!(config.cap_handling.mode, CapHandlingMode::Proactive);
        assert!(toml::from_str::<PolicyConfig>("nmae = \"dvfs\"").is_err());
        assert!(toml::from_str::<PolicyConfig>("[dvfs]\nbatch = 8").is_err());
        assert_eq!(toml::from_str::<PolicyConfig>("").unwrap(), PolicyConfig::default());
    }

    #[test]
    fn an_option_out_of_range_is_named() {
        let mut options = PolicyOptions::default();
        options.batch_sizer.band_low = 1.5;
        assert_eq!(
            error("fixed", &options),
            "option batch_sizer.band_low is 1.5, expected a number in 0 to 1"
        );
        options.batch_sizer.band_low = 0.8;
        options.best_under_cap.dwell_seconds = f64::NAN;
        assert_eq!(
            error("fixed", &options),
            "option best_under_cap.dwell_seconds is NaN, expected seconds as a number of at least 0"
        );
    }
}
