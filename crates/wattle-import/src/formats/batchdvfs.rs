//! BatchDVFS: step logs of a running power-cap controller, and the nvidia-smi logs beside them.

mod nvidia_smi;
mod profile;
mod step_log;

pub use step_log::{Step, StepLog, StepSummary, SummaryRow, step_log};

use crate::archive::Unpacked;
use crate::error::{Blame, ImportError};
use crate::imported::Imported;
use crate::oddity::Oddities;
use crate::options::Options;

pub(crate) fn import(
    inputs: &[Unpacked<'_>],
    options: &Options,
    oddities: &mut Oddities,
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    super::each(inputs, oddities, |input, oddities| {
        let text = input.text()?;
        if nvidia_smi::is_one(text) {
            imported.signals.push(nvidia_smi::power_signal(text, &input.name, oddities)?);
            return Ok(());
        }
        let log = step_log::parse(text, Blame(&input.name), oddities)?;
        imported.profiles.extend(profile::profile(&log, &input.name, options, oddities));
        imported.signals.push(profile::cap_signal(&log, &input.name)?);
        Ok(())
    })?;
    Ok(imported)
}
