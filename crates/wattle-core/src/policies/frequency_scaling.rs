//! Frequency scaling alone, `frequency-scaling`: the clock is free, all compute units stay on.
//!
//! The comparator FS of CoFRIS.

use super::least_power_table::{FreeKnobs, LeastPower, LeastPowerOptions};
use super::{PolicyError, PolicyOptions};

/// The clock; and the batch size where the options say so.
pub(super) fn free(options: &LeastPowerOptions) -> FreeKnobs {
    FreeKnobs { clock: true, units: false, batch_size: options.batch_size_free, instances: false }
}

/// The policy `frequency-scaling`.
pub(super) fn build(options: &PolicyOptions) -> Result<LeastPower, PolicyError> {
    LeastPower::new("frequency-scaling", free(&options.least_power), options)
}
