//! What a signal is expected to be: as its source forecasts, or else as we do from what was.

use std::sync::Arc;
use std::time::Duration;

use wattle_core::forecast::{History, HistoryError, Model, Score, pick};
use wattle_core::signal::SignalPoint;
use wattle_core::signal::series::Series;
use wattle_core::time::UnixTime;

use crate::poller::Snapshot;

/// Steps that forecasts of our own are made in: the shortest of these that a value of the signal fits in.
const STEPS: [Duration; 2] = [Duration::from_secs(1800), Duration::from_secs(3600)];
/// How far ahead of the last known value we forecast: a day, for as long as a source may be silent for one.
const AHEAD: Duration = Duration::from_secs(48 * 3600);

/// One value to come, from its time until the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AheadPoint {
    /// From when on.
    pub at: UnixTime,
    /// The value, in the unit of the signal.
    pub value: f64,
    /// Lower end of the range that holds the value 4 times in 5; `None`: not known.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
}

/// Who forecasts.
#[derive(Debug, Clone, PartialEq)]
pub enum Forecaster {
    /// The source of the signal, by its name.
    Source(String),
    /// A model of ours.
    Model(Model),
}

/// What is expected, and by whom.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ahead {
    /// Who forecasts; `None`: nobody does.
    pub by: Option<Forecaster>,
    /// Ascending; empty where nobody forecasts.
    pub points: Vec<AheadPoint>,
}

/// A forecast of our own.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// The model that was best of late.
    pub model: Model,
    /// How far each model would have been off, on the last days; empty where too little is known.
    pub scores: Vec<Score>,
    /// What is expected, from the last known value on.
    pub points: Vec<AheadPoint>,
}

impl Outlook {
    /// The forecast of what a series will be after `now`, from what was. `None` where nothing is known, or
    /// where a value holds for longer than an hour: then there is little to forecast.
    pub fn of(series: &Series, now: UnixTime) -> Option<Self> {
        // Fails only for steps and values that a series does not hold, such as powers below zero.
        Self::with_seen(series, now, &[]).ok()?
    }

    /// As [`of`](Self::of), learning from what was seen beside the series, too: values of anything at their
    /// times, such as what the plants of each fuel generated.
    ///
    /// # Errors
    /// A series beside it that begins later than this one, or has a value that is no number.
    pub fn with_seen(
        series: &Series,
        now: UnixTime,
        seen: &[Vec<(UnixTime, f64)>],
    ) -> Result<Option<Self>, HistoryError> {
        let Some(step) = STEPS.into_iter().find(|step| *step >= series.step()) else { return Ok(None) };
        let mut history = History::of_points(series.settled(now), step)?;
        for points in seen {
            history = history.with_seen_points(points.iter().copied())?;
        }
        Ok(Self::of_history(&history))
    }

    fn of_history(history: &History) -> Option<Self> {
        let picked = pick(history, AHEAD)?;
        let forecast = picked.forecast(history)?;
        let points = forecast.points.iter().map(|point| AheadPoint {
            at: point.at,
            value: point.value,
            low: point.interval.map(|interval| interval.low),
            high: point.interval.map(|interval| interval.high),
        });
        Some(Self { model: forecast.model, scores: picked.scores().to_vec(), points: points.collect() })
    }
}

/// Keeps a forecast of our own up to date: a new one for each step of which something new is known.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    /// Up to which of our steps, counted since 1970, and of values how long.
    made_of: Option<(i64, Duration)>,
    outlook: Option<Arc<Outlook>>,
}

impl Planner {
    pub(crate) fn outlook(&mut self, series: &Series, now: UnixTime) -> Option<Arc<Outlook>> {
        let made_of = series.settled(now).last().map(|(at, _)| {
            // Learning takes a while on a small machine: once for each of our steps is enough.
            let step = STEPS[0].as_secs().cast_signed();
            (at.as_secs().div_euclid(step), series.step())
        });
        if made_of != self.made_of {
            self.made_of = made_of;
            self.outlook = Outlook::of(series, now).map(Arc::new);
        }
        self.outlook.clone()
    }
}

/// What the source itself says of the time after `now`, if it said so no longer than `oldest` ago.
pub(crate) fn told(known: &Snapshot, now: UnixTime, horizon: Duration, oldest: Duration) -> Vec<AheadPoint> {
    let of_source =
        |point: SignalPoint| AheadPoint { at: point.at, value: point.value, low: None, high: None };
    known.series.ahead(now, horizon, oldest).into_iter().map(of_source).collect()
}

/// What is expected after `now`, up to `horizon` later: by the source, if what it said is no older than
/// `oldest`, or else by us.
pub fn ahead(known: &Snapshot, now: UnixTime, horizon: Duration, oldest: Duration) -> Ahead {
    let points = told(known, now, horizon, oldest);
    if !points.is_empty() {
        return Ahead { by: Some(Forecaster::Source(known.series.head().source.clone())), points };
    }
    let Some(outlook) = &known.outlook else { return Ahead::default() };
    let until = now + horizon;
    let points: Vec<_> =
        outlook.points.iter().filter(|point| point.at > now && point.at <= until).copied().collect();
    let by = (!points.is_empty()).then_some(Forecaster::Model(outlook.model));
    Ahead { by, points }
}
