//! Opens the device that a profile is measured on, and what runs on it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use wattle_core::units::Watts;
use wattle_device::cpu::CoreBudget;
use wattle_device::held::Held;
use wattle_device::simulated::SimulatedDevice;
use wattle_runtime::choice::RuntimeChoice;
use wattle_runtime::runtime::Runtime;
use wattle_runtime::simulated::SimulatedRuntime;
use wattle_server::clock::Clock;
use wattle_server::profiling::{Bench, BenchConfig};

use super::measure::MeasureArgs;
use crate::commands::serve::{CPU, SIMULATED, estimate};
use crate::exit::ConfigError;
use crate::profiles;

/// The kernel counts busy time in steps of 10 ms: read more often, estimated power says little.
const CPU_PERIOD: Duration = Duration::from_millis(100);
/// No sensor has more to tell than so often.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
/// Sensors tell something new about as often.
const LONGEST_PERIOD: Duration = Duration::from_millis(100);
/// Readings in a window, where the device may be read as often.
const READINGS: u32 = 6;

/// The bench: the models of `models`, on the device and the runtime that `args` name.
pub(super) fn bench(args: &MeasureArgs, models: &Path, cores: u32, window: Duration) -> Result<Bench> {
    let clock = Clock::start();
    let budget = CoreBudget::new(cores);
    let mut runtime_args = args.runtime.clone();
    let (device, simulated, shortest): (Held, Option<Arc<dyn Runtime>>, Duration) = if args.device
        == SIMULATED
    {
        let profiles = profiles::read_all(models, &args.profile)?;
        if profiles.is_empty() {
            let error = anyhow!(
                "a simulated device is made of profiles, and no model of {} has a profile.csv; name one with \
                 --profile MODEL=FILE",
                models.display()
            );
            return Err(error).context(ConfigError);
        }
        let (device, load) = SimulatedDevice::with_shared_idle(
            SIMULATED.into(),
            &profiles,
            Watts::new(args.sharing.simulated_shared_watts.unwrap_or(0.0)),
        )
        .context(ConfigError)?;
        runtime_args.runtime.get_or_insert(RuntimeChoice::Simulated);
        let runtime: Arc<dyn Runtime> = Arc::new(SimulatedRuntime::new(load, move || clock.now()));
        (Held::new(Box::new(device)), Some(runtime), SHORTEST_PERIOD)
    } else {
        let estimate = estimate(args.cpu_idle_watts, args.cpu_full_watts)?;
        let at = args.devices.locations(Arc::clone(&budget), estimate);
        let device = args.devices.take(&args.device, &at)?;
        let shortest = if device.info().id.as_str() == CPU { CPU_PERIOD } else { SHORTEST_PERIOD };
        (device, None, shortest)
    };
    // Several readings a window, where the device may be read as often.
    let period = (window / READINGS).clamp(shortest, LONGEST_PERIOD);
    let (runtime, why) = runtime_args.choose(simulated)?;
    tracing::info!(runtime = runtime.describe(), why, "runtime chosen");
    Bench::open(BenchConfig {
        clock,
        models: models.to_owned(),
        runtime,
        budget,
        device,
        sample_period: period,
        seed: args.seed,
    })
    .context(ConfigError)
}
