//! What happens in a migration that somebody may want to be told of at once: each such event, once, to a program that the operator
//! has named on the command line. It is started without a shell, one event after the other, each for a bounded time; however slow it
//! is, nothing waits for it, and what comes while too many wait is left out and said to be.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde::Serialize;
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    runtime::Handle,
    sync::mpsc::{self, Receiver},
    task::JoinHandle,
    time::timeout,
};

use super::{
    join::Program,
    status::{Attestations, Board, Elector, Network, Readiness, Role, Seat, Shown, Status},
};
use crate::base::{Context, Progress, Result, clock, task::CancellationToken, text};

/// Events that wait: one of each validator that is listed, twice.
const WAITING_MAX: usize = 512;
/// How long the program may take for one event.
const TIME_MAX: Duration = Duration::from_secs(30);
/// How long the command, when its own work is done, waits for what is still to be told;
const LAST_TIME_MAX: Duration = Duration::from_secs(30);
/// and when its operator has ended it.
const ENDED_TIME_MAX: Duration = Duration::from_secs(3);
/// Variables of this process that the program does not get: secrets, and what only this process may speak to.
const KEPT_BACK: [&str; 3] = ["REGENESIS_TICKET", "PGPASSWORD", "NOTIFY_SOCKET"];

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// This node has everything, checked.
    Complete,
    /// Every chunk is with two others: the lead may leave.
    Distinct,
    /// A validator of the new network is ready.
    Ready,
    /// So many are ready that the network makes blocks.
    Quorum,
    /// A validator holds another state: one of the old network beside what was signed, or one of the new with its started node.
    Dissent,
    /// Nothing comes any more, though something is missing.
    Stalled,
    /// It is proved that the manifest counts no more.
    Evidence,
}

/// One event, as the program reads it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// What has happened.
    pub event: What,
    /// When, as RFC 3339.
    pub time: String,
    /// In words.
    pub text: String,
    /// Which migration, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// What this node does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The key of the validator that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validator: Option<String>,
    /// In what its state differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<String>,
    /// The power of the validators that are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_power: Option<u64>,
    /// The power of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_of_all: Option<u64>,
}

/// What was seen so far. Pure but for the time in what it gives.
#[derive(Debug, Default)]
struct Seen {
    complete: bool,
    distinct: bool,
    quorum: bool,
    stalled: bool,
    against: bool,
    ready: BTreeSet<String>,
    dissent: BTreeSet<String>,
}

impl Seen {
    /// What has happened since.
    fn see(&mut self, shown: &Shown<'_>) -> Vec<Event> {
        let mut events = Vec::new();
        match shown {
            Shown::Sample(status) => {
                self.sample(status, &mut events);
                status.attestations.iter().for_each(|all| self.attestations(all, &mut events));
                status.readiness.iter().for_each(|all| self.readiness(all, &mut events));
                for event in &mut events {
                    (event.network, event.role) = (status.network.clone(), status.node.role);
                }
            }
            Shown::Heard { attestations, readiness, network, role } => {
                self.attestations(attestations, &mut events);
                self.readiness(readiness, &mut events);
                for event in &mut events {
                    (event.network, event.role) = (network.cloned(), *role);
                }
            }
            Shown::Against(why) if !std::mem::replace(&mut self.against, true) => {
                events.push(event(What::Evidence, format!("the manifest counts no more: {why}")));
            }
            Shown::Against(_) => {}
        }
        events
    }

    fn sample(&mut self, status: &Status, events: &mut Vec<Event>) {
        if status.node.complete && !std::mem::replace(&mut self.complete, true) {
            events.push(event(What::Complete, "this node has everything, and has checked it".to_owned()));
        }
        let distinct = status.chunks.as_ref().is_some_and(|chunks| chunks.out);
        if distinct && !std::mem::replace(&mut self.distinct, true) {
            events.push(event(What::Distinct, "every chunk is with two others: the lead may leave".to_owned()));
        }
        // Whoever stalls again is told again.
        let stalled = status.node.stalled_seconds;
        let before = std::mem::replace(&mut self.stalled, stalled.is_some());
        if let Some(seconds) = stalled.filter(|_| !before) {
            let why = &status.estimate.limit.words;
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            events.push(event(What::Stalled, format!("nothing has come for {seconds} s{why}")));
        }
    }

