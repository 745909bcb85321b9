//! `wattle demo`: everything in one command. Bundled models, a quick profile of this machine, and a
//! day of requests, power cap and carbon intensity, sped up.

mod bundle;
mod client;
mod day;
mod emissions;
mod live;
mod load;
mod points;
mod session;
mod summary;
mod tally;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use tempfile::TempDir;
use tokio::sync::watch;
use wattle_core::carbon::CarbonAccounting;
use wattle_core::policies::{PolicyOptions, build};
use wattle_core::signal::Quantity;
use wattle_device::cpu::{CoreBudget, CpuDevice, CpuRoots};
use wattle_device::held::Held;
use wattle_runtime::runtime::Runtime;
use wattle_server::clock::Clock;
use wattle_server::control_loop::SignalSource;
use wattle_server::serve::{ServeConfig, Server};

use crate::commands::serve::{async_runtime, available_cores, stop_signal};
use crate::output::say;
use crate::runtimes::RuntimeArgs;
use day::Day;
use session::Session;

/// Time given to starting the server, before the profile.
const START_ALLOWANCE: Duration = Duration::from_millis(700);
/// Longest time the quick profile may take.
const LONGEST_PROFILE: Duration = Duration::from_secs(10);

/// See it work: serves bundled models here, and replays a day of requests and power caps in a minute
///
/// Starts a server on this machine's own addresses, profiles it in seconds, and sends it labelled
/// images over a real connection while the power cap follows a day's trace. Ends by itself or on
/// Ctrl-C, with a summary that says how each figure is known.
///
/// Examples:
///   wattle demo
///   wattle demo --seconds 20 --json | tail -n 1
///   wattle demo --model digits-xs --keep wattle-demo
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DemoArgs {
    /// How long the day takes, after the quick profile
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    seconds: u64,
    /// Which of the bundled models is asked: digits-xs, digits-s, digits-m or digits-l
    #[arg(long, value_name = "NAME", default_value = "digits-m", value_parser = model_name)]
    model: String,
    /// Requests per second at the day's peak [default: 60 % of the best throughput profiled]
    #[arg(long, value_name = "RPS", value_parser = positive)]
    rate: Option<f64>,
    /// The luck of the requests' arrivals; the same seed, the same arrivals
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Keep the model repository, the profile and the ledger in this folder; nothing is kept otherwise
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print one JSON object last, on standard output; all else goes to standard error
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

fn model_name(text: &str) -> Result<String, String> {
    let names = bundle::MODELS.iter().map(|model| model.name);
    if names.clone().any(|name| name == text) {
        return Ok(text.to_owned());
    }
    Err(format!("expected one of {}", names.collect::<Vec<_>>().join(", ")))
}

fn positive(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected requests per second as a number over 0".into())
}

/// Runs the command.
pub(crate) fn run(args: DemoArgs) -> Result<()> {
    async_runtime()?.block_on(demo(args))
}

/// Prints to people: on standard output, or on standard error where that belongs to the JSON.
#[derive(Clone, Copy)]
struct Voice {
    json: bool,
}

impl Voice {
    /// A reader that went away, as `head` does, ends nothing: the demo ends by itself.
    fn say(self, text: impl AsRef<str>) {
        let text = text.as_ref().trim_end();
        let _ = if self.json {
            writeln!(std::io::stderr(), "{text}")
        } else {
            writeln!(std::io::stdout(), "{text}")
        };
    }
}

/// Where the demo's files are while it runs.
enum Place {
    /// Stays.
    Kept(PathBuf),
    /// Is removed at the end, whichever way that comes.
    Temporary(TempDir),
}

impl Place {
    fn of(kept: Option<PathBuf>) -> Result<Self> {
        if let Some(kept) = kept {
            return Ok(Self::Kept(kept));
        }
        let made = tempfile::Builder::new().prefix("wattle-demo-").tempdir();
        let advice = "failed to make a temporary folder; set TMPDIR to a place for one, or use --keep DIR";
        Ok(Self::Temporary(made.context(advice)?))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(kept) => kept,
            Self::Temporary(temporary) => temporary.path(),
        }
    }

    /// Removes what is not kept, and says what is left.
    fn leave(self) -> Result<String> {
        match self {
            Self::Kept(kept) => {
                let there = ["models", "profile.csv", "ledger.sqlite"].map(|name| kept.join(name));
                let there = there.iter().filter(|path| path.exists());
                let there: Vec<String> = there.map(|path| path.display().to_string()).collect();
                Ok(format!("wrote     {}", there.join(", ")))
            }
            Self::Temporary(temporary) => {
                let path = temporary.path().display().to_string();
                temporary.close().with_context(|| format!("failed to remove {path}"))?;
                Ok("wrote     nothing that is left (--keep DIR keeps models, profile and ledger)".to_owned())
            }
        }
    }
}

