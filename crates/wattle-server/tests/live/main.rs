//! What policies do in a running server, on a simulated device: families under load, and every kind of
//! knob turned as carbon intensity, load and cap change.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod families;
mod policies;
mod refinement;
mod server;
