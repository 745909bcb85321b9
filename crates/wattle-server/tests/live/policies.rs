//! Policies that turn variants, clocks and compute units, in a running server.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use wattle_core::device_spec::bundled;
use wattle_core::family::Variant;
use wattle_core::gating;
use wattle_core::knob::DeviceKnob;
use wattle_core::policies::cap_handling::{CapHandlingMode, CapHandlingOptions};
use wattle_core::policies::carbon_adaptive::CarbonAdaptiveOptions;
use wattle_core::policies::{PolicyOptions, gating_of};
use wattle_core::policy::Reason;
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};
use wattle_server::control_loop::CapOverride;

use super::server::{Setup, TICK, http_json, profiles, request, steps, until};

const BY_BATCH: &str = "batch_size,instances,throughput_rps,latency_ms_mean,power_watts_mean,power_watts_max";
/// Power grows with the batch size, from 60 W to 200 W.
const SIZES: &[&str] =
    &["1,1,250,4,60,60", "4,1,667,6,110,110", "8,1,1000,8,150,150", "16,1,1600,10,200,200"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carbon_adaptive_serves_the_large_variant_while_electricity_is_clean() {
    let variant = |model: &str, joules, quality| Variant {
        model: model.into(),
        energy_joules_per_row: Joules::new(joules),
        quality,
    };
    let variants = vec![variant("digits-s", 0.1, 0.97), variant("digits-m", 0.3, 0.99)];
    let options = PolicyOptions {
        profiles: profiles(BY_BATCH, &[("digits-s", SIZES), ("digits-m", SIZES)]),
        families: BTreeMap::from([("digits".into(), variants)]),
        carbon_adaptive: CarbonAdaptiveOptions { interval_seconds: 0.1, ..CarbonAdaptiveOptions::default() },
        ..PolicyOptions::default()
    };
    let family = "[[variants]]\nmodel = \"digits-s\"\nquality = 0.97\n[[variants]]\nmodel = \"digits-m\"\nquality = 0.99\n";
    let live = Setup {
        policy: "carbon-adaptive",
        options,
        family: Some(family),
        carbon_intensity: Some(steps(&[(0.0, 300.0), (0.7, 100.0)])),
        ..Setup::default()
    }
    .start()
    .await;
    let _load = live.load("digits", 50).await;
    let active = || {
        let status = live.server.control().status();
        status.families.first().and_then(|family| family.active.as_ref().map(ToString::to_string))
    };
    until("the large one", || active().as_deref() == Some("digits-m")).await;
    until("the small one again", || active().as_deref() == Some("digits-s")).await;
    until("the large one again", || active().as_deref() == Some("digits-m")).await;
    let asked = live.client().await.model_infer(request("digits")).await.unwrap().into_inner();
    assert!(["digits-s", "digits-m"].contains(&asked.model_name.as_str()));

    let switches = live.server.control().decisions(100);
    let switches: Vec<_> = switches.iter().filter(|record| !record.decision.variants.is_empty()).collect();
    assert!(switches.len() >= 3, "{switches:?}");
    for record in switches {
        let to = record.decision.variants["digits"].as_str();
        let Some((_, Reason::VariantForCarbon { carbon_intensity, .. })) = record.decision.reasons.first()
        else {
            panic!("no reason in {record:?}");
        };
        assert_eq!(to == "digits-m", carbon_intensity.get() == 100.0, "{record:?}");
    }
    let (_, status) = http_json(live.server.addresses().admin, "GET", "/wattle/v1/status", "").await;
    let family: &Value = &status["status"]["families"][0];
    assert!(
        family["switches"].as_u64().unwrap() >= 3 && family["asked_rows"].as_u64().unwrap() > 0,
        "{family}"
    );
    live.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cofris_turns_clock_and_compute_units_down_with_the_load_and_up_again() {
    let columns = "batch_size,instances,core_clock_mhz,compute_units,throughput_rps,latency_ms_mean,\
                   power_watts_mean,power_watts_max";
    let rows: &[&str] = &[
        "1,1,925,30,100,10,70,70",
        "1,1,925,60,200,5,90,90",
        "1,1,1725,30,200,5,110,110",
        "1,1,1725,60,400,2.5,170,170",
    ];
    let spec = bundled("amd-mi50").unwrap();
    let mut profiles = profiles(columns, &[("digits-s", rows)]);
    for profile in profiles.values_mut() {
        *profile = gating::apply(profile, &spec, gating_of("cofris-cu")).unwrap();
    }
    let mut options = PolicyOptions {
        profiles,
        latency_objectives: BTreeMap::from([("digits-s".into(), Duration::from_millis(300))]),
        ..PolicyOptions::default()
    };
    options.least_power.interval_seconds = 0.1;
    let live = Setup { policy: "cofris-cu", options, ..Setup::default() }.start().await;
    let knobs =
        || [DeviceKnob::CoreClock, DeviceKnob::ComputeUnits].map(|knob| live.device.knob(knob).unwrap());
    assert_eq!(knobs()[0], 1725.0, "full clock at first");
    let load = live.load("digits-s", 20).await;
    until("a slow device is enough for little load", || knobs() == [925.0, 30.0]).await;
    load.set_rate(300);
    until("a fast one is needed", || knobs() == [1725.0, 60.0]).await;
    load.set_rate(20);
    until("a slow one again", || knobs() == [925.0, 30.0]).await;
    let because: Vec<String> =
        live.server.control().decisions(50).into_iter().flat_map(|record| record.because).collect();
    assert!(because.iter().all(|why| why.starts_with("digits-s: ")), "{because:?}");
    live.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dvfs_turns_the_core_clock_to_what_fits_the_cap() {
    let columns = "batch_size,instances,core_clock_mhz,throughput_rps,latency_ms_mean,power_watts_mean,\
                   power_watts_max";
    let rows: &[&str] = &[
        "1,1,500,125,8,60,60",
        "4,1,500,400,10,70,70",
        "1,1,1000,250,4,90,90",
        "4,1,1000,800,5,110,110",
        "1,1,1500,500,2,160,160",
        "4,1,1500,1600,2.5,200,200",
    ];
    let mut options =
        PolicyOptions { profiles: profiles(columns, &[("digits-s", rows)]), ..Default::default() };
    options.dvfs.batch_size = 4;
    options.dvfs.band_low = 0.5;
    let power_cap = Some(steps(&[(0.0, 220.0)]));
    let live = Setup { policy: "dvfs", options, power_cap, ..Setup::default() }.start().await;
    let clock = || live.device.knob(DeviceKnob::CoreClock).unwrap();
    // More than any clock serves: the queue is never empty, and what it can't take is told so.
    let mut client = live.client().await;
    let load = tokio::spawn(async move {
        let requests = tokio_stream::iter(std::iter::repeat_with(|| request("digits-s")));
        let mut answers = client.model_stream_infer(requests).await.unwrap().into_inner();
        while answers.message().await.unwrap().is_some() {}
    });
    let set_cap = |watts| live.server.control().set_cap(CapOverride::of_watts(watts).unwrap());
    until("the highest clock", || clock() == 1500.0).await;
    set_cap(120.0);
    until("the clock that fits 120 W", || clock() == 1000.0).await;
    set_cap(80.0);
    until("the clock that fits 80 W", || clock() == 500.0).await;
    load.abort();
    live.server.stop().await;
    assert_eq!(live.device.knob(DeviceKnob::CoreClock), Some(1500.0), "put back as it was found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proactive_cap_handling_turns_down_before_a_configured_cap_falls() {
    let options = PolicyOptions {
        profiles: profiles(BY_BATCH, &[("digits-s", SIZES)]),
        cap_handling: CapHandlingOptions {
            mode: CapHandlingMode::Proactive,
            lead_seconds: 0.8,
            margin_max_share: 0.0,
            ..CapHandlingOptions::default()
        },
        ..PolicyOptions::default()
    };
    let caps = steps(&[(0.0, 210.0), (2.0, 120.0)]);
    let live =
        Setup { policy: "combination", options, power_cap: Some(caps), ..Setup::default() }.start().await;
    let _load = live.load("digits-s", 200).await;
    let ahead = || {
        let records = live.server.control().decisions(256);
        let record = records.into_iter().rev().find(|record| {
            let is_ahead = |(_, reason): &(_, Reason)| {
                matches!(reason, Reason::CapAhead { cap_watts_shown, .. } if cap_watts_shown.get() == 120.0)
            };
            record.decision.turns_something() && record.decision.reasons.iter().any(is_ahead)
        })?;
        Some((record.power_cap_watts, record.decision.serving["digits-s"].batch_size))
    };
    until("turned down while the high cap is in force", || ahead().is_some()).await;
    assert_eq!(ahead().unwrap(), (Some(Watts::new(210.0)), Some(4)));
    let lowered = live.clock.now();
    until("the cap has fallen and risen", || live.clock.now() - lowered > Duration::from_secs(3)).await;
    let violated = live.server.control().window().violation_seconds;
    assert!(violated <= TICK.as_secs_f64() * 2.0, "{violated} s over the cap");
    live.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_tick_is_held_against_the_cap_that_was_in_force_when_it_began() {
    let caps = steps(&[(0.0, 210.0), (0.13, 120.0), (0.31, 90.0), (0.4, 60.0)]);
    let options =
        PolicyOptions { profiles: profiles(BY_BATCH, &[("digits-s", SIZES)]), ..PolicyOptions::default() };
    let power_cap = Some(caps.clone());
    let live = Setup { policy: "fixed", options, power_cap, ..Setup::default() }.start().await;
    let _load = live.load("digits-s", 50).await;
    until("enough ticks", || live.server.control().power_points().len() > 25).await;
    let points = live.server.control().power_points();
    for pair in points.windows(2) {
        let began = Timestamp::from_duration(Duration::from_secs_f64(pair[0].seconds));
        assert_eq!(pair[1].power_cap_watts.map(Watts::get), caps.at(began), "{pair:?}");
    }
    live.server.stop().await;
}
