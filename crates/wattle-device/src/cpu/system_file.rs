//! Reads and writes the small text files through which the kernel shows hardware, with errors that
//! name the file and say what to do. Knows nothing of what stands in them.

use std::fs;
use std::io;
use std::path::Path;

use crate::device::DeviceError;

/// The text of `path`, without the white space around it.
pub(super) fn read(path: &Path) -> Result<String, DeviceError> {
    let text = fs::read_to_string(path).map_err(|source| failed("read", path, source))?;
    Ok(text.trim().to_owned())
}

/// The whole number that stands in `path`; `expected` says what it is, for the error.
pub(super) fn read_number(path: &Path, expected: &'static str) -> Result<u64, DeviceError> {
    let text = read(path)?;
    text.parse().map_err(|_| unexpected(path, &text, expected))
}

/// Writes `text` to `path`, which must exist.
pub(super) fn write(path: &Path, text: &str) -> Result<(), DeviceError> {
    // Not `fs::write`: it would create a file that the kernel doesn't offer.
    let result = fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
    result.map_err(|source| failed("write", path, source))
}

/// Checks that `path` may be written, without writing.
pub(super) fn check_writable(path: &Path) -> Result<(), DeviceError> {
    let opened = fs::OpenOptions::new().write(true).open(path);
    opened.map(drop).map_err(|source| failed("write", path, source))
}

/// The error of not being able to `action` (`read` or `write`) `path`.
pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> DeviceError {
    let hint = match (source.kind(), action) {
        (io::ErrorKind::PermissionDenied, "read") => {
            "; grant this program CAP_DAC_READ_SEARCH, or have an administrator make the file readable \
             to its user (chmod)"
        }
        (io::ErrorKind::PermissionDenied, _) => {
            "; grant this program CAP_DAC_OVERRIDE, or have an administrator make the file writable to \
             its user (chown)"
        }
        _ => "",
    };
    DeviceError::File { action, path: path.display().to_string(), hint, source }
}

/// The error of finding something else than `expected` in `path`.
pub(super) fn unexpected(path: &Path, found: &str, expected: &'static str) -> DeviceError {
    // A file that isn't what it seems may be long: the start is enough to tell.
    let found = found.chars().take(80).collect();
    DeviceError::Content { path: path.display().to_string(), found, expected }
}

/// Whether `error` is one of missing permission.
pub(super) fn is_denied(error: &DeviceError) -> bool {
    matches!(error, DeviceError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

/// Whether `error` is one of a missing file.
pub(super) fn is_missing(error: &DeviceError) -> bool {
    matches!(error, DeviceError::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_file_says_how_to_grant_it() {
        let refused = |action| {
            failed(action, Path::new("/sys/x"), io::Error::from(io::ErrorKind::PermissionDenied)).to_string()
        };
        assert!(refused("read").contains("failed to read /sys/x: permission denied; grant"));
        assert!(refused("read").contains("CAP_DAC_READ_SEARCH"));
        assert!(refused("write").contains("CAP_DAC_OVERRIDE"));
    }

    #[test]
    fn a_file_that_is_not_there_is_never_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scaling_max_freq");
        assert!(is_missing(&write(&path, "1").unwrap_err()));
        assert!(!path.exists());
    }
}
