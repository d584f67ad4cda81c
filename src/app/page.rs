//! The live page of a node, its numbers for machines, and the JSON of its status, over HTTP. The only place that names hyper.
//!
//! It reads copies that are made once a second, so that nobody who looks holds up the transfer. Whoever asks is bounded: in connections,
//! in bytes of a request, in time. On an address that others can reach it answers only those who know the token in the page's address.
//! Nothing that it tells is secret: the status holds no ticket, key or password.

mod answer;
mod events;
mod metrics;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    task::Context as TaskContext,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::RngCore;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use zeroize::Zeroizing;

use self::{answer::Answering, events::Seat};
use super::status::{Board, Status};
use crate::{
    base::{
        Advice, Context, Error, Next, Progress, Result,
        task::{CancellationToken, Tasks, serve_each},
    },
    store::PrivateDirectory,
};

/// Connections at once; one more takes the place of the one that came first.
const CONNECTIONS_MAX: usize = 96;
/// How long the head of a request may take.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const HEAD_SIZE_BYTES_MAX: usize = 16 << 10;
/// Lines of a request's head.
const HEAD_LINES_MAX: usize = 64;
/// How long one connection lives: one answer, or the events of a page, which comes again by itself.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(600);
/// How long those who look are given to hear how the node ended; they look once a second.
const END_TIME_MAX: Duration = Duration::from_secs(5);
/// Where the token is kept.
const TOKEN_NAME: &str = "page-token";
/// Bytes of a token.
const TOKEN_SIZE_BYTES: usize = 16;

/// Where a page is served, and who puts its advice into words.
#[derive(Debug, Clone, Copy)]
pub struct PageOptions {
    /// Where others connect.
    pub address: SocketAddr,
    /// The words of a next step.
    pub words: fn(&Advice) -> String,
}

/// A page that is served as long as this lives.
#[derive(Debug)]
pub struct Page {
    /// What to open in a browser, with the token where there is one.
    address: String,
    /// What opens it, where others can reach it.
    token: Option<Zeroizing<String>>,
    answering: Arc<Answering>,
    _tasks: Tasks,
}

impl Page {
    /// Begins to serve the page of a node whose private directory this is, and tells where it is.
    ///
    /// # Errors
    /// When the address is taken, or not of this machine.
    pub(super) async fn of_node(
        options: PageOptions,
        private: &PrivateDirectory,
        board: &Board,
        latest: watch::Receiver<Arc<Status>>,
        progress: &Progress,
    ) -> Result<Self> {
        let page = Page::start(options, || kept_token(private), latest).await?;
        page.token.iter().for_each(|token| board.hide(token));
        progress.note(format!("its status page: {}", page.address));
        Ok(page)
    }

    /// Begins to serve what is told once a second; on an address that others can reach, to those who have the token.
    ///
    /// # Errors
    /// When the address is taken, or not of this machine.
    async fn start(
        options: PageOptions,
        token: impl FnOnce() -> Result<Zeroizing<String>>,
        latest: watch::Receiver<Arc<Status>>,
    ) -> Result<Self> {
        let listener = TcpListener::bind(options.address).await.map_err(|e| {
            Error::failed(format!("cannot serve the status page on {}", options.address))
                .because(e)
                .hint(Next::ChooseStatusAddress)
        })?;
        let address = listener.local_addr().or_failed(|| "cannot tell where the status page is")?;
        let token = (!address.ip().is_loopback()).then(token).transpose()?;
        let host = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
            IpAddr::V6(ip) => format!("[{ip}]"),
            IpAddr::V4(ip) => ip.to_string(),
        };
        let query = token.as_ref().map_or_else(String::new, |token| format!("?token={}", token.as_str()));
        let shown = format!("http://{host}:{}/{query}", address.port());
        let answering = Arc::new(Answering::new(latest, token.clone(), options.words));
        let answers = answering.clone();
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.spawn("page", async move {
            let accept =
                move |context: &mut TaskContext<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
            serve_each(accept, CONNECTIONS_MAX, |stream| connection(stream, answers.clone())).await;
            Ok(())
        });
        Ok(Page { address: shown, token, answering, _tasks: tasks })
    }
}

impl Page {
    /// Waits until those who look have heard the end, which was told; who does not read it is not waited for.
    pub(super) async fn is_told(&self) {
        let _ = timeout(END_TIME_MAX, self.answering.seats.free()).await;
    }
}

/// What opens a node's page from elsewhere: kept with its files, so that a page stays open over a restart.
fn kept_token(private: &PrivateDirectory) -> Result<Zeroizing<String>> {
    let kept = private.read(TOKEN_NAME)?.map(Zeroizing::new);
    if let Some(token) = kept.and_then(|bytes| read_token(&bytes)) {
        return Ok(token);
    }
    let token = new_token();
    private.write(TOKEN_NAME, token.as_bytes())?;
    Ok(token)
}

/// A token that nobody guesses.
fn new_token() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; TOKEN_SIZE_BYTES]);
    rand::rng().fill_bytes(&mut bytes[..]);
    Zeroizing::new(hex::encode(&bytes[..]))
}

/// Reads a token that was kept; `None`: it is none.
fn read_token(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let is_one = bytes.len() == 2 * TOKEN_SIZE_BYTES && bytes.iter().all(u8::is_ascii_hexdigit);
    is_one.then(|| Zeroizing::new(String::from_utf8_lossy(bytes).into_owned()))
}

async fn connection(stream: TcpStream, answering: Arc<Answering>) {
    // Kept until everything is sent.
    let seat = OnceLock::<Arc<Seat>>::new();
    let service = service_fn(|request| {
        let response = answering.answer(&request);
        if let Some(taken) = response.extensions().get() {
            let _ = seat.set(Arc::clone(taken));
        }
        async { Ok::<_, std::convert::Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).max_buf_size(HEAD_SIZE_BYTES_MAX);
    http.max_headers(HEAD_LINES_MAX).keep_alive(false);
    let _ = timeout(CONNECTION_TIME_MAX, http.serve_connection(TokioIo::new(stream), service)).await;
}
