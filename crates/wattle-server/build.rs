//! Compiles the protocol's .proto files, without protoc.

use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["grpc_service.proto", "health.proto"], ["proto"])?;
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(descriptors, files.encode_to_vec())?;
    // `Bytes` instead of `Vec<u8>`: raw tensors stay slices of the received message.
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
