//! What AMD SMI says when a call fails, and what that means for a user.

use std::time::Duration;

use crate::device::Access;

/// What grants reading.
pub(super) const READ_FIX: &str = "add this user to the groups render and video (sudo usermod -aG render,video USER) \
                        and log in again; in a container: --device /dev/kfd --device /dev/dri";

pub(super) const SUCCESS: u32 = 0;
const NOT_SUPPORTED: u32 = 2;
const NOT_YET_IMPLEMENTED: u32 = 3;
const NO_PERM: u32 = 10;
const NOT_FOUND: u32 = 31;
const NOT_INIT: u32 = 32;
const DRIVER_NOT_LOADED: u32 = 34;

/// How long to wait for another call to return, where calls must not overlap.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// A call of AMD SMI failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum SmiError {
    /// The library answered with a status other than success.
    #[error("{call} said: {said} (status {code})")]
    Status {
        /// Which call.
        call: &'static str,
        /// The status.
        code: u32,
        /// The status in the library's words.
        said: String,
    },
    /// Another call did not return, and this release takes one at a time.
    #[error("{call}: another call of AMD SMI has not returned for {LOCK_TIMEOUT:?}")]
    Busy {
        /// Which call waited.
        call: &'static str,
    },
}

impl SmiError {
    fn has(&self, codes: &[u32]) -> bool {
        matches!(self, Self::Status { code, .. } if codes.contains(code))
    }

    /// Whether the GPU or its driver has gone.
    pub(super) fn is_lost(&self) -> bool {
        self.has(&[NOT_FOUND, NOT_INIT, DRIVER_NOT_LOADED])
    }

    /// Whether this GPU has no such thing.
    pub(super) fn is_absent(&self) -> bool {
        self.has(&[NOT_SUPPORTED, NOT_YET_IMPLEMENTED])
    }

    /// Whether the kernel runs no driver for AMD GPUs.
    pub(super) fn is_without_driver(&self) -> bool {
        self.has(&[DRIVER_NOT_LOADED])
    }

    /// Whether this user may not.
    pub(super) fn is_denied(&self) -> bool {
        self.has(&[NO_PERM])
    }

    /// The error as what can be had; `fix` is what would grant it.
    pub(super) fn into_access<T>(self, fix: &str) -> Access<T> {
        let because = self.to_string();
        match self {
            error if error.is_absent() => Access::Absent { because },
            error if error.is_denied() => Access::Denied { because, fix: fix.into() },
            _ => Access::Failed { because },
        }
    }
}

/// Why a library could not be loaded, in the system's words too: the error itself says only what was tried.
pub(super) fn describe(error: &libloading::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
