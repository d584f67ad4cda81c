//! Makes the new node's database, as the old network's is.

use kwil_formats::judge::collation::Collation;

use super::{
    connect::{Connection, words},
    readiness::MAINTENANCE,
    settings::Settings,
};
use crate::base::{Error, Result, text::escape};

/// Makes the database of these settings, empty, in UTF8, owned by their role, from `template0`; ordered as `like` where that is
/// known. Gives the statement that was run.
///
/// # Errors
/// When the server cannot be reached, or refuses: the role may not, the database is there, the locale is not.
pub async fn create(settings: &Settings, like: Option<&Collation>) -> Result<String> {
    let statement = settings.new_database(like).statement();
    let mut refused = None;
    for dbname in MAINTENANCE {
        let other = Settings { dbname: dbname.to_owned(), ..settings.clone() };
        let connection = match Connection::open(&other).await {
            Ok(connection) => connection,
            Err(e) => {
                refused = Some(e);
                continue;
            }
        };
        return match connection.client.batch_execute(&statement).await {
            Ok(()) => Ok(statement),
            Err(e) => Err(Error::failed(format!(
                "Postgres at {} does not make the database \"{}\": {}",
                settings.place(),
                escape(&settings.dbname),
                words(&e)
            ))
            .hint(format!("a superuser can: {statement}"))),
        };
    }
    Err(refused.unwrap_or_else(|| Error::failed("the server has no database to connect to")))
}
