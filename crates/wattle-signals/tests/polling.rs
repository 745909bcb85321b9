//! Asks scripted sources in virtual time: what is known, how old it is told to be, and how often anybody is
//! asked.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use wattle_core::signal::series::{Fallback, StalenessRule};
use wattle_core::signal::{Freshness, PointStatus, Quantity, SignalHead, SignalPoint};
use wattle_core::time::UnixTime;
use wattle_signals::live::LiveSignal;
use wattle_signals::outlook::{Forecaster, ahead};
use wattle_signals::poller::{LiveOptions, Poller};
use wattle_signals::provider::{FetchError, Fetched, Provider};

const HOUR: i64 = 3600;
/// A Monday.
const START: i64 = 1_704_067_200;

/// What a source does when it is asked: with since when, and when.
type Act = Box<dyn FnMut(UnixTime, UnixTime) -> Result<Fetched, FetchError> + Send>;

/// A source that does as scripted and notes each time that it is asked.
struct Scripted {
    head: SignalHead,
    interval: Duration,
    act: Act,
    asked: Asked,
}

type Asked = Arc<Mutex<Vec<i64>>>;

impl Provider for Scripted {
    fn head(&self) -> &SignalHead {
        &self.head
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn fetch(&mut self, since: UnixTime, now: UnixTime) -> Result<Fetched, FetchError> {
        self.asked.lock().unwrap().push(now.as_secs());
        (self.act)(since, now)
    }
}

fn source(
    interval: i64,
    act: impl FnMut(UnixTime, UnixTime) -> Result<Fetched, FetchError> + Send + 'static,
) -> (Box<dyn Provider>, Asked) {
    let asked = Asked::default();
    let scripted = Scripted {
        head: SignalHead::configured(Quantity::CarbonIntensity, "a scripted source"),
        interval: Duration::from_secs(interval.unsigned_abs()),
        act: Box::new(act),
        asked: Arc::clone(&asked),
    };
    (Box::new(scripted), asked)
}

fn trouble() -> FetchError {
    FetchError::Trouble {
        source_name: "a scripted source".into(),
        detail: "no route".into(),
        retry_after: None,
    }
}

/// The value of an hour: its number, so that each is told apart.
fn value(at: i64) -> f64 {
    (at / HOUR) as f64
}

/// Each hour from `since` to `until` as settled, and `ahead` hours more as forecast.
fn hours(since: i64, until: i64, ahead: i64) -> Fetched {
    let first = since.div_euclid(HOUR);
    let last = until.div_euclid(HOUR) + ahead;
    let point = |hour: i64| {
        let status = if hour * HOUR <= until { PointStatus::Actual } else { PointStatus::Forecast };
        SignalPoint { at: UnixTime::from_secs(hour * HOUR), value: hour as f64, status }
    };
    let step = Some(Duration::from_secs(HOUR.unsigned_abs()));
    Fetched { points: (first..=last).map(point).collect(), step, ..Fetched::default() }
}

fn options(fallback: Fallback, cache: Option<&Path>) -> LiveOptions {
    LiveOptions {
        name: "carbon_intensity".into(),
        interval: None,
        max_requests_per_day: None,
        rule: StalenessRule {
            stale_after: Duration::from_secs(3600),
            give_up_after: Duration::from_secs(4 * 3600),
            fallback,
        },
        cache_folder: cache.map(Path::to_owned),
        seed: 7,
    }
}

/// Lets virtual time pass from `from` to `to`, asking whenever it is due; `see` is called each ten minutes.
fn run(poller: &mut Poller, from: i64, to: i64, mut see: impl FnMut(&Poller, i64)) {
    let mut now = from;
    while now < to {
        while poller.known().next_ask <= UnixTime::from_secs(now) {
            let wait = poller.ask(UnixTime::from_secs(now));
            assert!(wait >= Duration::from_secs(1), "{wait:?}");
        }
        see(poller, now);
        now += 600;
    }
}

fn said(poller: &Poller, now: i64) -> Option<(f64, Freshness)> {
    let reading = poller.known().series.reading(UnixTime::from_secs(now), &poller.options().rule)?;
    Some((reading.value, reading.freshness))
}

#[test]
fn a_source_that_dies_is_told_stale_then_replaced_and_is_fresh_again_when_it_is_back() {
    for fallback in [Fallback::Hold, Fallback::LastWeek, Fallback::Constant(-1.0), Fallback::Unknown] {
        let (dies, back) = (START + 10 * 24 * HOUR, START + 11 * 24 * HOUR);
        let (provider, asked) = source(1800, move |since, now| {
            if (dies..back).contains(&now.as_secs()) {
                return Err(trouble());
            }
            Ok(hours(since.as_secs().max(START), now.as_secs(), 0))
        });
        let mut poller = Poller::new(provider, options(fallback, None), UnixTime::from_secs(START));
        run(&mut poller, START, back + 6 * HOUR, |poller, now| {
            let is_fresh = said(poller, now).is_some_and(|(_, freshness)| freshness == Freshness::Fresh);
            // Asked again half an hour after it is back, at the latest.
            if !(dies..back + HOUR).contains(&now) {
                assert!(is_fresh, "{fallback:?} at {now}");
            }
            if (dies + 2 * HOUR..back).contains(&now) {
                assert!(!is_fresh, "{fallback:?} at {now}");
            }
        });
        let asks = asked.lock().unwrap();
        let while_dead = asks.iter().filter(|at| (dies..back).contains(*at)).count();
        assert!((48..=110).contains(&while_dead), "every 15 to 30 minutes after a start: {while_dead}");
        assert_eq!(poller.known().failures_total, while_dead as u64);
        assert_eq!(poller.known().last_error, None);
    }
}

#[test]
fn each_fallback_takes_over_at_the_configured_age() {
    for (fallback, expected) in [
        (Fallback::Hold, Some((value(START + 199 * HOUR), Freshness::Held))),
        (Fallback::LastWeek, Some((value(START + (205 - 168) * HOUR), Freshness::LastWeek))),
        (Fallback::Constant(12.5), Some((12.5, Freshness::Constant))),
        (Fallback::Unknown, None),
    ] {
        let dies = START + 200 * HOUR;
        let (provider, _) = source(1800, move |since, now| {
            if now.as_secs() >= dies {
                Err(trouble())
            } else {
                Ok(hours(since.as_secs().max(START), now.as_secs(), 0))
            }
        });
        let mut poller = Poller::new(provider, options(fallback, None), UnixTime::from_secs(START));
        run(&mut poller, START, dies + 6 * HOUR, |poller, now| {
            let last =
                (value(dies - HOUR), if now - dies <= HOUR { Freshness::Fresh } else { Freshness::Stale });
            if now < dies {
                assert_eq!(said(poller, now), Some((value(now), Freshness::Fresh)), "{fallback:?} at {now}");
            } else if now - dies <= 4 * HOUR {
                assert_eq!(said(poller, now), Some(last), "{fallback:?} at {now}");
            } else if now - dies >= 5 * HOUR {
                assert_eq!(said(poller, now), expected, "{fallback:?} at {now}");
            }
        });
        assert_eq!(
            poller.known().last_error.as_deref(),
            Some("a scripted source: no route; tried again later")
        );
    }
}

#[test]
fn a_source_that_wants_to_be_left_alone_is() {
    let mut answers = VecDeque::from([Some(5000), None, Some(90)]);
    let (provider, asked) = source(300, move |since, now| match answers.pop_front() {
        Some(retry_after) => Err(FetchError::TooOften {
            source_name: "s".into(),
            retry_after: retry_after.map(Duration::from_secs),
        }),
        None => Ok(hours(since.as_secs().max(now.as_secs() - HOUR), now.as_secs(), 0)),
    });
    let mut poller = Poller::new(provider, options(Fallback::Hold, None), UnixTime::from_secs(START));
    run(&mut poller, START, START + 3 * HOUR, |_, _| {});
    let asked = asked.lock().unwrap();
    let gaps: Vec<i64> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps[0] >= 5000, "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap >= 300), "{gaps:?}");
}

#[test]
fn a_restart_without_the_source_goes_on_from_the_cache_and_asks_no_sooner_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = || options(Fallback::LastWeek, Some(folder.path()));
    let (provider, _) = source(1800, |since, now| Ok(hours(since.as_secs().max(START), now.as_secs(), 30)));
    let mut poller = Poller::new(provider, options(), UnixTime::from_secs(START));
    run(&mut poller, START, START + 200 * HOUR, |_, _| {});
    let known = poller.known().clone();
    drop(poller);

