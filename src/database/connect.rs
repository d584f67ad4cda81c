//! One connection that is logged in: in go settings, out comes a client or a bare stream, or an error that says in
//! words what the server's or the network's failure means and what to do.

use std::{
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};
use tokio_postgres::{
    Client, Config, SimpleQueryMessage,
    config::SslNegotiation,
    error::SqlState,
    tls::{ChannelBinding, TlsConnect, TlsStream},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    pooler,
    reach::{Privacy, Reached, Stream, reach, unreachable},
    settings::{Settings, SslMode},
};
use crate::base::{Advice, Error, Next, Result, text::escape};

/// How long reaching a server and logging in may take together.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);

/// Server options that every session of ours has, pg_dump's too, whatever the role's and the server's defaults are: the
/// same database gives the same text everywhere.
pub(super) const SESSION_OPTIONS: &str = "-c TimeZone=UTC -c bytea_output=hex -c quote_all_identifiers=off \
     -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c regenesis.session=on";
/// Whether a session has [`SESSION_OPTIONS`]: a pooler may drop what it does not know, and hand a statement to another session.
const HAS_OPTIONS: &str = "SELECT pg_catalog.current_setting('regenesis.session', true) = 'on'";
const APPLICATION_NAME: &str = "regenesis";

/// A logged-in client and the task that moves its bytes; dropping it ends both.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Whether others can read what is said over the connection.
    privacy: Privacy,
    /// The words in which the connection ended; `None` while it stands.
    lost: watch::Receiver<Option<String>>,
    _io: AbortOnDropHandle<()>,
}

impl Connection {
    /// Connects and logs in, with [`SESSION_OPTIONS`].
    pub(crate) async fn open(settings: &Settings) -> Result<Self> {
        match Connection::with_options(settings, SESSION_OPTIONS).await {
            Ok(connection) => match in_time(connection.has_options()).await {
                Ok(true) => Ok(connection),
                Ok(false) => {
                    let place = pooler::place_of(&connection).await;
                    Err(pooler::error(settings, place).because("our session's settings do not reach the server"))
                }
                Err(failure) => Err(failure.explain(settings)),
            },
            Err(failure) if failure.is_poolers() => Err(pooler::explain(settings, failure).await),
            Err(failure) => Err(failure.explain(settings)),
        }
    }

    /// Connects and logs in, with these options for the server instead; empty: none, which also a pooler lets through.
    pub(super) async fn with_options(settings: &Settings, options: &str) -> Result<Self, Failure> {
        let first = Connection::attempt(settings, options).await;
        match first {
            // libpq's "prefer": a server that refuses a role over TLS may let it in without.
            Err(Failure::Postgres(e)) if settings.ssl_mode == SslMode::Prefer && is_not_let_in(&e) => {
                let plain = Settings { ssl_mode: SslMode::Disable, ..settings.clone() };
                match Connection::attempt(&plain, options).await {
                    Ok(connection) => {
                        let privacy = Privacy::PlainBecause(words(&e));
                        Ok(Connection { privacy, ..connection })
                    }
                    Err(_) => Err(Failure::Postgres(e)),
                }
            }
            done => done,
        }
    }

    async fn has_options(&self) -> Result<bool, Failure> {
        let answer = self.client.simple_query(HAS_OPTIONS).await.map_err(Failure::Postgres)?;
        Ok(answer.iter().any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("t"))))
    }

    async fn attempt(settings: &Settings, options: &str) -> Result<Self, Failure> {
        let attempt = async {
            let Reached { stream, binding, privacy } = reach(settings).await?;
            let connected = config(settings, options).connect_raw(stream, Underneath(binding)).await;
            let (client, io) = connected.map_err(Failure::Postgres)?;
            let (ended, lost) = watch::channel(None);
            let io = async move {
                let words = io.await.map_or_else(|e| words(&e), |()| "the connection ended".to_owned());
                tracing::debug!("database connection ended: {words}");
                let _ = ended.send(Some(words));
            };
            Ok(Connection { client, privacy, lost, _io: AbortOnDropHandle::new(tokio::spawn(io)) })
        };
        in_time(attempt).await
    }

    /// Settings for further connections of the same kind: whether the server has TLS, once found out, is not tried
    /// again, and no later connection is less private than this one without a word.
    pub(super) fn settled(&self, settings: &Settings) -> Settings {
        let mut settled = settings.clone();
        if settings.ssl_mode == SslMode::Prefer {
            // Of a server's certificate "prefer" checks nothing.
            settled.root_certificate = None;
            settled.ssl_mode = if self.privacy == Privacy::Private { SslMode::Require } else { SslMode::Disable };
        }
        settled
    }

    /// Why the connection is plain text although TLS was preferred;
    /// `None` where it is private, or plain as was asked for.
    pub(super) fn plain_because(&self) -> Option<&str> {
        match &self.privacy {
            Privacy::PlainBecause(why) => Some(why),
            Privacy::Private | Privacy::Plain => None,
        }
    }

    /// Waits until the connection is gone; gives the words in which it ended.
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        let words = lost.wait_for(Option::is_some).await.ok().and_then(|words| words.clone());
        words.unwrap_or_else(|| "the connection ended".to_owned())
    }
}

