//! Fetches ONNX Runtime: has pip download its wheel, checks it, and keeps the one library of it.
//!
//! pip knows the user's package index, proxy and certificates, so none of them is known here. Nothing is
//! installed into any Python.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};

use crate::onnxruntime::library::PINNED_VERSION;

/// SHA-256 of the wheels of the pinned version, by processor.
const PINNED_WHEELS: [(&str, &str); 2] = [
    ("x86_64", "7c65a7438632d55dfbc8a02ee60bd6cf7dd9d1ba05a43d4b851452f32338e194"),
    ("aarch64", "c6fddce0539a4898c7bef35b052ffd37935b2190e35488eab99ce91887743ea1"),
];

/// What is to be installed, where, and by which Python.
#[derive(Debug, Clone)]
pub struct Install {
    /// The folder the library goes to; made if need be. Discovery looks in
    /// [`data_dir`](crate::onnxruntime::library::data_dir).
    pub data_dir: PathBuf,
    /// The Python whose pip downloads.
    pub python: PathBuf,
    /// The wheel's processor, as in `x86_64`.
    pub arch: String,
    /// The SHA-256 the wheel must have.
    pub sha256: Option<String>,
}

/// What was installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The library.
    pub library: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Name of the wheel it came from.
    pub wheel: String,
    /// SHA-256 of that wheel.
    pub sha256: String,
    /// Whether the sum was known beforehand and agreed.
    pub verified: bool,
}

/// ONNX Runtime could not be fetched.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it all")]
pub enum InstallError {
    #[error(
        "failed to run {python}: {source}; install Python with pip, or fetch the wheel onnxruntime=={PINNED_VERSION} \
         elsewhere and pass its libonnxruntime.so as --ort-lib"
    )]
    NoPython {
        python: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "pip failed to download onnxruntime=={PINNED_VERSION} for {platform}: {detail}; where there is no network, \
         fetch that wheel elsewhere and pass its libonnxruntime.so as --ort-lib"
    )]
    Pip { platform: String, detail: String },
    #[error("pip downloaded no wheel; it left {0}")]
    NoWheel(String),
    #[error(
        "wheel {wheel} has SHA-256 {found}, expected {expected}; it was altered on its way or by its index: nothing \
         was installed"
    )]
    Checksum { wheel: String, found: String, expected: String },
    #[error("wheel {wheel} holds no libonnxruntime.so: {detail}")]
    Wheel { wheel: String, detail: String },
    #[error("failed to write {path}: {source}")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "there is no wheel to take the library from on {0}; `pip install onnxruntime=={PINNED_VERSION}` instead"
    )]
    Platform(String),
}

impl Install {
    /// The pinned version for this machine, by the `python3` on the path.
    pub fn pinned(data_dir: PathBuf) -> Result<Self, InstallError> {
        if !cfg!(all(target_os = "linux", target_env = "gnu")) {
            return Err(InstallError::Platform(std::env::consts::OS.to_owned()));
        }
        let arch = std::env::consts::ARCH;
        let sha256 = PINNED_WHEELS.iter().find(|(of, _)| *of == arch).map(|(_, sum)| (*sum).to_owned());
        Ok(Self { data_dir, python: "python3".into(), arch: arch.to_owned(), sha256 })
    }

    /// Downloads, checks and unpacks. The library appears whole or not at all.
    pub fn run(&self) -> Result<Installed, InstallError> {
        let temporary = TempDir::with_prefix("wattle-").map_err(writing(&std::env::temp_dir()))?;
        self.download(temporary.path())?;
        let (wheel, path) = only_wheel(temporary.path())?;
        let found = sha256(&path).map_err(writing(&path))?;
        if let Some(expected) = self.sha256.as_ref().filter(|expected| **expected != found) {
            return Err(InstallError::Checksum { wheel, found, expected: expected.clone() });
        }
        let (library, bytes) = self.unpack(&wheel, &path)?;
        Ok(Installed { library, bytes, wheel, sha256: found, verified: self.sha256.is_some() })
    }

    fn download(&self, into: &Path) -> Result<(), InstallError> {
        // The library needs no Python, but pip wants to know for which one the wheel would be.
        let platform = format!("manylinux_2_28_{}", self.arch);
        let answer = Command::new(&self.python)
            .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.12"])
            .args(["--disable-pip-version-check", "--no-input", "--platform", &platform, "-d"])
            .arg(into)
            .arg(format!("onnxruntime=={PINNED_VERSION}"))
            .stdin(Stdio::null())
            .output()
            .map_err(|source| InstallError::NoPython { python: self.python.display().to_string(), source })?;
        if answer.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&answer.stderr);
        let last: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let detail = last[last.len().saturating_sub(3)..].join("; ");
        Err(InstallError::Pip {
            platform,
            detail: if detail.is_empty() { answer.status.to_string() } else { detail },
        })
    }

    fn unpack(&self, wheel: &str, path: &Path) -> Result<(PathBuf, u64), InstallError> {
        let bad = |detail: String| InstallError::Wheel { wheel: wheel.to_owned(), detail };
        let file = File::open(path).map_err(writing(path))?;
        let mut archive = zip::ZipArchive::new(file).map_err(|error| bad(error.to_string()))?;
        let member = archive
            .file_names()
            .filter_map(Result::ok)
            .find(|name| name.starts_with("onnxruntime/capi/libonnxruntime.so."))
            .map(|name| name.into_owned())
            .ok_or_else(|| bad(format!("it has {} files, none of that name", archive.len())))?;
        // The last part only, so that no name in an archive leads out of the folder.
        let name = member.rsplit('/').next().unwrap_or(&member).to_owned();
        let mut packed = archive.by_name(&member).map_err(|error| bad(error.to_string()))?;

        let library = self.data_dir.join(name);
        fs::create_dir_all(&self.data_dir).map_err(writing(&self.data_dir))?;
        let mut written = NamedTempFile::new_in(&self.data_dir).map_err(writing(&self.data_dir))?;
        let bytes = io::copy(&mut packed, &mut written).map_err(writing(&library))?;
        written.flush().and_then(|()| written.as_file().sync_all()).map_err(writing(&library))?;
        readable_by_all(written.as_file()).map_err(writing(&library))?;
        written.persist(&library).map_err(|error| writing(&library)(error.error))?;
        Ok((library, bytes))
    }
}

fn only_wheel(dir: &Path) -> Result<(String, PathBuf), InstallError> {
    let entries = fs::read_dir(dir).map_err(writing(dir))?;
    let names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    match names.iter().find(|name| name.ends_with(".whl")) {
        Some(wheel) => Ok((wheel.clone(), dir.join(wheel))),
        None => {
            Err(InstallError::NoWheel(if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }))
        }
    }
}

fn sha256(path: &Path) -> io::Result<String> {
    let bytes = fs::read(path)?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Temporary files are for their owner alone; a library is for all.
#[cfg(unix)]
fn readable_by_all(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all(_: &File) -> io::Result<()> {
    Ok(())
}

fn writing(path: &Path) -> impl Fn(io::Error) -> InstallError + use<> {
    let path = path.display().to_string();
    move |source| InstallError::Write { path: path.clone(), source }
}

#[cfg(test)]
mod tests;
