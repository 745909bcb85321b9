//! Reads and writes the small text files through which the kernel shows hardware, with errors that
//! name the file and say what to do. Knows nothing of what stands in them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::device::{Access, DeviceError};

/// The kernel has at most 8192 CPUs: a list with more is none, and would fill the memory.
const MOST_CPUS: u32 = 8192;

/// A file that is read again and again, kept open: opening costs more than reading.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    file: File,
    buffer: Box<[u8; 4096]>,
}

impl KeptFile {
    pub(super) fn open(path: &Path) -> Result<Self, DeviceError> {
        let file = File::open(path).map_err(|source| failed("read", path, source))?;
        Ok(Self { path: path.to_owned(), file, buffer: Box::new([0; 4096]) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The text as it stands now, or its first 4 KiB, without the white space around it.
    pub(super) fn read(&mut self) -> Result<String, DeviceError> {
        // One read from the start: the kernel makes the text anew, and these texts fit at once.
        let length = match self.file.read_at(&mut *self.buffer, 0) {
            Ok(length) => length,
            // The file was made anew, as by a driver that was loaded again.
            Err(_) => {
                *self = Self::open(&self.path)?;
                let read = self.file.read_at(&mut *self.buffer, 0);
                read.map_err(|source| failed("read", &self.path, source))?
            }
        };
        Ok(String::from_utf8_lossy(&self.buffer[..length]).trim().to_owned())
    }

    /// As [`read_number`].
    pub(super) fn number(&mut self, expected: &'static str) -> Result<u64, DeviceError> {
        let text = self.read()?;
        text.parse().map_err(|_| unexpected(&self.path, &text, expected))
    }
}

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

/// As [`read_number`], or `None` where there is no such file or the kernel has no such figure.
pub(super) fn read_number_if_any(path: &Path, expected: &'static str) -> Result<Option<u64>, DeviceError> {
    match read_number(path, expected) {
        Ok(number) => Ok(Some(number)),
        Err(error) if is_missing(&error) => Ok(None),
        // The powercap driver answers so for figures that a processor doesn't tell.
        Err(DeviceError::File { source, .. }) if source.raw_os_error() == Some(NO_DATA) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `ENODATA` of Linux.
const NO_DATA: i32 = 61;

/// The CPUs of a list such as `0-3,8`, ascending; none where it is empty.
pub(super) fn read_cpu_list(path: &Path) -> Result<Vec<u32>, DeviceError> {
    let text = read(path)?;
    cpu_list(&text).ok_or_else(|| unexpected(path, &text, "a list of CPUs, such as 0-3,8"))
}

/// See [`read_cpu_list`]. `None` for what is no such list.
pub(super) fn cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last >= MOST_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

/// Writes `text` to `path`, which must exist.
pub(super) fn write(path: &Path, text: &str) -> Result<(), DeviceError> {
    // Not `fs::write`: it would create a file that the kernel doesn't offer.
    let opened = fs::OpenOptions::new().write(true).truncate(true).open(path);
    let mut file = opened.map_err(|source| failed("write", path, source))?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(|source| {
        let hint = match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "; the file may be written but its value may not be changed: look for a lock in the \
                 firmware's (BIOS) settings"
            }
            _ => "",
        };
        DeviceError::File { action: "write", path: path.display().to_string(), hint, source }
    })
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

/// Why a file of the kernel can't be had, and the exact way to be let.
pub(super) fn no_access<T>(error: &DeviceError) -> Access<T> {
    let DeviceError::File { action, path, source, hint } = error else {
        return Access::Failed { because: error.to_string() };
    };
    let because = format!("failed to {action} {path}: {source}");
    let fix = match (source.kind(), *action) {
        (io::ErrorKind::NotFound, _) => return Access::Absent { because },
        (io::ErrorKind::ReadOnlyFilesystem, _) => {
            "mount /sys writable into the container (-v /sys:/sys:rw, or --privileged)".to_owned()
        }
        (io::ErrorKind::PermissionDenied, "read") => {
            format!("setcap cap_dac_read_search=ep PROGRAM, or as root: chmod a+r {path}")
        }
        (io::ErrorKind::PermissionDenied, "write") => {
            format!("setcap cap_dac_override=ep PROGRAM, or as root: chown USER {path}")
        }
        (io::ErrorKind::PermissionDenied, _) => hint.trim_start_matches("; ").to_owned(),
        _ => return Access::Failed { because },
    };
    Access::Denied { because, fix }
}

/// What was read, or why it can't be had.
pub(super) fn access<T>(result: Result<T, DeviceError>) -> Access<T> {
    result.map_or_else(|error| no_access(&error), Access::Here)
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
    fn a_refusal_is_denied_with_its_fix_and_a_missing_file_is_absent() {
        let kept_out = |action, kind: io::ErrorKind| {
            no_access::<()>(&failed(action, Path::new("/sys/x"), io::Error::from(kind)))
        };
        for (action, kind, expected) in [
            ("read", io::ErrorKind::PermissionDenied, "chmod a+r /sys/x"),
            ("write", io::ErrorKind::PermissionDenied, "setcap cap_dac_override=ep"),
            ("write", io::ErrorKind::ReadOnlyFilesystem, "mount /sys writable"),
        ] {
            let Access::Denied { because, fix } = kept_out(action, kind) else { panic!("not denied") };
            assert!(because.contains("/sys/x") && fix.contains(expected), "{because} {fix}");
        }
        assert!(matches!(kept_out("read", io::ErrorKind::NotFound), Access::Absent { .. }));
        assert!(matches!(kept_out("read", io::ErrorKind::TimedOut), Access::Failed { .. }));
    }

    #[test]
    fn lists_of_cpus_are_read_and_what_is_no_list_is_refused() {
        assert_eq!(cpu_list("0-2,8,2"), Some(vec![0, 1, 2, 8]));
        assert_eq!(cpu_list(""), Some(vec![]));
        for text in ["x", "0-", "3-1", "0,,1", "0-4294967295", "-1"] {
            assert_eq!(cpu_list(text), None, "{text}");
        }
    }

    #[test]
    fn a_kept_file_shows_what_stands_in_it_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("energy_uj");
        fs::write(&path, "12345\n").unwrap();
        let mut kept = KeptFile::open(&path).unwrap();
        assert_eq!(kept.number("a count").unwrap(), 12345);
        fs::write(&path, "7\n").unwrap();
        assert_eq!(kept.number("a count").unwrap(), 7);
        fs::write(&path, "x").unwrap();
        assert!(matches!(kept.number("a count"), Err(DeviceError::Content { .. })));
    }

    #[test]
    fn a_file_that_is_not_there_is_never_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scaling_max_freq");
        assert!(is_missing(&write(&path, "1").unwrap_err()));
        assert!(!path.exists());
    }
}
