//! Opens devices for the commands that read or turn them, and puts back what a killed process left.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use wattle_core::id::DeviceId;
use wattle_core::provenance::Basis;
use wattle_device::cpu::{CoreBudget, CpuPowerEstimate, CpuRoots};
use wattle_device::device::KnobState;
use wattle_device::discover::{self, Locations};
use wattle_device::held::{Held, needs_lease};
use wattle_device::lease::LeaseFolder;
use wattle_device::nvidia::NvidiaRoots;
use wattle_device::recover::{KnobPutBack, Recovered, Recovery, recover};
use wattle_device::zeusd::DEFAULT_SOCKET;
use wattle_server::control_loop::longest_tick;

use crate::exit::ConfigError;

/// Shortest tick where the CPU's power is estimated: the kernel counts busy time in steps of 10 ms, so
/// that a shorter one is judged by what was before it.
const SHORTEST_ESTIMATED_TICK: Duration = Duration::from_millis(100);

/// Where devices are looked for, and where it is recorded how their knobs stood.
#[derive(Args, Clone, Default)]
pub(crate) struct DeviceArgs {
    /// Where the kernel's /sys is, as in a container that mounts it elsewhere [default: /sys]
    #[arg(long, value_name = "DIR")]
    pub(crate) sys_root: Option<PathBuf>,
    /// Where is recorded how knobs stood before they were turned [default: the first that can be used of
    /// /run/wattle, $XDG_RUNTIME_DIR/wattle, and wattle-UID in the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) lease_folder: Option<PathBuf>,
    /// NVIDIA's management library [default: libnvidia-ml.so.1, wherever the loader finds it]
    #[arg(long, value_name = "FILE")]
    pub(crate) nvml_lib: Option<PathBuf>,
    /// AMD's management library [default: libamd_smi.so of ROCm, wherever it is installed]
    #[arg(long, value_name = "FILE")]
    pub(crate) amd_smi_lib: Option<PathBuf>,
    /// Have zeusd, listening on this socket, turn the knobs of GPUs that this user may not; where it asks
    /// for a token, that in ZEUSD_TOKEN [default socket: /run/zeusd/zeusd.sock]
    // With its `=`, so that a MODEL behind the bare flag is not taken for the socket.
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_SOCKET)]
    pub(crate) zeusd: Option<PathBuf>,
}

impl DeviceArgs {
    /// Where drivers look.
    pub(crate) fn locations(&self, budget: Arc<CoreBudget>, estimate: Option<CpuPowerEstimate>) -> Locations {
        let mut cpu = CpuRoots::default();
        if let Some(sys) = &self.sys_root {
            cpu.sys = sys.clone();
        }
        let mut nvidia = NvidiaRoots::default();
        if let Some(library) = &self.nvml_lib {
            nvidia.library.clone_from(library);
        }
        let (amd_smi, zeusd) = (self.amd_smi_lib.clone(), self.zeusd.clone());
        Locations { cpu, cpu_estimate: estimate, budget, nvidia, amd_smi, zeusd }
    }

    /// The lease folder to write to, made if it isn't there.
    fn lease_folder(&self) -> Result<LeaseFolder> {
        let folder = self.lease_folder.as_ref().map_or_else(LeaseFolder::find, LeaseFolder::open);
        folder.context(ConfigError)
    }

    /// The lease folders that are there.
    pub(crate) fn lease_folders(&self) -> Result<Vec<LeaseFolder>> {
        match &self.lease_folder {
            None => Ok(LeaseFolder::existing()),
            Some(path) => {
                let about = path.try_exists().with_context(|| format!("failed to read {}", path.display()));
                match about.context(ConfigError)? {
                    true => Ok(vec![LeaseFolder::open(path).context(ConfigError)?]),
                    false => Ok(Vec::new()),
                }
            }
        }
    }

    /// Puts back what killed processes left; tells what became of each lease.
    pub(crate) fn recover(&self, at: &Locations) -> Result<Vec<Recovery>> {
        let open = |id: &DeviceId| discover::open(id.as_str(), at).map_err(|error| error.to_string());
        let mut recoveries = Vec::new();
        for folder in self.lease_folders()? {
            recoveries.extend(recover(&folder, open).context(ConfigError)?);
        }
        Ok(recoveries)
    }

    /// Opens the device `wanted` to turn its knobs: puts back what a killed process left, and takes hold
    /// of the device, so that another can put back what this process leaves.
    pub(crate) fn take(&self, wanted: &str, at: &Locations) -> Result<Held> {
        log(&self.recover(at)?);
        let mut device = discover::open(wanted, at)
            .map_err(|error| anyhow!("{error}; or simulated, which is made of the models' profiles"))
            .context(ConfigError)?;
        if !needs_lease(&mut *device) {
            return Ok(Held::new(device));
        }
        Held::with_lease(device, &self.lease_folder()?).context(ConfigError)
    }

    /// [Takes](Self::take) the device `wanted` for a control loop, and has it watched that the loop, which
    /// ticks every `tick`, or once a second while there is nothing to do, does not stall for
    /// `stall_timeout`.
    pub(crate) fn take_watched(
        &self,
        wanted: &str,
        at: Locations,
        tick: Duration,
        stall_timeout: Duration,
    ) -> Result<Held> {
        let shortest = 2 * longest_tick(tick);
        if stall_timeout < shortest {
            return Err(anyhow!(
                "stall_timeout_ms is {}, expected at least {}: the control loop may be still for half as long",
                stall_timeout.as_millis(),
                shortest.as_millis()
            ))
            .context(ConfigError);
        }
        let mut held = self.take(wanted, &at)?;
        let info = held.info();
        let is_estimated = info.id.as_str() == "cpu" && info.power_provenance.basis != Basis::Measured;
        if is_estimated && tick < SHORTEST_ESTIMATED_TICK {
            return Err(anyhow!(
                "tick_ms is {}, expected at least {} where power is estimated from utilisation",
                tick.as_millis(),
                SHORTEST_ESTIMATED_TICK.as_millis()
            ))
            .context(ConfigError);
        }
        let id = info.id.clone();
        let reopen = move || discover::open(id.as_str(), &at).map_err(|error| error.to_string());
        held.watch(stall_timeout, Box::new(reopen)).context("failed to start the watch of the device")?;
        Ok(held)
    }
}

/// One knob that was put back, for people.
pub(crate) fn describe(knob: &KnobPutBack) -> String {
    let state = |state: &KnobState| {
        let each: Vec<_> = state.0.iter().map(|(what, value)| format!("{what} = {value}")).collect();
        each.join(", ")
    };
    format!("{} from {} to {}", knob.knob.name(), state(&knob.from), state(&knob.to))
}

/// Tells the log what became of leases that were found at the start.
fn log(recoveries: &[Recovery]) {
    for Recovery { file, outcome } in recoveries {
        match outcome {
            Ok(Recovered::PutBack { device, pid, knobs }) => {
                let knobs = knobs.iter().map(describe).collect::<Vec<_>>().join("; ");
                tracing::warn!(%device, pid, knobs, "put back what a process that was killed had turned");
            }
            Ok(Recovered::OfEarlierBoot { device }) => {
                tracing::info!(%device, file = %file.display(), "removed a lease of an earlier boot: there is nothing to put back");
            }
            Ok(Recovered::InUse { device, pid }) => {
                tracing::debug!(%device, pid, "another process turns its knobs");
            }
            Err(error) => {
                tracing::error!(%error, "what a process that was killed had turned is not put back")
            }
        }
    }
}
