//! Builds the libraries that play AMD's, once per process, and gives each test a copy with its own state.
#![allow(unsafe_code, reason = "calls what the libraries export for tests")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use libloading::Library;
use tempfile::TempDir;

/// One test's own copy of the library that plays AMD SMI.
pub(crate) struct MockSmi {
    path: PathBuf,
    library: Library,
    _folder: TempDir,
}

impl MockSmi {
    /// Two MI300X under AMD SMI 26.2, with nothing wrong.
    pub(crate) fn new() -> Self {
        let (folder, path) = copy_of("amdsmi");
        // SAFETY: built by us; its initialisers do nothing.
        let library = unsafe { Library::new(&path) }.unwrap();
        Self { path, library, _folder: folder }
    }

    /// As `new`, with some fields of its state set.
    pub(crate) fn with(fields: &[(&str, u64)]) -> Self {
        let mock = Self::new();
        fields.iter().for_each(|(field, value)| mock.set(field, *value));
        mock
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sets a field of the state that the library plays.
    pub(crate) fn set(&self, field: &str, value: u64) {
        let field = CString::new(field).unwrap();
        // SAFETY: the type is that in `amdsmi.rs`; the text lives through the call.
        unsafe {
            let set = self.library.get::<unsafe extern "C" fn(*const u8, u64)>(b"mock_set\0").unwrap();
            set(field.as_ptr().cast(), value);
        }
    }

    /// A field of the state that the library plays.
    pub(crate) fn get(&self, field: &str) -> u64 {
        let field = CString::new(field).unwrap();
        // SAFETY: as above.
        unsafe {
            let get = self.library.get::<unsafe extern "C" fn(*const u8) -> u64>(b"mock_get\0").unwrap();
            get(field.as_ptr().cast())
        }
    }
}

/// A fresh copy of the library built of `tests/mock_amdsmi/NAME.rs`, and the folder that it lasts as long as.
pub(crate) fn copy_of(name: &str) -> (TempDir, PathBuf) {
    static BUILT: Mutex<Vec<(String, Vec<u8>)>> = Mutex::new(Vec::new());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("lib{name}.so"));
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, bytes)) = built.iter().find(|(known, _)| known == name) {
        std::fs::write(&path, bytes).unwrap();
    } else {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/mock_amdsmi/{name}.rs"));
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc)
            .args(["--edition=2024", "--crate-type=cdylib", "-Cdebuginfo=0", "-Cpanic=abort", "-o"])
            .args([path.as_os_str(), source.as_os_str()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        built.push((name.to_owned(), std::fs::read(&path).unwrap()));
    }
    (folder, path)
}