/// Logs in through the driver and gives the bare connection back, on which nothing is under way.
pub(super) async fn log_in(settings: &Settings) -> Result<Box<dyn Stream>, Failure> {
    let attempt = async {
        let Reached { stream, binding, .. } = reach(settings).await?;
        let (lent, borrowed) = Lent::new(stream);
        let connected = config(settings, SESSION_OPTIONS).connect_raw(borrowed, Underneath(binding)).await;
        // Nobody has asked it to do anything: it lets go without a word.
        drop(connected.map_err(Failure::Postgres)?);
        lent.back().ok_or_else(|| Failure::Ours(Error::failed("the driver keeps the connection to Postgres")))
    };
    in_time(attempt).await
}

/// [`reach`] within [`CONNECT_TIME_MAX`]: a connection on which nobody has logged in.
pub(super) async fn reach_in_time(settings: &Settings) -> Result<Box<dyn Stream>> {
    let reached = in_time(async { Ok(reach(settings).await?.stream) }).await;
    reached.map_err(|failure| failure.explain(settings))
}

async fn in_time<T>(attempt: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(CONNECT_TIME_MAX, attempt).await.unwrap_or(Err(Failure::Silent))
}

/// A stream that is lent to the driver while it logs in; both ends hold the same one.
#[derive(Clone)]
struct Lent(Arc<Mutex<Box<dyn Stream>>>);

impl Lent {
    /// Two ends of the same stream: the owner's and the borrower's.
    fn new(stream: Box<dyn Stream>) -> (Self, Self) {
        let lent = Lent(Arc::new(Mutex::new(stream)));
        (lent.clone(), lent)
    }

