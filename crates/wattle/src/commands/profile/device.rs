//! Opens the device that a profile is measured on, and what runs on it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use wattle_device::cpu::{CoreBudget, CpuDevice, CpuPowerEstimate, CpuRoots};
use wattle_device::device::Device;
use wattle_device::held::Held;
use wattle_device::simulated::SimulatedDevice;
use wattle_runtime::choice::RuntimeChoice;
use wattle_runtime::runtime::Runtime;
use wattle_runtime::simulated::SimulatedRuntime;
use wattle_server::clock::Clock;
use wattle_server::profiling::{Bench, BenchConfig};

use super::measure::{DeviceKind, MeasureArgs};
use crate::commands::serve::estimate;
use crate::exit::ConfigError;
use crate::profiles;

/// The kernel counts busy time in steps of 10 ms: read more often, estimated power says little.
const CPU_PERIOD: Duration = Duration::from_millis(100);
/// No sensor tells more than so often.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
/// Readings in a window, where the device may be read as often.
const READINGS: u32 = 6;

/// The bench: the models of `models`, on the device and the runtime that `args` name.
pub(super) fn bench(args: &MeasureArgs, models: &Path, cores: u32, window: Duration) -> Result<Bench> {
    let clock = Clock::start();
    let budget = CoreBudget::new(cores);
    let mut runtime_args = args.runtime.clone();
    let (device, simulated, period): (Box<dyn Device>, Option<Arc<dyn Runtime>>, Duration) = match args.device
    {
        DeviceKind::Cpu => {
            let estimate: Option<CpuPowerEstimate> = estimate(args.cpu_idle_watts, args.cpu_full_watts)?;
            let device = CpuDevice::new("cpu".into(), &CpuRoots::default(), estimate, Arc::clone(&budget))?;
            (Box::new(device), None, CPU_PERIOD)
        }
        DeviceKind::Simulated => {
            let profiles = profiles::read_all(models, &args.profile)?;
            if profiles.is_empty() {
                let error = anyhow!(
                    "a simulated device is made of profiles, and no model of {} has a profile.csv; name one with \
                     --profile MODEL=FILE",
                    models.display()
                );
                return Err(error).context(ConfigError);
            }
            let (device, load) = SimulatedDevice::new("simulated".into(), &profiles).context(ConfigError)?;
            runtime_args.runtime.get_or_insert(RuntimeChoice::Simulated);
            let runtime: Arc<dyn Runtime> = Arc::new(SimulatedRuntime::new(load, move || clock.now()));
            (Box::new(device), Some(runtime), (window / READINGS).clamp(SHORTEST_PERIOD, CPU_PERIOD))
        }
    };
    let (runtime, why) = runtime_args.choose(simulated)?;
    tracing::info!(runtime = runtime.describe(), why, "runtime chosen");
    Bench::open(BenchConfig {
        clock,
        models: models.to_owned(),
        runtime,
        budget,
        device: Held::new(device),
        sample_period: period,
        seed: args.seed,
    })
    .context(ConfigError)
}
