//! One connection, with or without TLS, and what its failures mean in words.

use std::{
    io,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::watch,
};
use tokio_postgres::{Client, Config, NoTls, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::settings::{Settings, SslMode};
use crate::base::{Context, Error, Result, text::escape};

/// How long a server may take to answer a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);

/// What every session of ours has, pg_dump's too, whatever the role's and the server's defaults are: the same database
/// gives the same text everywhere.
pub(super) const SESSION_OPTIONS: &str = "-c TimeZone=UTC -c bytea_output=hex -c quote_all_identifiers=off \
     -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0";
const APPLICATION_NAME: &str = "regenesis";

/// Moves a connection's bytes while it is polled, and says why it ended.
type Io = Pin<Box<dyn Future<Output = String> + Send>>;

/// A client and the task that moves its bytes, which ends with it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// How it ended.
    lost: watch::Receiver<Option<String>>,
    _io: AbortOnDropHandle<()>,
}

impl Connection {
    /// Connects and logs in.
    pub(crate) async fn open(settings: &Settings) -> Result<Self> {
        let (client, io) = dial(settings).await?;
        let (ended, lost) = watch::channel(None);
        let io = async move {
            let words = io.await;
            tracing::debug!("database connection ended: {words}");
            let _ = ended.send(Some(words));
        };
        Ok(Connection { client, lost, _io: AbortOnDropHandle::new(tokio::spawn(io)) })
    }

    /// Waits until the connection is gone; in whose words.
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        let words = lost.wait_for(Option::is_some).await.ok().and_then(|words| words.clone());
        words.unwrap_or_else(|| "the connection ended".to_owned())
    }
}

/// Connects and logs in; the caller polls what moves the bytes.
async fn dial(settings: &Settings) -> Result<(Client, Io)> {
    try_dial(settings).await.map_err(|e| e.explain(settings))
}

/// Logs in and gives the bare connection, on which nothing is under way.
pub(super) async fn log_in(settings: &Settings) -> Result<Box<dyn Stream>, Failure> {
    let mut config = config(settings);
    let attempt = async {
        let (lent, borrowed) = Lent::new(reach(settings).await?);
        // What TLS there is to be is below this already.
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let driver = config.connect_raw(borrowed, NoTls).await.map_err(Failure::Postgres)?;
        // Nobody has asked it to do anything: it lets go without a word.
        drop(driver);
        lent.back().ok_or_else(|| Failure::Ours(Error::failed("the driver keeps the connection to Postgres")))
    };
    tokio::time::timeout(CONNECT_TIME_MAX, attempt).await.unwrap_or(Err(Failure::Silent))
}

/// A stream that is given to the driver for a while.
#[derive(Clone)]
struct Lent(Arc<Mutex<Box<dyn Stream>>>);

