//! Resource scaling alone: compute units are free, the clock stays at its highest.
//!
//! The comparators RS-CU and RS-SE of CoFRIS. They differ in the profile that the driver hands them:
//! gated by compute unit, or by shader engine (see [`gating_of`](super::gating_of)). Where power is not
//! gated, fewer units save little, and the table says so.

use super::PolicyOptions;
use super::least_power_table::{FreeKnobs, LeastPower};

/// The policy `name`, one of `resource-scaling-cu` and `resource-scaling-se`.
pub(super) fn build(name: &'static str, options: &PolicyOptions) -> LeastPower {
    let batch_size = options.least_power.batch_size_free;
    LeastPower::new(name, FreeKnobs { clock: false, units: true, batch_size, instances: false }, options)
}
