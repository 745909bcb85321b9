//! Puts the server together, runs it, and takes it down in order.
//!
//! Start: ports, control loop, models; ready when all are loaded. Stop: not ready any more, no new connections, everything that
//! was accepted is answered, then the control loop restores the device and closes the ledger.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::TcpIncoming;
use wattle_core::carbon::CarbonAccounting;
use wattle_core::policy::Policy;
use wattle_core::time::Timestamp;
use wattle_device::cpu::CoreBudget;
use wattle_device::held::Held;
use wattle_ledger::LedgerError;
use wattle_ledger::store::{LedgerOptions, LedgerStore, RunInfo};
use wattle_runtime::runtime::Runtime;

use crate::accounts::{AccountsConfig, Classes};
use crate::admin::{self, Admin};
use crate::clock::Clock;
use crate::control_loop::{Control, ControlConfig, ControlSurroundings, SignalSource, Waker};
use crate::data_plane::grpc::Service;
use crate::data_plane::proto::grpc_inference_service_server::GrpcInferenceServiceServer;
use crate::data_plane::{DataPlane, health, http};
use crate::executor::Surroundings;
use crate::meter::EnergyRate;
use crate::model_repository::{ModelRepository, RepositoryError};

/// How long the server waits, on its way down, for requests it has accepted.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Everything a server is told at its start.
pub struct ServeConfig {
    /// The clock of everything the server does.
    pub clock: Clock,
    /// The model repository.
    pub models: PathBuf,
    /// Address of the HTTP and gRPC ports.
    pub host: IpAddr,
    /// HTTP port; 0 takes a free one.
    pub http_port: u16,
    /// gRPC port; 0 takes a free one.
    pub grpc_port: u16,
    /// Address of the port of metrics, admin API and dashboard, which has no access control.
    pub admin_host: IpAddr,
    /// Port of metrics, admin API and dashboard; 0 takes a free one.
    pub metrics_port: u16,
    /// Server name in the metadata.
    pub server_name: String,
    /// Largest request body.
    pub max_request_bytes: usize,
    /// What executes the models.
    pub runtime: Arc<dyn Runtime>,
    /// The server's one thread budget.
    pub budget: Arc<CoreBudget>,
    /// The device that is metered and turned.
    pub device: Held,
    /// What decides the knobs.
    pub policy: Box<dyn Policy>,
    /// The power cap in watts, if there is one.
    pub power_cap: Option<SignalSource>,
    /// Where carbon intensity in gCO2e/kWh is from, if known.
    pub carbon_intensity: Option<SignalSource>,
    /// How emissions are counted.
    pub accounting: CarbonAccounting,
    /// Length of a fast tick of the control loop.
    pub tick: Duration,
    /// How energy is split between those who ask.
    pub accounts: AccountsConfig,
    /// Where the ledger is kept, if one is.
    pub ledger: Option<LedgerOptions>,
}

/// A server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The model repository could not be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The ledger could not be opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A port could not be opened.
    #[error(
        "failed to listen on {address} for {purpose}: {source}; choose another port with {flag}, 0 takes a free one"
    )]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What it is for.
        purpose: &'static str,
        /// The flag that sets the port.
        flag: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("failed to start the control loop: {0}")]
    Thread(std::io::Error),
}

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Open Inference Protocol over HTTP.
    pub http: SocketAddr,
    /// Open Inference Protocol over gRPC.
    pub grpc: SocketAddr,
    /// Metrics, admin API and dashboard.
    pub admin: SocketAddr,
}

/// A running server. Dropping it without [`stop`](Self::stop) ends it without draining.
pub struct Server {
    addresses: Addresses,
    plane: Arc<DataPlane>,
    control: Arc<Control>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    load_failures: Vec<RepositoryError>,
}

