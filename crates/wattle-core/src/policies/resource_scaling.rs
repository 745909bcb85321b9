//! Resource scaling alone: compute units are free, the clock stays at its highest.
//!
//! The comparators RS-CU and RS-SE of CoFRIS. They differ in the profile that the driver hands them:
//! gated by compute unit, or by shader engine (see [`gating_of`](super::gating_of)). Where power is not
//! gated, fewer units save little, and the table says so.

use super::least_power_table::{FreeKnobs, LeastPower, LeastPowerOptions};
use super::{PolicyError, PolicyOptions};

/// Compute units; and the batch size where the options say so.
pub(super) fn free(options: &LeastPowerOptions) -> FreeKnobs {
    FreeKnobs { clock: false, units: true, batch_size: options.batch_size_free, instances: false }
}

/// The policy `name`, one of `resource-scaling-cu` and `resource-scaling-se`.
pub(super) fn build(name: &'static str, options: &PolicyOptions) -> Result<LeastPower, PolicyError> {
    LeastPower::new(name, free(&options.least_power), options)
}
