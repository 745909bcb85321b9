//! Where a signal comes from, and what it says now: a configured constant or trace, or the world.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use wattle_core::signal::{
    EmissionScope, Freshness, IntensityKind, PointStatus, Quantity, Signal, SignalHead, SignalReading,
};
use wattle_core::time::{Timestamp, UnixTime};
use wattle_signals::live::{LiveSignal, wall_clock};
use wattle_signals::site::LiveSupply;

/// Changes of a configured trace that are shown ahead at most: a day of five minutes.
const MOST_CHANGES_AHEAD: usize = 288;

/// Where a signal comes from.
#[derive(Debug, Clone)]
pub enum SignalSource {
    /// A constant or a trace over the time since the server started, and what it is of.
    Configured(Signal, Arc<SignalHead>),
    /// A source in the world.
    Live(Arc<LiveSignal>),
    /// What a site makes of its own.
    Supply(Arc<LiveSupply>),
}

/// What a signal says and how its source does, as the admin API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SignalStatus {
    /// Which signal: `carbon_intensity`, `power_cap`, or a part of a site's supply.
    pub signal: String,
    /// The value; `None`: unknown.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: &'static str,
    /// How the value stands to what the source last said: `fresh`, `stale`, `held`, `last-week`, `constant`
    /// or `unknown`.
    pub state: &'static str,
    /// How long ago what it says was so; `None` where that is not known.
    pub age_seconds: Option<f64>,
    /// From when on the source said so, in seconds since 1970.
    pub at_unix_seconds: Option<i64>,
    /// How the source came by it.
    pub status: Option<PointStatus>,
    /// Of where.
    pub zone: Option<String>,
    /// Average or marginal.
    pub kind: IntensityKind,
    /// Direct or life-cycle.
    pub scope: EmissionScope,
    /// From whom.
    pub source: String,
    /// How asking the source goes; `None` where nobody is asked.
    pub asking: Option<AskingStatus>,
}

/// How asking a source goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AskingStatus {
    /// When it last answered this server, in seconds since 1970.
    pub answered_at_unix_seconds: Option<i64>,
    /// When it is asked next, in seconds since 1970.
    pub next_ask_unix_seconds: i64,
    /// Asks that ended without an answer.
    pub failures_total: u64,
    /// Why the last ask failed, if it did.
    pub last_error: Option<String>,
    /// By how much its clock is ahead of this machine's.
    pub clock_ahead_seconds: Option<i64>,
}

/// Each state that [`SignalStatus::state`] can be.
pub const STATES: [&str; 6] = ["fresh", "stale", "held", "last-week", "constant", "unknown"];

/// The name of a state; `None`: unknown.
pub(super) const fn state_name(freshness: Option<Freshness>) -> &'static str {
    match freshness {
        Some(Freshness::Fresh) => "fresh",
        Some(Freshness::Stale) => "stale",
        Some(Freshness::Held) => "held",
        Some(Freshness::LastWeek) => "last-week",
        Some(Freshness::Constant) => "constant",
        None => "unknown",
    }
}

/// How old what a reading says is; `None` where a constant stands in, which is of no time.
pub(super) fn age_of(reading: &SignalReading) -> Option<Duration> {
    (reading.freshness != Freshness::Constant).then_some(reading.age)
}

impl SignalSource {
    /// A constant or a trace over the time since the server started, of which `source` says where it is
    /// from.
    pub fn configured(signal: Signal, quantity: Quantity, source: impl Into<String>) -> Self {
        Self::Configured(signal, Arc::new(SignalHead::configured(quantity, source)))
    }

    /// What it is of, and from whom.
    pub fn head(&self) -> &Arc<SignalHead> {
        match self {
            Self::Configured(_, head) => head,
            Self::Live(live) => live.head(),
            Self::Supply(supply) => supply.head(),
        }
    }

    /// How its values are known, in words.
    pub fn provenance(&self) -> String {
        let source = &self.head().source;
        match self {
            // Tells it itself.
            Self::Configured(..) => source.clone(),
            // What others say is not measured here.
            Self::Live(_) | Self::Supply(_) => format!("assumed: {source}"),
        }
    }

    /// What it says at `now`; `None`: unknown.
    pub fn reading(&self, now: Timestamp) -> Option<SignalReading> {
        match self {
            Self::Configured(signal, head) => Some(SignalReading::configured(signal.at(now)?, head)),
            Self::Live(live) => live.reading(wall_clock()),
            Self::Supply(supply) => supply.reading(wall_clock()),
        }
    }

    /// What its source says of the time after `now`, up to `horizon` later: each value from its time until
    /// the next, ascending.
    pub fn told_ahead(&self, now: Timestamp, horizon: Duration) -> Vec<(Timestamp, f64)> {
        let unix = wall_clock();
        let points = match self {
            Self::Configured(signal, _) => return signal.changes_ahead(now, horizon),
            Self::Live(live) => live.told_ahead(unix, horizon),
            Self::Supply(supply) => supply.ahead(unix, horizon),
        };
        points.iter().map(|point| (on_the_server(point.at, unix, now), point.value)).collect()
    }

    /// As [`told_ahead`](Self::told_ahead), and where the source tells nothing, what we forecast of it.
    pub fn ahead(&self, now: Timestamp, horizon: Duration) -> Vec<(Timestamp, f64)> {
        let live = match self {
            Self::Configured(signal, _) => return changes_ahead(signal, now, horizon),
            Self::Supply(_) => return self.told_ahead(now, horizon),
            Self::Live(live) => live,
        };
        let unix = wall_clock();
        let points = live.ahead(unix, horizon).points;
        points.iter().map(|point| (on_the_server(point.at, unix, now), point.value)).collect()
    }