    /// The stream, once the borrower has dropped its end.
    fn back(self) -> Option<Box<dyn Stream>> {
        Arc::into_inner(self.0).map(|stream| stream.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn with<T>(&self, act: impl FnOnce(Pin<&mut Box<dyn Stream>>) -> T) -> T {
        act(Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut task::Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, into))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

/// Tells the driver that TLS, if any, is below it already; holds what binds a password's proof to the server's
/// certificate (`tls-server-end-point`), where there is such a thing.
struct Underneath(Option<Vec<u8>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<S> for Underneath {
    type Stream = Bound<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<Bound<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(Bound { stream, binding: self.0 }))
    }
}

struct Bound<S> {
    stream: S,
    binding: Option<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Bound<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.binding.clone().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bound<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn config(settings: &Settings, options: &str) -> Config {
    let mut config = Config::new();
    // Whatever TLS there is to be is below the driver: it asks for none, and takes the stream for one.
    config
        .ssl_mode(tokio_postgres::config::SslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct)
        .user(&settings.user)
        .dbname(&settings.dbname)
        .application_name(APPLICATION_NAME);
    if !options.is_empty() {
        config.options(options);
    }
    if let Some(password) = &settings.password {
        config.password(password.as_str());
    }
    config
}

/// Whether the server's list of who may come in from where (pg_hba.conf) said no.
fn is_not_let_in(e: &tokio_postgres::Error) -> bool {
    e.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

/// Why there is no connection; [`Failure::explain`] makes an error of it.
#[derive(Debug)]
pub(super) enum Failure {
    Ours(Error),
    Postgres(tokio_postgres::Error),
    /// There was no answer within [`CONNECT_TIME_MAX`].
    Silent,
}

impl Failure {
    /// Whether the server, the database or the role has as many connections as it may.
    pub(super) fn is_limit(&self) -> bool {
        matches!(self, Failure::Postgres(e) if e.code() == Some(&SqlState::TOO_MANY_CONNECTIONS))
    }

    /// Whether the words are those of a connection pooler, which stands before the server.
    fn is_poolers(&self) -> bool {
        matches!(self, Failure::Postgres(e) if pooler::is_words(&words(e)))
    }

    pub(super) fn explain(self, settings: &Settings) -> Error {
        match self {
            Failure::Ours(e) => e,
            Failure::Postgres(e) => explain_connect(e, settings),
            Failure::Silent => unreachable(settings).because(format!("no answer within {CONNECT_TIME_MAX:?}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Ours(e)
    }
}

/// The server's own words with its SQLSTATE, made harmless to show; without them the driver's.
pub(crate) fn words(e: &tokio_postgres::Error) -> String {
    if let Some(db) = e.as_db_error() {
        return escape(&format!("{} (SQLSTATE {})", db.message(), db.code().code()));
    }
    let mut text = e.to_string();
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    escape(&text)
}

/// How the error of a database that does not exist begins.
const NO_DATABASE: &str = "there is no database";

/// Whether this error of [`Connection::open`] says that the server was reached, but the database does not exist.
pub(super) fn is_missing_database(error: &Error) -> bool {
    error.to_string().starts_with(NO_DATABASE)
}

fn explain_connect(e: tokio_postgres::Error, settings: &Settings) -> Error {
    let words = words(&e);
    let (place, user, dbname) = (settings.place(), escape(&settings.user), escape(&settings.dbname));
    match e.code() {
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
            Error::failed(format!("{NO_DATABASE} \"{dbname}\" at {place}")).hint(Next::NameDatabase)
        }
        Some(code) if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            let otherwise = let_in_otherwise(&words).filter(|_| *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
            Error::failed(format!("Postgres at {place} does not let \"{user}\" in"))
                .because(words)
                .hint(otherwise.unwrap_or(Next::CheckLogin.into()))
        }
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Error::failed(format!("\"{user}\" may not connect to the database \"{dbname}\" at {place}"))
                .because(words)
                .hint(Next::UseOwner)
        }
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => {
            Error::failed(format!("Postgres at {place} has no connection left"))
                .because(words)
                .hint("stop other clients of that server; a stopped kwild holds none")
        }
        Some(_) => Error::failed(format!("Postgres at {place} refuses the connection"))
            .because(words)
            .hint("see the server's log; try again once it is up"),
        None if words.contains("password missing") => {
            Error::failed(format!("Postgres at {place} wants a password for \"{user}\", and none was given"))
                .hint(Next::GivePassword)
        }
        None => unreachable(settings).because(words),
    }
}

/// Advice on how else a server may let the role in that it refused, by what its words say about TLS.
fn let_in_otherwise(words: &str) -> Option<Advice> {
    if words.contains("no encryption") || words.contains("SSL off") {
        Some(Next::RequireTls.into())
    } else if words.contains("client certificate") {
        Some("name a certificate for this role with PGSSLCERT, and its key with PGSSLKEY".into())
    } else if words.contains("SSL encryption") || words.contains("SSL on") {
        Some(Next::AllowPlain.into())
    } else {
        None
    }
}

/// The error of a query that failed; `doing` is a clause such as "read the chain's height".
pub(crate) fn explain_query(e: tokio_postgres::Error, doing: &str, settings: &Settings) -> Error {
    explain_refusal(e.code(), words(&e), doing, settings)
}

/// [`explain_query`] where only the server's code and words are
/// at hand; `code` is `None` for a failure of the connection.
pub(super) fn explain_refusal(code: Option<&SqlState>, words: String, doing: &str, settings: &Settings) -> Error {
    let (user, dbname) = (escape(&settings.user), escape(&settings.dbname));
    match code {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Error::failed(format!("\"{user}\" may not {doing} in the database \"{dbname}\""))
                .because(words)
                .hint(Next::UseOwner)
        }
        Some(code) if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN => {
            Error::failed(format!("cannot {doing}: the database \"{dbname}\" lacks a part of Kwil's tables"))
                .because(words)
                .hint(Next::NameWholeDatabase)
        }
        // A value or a row that is too long for the text of a COPY, in the words of the server's versions.
        _ if ["invalid memory alloc request size", "Cannot enlarge string buffer", "out of memory"]
            .iter()
            .any(|said| words.contains(said)) =>
        {
            Error::failed(format!("cannot {doing} in the database \"{dbname}\"")).because(words).hint(
                "if the server has memory to spare, a row's text is 1 GiB or more (the limit is 1073741823 bytes), which \
                 nobody can dump or load: find it by pg_column_size, shorten or delete it, and make the snapshot again",
            )
        }
        // On a standby.
        _ if words.contains("due to conflict with recovery") => {
            Error::failed(format!("cannot {doing} in the database \"{dbname}\": the standby gave way to its primary"))
                .because(words)
                .hint("set max_standby_streaming_delay = -1 on the standby, or read the primary, and run the command again")
        }
        Some(code) if *code == SqlState::SNAPSHOT_TOO_OLD => {
            Error::failed(format!("the server gave up the consistent cut of the database \"{dbname}\""))
                .because(words)
                .hint("set old_snapshot_threshold = -1 on the server and restart it, then make the snapshot again")
        }
        Some(code) if *code == SqlState::QUERY_CANCELED => {
            Error::failed(format!("cannot {doing} in the database \"{dbname}\": someone cancelled it"))
                .because(words)
                .hint("look for a job that ends long queries on that server, then make the snapshot again")
        }
        _ => Error::failed(format!("cannot {doing} in the database \"{dbname}\""))
            .because(words)
            .hint("is the server still running? the snapshot can simply be made again"),
    }
}
