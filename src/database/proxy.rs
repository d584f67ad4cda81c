//! The skeleton proxy: a private unix socket between pg_dump and the server that relays the protocol, but answers every
//! `COPY … TO stdout` itself with no rows and notes the statement. So pg_dump, of whatever version, decides the text,
//! its order and the column lists in a moment, and the rows can be fetched beside it.
//!
//! pg_dump logs in through it: whatever the server asks of a password is between the two. When pg_dump has gone, its
//! session is kept, and with it the locks on every table.
//!
//! Messages: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use std::{os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};
use tokio_util::task::AbortOnDropHandle;

use super::{connect::reach_in_time, reach::Stream, settings::Settings, wire::Wire};
use crate::base::{Context, Error, Result};

/// Bytes of a message of pg_dump's; the longest is the one that locks every table by name.
const MESSAGE_SIZE_BYTES_MAX: usize = 64 << 20;
/// Bytes of a start-up message, as the server itself limits it.
const STARTUP_SIZE_BYTES_MAX: usize = 10_000;
/// Bytes relayed from the server at once.
const RELAY_BYTES: usize = 64 << 10;
/// Bytes of a start-up message's head: its length and its code.
const STARTUP_HEADER_BYTES: usize = 8;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// The authentication request in which a server offers SASL mechanisms (AuthenticationSASL).
const SASL: u32 = 10;
/// What a server answers to the COPY of an empty table inside a transaction: CopyOutResponse (text, no columns),
/// CopyDone, CommandComplete, ReadyForQuery.
const NO_ROWS: &[u8] = b"H\0\0\0\x07\0\0\0c\0\0\0\x04C\0\0\0\x0bCOPY 0\0Z\0\0\0\x05T";
/// Bytes of the path of the socket's directory: a socket's path may have 107 bytes, and pg_dump appends the name.
const DIRECTORY_NAME_BYTES_MAX: usize = 80;

/// The proxy's socket, before pg_dump has come.
#[derive(Debug)]
pub(super) struct Proxy {
    listener: UnixListener,
    directory: TempDir,
    port: u16,
}

/// What pg_dump asked for through the proxy, and the session that it leaves behind.
pub(super) struct Relayed {
    /// pg_dump's `COPY … TO stdout;` statements, in the order in which they came.
    pub(super) copies: Vec<String>,
    /// The `SET`s of pg_dump's session, in order: the form of the rows' text depends on them.
    pub(super) sets: Vec<String>,
    /// The session of pg_dump with the server, which goes on without pg_dump.
    pub(super) session: PgDumpSession,
}

/// pg_dump's session without pg_dump: it holds the locks on every table. The server ends it when this is dropped.
pub(super) type PgDumpSession = Wire;

impl Proxy {
    /// Makes a socket that only this user can reach; `port` goes into its name, as pg_dump looks for it.
    pub(super) fn listen(port: u16) -> Result<Self> {
        let what = || "cannot make a socket for pg_dump";
        let mut builder = tempfile::Builder::new();
        builder.prefix("regenesis-").permissions(std::fs::Permissions::from_mode(0o700));
        let mut directory = builder.tempdir().or_failed(what)?;
        if directory.path().as_os_str().len() > DIRECTORY_NAME_BYTES_MAX {
            directory = builder.tempdir_in("/tmp").or_failed(what)?;
        }
        let listener = UnixListener::bind(directory.path().join(format!(".s.PGSQL.{port}"))).or_failed(what)?;
        Ok(Proxy { listener, directory, port })
    }

    /// The directory of the socket, for pg_dump's `--host`.
    pub(super) fn host(&self) -> &Path {
        self.directory.path()
    }

