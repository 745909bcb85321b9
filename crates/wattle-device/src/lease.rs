//! How the knobs that this process has turned stood before, kept in files that outlive it.
//!
//! One process holds a device at a time: it holds a lock (`flock`) on the device's lock file, which the
//! kernel lets go of when the process ends, however it ends. A lease file that stands while nobody holds
//! the lock was left by a process that was killed. A number of a process would not tell: it is given to
//! another one later, and means nothing in another container.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wattle_core::id::DeviceId;
use wattle_core::knob::DeviceKnob;

use crate::device::KnobState;

/// The form of lease files that this version writes and reads.
const VERSION: u32 = 1;
/// How the name of a lease file ends.
const ENDING: &str = ".lease.toml";
/// What stands above a lease, for who finds it.
const HEADING: &str = "# How these knobs stood before Wattle turned them. `wattle devices --restore` puts \
                       them back\n# if the process below was killed, and so does the next start.\n";

/// What a lease file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The form of the file.
    wattle_lease: u32,
    /// Whose knobs.
    pub device: DeviceId,
    /// The device's model, for people.
    pub description: String,
    /// The process that turned them, for people.
    pub pid: u32,
    /// The boot of the machine in which they were turned; `None` where the kernel doesn't tell.
    pub boot_id: Option<String>,
    /// How each knob stood before.
    pub knobs: BTreeMap<DeviceKnob, KnobState>,
}

impl Lease {
    /// This process's lease of these knobs.
    pub(crate) fn new(device: DeviceId, description: String, knobs: BTreeMap<DeviceKnob, KnobState>) -> Self {
        Self {
            wattle_lease: VERSION,
            device,
            description,
            pid: std::process::id(),
            boot_id: boot_id(),
            knobs,
        }
    }

    /// Whether it was written before the machine was started the last time: hardware forgets its knobs
    /// when it is, so there is nothing to put back.
    pub fn is_of_earlier_boot(&self) -> bool {
        matches!((&self.boot_id, boot_id()), (Some(then), Some(now)) if *then != now)
    }

    /// Reads a lease file.
    pub(crate) fn read(path: &Path) -> Result<Self, LeaseError> {
        let bytes = fs::read(path).map_err(|source| failed("read", path, source))?;
        let corrupt = |found: String| LeaseError::Corrupt { path: path.into(), found };
        let text = String::from_utf8(bytes).map_err(|error| corrupt(error.to_string()))?;
        let lease: Self = toml::from_str(&text).map_err(|error| corrupt(error.to_string()))?;
        if lease.wattle_lease != VERSION {
            let found = format!("wattle_lease = {}, expected {VERSION}", lease.wattle_lease);
            return Err(corrupt(found));
        }
        Ok(lease)
    }
}

/// A lease could not be kept, read or taken.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// No folder of leases can be used.
    #[error("leases can't be kept in {path}: {said}; name a folder of this user's own with --lease-folder")]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// What is wrong with it.
        said: String,
    },
    /// A file could not be read or written.
    #[error("failed to {action} {path}: {source}")]
    File {
        /// `read`, `write`, `lock` or `remove`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A lease file holds something else than a lease.
    #[error(
        "{path} is no lease: {found}; it says how knobs stood before they were turned, so put them back by \
         hand and then remove it"
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        found: String,
    },
    /// Another process, which lives, turns the device's knobs.
    #[error(
        "{device} is held by {}, and one process at a time turns its knobs: stop that one, or choose another \
         device (lock {path})",
        pid.map_or("another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// Which device.
        device: DeviceId,
        /// Which process, as far as it told.
        pid: Option<u32>,
        /// The lock file.
        path: PathBuf,
    },
    /// A process that was killed left knobs turned, and they are not yet put back.
    #[error(
        "knobs of {device} still stand as a process that was killed left them: see {path}; put them back with \
         `wattle devices --restore`"
    )]
    Left {
        /// Which device.
        device: DeviceId,
        /// The lease file.
        path: PathBuf,
    },
    /// Knobs could not be put back as a lease says.
    #[error("{device}: {said}; the lease {path} stays: once that is mended, run `wattle devices --restore`")]
    NotPutBack {
        /// Which device.
        device: DeviceId,
        /// The lease file.
        path: PathBuf,
        /// What failed, and what would help.
        said: String,
    },
}

/// Where leases are kept: a folder that only its user can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseFolder(PathBuf);

