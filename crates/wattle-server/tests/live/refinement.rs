//! A running server whose device draws more than its profiles say.

use wattle_core::policies::PolicyOptions;
use wattle_core::profile::Profile;
use wattle_core::provenance::Basis;
use wattle_core::refinement::{RefinedFigure, RefinementOptions};
use wattle_core::units::Watts;

use super::server::{Live, Setup, http, http_json, profiles, request, steps, until};

const BY_BATCH: &str = "batch_size,instances,throughput_rps,latency_ms_mean,power_watts_mean,power_watts_max";
const SIZES: &[&str] =
    &["1,1,250,4,60,60", "4,1,667,6,110,110", "8,1,1000,8,150,150", "16,1,1600,10,200,200"];
const IDLE: Watts = Watts::new(50.0);

/// A device that draws 30 % more above idle, under a cap of 165 W: in truth a batch size of 4 is the most
/// that fits, by the profile it is 8. More is asked than is served.
async fn start(refinement: RefinementOptions) -> Live {
    let profiles = profiles(BY_BATCH, &[("digits-s", SIZES)]);
    let in_truth = profiles.iter().map(|(name, profile)| (name.clone(), profile.scaled(1.0, 1.3, IDLE)));
    let in_truth = Some(in_truth.collect());
    let options = PolicyOptions { profiles, refinement, ..PolicyOptions::default() };
    let power_cap = Some(steps(&[(0.0, 165.0)]));
    let live =
        Setup { policy: "combination", options, in_truth, power_cap, ..Setup::default() }.start().await;
    let mut client = live.client().await;
    tokio::spawn(async move {
        let requests = tokio_stream::iter(std::iter::repeat_with(|| request("digits-s")));
        let mut answers = client.model_stream_infer(requests).await.unwrap().into_inner();
        while let Ok(Some(_)) = answers.message().await {}
    });
    live
}

fn batch_size(live: &Live) -> Option<u32> {
    let status = live.server.control().status();
    status.models.first().map(|model| model.setting.batch_size)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_is_off_is_refined_shown_and_can_be_saved() {
    let live = start(RefinementOptions::default()).await;
    let admin = live.server.addresses().admin;
    let power_ratio = || {
        let status = live.server.control().status();
        let power = status.profile_drift.iter().find(|drift| drift.figure == RefinedFigure::Power)?;
        Some(power.ratio)
    };
    until("what the device draws is known", || {
        power_ratio().is_some_and(|ratio| (1.25..1.35).contains(&ratio))
    })
    .await;
    until("the policy plans with it", || batch_size(&live) == Some(4)).await;

    let (status, text) = http(admin, "GET", "/wattle/v1/models/digits-s/profile", "").await;
    assert_eq!(status, 200, "{text}");
    let saved = Profile::parse(&text, "saved.csv").unwrap();
    let eight = saved.rows.iter().find(|row| row.point.batch_size == 8).unwrap();
    let power = eight.power_watts_max.unwrap().get();
    assert!(power > 165.0 && power < 190.0, "{power}");
    assert_eq!(eight.power_basis, Basis::Modelled);

    let (_, metrics) = http(admin, "GET", "/metrics", "").await;
    let of_power = "wattle_profile_drift_ratio{device=\"simulated\",figure=\"power\"} 1.";
    assert!(metrics.contains(of_power), "{metrics}");
    assert!(metrics.contains("wattle_profile_drift_ratio{model=\"digits-s\",figure=\"batch_time\"}"));
    let (_, status) = http_json(admin, "GET", "/wattle/v1/status", "").await;
    assert_eq!(status["status"]["profile_drift"][0]["figure"], "power");
    live.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_refinement_is_turned_off_there_is_no_refined_profile() {
    let live = start(RefinementOptions { enabled: false, ..RefinementOptions::default() }).await;
    until("a decision", || batch_size(&live) == Some(8)).await;
    let admin = live.server.addresses().admin;
    let (status, told) = http_json(admin, "GET", "/wattle/v1/models/digits-s/profile", "").await;
    assert_eq!(status, 404);
    assert!(told["error"].as_str().unwrap().contains("refinement is turned off"), "{told}");
    assert!(live.server.control().status().profile_drift.is_empty());
    let (status, _) = http(admin, "GET", "/wattle/v1/models/nobody/profile", "").await;
    assert!(status >= 400);
    live.server.stop().await;
}
