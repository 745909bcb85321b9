//! Coordinated frequency and resource scaling: clock and compute units are both free.
//!
//! The policies CoFRIS-CU and CoFRIS-SE of the paper. They differ in the profile that the driver hands
//! them: gated by compute unit, or by shader engine (see [`gating_of`](super::gating_of)).

use super::least_power_table::{FreeKnobs, LeastPower, LeastPowerOptions};
use super::{PolicyError, PolicyOptions};

/// Clock and compute units; and the batch size where the options say so.
pub(super) fn free(options: &LeastPowerOptions) -> FreeKnobs {
    FreeKnobs { clock: true, units: true, batch_size: options.batch_size_free, instances: false }
}

/// The policy `name`, one of `cofris-cu` and `cofris-se`.
pub(super) fn build(name: &'static str, options: &PolicyOptions) -> Result<LeastPower, PolicyError> {
    LeastPower::new(name, free(&options.least_power), options)
}
