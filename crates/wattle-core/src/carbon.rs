//! Grams of joules and of devices: what serving emits by the energy it takes, and by what making the device
//! emitted.
//!
//! Operational emissions are counted second by second in the ledger ([`CarbonAccounting::emissions`]).
//! Embodied ones are a range: from [ACT](act), which sees die and memory alone, to what was published for the
//! whole board. [`Sci`] is both over what was answered.

mod accounting;
pub mod act;
mod attribution;
mod embodied;
pub mod mix;
mod sci;
#[cfg(test)]
mod tests;

pub use accounting::{CarbonAccounting, Emissions};
pub use attribution::{Attribution, TimeShare, time_shares};
pub use embodied::{Embodied, EmbodiedFigure, EmbodiedGrams, crossover_power, embodied};
pub use sci::{BOUNDARY_EXCLUDED, BOUNDARY_INCLUDED, METHOD, Sci, SciTerms};
