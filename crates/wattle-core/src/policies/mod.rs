//! The policies, one idea to a file, and how they are asked for by name.
//!
//! A policy knows the observation, the profile and the units, and never another policy.

pub mod batch_sizer;
pub mod best_under_cap;
mod candidates;
pub mod cap_handling;
mod device_knobs;
pub mod dvfs;
pub mod fixed;
mod level_search;
#[cfg(test)]
mod plant;
mod power_window;

use std::collections::BTreeMap;

use crate::id::ModelName;
use crate::nearest::nearest;
use crate::policy::Policy;
use crate::profile::Profile;
use batch_sizer::printed::PrintedBatchSizer;
use batch_sizer::{BatchSizer, BatchSizerOptions};
use best_under_cap::{Approach, BestUnderCap, BestUnderCapOptions};
use dvfs::{Dvfs, DvfsOptions};
use fixed::Fixed;

/// The names by which policies are asked for.
pub const NAMES: [&str; 7] =
    ["fixed", "batch-sizer", "batch-sizer-printed", "dvfs", "multi-tenant", "batching", "combination"];

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
        _ => {
            let nearest = nearest(name, NAMES).unwrap_or(NAMES[0]);
            return Err(PolicyError::Unknown { found: name.to_owned(), nearest });
        }
    })
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_builds_the_policy_of_that_name() {
        for name in NAMES {
            assert_eq!(build(name, &PolicyOptions::default()).unwrap().name(), name);
        }
    }

    fn error(name: &str, options: &PolicyOptions) -> String {
        build(name, options).err().unwrap().to_string()
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_and_all() {
        assert_eq!(
            error("batchsizer", &PolicyOptions::default()),
            "unknown policy \"batchsizer\", did you mean \"batch-sizer\"? known: fixed, batch-sizer, \
             batch-sizer-printed, dvfs, multi-tenant, batching, combination"
        );
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
