//! The demo's processes: `regenesis` itself, started as operators start it, read by its JSON result and its progress, and
//! always stopped.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::{OsStr, OsString},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use super::guardian::{self, Guardian, STOP_TIME_MAX};
use crate::base::{Context, Error, Notice, Progress, Result, text::escape};

/// How many last lines of a process are kept for its error.
const TAIL_LINES_MAX: usize = 4;
/// How many lines are read for a result, far more than any has.
const RESULT_LINES_MAX: usize = 10_000;

/// One process of the demo.
#[derive(Debug)]
pub(super) struct Member {
    /// The name that it is shown by, such as `validator 2`.
    pub(super) name: String,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    said: JoinHandle<()>,
    tail: Arc<Mutex<VecDeque<String>>>,
    guardian: Guardian,
}

#[derive(Deserialize)]
struct Envelope<T> {
    result: T,
}

impl Member {
    /// Starts this program with the arguments. `path` is where it finds other programs. Its warnings are passed on.
    pub(super) fn start(name: String, arguments: &[OsString], path: &OsStr, talk: &Talk) -> Result<Self> {
        let program = std::env::current_exe().or_failed(|| "cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.args(arguments).args(["--output", "json", "--progress", "json"]).env("PATH", path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // Nothing of the caller's settings reaches the demo's processes.
        for (variable, _) in std::env::vars_os() {
            let bytes = variable.as_encoded_bytes();
            if ["PG", "KWIL", "REGENESIS_"].iter().any(|begin| bytes.starts_with(begin.as_bytes())) {
                command.env_remove(&variable);
            }
        }
        let mut child = command.spawn().or_failed(|| format!("cannot start the process of {name}"))?;
        let guardian = Guardian::of_process(child.id())?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::failed(format!("cannot read what {name} says")));
        };
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let said = tokio::spawn(listen(stderr, name.clone(), talk.clone(), tail.clone()));
        Ok(Member { name, child, stdout: BufReader::new(stdout).lines(), said, tail, guardian })
    }

    /// Waits for the result, which is printed before the process goes on serving; an error where it ends without one.
    pub(super) async fn result<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut text = String::new();
        for _ in 0..RESULT_LINES_MAX {
            let line = self.stdout.next_line().await.or_failed(|| format!("cannot read what {} says", self.name))?;
            let Some(line) = line else { break };
            text.push_str(&line);
            text.push('\n');
            if line == "}" {
                if let Ok(envelope) = serde_json::from_str::<Envelope<T>>(&text) {
                    return Ok(envelope.result);
                }
                break;
            }
        }
        // It failed, and its last words on stderr say why.
        let status = self.end().await?;
        let _ = timeout(STOP_TIME_MAX, &mut self.said).await;
        let tail: Vec<String> = self.tail.lock().expect("no panic while held").iter().cloned().collect();
        let ended = match status.code() {
            Some(code) => format!("{} ended with exit code {code}", self.name),
            None => format!("{} was killed", self.name),
        };
        Err(Error::failed(ended).because(if tail.is_empty() { "it said nothing".to_owned() } else { tail.join(" | ") }))
    }

    /// Waits for the process to end by itself, 15 seconds at most; then stops it.
    pub(super) async fn end(&mut self) -> Result<ExitStatus> {
        match timeout(STOP_TIME_MAX, self.child.wait()).await {
            Ok(status) => {
                self.guardian.dismiss();
                status.or_failed(|| format!("cannot wait for {}", self.name))
            }
            Err(_) => self.stop().await,
        }
    }

    /// Asks the process to stop, waits 15 seconds at most, and kills it if it does not.
    pub(super) async fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        guardian::ended(&mut self.child, &mut self.guardian, &self.name).await
    }
}

/// What the processes say, brought together for one reader.
#[derive(Debug, Clone)]
pub(super) struct Talk {
    progress: Progress,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    warnings: BTreeSet<String>,
    /// By the name of each process that fetches, the bytes that it has and the bytes in all.
    fetched: BTreeMap<String, (u64, u64)>,
    over: bool,
}

/// An item as `--progress json` writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    warning: Option<String>,
    /// What may be done about the warning.
    next: Option<String>,
    task: Option<String>,
    done: u64,
    total: Option<u64>,
    finished: bool,
}

impl Talk {
    pub(super) fn new(progress: Progress) -> Self {
        Talk { progress, shared: Arc::default() }
    }