impl Lent {
    /// The owner's end and the borrower's.
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

fn config(settings: &Settings) -> Config {
    let mut config = Config::new();
    config
        .host(&settings.host)
        .port(settings.port)
        .user(&settings.user)
        .dbname(&settings.dbname)
        .application_name(APPLICATION_NAME)
        .options(SESSION_OPTIONS)
        .connect_timeout(CONNECT_TIME_MAX)
        .keepalives_idle(Duration::from_secs(60));
    if let Some(password) = &settings.password {
        config.password(password.as_str());
    }
    config
}

/// As [`dial`], with a failure that can still be looked at.
async fn try_dial(settings: &Settings) -> Result<(Client, Io), Failure> {
    let mut config = config(settings);
    let attempt = async {
        // As libpq: a unix socket has no TLS.
        if settings.ssl_mode == SslMode::Disable || settings.is_socket() {
            return plain(&mut config).await;
        }
        let mode = match settings.ssl_mode {
            SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
            _ => tokio_postgres::config::SslMode::Require,
        };
        config.ssl_mode(mode);
        let tls = MakeRustlsConnect::new(tls_config(settings)?);
        match config.connect(tls).await {
            Ok((client, io)) => Ok((client, moves(io))),
            // "prefer" means what it says: a server with a TLS that is none is talked to in plain text.
            Err(e) if settings.ssl_mode == SslMode::Prefer && is_tls(&e) => plain(&mut config).await,
            Err(e) => Err(Failure::Postgres(e)),
        }
    };
    tokio::time::timeout(CONNECT_TIME_MAX, attempt).await.unwrap_or(Err(Failure::Silent))
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Failure {
    Ours(Error),
    Postgres(tokio_postgres::Error),
    /// No answer in time.
    Silent,
}

impl Failure {
    /// The server, the database or the role has as many connections as it may.
    pub(super) fn is_limit(&self) -> bool {
        matches!(self, Failure::Postgres(e) if e.code() == Some(&SqlState::TOO_MANY_CONNECTIONS))
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

async fn plain(config: &mut Config) -> Result<(Client, Io), Failure> {
    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
    let (client, io) = config.connect(NoTls).await.map_err(Failure::Postgres)?;
    Ok((client, moves(io)))
}

fn moves<S, T>(io: tokio_postgres::Connection<S, T>) -> Io
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    Box::pin(async move { io.await.map_or_else(|e| words(&e), |()| "the connection ended".to_owned()) })
}

/// Bytes to and from a server, before anything is said.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Reaches the server without logging in, with the TLS that the settings ask for.
pub(super) async fn reach(settings: &Settings) -> Result<Box<dyn Stream>> {
    let attempt = async {
        if settings.is_socket() {
            let path = Path::new(&settings.host).join(format!(".s.PGSQL.{}", settings.port));
            let stream = UnixStream::connect(path).await.map_err(|e| unreachable(settings).because(e))?;
            return Ok(Box::new(stream) as Box<dyn Stream>);
        }
        if settings.ssl_mode == SslMode::Disable {
            return Ok(Box::new(reach_tcp(settings).await?) as Box<dyn Stream>);
        }
        match reach_tls(settings).await {
            Ok(Some(stream)) => Ok(stream),
            Err(e) if settings.ssl_mode != SslMode::Prefer => Err(e),
            Ok(None) | Err(_) => Ok(Box::new(reach_tcp(settings).await?) as Box<dyn Stream>),
        }
    };
    tokio::time::timeout(CONNECT_TIME_MAX, attempt).await.unwrap_or_else(|_| Err(Failure::Silent.explain(settings)))
}

async fn reach_tcp(settings: &Settings) -> Result<TcpStream> {
    let stream = TcpStream::connect((settings.host.as_str(), settings.port)).await;
    let stream = stream.map_err(|e| unreachable(settings).because(e))?;
    stream.set_nodelay(true).map_err(|e| unreachable(settings).because(e))?;
    Ok(stream)
}

/// None when the server has no TLS and the settings do not insist.
async fn reach_tls(settings: &Settings) -> Result<Option<Box<dyn Stream>>> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    let no_tls = |why: String| {
        Error::failed(format!("no TLS connection to Postgres at {}", settings.place())).because(why).hint(TLS_HINT)
    };
    let mut stream = reach_tcp(settings).await?;
    let answer = async {
        stream.write_all(&SSL_REQUEST).await?;
        stream.read_u8().await
    };
    match answer.await.map_err(|e| unreachable(settings).because(e))? {
        b'S' => {}
        b'N' if settings.ssl_mode == SslMode::Prefer => return Ok(None),
        _ => return Err(no_tls("the server does not support TLS".to_owned())),
    }
    let name = ServerName::try_from(settings.host.clone()).map_err(|e| no_tls(e.to_string()))?;
    let connector = TlsConnector::from(Arc::new(tls_config(settings)?));
    let stream = connector.connect(name, stream).await.map_err(|e| no_tls(e.to_string()))?;
    Ok(Some(Box::new(stream)))
}

fn is_tls(e: &tokio_postgres::Error) -> bool {
    e.as_db_error().is_none() && e.to_string().contains("TLS")
}

/// libpq's meaning of the modes: only `verify-full` looks at the certificate.
fn tls_config(settings: &Settings) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .or_failed(|| "cannot set up TLS")?;
    if settings.ssl_mode == SslMode::VerifyFull {
        let roots = roots(settings.root_certificate.as_deref())?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    } else {
        let verifier = Arc::new(Unverified(provider));
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }
}

fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match file.filter(|f| *f != Path::new("system")) {
        Some(path) => {
            let what = || format!("cannot read the root certificates in {}", path.display());
            let bytes = std::fs::read(path).or_failed(what)?;
            for certificate in rustls_pemfile::certs(&mut bytes.as_slice()) {
                store.add(certificate.or_failed(what)?).or_failed(what)?;
            }
            if store.is_empty() {
                return Err(Error::failed(format!("{} holds no certificate", path.display()))
                    .hint("PGSSLROOTCERT must name a PEM file with the server's root certificate, or be \"system\""));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                return Err(Error::failed("no root certificate was found to verify the database server with")
                    .hint("name a PEM file with PGSSLROOTCERT, or put it at ~/.postgresql/root.crt"));
            }
        }
    }
    Ok(store)
}

