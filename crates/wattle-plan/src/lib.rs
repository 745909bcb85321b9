//! Plans a fleet: which models share which device and slice, at which batch size and clock.
//!
//! ```text
//! fleet      FLEET.toml: models with loads and objectives, devices, the grid          (fleet)
//! options    every way to run a share of a model in a slice, that keeps its objective (options, layout)
//! instance   the same as numbers: what a device with given tenants costs              (instance)
//! solve      the cheapest set of devices, and a bound that no set can go below        (solve)
//! plan       the answer in words of the fleet, to be kept as PLAN.json                (plan)
//! explain    what decides, and where the answer flips                                 (explain)
//! replan     whether a better plan pays for the change                                (replan)
//! ```
//!
//! The crate reads no file and no clock: texts and the time that is left are arguments.

pub mod explain;
pub mod fleet;
pub mod instance;
pub mod layout;
pub mod options;
pub mod plan;
pub mod replan;
pub mod solve;