    /// The number in the socket's name, for pg_dump's `--port`.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Relays one connection between pg_dump and the server until pg_dump ends it.
    ///
    /// # Errors
    /// When the server cannot be reached, or either side breaks off.
    pub(super) async fn relay(&self, settings: &Settings) -> Result<Relayed> {
        let broken = || "pg_dump's connection broke off";
        let (client, startup) = loop {
            let (mut client, _) = self.listener.accept().await.or_failed(broken)?;
            // One that asks to cancel a query has nothing to cancel here.
            if let Some(startup) = read_startup(&mut client).await.or_failed(broken)? {
                break (client, startup);
            }
        };
        let mut server = reach_in_time(settings).await?;
        server.write_all(&startup).await.or_failed(broken)?;
        let (from_client, mut to_client) = client.into_split();
        let (send, mut messages) = mpsc::channel(1);
        let _reader = AbortOnDropHandle::new(tokio::spawn(read_messages(from_client, send)));
        log_in(&mut server, &mut messages, &mut to_client).await.or_failed(broken)?;
        let (mut copies, mut sets) = (Vec::new(), Vec::new());
        let mut position = MessagePosition::default();
        let mut buffer = vec![0; RELAY_BYTES];
        loop {
            tokio::select! {
                message = messages.recv() => {
                    let Some(message) = message else { break };
                    if message[0] == b'X' {
                        break;
                    }
                    if let Some(statement) = copy_to_stdout(&message) {
                        copies.push(statement);
                        // Never into the middle of what the server is saying.
                        while !position.at_boundary() {
                            let n = server.read(&mut buffer).await.or_failed(broken)?;
                            if n == 0 {
                                return Err(server_gone());
                            }
                            position.pass(&buffer[..n]);
                            to_client.write_all(&buffer[..n]).await.or_failed(broken)?;
                        }
                        to_client.write_all(NO_ROWS).await.or_failed(broken)?;
                        continue;
                    }
                    sets.extend(set_statement(&message));
                    server.write_all(&message).await.or_failed(broken)?;
                    server.flush().await.or_failed(broken)?;
                }
                n = server.read(&mut buffer) => {
                    let n = n.or_failed(broken)?;
                    if n == 0 {
                        return Err(server_gone());
                    }
                    position.pass(&buffer[..n]);
                    to_client.write_all(&buffer[..n]).await.or_failed(broken)?;
                }
            }
        }
        Ok(Relayed { copies, sets, session: Wire::new(server) })
    }
}

fn server_gone() -> Error {
    Error::failed("the server ended pg_dump's connection")
        .hint("is the server still running? the snapshot can simply be made again")
}