/// Takes any certificate, as libpq does below `verify-full`; the handshake's signatures still have to be right.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The server's own words, made harmless; without them the driver's.
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

const TLS_HINT: &str = "check --sslmode; verify-full needs the server's root certificate in PGSSLROOTCERT";

/// How the error of a database that does not exist begins.
const NO_DATABASE: &str = "there is no database";

/// Whether [`Connection::open`] reached the server, but the database does not exist.
pub(super) fn is_missing_database(error: &Error) -> bool {
    error.to_string().starts_with(NO_DATABASE)
}

fn unreachable(settings: &Settings) -> Error {
    Error::failed(format!("cannot reach Postgres at {}", settings.place()))
        .hint("is the server running, and are --host and --port (or --from-root) those of the node's database?")
}

fn explain_connect(e: tokio_postgres::Error, settings: &Settings) -> Error {
    let words = words(&e);
    let (place, user, dbname) = (settings.place(), escape(&settings.user), escape(&settings.dbname));
    match e.code() {
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
            Error::failed(format!("{NO_DATABASE} \"{dbname}\" at {place}"))
                .hint("name the old node's database with --dbname; psql --list shows those that exist")
        }
        Some(code) if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            Error::failed(format!("Postgres at {place} does not let \"{user}\" in"))
                .because(words)
                .hint("check --user, and the password in PGPASSWORD, ~/.pgpass or --password-file")
        }
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Error::failed(format!("\"{user}\" may not connect to the database \"{dbname}\" at {place}"))
                .because(words)
                .hint("use the role that owns the Kwil database, or a superuser (--user)")
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
                .hint("put it into PGPASSWORD, ~/.pgpass or --password-file")
        }
        None if is_tls(&e) => {
            Error::failed(format!("no TLS connection to Postgres at {place}")).because(words).hint(TLS_HINT)
        }
        None => unreachable(settings).because(words),
    }
}

/// Explains a query's failure; `doing` is a clause such as "read the chain's height".
pub(crate) fn explain_query(e: tokio_postgres::Error, doing: &str, settings: &Settings) -> Error {
    explain_refusal(e.code(), words(&e), doing, settings)
}

/// [`explain_query`] where only the server's code and words are at hand.
pub(super) fn explain_refusal(code: Option<&SqlState>, words: String, doing: &str, settings: &Settings) -> Error {
    let (user, dbname) = (escape(&settings.user), escape(&settings.dbname));
    match code {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Error::failed(format!("\"{user}\" may not {doing} in the database \"{dbname}\""))
                .because(words)
                .hint("use the role that owns the Kwil database, or a superuser (--user)")
        }
        Some(code) if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN => {
            Error::failed(format!("cannot {doing}: the database \"{dbname}\" lacks a part of Kwil's tables"))
                .because(words)
                .hint("name the old node's database with --dbname; one that a restore left half-filled cannot be used")
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
