//! A server on loopback with the bundled models, asked over its own ports.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use wattle_core::policies::{PolicyOptions, build};
use wattle_device::cpu::{CoreBudget, CpuDevice, CpuRoots};
use wattle_device::held::Held;
use wattle_runtime::rten::RtenRuntime;
use wattle_server::clock::Clock;
use wattle_server::data_plane::proto;
use wattle_server::data_plane::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use wattle_server::serve::{ServeConfig, Server};

fn examples(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(path)
}

async fn start() -> Server {
    let budget = CoreBudget::new(2);
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let device = CpuDevice::new("cpu".into(), &CpuRoots::default(), None, Arc::clone(&budget)).unwrap();
    let server = Server::start(ServeConfig {
        clock: Clock::start(),
        models: examples("models"),
        host: localhost,
        http_port: 0,
        grpc_port: 0,
        admin_host: localhost,
        metrics_port: 0,
        server_name: "wattle".into(),
        max_request_bytes: 1 << 20,
        runtime: Arc::new(RtenRuntime),
        budget,
        device: Held::new(Box::new(device)),
        policy: build("fixed", &PolicyOptions::default()).unwrap(),
        power_cap: None,
        carbon_intensity: None,
        accounting: Default::default(),
        tick: Duration::from_millis(100),
        ledger: None,
        accounts: Default::default(),
    })
    .await
    .unwrap();
    assert!(server.load_failures().is_empty(), "{:?}", server.load_failures());
    server
}

/// Labels and pixels of the first `count` test images.
fn images(count: usize) -> Vec<(usize, Vec<f32>)> {
    let text = std::fs::read_to_string(examples("digits-test.csv")).unwrap();
    let row = |line: &str| {
        let mut numbers = line.split(',').map(|number| number.parse::<f32>().unwrap());
        (numbers.next().unwrap() as usize, numbers.collect())
    };
    text.lines().skip(1).take(count).map(row).collect()
}

fn argmax(logits: &[f64]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap()
}

/// One request over a connection of its own; the status and the body.
fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
    announced(address, method, path, body, body.len())
}

/// As [`http`], of a body that is announced to have `length` bytes.
fn announced(address: SocketAddr, method: &str, path: &str, body: &str, length: usize) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).unwrap();
    (status, answer)
}

fn infer_json(address: SocketAddr, model: &str, pixels: &[f32]) -> (u16, Value) {
    let input = json!({ "name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": pixels });
    let body = json!({ "id": "7", "inputs": [input] }).to_string();
    let (status, answer) = http(address, "POST", &format!("/v2/models/{model}/infer"), &body);
    (status, serde_json::from_slice(&answer).unwrap())
}

fn grpc_request(model: &str, pixels: &[f32]) -> proto::ModelInferRequest {
    proto::ModelInferRequest {
        model_name: model.into(),
        id: "7".into(),
        inputs: vec![proto::model_infer_request::InferInputTensor {
            name: "image".into(),
            datatype: "FP32".into(),
            shape: vec![1, 1, 8, 8],
            ..Default::default()
        }],
        raw_input_contents: vec![
            pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect::<Vec<_>>().into(),
        ],
        ..Default::default()
    }
}

