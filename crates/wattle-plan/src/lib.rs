//! Plans a fleet: which models share which device and slice, at which batch size and clock.