    let restart = START + 200 * HOUR;
    let (provider, asked) = source(1800, |_, _| Err(trouble()));
    let mut again = Poller::new(provider, options(), UnixTime::from_secs(restart));
    assert_eq!(again.known().series, known.series);
    assert_eq!(again.known().next_ask, known.next_ask, "asked a moment ago");
    assert_eq!(again.known().answered_at, None, "this process has heard nothing");
    assert!(asked.lock().unwrap().is_empty());
    assert_eq!(
        said(&again, restart),
        Some((value(restart), Freshness::Fresh)),
        "the source's forecast, told lately"
    );
    run(&mut again, restart, restart + 10 * HOUR, |_, _| {});
    assert_eq!(said(&again, restart + 3 * HOUR), Some((value(restart + 3 * HOUR), Freshness::Stale)));
    let last_week = value(restart + (9 - 168) * HOUR);
    assert_eq!(said(&again, restart + 9 * HOUR), Some((last_week, Freshness::LastWeek)));

    // A server that starts over and over asks no more often for it.
    let asked_before = asked.lock().unwrap().len();
    let (provider, asked) = source(1800, |_, _| Err(trouble()));
    let now = UnixTime::from_secs(restart + 10 * HOUR - 600);
    drop(again);
    let once_more = Poller::new(provider, options(), now);
    assert!(once_more.known().next_ask >= now);
    assert!(asked_before > 10 && asked.lock().unwrap().is_empty());
}

