//! What a signal is expected to be: as its source forecasts, or else as we do from what was.

use std::time::Duration;

use wattle_core::signal::series::Series;
use wattle_core::time::UnixTime;

use crate::poller::Snapshot;

/// One value to come, from its time until the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AheadPoint {
    /// From when on.
    pub at: UnixTime,
    /// The value, in the unit of the signal.
    pub value: f64,
    /// Below this with a chance of one in ten, where that is known.
    pub low: Option<f64>,
    /// Above this with a chance of one in ten, where that is known.
    pub high: Option<f64>,
}

/// What is expected, and by whom.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ahead {
    /// Who forecasts: the source, or a model of ours. `None`: nobody does.
    pub by: Option<String>,
    /// Ascending; empty where nobody forecasts.
    pub points: Vec<AheadPoint>,
}

/// A forecast of our own.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    pub by: String,
    pub points: Vec<AheadPoint>,
}

/// Makes forecasts of our own.
#[derive(Debug, Default)]
pub struct Planner {}

impl Planner {
    pub fn outlook(&mut self, _series: &Series, _now: UnixTime) -> Option<std::sync::Arc<Outlook>> {
        None
    }
}

/// What the source itself says of the time after `now`.
pub(crate) fn told(known: &Snapshot, now: UnixTime, horizon: Duration, oldest: Duration) -> Vec<AheadPoint> {
    let told = known.series.ahead(now, horizon, oldest);
    let of_source = |point: &wattle_core::signal::SignalPoint| AheadPoint {
        at: point.at,
        value: point.value,
        low: None,
        high: None,
    };
    told.iter().map(of_source).collect()
}

/// What is expected after `now`, up to `horizon` later: by the source, if what it said is no older than
/// `oldest`, or else by us.
pub fn ahead(known: &Snapshot, now: UnixTime, horizon: Duration, oldest: Duration) -> Ahead {
    let points = told(known, now, horizon, oldest);
    if !points.is_empty() {
        return Ahead { by: Some(known.series.head().source.clone()), points };
    }
    let Some(outlook) = &known.outlook else { return Ahead::default() };
    let until = now + horizon;
    let points: Vec<_> =
        outlook.points.iter().filter(|point| point.at > now && point.at <= until).copied().collect();
    let by = (!points.is_empty()).then(|| outlook.by.clone());
    Ahead { by, points }
}
