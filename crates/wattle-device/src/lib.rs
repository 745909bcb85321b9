//! Touches hardware: reads power and energy, turns the knobs of devices, and puts them back.
//!
//! Vendor units (microjoules, milliwatts, kilohertz) end inside a driver. No policy is known here.

pub mod amd;
pub mod conformance;
pub mod cpu;
pub mod deadman;
pub mod device;
pub mod discover;
pub mod held;
pub mod lease;
pub mod nvidia;
pub mod recover;
pub mod simulated;
pub mod zeusd;