#[test]
fn the_forecast_of_the_source_is_shown_ahead_as_its_own() {
    let (provider, _) = source(1800, |since, now| Ok(hours(since.as_secs().max(START), now.as_secs(), 30)));
    let mut poller = Poller::new(provider, options(Fallback::Hold, None), UnixTime::from_secs(START));
    poller.ask(UnixTime::from_secs(START));
    let day = Duration::from_secs(24 * 3600);
    let expected = ahead(poller.known(), UnixTime::from_secs(START), day, day);
    assert_eq!(expected.by, Some(Forecaster::Source("a scripted source".into())));
    assert_eq!(expected.points.len(), 24);
    assert_eq!(expected.points[0].value, value(START + HOUR));
}

#[test]
fn where_the_source_tells_nothing_ahead_we_forecast_from_what_was() {
    // The same each day, and no forecast.
    let daily = |at: i64| 200.0 + (at.rem_euclid(86_400) / HOUR) as f64;
    let (provider, _) = source(1800, move |since, now| {
        let mut fetched = hours(since.as_secs().max(START), now.as_secs(), 0);
        for point in &mut fetched.points {
            point.value = daily(point.at.as_secs());
        }
        Ok(fetched)
    });
    let mut poller = Poller::new(provider, options(Fallback::Hold, None), UnixTime::from_secs(START));
    let now = START + 30 * 24 * HOUR;
    poller.ask(UnixTime::from_secs(now));
    assert_eq!(poller.known().outlook, None);
    poller.plan(UnixTime::from_secs(now));
    let day = Duration::from_secs(24 * 3600);
    let expected = ahead(poller.known(), UnixTime::from_secs(now), day, day);
    assert!(matches!(expected.by, Some(Forecaster::Model(_))), "{:?}", expected.by);
    assert_eq!(expected.points.len(), 24);
    for point in &expected.points {
        assert!((point.value - daily(point.at.as_secs())).abs() < 1.0, "{point:?}");
        assert!(point.low.is_some_and(|low| low <= point.value), "{point:?}");
    }
}

#[test]
fn a_thread_keeps_the_signal_and_ends_with_it() {
    let (provider, asked) = source(1, |_, now| {
        let point = SignalPoint { at: now, value: 42.0, status: PointStatus::Actual };
        Ok(Fetched { points: vec![point], step: Some(Duration::from_secs(1)), ..Fetched::default() })
    });
    let poller = Poller::new(provider, options(Fallback::Hold, None), UnixTime::from_secs(START));
    let live = LiveSignal::start(poller, || UnixTime::from_secs(START)).unwrap();
    for _ in 0..500 {
        if live.reading(UnixTime::from_secs(START)).is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(live.reading(UnixTime::from_secs(START)).unwrap().value, 42.0);
    drop(live);
    // The thread holds the other end of what it notes asks in.
    for _ in 0..500 {
        if Arc::strong_count(&asked) == 1 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the thread goes on");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_more_requests_are_made_in_a_day_than_are_granted(
        granted in 4u32..200,
        interval in 1i64..4000,
        seed: u64,
        mut fails in proptest::collection::vec(0u8..4, 1..50),
    ) {
        let (provider, asked) = source(interval, move |_, now| {
            fails.rotate_left(1);
            match fails[0] {
                0 => Ok(hours(now.as_secs() - HOUR, now.as_secs(), 0)),
                1 => Err(trouble()),
                2 => Err(FetchError::TooOften { source_name: "s".into(), retry_after: Some(Duration::ZERO) }),
                _ => Err(FetchError::Refused {
                    source_name: "s".into(),
                    found: "HTTP 403".into(),
                    expected: "another token".into(),
                }),
            }
        });
        let options =
            LiveOptions { max_requests_per_day: Some(granted), seed, ..options(Fallback::Hold, None) };
        let mut poller = Poller::new(provider, options, UnixTime::from_secs(START));
        run(&mut poller, START, START + 86_400, |_, _| {});
        prop_assert!(asked.lock().unwrap().len() <= granted as usize);
    }
}
