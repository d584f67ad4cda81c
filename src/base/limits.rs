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
/// Signatures of one manifest: its lead's, and of each co-signer or old validator. Enforced by `manifest`.
pub const SIGNATURES_MAX: usize = 257;
/// Bytes of an attestation or a readiness statement. Enforced by `manifest`.
pub const STATEMENT_SIZE_BYTES_MAX: usize = 1 << 10;
/// Bindings that a node shows of whose it is: of an old key and a new one, and some to spare. Enforced by `swarm`.
pub const BINDINGS_SHOWN_MAX: usize = 4;
/// Parts that an attestation names as differing. Enforced by `manifest`.
pub const DIFFERING_PARTS_MAX: usize = 6;
/// Bytes of the name of such a part. Enforced by `manifest`.
pub const DIFFERING_PART_NAME_BYTES_MAX: usize = 100;
/// Bytes of the file in which a node keeps what validators have said. Enforced by `app`.
pub const STATEMENTS_FILE_SIZE_BYTES_MAX: usize = 4 << 20;
/// Statements in one message; as many as fit. Enforced by `swarm`.
pub const STATEMENTS_IN_MESSAGE_MAX: usize = 60;
/// Statements that one session may pass on: each validator's of a large network, some times over. Enforced by `swarm`.
pub const STATEMENTS_OF_SESSION_BYTES_MAX: usize = 1 << 20;
/// Statements of one validator that are taken, each newer than the last; it says another one when its address changes. Enforced by `app`.
pub const STATEMENTS_OF_VALIDATOR_MAX: u32 = 32;
/// Addresses under which others see this node, that are kept. Enforced by `app`.
pub const SEEN_ADDRESSES_MAX: usize = 64;
/// Bytes of a status as one node tells it: every member, the validators of both networks, and the last lines. Enforced by `app`.
pub const STATUS_SIZE_BYTES_MAX: usize = 4 << 20;
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
/// One control message on the wire, but for a manifest that was asked for. Enforced by `swarm`.
pub const CONTROL_MESSAGE_SIZE_BYTES_MAX: usize = 64 << 10;
/// Ranges of chunks in one control message; who has more to say says it in several. Enforced by `swarm`.
pub const RANGES_MAX: usize = 2048;
/// Control bytes that a member may send at once, and on average in a second, before it is read more slowly. Enforced by `swarm`.
pub const CONTROL_BURST_BYTES: u64 = 1 << 20;
/// See [`CONTROL_BURST_BYTES`].
pub const CONTROL_BYTES_PER_SECOND: u64 = 512 << 10;
/// Bulk streams that a member may have open towards us: one is enough, a second one may follow on a new connection. Enforced by `swarm`.
pub const BULK_STREAMS_MAX: usize = 4;
/// The membership handshake, all of it. Enforced by `swarm`.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Handshakes that one peer may fail before it is refused for a while. Not its address: others stand behind that, too. Enforced by `swarm`.
pub const HANDSHAKE_FAILURES_MAX: u32 = 5;
/// Bytes that may be on their way to a node, from all peers together; 16 chunks where those are more. Enforced by `schedule`.
pub const WINDOW_BYTES: u64 = 64 << 20;
/// Members of one swarm that a node is connected to at once. Enforced by `swarm`.
pub const PEERS_MAX: usize = 256;
/// Addresses in one peer-exchange message. Enforced by `swarm`.
pub const PEERS_MESSAGE_ADDRESSES_MAX: usize = 64;
/// Peers in the address book beside those of the ticket. Enforced by `swarm`.
pub const BOOK_PEERS_MAX: usize = 512;
/// How far a manifest's sequence, in UNIX seconds, may be ahead of this machine's clock. Enforced by `manifest`.
pub const SEQUENCE_AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);
/// Messages that may wait to be written to one peer; a peer that lets more pile up is dropped. Enforced by `swarm`.
pub const CONTROL_QUEUE_MESSAGES: usize = 1024;
/// Bytes of them; what a large snapshot half had is told in is a third of that. Enforced by `swarm`.
pub const CONTROL_QUEUE_BYTES: usize = 4 << 20;
/// Incoming connections that have not proved membership yet: of all, of one range of addresses (/24, /48), of one address. One more
/// takes the place of the one that has kept its own waiting longest. Enforced by `swarm`.
pub const STRANGERS_MAX: usize = 192;
/// See [`STRANGERS_MAX`].
pub const STRANGERS_PER_RANGE_MAX: usize = 96;
/// See [`STRANGERS_MAX`].
pub const STRANGERS_PER_ADDRESS_MAX: usize = 64;
/// Peers of whom is remembered that they were banned, that they failed, or what went to and came from them. Enforced by `swarm`.
pub const REMEMBERED_PEERS_MAX: usize = 4096;
/// Connections to one peer: two sides may dial at once. Enforced by `swarm`.
pub const CONNECTIONS_PER_PEER_MAX: u32 = 4;
/// How long a peer that failed too many handshakes is kept out. Enforced by `swarm`.
pub const HANDSHAKE_FAILURE_PENALTY: Duration = Duration::from_secs(60);
/// Bytes of a libpq password or service file, or of one that holds only a password. Enforced by `database` and `cli`.
pub const PASSWORD_FILE_SIZE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a snapshot's uncompressed text, unless `--max-bytes` says otherwise: far above any Kwil database, and an
/// end to a file that unpacks for ever. Enforced by `snapshot`.
pub const SNAPSHOT_TEXT_BYTES_MAX: u64 = 1 << 44;
/// Bytes of a file with a state digest as JSON: twice what a
/// digest's names may take, and its hashes. Enforced by `snapshot`.
pub const DIGEST_FILE_SIZE_BYTES_MAX: usize = 64 << 20;
/// Bytes of a file of evidence; a certificate's statements take nearly all of it. Enforced by `manifest`.
pub const EVIDENCE_SIZE_BYTES_MAX: usize = 4 << 20;
/// Statements of a certificate: far more than any network has validators. Enforced by `manifest`.
pub const CERTIFICATE_STATEMENTS_MAX: usize = 4096;
/// Bytes of evidence that goes through a swarm: of a head that a lead and all who may sign beside it have signed. Enforced by `swarm`.
pub const EVIDENCE_IN_MESSAGE_SIZE_BYTES_MAX: usize = 32 << 10;
/// Validators of one manifest whose access was taken back, that are remembered. Enforced by `app`.
pub const EXCLUSIONS_MAX: usize = 32;
/// Pieces of evidence that one session may tell: of each kind some, and one for each validator that is kept out. Enforced by `swarm`.
pub const EVIDENCE_OF_SESSION_MAX: u32 = 8 + EXCLUSIONS_MAX as u32;
/// The last second that has a date as RFC 3339 writes it: 9999-12-31T23:59:59Z. Enforced by `manifest`.
pub const UNIX_SECONDS_MAX: u64 = 253_402_300_799;
/// Characters of a kwild's version in a statement. Enforced by `manifest`.
pub const KWILD_VERSION_CHARS_MAX: usize = 64;
/// Volumes of one set of media, with those of parity. Enforced by `bundle`.
pub const SET_VOLUMES_MAX: usize = 250;
/// Ranges of chunks that the volumes of one set are made of, all together. Enforced by `bundle`.
pub const SET_RANGES_MAX: usize = 1 << 16;
/// Bytes of pieces of all members of a stripe, in which parity is made; the code takes no more than as much again. Enforced by `bundle`.
pub const PARITY_MEMORY_BYTES: usize = 8 << 20;
/// Bytes in which the code restores: all members of a stripe are held there and nowhere else. Beside them stand the tables of the code, 9 MiB
/// whatever is restored, and [`PARITY_RESTORED_BYTES`]: an import with its check of the text is to stay below 64 MiB with all of that. Enforced
/// by `bundle`.
pub const PARITY_CODE_BYTES: usize = 4 << 20;
/// Bytes of chunks that are restored at the same time; where more are lost of one stripe, it is read more than once. Enforced by `bundle`.
pub const PARITY_RESTORED_BYTES: usize = 4 << 20;
/// Bytes of chunks of media that the store was given and has not answered for, before the next one is read. Enforced by `app`.
pub const MEDIA_ASKED_BYTES_MAX: u64 = 4 << 20;
/// Bytes of each member that are read at once: longer reads gain nothing, even on a disk that has to seek. Enforced by `bundle`.
pub const PARITY_PIECE_BYTES_MAX: usize = 1 << 20;
/// How often a stripe is restored with other parity volumes when one of them lies. Enforced by `bundle`.
pub const PARITY_ATTEMPTS_MAX: usize = 16;
/// Bytes of the index of a volume with parity: an id for each chunk of the largest manifest, and all ranges of a set. Enforced by `bundle`.
pub const PARITY_INDEX_SIZE_BYTES_MAX: usize = 10 << 20;
/// Bytes of the index of a volume, which has [`SET_RANGES_MAX`] ranges at most. Enforced by `bundle`.
pub const BUNDLE_INDEX_SIZE_BYTES_MAX: usize = 2 << 20;
/// Bytes of what is sealed on an encrypted volume: a manifest, a genesis, what validators signed and evidence, of the largest. Enforced by
/// `bundle`.
pub const BUNDLE_SEALED_SIZE_BYTES_MAX: usize = 48 << 20;
/// Bytes of a file with identities of age, or with a passphrase. Enforced by `cli`.
pub const MEDIA_KEY_FILE_SIZE_BYTES_MAX: usize = 64 << 10;
/// Volumes of one export. Enforced by `bundle`.
pub const BUNDLE_VOLUMES_MAX: u32 = 9999;
/// Data files of one volume, which have four digits. Enforced by `bundle`.
pub const BUNDLE_FILES_MAX: usize = 10_000;
/// Bytes of a list of the chunks that are missing: a bit for each of two artifacts of the most chunks. Enforced by `bundle`.
pub const MISSING_SIZE_BYTES_MAX: usize = (CHUNK_COUNT_MAX as usize * 2 / 8) + 32;
/// Bytes of such a list as text, with what people write around it. Enforced by `bundle`.
pub const MISSING_TEXT_SIZE_BYTES_MAX: usize = 512 << 10;
