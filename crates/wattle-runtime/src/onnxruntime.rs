//! ONNX Runtime, loaded at run time from the library that was found.
//!
//! The library keeps one environment for a whole process, and so do we. It never falls back from an
//! execution provider that was asked for to another one.

mod convert;
pub mod execution_provider;
pub mod library;
mod model;
mod sessions;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use self::execution_provider::ExecutionProvider;
use self::library::{LAST_QUIET_MINOR, Library, PINNED_VERSION, Version};
use self::model::OrtModel;
use crate::no_panic::no_panic;
use crate::runtime::{LoadedModel, ModelSource, Runtime, RuntimeError};

const NAME: &str = "onnxruntime";

/// The variable that keeps newer builds of the library from sending telemetry.
const DISABLE_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

/// The library's one environment, and the file it came from. A process can neither have a second one
/// nor unload the first: this static is the library's own rule, not a convenience.
static ENVIRONMENT: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// How ONNX Runtime is to run models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrtOptions {
    /// What computes, the most wanted first; the CPU takes what is left over. Empty is the CPU alone.
    pub execution_providers: Vec<ExecutionProvider>,
}

/// Runs models with ONNX Runtime.
#[derive(Debug)]
pub struct OnnxRuntime {
    environment: Environment,
    library: Library,
    version: Option<Version>,
    options: OrtOptions,
}

/// Tells ONNX Runtime to send no telemetry, unless the user has set `ORT_DISABLE_TELEMETRY` already.
/// Call it first thing in `main`: the environment must not change once there are other threads.
pub fn disable_telemetry() {
    if std::env::var_os(DISABLE_TELEMETRY).is_none() {
        #[expect(
            unsafe_code,
            reason = "the library reads only the environment, before it can be told otherwise"
        )]
        // SAFETY: the caller has started no other thread.
        unsafe {
            std::env::set_var(DISABLE_TELEMETRY, "1");
        }
    }
}

impl OnnxRuntime {
    /// Loads the library and readies it for these execution providers. A process can load one library
    /// only: a second one is an error, the same one again is shared.
    pub fn open(library: Library, options: OrtOptions) -> Result<Self, RuntimeError> {
        let unavailable = |detail: String| RuntimeError::Unavailable { runtime: NAME, detail };
        if library.version.is_some_and(Version::may_carry_telemetry) {
            if std::env::var_os(DISABLE_TELEMETRY).is_none() {
                return Err(unavailable(format!(
                    "wheels later than 1.{LAST_QUIET_MINOR} send telemetry; set {DISABLE_TELEMETRY}=1 or use {PINNED_VERSION}"
                )));
            }
            tracing::warn!(library = %library.path.display(), "library may carry telemetry; it was told to send none");
        }
        let loaded = no_panic(|| environment(&library)).map_err(unavailable)??;
        let version = library.version.or_else(|| no_panic(built_version).ok().flatten());
        for provider in &options.execution_providers {
            provider.require_built_in(&library)?;
        }
        Ok(Self { environment: loaded, library, version, options })
    }
}

fn environment(library: &Library) -> Result<Environment, RuntimeError> {
    let unavailable = |detail: String| RuntimeError::Unavailable { runtime: NAME, detail };
    let mut loaded = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((path, environment)) = &*loaded {
        if *path == library.path {
            return Ok(environment.clone());
        }
        return Err(unavailable(format!("this process has loaded {} already", path.display())));
    }
    let hint = format!("get {PINNED_VERSION} with `wattle runtimes install`");
    let environment = ort::init_from(&library.path)
        .map_err(|error| unavailable(format!("{error}; {hint}")))?
        .with_name("wattle")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|error| unavailable(format!("{}: {error}; {hint}", library.path.display())))?;
    environment.set_log_level(LogLevel::Warning);
    *loaded = Some((library.path.clone(), environment.clone()));
    Ok(environment)
}

/// The library's log, in ours.
fn log(level: LogLevel, category: &str, _id: &str, _location: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::error!(target: NAME, category, "{message}"),
        LogLevel::Warning => tracing::warn!(target: NAME, category, "{message}"),
        LogLevel::Info => tracing::debug!(target: NAME, category, "{message}"),
        LogLevel::Verbose => tracing::trace!(target: NAME, category, "{message}"),
    }
}

/// The version in the library's own account of how it was built, such as `git-branch=rel-1.27.0`.
fn built_version() -> Option<Version> {
    Version::parse(ort::info().split_once("rel-")?.1.split(',').next()?)
}

impl Runtime for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn describe(&self) -> String {
        let version = self.version.map_or("of unknown version".to_owned(), |version| version.to_string());
        let mut providers: Vec<_> = self.options.execution_providers.iter().map(|one| one.name()).collect();
        if providers.is_empty() {
            providers.push(ExecutionProvider::Cpu.name());
        }
        format!("ONNX Runtime {version} on {} ({})", providers.join(", "), self.library.path.display())
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn LoadedModel>, RuntimeError> {
        Ok(Arc::new(OrtModel::load(self.environment.clone(), &self.options, source)?))
    }
}