    /// Passes one line on. What is neither step, note, warning nor progress comes back: it belongs to an error.
    fn hear(&self, name: &str, line: &str) -> Option<String> {
        let Ok(item) = serde_json::from_str::<Line>(line) else { return Some(escape(line.trim())) };
        let Line { warning, next, task, done, total, finished } = item;
        // Who ends first is missed by the others; that is nothing to be told.
        if self.shared.lock().expect("no panic while held").over {
            return None;
        }
        if let Some(text) = warning.map(|text| shorten_peer_ids(&text)) {
            // What one is told the others are told, too.
            if self.shared.lock().expect("no panic while held").warnings.insert(text.clone()) {
                let next = next.map(|next| shorten_peer_ids(&next).into());
                self.progress.warning(Notice { text: format!("{name}: {text}"), next });
            }
        }
        if let (Some("fetch"), Some(total)) = (task.as_deref(), total) {
            let mut shared = self.shared.lock().expect("no panic while held");
            shared.fetched.insert(name.to_owned(), (done, total));
            let (done, total) = shared.fetched.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            self.progress.bytes("fetch", done, Some(total), "all nodes");
        }
        // What one does at a time.
        let alone = ["snapshot", "restore"].into_iter().find(|known| task.as_deref() == Some(known));
        match alone {
            Some(task) if finished => self.progress.done(task),
            Some(task) => self.progress.bytes(task, done, total, name),
            None => {}
        }
        None
    }

    /// Takes what was told already for heard, so that no process tells it again.
    pub(super) fn known(&self, text: &str) {
        self.shared.lock().expect("no panic while held").warnings.insert(shorten_peer_ids(text));
    }

    /// Listens from now on to errors only.
    pub(super) fn end(&self) {
        self.shared.lock().expect("no panic while held").over = true;
    }

    /// Ends the progress of the fetch, which is over.
    pub(super) fn fetched(&self) {
        self.shared.lock().expect("no panic while held").fetched.clear();
        self.progress.done("fetch");
    }
}

/// A line without what a reader of the demo stumbles over: of a peer id its last digits are enough.
fn shorten_peer_ids(text: &str) -> String {
    const PEER_ID_START: &str = "12D3KooW";
    let words = text.split(' ').map(|word| {
        let word = word.split("/p2p/").next().unwrap_or(word);
        match word.strip_prefix(PEER_ID_START).filter(|id| id.len() > 40).and_then(|id| id.get(id.len() - 7..)) {
            Some(end) => format!("peer …{end}"),
            None => word.to_owned(),
        }
    });
    escape(words.collect::<Vec<_>>().join(" ").trim_end())
}

async fn listen(stderr: impl AsyncRead + Unpin, name: String, talk: Talk, tail: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(words) = talk.hear(&name, &line).filter(|words| !words.is_empty()) {
            let mut tail = tail.lock().expect("no panic while held");
            if tail.len() == TAIL_LINES_MAX {
                tail.pop_front();
            }
            tail.push_back(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::progress::Item;

    #[test]
    fn talk_is_brought_together() {
        let items = Arc::new(Mutex::new(Vec::new()));
        let sink = items.clone();
        let talk = Talk::new(Progress::new(move |item| sink.lock().unwrap().push(item)));
        assert_eq!(talk.hear("validator 1", r#"{"step": "fetching"}"#), None);
        talk.known("old news of 12D3KooWMf6VkAg1RHfhz5GmrPD2NKqvRB8qgArHfyZdk3SbGtXJ");
        let known = r#"{"warning": "old news of 12D3KooWMf6VkAg1RHfhz5GmrPD2NKqvRB8qgArHfyZdk3SbGtXJ"}"#;
        assert_eq!(talk.hear("validator 2", known), None);
        assert_eq!(talk.hear("validator 1", r#"{"warning": "mind", "next": "look"}"#), None);
        assert_eq!(talk.hear("validator 2", r#"{"warning": "mind"}"#), None);
        for (name, done) in [("validator 1", 10), ("validator 2", 20), ("validator 1", 40)] {
            let line = format!(r#"{{"task": "fetch", "done": {done}, "total": 100, "detail": ""}}"#);
            assert_eq!(talk.hear(name, &line), None);
        }
        assert_eq!(talk.hear("validator 1", r#"{"task": "fetch", "finished": true}"#), None);
        assert_eq!(talk.hear("validator 0", r#"{"task": "snapshot", "done": 7}"#), None);
        assert_eq!(talk.hear("validator 0", r#"{"task": "snapshot", "finished": true}"#), None);
        assert_eq!(talk.hear("validator 1", "error: no\u{1b} way"), Some("error: no\\u{1b} way".into()));
        let fetch = |done, total| Item::Bytes { task: "fetch", done, total: Some(total), detail: "all nodes".into() };
        assert_eq!(
            *items.lock().unwrap(),
            [
                Item::Warning(Notice::from("validator 1: mind").next("look")),
                fetch(10, 100),
                fetch(30, 200),
                fetch(60, 200),
                Item::Bytes { task: "snapshot", done: 7, total: None, detail: "validator 0".into() },
                Item::Done("snapshot"),
            ]
        );
    }
    #[test]
    fn peer_ids_are_short() {
        let id = "12D3KooWMf6VkAg1RHfhz5GmrPD2NKqvRB8qgArHfyZdk3SbGtXJ";
        assert_eq!(
            shorten_peer_ids(&format!("connected to {id} at /ip4/127.0.0.1/tcp/1/p2p/{id}")),
            "connected to peer …3SbGtXJ at /ip4/127.0.0.1/tcp/1"
        );
        assert_eq!(shorten_peer_ids("12D3KooWé"), "12D3KooWé");
    }
}
