//! Every bound of this package in one place: value, unit, reason, and which room enforces it.

/// A genesis file. Real ones are kilobytes; allocs may be many. `formats`.
pub const GENESIS_SIZE_BYTES_MAX: usize = 16 << 20;
/// A key file. `formats`.
pub const KEY_FILE_SIZE_BYTES_MAX: usize = 16 << 10;
/// One SQL statement outside COPY data; the longest are function bodies and literals, bounded by a chain's transactions.
/// `dump`.
pub const SQL_STATEMENT_SIZE_BYTES_MAX: usize = 16 << 20;
/// Tokens of one SQL statement: 1600 columns with a default each need some 16,000. The parser takes
/// about 4 KiB for each. `dump`.
pub const SQL_STATEMENT_TOKENS_MAX: usize = 20_000;
/// Tokens of a function's body, whose statements are parsed one by one. `dump`.
pub const FUNCTION_BODY_TOKENS_MAX: usize = 200_000;
/// The body of a function in plpgsql; a transaction that makes one has to fit into a block. The parser of bodies takes some
/// 50 bytes for each of it. `dump`.
pub const FUNCTION_BODY_SIZE_BYTES_MAX: usize = 2 << 20;
/// One COPY row's text with its line end: what the server's line buffer holds. `dump`.
pub const COPY_ROW_SIZE_BYTES_MAX: u64 = (1 << 30) - 2;
/// One row of the voters table: an id, a public key and a number. `dump`.
pub const VOTER_ROW_SIZE_BYTES_MAX: usize = 64 << 10;
/// Rows of the voters table. `dump`.
pub const VOTERS_MAX: usize = 100_000;
/// Rows of `kwild_engine` that wait for a name, and the names, while a state is digested. Real networks have some hundred
/// kilobytes; a row of an action holds its source, which a transaction bounds. `dump`.
pub const DIGEST_ENGINE_SIZE_BYTES_MAX: usize = 16 << 20;
/// Names of tables, twice, and of columns, while a state is digested: some 80,000 tables of usual names need 12 MiB. `dump`.
pub const DIGEST_TABLES_SIZE_BYTES_MAX: usize = 24 << 20;
/// Parts of a schema and their names, while a state is digested: 100,000 of them. `dump`.
pub const DIGEST_SCHEMA_SIZE_BYTES_MAX: usize = 16 << 20;
/// Peers that are written into a node's configuration; more validators than any network has, and a start that dials them all
/// at once. `formats`.
pub const PEERS_IN_CONFIG_MAX: usize = 256;
/// Addresses kept for one node: of a line at home, a public one, one of each version. `formats`, `manifest`.
pub const PEER_ADDRESSES_EACH_MAX: usize = 4;
/// The host in an address; DNS has no longer names. `formats`.
pub const PEER_HOST_SIZE_BYTES_MAX: usize = 253;
