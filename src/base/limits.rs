//! Every bound in one place: value, unit, reason, and who enforces it.

use std::time::Duration;

pub use kwil_formats::base::limits::*;

/// A manifest file or message. One artifact of 500 GB in 4 MiB chunks needs 4 MiB; the digests of 80,000 tables, whose names
/// have 70 bytes, 9 MiB. `manifest`.
pub const MANIFEST_SIZE_BYTES_MAX: usize = 16 << 20;
/// A node's config.toml. `setup`.
pub const CONFIG_SIZE_BYTES_MAX: usize = 1 << 20;
/// A chain id; v0.9 allows 50 characters, v0.10 does not say. `manifest`.
pub const CHAIN_ID_SIZE_BYTES_MAX: usize = 128;
/// Keys that may sign a manifest beside its lead. `manifest`.
pub const COSIGNERS_MAX: usize = 64;
/// An attestation or readiness statement. `manifest`.
pub const STATEMENT_SIZE_BYTES_MAX: usize = 1 << 10;
/// Statements in one message; as many as fit. `swarm`.
pub const STATEMENTS_IN_MESSAGE_MAX: usize = 200;
/// Statements that one session may pass on: each validator's of a large network, some times over. `swarm`.
pub const STATEMENTS_OF_SESSION_BYTES_MAX: usize = 512 << 10;
/// Statements of one validator that are taken, each newer than the last; it says another one when its address changes. `app`.
pub const STATEMENTS_OF_VALIDATOR_MAX: u32 = 32;
/// Addresses under which others see this node, that are kept. `app`.
pub const SEEN_ADDRESSES_MAX: usize = 64;
/// Addresses in a ticket, and bytes of one. `manifest`.
pub const TICKET_ADDRESSES_MAX: usize = 32;
/// See [`TICKET_ADDRESSES_MAX`].
pub const ADDRESS_SIZE_BYTES_MAX: usize = 256;
/// A ticket string. `manifest`.
pub const TICKET_SIZE_BYTES_MAX: usize = 8 << 10;
/// Smallest and largest chunk. `manifest`.
pub const CHUNK_SIZE_BYTES_MIN: u64 = 256 << 10;
/// See [`CHUNK_SIZE_BYTES_MIN`].
pub const CHUNK_SIZE_BYTES_MAX: u64 = 4 << 20;
/// Chunks of one artifact: a quarter of a manifest. 512 GiB in the largest chunks. `manifest`.
pub const CHUNK_COUNT_MAX: u32 = 1 << 17;
/// Chunks an artifact should have where its size allows, so that a swarm's tail stays short. `manifest`.
pub const CHUNK_COUNT_WANTED: u64 = 2000;
/// One control message on the wire. `swarm`.
pub const CONTROL_MESSAGE_SIZE_BYTES_MAX: usize = 256 << 10;
/// The membership handshake, all of it. `swarm`.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Handshakes that one address may fail before its connections are refused for a while. `swarm`.
pub const HANDSHAKE_FAILURES_MAX: u32 = 5;
/// Bytes in flight from one peer. `schedule`.
pub const WINDOW_BYTES: u64 = 16 << 20;
/// Members of one swarm that a node is connected to. `swarm`.
pub const PEERS_MAX: usize = 256;
/// Addresses in one peer-exchange message. `swarm`.
pub const PEER_EXCHANGE_ADDRESSES_MAX: usize = 512;
/// How far ahead of this machine's clock a manifest's sequence may be. `manifest`.
pub const SEQUENCE_AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);
/// Messages waiting to be written to one peer; a peer that lets more pile up is dropped. `swarm`.
pub const CONTROL_QUEUE_MESSAGES: usize = 1024;
/// Handshakes going on at once. `swarm`.
pub const HANDSHAKES_MAX: usize = 64;
/// Connections to one peer: two sides may dial at once. `swarm`.
pub const CONNECTIONS_PER_PEER_MAX: u32 = 4;
/// How long an address that failed too many handshakes is kept out. `swarm`.
pub const HANDSHAKE_FAILURE_PENALTY: Duration = Duration::from_secs(60);
/// A libpq password file, or one that holds only a password. `database`, `cli`.
pub const PASSWORD_FILE_SIZE_BYTES_MAX: u64 = 1 << 20;
/// Uncompressed text of a snapshot, unless `--max-bytes` says otherwise: far above any Kwil database, and an end to a
/// file that unpacks for ever. `snapshot`.
pub const SNAPSHOT_TEXT_BYTES_MAX: u64 = 1 << 44;
/// A file with a state digest as JSON; twice what a digest's names may take, and hashes. `snapshot`.
pub const DIGEST_FILE_SIZE_BYTES_MAX: usize = 64 << 20;
