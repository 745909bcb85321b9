//! A server of several models on a simulated device, and requests to it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use wattle_core::id::ModelName;
use wattle_core::policies::{PolicyOptions, build};
use wattle_core::profile::Profile;
use wattle_core::signal::{AfterEnd, Quantity, Signal, Trace};
use wattle_core::time::Timestamp;
use wattle_device::cpu::CoreBudget;
use wattle_device::held::Held;
use wattle_device::simulated::{SimulatedDevice, SimulatedLoad};
use wattle_runtime::simulated::SimulatedRuntime;
use wattle_server::clock::Clock;
use wattle_server::control_loop::SignalSource;
use wattle_server::data_plane::proto;
use wattle_server::data_plane::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use wattle_server::serve::{ServeConfig, Server};

pub(crate) const TICK: Duration = Duration::from_millis(50);

/// What a server is started with. Models are named as their profiles.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) policy: &'static str,
    /// Options of the policy; its profiles are played by the device.
    pub(crate) options: PolicyOptions,
    /// What the device plays, where it is not as the policy's profiles say.
    pub(crate) in_truth: Option<BTreeMap<ModelName, Profile>>,
    /// The file of the family `digits`, if there is one.
    pub(crate) family: Option<&'static str>,
    pub(crate) power_cap: Option<Signal>,
    pub(crate) carbon_intensity: Option<Signal>,
}

pub(crate) struct Live {
    pub(crate) server: Server,
    pub(crate) clock: Clock,
    pub(crate) device: Arc<SimulatedLoad>,
    _folder: TempDir,
}

/// The profiles of models of these names, each of `rows` under `columns`, idle at 50 W.
pub(crate) fn profiles(columns: &str, models: &[(&str, &[&str])]) -> BTreeMap<ModelName, Profile> {
    let profile = |(model, rows): &(&str, &[&str])| {
        let rows: String = rows.iter().map(|row| format!("{row},modelled,modelled,1\n")).collect();
        let text = format!(
            "# wattle_profile = 1\n# model = \"{model}\"\n# device = \"made up\"\n# runtime = \"made up\"\n\
             # idle_power_watts = 50.0\n# power_source = \"made up for a test\"\n\
             {columns},basis,power_basis,samples\n{rows}"
        );
        (ModelName::from(*model), Profile::parse(&text, "a test").unwrap())
    };
    models.iter().map(profile).collect()
}

/// Values that hold from their second on; the steps start again at their end.
pub(crate) fn steps(points: &[(f64, f64)]) -> Signal {
    let points = points.iter().map(|(seconds, value)| (Duration::from_secs_f64(*seconds), *value));
    Signal::Trace(Trace::new(points.collect(), AfterEnd::Repeat).unwrap())
}

impl Setup {
    pub(crate) async fn start(self) -> Live {
        let clock = Clock::start();
        let played = self.in_truth.as_ref().unwrap_or(&self.options.profiles);
        let (device, load) = SimulatedDevice::new("simulated".into(), played).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let bundled =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits-xs/1/model.onnx");
        for model in self.options.profiles.keys() {
            let of_model = folder.path().join(model.as_str());
            fs::create_dir_all(of_model.join("1")).unwrap();
            fs::copy(&bundled, of_model.join("1/model.onnx")).unwrap();
            let toml = "[batching]\nmax_batch_size = 16\nbatch_size = 1\n[instances]\ncount = 1\n";
            fs::write(of_model.join("model.toml"), toml).unwrap();
        }
        if let Some(family) = self.family {
            fs::create_dir(folder.path().join("digits")).unwrap();
            fs::write(folder.path().join("digits/family.toml"), family).unwrap();
        }
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let server = Server::start(ServeConfig {
            clock,
            models: folder.path().to_owned(),
            host: localhost,
            http_port: 0,
            grpc_port: 0,
            admin_host: localhost,
            metrics_port: 0,
            server_name: "wattle".into(),
            max_request_bytes: 1 << 20,
            runtime: Arc::new(SimulatedRuntime::new(Arc::clone(&load), move || clock.now())),
            budget: CoreBudget::new(2),
            device: Held::new(Box::new(device)),
            policy: build(self.policy, &self.options).unwrap(),
            power_cap: self
                .power_cap
                .map(|cap| SignalSource::configured(cap, Quantity::Power, "made up for a test")),
            carbon_intensity: self.carbon_intensity.map(|signal| {
                SignalSource::configured(signal, Quantity::CarbonIntensity, "made up for a test")
            }),
            accounting: Default::default(),
            tick: TICK,
            ledger: None,
            accounts: Default::default(),
        })
        .await
        .unwrap();
        assert!(server.load_failures().is_empty(), "{:?}", server.load_failures());
        Live { server, clock, device: load, _folder: folder }
    }
}

impl Live {
    pub(crate) async fn client(&self) -> GrpcInferenceServiceClient<Channel> {
        GrpcInferenceServiceClient::connect(format!("http://{}", self.server.addresses().grpc)).await.unwrap()
    }

    /// Asks `model` at a rate that can be changed, until the load is dropped; no request may fail.
    pub(crate) async fn load(&self, model: &'static str, rate_rps: u64) -> Load {
        let (client, clock) = (self.client().await, self.clock);
        let rate = Arc::new(AtomicU64::new(rate_rps));
        let of_task = Arc::clone(&rate);
        let task = tokio::spawn(async move {
            let mut next = clock.now();
            loop {
                tokio::time::sleep(clock.until(next)).await;
                let mut client = client.clone();
                tokio::spawn(async move { client.model_infer(request(model)).await.unwrap() });
                next = next + Duration::from_secs(1) / of_task.load(Ordering::Relaxed) as u32;
                // After a stall the rate goes on; what was missed is not made up for.
                next = next.max(Timestamp::from_nanos(clock.now().as_nanos().saturating_sub(20_000_000)));
            }
        });
        Load { rate, task }
    }
}

/// Requests at a rate.
pub(crate) struct Load {
    rate: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Load {
    pub(crate) fn set_rate(&self, rate_rps: u64) {
        self.rate.store(rate_rps, Ordering::Relaxed);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request of one row.
pub(crate) fn request(model: &str) -> proto::ModelInferRequest {
    proto::ModelInferRequest {
        model_name: model.into(),
        inputs: vec![proto::model_infer_request::InferInputTensor {
            name: "image".into(),
            datatype: "FP32".into(),
            shape: vec![1, 1, 8, 8],
            ..Default::default()
        }],
        raw_input_contents: vec![vec![0; 256].into()],
        ..Default::default()
    }
}

/// One request over HTTP, on a connection of its own: the status and the body.
pub(crate) async fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let ask = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned())
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// As [`http`], of JSON.
pub(crate) async fn http_json(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, body) = http(address, method, path, body).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// Waits until something is so. The limit is only there to end a test that fails.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "never came about: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Set when a test's background work is to end.
pub(crate) type IsOver = Arc<AtomicBool>;
