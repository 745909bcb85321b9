//! A server on a simulated device, for tests of what steers it.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use wattle_core::id::ModelName;
use wattle_core::policies::{PolicyOptions, build};
use wattle_core::profile::Profile;
use wattle_core::signal::{Quantity, Signal};
use wattle_device::cpu::CoreBudget;
use wattle_device::held::Held;
use wattle_device::simulated::SimulatedDevice;
use wattle_runtime::simulated::SimulatedRuntime;
use wattle_runtime::tensor::{Datatype, Tensor};
use wattle_server::clock::Clock;
use wattle_server::control_loop::SignalSource;
use wattle_server::executor::{Asker, Submission};
use wattle_server::serve::{ServeConfig, Server};

/// Length of a control tick.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// The model that is served, with batches of up to 16.
pub(crate) const MODEL: &str = "digits-xs";

/// A server of [`MODEL`] that plays `profile`, and the folder of its models, to be held for as long.
pub(crate) async fn start(
    profile: &str,
    policy: &str,
    power_cap: Option<Signal>,
) -> (Server, TempDir, Clock) {
    let cap = power_cap.map(|cap| SignalSource::configured(cap, Quantity::Power, "a test"));
    start_with(profile, policy, |config| config.power_cap = cap).await
}

/// As [`start`], with what `change` makes of its configuration.
pub(crate) async fn start_with(
    profile: &str,
    policy: &str,
    change: impl FnOnce(&mut ServeConfig),
) -> (Server, TempDir, Clock) {
    let clock = Clock::start();
    let profile = Profile::parse(profile, "a test").unwrap();
    let profiles = BTreeMap::from([(ModelName::from(MODEL), profile)]);
    let (device, load) = SimulatedDevice::new("simulated".into(), &profiles).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().to_owned();
    std::fs::create_dir_all(models.join("digits-xs/1")).unwrap();
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits-xs/1/model.onnx");
    std::fs::copy(bundled, models.join("digits-xs/1/model.onnx")).unwrap();
    let toml = "[batching]\nmax_batch_size = 16\nbatch_size = 1\n[instances]\ncount = 1\n";
    std::fs::write(models.join("digits-xs/model.toml"), toml).unwrap();
    let options = PolicyOptions { profiles, ..PolicyOptions::default() };
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut config = ServeConfig {
        clock,
        models,
        host: localhost,
        http_port: 0,
        grpc_port: 0,
        admin_host: localhost,
        metrics_port: 0,
        server_name: "wattle".into(),
        max_request_bytes: 1 << 20,
        runtime: Arc::new(SimulatedRuntime::new(load, move || clock.now())),
        budget: CoreBudget::new(2),
        device: Held::new(Box::new(device)),
        policy: build(policy, &options).unwrap(),
        power_cap: None,
        carbon_intensity: None,
        accounting: Default::default(),
        tick: TICK,
        ledger: None,
        accounts: Default::default(),
    };
    change(&mut config);
    let server = Server::start(config).await.unwrap();
    (server, folder, clock)
}

/// A request of one row.
pub(crate) fn one_row() -> Submission {
    let input = Tensor {
        name: "image".into(),
        datatype: Datatype::Fp32,
        shape: vec![1, 1, 8, 8],
        data: vec![0; 256].into(),
    };
    Submission {
        inputs: vec![input],
        rows: 1,
        group: Some(0),
        priority: 1,
        deadline: None,
        asker: Asker::default(),
    }
}
