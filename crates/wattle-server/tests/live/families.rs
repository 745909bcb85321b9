//! Families under load: what clients ask of a family is answered, whatever is switched or unloaded
//! meanwhile, and the answer names the variant.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use wattle_core::family::Variant;
use wattle_core::id::{FamilyName, ModelName};
use wattle_core::knob::ServingChange;
use wattle_core::observation::Observation;
use wattle_core::policies::{PolicyOptions, build};
use wattle_core::policy::{Decision, Policy, Reason};
use wattle_core::units::Joules;
use wattle_server::data_plane::proto;
use wattle_sim::epoch_level;
use wattle_sim::scenario::Loaded;

use super::server::{IsOver, Live, Setup, http, http_json, profiles, request, steps};

const COLUMNS: &str = "batch_size,instances,throughput_rps,latency_ms_mean,power_watts_mean,power_watts_max";
const FAMILY: &str = "[[variants]]\nmodel = \"digits-s\"\nquality = 0.97\n\
                      [[variants]]\nmodel = \"digits-m\"\nquality = 0.99\n";

async fn start() -> Live {
    Setup { policy: "fixed", ..setup() }.start().await
}

fn setup() -> Setup {
    let rows: &[&str] = &["1,1,1000,1,60,60", "16,1,8000,2,80,80"];
    let options = PolicyOptions {
        profiles: profiles(COLUMNS, &[("digits-s", rows), ("digits-m", rows)]),
        ..PolicyOptions::default()
    };
    Setup { options, family: Some(FAMILY), ..Setup::default() }
}

/// Clients that ask the family without a pause, until told to stop: how often each model answered.
async fn ask(live: &Live, clients: usize, is_over: &IsOver) -> Vec<JoinHandle<BTreeMap<String, u64>>> {
    let client = live.client().await;
    let one = |_| {
        let (mut client, is_over) = (client.clone(), Arc::clone(is_over));
        tokio::spawn(async move {
            let mut answers = BTreeMap::new();
            while !is_over.load(Ordering::Relaxed) {
                let answer = client.model_infer(request("digits")).await;
                let answer = answer.expect("every request is answered").into_inner();
                assert_eq!(answer.raw_output_contents[0].len(), 40, "ten scores");
                *answers.entry(answer.model_name).or_default() += 1;
            }
            answers
        })
    };
    (0..clients).map(one).collect()
}

