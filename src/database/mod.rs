//! Postgres: one consistent cut of the old network's database, and pg_dump's text of it. In go settings, out come facts
//! and a stream of bytes; nothing here knows what the text means. Also a throw-away server for tests and `demo`.
//! The only place that names tokio-postgres.

mod connect;
mod cut;
mod dump;
mod live;
mod pgpass;
pub mod scratch;
mod settings;
mod target;

pub use cut::{Cut, CutOptions, Facts, StoredParameters};
pub use dump::{Dump, PgDump};
pub use live::LiveSign;
pub use settings::{DBNAME_DEFAULT, PartialSettings, Settings, SslMode};
pub use target::Target;