impl Server {
    /// Opens the ports, starts the control loop, loads the models. A model that fails to load is logged
    /// and listed in the index while the others serve.
    pub async fn start(config: ServeConfig) -> Result<Self, ServeError> {
        let clock = config.clock;
        let energy_rate = Arc::new(EnergyRate::unknown());
        let waker = Arc::new(Waker::default());
        let classes = Arc::new(Classes::new(config.accounts.max_classes));
        let cores = config.budget.total();
        let around = Surroundings {
            clock,
            budget: config.budget,
            energy_rate: Arc::clone(&energy_rate),
            waker: Arc::clone(&waker),
        };
        // Ports first: a port that is taken should cost no loading time.
        let http = listen(config.host, config.http_port, "HTTP", "--http-port").await?;
        let grpc = listen(config.host, config.grpc_port, "gRPC", "--grpc-port").await?;
        let admin = listen(config.admin_host, config.metrics_port, "metrics", "--metrics-port").await?;
        let addresses = Addresses { http: http.1, grpc: grpc.1, admin: admin.1 };

        let repository = Arc::new(ModelRepository::open(&config.models, config.runtime, around)?);
        let (stop, stopped) = watch::channel(false);
        let device = config.device.info();
        let run = RunInfo {
            started_unix: clock.unix(Timestamp::ZERO),
            host: rustix::system::uname().nodename().to_str().ok().map(str::to_owned),
            device: device.id.to_string(),
            cores: Some(cores),
            accounting: config.accounting.clone(),
        };
        let ledger = config.ledger.map(|options| LedgerStore::open(&options, &run)).transpose()?;
        let plane = Arc::new(DataPlane {
            clock,
            repository: Arc::clone(&repository),
            name: config.server_name,
            version: env!("CARGO_PKG_VERSION"),
            is_ready: AtomicBool::new(false),
            stopped: stopped.clone(),
            max_request_bytes: config.max_request_bytes,
            energy_rate: Arc::clone(&energy_rate),
            classes: Arc::clone(&classes),
            class_header: config.accounts.class_header,
        });
        let control = ControlConfig {
            device: config.device,
            policy: config.policy,
            power_cap: config.power_cap,
            carbon_intensity: config.carbon_intensity,
            accounting: config.accounting,
            tick: config.tick,
            ledger,
            split: (config.accounts.split, config.accounts.power_error),
        };
        let surroundings = ControlSurroundings {
            clock,
            repository: Arc::clone(&repository),
            energy_rate,
            waker,
            cores,
            classes,
        };
        let control = Arc::new(Control::start(control, surroundings).map_err(ServeError::Thread)?);

        // Probes are answered while the models load: live, but not ready.
        let mut tasks = JoinSet::new();
        let admin_state =
            Arc::new(Admin { repository: Arc::clone(&repository), control: Arc::clone(&control) });
        tasks.spawn(serve_http(http.0, http::router(Arc::clone(&plane)), stopped.clone()));
        tasks.spawn(serve_http(admin.0, admin::router(admin_state), stopped.clone()));
        tasks.spawn(serve_grpc(grpc.0, Arc::clone(&plane), stopped));

        let load_failures = tokio::task::spawn_blocking(move || repository.load_all())
            .await
            .map_err(|error| ServeError::Thread(std::io::Error::other(error)))??;
        // Ready for what is there; a repository of which nothing could be loaded serves nobody.
        let serves_nothing = !load_failures.is_empty() && plane.repository.table().is_empty();
        plane.is_ready.store(!serves_nothing, Ordering::Release);
        Ok(Self { addresses, plane, control, stop, tasks, load_failures })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The control loop: status, cap, policy.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// The models.
    pub fn repository(&self) -> &Arc<ModelRepository> {
        &self.plane.repository
    }

    /// Models of the repository that failed to load at the start.
    pub fn load_failures(&self) -> &[RepositoryError] {
        &self.load_failures
    }

    /// Stops in order: not ready, no new connections, every accepted request answered, device restored,
    /// ledger closed.
    pub async fn stop(mut self) {
        self.plane.is_ready.store(false, Ordering::Release);
        self.stop.send_replace(true);
        // Models answer what they have, parked ones too, so that the connections that wait for it end.
        let repository = Arc::clone(&self.plane.repository);
        let closed = tokio::task::spawn_blocking(move || repository.close());
        let drained =
            tokio::time::timeout(DRAIN_LIMIT, async { while self.tasks.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!(
                limit_seconds = DRAIN_LIMIT.as_secs(),
                "connections are cut: they did not end in time"
            );
        }
        let control = Arc::clone(&self.control);
        // Last of all, so that the books hold everything.
        let stopped = async { closed.await.and(tokio::task::spawn_blocking(move || control.stop()).await) };
        if stopped.await.is_err() {
            tracing::error!("shutting down panicked");
        }
    }
}

async fn listen(
    host: IpAddr,
    port: u16,
    purpose: &'static str,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let address = SocketAddr::new(host, port);
    let failed = |source| ServeError::Listen { address, purpose, flag, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the server was dropped.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn serve_http(listener: TcpListener, router: axum::Router, stopped: watch::Receiver<bool>) {
    let listener = listener.tap_io(|stream| {
        // Small answers must not wait for more to send.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(until_stopped(stopped)).await {
        tracing::error!(%error, "the HTTP port failed");
    }
}

async fn serve_grpc(listener: TcpListener, plane: Arc<DataPlane>, stopped: watch::Receiver<bool>) {
    let limit = plane.max_request_bytes;
    let inference = GrpcInferenceServiceServer::new(Service(Arc::clone(&plane)))
        .max_decoding_message_size(limit)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .send_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Deflate);
    let served = tonic::transport::Server::builder()
        .add_service(inference)
        .add_service(health::service(plane))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            until_stopped(stopped),
        );
    if let Err(error) = served.await {
        tracing::error!(%error, "the gRPC port failed");
    }
}
