//! `wattle serve`: flags and configuration file in, a running server out.

pub(crate) mod accounting;
mod accounts;
mod compute_units;
mod ledger;
mod policy;
pub(crate) mod signals;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use wattle_core::policies::PolicyConfig;
use wattle_core::policies::batch_sizer::BatchSizerOptions;
use wattle_core::policies::best_under_cap::BestUnderCapOptions;
use wattle_core::policies::cap_handling::CapHandlingOptions;
use wattle_core::policies::carbon_adaptive::CarbonAdaptiveOptions;
use wattle_core::policies::carbon_budget::CarbonBudgetOptions;
use wattle_core::policies::dvfs::DvfsOptions;
use wattle_core::policies::least_power_table::LeastPowerOptions;
use wattle_core::refinement::RefinementOptions;
use wattle_core::signal::Quantity;
use wattle_core::units::Watts;
use wattle_device::cpu::{CoreBudget, CpuPowerEstimate};
use wattle_device::held::Held;
use wattle_device::simulated::SimulatedDevice;
use wattle_runtime::choice::RuntimeChoice;
use wattle_runtime::runtime::Runtime;
use wattle_runtime::simulated::SimulatedRuntime;
use wattle_server::clock::Clock;
use wattle_server::serve::{ServeConfig, ServeError, Server};

use self::ledger::LedgerRetention;
use crate::devices::DeviceArgs;
use crate::exit::ConfigError;
use crate::output::say;
use crate::profiles;
use crate::runtimes::RuntimeArgs;
use signals::SignalsFile;