async fn sum(clients: Vec<JoinHandle<BTreeMap<String, u64>>>) -> BTreeMap<String, u64> {
    let mut sum = BTreeMap::new();
    for client in clients {
        for (model, answers) in client.await.unwrap() {
            *sum.entry(model).or_default() += answers;
        }
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_over_a_thousand_switches_and_each_answer_names_the_variant_that_gave_it() {
    let live = start().await;
    let is_over = IsOver::default();
    let clients = ask(&live, 8, &is_over).await;
    let repository = live.server.repository();
    let family = FamilyName::from("digits");
    for switch in 0..1000 {
        let model = ["digits-m", "digits-s"][switch % 2];
        repository.choose_variant(&family, &model.into()).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let answers = sum(clients).await;
    assert_eq!(answers.len(), 2, "both variants answered: {answers:?}");
    let stats = repository.stats();
    for (model, answers) in &answers {
        assert_eq!(
            stats[model.as_str()].completed_requests,
            *answers,
            "{model} answered what it is named for"
        );
    }
    let found = &repository.families()[&family];
    assert_eq!((found.switches(), found.asked_rows()), (1000, answers.values().sum()));
    live.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carbon_budget_switches_by_the_price_of_quality_as_in_its_replay_and_no_request_is_lost() {
    let variant = |model: &str, joules, quality| Variant {
        model: model.into(),
        energy_joules_per_row: Joules::new(joules),
        quality,
    };
    let mut setup = Setup {
        policy: "carbon-budget",
        carbon_intensity: Some(steps(&[(0.0, 300.0), (0.7, 100.0)])),
        ..setup()
    };
    let variants = vec![variant("digits-s", 0.1, 0.97), variant("digits-m", 0.3, 0.99)];
    setup.options.families = BTreeMap::from([("digits".into(), variants)]);
    setup.options.carbon_budget.quality_floor = Some(0.98);
    setup.options.carbon_budget.interval_seconds = 0.1;
    let options = setup.options.clone();
    let live = setup.start().await;
    let is_over = IsOver::default();
    let clients = ask(&live, 4, &is_over).await;
    let repository = live.server.repository();
    let family = FamilyName::from("digits");
    super::server::until("four switches", || repository.families()[&family].switches() >= 4).await;
    is_over.store(true, Ordering::Relaxed);
    let answers = sum(clients).await;
    assert_eq!(answers.len(), 2, "both variants answered: {answers:?}");
    assert_eq!(repository.families()[&family].asked_rows(), answers.values().sum::<u64>());
    let records = live.server.control().decisions(200);
    let switches: Vec<_> = records.iter().filter(|record| !record.decision.variants.is_empty()).collect();
    assert!(switches.len() >= 4, "{switches:?}");
    let mut chosen = BTreeSet::new();
    for record in switches {
        let to = record.decision.variants["digits"].as_str();
        let Some((_, Reason::VariantByPrice { carbon_intensity, .. })) = record.decision.reasons.first()
        else {
            panic!("no reason in {record:?}");
        };
        chosen.insert((carbon_intensity.get() as u64, to.to_owned()));
    }
    assert_eq!(chosen, BTreeSet::from([(100, "digits-m".to_owned()), (300, "digits-s".to_owned())]));
    assert_eq!(chosen, replayed("carbon-budget", &options), "the replay chooses the same");
    live.server.stop().await;
}

/// A policy, and what it chose at which carbon intensity whenever it switched.
struct Witness {
    policy: Box<dyn Policy>,
    switches: BTreeSet<(u64, String)>,
}

impl Policy for Witness {
    fn name(&self) -> &'static str {
        self.policy.name()
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let decision = self.policy.decide(seen);
        let variant = decision.variants.get("digits");
        let found = seen.carbon_intensity.zip(variant);
        self.switches.extend(found.map(|(grams, to)| (grams.get() as u64, to.to_string())));
        decision
    }
}

/// What a policy chooses at which carbon intensity in a replay of the same steps with the same variants.
fn replayed(policy: &str, options: &PolicyOptions) -> BTreeSet<(u64, String)> {
    let model = |name: &str, quality: f64, watts: u32| {
        format!(
            "[[models]]\nname = \"{name}\"\nquality = {quality}\nidle_power_watts = 0\nrows = [{{ batch_size = 1, \
             instances = 1, latency_ms_mean = 1, throughput_rps = 1000, power_watts_mean = {watts} }}]\n"
        )
    };
    let scenario = format!(
        "level = \"epoch\"\nspan_seconds = 14\nepoch_seconds = 0.1\n[[devices]]\nname = \"gpu\"\n{}{}\
         [[families]]\nname = \"digits\"\nactive = \"digits-s\"\nworkload = {{ kind = \"constant\", rate_rps = 500 }}\n\
         variants = [{{ model = \"digits-s\" }}, {{ model = \"digits-m\" }}]\n\
         [carbon_intensity]\nsteps = [[0, 300], [0.7, 100], [1.4, 300], [2.1, 100]]\nafter_end = \"repeat\"\n",
        model("digits-s", 0.97, 100),
        model("digits-m", 0.99, 300),
    );
    let loaded = Loaded::parse(&scenario, "families.toml", Path::new("")).unwrap();
    let mut witness = Witness { policy: build(policy, options).unwrap(), switches: BTreeSet::new() };
    epoch_level::run(&loaded.plan, &mut witness, 1, &mut |_| ());
    witness.switches
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_the_queue_of_a_variant_is_answered_by_it_and_the_next_by_the_new_one() {
    let live = start().await;
    let repository = live.server.repository();
    let park = |instances| {
        let change = ServingChange { instances: Some(instances), ..ServingChange::default() };
        repository.table()["digits-s"].turn(&change).unwrap();
    };
    park(0);
    let mut client = live.client().await;
    let waiting = tokio::spawn({
        let mut client = client.clone();
        async move { client.model_infer(request("digits")).await.unwrap().into_inner().model_name }
    });
    super::server::until("the request waits", || repository.stats()["digits-s"].queued_requests == 1).await;
    repository.choose_variant(&"digits".into(), &"digits-m".into()).unwrap();
    assert_eq!(client.model_infer(request("digits")).await.unwrap().into_inner().model_name, "digits-m");
    park(1);
    assert_eq!(waiting.await.unwrap(), "digits-s");
    live.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_chosen_variant_is_unloaded_under_load_the_other_answers() {
    let live = start().await;
    let is_over = IsOver::default();
    let clients = ask(&live, 4, &is_over).await;
    let repository = Arc::clone(live.server.repository());
    tokio::task::spawn_blocking(move || {
        for _ in 0..20 {
            repository.unload("digits-s").unwrap();
            std::thread::sleep(Duration::from_millis(10));
            repository.load("digits-s", None).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
    })
    .await
    .unwrap();
    is_over.store(true, Ordering::Relaxed);
    let answers = sum(clients).await;
    assert_eq!(answers.len(), 2, "both variants answered: {answers:?}");
    assert_eq!(live.server.repository().families()["digits"].switches(), 0, "nothing was chosen");
    live.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_has_metadata_readiness_configuration_and_statistics_as_a_model_has() {
    let live = start().await;
    let at = live.server.addresses();
    let get = |path: &'static str| async move { http_json(at.http, "GET", path, "").await };
    assert_eq!(get("/v2/models/digits/ready").await, (200, json!({ "name": "digits", "ready": true })));
    let (_, family) = get("/v2/models/digits").await;
    let (_, variant) = get("/v2/models/digits-s").await;
    assert_eq!(family["name"], "digits");
    assert_eq!(family["versions"], json!([]));
    for key in ["inputs", "outputs", "platform"] {
        assert_eq!(family[key], variant[key], "{key}");
    }
    assert_eq!(get("/v2/models/digits/config").await, get("/v2/models/digits-s/config").await);
    let (_, index) = http_json(at.http, "POST", "/v2/repository/index", "{}").await;
    let line = json!({ "name": "digits", "state": "READY", "reason": "family: digits-s answers" });
    assert_eq!(index[0], line);

    let data = vec!["0"; 64].join(",");
    let body =
        format!(r#"{{"inputs":[{{"name":"image","datatype":"FP32","shape":[1,1,8,8],"data":[{data}]}}]}}"#);
    let (status, answer) = http_json(at.http, "POST", "/v2/models/digits/infer", &body).await;
    assert_eq!((status, &answer["model_name"]), (200, &json!("digits-s")));
    live.server.repository().choose_variant(&"digits".into(), &ModelName::from("digits-m")).unwrap();
    let (_, answer) = http_json(at.http, "POST", "/v2/models/digits/infer", &body).await;
    assert_eq!(answer["model_name"], "digits-m");

    let (_, stats) = get("/v2/models/digits/stats").await;
    let of_variants: Vec<_> = stats["model_stats"].as_array().unwrap().iter().map(|of| &of["name"]).collect();
    assert_eq!(of_variants, ["digits-m", "digits-s"]);
    let (_, metrics) = http(at.admin, "GET", "/metrics", "").await;
    for line in [
        "wattle_family_active{family=\"digits\",model=\"digits-s\"} 0",
        "wattle_family_active{family=\"digits\",model=\"digits-m\"} 1",
        "wattle_family_switches_total{family=\"digits\"} 1",
        "wattle_family_rows_total{family=\"digits\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let (status, refused) = http_json(at.http, "POST", "/v2/repository/models/digits/unload", "{}").await;
    assert_eq!(status, 400, "{refused}");
    live.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_refused_wherever_a_family_is_named() {
    let live = start().await;
    let address = live.server.addresses().http;
    let told = "'digits' is a family and has no versions, found version 1; leave it out, or ask one of its \
                variants: digits-s, digits-m";
    let of_http = [("GET", ""), ("GET", "/ready"), ("GET", "/config"), ("GET", "/stats"), ("POST", "/infer")];
    for (method, end) in of_http {
        let path = format!("/v2/models/digits/versions/1{end}");
        assert_eq!(http_json(address, method, &path, "{}").await, (400, json!({ "error": told })), "{path}");
    }
    let mut client = live.client().await;
    let (name, version) = ("digits".to_owned(), "1".to_owned());
    let infer = proto::ModelInferRequest { model_version: "1".into(), ..request("digits") };
    let ready = proto::ModelReadyRequest { name: name.clone(), version: version.clone() };
    let metadata = proto::ModelMetadataRequest { name: name.clone(), version: version.clone() };
    let config = proto::ModelConfigRequest { name: name.clone(), version: version.clone() };
    let statistics = proto::ModelStatisticsRequest { name, version };
    let refused = [
        client.model_infer(infer).await.unwrap_err(),
        client.model_ready(ready).await.unwrap_err(),
        client.model_metadata(metadata).await.unwrap_err(),
        client.model_config(config).await.unwrap_err(),
        client.model_statistics(statistics).await.unwrap_err(),
    ];
    for status in refused {
        assert_eq!((status.code(), status.message()), (tonic::Code::InvalidArgument, told));
    }
    live.server.stop().await;
}
