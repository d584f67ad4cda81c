//! How a node is asked by others on its machine: over a unix socket in its private directory. A line of request, one answer, the end.
//! Whoever may enter that directory may ask; what is asked and answered is bounded, and so is the time for it.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    task::Context as TaskContext,
    time::Duration,
};

use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::watch,
    time::timeout,
};

use super::{Status, VERSION};
use crate::base::{Context, Error, Result, limits, task::serve_each};

/// The socket's name in the private directory.
const NAME: &str = "status.sock";
/// What is asked.
const REQUEST: &[u8] = b"status 1\n";
/// How long one who asks may take, and how long the answer may take to come.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Those who ask at once; one more takes the place of the one that came first.
const CLIENTS_MAX: usize = 32;
/// Bytes of a socket's path, with the zero at its end.
const PATH_SIZE_BYTES_MAX: usize = 108;

/// The file of a socket that is listened on; it goes away with this.
#[derive(Debug)]
pub(super) struct Socket {
    private: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.private.join(NAME));
    }
}

impl Socket {
    /// Listens in a private directory whose lock this process has: what stands there was left by one that is gone.
    pub(super) fn bind(private: &Path) -> Result<(Self, UnixListener)> {
        let path = private.join(NAME);
        let cannot = || format!("cannot listen on {}", path.display());
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).or_failed(cannot),
            _ => {}
        }
        let short = ShortPath::of(private)?;
        let listener = UnixListener::bind(&short.path).or_failed(cannot)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).or_failed(cannot)?;
        Ok((Socket { private: private.to_owned() }, listener))
    }

    pub(super) fn moved(&mut self, private: PathBuf) {
        self.private = private;
    }
}

