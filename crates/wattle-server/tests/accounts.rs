//! Whose energy it is, over the protocols that clients speak: classes are named, families called, costs told,
//! and the books close. On a simulated device, so that there is power on any machine.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wattle_core::carbon::CarbonAccounting;
use wattle_core::id::RequestClass;
use wattle_core::ledger::{Account, PowerSplit, Totals};
use wattle_core::profile::Profile;
use wattle_core::signal::{Quantity, Signal, SignalHead};
use wattle_core::units::Watts;
use wattle_server::control_loop::SignalSource;
use wattle_server::data_plane::proto;
use wattle_server::data_plane::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use wattle_server::data_plane::proto::infer_parameter::ParameterChoice;
use wattle_server::serve::Server;

const PROFILE: &str = "\
# wattle_profile = 1
# model = \"digits-xs\"
# device = \"made up\"
# runtime = \"made up\"
# idle_power_watts = 50.0
# power_source = \"made up for a test\"
batch_size,instances,cores_per_instance,throughput_rps,latency_ms_mean,power_watts_mean,power_watts_max,basis,power_basis,samples
1,1,1,250,4,80,80,modelled,modelled,1
16,1,1,1600,10,200,200,modelled,modelled,1
";

/// With a family `digits`, a carbon intensity, a tenant's header, and two classes at most.
async fn start() -> (Server, TempDir) {
    let (server, folder, _) = common::start_with(PROFILE, "fixed", |config| {
        std::fs::create_dir(config.models.join("digits")).unwrap();
        let family = "[[variants]]\nmodel = \"digits-xs\"\nquality = 0.9\n";
        std::fs::write(config.models.join("digits/family.toml"), family).unwrap();
        let head = SignalHead::configured(Quantity::CarbonIntensity, "assumed: a test's constant");
        config.carbon_intensity = Some(SignalSource::Configured(Signal::Constant(360.0), Arc::new(head)));
        config.accounting = CarbonAccounting { pue: 1.5, ..CarbonAccounting::default() };
        config.accounts.class_header = Some("x-tenant".parse().unwrap());
        config.accounts.max_classes = 2;
        let profile = Profile::parse(PROFILE, "a test").unwrap();
        let profiles = BTreeMap::from([(common::MODEL.into(), profile)]);
        config.accounts.split = PowerSplit::of_profiles(&profiles, Some(Watts::new(5.0)), 2);
    })
    .await;
    (server, folder)
}

struct Http {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// One request over a connection of its own.
fn http(address: SocketAddr, head: &str, body: &[u8]) -> Http {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len())
        .unwrap();
    stream.write_all(body).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = Vec::new();
    reader.read_to_end(&mut body).unwrap();
    Http { status, headers, body }
}

fn infer(address: SocketAddr, name: &str, headers: &str, parameters: Value) -> Http {
    let input = json!({ "name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": vec![0.0; 64] });
    let body = json!({ "inputs": [input], "parameters": parameters }).to_string();
    http(address, &format!("POST /v2/models/{name}/infer HTTP/1.1{headers}"), body.as_bytes())
}

fn keys(answer: &Value) -> Vec<&str> {
    answer["parameters"].as_object().unwrap().keys().map(String::as_str).collect()
}

/// The headers of ours that an answer carries.
fn of_ours(headers: &BTreeMap<String, String>) -> Vec<&str> {
    headers.keys().map(String::as_str).filter(|name| name.starts_with("x-wattle")).collect()
}

const COSTS: [&str; 5] = [
    "wattle_carbon_mg",
    "wattle_carbon_source",
    "wattle_energy_mj",
    "wattle_energy_uncertainty",
    "wattle_power_source",
];
const COST_HEADERS: [&str; 4] =
    ["x-wattle-carbon-mg", "x-wattle-energy-mj", "x-wattle-energy-uncertainty", "x-wattle-provenance"];

