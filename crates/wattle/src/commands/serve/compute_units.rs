//! `--compute-units`: how many compute units of its GPU a server uses, fixed when it starts.

use anyhow::{Context, Result, anyhow};
use wattle_device::amd::cu_mask;

use crate::exit::ConfigError;

/// Makes this process one that uses `units` compute units of `device`. On an AMD GPU the program starts
/// itself anew for that, once. Call it before anything is opened or any thread started.
///
/// # Errors
/// On any other device, and where the GPU can't be given exactly that many.
pub(super) fn start(device: &str, units: u32) -> Result<()> {
    let place = match device.split_once(':') {
        Some(("amd", place)) => Some(place),
        None if device == "amd" => None,
        _ => {
            return Err(anyhow!(
                "start_compute_units is {units} and device is {device:?}, expected an AMD GPU, such as \
                 amd:0000:03:00.0; a CPU is given fewer cores by cores, and other devices can't be given fewer \
                 units at the start"
            ))
            .context(ConfigError);
        }
    };
    let mask = cu_mask::start(None, place, units).context("start_compute_units").context(ConfigError)?;
    let roc_global_cu_mask = mask.roc_global_cu_mask();
    tracing::info!(
        device, units, %mask, roc_global_cu_mask,
        "compute units chosen; the others are not switched off, so that expect little less power"
    );
    Ok(())
}
