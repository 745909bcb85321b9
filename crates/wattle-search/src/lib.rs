//! Learns a model's operating points from few measurements.
//!
//! A [`Search`] says which point of a [`Space`] to measure next, given all [`Probe`]s so far, and when to
//! stop. A [`Surrogate`] is fitted to what was measured and tells, with an interval, what was not;
//! [`held_back`] tells how wrong it is. [`answer`] and [`front`] choose from both, under [`Constraints`].
//!
//! Nothing here does I/O, starts a thread or asks the time. Luck is drawn from a seed: the same seed and
//! the same probes give the same next point.

mod answer;
mod held_back;
mod knobs;
mod memory;
mod probe;
mod question;
mod search;
mod space;
mod strategies;
mod surrogate;

pub use answer::{Answer, Candidate, FrontPoint, answer, front};
pub use held_back::{ErrorOf, Errors, held_back};
pub use probe::{Outcome, Probe};
pub use question::{Constraints, Question, latency_ms_of};
pub use search::{BuildError, Next, STRATEGIES, Search, Stop, Why, build};
pub use space::{Axes, Space, SpaceError};
pub use surrogate::{Estimate, Predicted, Surrogate};
