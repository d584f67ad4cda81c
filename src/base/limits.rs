//! Every bound in one place: value, unit, reason, and the room that enforces it, named at the end of each line.

use std::time::Duration;

pub use kwil_formats::base::limits::*;

/// Bytes of a manifest, as a file or a message. One artifact of 500 GB in 4 MiB chunks needs 4 MiB; the digests of
/// 80,000 tables, whose names have 70 bytes, 9 MiB. Enforced by `manifest` and whoever reads one.
pub const MANIFEST_SIZE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a node's config.toml. Enforced by `setup`.
pub const CONFIG_SIZE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a chain id; v0.9 allows 50 characters, v0.10 does not say. Enforced by `manifest`.
pub const CHAIN_ID_SIZE_BYTES_MAX: usize = 128;
/// Keys that may sign a manifest beside its lead. Enforced by `manifest`.
pub const COSIGNERS_MAX: usize = 64;
/// Bytes of an attestation or a readiness statement. Enforced by `manifest`.
pub const STATEMENT_SIZE_BYTES_MAX: usize = 1 << 10;
/// Addresses in a ticket. Enforced by `manifest`.
pub const TICKET_ADDRESSES_MAX: usize = 32;
/// Bytes of one address in a ticket. Enforced by `manifest`.
pub const ADDRESS_SIZE_BYTES_MAX: usize = 256;
/// Bytes of a ticket's text. Enforced by `manifest`.
pub const TICKET_SIZE_BYTES_MAX: usize = 8 << 10;
/// Bytes of a chunk, at least; only an artifact's last one may be shorter. Enforced by `manifest`.
pub const CHUNK_SIZE_BYTES_MIN: u64 = 256 << 10;
/// Bytes of a chunk, at most. Enforced by `manifest`.
pub const CHUNK_SIZE_BYTES_MAX: u64 = 4 << 20;
/// Chunks of one artifact: their ids fill a quarter of a manifest;
/// 512 GiB in the largest chunks. Enforced by `manifest`.
pub const CHUNK_COUNT_MAX: u32 = 1 << 17;
/// Chunks that an artifact should have at least where its size
/// allows, so that a swarm's tail is short. Used by `manifest`.
pub const CHUNK_COUNT_WANTED: u64 = 2000;
/// Bytes of one control message on the wire. Enforced by `swarm`.
pub const CONTROL_MESSAGE_SIZE_BYTES_MAX: usize = 256 << 10;
/// Time for the whole membership handshake. Enforced by `swarm`.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Handshakes that one address may fail before its connections are refused for a while. Enforced by `swarm`.
pub const HANDSHAKE_FAILURES_MAX: u32 = 5;
/// Bytes that may be on their way from one peer. Enforced by `schedule`.
pub const WINDOW_BYTES: u64 = 16 << 20;
/// Members of one swarm that a node is connected to at once. Enforced by `swarm`.
pub const PEERS_MAX: usize = 256;
/// Addresses in one peer-exchange message. Enforced by `swarm`.
pub const PEER_EXCHANGE_ADDRESSES_MAX: usize = 512;
/// How far a manifest's sequence, in UNIX seconds, may be ahead of this machine's clock. Enforced by `manifest`.
pub const SEQUENCE_AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);
/// Messages that may wait to be written to one peer; a peer that lets more pile up is dropped. Enforced by `swarm`.
pub const CONTROL_QUEUE_MESSAGES: usize = 1024;
/// Handshakes that may go on at once. Enforced by `swarm`.
pub const HANDSHAKES_MAX: usize = 64;
/// Connections to one peer; more than one, because both sides may dial at once. Enforced by `swarm`.
pub const CONNECTIONS_PER_PEER_MAX: u32 = 4;
/// How long an address that failed too many handshakes is kept out. Enforced by `swarm`.
pub const HANDSHAKE_FAILURE_PENALTY: Duration = Duration::from_secs(60);
/// Bytes of a libpq password or service file, or of one that holds only a password. Enforced by `database` and `cli`.
pub const PASSWORD_FILE_SIZE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a snapshot's uncompressed text, unless `--max-bytes` says otherwise: far above any Kwil database, and an
/// end to a file that unpacks for ever. Enforced by `snapshot`.
pub const SNAPSHOT_TEXT_BYTES_MAX: u64 = 1 << 44;
/// Bytes of a file with a state digest as JSON: twice what a
/// digest's names may take, and its hashes. Enforced by `snapshot`.
pub const DIGEST_FILE_SIZE_BYTES_MAX: usize = 64 << 20;