impl LeaseFolder {
    /// The folder `path`, made if it isn't there.
    ///
    /// # Errors
    /// [`LeaseError::Folder`] where it can't be made, belongs to another user, or others may write to it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, LeaseError> {
        let path = path.into();
        let refused = |said: String| LeaseError::Folder { path: path.clone(), said };
        // Only the last folder is made for this user alone; those above it are as usual.
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        let made = made.and_then(|()| match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        });
        made.map_err(|error| refused(error.to_string()))?;
        let about = fs::symlink_metadata(&path).map_err(|error| refused(error.to_string()))?;
        if !about.is_dir() {
            return Err(refused("it is not a folder".into()));
        }
        let user = rustix::process::geteuid().as_raw();
        if about.uid() != user {
            return Err(refused(format!("it belongs to user {}, this is user {user}", about.uid())));
        }
        // What stands in it is written to hardware.
        if about.mode() & 0o022 != 0 {
            let mode = about.mode() & 0o777;
            return Err(refused(format!("others may write to it (mode {mode:o}, expected 700)")));
        }
        Ok(Self(path))
    }

    /// The first of these that this user can use, made if it isn't there: `/run/wattle`,
    /// `$XDG_RUNTIME_DIR/wattle`, and `wattle-UID` in the folder for temporary files.
    ///
    /// # Errors
    /// That of the last, where none can be used.
    pub fn find() -> Result<Self, LeaseError> {
        let mut places = places();
        let last = places.pop().unwrap_or_default();
        places.into_iter().find_map(|path| Self::open(path).ok()).map_or_else(|| Self::open(last), Ok)
    }

    /// Those of the same places that are there and can be used: which one is found first may differ from
    /// one session of a user to the next.
    pub fn existing() -> Vec<Self> {
        let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
        places().into_iter().filter(is_there).filter_map(|path| Self::open(path).ok()).collect()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The lease files there are, in order of their names.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, LeaseError> {
        let listed = fs::read_dir(&self.0).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let listed = listed.map_err(|source| failed("read", &self.0, source))?;
        let is_lease = |path: &PathBuf| path.to_string_lossy().ends_with(ENDING);
        let mut files: Vec<_> = listed.into_iter().map(|entry| entry.path()).filter(is_lease).collect();
        files.sort();
        Ok(files)
    }

    /// The lease of a device whose knobs are turned, and whether the process that turned them lives.
    ///
    /// # Errors
    /// Where there is a lease that can't be read.
    pub fn of(&self, device: &DeviceId) -> Result<Option<(Lease, bool)>, LeaseError> {
        match Lease::read(&self.file(device)) {
            Err(LeaseError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            read => {
                let lock = File::open(self.lock_file(device));
                let lives = lock.is_ok_and(|lock| lock.try_lock_shared().is_err());
                Ok(Some((read?, lives)))
            }
        }
    }

    fn lock_file(&self, device: &DeviceId) -> PathBuf {
        self.0.join(format!("{}.lock", in_file_name(device)))
    }

    /// The lease file of a device.
    pub(crate) fn file(&self, device: &DeviceId) -> PathBuf {
        self.0.join(format!("{}{ENDING}", in_file_name(device)))
    }

    /// Takes hold of a device: nobody else can until the hold is dropped.
    ///
    /// # Errors
    /// [`LeaseError::InUse`] where a process that lives has it.
    pub(crate) fn hold(&self, device: &DeviceId) -> Result<Hold, LeaseError> {
        let path = self.lock_file(device);
        let failed_to = |action: &'static str| {
            let path = path.clone();
            move |source| LeaseError::File { action, path, source }
        };
        // The file stays when the hold ends: one that is removed could be locked twice.
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed_to("write"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let pid = lock.read_to_string(&mut pid).ok().and_then(|_| pid.trim().parse().ok());
                return Err(LeaseError::InUse { device: device.clone(), pid, path });
            }
            Err(TryLockError::Error(source)) => return Err(failed_to("lock")(source)),
        }
        let told = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        told.map_err(failed_to("write"))?;
        Ok(Hold { folder: self.0.clone(), file: self.file(device), _lock: lock })
    }
}

/// Where leases are kept unless a folder is named.
fn places() -> Vec<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let of_session = std::env::var_os("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("wattle"));
    let of_session = of_session.filter(|path| path.is_absolute());
    let temporary = std::env::temp_dir().join(format!("wattle-{user}"));
    [Some("/run/wattle".into()), of_session, Some(temporary)].into_iter().flatten().collect()
}

/// A device held by this process, and where its lease is written.
#[derive(Debug)]
pub(crate) struct Hold {
    folder: PathBuf,
    file: PathBuf,
    _lock: File,
}

impl Hold {
    /// The lease file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Writes the lease such that it is there after a crash, whole or as it was before.
    pub(crate) fn write(&self, lease: &Lease) -> Result<(), LeaseError> {
        let text = toml::to_string(lease).map_err(io::Error::other);
        let new = self.file.with_extension("new");
        let written = text.and_then(|text| {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(HEADING.as_bytes())?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.file)?;
            self.sync_folder()
        });
        written.map_err(|source| failed("write", &self.file, source))
    }

    /// Removes the lease; all is put back.
    pub(crate) fn remove(&self) -> Result<(), LeaseError> {
        let removed = match fs::remove_file(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| self.sync_folder()),
        };
        removed.map_err(|source| failed("remove", &self.file, source))
    }

    /// Makes what was renamed or removed last.
    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> LeaseError {
    LeaseError::File { action, path: path.into(), source }
}

/// The name of a device as part of the name of a file.
fn in_file_name(device: &DeviceId) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ".:-_".contains(letter);
    device.as_str().chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect()
}

/// The kernel's name for this boot of the machine.
fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}