async fn demo(args: DemoArgs) -> Result<()> {
    let voice = Voice { json: args.json };
    let stopped = stop_flag()?;
    let place = Place::of(args.keep.clone())?;
    let folder = place.path();
    bundle::write_models(&folder.join("models"))?;
    let (runtime, why) = args.runtime.choose(None)?;
    voice.say(format!("runtime   {}: {why}", runtime.describe()));

    let clock = Clock::start();
    let length = Duration::from_secs(args.seconds);
    let profile_time = (length / 2).min(LONGEST_PROFILE);
    // The server is told the carbon trace at its start, so the day's beginning is fixed here.
    let day = Day::bundled(clock.now() + START_ALLOWANCE + profile_time, length)?;
    let config = configure(folder, clock, &day, Arc::clone(&runtime))?;
    let server = Server::start(config).await.context("the server did not start")?;
    announce(voice, &server);

    let session = Session { args: &args, voice, server: &server, clock, day: &day, folder, stopped };
    let outcome = session.run().await;
    server.stop().await;
    let object = outcome?;
    voice.say(place.leave()?);
    if args.json {
        print_json(&object);
    }
    Ok(())
}

fn print_json(object: &serde_json::Map<String, serde_json::Value>) {
    say(format_args!("{}", serde_json::json!(object)));
}

/// Becomes true when the process is told to stop.
fn stop_flag() -> Result<watch::Receiver<bool>> {
    let stop = stop_signal()?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        stop.await;
        sender.send_replace(true);
    });
    Ok(receiver)
}

fn configure(folder: &Path, clock: Clock, day: &Day, runtime: Arc<dyn Runtime>) -> Result<ServeConfig> {
    let budget = CoreBudget::new(available_cores());
    let device = CpuDevice::new("cpu".into(), &CpuRoots::default(), None, Arc::clone(&budget))?;
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Ok(ServeConfig {
        clock,
        models: folder.join("models"),
        host: localhost,
        http_port: 0,
        grpc_port: 0,
        admin_host: localhost,
        metrics_port: 0,
        server_name: "wattle-demo".into(),
        max_request_bytes: 1 << 20,
        runtime,
        budget,
        device: Held::new(Box::new(device)),
        // Turns nothing while the profile is made.
        policy: build("fixed", &PolicyOptions::default())?,
        power_cap: None,
        carbon_intensity: Some(SignalSource::configured(
            day.carbon_intensity().clone(),
            Quantity::CarbonIntensity,
            "assumed: the demo's bundled trace, sped up",
        )),
        accounting: CarbonAccounting::default(),
        tick: Duration::from_millis(100),
        accounts: Default::default(),
        ledger: Some(folder.join("ledger.sqlite").into()),
    })
}

fn announce(voice: Voice, server: &Server) {
    let (at, device) = (server.addresses(), server.control().device());
    voice.say(format!("device    {}", device.description));
    voice.say(format!("power     {}", device.power_provenance));
    voice.say(format!("serving   http://{} (HTTP) and {} (gRPC)", at.http, at.grpc));
    voice.say(format!("dashboard http://{}/   metrics http://{}/metrics", at.admin, at.admin));
}