/// Serve a model repository over the Open Inference Protocol v2, under a power cap
///
/// Examples:
///   wattle serve --models models
///   wattle serve --models models --policy batch-sizer --power-cap-watts 5.5
///   wattle serve --models models --policy combination --power-cap-trace cap.csv
///
/// While it serves, the cap can be set by hand:
///   curl -X PUT localhost:8002/wattle/v1/power-cap -d '{"power_cap_watts": 5.5}'
#[derive(Args, Default)]
#[command(verbatim_doc_comment)]
pub(crate) struct ServeArgs {
    /// The model repository: a folder of NAME/VERSION/model.onnx
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// A configuration file; flags given as well go first
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the HTTP and gRPC ports; 0.0.0.0 for all interfaces [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// HTTP port; 0 takes a free one [default: 8000]
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// gRPC port; 0 takes a free one [default: 8001]
    #[arg(long, value_name = "PORT")]
    grpc_port: Option<u16>,
    /// Address of the port of metrics, admin API and dashboard; it has no access control [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    admin_host: Option<IpAddr>,
    /// Port of metrics, admin API and dashboard; 0 takes a free one [default: 8002]
    #[arg(long, value_name = "PORT")]
    metrics_port: Option<u16>,
    /// Server name in the metadata [default: wattle]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Largest request body, before and after decompression [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    max_request_bytes: Option<usize>,
    /// Compute threads of all models together [default: one a core]
    #[arg(long, value_name = "N")]
    cores: Option<u32>,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// The device that is metered and turned: one that `wattle devices` lists, or simulated (made of the
    /// models' profiles) [default: cpu]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    #[command(flatten)]
    devices: DeviceArgs,
    /// Compute units of an AMD GPU that this server uses, from its start on: the fewest shader engines
    /// that hold them, spread evenly (config: start_compute_units). Saves little power by itself: unused
    /// units are not switched off [default: all]
    #[arg(long, value_name = "N")]
    compute_units: Option<u32>,
    /// After how long without a sign of life of the control loop the device's knobs are put back without
    /// it, in milliseconds [default: 5000]
    #[arg(long, value_name = "MS")]
    stall_timeout_ms: Option<u64>,
    /// What decides the knobs: fixed, batch-sizer, batch-sizer-printed, dvfs, multi-tenant, batching,
    /// combination, frequency-scaling, resource-scaling-cu, resource-scaling-se, cofris-cu, cofris-se,
    /// carbon-adaptive, carbon-adaptive-printed or carbon-budget [default: fixed]
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Figures of the device, for policies that plan with unused units gated (resource-scaling-…,
    /// cofris-…): the name of a built-in device, such as amd-mi50, or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    device_spec: Option<String>,
    /// The profile of a model, in place of its profile.csv
    #[arg(long, value_name = "MODEL=FILE", value_parser = model_and_file)]
    profile: Vec<(String, PathBuf)>,
    /// A constant power cap
    #[arg(long, value_name = "WATTS", conflicts_with = "power_cap_trace")]
    power_cap_watts: Option<f64>,
    /// A power cap over time: CSV with the columns `seconds` (since the server started) and
    /// `power_cap_watts`; it starts again at its end
    #[arg(long, value_name = "FILE")]
    power_cap_trace: Option<PathBuf>,
    /// A constant carbon intensity
    #[arg(long, value_name = "G_PER_KWH", conflicts_with = "carbon_trace")]
    carbon_intensity: Option<f64>,
    /// Carbon intensity over time: CSV with the columns `seconds` and `carbon_intensity_g_per_kwh`; it
    /// starts again at its end
    #[arg(long, value_name = "FILE")]
    carbon_trace: Option<PathBuf>,
    /// Power of the CPU with nothing to do, where it can't be measured [default: 0.74 a core]
    #[arg(long, value_name = "WATTS", requires = "cpu_full_watts")]
    cpu_idle_watts: Option<f64>,
    /// Power of the CPU with all cores busy, where it can't be measured [default: 3.5 a core]
    #[arg(long, value_name = "WATTS", requires = "cpu_idle_watts")]
    cpu_full_watts: Option<f64>,
    /// Length of a fast tick of the control loop, in milliseconds [default: 100]
    #[arg(long, value_name = "MS")]
    tick_ms: Option<u64>,
    /// The ledger's file [default: wattle-ledger.sqlite in the current folder]
    #[arg(long, value_name = "FILE", conflicts_with = "no_ledger")]
    ledger: Option<PathBuf>,
    /// Keep no ledger
    #[arg(long)]
    no_ledger: bool,
    #[command(flatten)]
    accounts: accounts::AccountsArgs,
    /// Copy the ledger to a PostgreSQL database as well: `postgres://user:password@host/database`
    #[arg(
        long,
        value_name = "URL",
        env = "WATTLE_LEDGER_REPLICATE_TO",
        hide_env_values = true,
        conflicts_with = "no_ledger"
    )]
    ledger_replicate_to: Option<String>,
}

/// More compute threads than any machine has.
pub(crate) const MAX_CORES: u32 = 4096;
/// The device unless another is named.
pub(crate) const CPU: &str = "cpu";
/// The device that isn't there: it is played from profiles.
pub(crate) const SIMULATED: &str = "simulated";

