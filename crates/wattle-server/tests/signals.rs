//! What a policy sees of live signals, and what the status tells of them: a carbon intensity with its age
//! and its forecast, and a cap made of a site's supply. The sources are scripted.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wattle_core::observation::Observation;
use wattle_core::policy::{Decision, Policy};
use wattle_core::signal::series::{Fallback, StalenessRule};
use wattle_core::signal::{PointStatus, Quantity, SignalHead, SignalPoint};
use wattle_core::time::UnixTime;
use wattle_server::control_loop::SignalSource;
use wattle_signals::live::{LiveSignal, wall_clock};
use wattle_signals::poller::{LiveOptions, Poller};
use wattle_signals::provider::{FetchError, Fetched, Provider};
use wattle_signals::site::LiveSupply;
use wattle_signals::supply::SupplyRule;

const PROFILE: &str = "\
# wattle_profile = 1
# model = \"digits-xs\"
# device = \"made up\"
# runtime = \"made up\"
# idle_power_watts = 50.0
# power_source = \"made up for a test\"
batch_size,instances,throughput_rps,latency_ms_mean,power_watts_mean,power_watts_max,basis,power_basis,samples
1,1,250,4,60,60,modelled,modelled,1
";

/// Keeps what it was last shown.
struct Recorder(Arc<Mutex<Option<Observation>>>);

impl Policy for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        *self.0.lock().unwrap() = Some(seen.clone());
        Decision::nothing(Duration::from_millis(50))
    }
}

/// Values at times relative to now, told once.
struct Scripted {
    head: SignalHead,
    points: Vec<(i64, f64)>,
    step: u64,
}

impl Provider for Scripted {
    fn head(&self) -> &SignalHead {
        &self.head
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn fetch(&mut self, _since: UnixTime, now: UnixTime) -> Result<Fetched, FetchError> {
        let point = |(after, value): &(i64, f64)| {
            let status = if *after > 0 { PointStatus::Forecast } else { PointStatus::Actual };
            SignalPoint { at: UnixTime::from_secs(now.as_secs() + after), value: *value, status }
        };
        let points = self.points.iter().map(point).collect();
        Ok(Fetched { points, step: Some(Duration::from_secs(self.step)), ..Fetched::default() })
    }
}

fn live(name: &str, quantity: Quantity, step: u64, points: &[(i64, f64)]) -> Arc<LiveSignal> {
    let head = SignalHead::configured(quantity, format!("a script of {name}"));
    let options = LiveOptions {
        name: name.into(),
        interval: None,
        max_requests_per_day: None,
        rule: StalenessRule {
            stale_after: Duration::from_secs(600),
            give_up_after: Duration::from_secs(6000),
            fallback: Fallback::Unknown,
        },
        cache_folder: None,
        seed: 1,
    };
    let scripted = Scripted { head, points: points.to_vec(), step };
    let poller = Poller::new(Box::new(scripted), options, wall_clock());
    Arc::new(LiveSignal::start(poller, wall_clock).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_sees_the_age_and_the_forecast_of_carbon_and_a_cap_made_of_the_sites_supply() {
    // Two hours old, of an hour: its age is an hour.
    let carbon =
        live("carbon", Quantity::CarbonIntensity, 3600, &[(-7200, 300.0), (1800, 200.0), (5400, 100.0)]);
    let pv = live("pv", Quantity::Power, 60, &[(-10, 400.0), (40, 300.0), (100, 200.0)]);
    let wind = live("wind", Quantity::Power, 60, &[(-10, 100.0), (40, 50.0)]);
    let charge = live("battery_charge", Quantity::StateOfCharge, 600, &[(-10, 0.8)]);
    let rule = SupplyRule {
        share: 0.5,
        reserved_watts: 100.0,
        battery_floor: 0.5,
        battery_discharge_watts: 30.0,
        ..SupplyRule::default()
    };
    let supply = LiveSupply::new(vec![pv, wind], Some(charge), rule);
    let (cap, carbon) = (SignalSource::Supply(Arc::new(supply)), SignalSource::Live(carbon));
    let (server, _folder, _) = common::start_with(PROFILE, "fixed", |config| {
        (config.power_cap, config.carbon_intensity) = (Some(cap), Some(carbon));
    })
    .await;
    let seen = Arc::new(Mutex::new(None::<Observation>));
    server.control().set_policy(Box::new(Recorder(Arc::clone(&seen))));

    let start = Instant::now();
    let seen = loop {
        let last = seen.lock().unwrap().clone();
        let is_known = |seen: &Observation| seen.power_cap.is_some() && seen.carbon_intensity.is_some();
        if let Some(seen) = last.filter(is_known) {
            break seen;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "never known");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(seen.power_cap.unwrap().get(), 0.5 * (500.0 - 100.0) + 30.0);
    let caps: Vec<f64> = seen.power_cap_ahead.iter().map(|(_, cap)| cap.get()).collect();
    assert_eq!(caps, [0.5 * (350.0 - 100.0) + 30.0], "within a minute, and only while both are forecast");
    let in_seconds = (seen.power_cap_ahead[0].0 - seen.now).as_secs();
    assert!((20..=40).contains(&in_seconds), "{in_seconds}");

    assert_eq!(seen.carbon_intensity.unwrap().get(), 300.0);
    let age = seen.carbon_intensity_age.unwrap().as_secs();
    assert!((3600..3630).contains(&age), "{age}");
    let ahead: Vec<f64> = seen.carbon_intensity_ahead.iter().map(|(_, of)| of.get()).collect();
    assert_eq!(ahead, [200.0, 100.0]);
    let in_seconds = (seen.carbon_intensity_ahead[1].0 - seen.now).as_secs();
    assert!((5370..=5400).contains(&in_seconds), "{in_seconds}");

    let status = server.control().status();
    let states: Vec<(&str, &str)> = status.signals.iter().map(|of| (of.signal.as_str(), of.state)).collect();
    assert_eq!(
        states,
        [
            ("carbon_intensity", "stale"),
            ("power_cap", "fresh"),
            ("pv", "fresh"),
            ("wind", "fresh"),
            ("battery_charge", "fresh")
        ]
    );
    assert_eq!(status.carbon_source.as_deref(), Some("assumed: a script of carbon"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_cap_that_nobody_knows_is_unknown_and_not_lifted() {
    let cap = live("power_cap", Quantity::Power, 60, &[]);
    let (server, _folder, _) =
        common::start_with(PROFILE, "fixed", |config| config.power_cap = Some(SignalSource::Live(cap))).await;
    let seen = Arc::new(Mutex::new(None::<Observation>));
    server.control().set_policy(Box::new(Recorder(Arc::clone(&seen))));
    let start = Instant::now();
    while seen.lock().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(20), "never asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seen = seen.lock().unwrap().clone().unwrap();
    assert_eq!((seen.power_cap, seen.carbon_intensity, seen.carbon_intensity_age), (None, None, None));
    assert_eq!(server.control().status().signals[0].state, "unknown");
    server.stop().await;
}