/// The first message of a connection; `None` where it only asks to cancel
/// a query. Encryption is refused: it is not needed on a socket of ours.
async fn read_startup(client: &mut UnixStream) -> std::io::Result<Option<Vec<u8>>> {
    loop {
        let mut message = vec![0; STARTUP_HEADER_BYTES];
        client.read_exact(&mut message).await?;
        let (length, code) = (message_length(&message[..4]), message_length(&message[4..]));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match code {
            SSL_REQUEST | GSSENC_REQUEST => client.write_all(b"N").await?,
            CANCEL_REQUEST => return Ok(None),
            _ if (STARTUP_HEADER_BYTES..=STARTUP_SIZE_BYTES_MAX).contains(&length) => {
                message.resize(length, 0);
                client.read_exact(&mut message[STARTUP_HEADER_BYTES..]).await?;
                return Ok(Some(message));
            }
            _ => return Err(std::io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Relays what is said about passwords, until the server is content or says why not.
/// Over TLS a server also offers an authentication that is bound to the channel;
/// libpq refuses to hear of that on a socket without TLS, so the offer is left out.
async fn log_in(
    server: &mut Box<dyn Stream>,
    messages: &mut mpsc::Receiver<Vec<u8>>,
    to_client: &mut OwnedWriteHalf,
) -> std::io::Result<()> {
    const AUTHENTICATION_OK: u32 = 0;
    /// The authentication requests that libpq answers: plain text, MD5, and the two steps of SASL.
    const ANSWERED: [u32; 4] = [3, 5, SASL, 11];
    loop {
        let message = read_message(server).await?;
        let request = (message[0] == b'R').then(|| message_length(message.get(5..9).unwrap_or_default()));
        let message = if request == Some(SASL) { without_channel_binding(&message) } else { message };
        to_client.write_all(&message).await?;
        match request {
            Some(AUTHENTICATION_OK) => return Ok(()),
            Some(request) if ANSWERED.contains(&request) => {
                let Some(answer) = messages.recv().await else { return Ok(()) };
                server.write_all(&answer).await?;
                server.flush().await?;
            }
            _ if message[0] == b'E' => return Ok(()),
            _ => {}
        }
    }
}

/// The message of a server's offer of SASL mechanisms, without those that end in `-PLUS`.
fn without_channel_binding(message: &[u8]) -> Vec<u8> {
    let names = message.get(9..).unwrap_or_default();
    let kept = names.split(|b| *b == 0).filter(|name| !name.is_empty() && !name.ends_with(b"-PLUS"));
    let mut body = SASL.to_be_bytes().to_vec();
    for name in kept {
        body.extend_from_slice(name);
        body.push(0);
    }
    body.push(0);
    let mut offer = vec![b'R'];
    offer.extend_from_slice(&u32::try_from(4 + body.len()).unwrap_or(u32::MAX).to_be_bytes());
    offer.extend_from_slice(&body);
    offer
}

/// Reads pg_dump's messages, each whole, into a queue that ends with them.
async fn read_messages(mut from: OwnedReadHalf, to: mpsc::Sender<Vec<u8>>) {
    while let Ok(message) = read_message(&mut from).await {
        if to.send(message).await.is_err() {
            return;
        }
    }
}

async fn read_message(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut header = [0; 5];
    from.read_exact(&mut header).await?;
    let length = usize::try_from(message_length(&header[1..])).unwrap_or(usize::MAX);
    if !(4..=MESSAGE_SIZE_BYTES_MAX).contains(&length) {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut message = header.to_vec();
    message.resize(1 + length, 0);
    from.read_exact(&mut message[5..]).await?;
    Ok(message)
}

fn message_length(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |n, b| n << 8 | u32::from(*b))
}

/// The SQL text of a simple query's message; `None` of any other message.
fn query(message: &[u8]) -> Option<&str> {
    let text = message.strip_prefix(b"Q")?.get(4..)?;
    std::str::from_utf8(text.strip_suffix(b"\0").unwrap_or(text)).ok()
}

fn copy_to_stdout(message: &[u8]) -> Option<String> {
    let text = query(message)?.trim();
    (text.starts_with("COPY ") && text.ends_with(" TO stdout;")).then(|| text.to_owned())
}

/// The statement of a message that sets something for the whole session, without its `;`. `SET TRANSACTION` belongs to
/// pg_dump's own transaction, and so does a lock.
fn set_statement(message: &[u8]) -> Option<String> {
    let text = query(message)?.trim();
    let mut words = text.split_ascii_whitespace();
    let set = match (words.next(), words.next()) {
        (Some(set), Some(what)) if set.eq_ignore_ascii_case("SET") => !what.eq_ignore_ascii_case("TRANSACTION"),
        (Some(select), Some(call)) if select.eq_ignore_ascii_case("SELECT") => {
            call.starts_with("set_config(") || call.starts_with("pg_catalog.set_config(")
        }
        _ => false,
    };
    // Several statements in one message are something else.
    (set && !text.trim_end_matches(';').contains(';')).then(|| text.trim_end_matches(';').to_owned())
}

/// Where the bytes from the server stand within its messages.
#[derive(Debug, Default)]
struct MessagePosition {
    header: Vec<u8>,
    body_left: usize,
}

impl MessagePosition {
    fn at_boundary(&self) -> bool {
        self.header.is_empty() && self.body_left == 0
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let n = self.body_left.min(bytes.len());
                self.body_left -= n;
                bytes = &bytes[n..];
                continue;
            }
            let n = (5 - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.header.len() == 5 {
                self.body_left = (message_length(&self.header[1..]) as usize).saturating_sub(4);
                self.header.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Vec<u8> {
        let mut message = vec![b'Q'];
        message.extend_from_slice(&u32::try_from(text.len() + 5).unwrap().to_be_bytes());
        message.extend_from_slice(text.as_bytes());
        message.push(0);
        message
    }

    #[test]
    fn only_a_whole_copy_to_stdout_is_answered() {
        let copy = |text| copy_to_stdout(&message(text));
        assert_eq!(copy("COPY a.b (c) TO stdout;").as_deref(), Some("COPY a.b (c) TO stdout;"));
        assert_eq!(
            copy("COPY (SELECT c FROM a.b ) TO stdout;").as_deref(),
            Some("COPY (SELECT c FROM a.b ) TO stdout;")
        );
        assert_eq!(copy("SELECT 'COPY a TO stdout;'"), None);
        assert_eq!(copy("COPY a.b FROM stdin;"), None);
        assert_eq!(copy_to_stdout(b"p\0\0\0\x05\0"), None);
    }

    #[test]
    fn the_sessions_settings_are_noted_and_the_transactions_are_not() {
        let noted = |text| set_statement(&message(text));
        assert_eq!(noted("SET DATESTYLE = ISO").as_deref(), Some("SET DATESTYLE = ISO"));
        assert_eq!(
            noted("SELECT pg_catalog.set_config('search_path', '', false);").as_deref(),
            Some("SELECT pg_catalog.set_config('search_path', '', false)")
        );
        assert_eq!(noted("SET TRANSACTION SNAPSHOT '1'"), None);
        assert_eq!(noted("SELECT set_config FROM t"), None);
        assert_eq!(noted("LOCK TABLE a.b IN ACCESS SHARE MODE"), None);
    }

    #[test]
    fn an_offer_keeps_only_what_needs_no_tls() {
        let offer = b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        assert_eq!(without_channel_binding(offer), b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    }

    #[test]
    fn messages_are_told_apart_wherever_they_are_cut() {
        let stream = [message("SELECT 1"), message(""), b"Z\0\0\0\x05T".to_vec()].concat();
        let boundaries = [0, 14, 20, 26];
        for cut in 0..=stream.len() {
            let mut position = MessagePosition::default();
            position.pass(&stream[..cut]);
            assert_eq!(position.at_boundary(), boundaries.contains(&cut), "{cut}");
            position.pass(&stream[cut..]);
            assert!(position.at_boundary());
        }
    }
}
