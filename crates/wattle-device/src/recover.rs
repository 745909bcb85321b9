//! Puts back what a process that was killed left turned, as its lease says.

use std::path::PathBuf;

use wattle_core::id::DeviceId;
use wattle_core::knob::DeviceKnob;
use wattle_core::time::Timestamp;

use crate::device::{Access, Device, KnobState};
use crate::lease::{Lease, LeaseError, LeaseFolder};

/// What became of one lease file.
#[derive(Debug)]
pub struct Recovery {
    /// The lease file.
    pub file: PathBuf,
    /// What was done. On an error the file stays.
    pub outcome: Result<Recovered, LeaseError>,
}

/// What was done about a lease.
#[derive(Debug, PartialEq, Eq)]
pub enum Recovered {
    /// Its process was killed; the knobs are put back, and the file is gone.
    PutBack {
        /// Whose knobs.
        device: DeviceId,
        /// The process that had turned them.
        pid: u32,
        /// Each knob, where it stood and where it stands now.
        knobs: Vec<KnobPutBack>,
    },
    /// It is of an earlier boot of the machine, whose hardware has forgotten it; the file is gone.
    OfEarlierBoot {
        /// Whose knobs.
        device: DeviceId,
    },
    /// Its process lives and turns them still; nothing is done.
    InUse {
        /// Whose knobs.
        device: DeviceId,
        /// The process that has them.
        pid: u32,
    },
}

/// One knob that was put back.
#[derive(Debug, PartialEq, Eq)]
pub struct KnobPutBack {
    /// Which knob.
    pub knob: DeviceKnob,
    /// How it stood.
    pub from: KnobState,
    /// How it stands now, and stood before it was first turned.
    pub to: KnobState,
}

/// Puts back what the leases in `folder` say whose processes have ended. `open` opens a device by its
/// name, or says why it can't.
///
/// # Errors
/// Where the folder can't be listed. What fails with one lease stands in its [`Recovery`].
pub fn recover(
    folder: &LeaseFolder,
    mut open: impl FnMut(&DeviceId) -> Result<Box<dyn Device>, String>,
) -> Result<Vec<Recovery>, LeaseError> {
    let files = folder.files()?;
    Ok(files.into_iter().map(|file| Recovery { outcome: of_file(folder, &file, &mut open), file }).collect())
}

fn of_file(
    folder: &LeaseFolder,
    file: &PathBuf,
    open: &mut impl FnMut(&DeviceId) -> Result<Box<dyn Device>, String>,
) -> Result<Recovered, LeaseError> {
    let mut lease = Lease::read(file)?;
    let device = lease.device.clone();
    if folder.file(&device) != *file {
        let found = format!("it is of device {device}, whose lease is another file");
        return Err(LeaseError::Corrupt { path: file.clone(), found });
    }
    let hold = match folder.hold(&device) {
        Ok(hold) => hold,
        Err(LeaseError::InUse { pid, .. }) => {
            return Ok(Recovered::InUse { device, pid: pid.unwrap_or(lease.pid) });
        }
        Err(error) => return Err(error),
    };
    if lease.is_of_earlier_boot() {
        hold.remove()?;
        return Ok(Recovered::OfEarlierBoot { device });
    }
    let not_put_back = |said| LeaseError::NotPutBack { device: device.clone(), path: file.clone(), said };
    let mut opened = open(&device).map_err(&not_put_back)?;
    let mut knobs = Vec::new();
    let mut failures = Vec::new();
    for (knob, to) in std::mem::take(&mut lease.knobs) {
        match put_back(&mut *opened, knob, &to) {
            Ok(from) => knobs.push(KnobPutBack { knob, from, to }),
            Err(said) => {
                failures.push(format!("{} was not put back: {said}", knob.name()));
                lease.knobs.insert(knob, to);
            }
        }
    }
    if failures.is_empty() {
        hold.remove()?;
        return Ok(Recovered::PutBack { device, pid: lease.pid, knobs });
    }
    // Only what is left: the rest may be turned by others from now on.
    hold.write(&lease)?;
    Err(not_put_back(failures.join("; ")))
}

/// Puts one knob back and gives how it stood, or says what failed and what would help.
fn put_back(device: &mut dyn Device, knob: DeviceKnob, to: &KnobState) -> Result<KnobState, String> {
    if device.info().range(knob).is_none() {
        let seen = device.inspect(Timestamp::ZERO).knobs.into_iter().find(|view| view.knob == knob);
        return Err(match seen.map(|view| view.turnable) {
            Some(Access::Denied { because, fix }) => format!("{because}; {fix}"),
            Some(Access::Absent { because } | Access::Failed { because }) => because,
            Some(Access::Here(())) | None => device.info().no_such_knob(knob).to_string(),
        });
    }
    let from = device.knob_state(knob).map_err(|error| error.to_string())?;
    device.put_back(knob, to).map_err(|error| error.to_string())?;
    Ok(from)
}
