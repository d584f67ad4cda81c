//! Compiles the messages with a protobuf compiler written in Rust: no protoc is needed on the machine.

use std::io::Error;

fn main() -> Result<(), Error> {
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(["manifest.proto", "wire.proto"], ["proto"]).map_err(Error::other)?;
    let mut config = prost_build::Config::new();
    config.protoc_executable("unused");
    config.compile_fds(set)
}
