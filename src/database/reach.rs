//! The way to a server, before anybody logs in: in go settings, out comes a TCP or unix socket, with TLS over it as
//! they ask for.

use std::{net::IpAddr, os::fd::AsFd, path::Path, sync::Arc, time::Duration};

use nix::sys::socket::{setsockopt, sockopt};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use super::{
    certificate::end_point,
    settings::{Settings, SslMode},
    tls,
};
use crate::base::{Error, Next, Result};

/// How long bytes for the server may stay unacknowledged before a TCP connection counts as lost; with the probes, a
/// server that is gone without a word is noticed after about a minute, whatever is waited for.
const SILENT_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a TCP connection may be idle before the kernel probes whether the server is still there.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// Time between two of these probes.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// Probes without an answer after which the connection counts as lost.
const PROBES: u32 = 3;

/// A stream of bytes to and from a server, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A server that was reached; nobody has logged in yet.
pub(super) struct Reached {
    pub(super) stream: Box<dyn Stream>,
    /// Over TLS: what can bind a password's proof to the server's certificate (`tls-server-end-point`); else `None`.
    pub(super) binding: Option<Vec<u8>>,
    pub(super) privacy: Privacy,
}

/// Whether others on the way can read what is said over a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Privacy {
    /// TLS, or a unix socket, which is no network at all.
    Private,
    /// Plain text over TCP, as was asked for, or to a server on this machine.
    Plain,
    /// Plain text over TCP, although TLS was preferred; why there is no TLS.
    PlainBecause(String),
}

/// Reaches the server without logging in.
pub(super) async fn reach(settings: &Settings) -> Result<Reached> {
    if settings.is_socket() {
        let path = Path::new(&settings.host).join(format!(".s.PGSQL.{}", settings.port));
        let stream = UnixStream::connect(path).await.map_err(|e| unreachable(settings).because(e))?;
        return Ok(Reached { stream: Box::new(stream), binding: None, privacy: Privacy::Private });
    }
    let plain = async |privacy| Ok(Reached { stream: Box::new(reach_tcp(settings).await?), binding: None, privacy });
    match settings.ssl_mode {
        SslMode::Disable => plain(Privacy::Plain).await,
        SslMode::Prefer => match reach_tls(settings).await {
            Ok(Some(reached)) => Ok(reached),
            Ok(None) if is_here(settings) => plain(Privacy::Plain).await,
            Ok(None) => plain(Privacy::PlainBecause("the server offers no TLS".to_owned())).await,
            Err(e) => plain(Privacy::PlainBecause(e.chain())).await,
        },
        _ => reach_tls(settings).await?.ok_or_else(|| no_tls(settings).because("the server does not support TLS")),
    }
}

/// Whether the server's address is one of this machine, so that nobody stands between us and the server.
fn is_here(settings: &Settings) -> bool {
    let address = settings.host_address.as_deref().unwrap_or(&settings.host);
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn reach_tcp(settings: &Settings) -> Result<TcpStream> {
    let host = settings.host_address.as_deref().unwrap_or(&settings.host);
    let explain = |e: std::io::Error| unreachable(settings).because(e);
    let stream = TcpStream::connect((host, settings.port)).await.map_err(explain)?;
    stream.set_nodelay(true).map_err(explain)?;
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let socket = stream.as_fd();
    let kept = setsockopt(&socket, sockopt::KeepAlive, &true)
        .and_then(|()| setsockopt(&socket, sockopt::TcpKeepIdle, &seconds(PROBE_AFTER)))
        .and_then(|()| setsockopt(&socket, sockopt::TcpKeepInterval, &seconds(PROBE_EVERY)))
        .and_then(|()| setsockopt(&socket, sockopt::TcpKeepCount, &PROBES))
        .and_then(|()| setsockopt(&socket, sockopt::TcpUserTimeout, &(seconds(SILENT_TIME_MAX) * 1000)));
    if let Err(e) = kept {
        tracing::debug!("the connection to Postgres is not probed: {e}");
    }
    Ok(stream)
}

/// Asks the server for TLS and sets it up; `None` when the server has no TLS.
async fn reach_tls(settings: &Settings) -> Result<Option<Reached>> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    // Files of ours that are no good are ours to correct, whatever the server has.
    let config = Arc::new(tls::client_config(settings)?);
    let mut stream = reach_tcp(settings).await?;
    let answer = async {
        stream.write_all(&SSL_REQUEST).await?;
        stream.read_u8().await
    };
    if answer.await.map_err(|e| unreachable(settings).because(e))? != b'S' {
        return Ok(None);
    }
    // A name that DNS cannot have is checked by nobody here but ourselves.
    let name = match ServerName::try_from(settings.host.clone()) {
        Ok(name) => name,
        Err(_) => ServerName::from(stream.peer_addr().map_err(|e| unreachable(settings).because(e))?.ip()),
    };
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|e| {
        let words = tls::words(&e);
        let next = if words.contains(", not for ") { Next::NameInCertificate } else { Next::CheckTls };
        no_tls(settings).because(words).hint(next)
    })?;
    let certificates = stream.get_ref().1.peer_certificates();
    let binding = certificates.and_then(|certificates| end_point(certificates.first()?));
    Ok(Some(Reached { stream: Box::new(stream), binding, privacy: Privacy::Private }))
}

fn no_tls(settings: &Settings) -> Error {
    Error::failed(format!("no TLS connection to Postgres at {}", settings.place())).hint(Next::CheckTls)
}

pub(super) fn unreachable(settings: &Settings) -> Error {
    Error::failed(format!("cannot reach Postgres at {}", settings.place())).hint(Next::IsServerRunning)
}
