//! Builds and steers the stand-in for NVIDIA's library. Each test has a copy of its own, and so its own GPU.
#![allow(unsafe_code, dead_code, reason = "calls two functions of the stand-in; not every test uses all")]

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;
use wattle_device::device::Access;
use wattle_device::nvidia::{NvidiaDevice, NvidiaRoots, open_all};

/// A stand-in of its own for one test, and a `/proc` to go with it.
pub(crate) struct Mock {
    folder: TempDir,
    library: libloading::Library,
}

impl Mock {
    /// A GPU, and a process that may turn its knobs.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("libnvidia-ml.so.1");
        fs::copy(built(), &copy).unwrap();
        fs::create_dir_all(folder.path().join("proc/self/ns")).unwrap();
        fs::write(folder.path().join("proc/self/uid_map"), "0 0 4294967295\n").unwrap();
        let pids = folder.path().join("proc/self/ns/pid");
        std::os::unix::fs::symlink("pid:[4026531836]", pids).unwrap();
        // SAFETY: loading the stand-in runs no code of its own.
        let library = unsafe { libloading::Library::new(&copy) }.unwrap();
        let mock = Self { folder, library };
        mock.capabilities("000001ffffffffff");
        mock
    }

    /// The capabilities of the process, as a mask in hexadecimal.
    pub(crate) fn capabilities(&self, mask: &str) {
        fs::write(self.folder.path().join("proc/self/status"), format!("CapEff:\t{mask}\n")).unwrap();
    }

    /// Puts the process into a PID namespace of its own.
    pub(crate) fn hide_driver_pids(&self) {
        fs::remove_file(self.folder.path().join("proc/self/ns/pid")).unwrap();
    }

    /// The library to load.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("libnvidia-ml.so.1")
    }

    pub(crate) fn roots(&self) -> NvidiaRoots {
        NvidiaRoots { library: self.path(), proc: self.folder.path().join("proc") }
    }

    pub(crate) fn open_all(&self) -> Vec<NvidiaDevice> {
        match open_all(&self.roots()) {
            Access::Here(devices) => devices,
            other => panic!("no devices: {other:?}"),
        }
    }

    pub(crate) fn open(&self) -> NvidiaDevice {
        self.open_all().remove(0)
    }

    /// Sets a number of the state; see `library.rs` for the names.
    pub(crate) fn set(&self, name: &str, value: f64) {
        let name = CString::new(name).unwrap();
        // SAFETY: the stand-in exports it with this type; `name` lives through the call.
        unsafe {
            let set: libloading::Symbol<'_, unsafe extern "C" fn(*const i8, f64)> =
                self.library.get(b"mock_set\0").unwrap();
            set(name.as_ptr().cast(), value);
        }
    }

    /// Takes a number out of the state.
    pub(crate) fn unset(&self, name: &str) {
        self.set(name, f64::NAN);
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        let name = CString::new(name).unwrap();
        // SAFETY: as in `set`.
        let value = unsafe {
            let get: libloading::Symbol<'_, unsafe extern "C" fn(*const i8) -> f64> =
                self.library.get(b"mock_get\0").unwrap();
            get(name.as_ptr().cast())
        };
        (!value.is_nan()).then_some(value)
    }

    /// How often a function was called.
    pub(crate) fn calls(&self, function: &str) -> f64 {
        self.get(&format!("calls:{function}")).unwrap_or(0.0)
    }
}

/// The stand-in, compiled once a process.
fn built() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("mock.so");
        let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        // Next to this file, whichever crate's test includes it.
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../wattle-device/tests/mock_nvml/library.rs");
        let output = Command::new(compiler)
            .args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "mock_nvml"])
            .arg("-o")
            .args([&library, &source])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (folder, library)
    });
    library
}
