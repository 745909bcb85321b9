//! Options of small fleets.