fn floats(raw: &[u8]) -> Vec<f64> {
    raw.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_and_grpc_give_the_same_right_answers() {
    let server = start().await;
    let at = server.addresses();
    let mut client = GrpcInferenceServiceClient::connect(format!("http://{}", at.grpc)).await.unwrap();
    let images = images(60);
    let mut right = 0;
    for (label, pixels) in &images {
        let over_grpc = client.model_infer(grpc_request("digits-m", pixels)).await.unwrap().into_inner();
        assert_eq!(over_grpc.id, "7");
        let over_grpc = floats(&over_grpc.raw_output_contents[0]);
        let pixels = pixels.clone();
        let (status, over_http) =
            tokio::task::spawn_blocking(move || infer_json(at.http, "digits-m", &pixels)).await.unwrap();
        assert_eq!((status, &over_http["id"]), (200, &json!("7")), "{over_http}");
        let over_http: Vec<f64> = serde_json::from_value(over_http["outputs"][0]["data"].clone()).unwrap();
        assert!(
            over_http.iter().zip(&over_grpc).all(|(a, b)| (a - b).abs() < 1e-4),
            "{over_http:?} {over_grpc:?}"
        );
        right += usize::from(argmax(&over_grpc) == *label);
    }
    assert!(right >= 57, "{right} of {} right", images.len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_reloaded_under_load_without_dropping_a_request() {
    let server = start().await;
    let at = server.addresses();
    let client = GrpcInferenceServiceClient::connect(format!("http://{}", at.grpc)).await.unwrap();
    let images = Arc::new(images(50));
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, images, is_over) = (client.clone(), Arc::clone(&images), Arc::clone(&is_over));
            tokio::spawn(async move {
                let (mut right, mut asked) = (0, 0);
                while !is_over.load(Ordering::Relaxed) {
                    let (label, pixels) = &images[asked % images.len()];
                    let answer = client.model_infer(grpc_request("digits-s", pixels)).await;
                    let answer =
                        answer.expect("no request is dropped while its model is reloaded").into_inner();
                    right += usize::from(argmax(&floats(&answer.raw_output_contents[0])) == *label);
                    asked += 1;
                }
                (right, asked)
            })
        })
        .collect();
    let repository = Arc::clone(server.repository());
    tokio::task::spawn_blocking(move || (0..20).for_each(|_| repository.load("digits-s", None).unwrap()))
        .await
        .unwrap();
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        let (right, asked) = client.await.unwrap();
        assert!(asked > 0 && right as f64 >= 0.9 * asked as f64, "{right} of {asked} right");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_say_what_was_expected() {
    let server = start().await;
    let at = server.addresses();
    let check =
        move |method: &'static str, path: &'static str, body: String, status: u16, words: &'static str| {
            let (found, answer) = http(at.http, method, path, &body);
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            let text = answer["error"].as_str().unwrap_or_else(|| panic!("no error text in {answer}"));
            assert_eq!(found, status, "{text}");
            assert!(text.contains(words), "{words:?} is not in {text:?}");
        };
    let infer = "/v2/models/digits-xs/infer";
    let request = |input: Value| json!({ "inputs": [input] }).to_string();
    let image = move |shape: Value, datatype: &str, data: Value| {
        request(json!({ "name": "image", "shape": shape, "datatype": datatype, "data": data }))
    };
    tokio::task::spawn_blocking(move || {
        let pixels = json!(vec![0.0; 64]);
        check("POST", "/v2/models/nope/infer", String::new(), 404, "Request for unknown model: 'nope'");
        check("POST", infer, "{".into(), 400, "failed to parse the request JSON");
        check(
            "POST",
            infer,
            image(json!([1, 8, 8]), "FP32", pixels.clone()),
            400,
            "Expected [-1, 1, 8, 8], got [1, 8, 8]",
        );
        check("POST", infer, image(json!([1, 1, 8, 8]), "INT32", json!(vec![0; 64])), 400, "expects 'FP32'");
        check(
            "POST",
            infer,
            image(json!([1, 1, 8, 8]), "FP32", json!([1.0])),
            400,
            "4 bytes found, expected 256",
        );
        check(
            "POST",
            infer,
            image(json!([33, 1, 8, 8]), "FP32", json!(vec![0.0; 64 * 33])),
            400,
            "must be <= 32",
        );
        check("POST", infer, json!({ "inputs": [] }).to_string(), 400, "expected 1 inputs but got 0");
        check("GET", infer, String::new(), 405, "Method Not Allowed");
        check("GET", "/v2/nothing", String::new(), 404, "Not Found");
        // Refused as soon as it is announced: nothing of it has to be sent.
        let (status, body) = announced(at.http, "POST", infer, "", (1 << 20) + 1);
        assert_eq!(status, 413);
        assert!(String::from_utf8(body).unwrap().contains("--max-request-bytes"));
        let (status, body) = http(at.http, "GET", "/v2/health/ready", "");
        assert_eq!((status, body), (200, br#"{"ready":true}"#.to_vec()));
    })
    .await
    .unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_api_sets_the_cap_and_turns_knobs_and_refuses_nonsense() {
    let server = start().await;
    let admin = server.addresses().admin;
    tokio::task::spawn_blocking(move || {
        let put = |path: &str, body: &str| http(admin, "PUT", path, body);
        assert_eq!(put("/wattle/v1/power-cap", r#"{"power_cap_watts": 5.5}"#).0, 200);
        std::thread::sleep(Duration::from_millis(300));
        let cap: Value = serde_json::from_slice(&http(admin, "GET", "/wattle/v1/power-cap", "").1).unwrap();
        assert_eq!(cap, json!({ "power_cap_watts": 5.5, "power_cap_origin": "set_by_hand" }));
        for wrong in
            [r#"{"power_cap_watts": -1}"#, r#"{"power_cap_watts": "5"}"#, r#"{"watts": 5}"#, "{}", ""]
        {
            assert_eq!(put("/wattle/v1/power-cap", wrong).0, 400, "{wrong}");
        }
        let knobs = "/wattle/v1/models/digits-xs/knobs";
        assert_eq!(put(knobs, r#"{"batch_size": 4, "duty_cycle": 0.5}"#).0, 200);
        let now: Value = serde_json::from_slice(&http(admin, "GET", knobs, "").1).unwrap();
        assert_eq!((&now["setting"]["batch_size"], &now["setting"]["duty_cycle"]), (&json!(4), &json!(0.5)));
        let (status, answer) = put(knobs, r#"{"batch_size": 64}"#);
        assert_eq!(status, 400);
        assert!(String::from_utf8(answer).unwrap().contains("batch_size is 64, expected 1 to 32"));
        assert_eq!(put(knobs, r#"{"batchsize": 4}"#).0, 400);
        let metrics = String::from_utf8(http(admin, "GET", "/metrics", "").1).unwrap();
        assert!(metrics.contains("nv_gpu_power_usage{gpu_uuid=\"cpu\"}"), "{metrics}");
        assert!(
            metrics.contains("wattle_batch_size_limit{model=\"digits-xs\",version=\"1\"} 4"),
            "{metrics}"
        );
    })
    .await
    .unwrap();
    server.stop().await;
}