    /// How it stands, with the parts that it is made of; `reading` is what it says now.
    pub fn status(&self, signal: &str, reading: Option<&SignalReading>) -> Vec<SignalStatus> {
        let of_live = |live: &Arc<LiveSignal>| {
            let known = live.known();
            AskingStatus {
                answered_at_unix_seconds: known.answered_at.map(UnixTime::as_secs),
                next_ask_unix_seconds: known.next_ask.as_secs(),
                failures_total: known.failures_total,
                last_error: known.last_error.clone(),
                clock_ahead_seconds: known.clock_ahead_seconds,
            }
        };
        let asking = if let Self::Live(live) = self { Some(of_live(live)) } else { None };
        let mut all = vec![status_of(signal, self.head(), reading, asking)];
        if let Self::Supply(supply) = self {
            let now = wall_clock();
            all.extend(supply.parts().map(|live| {
                status_of(live.name(), live.head(), live.reading(now).as_ref(), Some(of_live(live)))
            }));
        }
        all
    }
}

fn status_of(
    signal: &str,
    head: &SignalHead,
    reading: Option<&SignalReading>,
    asking: Option<AskingStatus>,
) -> SignalStatus {
    SignalStatus {
        signal: signal.to_owned(),
        value: reading.map(|reading| reading.value),
        unit: head.quantity.unit(),
        state: state_name(reading.map(|reading| reading.freshness)),
        age_seconds: reading.and_then(age_of).map(|age| age.as_secs_f64()),
        at_unix_seconds: reading.and_then(|reading| reading.at).map(UnixTime::as_secs),
        status: reading.map(|reading| reading.status),
        zone: head.zone.clone(),
        kind: head.kind,
        scope: head.scope,
        source: head.source.clone(),
        asking,
    }
}

/// `at` by the server's clock, which says `now` while the world's says `unix`.
fn on_the_server(at: UnixTime, unix: UnixTime, now: Timestamp) -> Timestamp {
    now + at.saturating_since(unix)
}

/// As [`Signal::changes_ahead`], of a trace that changes very often only the first few.
fn changes_ahead(signal: &Signal, now: Timestamp, horizon: Duration) -> Vec<(Timestamp, f64)> {
    let mut changes = Vec::new();
    let (mut at, mut last) = (now, signal.at(now));
    for _ in 0..MOST_CHANGES_AHEAD {
        let Some(next) = signal.next_change(at).filter(|next| *next <= now + horizon) else { break };
        let value = signal.at(next);
        changes.extend(value.filter(|_| value != last).map(|value| (next, value)));
        (at, last) = (next, value);
    }
    changes
}

/// Tells once when the state of a signal changes.
#[derive(Debug)]
pub(super) struct Teller {
    signal: &'static str,
    told: Option<&'static str>,
    /// Whether the source, or its cache, ever told anything.
    was_known: bool,
}

impl Teller {
    /// Nothing was told yet of `signal`.
    pub(super) const fn new(signal: &'static str) -> Self {
        Self { signal, told: None, was_known: false }
    }

    /// The name of the signal.
    pub(super) const fn name(&self) -> &'static str {
        self.signal
    }

    /// `reading` is what `source` says now.
    pub(super) fn tell(&mut self, source: &SignalSource, reading: Option<&SignalReading>) {
        let signal = self.signal;
        let state = state_name(reading.map(|reading| reading.freshness));
        let before = self.told.replace(state);
        let from = source.head().source.as_str();
        let value = reading.map(|reading| reading.value);
        let age_seconds = reading.and_then(age_of).map(|age| age.as_secs());
        if before == Some(state) {
            return;
        }
        match state {
            "fresh" if !self.was_known => tracing::info!(signal, source = from, value, "signal is known"),
            "fresh" => tracing::info!(signal, source = from, value, "signal is fresh again"),
            "stale" => {
                tracing::warn!(signal, source = from, value, age_seconds, "signal is stale, still used")
            }
            "unknown" | "constant" if !self.was_known => {
                tracing::info!(signal, source = from, value, "signal is not known yet");
            }
            "unknown" => tracing::warn!(signal, source = from, "signal is unknown"),
            fallback => tracing::warn!(
                signal,
                source = from,
                fallback,
                value,
                age_seconds,
                "signal is too old: its fallback is used"
            ),
        }
        self.was_known |= !matches!(state, "unknown" | "constant");
    }
}

#[cfg(test)]
mod tests {
    use wattle_core::signal::{AfterEnd, Trace};

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_configured_trace_is_read_as_ever_and_shown_ahead_in_part() {
        let trace = Trace::new(vec![(seconds(0), 5.0), (seconds(1), 3.0)], AfterEnd::Repeat).unwrap();
        let source = SignalSource::configured(Signal::Trace(trace), Quantity::Power, "a trace");
        let at = |s| Timestamp::from_duration(seconds(s));
        assert_eq!(source.reading(at(1)).unwrap().value, 3.0);
        assert_eq!(source.told_ahead(at(0), seconds(2)), [(at(1), 3.0), (at(2), 5.0)]);
        assert_eq!(source.ahead(at(0), seconds(100)), source.told_ahead(at(0), seconds(100)));
        assert_eq!(source.ahead(at(0), seconds(1_000_000)).len(), MOST_CHANGES_AHEAD);
        let status = source.status("power_cap", source.reading(at(0)).as_ref());
        assert_eq!((status[0].state, status[0].age_seconds, status[0].unit), ("fresh", Some(0.0), "W"));
        assert_eq!(status[0].asking, None);
    }
}
