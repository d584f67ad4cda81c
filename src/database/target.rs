//! A look at the database that a new node will use: kwild does not load a snapshot into one that holds a node's state
//! already, and starts on the old state without a word.

use kwil_formats::formats::config::DatabaseSettings;

use super::{
    connect::{Connection, is_missing_database},
    settings::{PartialSettings, Settings},
};
use crate::base::{Context, Result};

/// What stands in the place where kwild will look for its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The server has no such database yet.
    Missing,
    /// The database is there and holds none of Kwil's schemas.
    Empty,
    /// The database holds a node's state: kwild would go on with that and ignore the snapshot.
    HoldsState,
}

impl Target {
    /// Looks at the database that the settings lead to; changes nothing.
    ///
    /// # Errors
    /// When the server cannot be reached or asked.
    pub async fn look(settings: &Settings) -> Result<Self> {
        let connection = match Connection::open(settings).await {
            Ok(connection) => connection,
            Err(e) if is_missing_database(&e) => return Ok(Target::Missing),
            Err(e) => return Err(e),
        };
        // The same test as kwild's own; a schema of datasets that is left over does as much harm.
        let query = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace \
                     WHERE nspname IN ('kwild_voting', 'kwild_accts', 'kwild_internal', 'kwild_engine'))";
        let row = connection.client.query_one(query, &[]).await.or_failed(|| "cannot ask the target database")?;
        Ok(if row.get::<_, bool>(0) { Target::HoldsState } else { Target::Empty })
    }
}

impl From<DatabaseSettings> for PartialSettings {
    fn from(config: DatabaseSettings) -> Self {
        PartialSettings {
            host: Some(config.host),
            port: Some(config.port),
            user: Some(config.user),
            dbname: Some(config.dbname),
            password: config.password,
            ..PartialSettings::default()
        }
    }
}
