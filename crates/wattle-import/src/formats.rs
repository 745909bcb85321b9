//! One module a format.

pub(crate) mod batchdvfs;
pub(crate) mod clover;
pub(crate) mod dacf;
pub(crate) mod electricity_maps;
pub(crate) mod enertune;
pub(crate) mod mlperf_power;
pub(crate) mod model_analyzer;
pub(crate) mod parvagpu;
pub(crate) mod uk;

use crate::Input;
use crate::archive::Unpacked;
use crate::error::ImportError;
use crate::oddity::Oddities;

/// Runs `read` on every file. One out of an archive that is not of the format is left out and counted;
/// one that the user named is an error.
fn each(
    inputs: &[Unpacked<'_>],
    oddities: &mut Oddities,
    mut read: impl FnMut(&Input, &mut Oddities) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    for unpacked in inputs {
        match (read(&unpacked.input, oddities), unpacked.archive) {
            (Err(_), Some(archive)) => {
                oddities.add(archive, "files that are not of this format", None, "left out");
            }
            (outcome, _) => outcome?,
        }
    }
    Ok(())
}
