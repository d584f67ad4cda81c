//! What a look at the server gives: its settings, the node's role and database, and what else is there.

use std::collections::BTreeMap;

use crate::judge::collation::Collation;

/// A server setting, as `pg_settings` shows it to the node's role in the node's database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setting {
    /// Its value, in its own unit.
    pub value: String,
    /// Where it comes from.
    pub source: String,
    /// Whether it can only be changed by a restart.
    pub restart: bool,
    /// Whether the file says otherwise and waits for a restart.
    pub pending: bool,
}

/// The node's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// It may do everything.
    pub superuser: bool,
    /// It may replicate.
    pub replication: bool,
}

/// Relations of one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Its name.
    pub name: String,
    /// Tables, views and sequences in it.
    pub relations: u64,
}

/// The node's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// There is none yet; what the template is encoded in.
    Missing {
        /// The encoding of `template1`, which a new database takes over.
        template_encoding: String,
    },
    /// It is there.
    There {
        /// The encoding of its text, such as `UTF8`.
        encoding: String,
        /// What it takes.
        size_bytes: u64,
        /// Schemas that are not the server's own; `public` only with something in it.
        schemas: Vec<Schema>,
        /// A kwild that is connected, by its replication slot.
        slots: Vec<String>,
        /// Connections of others.
        sessions: u64,
        /// How it orders text.
        collation: Option<Box<Collation>>,
    },
}

/// Another database of the server, with signs of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherDatabase {
    /// Its name.
    pub name: String,
    /// Its owner is the node's role too.
    pub same_owner: bool,
    /// kwild's replication slots.
    pub slots: u64,
    /// Transactions that are open now.
    pub transactions: u64,
    /// Sessions of psql, which is what loads a snapshot.
    pub restores: u64,
}

/// What a look at the server saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The server's version as a number: 160009 is 16.9.
    pub version: u32,
    /// The server's version in its own words.
    pub version_text: String,
    /// The server's settings by name.
    pub settings: BTreeMap<String, Setting>,
    /// It follows another server.
    pub standby: bool,
    /// The rights of the role that logged in.
    pub role: Role,
    /// The node's database.
    pub database: Database,
    /// Extensions that can be created.
    pub extensions: Vec<String>,
    /// Whether there are ICU collations.
    pub icu: bool,
    /// Prepared transactions that nobody has ended: database and id.
    pub prepared: Vec<(String, String)>,
    /// Other databases.
    pub others: Vec<OtherDatabase>,
    /// Where it keeps its data; None when this role may not know.
    pub data_directory: Option<String>,
    /// Replication connections and others of the role, which limit how many nodes fit.
    pub connections: u64,
}

/// Whether the server could be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The server answered, and this is what it is.
    Asked(Box<Server>),
    /// It cannot be reached, or let nobody in, for this reason.
    Refused(String),
    /// A connection pooler answers in its place.
    Pooler {
        /// How that was seen, in words.
        why: String,
        /// Host and port that the server behind it says of itself.
        behind: Option<(String, String)>,
    },
}