/// The configuration file: the same names as the flags.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ServeFile {
    models: Option<PathBuf>,
    host: Option<IpAddr>,
    http_port: Option<u16>,
    grpc_port: Option<u16>,
    admin_host: Option<IpAddr>,
    metrics_port: Option<u16>,
    server_name: Option<String>,
    max_request_bytes: Option<usize>,
    cores: Option<u32>,
    runtime: Option<String>,
    ort_lib: Option<PathBuf>,
    execution_providers: Option<Vec<String>>,
    device: Option<String>,
    sys_root: Option<PathBuf>,
    lease_folder: Option<PathBuf>,
    nvml_lib: Option<PathBuf>,
    amd_smi_lib: Option<PathBuf>,
    zeusd: Option<PathBuf>,
    start_compute_units: Option<u32>,
    stall_timeout_ms: Option<u64>,
    policy: Option<String>,
    device_spec: Option<String>,
    power_cap_watts: Option<f64>,
    power_cap_trace: Option<PathBuf>,
    carbon_intensity: Option<f64>,
    carbon_trace: Option<PathBuf>,
    cpu_idle_watts: Option<f64>,
    cpu_full_watts: Option<f64>,
    tick_ms: Option<u64>,
    ledger: Option<PathBuf>,
    no_ledger: Option<bool>,
    /// Whose the energy is.
    accounts: accounts::AccountsOptions,
    ledger_replicate_to: Option<String>,
    /// How long which rows of the ledger are kept.
    ledger_retention: LedgerRetention,
    /// How emissions are counted beside the carbon intensity of the grid.
    accounting: accounting::AccountingFile,
    /// Where carbon intensity and the power cap are from, live.
    signals: SignalsFile,
    /// When the policy is asked, and which cap it is shown.
    cap_handling: CapHandlingOptions,
    /// How profiles are refined by what is seen.
    refinement: RefinementOptions,
    /// Options of batch-sizer and batch-sizer-printed.
    batch_sizer: BatchSizerOptions,
    /// Options of dvfs.
    dvfs: DvfsOptions,
    /// Options of multi-tenant, batching and combination.
    best_under_cap: BestUnderCapOptions,
    /// Options of frequency-scaling, resource-scaling-… and cofris-….
    least_power: LeastPowerOptions,
    /// Options of carbon-adaptive and carbon-adaptive-printed.
    carbon_adaptive: CarbonAdaptiveOptions,
    /// Options of carbon-budget.
    carbon_budget: CarbonBudgetOptions,
}

pub(crate) fn model_and_file(text: &str) -> Result<(String, PathBuf), String> {
    let (model, file) = text.split_once('=').ok_or("expected MODEL=FILE")?;
    Ok((model.to_owned(), file.into()))
}

/// Runs the command until it is told to stop.
pub(crate) fn run(args: ServeArgs) -> Result<()> {
    let file = match &args.config {
        None => ServeFile::default(),
        Some(path) => read_file(path)?,
    };
    if let Some(units) = args.compute_units.or(file.start_compute_units) {
        // First of all: the program may start itself anew.
        compute_units::start(args.device.as_deref().or(file.device.as_deref()).unwrap_or(CPU), units)?;
    }
    let cores = args.cores.or(file.cores).unwrap_or_else(available_cores);
    if !(1..=MAX_CORES).contains(&cores) {
        return Err(anyhow::anyhow!("cores is {cores}, expected 1 to {MAX_CORES}")).context(ConfigError);
    }
    let runtime = async_runtime()?;
    let config = configure(args, file, cores)?;
    let ledger = config.ledger.as_ref().map(|ledger| ledger.path.clone());
    runtime.block_on(async {
        // Before anything else: a signal that comes while models load is not to be lost.
        let stop = stop_signal()?;
        let server = Server::start(config).await.map_err(|error| match error {
            ServeError::Repository(_) | ServeError::Ledger(_) => {
                anyhow::Error::new(error).context(ConfigError)
            }
            other => anyhow::Error::new(other).context("the server did not start"),
        })?;
        let at = server.addresses();
        tracing::info!(
            http = %at.http, grpc = %at.grpc, admin = %at.admin, ledger = ?ledger,
            policy = server.control().status().policy, "ready"
        );
        announce(&server);
        stop.await;
        tracing::info!("stopping: answering what was accepted; a second signal cuts that short");
        let at_once = stop_signal()?;
        let control = Arc::clone(server.control());
        tokio::select! {
            () = server.stop() => tracing::info!("stopped"),
            () = at_once => {
                // Whatever is lost, the device is put back and the books are closed.
                control.stop();
                tracing::warn!("stopped at once: requests may have been lost");
            }
        }
        Ok(())
    })
}

