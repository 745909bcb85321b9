//! The protocol's messages, generated from `proto/` at build time.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]

tonic::include_proto!("inference");

/// The compiled .proto files, for reading and writing messages as text and JSON.
pub static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
