//! Compiles the messages with a protobuf compiler written in Rust (no protoc is needed on the machine), and notes which
//! commit this is and with which features it is built.

use std::{io::Error, process::Command};

fn main() -> Result<(), Error> {
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(["bundle.proto", "manifest.proto", "parity.proto", "wire.proto"], ["proto"])
        .map_err(Error::other)?;
    let mut config = prost_build::Config::new();
    config.protoc_executable("unused");
    config.compile_fds(set)?;
    note_commit();
    note_features();
    Ok(())
}

/// Hands `git describe` of the sources to the crate; a tarball or a machine without git has none.
fn note_commit() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    // Sources unpacked inside some other repository are not its commit.
    let ours = git(&["ls-files", "--error-unmatch", "proto/build.rs"]).is_some();
    let commit = git(&["rev-parse", "--short=10", "HEAD"]).filter(|_| ours);
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some();
    let text = match commit {
        Some(commit) if dirty => format!("commit {commit}-dirty"),
        Some(commit) => format!("commit {commit}"),
        None => "unknown commit".to_owned(),
    };
    println!("cargo:rustc-env=REGENESIS_COMMIT={text}");
    // Edited sources are no longer the commit's.
    println!("cargo:rerun-if-changed=src");
    // A commit moves HEAD itself, or the branch that it names; packed references lie in one file.
    for name in ["HEAD", "packed-refs"].map(str::to_owned).into_iter().chain(git(&["symbolic-ref", "HEAD"])) {
        if let Some(path) = git(&["rev-parse", "--git-path", &name]).filter(|path| std::path::Path::new(path).exists())
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

/// Hands the names of the features that are on to the crate.
fn note_features() {
    let mut features: Vec<String> = std::env::vars()
        .filter_map(|(name, _)| name.strip_prefix("CARGO_FEATURE_").map(str::to_lowercase))
        .filter(|name| name != "default")
        .collect();
    features.sort();
    let text = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    println!("cargo:rustc-env=REGENESIS_FEATURES={text}");
}