/// The threads that read requests and write answers: half the cores, the other half has to compute. Each
/// one more is one more to wake on a request's way, which on two cores costs a quarter of the throughput
/// of small requests.
pub(crate) fn async_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let threads = (available_cores() / 2).clamp(1, 16) as usize;
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Tells people where things are; programs read the log.
fn announce(server: &Server) {
    let at = server.addresses();
    say(format_args!(
        "serving {} models over the Open Inference Protocol v2",
        server.repository().table().len()
    ));
    for failure in server.load_failures() {
        say(format_args!("  not served: {failure}"));
    }
    say(format_args!("  http       http://{}", at.http));
    say(format_args!("  grpc       {}", at.grpc));
    say(format_args!("  metrics    http://{}/metrics", at.admin));
    say(format_args!("  dashboard  http://{}/", at.admin));
}

/// One compute thread a core, as far as this process may use them.
pub(crate) fn available_cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}

/// Ends when the process is told to stop.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
            _ = quit.recv() => {}
        }
    })
}

fn read_file(path: &Path) -> Result<ServeFile> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))
        .context(ConfigError)?;
    toml::from_str(&text).with_context(|| path.display().to_string()).context(ConfigError)
}

/// The table `[signals]` of the configuration at `path`.
pub(crate) fn signals_of(path: &Path) -> Result<SignalsFile> {
    Ok(read_file(path)?.signals)
}

