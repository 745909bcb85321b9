//! Frequency scaling alone, `frequency-scaling`: the clock is free, all compute units stay on.
//!
//! The comparator FS of CoFRIS.

use super::PolicyOptions;
use super::least_power_table::{FreeKnobs, LeastPower};

/// The policy `frequency-scaling`.
pub(super) fn build(options: &PolicyOptions) -> LeastPower {
    let batch_size = options.least_power.batch_size_free;
    LeastPower::new(
        "frequency-scaling",
        FreeKnobs { clock: true, units: false, batch_size, instances: false },
        options,
    )
}
