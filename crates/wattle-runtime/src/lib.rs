//! Executes models: rten, ONNX Runtime and a simulated runtime, behind one seam.
//!
//! The only crate that names an inference library. It knows no protocol, no queue and no policy.

pub mod choice;
mod gather;
pub mod install;
mod no_panic;
pub mod onnx_file;
pub mod onnxruntime;
pub mod rten;
pub mod runtime;
pub mod simulated;
pub mod tensor;
