//! What the service manager that started this process is told: that it is ready, how it stands in one line, and that it lives.
//! Nothing waits for a manager that does not listen, and without one nothing is told.

use std::{
    env,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use sd_notify::{NotifyState, notify, watchdog_enabled};

use super::words;
use crate::{
    app::status::{Board, Role, Shown},
    base::{Progress, progress::Item, text},
};

/// What waits to be told.
const WAITING_MAX: usize = 16;
/// How long the end waits for the last of it.
const LAST_TIME_MAX: Duration = Duration::from_secs(1);
/// Characters of a line.
const LINE_CHARS_MAX: usize = 200;

/// What is told.
enum Word {
    Ready,
    Alive,
    Stopping,
    Status(String),
}

/// The service manager, if one started this process.
#[derive(Debug, Clone)]
pub(crate) struct Service(Option<SyncSender<Word>>);

/// Ends when all was told.
#[derive(Debug)]
pub(crate) struct Told(Option<Receiver<()>>);

impl Service {
    /// Begins to speak to it, where there is one.
    pub(crate) fn start() -> (Self, Told) {
        if env::var_os("NOTIFY_SOCKET").is_none() {
            return (Service(None), Told(None));
        }
        let (sender, words) = sync_channel(WAITING_MAX);
        let (over, told) = sync_channel(1);
        let speak = move || {
            speak(&words);
            let _ = over.send(());
        };
        // A thread of its own: a manager that does not read holds up nothing else.
        match thread::Builder::new().name("service".to_owned()).spawn(speak) {
            Ok(_) => (Service(Some(sender)), Told(Some(told))),
            Err(_) => (Service(None), Told(None)),
        }
    }

    fn tell(&self, word: Word) {
        if let Some(sender) = &self.0 {
            let _ = sender.try_send(word);
        }
    }

    /// What the process is there for can be used from now on.
    pub(crate) fn is_ready(&self) {
        self.tell(Word::Ready);
    }

    /// A progress whose steps are told here, too: what a process does before it is ready.
    pub(crate) fn tap(&self, progress: &Progress) -> Progress {
        if self.0.is_none() {
            return progress.clone();
        }
        let (service, inner) = (self.clone(), progress.clone());
        Progress::new(move |item| {
            if let Item::Step(words) = &item {
                service.tell(Word::Status(words.clone()));
            }
            inner.item(item);
        })
    }

    /// Tells each second that the node lives, and how it stands when that has changed. Whoever serves files says itself when it is
    /// ready; any other node is when it runs.
    pub(crate) fn watch(&self, board: &Board) {
        if self.0.is_none() {
            return;
        }
        let service = self.clone();
        board.watch(move |shown| {
            let Shown::Sample(status) = shown else { return };
            if !matches!(status.node.role, Some(Role::Publish | Role::Seed)) {
                service.is_ready();
            }
            service.tell(Word::Status(words::service::line(status)));
            service.tell(Word::Alive);
        });
    }
}

impl Told {
    /// Tells that the process ends, and waits until that is told, for a bounded time.
    pub(crate) fn end(self, service: &Service) {
        service.tell(Word::Stopping);
        if let Some(told) = self.0 {
            let _ = told.recv_timeout(LAST_TIME_MAX);
        }
    }
}

fn speak(words: &Receiver<Word>) {
    let (mut ready, mut status) = (false, String::new());
    let watched = watchdog_enabled().is_some();
    loop {
        let said = match words.recv_timeout(Duration::from_secs(3600)) {
            Ok(Word::Ready) if !ready => {
                ready = true;
                notify(&[NotifyState::Ready])
            }
            Ok(Word::Status(line)) => {
                let line: String = text::escape(&line).chars().take(LINE_CHARS_MAX).collect();
                if line == status {
                    continue;
                }
                status = line;
                notify(&[NotifyState::Status(&status)])
            }
            Ok(Word::Alive) if watched => notify(&[NotifyState::Watchdog]),
            Ok(Word::Stopping) => {
                let _ = notify(&[NotifyState::Stopping]);
                return;
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Err(e) = said {
            tracing::debug!("the service manager is not told: {e}");
        }
    }
}