fn configure(args: ServeArgs, file: ServeFile, cores: u32) -> Result<ServeConfig> {
    let Some(models) = args.models.or(file.models) else {
        bail!(anyhow::anyhow!("no model repository is named, expected --models DIR").context(ConfigError));
    };
    let mut runtime_args = args.runtime;
    if runtime_args.runtime.is_none() {
        runtime_args.runtime = file.runtime.map(|name| name.parse()).transpose().context(ConfigError)?;
    }
    runtime_args.ort_lib = runtime_args.ort_lib.or(file.ort_lib);
    if runtime_args.execution_providers.is_empty() {
        let named = file.execution_providers.unwrap_or_default();
        runtime_args.execution_providers =
            named.iter().map(|name| name.parse()).collect::<Result<_, _>>().context(ConfigError)?;
    }
    let mut policy = PolicyConfig {
        cap_handling: file.cap_handling,
        refinement: file.refinement,
        batch_sizer: file.batch_sizer,
        dvfs: file.dvfs,
        best_under_cap: file.best_under_cap,
        least_power: file.least_power,
        carbon_adaptive: file.carbon_adaptive,
        carbon_budget: file.carbon_budget,
        ..PolicyConfig::default()
    };
    if let Some(name) = args.policy.or(file.policy) {
        policy.name = name;
    }
    let device_spec = args.device_spec.or(file.device_spec);
    let accounting = file.accounting.accounting(device_spec.as_deref())?;
    let profiles = profiles::read_all(&models, &args.profile)?;
    let profiles = policy::gate(&policy.name, device_spec.as_deref(), profiles)?;
    let tick = Duration::from_millis(args.tick_ms.or(file.tick_ms).unwrap_or(100));
    if tick.is_zero() {
        bail!(anyhow::anyhow!("tick_ms is 0, expected at least 1").context(ConfigError));
    }
    let clock = Clock::start();
    let budget = CoreBudget::new(cores);
    let estimate =
        estimate(args.cpu_idle_watts.or(file.cpu_idle_watts), args.cpu_full_watts.or(file.cpu_full_watts))?;

    let device = args.device.or(file.device).unwrap_or_else(|| CPU.into());
    let (device, simulated): (Held, Option<Arc<dyn Runtime>>) = if device == SIMULATED {
        if profiles.is_empty() {
            bail!(anyhow::anyhow!(
                "a simulated device is made of profiles, and no model of {} has a profile.csv; name one with --profile MODEL=FILE",
                models.display()
            )
            .context(ConfigError));
        }
        let (device, load) = SimulatedDevice::new(SIMULATED.into(), &profiles).context(ConfigError)?;
        runtime_args.runtime.get_or_insert(RuntimeChoice::Simulated);
        let runtime = SimulatedRuntime::new(load, move || clock.now());
        (Held::new(Box::new(device)), Some(Arc::new(runtime)))
    } else {
        let devices = DeviceArgs {
            sys_root: args.devices.sys_root.or(file.sys_root),
            lease_folder: args.devices.lease_folder.or(file.lease_folder),
            nvml_lib: args.devices.nvml_lib.or(file.nvml_lib),
            amd_smi_lib: args.devices.amd_smi_lib.or(file.amd_smi_lib),
            zeusd: args.devices.zeusd.or(file.zeusd),
        };
        let stall_timeout =
            Duration::from_millis(args.stall_timeout_ms.or(file.stall_timeout_ms).unwrap_or(5000));
        let at = devices.locations(Arc::clone(&budget), estimate);
        let held = devices.take_watched(&device, at, tick, stall_timeout)?;
        profiles::warn_of_others(&profiles, &held.info().description);
        (held, None)
    };
    let (runtime, why) = runtime_args.choose(simulated)?;
    tracing::info!(runtime = runtime.describe(), why, "runtime chosen");

    let accounts = accounts::configure(args.accounts, file.accounts, &profiles, (device.info(), cores))?;
    let policy = policy::build(&policy, &models, profiles)?;
    let (live_cap, live_carbon) = file.signals.pollers(args.config.as_deref())?.start()?;
    let power_cap = signals::configured(
        (args.power_cap_watts, args.power_cap_trace),
        (file.power_cap_watts, file.power_cap_trace),
        "power_cap_watts",
        Quantity::Power,
    )?;
    let power_cap = signals::one_of(power_cap, live_cap, "power_cap_watts or power_cap_trace", "power_cap")?;
    let carbon_intensity = signals::configured(
        (args.carbon_intensity, args.carbon_trace),
        (file.carbon_intensity, file.carbon_trace),
        "carbon_intensity_g_per_kwh",
        Quantity::CarbonIntensity,
    )?;
    let carbon_intensity = signals::one_of(
        carbon_intensity,
        live_carbon,
        "carbon_intensity or carbon_trace",
        "carbon_intensity",
    )?;
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let keeps_ledger = args.ledger.is_some() || !(args.no_ledger || file.no_ledger.unwrap_or(false));
    let ledger = ledger::options(
        args.ledger.or(file.ledger),
        args.ledger_replicate_to.or(file.ledger_replicate_to),
        &file.ledger_retention,
    )?;
    Ok(ServeConfig {
        clock,
        models,
        host: args.host.or(file.host).unwrap_or(localhost),
        http_port: args.http_port.or(file.http_port).unwrap_or(8000),
        grpc_port: args.grpc_port.or(file.grpc_port).unwrap_or(8001),
        admin_host: args.admin_host.or(file.admin_host).unwrap_or(localhost),
        metrics_port: args.metrics_port.or(file.metrics_port).unwrap_or(8002),
        server_name: args.server_name.or(file.server_name).unwrap_or_else(|| "wattle".into()),
        max_request_bytes: args.max_request_bytes.or(file.max_request_bytes).unwrap_or(64 << 20),
        runtime,
        budget,
        device,
        policy,
        power_cap,
        carbon_intensity,
        accounting,
        tick,
        ledger: keeps_ledger.then_some(ledger),
        accounts,
    })
}

pub(crate) fn estimate(idle: Option<f64>, full: Option<f64>) -> Result<Option<CpuPowerEstimate>> {
    match (idle, full) {
        (None, None) => Ok(None),
        (Some(idle), Some(full)) => {
            let estimate = CpuPowerEstimate::new(Watts::new(idle), Watts::new(full), "as configured");
            Ok(Some(estimate.context(ConfigError)?))
        }
        _ => Err(anyhow::anyhow!("cpu_idle_watts and cpu_full_watts go together: expected both or neither"))
            .context(ConfigError),
    }
}