    fn attestations(&mut self, all: &Attestations, events: &mut Vec<Event>) {
        for voice in all.voices.iter().filter(|voice| voice.vote == "dissents") {
            if self.dissent.insert(format!("old {}", voice.key)) {
                events.push(dissent_of(voice));
            }
        }
    }

    fn readiness(&mut self, all: &Readiness, events: &mut Vec<Event>) {
        let begins = events.len();
        for seat in &all.seats {
            if seat.ready && self.ready.insert(seat.key.clone()) {
                let text = format!("validator {} is ready: {} of {} are", seat.name, all.ready, all.validators);
                events.push(about(event(What::Ready, text), seat));
            }
            if seat.stage.as_deref() == Some("differs") && self.dissent.insert(format!("new {}", seat.key)) {
                let text = format!("the started node of validator {} does not hold what was signed", seat.name);
                events.push(about(event(What::Dissent, text), seat));
            }
        }
        if all.quorum && !std::mem::replace(&mut self.quorum, true) {
            let text = format!("{} of {} validators are ready: the network makes blocks", all.ready, all.validators);
            events.push(event(What::Quorum, text));
        }
        for event in events.iter_mut().skip(begins).filter(|event| event.event != What::Dissent) {
            (event.ready_power, event.power_of_all) = (Some(all.power), Some(all.power_of_all));
        }
    }
}

fn event(what: What, text: String) -> Event {
    Event {
        event: what,
        time: text::time(clock::unix_seconds()),
        text,
        network: None,
        role: None,
        validator: None,
        differs: Vec::new(),
        ready_power: None,
        power_of_all: None,
    }
}

fn about(event: Event, seat: &Seat) -> Event {
    Event { validator: Some(seat.key.clone()), differs: seat.differs.clone(), ..event }
}

fn dissent_of(voice: &Elector) -> Event {
    let text = format!("validator {} holds another state than was signed: {}", voice.name, voice.differs.join(", "));
    Event { validator: Some(voice.key.clone()), differs: voice.differs.clone(), ..event(What::Dissent, text) }
}

/// Tells a program what happens, as long as this lives.
#[derive(Debug)]
pub struct Notifier {
    /// Ends the telling, once all that waits is told.
    closing: CancellationToken,
    task: JoinHandle<()>,
}

impl Notifier {
    /// Begins to tell what the board shows to the program with these arguments.
    ///
    /// # Errors
    /// Usage, where there is no such program.
    pub fn start(argv: Vec<OsString>, board: &Board, progress: &Progress) -> Result<Self> {
        Program { argv: argv.clone(), stdout: Stdio::null() }.check()?;
        let (sender, events) = mpsc::channel(WAITING_MAX);
        let seen = std::sync::Mutex::new(Seen::default());
        let (left_out, telling) = (Arc::new(AtomicBool::new(false)), progress.clone());
        board.watch(move |shown| {
            let events = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).see(shown);
            for event in events {
                if sender.try_send(event).is_err() && !left_out.swap(true, Ordering::Relaxed) {
                    telling.warning("the program for events is too slow: events are left out");
                }
            }
        });
        let closing = CancellationToken::new();
        let work = tell(argv, events, progress.clone(), closing.clone());
        Ok(Notifier { closing, task: Handle::current().spawn(work) })
    }

    /// Waits until what has happened is told, for a bounded time.
    pub async fn finish(mut self, is_interrupted: bool) {
        self.closing.cancel();
        let limit = if is_interrupted { ENDED_TIME_MAX } else { LAST_TIME_MAX };
        if timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
            // What it had started is killed by then.
            let _ = self.task.await;
        }
    }
}

async fn tell(argv: Vec<OsString>, mut events: Receiver<Event>, progress: Progress, closing: CancellationToken) {
    loop {
        let event = tokio::select! {
            biased;
            event = events.recv() => event,
            () = closing.cancelled() => events.try_recv().ok(),
        };
        let Some(event) = event else { return };
        if let Err(e) = tell_one(&argv, &event).await {
            progress.warning(format!("the program for events has not taken {:?}: {}", event.event, e.chain()));
        }
    }
}

/// Kills what is left of the program's group when its time is over, or this process's is.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

