//! Finds the ONNX Runtime library, and says where it looked.
//!
//! Looks at files only: nothing is loaded here, and no Python module is imported (some builds start
//! telemetry when they are).

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::NAME;
use crate::runtime::RuntimeError;

/// The version this program is tested with. It is not the newest: newer wheels for Linux carry telemetry
/// and are no faster.
pub const PINNED_VERSION: &str = "1.27.0";

/// The oldest minor version (of 1.x) whose interface this program speaks.
pub const OLDEST_MINOR: u32 = 20;

/// The last minor version (of 1.x) whose wheels are known to carry no telemetry.
pub const LAST_QUIET_MINOR: u32 = 28;

const EXPLICIT: &str = "--ort-lib";
const ENVIRONMENT: &str = "ORT_DYLIB_PATH";

/// Gives the folder of the `onnxruntime` package without importing it. The working folder is left out
/// of the search, for a folder of that name there is no package.
const FIND_PACKAGE: &str = "import sys; sys.path = [p for p in sys.path if p]
import importlib.util
spec = importlib.util.find_spec('onnxruntime')
print((spec and spec.submodule_search_locations or [''])[0])";

/// An ONNX Runtime library file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// The file.
    pub path: PathBuf,
    /// Its version, where the file's name says it.
    pub version: Option<Version>,
    /// Which rule found it.
    pub how_found: String,
}

impl Library {
    /// Whether the user named this file, so that nothing else will do.
    pub fn is_named(&self) -> bool {
        [EXPLICIT, ENVIRONMENT].contains(&self.how_found.as_str())
    }
}

/// A version as in `1.27.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number; 1 for all there are.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

impl Version {
    /// The version in a text that begins with one, such as `1.27.0` or `1.27.0.dylib`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map_while(|number| number.parse().ok());
        let (major, minor) = (numbers.next()?, numbers.next()?);
        Some(Self { major, minor, patch: numbers.next().unwrap_or(0) })
    }

    fn is_too_old(self) -> bool {
        (self.major, self.minor) < (1, OLDEST_MINOR)
    }

    pub(super) fn may_carry_telemetry(self) -> bool {
        (self.major, self.minor) > (1, LAST_QUIET_MINOR)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What a search for the library gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The library to load, if one was found.
    pub chosen: Option<Library>,
    /// Every place looked at, in order, and why it was taken or passed over.
    pub considered: Vec<(String, String)>,
}

/// Where to look. [`Places::here`] is the machine as it is; tests make their own.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// A file the user named on the command line; must be good.
    pub explicit: Option<PathBuf>,
    /// The file `ORT_DYLIB_PATH` names; must be good.
    pub environment: Option<PathBuf>,
    /// The folder that `wattle runtimes install` writes to.
    pub data_dir: Option<PathBuf>,
    /// The Python to ask for the onnxruntime package.
    pub python: Option<PathBuf>,
    /// Folders of the dynamic loader, in its order.
    pub loader_dirs: Vec<PathBuf>,
}

impl Places {
    /// The places of this machine and environment.
    pub fn here(explicit: Option<&Path>) -> Self {
        let mut loader_dirs: Vec<_> =
            env::var_os("LD_LIBRARY_PATH").iter().flat_map(|path| env::split_paths(path)).collect();
        loader_dirs.retain(|dir| !dir.as_os_str().is_empty());
        let triple = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
        loader_dirs.extend(["/usr/local/lib", &triple, "/usr/lib64", "/usr/lib", "/lib"].map(PathBuf::from));
        Self {
            explicit: explicit.map(Path::to_owned),
            environment: env::var_os(ENVIRONMENT).filter(|path| !path.is_empty()).map(PathBuf::from),
            data_dir: data_dir(),
            python: Some("python3".into()),
            loader_dirs,
        }
    }
}

/// The folder that holds libraries Wattle installed: `$XDG_DATA_HOME/wattle/runtimes`, or the same under
/// `~/.local/share`; `None` where neither variable is set.
pub fn data_dir() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let base = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")))?;
    Some(base.join("wattle/runtimes"))
}

/// Looks for the library on this machine. A file that the user named, by `explicit` or by
/// `ORT_DYLIB_PATH`, is taken or is an error; the other places are passed over where they hold none.
pub fn discover(explicit: Option<&Path>) -> Result<Discovery, RuntimeError> {
    discover_in(&Places::here(explicit))
}

