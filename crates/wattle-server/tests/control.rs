//! What the control loop promises: a violation is acted on within one fast tick, a new cap too, and
//! the policy decides fast. On a simulated device, so that power is exactly what a profile says.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod common;

use std::time::{Duration, Instant};

use tempfile::TempDir;
use wattle_core::id::ModelName;
use wattle_core::signal::Signal;
use wattle_server::control_loop::{CapOverride, PowerPoint};
use wattle_server::serve::Server;

use common::one_row;

/// Power grows with the batch size: 60 W at 1, 200 W at 16; idle 50 W.
const PROFILE: &str = "\
# wattle_profile = 1
# model = \"digits-xs\"
# device = \"made up\"
# runtime = \"made up\"
# idle_power_watts = 50.0
# power_source = \"made up for a test\"
batch_size,instances,throughput_rps,latency_ms_mean,power_watts_mean,power_watts_max,basis,power_basis,samples
1,1,250,4,60,60,modelled,modelled,1
2,1,400,5,80,80,modelled,modelled,1
4,1,667,6,110,110,modelled,modelled,1
8,1,1000,8,150,150,modelled,modelled,1
16,1,1600,10,200,200,modelled,modelled,1
";

/// A server under a constant cap, and the folder of its models, to be held for as long.
async fn start(policy: &str, cap_watts: impl Into<Option<f64>>) -> (Server, TempDir) {
    let (server, folder, _) = common::start(PROFILE, policy, cap_watts.into().map(Signal::Constant)).await;
    (server, folder)
}

/// Keeps the model's queue full until told to stop.
fn saturate(server: &Server) -> tokio::task::JoinHandle<()> {
    let served = server.repository().find("digits-xs", "").unwrap();
    tokio::spawn(async move {
        let mut waiting = std::collections::VecDeque::new();
        loop {
            while waiting.len() < 64 {
                waiting.push_back(served.executor.submit(one_row()).unwrap());
            }
            let Some(oldest) = waiting.pop_front() else { return };
            oldest.await.unwrap().unwrap();
        }
    })
}

fn batch_size(server: &Server) -> u32 {
    server.repository().find("digits-xs", "").unwrap().executor.setting().batch_size
}

async fn until(what: &str, limit: Duration, is_so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_sizer_climbs_falls_at_once_and_climbs_back_as_the_cap_moves() {
    let (server, _folder) = start("batch-sizer", 210.0).await;
    let load = saturate(&server);
    until("climbs to the size that fits 210 W", Duration::from_secs(10), || batch_size(&server) == 16).await;

    server.control().set_cap(CapOverride::of_watts(120.0).unwrap());
    until("goes down when the cap falls", Duration::from_secs(2), || batch_size(&server) < 16).await;
    until("settles where 120 W is kept", Duration::from_secs(10), || {
        server.control().status().power_watts.is_some_and(|power| power.get() <= 120.0)
            && batch_size(&server) <= 4
    })
    .await;

    server.control().clear_cap();
    until("climbs back when the cap rises", Duration::from_secs(10), || batch_size(&server) == 16).await;
    let decisions = server.control().decisions(100);
    assert!(decisions.iter().any(|decision| decision.because.iter().any(|why| why.contains("over the cap"))));
    load.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_violation_that_is_seen_is_acted_on_within_one_tick() {
    let (server, _folder) = start("batch-sizer", 210.0).await;
    let load = saturate(&server);
    until("climbs", Duration::from_secs(10), || batch_size(&server) == 16).await;
    let before = server.control().status().uptime_seconds;
    server.control().set_cap(CapOverride::of_watts(120.0).unwrap());
    until("goes down", Duration::from_secs(2), || batch_size(&server) < 16).await;

    let decisions = server.control().decisions(100);
    let acted = decisions
        .iter()
        .rev()
        .find(|decision| {
            decision.power_cap_watts.is_some_and(|cap| cap.get() == 120.0)
                && decision.decision.turns_something()
        })
        .expect("the policy turned something");
    assert!(acted.power_watts_max.is_some_and(|power| power.get() > 120.0), "{acted:?}");
    // Counted in ticks, not in time: a busy machine may stretch them. One may have ended before the cap
    // was set.
    let is_between = |point: &&PowerPoint| point.seconds > before && point.seconds <= acted.seconds;
    let points = server.control().power_points();
    let ticks = points.iter().filter(is_between).count();
    assert!(ticks <= 2, "{ticks} ticks from the cap at {before} s to {} s", acted.seconds);
    load.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn combination_takes_the_best_point_under_the_cap_and_parks_when_none_fits() {
    let (server, _folder) = start("combination", 160.0).await;
    let load = saturate(&server);
    until("takes b = 8", Duration::from_secs(5), || batch_size(&server) == 8).await;
    server.control().set_cap(CapOverride::of_watts(55.0).unwrap());
    let instances = || server.repository().find("digits-xs", "").unwrap().executor.setting().instances;
    until("parks", Duration::from_secs(5), || instances() == 0).await;
    server.control().set_cap(CapOverride::of_watts(85.0).unwrap());
    until("serves again at b = 2", Duration::from_secs(5), || instances() == 1 && batch_size(&server) == 2)
        .await;
    load.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_books_what_the_device_draws_and_what_models_that_are_gone_have_done() {
    let (server, _folder) = start("fixed", 210.0).await;
    let load = saturate(&server);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    load.abort();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let name = ModelName::from("digits-xs");
    let answered = server.repository().stats()[&name].completed_requests;
    server.repository().unload("digits-xs").unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;

    let ledger = server.control().status().ledger.clone();
    assert_eq!(ledger.by_model[&name].requests, answered);
    // 60 W while it computes at a batch size of 1, 50 W idle.
    let seconds = (ledger.end.unwrap() - ledger.start.unwrap()).as_secs_f64();
    let busy = ledger.by_model[&name].core_seconds;
    let expected = 50.0 * seconds + 10.0 * busy;
    let found = ledger.metered.get();
    assert!((found - expected).abs() < 0.1 * expected, "{found} J metered, expected {expected} J");
    let attributed = ledger.by_model[&name].energy.get();
    assert!((attributed - 10.0 * busy).abs() < 0.2 * 10.0 * busy, "{attributed} J for {busy} s at 10 W");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_that_goes_away_lets_a_parked_model_serve_again() {
    let (server, _folder) = start("combination", None).await;
    let load = saturate(&server);
    let instances = || server.repository().find("digits-xs", "").unwrap().executor.setting().instances;
    until("takes the best point of all", Duration::from_secs(5), || batch_size(&server) == 16).await;
    server.control().set_cap(CapOverride::of_watts(0.1).unwrap());
    until("parks", Duration::from_secs(5), || instances() == 0).await;
    server.control().clear_cap();
    until("serves again", Duration::from_secs(5), || instances() == 1 && batch_size(&server) == 16).await;
    load.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_is_asked_at_once_about_models_that_came_or_went() {
    // `fixed` asks to be asked again after ten seconds; the loop ticks once a second while nobody works.
    let (server, _folder) = start("fixed", None).await;
    let asked = || server.control().reasons().values().sum::<u64>();
    until("the policy is asked about the model", Duration::from_secs(5), || asked() >= 2).await;
    let before = asked();
    server.repository().unload("digits-xs").unwrap();
    until("the policy is asked about the rest", Duration::from_secs(5), || asked() > before).await;
    server.stop().await;
}
