//! Every bound of this package in one place: value, unit, reason, and which room enforces it.

/// Bytes of a genesis file. Real ones are kilobytes, but allocs may be many. Enforced in `formats`.
pub const GENESIS_SIZE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a key file, whose longest form has fewer than 200. Enforced in `formats`.
pub const KEY_FILE_SIZE_BYTES_MAX: usize = 16 << 10;
/// Bytes of one SQL statement outside COPY data. The longest hold function bodies and literals, which a chain's
/// transactions bound. Enforced in `dump`.
pub const SQL_STATEMENT_SIZE_BYTES_MAX: usize = 16 << 20;
/// Tokens of one SQL statement: 1600 columns with a default each need some 16,000. The parser takes about 4 KiB of
/// memory for each token. Enforced in `dump`.
pub const SQL_STATEMENT_TOKENS_MAX: usize = 20_000;
/// Tokens of a function's body, whose statements are parsed one by one. Enforced in `dump`.
pub const FUNCTION_BODY_TOKENS_MAX: usize = 200_000;
/// Bytes of the body of a plpgsql function; a transaction that makes one has to fit into a block. The parser of bodies
/// takes some 50 bytes of memory for each byte. Enforced in `dump`.
pub const FUNCTION_BODY_SIZE_BYTES_MAX: usize = 2 << 20;
/// Bytes of one COPY row's text with its line end: what the server's line buffer holds. Enforced in `dump`.
pub const COPY_ROW_SIZE_BYTES_MAX: u64 = (1 << 30) - 2;
/// Bytes of one row of the voters table: an id, a public key and a number. Enforced in `dump`.
pub const VOTER_ROW_SIZE_BYTES_MAX: usize = 64 << 10;
/// Rows of the voters table, which are kept in memory. Enforced in `dump`.
pub const VOTERS_MAX: usize = 100_000;
/// Bytes of memory for rows of `kwild_engine` that wait for a name, and for the names, while a state is digested. Real
/// networks have some hundred kilobytes; an action's row holds its source, which a transaction bounds. Enforced in
/// `dump`.
pub const DIGEST_ENGINE_SIZE_BYTES_MAX: usize = 16 << 20;
/// Bytes of memory for the names of tables, twice, and of columns, while a state is digested: some 80,000 tables of
/// usual names need 12 MiB. Enforced in `dump`.
pub const DIGEST_TABLES_SIZE_BYTES_MAX: usize = 24 << 20;
/// Bytes of memory for the parts of a schema and their names, while a state is digested: enough for 100,000 parts.
/// Enforced in `dump`.
pub const DIGEST_SCHEMA_SIZE_BYTES_MAX: usize = 16 << 20;
/// Peers that are written into a node's configuration; more validators than any network has, and a start that dials them all
/// at once. `formats`.
pub const PEERS_IN_CONFIG_MAX: usize = 256;
/// Addresses kept for one node: of a line at home, a public one, one of each version. `formats`, `manifest`.
pub const PEER_ADDRESSES_EACH_MAX: usize = 4;
/// The host in an address; DNS has no longer names. `formats`.
pub const PEER_HOST_SIZE_BYTES_MAX: usize = 253;
