//! The codes of lint findings: each with what it means and what kwild does. A code never changes its
//! meaning; the numbers are those of the table in tests/traps.md.

use crate::base::{Finding, Level, Next};

/// One sort of finding that lint knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The code that its findings carry.
    pub name: &'static str,
    /// Its numbers in the table of traps, tests/traps.md; empty where it has none.
    pub traps: &'static [u8],
    /// A sentence about what is wrong.
    pub what: &'static str,
    /// A sentence about what kwild does with such a genesis or snapshot.
    pub kwild: &'static str,
}

impl Code {
    /// A finding of this code: kwild refuses it, or does what nobody wants.
    pub(crate) fn error(&self, path: impl Into<String>, text: impl Into<String>) -> Finding {
        self.at(Level::Error, path, text)
    }

    /// A finding of this code: an operator should look whether it is meant.
    pub(crate) fn warning(&self, path: impl Into<String>, text: impl Into<String>) -> Finding {
        self.at(Level::Warning, path, text)
    }

    /// A finding of this code that is worth knowing; nothing is wrong.
    pub(crate) fn note(&self, path: impl Into<String>, text: impl Into<String>) -> Finding {
        self.at(Level::Note, path, text)
    }

    fn at(&self, level: Level, path: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(level, self.name, text).at(path).fix(Next::Mend(self.name))
    }
}

macro_rules! codes {
    ($($id:ident = $name:literal $traps:tt, $what:literal, $kwild:literal;)*) => {
        $(pub(crate) const $id: &Code =
            &Code { name: $name, traps: &$traps, what: $what, kwild: $kwild };)*
        /// All codes that lint knows.
        pub const ALL: &[&Code] = &[$($id),*];
    };
}