/// Looks for the library in the given places.
pub fn discover_in(places: &Places) -> Result<Discovery, RuntimeError> {
    let mut found = Discovery::default();
    let named = [(&places.explicit, EXPLICIT), (&places.environment, ENVIRONMENT)];
    for (path, how) in named {
        if let Some(path) = path {
            let library = examine(path, how).map_err(|why| {
                let detail = format!("{how} names {}, but {why}; mend or leave out {how}", path.display());
                RuntimeError::Unavailable { runtime: NAME, detail }
            })?;
            found.take(how.to_owned(), library);
            return Ok(found);
        }
        found.pass(how, "not given");
    }

    match &places.data_dir {
        Some(dir) => {
            if found.look_in(dir, "wattle runtimes install") {
                return Ok(found);
            }
        }
        None => found.pass("Wattle's data folder", "neither XDG_DATA_HOME nor HOME is set"),
    }

    if let Some(python) = &places.python {
        match python_package(python) {
            Ok(dir) => {
                if found.look_in(&dir, "Python package onnxruntime") {
                    return Ok(found);
                }
            }
            Err(why) => found.pass("Python package onnxruntime", why),
        }
    }

    for dir in &places.loader_dirs {
        if found.look_in(dir, "library folder of the system") {
            return Ok(found);
        }
    }
    Ok(found)
}

impl Discovery {
    fn pass(&mut self, place: impl Into<String>, why: impl Into<String>) {
        self.considered.push((place.into(), why.into()));
    }

    fn take(&mut self, place: String, library: Library) {
        self.considered.push((place, format!("taken: {}", library.path.display())));
        self.chosen = Some(library);
    }

    /// Takes the best library of a folder: the pinned version, else the newest.
    fn look_in(&mut self, dir: &Path, how: &str) -> bool {
        let place = format!("{how} ({})", dir.display());
        let files = match std::fs::read_dir(dir) {
            Ok(files) => files,
            Err(error) => {
                self.pass(place, error.to_string());
                return false;
            }
        };
        let named = files.flatten().filter(|file| is_library_name(&file.file_name().to_string_lossy()));
        let mut good = Vec::new();
        let mut bad = None;
        for file in named {
            match examine(&file.path(), how) {
                Ok(library) => good.push(library),
                Err(why) => bad = Some(format!("{}: {why}", file.path().display())),
            }
        }
        let pinned = Version::parse(PINNED_VERSION);
        good.sort_by_key(|library| (library.version == pinned, library.version, library.path.clone()));
        match good.pop() {
            Some(library) => {
                self.take(place, library);
                true
            }
            None => {
                self.pass(place, bad.unwrap_or_else(|| "no libonnxruntime there".to_owned()));
                false
            }
        }
    }
}

/// Whether the file can be the library, as far as can be told without loading it.
fn examine(path: &Path, how: &str) -> Result<Library, String> {
    let file = path.canonicalize().map_err(|error| format!("it can't be opened: {error}"))?;
    if !file.is_file() {
        return Err("it is not a file; name the library itself, such as libonnxruntime.so.1.27.0".to_owned());
    }
    let version = file.file_name().and_then(|name| version_in_name(&name.to_string_lossy()));
    match version {
        Some(version) if version.is_too_old() => Err(format!(
            "it is version {version}, older than the oldest that can be used, 1.{OLDEST_MINOR}; get {PINNED_VERSION}"
        )),
        _ => Ok(Library { path: file, version, how_found: how.to_owned() }),
    }
}

fn is_library_name(name: &str) -> bool {
    name.starts_with("libonnxruntime.") && (name.contains(".so") || name.ends_with(".dylib"))
}

fn version_in_name(name: &str) -> Option<Version> {
    let after = name.strip_prefix("libonnxruntime.")?;
    Version::parse(after.strip_prefix("so.").unwrap_or(after))
}

/// The folder of the Python package that holds the library.
fn python_package(python: &Path) -> Result<PathBuf, String> {
    let answer = Command::new(python)
        .args(["-c", FIND_PACKAGE])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} can't be run: {error}", python.display()))?;
    if !answer.status.success() {
        let last = String::from_utf8_lossy(&answer.stderr).lines().last().unwrap_or_default().to_owned();
        return Err(format!("{} failed: {last}", python.display()));
    }
    match String::from_utf8_lossy(&answer.stdout).trim() {
        "" => Err(format!("{} has no such package", python.display())),
        package => Ok(Path::new(package).join("capi")),
    }
}

#[cfg(test)]
mod tests;
