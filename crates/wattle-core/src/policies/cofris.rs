//! Coordinated frequency and resource scaling: clock and compute units are both free.
//!
//! The policies CoFRIS-CU and CoFRIS-SE of the paper. They differ in the profile that the driver hands
//! them: gated by compute unit, or by shader engine (see [`gating_of`](super::gating_of)).

use super::PolicyOptions;
use super::least_power_table::{FreeKnobs, LeastPower};

/// The policy `name`, one of `cofris-cu` and `cofris-se`.
pub(super) fn build(name: &'static str, options: &PolicyOptions) -> LeastPower {
    let batch_size = options.least_power.batch_size_free;
    LeastPower::new(name, FreeKnobs { clock: true, units: true, batch_size, instances: false }, options)
}
