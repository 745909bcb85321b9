//! What ONNX Runtime computes on: the CPU, or an accelerator that the library was built for.

use std::fmt;
use std::str::FromStr;

use ort::ep::{self, ExecutionProvider as _, ExecutionProviderDispatch};

use super::NAME;
use super::library::Library;
use crate::no_panic::no_panic;
use crate::runtime::RuntimeError;

/// One of ONNX Runtime's execution providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionProvider {
    /// The processor. Always there.
    Cpu,
    /// NVIDIA GPUs.
    Cuda,
    /// NVIDIA GPUs by way of TensorRT.
    TensorRt,
    /// AMD GPUs.
    MiGraphX,
    /// Intel processors and GPUs.
    OpenVino,
}

impl ExecutionProvider {
    /// Every execution provider this program can ask for.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Cuda, Self::TensorRt, Self::MiGraphX, Self::OpenVino];

    /// Its name in configuration and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::MiGraphX => "migraphx",
            Self::OpenVino => "openvino",
        }
    }

    /// The Python package whose library has it.
    const fn package(self) -> &'static str {
        match self {
            Self::Cpu => "onnxruntime==1.27.0",
            Self::Cuda | Self::TensorRt => "onnxruntime-gpu==1.27.0",
            Self::MiGraphX => "onnxruntime-migraphx==1.27.1",
            Self::OpenVino => "onnxruntime-openvino==1.24.1",
        }
    }

    /// An error unless the library was built with it. That it was says nothing of the hardware: opening
    /// a model does.
    pub(super) fn require_built_in(self, library: &Library) -> Result<(), RuntimeError> {
        let built_in = no_panic(|| match self {
            Self::Cpu => Ok(true),
            Self::Cuda => ep::CUDA::is_available(),
            Self::TensorRt => ep::TensorRT::is_available(),
            Self::MiGraphX => ep::MIGraphX::is_available(),
            Self::OpenVino => ep::OpenVINO::is_available(),
        });
        match built_in {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(RuntimeError::Unavailable {
                runtime: NAME,
                detail: format!(
                    "{} was built without {self}; `pip install {}` and point --ort-lib at its \
                     onnxruntime/capi/libonnxruntime.so, or ask for cpu",
                    library.path.display(),
                    self.package()
                ),
            }),
            Ok(Err(error)) => Err(RuntimeError::Unavailable { runtime: NAME, detail: error.to_string() }),
            Err(detail) => Err(RuntimeError::Unavailable { runtime: NAME, detail }),
        }
    }

    /// What a session registers: it fails if this one can't be had. The CPU needs no registering.
    pub(super) fn registration(self) -> Option<ExecutionProviderDispatch> {
        let provider = match self {
            Self::Cpu => return None,
            Self::Cuda => ep::CUDA::default().build(),
            Self::TensorRt => ep::TensorRT::default().build(),
            Self::MiGraphX => ep::MIGraphX::default().build(),
            Self::OpenVino => ep::OpenVINO::default().build(),
        };
        Some(provider.error_on_failure())
    }
}

impl fmt::Display for ExecutionProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No execution provider has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no execution provider is named {0}; there are cpu, cuda, tensorrt, migraphx and openvino")]
pub struct UnknownExecutionProvider(String);

impl FromStr for ExecutionProvider {
    type Err = UnknownExecutionProvider;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim();
        let found = Self::ALL.into_iter().find(|provider| provider.name().eq_ignore_ascii_case(wanted));
        found.ok_or_else(|| UnknownExecutionProvider(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnxruntime::library::PINNED_VERSION;

    #[test]
    fn names_parse_and_unknown_ones_list_the_known() {
        for provider in ExecutionProvider::ALL {
            assert_eq!(provider.name().parse(), Ok(provider));
        }
        assert_eq!("CUDA".parse(), Ok(ExecutionProvider::Cuda));
        let says = "rocm".parse::<ExecutionProvider>().unwrap_err().to_string();
        assert!(ExecutionProvider::ALL.iter().all(|provider| says.contains(provider.name())), "{says}");
    }

    #[test]
    fn package_to_install_is_the_pinned_one() {
        assert_eq!(ExecutionProvider::Cpu.package(), format!("onnxruntime=={PINNED_VERSION}"));
    }
}
