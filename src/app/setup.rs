//! `setup init`: a root from files.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::{
    base::{Error, Result, Sha256Hash},
    kwil::genesis::Genesis,
    setup::{self, InitOptions, Initialised},
};

/// Makes a root; the snapshot is checked while it is copied.
pub fn init(options: &InitOptions) -> Result<Initialised> {
    setup::init(options, &check_snapshot)
}

/// Reads a snapshot file to its end and compares the hash of its text with the one the genesis pins.
fn check_snapshot(file: &mut dyn Read, genesis: &Genesis) -> Result<()> {
    let expected = genesis.state_hash().ok_or_else(|| Error::refused("the genesis pins no state hash"))?;
    let damaged = |e: io::Error| {
        Error::verify("the snapshot is no whole gzip file").because(e).hint("copy it again from where it came from")
    };
    let mut text = MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, file));
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match text.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(damaged(e)),
        }
    }
    let got = Sha256Hash::from_bytes(hasher.finalize().into());
    if got != expected {
        return Err(Error::verify(format!("the snapshot has state hash {got}, but the genesis pins {expected}")).hint(
            "genesis and snapshot do not belong together, or the file is damaged: get both again from one place",
        ));
    }
    Ok(())
}
