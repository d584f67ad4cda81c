//! Connection poolers, which stand before a server and speak as one: PgBouncer and its like. They hand sessions around,
//! and what a consistent cut needs of its session is lost; so the operator is told to name the server itself.

use std::time::Duration;

use super::{
    connect::{Connection, Failure, words},
    settings::Settings,
};
use crate::base::{Error, Next, text::escape};

/// How long the server behind a pooler may take to say where it is: a look at a new node's server takes little more.
const ASK_TIME_MAX: Duration = Duration::from_secs(1);

/// Whether these words of a refused connection are ones that only a pooler says.
pub(super) fn is_words(words: &str) -> bool {
    // A server has a code of its own for a database that is not there.
    const SAID: [&str; 4] =
        ["unsupported startup parameter", "pgbouncer", "no such database: ", "does not exist (SQLSTATE 08P01)"];
    SAID.iter().any(|said| words.contains(said))
}

/// Where the server is that stands behind a pooler, as far as it said so; `None`: the error says nothing of a pooler.
pub fn behind_pooler(error: &Error) -> Option<Option<(String, String)>> {
    error.advice()?.steps().find_map(|step| match step {
        Next::ServerBehindPooler { place } => Some(place.clone()),
        _ => None,
    })
}

/// The error of a connection that a pooler refused; asks the server behind it for its place, within [`ASK_TIME_MAX`].
pub(super) async fn explain(settings: &Settings, failure: Failure) -> Error {
    let why = match failure {
        Failure::Postgres(e) => words(&e),
        other => return other.explain(settings),
    };
    let asked = async {
        let connection = Connection::with_options(settings, "").await.ok()?;
        place_of(&connection).await
    };
    let place = tokio::time::timeout(ASK_TIME_MAX, asked).await.ok().flatten();
    error(settings, place).because(why)
}

/// The host and the port at which the server says that it listens; `None` where it does not say.
pub(super) async fn place_of(connection: &Connection) -> Option<(String, String)> {
    use tokio_postgres::SimpleQueryMessage;
    const SQL: &str = "SELECT pg_catalog.host(pg_catalog.inet_server_addr()), pg_catalog.current_setting('port'), \
         pg_catalog.current_setting('unix_socket_directories', true)";
    // The simple protocol: every pooler passes it on.
    let answer = connection.client.simple_query(SQL).await.ok()?;
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let directory = row.get(2).and_then(|all| all.split(',').next()).map(str::trim);
            let host = row.get(0).or(directory.filter(|directory| !directory.is_empty()))?;
            Some((escape(host), escape(row.get(1)?)))
        }
        _ => None,
    })
}

/// The error that a pooler answers; `place` is where the server behind it says that it is, if it said so.
pub(super) fn error(settings: &Settings, place: Option<(String, String)>) -> Error {
    let what =
        format!("a connection pooler (PgBouncer or its like) answers at {}, not PostgreSQL itself", settings.place());
    Error::failed(what).hint(Next::ServerBehindPooler { place })
}
