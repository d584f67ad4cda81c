//! Removable media: the manifest and chunks of a migration in directories that are carried, called volumes.
//!
//! Pure are [`index`] (what a volume says it holds, and its bytes) and [`plan`] (which chunk goes where). [`medium`] reads a
//! directory that a stranger filled, [`Volume`] the chunks in it, and [`VolumeWriter`] makes one. What a chunk is says the
//! manifest alone: an index only says where to look, and the store proves what was found there. [`seal`] makes volumes that only some can
//! read.

pub mod index;
pub mod medium;
pub mod missing;
pub mod parity;
pub mod plan;
mod read;
pub mod seal;
mod wire;
mod write;

#[cfg(test)]
mod tests;

pub use index::{DataFile, Index, IndexError, OtherVolume, SetId, label};
pub use medium::{Medium, open_regular};
pub use read::{ReadChunks, ShardReader, Trouble, Volume};
pub use seal::{AgeKey, DataKey, KeyMark, SealTo, Unseal};
pub use write::{Paper, ShardWriter, VolumeWriter, Written, begun};

/// The index's name on a volume.
pub const INDEX_NAME: &str = "index.bin";
/// A second copy of the index: without one, nobody knows what the data are.
pub const INDEX_COPY_NAME: &str = "index2.bin";
/// What validators had signed when the volume was made.
pub const STATEMENTS_NAME: &str = "votes.bin";
/// The certificate that a network is ready, where there was one.
pub const CERTIFICATE_NAME: &str = "ready.bin";
/// What is known against manifests of the network: that there is a newer one, that its lead has two faces, that one was revoked.
pub const EVIDENCE_NAMES: [&str; 3] = ["issue.bin", "twofaced.bin", "revoked.bin"];
/// SHA-256 of every other file of the volume, as sha256sum writes and checks it.
pub const SHA256_LIST_NAME: &str = "sha256.txt";
/// BLAKE3 of every other file of the volume, as b3sum writes and checks it.
pub const BLAKE3_LIST_NAME: &str = "b3sum.txt";
/// What a volume with parity says of itself and of its set, beside its index.
pub const PARITY_NAME: &str = "parity.bin";
/// The name of the record of what is there of parity that is not complete.
const PARITY_RECORD_NAME: &str = "parity.new";
/// The name of a plan of a volume that is not complete.
const PLAN_NAME: &str = "index.new";

/// The name of a volume's data file with that number, in eight characters and three: also the oldest FAT keeps it as it is.
pub fn data_name(number: usize) -> String {
    format!("data{number:04}.bin")
}

/// The name of a file with shards of parity.
pub fn shards_name(number: usize) -> String {
    format!("pari{number:04}.bin")
}