/// A path to the socket that a socket's address has room for: through the open directory where its own is too long.
struct ShortPath {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl ShortPath {
    fn of(private: &Path) -> Result<Self> {
        let path = private.join(NAME);
        if path.as_os_str().as_bytes().len() < PATH_SIZE_BYTES_MAX {
            return Ok(ShortPath { path, _directory: None });
        }
        let directory = open(private, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .or_failed(|| format!("cannot open {}", private.display()))?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(NAME);
        Ok(ShortPath { path, _directory: Some(directory) })
    }
}

/// Answers whoever asks.
pub(super) async fn answer(listener: UnixListener, latest: watch::Receiver<Arc<Status>>) -> Result<()> {
    let accept = move |context: &mut TaskContext<'_>| listener.poll_accept(context).map_ok(|(stream, _)| stream);
    let serve = |stream| {
        let latest = latest.clone();
        async move {
            let _ = timeout(TIME_MAX, answer_one(stream, latest)).await;
        }
    };
    serve_each(accept, CLIENTS_MAX, serve).await;
    Ok(())
}

async fn answer_one(mut stream: UnixStream, latest: watch::Receiver<Arc<Status>>) -> io::Result<()> {
    let mut request = [0; REQUEST.len()];
    stream.read_exact(&mut request).await?;
    if request != REQUEST {
        return Ok(());
    }
    let status = latest.borrow().clone();
    let text = serde_json::to_vec(&*status)?;
    stream.write_all(&text).await?;
    stream.shutdown().await
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Answer {
    /// How the node stands.
    Status(Box<Status>),
    /// No process listens; `stale`: one did, and was ended without a chance to put its things away.
    Nobody { stale: bool },
}

/// Asks the node whose private directory this is.
pub(super) async fn ask(private: &Path) -> Result<Answer> {
    let what = || format!("cannot ask the node that works in {}", private.display());
    let short = match fs::symlink_metadata(private.join(NAME)) {
        Ok(_) => ShortPath::of(private)?,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Answer::Nobody { stale: false });
        }
        Err(e) => return Err(e).or_failed(what),
    };
    let conversation = async {
        let mut stream = match UnixStream::connect(&short.path).await {
            Ok(stream) => stream,
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
            // It ended in order between the two looks.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        stream.write_all(REQUEST).await?;
        let mut text = Vec::new();
        stream.take(limits::STATUS_SIZE_BYTES_MAX as u64 + 1).read_to_end(&mut text).await?;
        Ok(Some(text))
    };
    let text = match timeout(TIME_MAX, conversation).await {
        Ok(Ok(Some(text))) => text,
        Ok(Ok(None)) => return Ok(Answer::Nobody { stale: true }),
        Ok(Err(e)) => return Err(e).or_failed(what),
        Err(_) => {
            return Err(Error::failed(format!("{}: it does not answer", what())).hint(
                "its machine may be overloaded, or it is stopped (Ctrl-Z): look at the process, then ask again",
            ));
        }
    };
    if text.is_empty() {
        return Err(Error::failed(format!("{}: it ended meanwhile", what())).hint("ask again"));
    }
    read(&text).map(|status| Answer::Status(Box::new(status))).map_err(|e| Error::failed(what()).because(e.chain()))
}

/// Reads an answer.
pub(super) fn read(text: &[u8]) -> Result<Status> {
    /// The part of every form that says which it is.
    #[derive(serde::Deserialize)]
    struct Form {
        version: u32,
    }
    if text.len() > limits::STATUS_SIZE_BYTES_MAX {
        return Err(Error::failed("its answer is longer than any status"));
    }
    let form: Form = serde_json::from_slice(text).or_failed(|| "its answer is no status")?;
    if form.version != VERSION {
        return Err(Error::failed(
            "it is of another version of regenesis; ask with the program that it was started with",
        ));
    }
    serde_json::from_slice(text).or_failed(|| "its answer is no status")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(private: &Path) -> (Socket, tokio::task::JoinHandle<Result<()>>) {
        let (socket, listener) = Socket::bind(private).unwrap();
        let status = Status { version: VERSION, log: vec!["a".repeat(1 << 20)], ..Status::default() };
        let (sender, latest) = watch::channel(Arc::new(status));
        drop(sender);
        (socket, tokio::spawn(answer(listener, latest)))
    }

    async fn is_answered(private: &Path) -> bool {
        matches!(ask(private).await.unwrap(), Answer::Status(status) if status.log[0].len() == 1 << 20)
    }

    #[tokio::test]
    async fn a_socket_is_private_answers_and_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(ask(dir.path()).await.unwrap(), Answer::Nobody { stale: false }));
        let (socket, task) = answering(dir.path());
        let mode = fs::symlink_metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(is_answered(dir.path()).await);
        drop(socket);
        task.abort();
        assert!(matches!(ask(dir.path()).await.unwrap(), Answer::Nobody { stale: false }));
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_told_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, task) = answering(dir.path());
        // As after kill -9: nobody listens, and nobody has put the file away.
        std::mem::forget(socket);
        task.abort();
        let _ = task.await;
        assert!(matches!(ask(dir.path()).await.unwrap(), Answer::Nobody { stale: true }));
        let (_socket, _task) = answering(dir.path());
        assert!(is_answered(dir.path()).await);
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_for_an_address_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(200));
        fs::create_dir(&long).unwrap();
        let (mut socket, _task) = answering(&long);
        assert!(is_answered(&long).await);
        // Also where the directory gets another name.
        let other = dir.path().join("y".repeat(210));
        fs::rename(&long, &other).unwrap();
        socket.moved(other.clone());
        assert!(is_answered(&other).await);
        drop(socket);
        assert!(!other.join(NAME).exists());
    }

    #[tokio::test]
    async fn a_thousand_who_say_nothing_and_one_who_never_reads_keep_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let (_socket, _task) = answering(dir.path());
        let mut silent = Vec::new();
        for _ in 0..1000 {
            silent.push(UnixStream::connect(dir.path().join(NAME)).await.unwrap());
        }
        let mut deaf = UnixStream::connect(dir.path().join(NAME)).await.unwrap();
        deaf.write_all(REQUEST).await.unwrap();
        let mut wrong = UnixStream::connect(dir.path().join(NAME)).await.unwrap();
        wrong.write_all(b"something\n").await.unwrap();
        assert!(is_answered(dir.path()).await);
        // Whoever came first has been let go: its end of the line is closed.
        let mut nothing = [0; 1];
        assert_eq!(silent[0].read(&mut nothing).await.unwrap(), 0);
        assert_eq!(wrong.read(&mut nothing).await.unwrap_or(0), 0);
    }

    #[test]
    fn another_form_and_no_form_are_told() {
        assert!(read(b"{\"version\": 999}").unwrap_err().chain().contains("another version"));
        assert!(read(b"no").unwrap_err().chain().contains("no status"));
        assert!(read(&vec![b' '; limits::STATUS_SIZE_BYTES_MAX + 1]).is_err());
        let status = Status { version: VERSION, ..Status::default() };
        assert_eq!(read(&serde_json::to_vec(&status).unwrap()).unwrap(), status);
    }
}
