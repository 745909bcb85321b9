//! What NVML says, in the errors and the accesses of the device seam.

use nvml_wrapper::error::NvmlError;
use wattle_core::id::DeviceId;

use crate::device::{Access, DeviceError};

/// How to be let to turn knobs and to repartition.
pub(super) const GRANT: &str =
    "run as root or with CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN), or turn knobs through zeusd";
/// [`GRANT`], as the end of an error.
const GRANT_HINT: &str =
    "; run as root or with CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN), or turn knobs through zeusd";

/// NVML failed to do `action` on `device`.
pub(super) fn failed(device: &DeviceId, action: impl Into<String>, error: &NvmlError) -> DeviceError {
    if matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired) {
        return DeviceError::Lost { device: device.clone(), said: words(error) };
    }
    let hint = match error {
        NvmlError::NoPermission => GRANT_HINT,
        NvmlError::InUse => "; stop the processes that use it, then try again",
        NvmlError::LibRmVersionMismatch => "; the driver was updated: reload it or reboot",
        _ => "",
    };
    DeviceError::Driver { device: device.clone(), action: action.into(), said: words(error), hint }
}

/// An error, in words: those that the wrapper does not know yet, too (codes of `nvml.h`, NVML 13).
pub(super) fn words(error: &NvmlError) -> String {
    match error {
        NvmlError::UnexpectedVariant(23) => "the device has not enough resources left".into(),
        NvmlError::UnexpectedVariant(24) => "the clock is not a supported one".into(),
        NvmlError::UnexpectedVariant(27) => "the device is not ready".into(),
        NvmlError::UnexpectedVariant(29) => "the device is in the wrong state for this".into(),
        error => error.to_string(),
    }
}

/// Whether the device, the driver or the mode it is in has no such thing, now and at the next call.
pub(super) fn is_absent(error: &NvmlError) -> bool {
    matches!(error, NvmlError::NotSupported | NvmlError::FunctionNotFound | NvmlError::FailedToLoadSymbol(_))
}

/// `None` where there is no such thing, or it is kept from us: unknown, not an error of the reading.
pub(super) fn known<T>(answer: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(&error) || matches!(error, NvmlError::NoPermission) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What `call` answered, for people.
pub(super) fn access<T>(call: &str, answer: Result<T, NvmlError>) -> Access<T> {
    match answer {
        Ok(value) => Access::Here(value),
        Err(error) if is_absent(&error) => Access::Absent { because: format!("{call}: {}", words(&error)) },
        Err(error @ NvmlError::NoPermission) => {
            Access::Denied { because: format!("{call}: {}", words(&error)), fix: GRANT.into() }
        }
        Err(error) => Access::Failed { because: format!("{call}: {}", words(&error)) },
    }
}

/// What can be had is made into something else, or found not to be had after all.
pub(super) fn and_then<T, U>(access: Access<T>, next: impl FnOnce(T) -> Access<U>) -> Access<U> {
    match access {
        Access::Here(value) => next(value),
        Access::Absent { because } => Access::Absent { because },
        Access::Denied { because, fix } => Access::Denied { because, fix },
        Access::Failed { because } => Access::Failed { because },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_gpu_is_lost_and_a_refusal_says_how_to_be_let() {
        let device: DeviceId = "nvidia:GPU-1".into();
        let lost = failed(&device, "read the power", &NvmlError::GpuLost);
        assert!(matches!(lost, DeviceError::Lost { .. }), "{lost}");
        let refused = failed(&device, "set the power limit", &NvmlError::NoPermission).to_string();
        assert!(refused.starts_with("nvidia:GPU-1: failed to set the power limit: "), "{refused}");
        assert!(refused.ends_with(GRANT), "{refused}");
    }

    #[test]
    fn what_is_not_there_is_unknown_and_what_fails_is_an_error() {
        assert_eq!(known::<u32>(Err(NvmlError::NotSupported)).ok(), Some(None));
        assert_eq!(known(Ok(3)).ok(), Some(Some(3)));
        assert!(known::<u32>(Err(NvmlError::Unknown)).is_err());
        assert!(matches!(access::<u32>("call", Err(NvmlError::NotSupported)), Access::Absent { .. }));
        assert!(matches!(access::<u32>("call", Err(NvmlError::Unknown)), Access::Failed { .. }));
    }
}
