//! Which power cap is in force: the configured one, or one set by hand.

use serde::Serialize;
use wattle_core::signal::SignalReading;
use wattle_core::units::Watts;

/// A cap set by hand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CapOverride {
    /// This many watts, whatever is configured.
    Watts(Watts),
    /// No cap, whatever is configured.
    Lifted,
}

/// Where the cap in force comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CapOrigin {
    /// A constant, a trace or a source in the configuration.
    Configured,
    /// Set by hand over the admin API.
    SetByHand,
    /// There is none, or what is configured says nothing of this time.
    None,
}

/// The cap now, and where it comes from. `configured`: what the configured signal says, if there is one.
pub(super) fn in_force(
    configured: Option<Option<&SignalReading>>,
    by_hand: Option<CapOverride>,
) -> (Option<Watts>, CapOrigin) {
    match by_hand {
        Some(CapOverride::Watts(cap)) => (Some(cap), CapOrigin::SetByHand),
        // Infinite, not unknown: a policy keeps still where it doesn't know the cap, and may climb here.
        Some(CapOverride::Lifted) => (Some(Watts::new(f64::INFINITY)), CapOrigin::SetByHand),
        None => match configured {
            Some(Some(reading)) => (Some(Watts::new(reading.value)), CapOrigin::Configured),
            Some(None) => (None, CapOrigin::None),
            // No cap was ever asked for: whatever an earlier one made small may grow again.
            None => (Some(Watts::new(f64::INFINITY)), CapOrigin::None),
        },
    }
}
