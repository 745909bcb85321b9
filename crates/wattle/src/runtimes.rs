//! Which runtime executes the models: the flags, and the search behind them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use wattle_runtime::choice::{Offer, RuntimeChoice, choose};
use wattle_runtime::onnxruntime::OrtOptions;
use wattle_runtime::onnxruntime::execution_provider::ExecutionProvider;
use wattle_runtime::onnxruntime::library::{Discovery, discover};
use wattle_runtime::runtime::Runtime;

use crate::exit::ConfigError;

/// Flags of every command that runs models.
#[derive(Args, Clone, Default)]
pub(crate) struct RuntimeArgs {
    /// What executes the models: auto (ONNX Runtime where it is found, else rten), rten, onnxruntime or
    /// simulated
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime: Option<RuntimeChoice>,
    /// The ONNX Runtime library to load; also ORT_DYLIB_PATH
    #[arg(long, value_name = "FILE")]
    pub(crate) ort_lib: Option<PathBuf>,
    /// Execution providers of ONNX Runtime, best first: cpu, cuda, tensorrt, migraphx, openvino. One that
    /// can't be had is an error, never a silent fall-back
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) execution_providers: Vec<ExecutionProvider>,
}

impl RuntimeArgs {
    /// Looks for ONNX Runtime, unless another runtime was asked for.
    pub(crate) fn discover(&self) -> Result<Discovery> {
        match self.runtime.unwrap_or_default() {
            RuntimeChoice::Auto | RuntimeChoice::OnnxRuntime => {
                discover(self.ort_lib.as_deref()).context(ConfigError)
            }
            RuntimeChoice::Rten | RuntimeChoice::Simulated => Ok(Discovery::default()),
        }
    }

    /// The runtime, and why it is that one.
    pub(crate) fn choose(&self, simulated: Option<Arc<dyn Runtime>>) -> Result<(Arc<dyn Runtime>, String)> {
        let ort = OrtOptions { execution_providers: self.execution_providers.clone() };
        let offer = Offer { discovery: self.discover()?, ort, simulated };
        choose(self.runtime.unwrap_or_default(), &offer).context(ConfigError)
    }
}