async fn tell_one(argv: &[OsString], event: &Event) -> Result<()> {
    let (name, arguments) = argv.split_first().ok_or_else(|| crate::base::Error::usage("no program is named"))?;
    let mut line = serde_json::to_vec(event).or_failed(|| "cannot write the event as JSON")?;
    line.push(b'\n');
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).kill_on_drop(true);
    KEPT_BACK.iter().for_each(|variable| _ = command.env_remove(variable));
    let mut child = command.spawn().or_failed(|| "cannot start it")?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let conversation = async {
        if let Some(mut stdin) = child.stdin.take() {
            // Whoever needs to know only that something happened reads nothing.
            let _ = stdin.write_all(&line).await;
        }
        child.wait().await
    };
    match timeout(TIME_MAX, conversation).await {
        Ok(status) => {
            // What it has left running behind it is its own affair.
            group.0 = None;
            let status = status.or_failed(|| "cannot wait for it")?;
            match status.success() {
                true => Ok(()),
                false => Err(crate::base::Error::failed(format!("it ended with {status}"))),
            }
        }
        Err(_) => {
            Err(crate::base::Error::failed(format!("it took longer than {} s and was killed", TIME_MAX.as_secs())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::status::{Chunks, Own};

    fn seat(key: &str, ready: bool, stage: Option<&str>) -> Seat {
        Seat {
            name: key.to_owned(),
            key: key.to_owned(),
            power: 1,
            ready,
            stage: stage.map(str::to_owned),
            ..Seat::default()
        }
    }

    fn whats(events: &[Event]) -> Vec<What> {
        events.iter().map(|event| event.event).collect()
    }

    #[test]
    fn each_thing_that_happens_is_told_once_and_a_stall_each_time() {
        let mut seen = Seen::default();
        let mut status = Status { running: true, ..Status::default() };
        assert_eq!(whats(&seen.see(&Shown::Sample(&status))), []);
        status.node = Own { stalled_seconds: Some(6), ..Own::default() };
        assert_eq!(whats(&seen.see(&Shown::Sample(&status))), [What::Stalled]);
        status.node.stalled_seconds = Some(7);
        assert_eq!(whats(&seen.see(&Shown::Sample(&status))), []);
        status.node = Own { complete: true, ..Own::default() };
        status.chunks = Some(Chunks { out: true, ..Chunks::default() });
        assert_eq!(whats(&seen.see(&Shown::Sample(&status))), [What::Complete, What::Distinct]);
        status.node.stalled_seconds = Some(5);
        assert_eq!(whats(&seen.see(&Shown::Sample(&status))), [What::Stalled]);
        assert_eq!(whats(&seen.see(&Shown::Against("two faces"))), [What::Evidence]);
        assert_eq!(whats(&seen.see(&Shown::Against("two faces"))), []);
    }

    #[test]
    fn validators_are_told_by_key_with_the_power_that_is_ready() {
        let mut seen = Seen::default();
        let attestations = Attestations {
            voices: vec![Elector {
                key: "k9".to_owned(),
                vote: "dissents".to_owned(),
                differs: vec!["main.users".to_owned()],
                ..Elector::default()
            }],
            ..Attestations::default()
        };
        let mut readiness = Readiness {
            seats: vec![seat("k1", true, Some("root-ready")), seat("k2", false, None)],
            ready: 1,
            validators: 2,
            power: 1,
            power_of_all: 2,
            ..Readiness::default()
        };
        let mut see = |readiness: &Readiness| {
            let shown = Shown::Heard { attestations: &attestations, readiness, network: None, role: Some(Role::Seed) };
            seen.see(&shown)
        };
        let events = see(&readiness);
        assert_eq!(whats(&events), [What::Dissent, What::Ready]);
        assert_eq!(
            (events[0].validator.as_deref(), &events[0].differs[..]),
            (Some("k9"), &["main.users".to_owned()][..])
        );
        assert_eq!(
            (events[1].ready_power, events[1].power_of_all, events[1].role),
            (Some(1), Some(2), Some(Role::Seed))
        );
        readiness.seats = vec![seat("k1", false, Some("differs")), seat("k2", true, Some("root-ready"))];
        readiness.quorum = true;
        let events = see(&readiness);
        assert_eq!(whats(&events), [What::Dissent, What::Ready, What::Quorum]);
        assert_eq!(see(&readiness), []);
        let json = serde_json::to_value(&events[2]).unwrap();
        assert_eq!(json["event"], "quorum");
        assert!(json.get("validator").is_none() && json["time"].as_str().unwrap().ends_with('Z'));
    }
}