codes! {
    SIZE = "size" [], "The file is larger than any genesis.",
        "It reads whatever is there; a file of this size is something else.";
    MORE = "more" [], "There are more findings than are listed.",
        "It stops at the first that it refuses.";
    JSON = "json" [4, 5], "The text is no JSON as Go reads it: a byte order mark, a comment, a comma too many, a cut file.",
        "Both families' kwild refuse the file before they touch anything.";
    NOT_GENESIS = "not-genesis" [], "The JSON has none of the keys by which a genesis of either family is known.",
        "v0.9 reads an empty genesis and panics, v0.10 refuses the first unknown key.";
    OTHER_FAMILY = "other-family" [36], "The genesis is of the other family than was asked for.",
        "v0.10 refuses the first key of v0.9 that it meets; v0.9 ignores v0.10's keys and panics without consensus_params.";
    TRAILING_TEXT = "trailing-text" [], "More text follows the genesis object.",
        "v0.9 refuses the file; v0.10 reads the first object and never sees the rest.";
    UNKNOWN_KEY = "unknown-key" [3], "A key that a v0.10 genesis does not have: of v0.9, of a fork, of a tool, or misspelt.",
        "v0.10's kwild refuses the whole file: json: unknown field.";
    IGNORED_KEY = "ignored-key" [5], "A key that kwild skips without a word, such as a misspelt one: the value it was meant to set keeps its zero.",
        "It starts, with the parameter at 0 or as if the key were not there.";
    DUPLICATE_KEY = "duplicate-key" [], "A key stands twice in one object. Go takes the last one, other readers may take the first.",
        "It takes the last value.";
    WRONG_TYPE = "wrong-type" [4, 5], "A value of another JSON type, or over the range, of what must stand there: numbers are plain digits without quotes, \
        point or exponent.",
        "Both families' kwild refuse the file when they load it.";
    HEX_PREFIX = "hex-prefix" [1, 5], "Hex text begins with 0x where kwild wants bare digits.",
        "It refuses the file: invalid byte in hex.";
    STATE_HASH_BASE64 = "state-hash-base64" [1], "v0.10's state_hash is written in base64, v0.9's form.",
        "It refuses the file: invalid byte in hex.";
    APP_HASH_HEX = "app-hash-hex" [1], "v0.9's app_hash is written in hex. Sixty-four hex digits are valid base64 and are read as 48 other bytes.",
        "It restores the whole snapshot and only then finds that the hash differs; the database is poisoned, and a second start runs \
        on it unchecked.";
    STATE_HASH_LENGTH = "state-hash-length" [1], "The hash has not the 32 bytes of a SHA-256.",
        "v0.10 refuses to start; v0.9 restores the snapshot first and then finds that the hash differs.";
    NO_STATE_HASH = "no-state-hash" [37, 42], "The genesis pins no snapshot.",
        "A snapshot that the configuration names is silently ignored: an empty chain starts, makes blocks, and looks healthy.";
    CHAIN_ID = "chain-id" [5], "The chain id is missing, too long, or easily mistaken. v0.9 takes 1 to 50 bytes.",
        "v0.9 finds a wrong length only after it has restored the snapshot; in v0.10 the id is part of the protocol names, so nodes \
        of any network without one would mix.";
    GENESIS_TIME = "genesis-time" [5], "The instant the network begins is missing, unreadable or in the future. Every node must have the same text.",
        "Without it each node takes its own clock, and no two agree on the genesis; a future one makes CometBFT wait until then.";
    INITIAL_HEIGHT = "initial-height" [31, 32], "The initial height is negative, or does not go with the snapshot. v0.9's first block has this number, \
        v0.10's the one after it.",
        "A negative one is refused (v0.9: after the restore). Another number than the old chain's next runs, but @height jumps.";
    EXPIRY_TWICE = "expiry-twice" [32], "The snapshot's last line takes the old height off every resolution's expiry, as if blocks were counted from 1 \
        again, but the genesis goes on counting from the old height.",
        "Every pending resolution (v0.9 counts its expiry in blocks) is long expired in the first block and is dropped.";
    PARAMETER_ZERO = "parameter-zero" [4, 5], "A parameter is 0. A missing key is 0 as well, not Kwil's default.",
        "kwild refuses the genesis when it loads it, before anything is written (block evidence ages: after the restore).";
    PARAMETER_RANGE = "parameter-range" [5, 41], "A parameter lies outside what the consensus engine takes.",
        "v0.9 finds it only after the restore, so that the database must be dropped; v0.10 checks for 0 alone and runs with it.";
    EVIDENCE_SIZE = "evidence-size" [5, 41], "Evidence may be larger than a block, as it comes out when max_bytes of a block is lowered alone.",
        "CometBFT refuses the genesis, after the snapshot is restored.";
    NO_CONSENSUS_PARAMS = "no-consensus-params" [5], "v0.9's consensus_params are missing.",
        "It dies of a nil pointer.";
    KEY_TYPES = "key-types" [24], "consensus_params.validator.pub_key_types names no type, an unknown one, or one that v0.9 has no validators of.",
        "An empty or unknown list is refused after the restore; every v0.9 validator is ed25519.";
    MIGRATION = "migration" [], "The heights of a zero-downtime migration are set; an offline migration has none.",
        "v0.10 wants both or neither; with both it looks for another network to migrate from.";
    NO_VALIDATORS = "no-validators" [5, 41], "There is no validator.",
        "v0.10 refuses to start; v0.9 restores the snapshot and then dies.";
    VALIDATOR_KEY = "validator-key" [4, 5], "A key has the wrong length, an unknown type, or is no point of its curve.",
        "v0.10 refuses to start; v0.9 says \"pubkey is incorrect size\" or cannot verify a single vote.";
    SECP256K1 = "secp256k1" [24], "A secp256k1 key in a v0.9 genesis.",
        "v0.9 has ed25519 validators only and refuses the key's length.";
    VALIDATOR_POWER = "validator-power" [5, 41], "A validator's power is 0 or negative.",
        "v0.10 refuses to start; v0.9 finds it after the restore.";
    POWER_SUM = "power-sum" [5, 41], "The powers add up to more than can be counted.",
        "CometBFT (v0.9) refuses more than 2^63 / 8; in v0.10 the sum would overflow.";
    VALIDATOR_TWICE = "validator-twice" [], "One key stands twice among the validators.",
        "The votes table has one row for it, so the node's own count and the genesis differ.";
    NO_LEADER = "no-leader" [4], "v0.10's leader is missing.",
        "null fails to parse (unknown key type); a file without the key is refused at start.";
    LEADER_NOT_VALIDATOR = "leader-not-validator" [4], "The leader is not among the validators, by type and key.",
        "v0.10 refuses to start.";
    KEY_TYPE_TEXT = "key-type-text" [4], "The type of a key is not spelt secp256k1 or ed25519, to the letter.",
        "For the leader the file is refused when it is read; for a validator kwild refuses to start.";
    NO_OWNER = "no-owner" [6], "v0.10's db_owner is empty or missing.",
        "It runs, but the restored owner is overwritten by nobody, and nobody can administer the network any more.";
    OWNER_FORM = "owner-form" [6], "db_owner is neither an address with its checksum (EIP-55) nor a public key in hex.",
        "It is compared as text: an owner written otherwise than kwild writes it matches no one.";
    JOIN_EXPIRY_NUMBER = "join-expiry-number" [4], "v0.10's join_expiry is written as a number; it is a time in quotes.",
        "It refuses the file.";
    ALLOC_AMOUNT_TEXT = "alloc-amount-text" [4, 5], "The amount of an alloc is written in quotes.",
        "It refuses the file.";
    ALLOC = "alloc" [7], "The genesis allots balances and pins a snapshot.",
        "They are added to the balances that the snapshot restores, so that allocs kept from the old genesis are paid out twice.";
    ALLOC_ENTRY = "alloc-entry" [4, 41], "An alloc's key type, account or amount cannot be used, or an account stands twice.",
        "kwild finds it only after the restore (unknown key type), so that the database must be dropped.";
    FORK = "fork" [], "activations names a fork. halt stops the network at its height: the old network was ended by it.",
        "From that block on it refuses every transaction; it reads the key at every start.";
    MAA_UPSTREAM = "maa-upstream" [44], "maa_activation_height is TRUF's own key.",
        "A build without it refuses the file: json: unknown field; both builds call themselves 0.10.";
    MAA_LOST = "maa-lost" [44], "The snapshot is TRUF's, and the genesis has no maa_activation_height.",
        "A network that had one runs on without it, by other rules.";
    SNAPSHOT_HASH = "snapshot-hash" [2, 19, 21], "The snapshot's text has not the SHA-256 that the genesis pins.",
        "It restores the whole file first, then refuses; the database is poisoned, and a second start runs on it unchecked.";
    SNAPSHOT_NAME = "snapshot-name" [17], "The file's name and its contents do not agree: kwild unpacks exactly the names that end in .gz.",
        "gzip under another name goes to psql as it is, and plain SQL under .gz is refused.";
    SNAPSHOT_COMPRESSION = "snapshot-compression" [18], "The snapshot is packed with something other than gzip.",
        "It reads gzip and nothing else.";
    SNAPSHOT_DAMAGED = "snapshot-damaged" [18], "The snapshot is cut off, damaged, or has bytes behind the gzip stream.",
        "It restores what it can read, then fails and leaves half a database.";
    SNAPSHOT_STATEMENT = "snapshot-statement" [12, 16, 38], "The snapshot holds a statement that no Kwil dump holds.",
        "psql runs whatever stands there as a superuser, on this and on other databases, and hides what fails.";
    RESTRICT = "restrict" [8], "The text has \\restrict lines of newer dump tools, with a random word in them.",
        "It runs, but no second dump of the same state has the same hash.";
    PRIVATE_SCHEMA = "private-schema" [13], "The snapshot holds one node's own tables: kwild_chain, kwild_events, kwild_peers, kwild_migrations or the sentry.",
        "The restored chain row makes it think that blocks exist: it refuses, or one node's leftovers go to everyone.";
    NO_VOTING_SCHEMA = "no-voting-schema" [15], "The snapshot does not make the schema kwild_voting: it is no Kwil dump, or one that was cut.",
        "It takes the database for an empty one at every start.";
    VOTERS_ROWS = "voters-rows" [14, 40], "The snapshot still holds the old validators.",
        "They stay validators beside those of the genesis: no majority, no blocks after the first.";
    NO_HEIGHT_LINE = "no-height-line" [2], "The last line, which takes the old height off the resolutions' expiry, is missing.",
        "It runs; pending resolutions of v0.9 expire late by the old height.";
    EMPTY_CHAIN = "empty-chain" [22], "The snapshot was made of a chain without a block.",
        "It runs, but there is nothing to continue.";
    UNGUARDED = "unguarded" [38, 39], "The text has no guard: it is as one of Kwil's own tools made it.",
        "psql passes over a statement that fails and takes settings from the database, the role and a psqlrc: rows are lost or changed, and kwild starts without a word.";
    VOTES = "votes" [30], "Votes without their voters: one foreign key cannot be made again.",
        "psql reports the error and goes on, unless a psqlrc sets ON_ERROR_STOP: then the restore fails.";
    FAMILY_MISMATCH = "family-mismatch" [36], "Snapshot and genesis are of different families.",
        "It runs the statements, and fails on tables that it does not know.";
    TRUF_SNAPSHOT = "truf-snapshot" [36], "The snapshot is of TRUF's fork; upstream builds of v0.10 cannot continue it.",
        "An upstream kwild restores it and then fails: reward extension version mismatch, expected 1, got 3.";
}

/// The code of this name; `None` where there is no such code.
pub fn find(name: &str) -> Option<&'static Code> {
    ALL.iter().copied().find(|code| code.name == name)
}
