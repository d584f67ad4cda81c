//! Postgres: one consistent cut of the old network's database, pg_dump's text of it without the rows, and the rows over
//! several connections. In go settings, out come facts and bytes; nothing here knows what the text means. Also the
//! databases that `demo`, tests and rehearsals make for themselves, and looks at a new node's database and server. The
//! only place that names tokio-postgres.

mod binary;
mod certificate;
pub mod collation;
mod columns;
mod connect;
mod copy;
mod create;
mod cut;
mod dump;
mod live;
mod lookout;
mod pgpass;
mod pooler;
mod proxy;
mod reach;
pub mod readiness;
mod rehearsal;
mod rows;
pub mod scratch;
mod selection;
mod service;
mod settings;
mod skeleton;
mod stage;
mod target;
mod tls;
mod wire;

pub use create::create;
pub use cut::{Cut, CutOptions, Facts, StoredParameters};
pub use dump::PgDump;
pub use live::{Lag, LiveSign};
pub use pooler::behind_pooler;
pub use rehearsal::RehearsalDatabase;
pub use rows::{Batch, Connections, OpenedRows, RowOptions, Rows, Table};
pub use settings::{DBNAME_DEFAULT, PartialSettings, Settings, SslMode};
pub use skeleton::Skeleton;
pub use stage::NodeStage;
pub use target::Target;