/// Asks until what is told is complete: the first answers come before anything was metered and booked.
fn until_told(ask: impl Fn() -> Http) -> (Value, Http) {
    for _ in 0..600 {
        let answer = ask();
        let length = answer.headers.get("inference-header-content-length");
        let length = length.map_or(answer.body.len(), |length| length.parse().unwrap());
        let body: Value = serde_json::from_slice(&answer.body[..length]).unwrap();
        assert_eq!(answer.status, 200, "{body}");
        if keys(&body) == COSTS {
            return (body, answer);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("nothing was metered and booked while requests were answered");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_binary_and_grpc_tell_the_cost_to_who_asks_and_to_nobody_else() {
    let (server, _folder) = start().await;
    let at = server.addresses();
    tokio::task::spawn_blocking(move || {
        let silent = infer(at.http, "digits-xs", "", json!({}));
        let body: Value = serde_json::from_slice(&silent.body).unwrap();
        assert!(body.get("parameters").is_none() && of_ours(&silent.headers).is_empty(), "{body}");

        let asked = || infer(at.http, "digits", "", json!({ "wattle_energy": true }));
        let (body, answer) = until_told(asked);
        assert_eq!(body["model_name"], "digits-xs", "the answer names the variant that gave it");
        let told = &body["parameters"];
        // 360 g/kWh over 1.5 times the energy: 0.15 g/kJ.
        let ratio = number(&told["wattle_carbon_mg"]) / number(&told["wattle_energy_mj"]);
        assert!((ratio - 1.5e-4).abs() < 1e-9, "{told}");
        assert_eq!(told["wattle_carbon_source"], "assumed: a test's constant, PUE 1.5");
        assert!(number(&told["wattle_energy_uncertainty"]) >= 0.0);
        let source = told["wattle_power_source"].as_str().unwrap();
        assert!(source.contains("a request's share of it is modelled from the core time of its batch"), "{source}");
        assert_eq!(of_ours(&answer.headers), COST_HEADERS);
        for (header, key) in [
            ("x-wattle-energy-mj", "wattle_energy_mj"),
            ("x-wattle-carbon-mg", "wattle_carbon_mg"),
            ("x-wattle-energy-uncertainty", "wattle_energy_uncertainty"),
        ] {
            let (header, told) = (answer.headers[header].parse::<f64>().unwrap(), number(&told[key]));
            assert!((header - told).abs() <= 1e-12 * told, "{key}: {header} and {told}");
        }
        let provenance = &answer.headers["x-wattle-provenance"];
        assert!(provenance.starts_with("modelled; power modelled: "), "{provenance}");

        // A raw binary request has no parameters: it asks by its headers.
        let head = "POST /v2/models/digits-xs/infer HTTP/1.1\r\ninference-header-content-length: 0\r\nx-wattle-energy: 1";
        let (body, answer) = until_told(|| http(at.http, head, &[0; 256]));
        assert_eq!((of_ours(&answer.headers), keys(&body)), (COST_HEADERS.to_vec(), COSTS.to_vec()));
    })
    .await
    .unwrap();

    let mut client = GrpcInferenceServiceClient::connect(format!("http://{}", at.grpc)).await.unwrap();
    let silent = client.model_infer(grpc_request(&[])).await.unwrap().into_inner();
    assert!(silent.parameters.is_empty());
    let asked = grpc_request(&[("wattle_energy", ParameterChoice::BoolParam(true))]);
    let told = client.model_infer(asked).await.unwrap().into_inner();
    let mut found: Vec<&str> = told.parameters.keys().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!((told.model_name.as_str(), found), ("digits-xs", COSTS.to_vec()));
    server.stop().await;
}

fn grpc_request(parameters: &[(&str, ParameterChoice)]) -> proto::ModelInferRequest {
    let parameter = |(name, choice): &(&str, ParameterChoice)| {
        ((*name).to_owned(), proto::InferParameter { parameter_choice: Some(choice.clone()) })
    };
    proto::ModelInferRequest {
        model_name: "digits".into(),
        inputs: vec![proto::model_infer_request::InferInputTensor {
            name: "image".into(),
            datatype: "FP32".into(),
            shape: vec![1, 1, 8, 8],
            ..Default::default()
        }],
        raw_input_contents: vec![vec![0; 256].into()],
        parameters: parameters.iter().map(parameter).collect(),
        ..Default::default()
    }
}

/// The ledger's totals, once `requests` are booked.
async fn booked(server: &Server, requests: u64) -> Totals {
    for _ in 0..600 {
        let totals = server.control().status().ledger.clone();
        let found: u64 = totals.by_model.values().map(|of| of.requests).sum();
        assert!(found <= requests, "{found} of {requests}");
        if found == requests {
            return totals;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not all of {requests} requests were booked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn energy_is_booked_to_model_family_and_class_and_the_books_close() {
    let (server, _folder) = start().await;
    let at = server.addresses();
    tokio::task::spawn_blocking(move || {
        let ask = |name: &str, headers: &str, parameters: Value| {
            let answer = infer(at.http, name, headers, parameters);
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        };
        (0..2).for_each(|_| ask("digits-xs", "", json!({})));
        (0..3).for_each(|_| ask("digits", "", json!({ "wattle_class": "gold" })));
        (0..4).for_each(|_| ask("digits", "\r\nX-Wattle-Class: gold", json!({})));
        (0..5).for_each(|_| ask("digits-xs", "\r\nX-Tenant: free", json!({})));
        // Named twice, but the same.
        ask("digits-xs", "\r\nX-Tenant: free\r\nX-Wattle-Class: free", json!({ "wattle_class": "free" }));
        // One class too many.
        (0..2).for_each(|_| ask("digits", "", json!({ "wattle_class": "third" })));
    })
    .await
    .unwrap();
    let mut client = GrpcInferenceServiceClient::connect(format!("http://{}", at.grpc)).await.unwrap();
    let named = grpc_request(&[("wattle_class", ParameterChoice::StringParam("gold".into()))]);
    client.model_infer(named).await.unwrap();
    let mut by_metadata = tonic::Request::new(grpc_request(&[]));
    by_metadata.metadata_mut().insert("x-tenant", "gold".parse().unwrap());
    client.model_infer(by_metadata).await.unwrap();
    let mut stream = tonic::Request::new(tokio_stream::iter(vec![grpc_request(&[]); 2]));
    stream.metadata_mut().insert("x-wattle-class", "free".parse().unwrap());
    let mut answers = client.model_stream_infer(stream).await.unwrap().into_inner();
    for _ in 0..2 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.error_message, "");
    }

    let totals = booked(&server, 21).await;
    let requests = |family: Option<&str>, class: Option<&str>| {
        let (family, class) = (family.map(Into::into), class.map(Into::into));
        let account = Account { model: "digits-xs".into(), family, class };
        totals.by_account.get(&account).map_or(0, |of| of.requests)
    };
    let found = [
        requests(None, None),
        requests(Some("digits"), Some("gold")),
        requests(None, Some("free")),
        requests(Some("digits"), Some("free")),
        requests(Some("digits"), Some("other")),
    ];
    assert_eq!((found, totals.by_account.len()), ([2, 9, 6, 2, 2], 5));
    assert_eq!((totals.by_family["digits"].requests, totals.by_class["free"].requests), (13, 8));
    let closure = totals.closure();
    assert!(closure.attributed.get() > 0.0 && closure.idle.get() > 0.0, "{closure:?}");
    assert!(closure.difference.get().abs() <= 1e-9 * closure.metered.get(), "{closure:?}");
    let gold = totals.by_class[&RequestClass::from("gold")];
    assert!(gold.shared.get() > 0.0 && gold.shared.get() < gold.energy.get() && gold.carbon.is_some());

    let admin = at.admin;
    let (status, metrics) = tokio::task::spawn_blocking(move || {
        let get = |path: &str| http(admin, &format!("GET {path} HTTP/1.1"), b"").body;
        let status: Value = serde_json::from_slice(&get("/wattle/v1/status")).unwrap();
        (status, String::from_utf8(get("/metrics")).unwrap())
    })
    .await
    .unwrap();
    let status = &status["status"];
    assert_eq!(status["classes"], json!({ "known": 2, "limit": 2, "overflowed_requests": 2 }));
    assert_eq!(status["accounts"].as_array().unwrap().len(), 5);
    assert_eq!(status["ledger"]["by_family"]["digits"]["requests"], 13);
    let closure = &status["closure"];
    let [metered, attributed, idle] =
        ["metered_joules", "attributed_joules", "idle_joules"].map(|key| number(&closure[key]));
    assert!((metered - attributed - idle).abs() <= 1e-9 * metered, "{closure}");
    assert!(status["attribution"]["is_weighted"].as_bool().unwrap(), "{}", status["attribution"]);
    for name in ["wattle_account_energy_joules_total", "wattle_account_emissions_grams_total"] {
        let line = metrics.lines().find(|line| {
            line.starts_with(name) && line.contains("class=\"gold\"") && line.contains("family=\"digits\"")
        });
        let value: f64 = line.unwrap().split_whitespace().last().unwrap().parse().unwrap();
        assert!(value > 0.0 && line.unwrap().contains("model=\"digits-xs\""), "{line:?}");
    }
    assert!(metrics.contains("wattle_class_overflow_requests_total 2"), "{metrics}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_is_none_is_told_what_was_expected() {
    let (server, _folder) = start().await;
    let at = server.addresses();
    tokio::task::spawn_blocking(move || {
        let two = "the request names two classes, 'gold' and 'free', expected one";
        for (headers, parameters, words) in [
            ("", json!({ "wattle_class": 7 }), "parameter 'wattle_class' is 7, expected a string"),
            ("", json!({ "wattle_class": "a b" }), "class \"a b\" is no name of a class, expected 1 to 64"),
            ("\r\nx-wattle-class: a,b", json!({}), "class \"a,b\" is no name of a class"),
            ("\r\nx-wattle-class: free", json!({ "wattle_class": "gold" }), two),
            ("\r\nx-wattle-class: gold\r\nx-tenant: free", json!({}), two),
            ("\r\nx-wattle-class: ä", json!({}), "is no name of a class"),
            ("\r\nx-wattle-energy: yes", json!({}), "header 'x-wattle-energy' is \"yes\", expected 1 or 0"),
        ] {
            let answer = infer(at.http, "digits", headers, parameters);
            let text = String::from_utf8(answer.body).unwrap().replace("\\\"", "\"");
            assert!(answer.status == 400 && text.contains(words), "{text}");
        }
    })
    .await
    .unwrap();
    let mut client = GrpcInferenceServiceClient::connect(format!("http://{}", at.grpc)).await.unwrap();
    let number = grpc_request(&[("wattle_class", ParameterChoice::Int64Param(7))]);
    let error = client.model_infer(number).await.unwrap_err();
    assert!(
        error.message().contains("parameter 'wattle_class' is")
            && error.code() == tonic::Code::InvalidArgument
    );
    server.stop().await;
}
