//! Writes the run log as it goes: a few lines each second that something changed in, appended, and from time to time all of it anew. What
//! cannot be written is only not told later; the transfer goes on.

mod seen;

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use self::seen::Seen;
use super::{
    Happened, LOG_NAME, OLD_LOG_NAME, What,
    log::{Gave, Head, Log, Moment, Record, SIZE_BYTES_MAX},
};
use crate::{
    app::status::Status,
    base::{Context, Result, clock, durable, files::read_bounded},
    schedule::Parts,
};

/// Bytes that are appended before the log is put together anew.
const APPENDED_BYTES_MAX: usize = 1 << 20;
/// Bytes of the largest log: a second's lines may come on top.
pub(super) const FILE_SIZE_BYTES_MAX: usize = SIZE_BYTES_MAX + 2 * APPENDED_BYTES_MAX;
/// Milliseconds between two moments of a short run.
const STRIDE_MS: u64 = 1000;
/// Milliseconds between two times that it is written down which chunks came from whom, while they come.
const GAVE_EVERY_MS: u64 = 30_000;

/// Keeps the log of one node.
#[derive(Debug)]
pub(in crate::app) struct Keeper {
    private: PathBuf,
    log: Option<Log>,
    file: Option<File>,
    appended_bytes: usize,
    seen: Seen,
    failed: bool,
    /// When it was last looked, while nothing was to be written down yet.
    before_ms: Option<u64>,
}

impl Keeper {
    /// Of the node whose private directory this is.
    pub(in crate::app) fn new(private: PathBuf) -> Self {
        Keeper {
            private,
            log: None,
            file: None,
            appended_bytes: 0,
            seen: Seen::default(),
            failed: false,
            before_ms: None,
        }
    }

    /// The private directory stands under another name now; the open file is still the same.
    pub(in crate::app) fn moved(&mut self, private: PathBuf) {
        self.private = private;
    }

    /// Writes down how it stands, and by peer which chunks came from it. Before the manifest is known there is nothing to be told.
    pub(in crate::app) fn take(&mut self, status: &Status, parts: &[(String, Parts)]) {
        let ms = u64::try_from(clock::since_1970().as_millis()).unwrap_or(u64::MAX);
        self.take_at(ms, status, parts);
    }

    /// Writes down how it stands at the end.
    pub(in crate::app) fn finish(&mut self, status: &Status, parts: &[(String, Parts)]) {
        self.take(status, parts);
        if self.log.is_some() {
            let ms = u64::try_from(clock::since_1970().as_millis()).unwrap_or(u64::MAX);
            let mut records = self.gave(parts);
            let ended = Happened { ms, what: What::Ended, who: String::new(), text: String::new() };
            records.extend(self.happened(vec![ended]));
            self.write(&records);
        }
    }

    fn take_at(&mut self, ms: u64, status: &Status, parts: &[(String, Parts)]) {
        let mut records = Vec::new();
        if self.log.is_none() {
            let Some(head) = head_of(status) else {
                self.before_ms = Some(ms);
                return;
            };
            self.open(head);
            let began_ms = self.before_ms.take().map_or(ms, |before| before.min(ms));
            let role = status.node.role.and_then(|role| serde_json::to_value(role).ok());
            let text = role.and_then(|role| role.as_str().map(str::to_owned)).unwrap_or_default();
            let began = Happened { ms: began_ms, what: What::Began, who: String::new(), text };
            records.extend(self.happened(vec![began]));
            records.extend(self.beginning(began_ms, ms, status));
        }
        records.extend(self.moment(ms, status));
        // It grows with every chunk, and is told whole: now and then, and once nothing more comes.
        let ended = !std::mem::replace(&mut self.seen.complete, status.node.complete) && status.node.complete;
        if ended || self.seen.gave_ms.abs_diff(ms) >= GAVE_EVERY_MS {
            self.seen.gave_ms = ms;
            records.extend(self.gave(parts));
        }
        let events = self.seen.events(ms, status);
        records.extend(self.happened(events));
        self.write(&records);
    }

    /// Goes on with the log that is there, where it is of the same migration and node; the other one is kept beside it.
    fn open(&mut self, head: Head) {
        let path = self.private.join(LOG_NAME);
        let there = fs::symlink_metadata(&path).is_ok();
        let old = there
            .then(|| read_bounded(&path, FILE_SIZE_BYTES_MAX, "run log").and_then(|bytes| Log::read(&bytes)).ok())
            .flatten()
            .filter(|old| (&old.head.manifest_id, &old.head.peer) == (&head.manifest_id, &head.peer));
        if there && old.is_none() {
            self.says(durable::rename(&path, &self.private.join(OLD_LOG_NAME)));
        }
        let log = match old {
            Some(mut old) => {
                old.head.role = head.role;
                old
            }
            None => Log::new(head),
        };
        self.seen = Seen::after(&log);
        self.log = Some(log);
        // A line that a crash has cut off goes.
        self.write_anew();
    }

    fn happened(&mut self, events: Vec<Happened>) -> Vec<Record> {
        let Some(log) = &mut self.log else { return Vec::new() };
        events.into_iter().filter(|event| log.happen(event.clone())).map(Record::Happened).collect()
    }

    /// Between the last look before the manifest and the first one after it some chunks came: what was there before them.
    fn beginning(&mut self, began_ms: u64, ms: u64, status: &Status) -> Option<Record> {
        let log = self.log.as_mut().filter(|log| log.moments.is_empty() && began_ms < ms)?;
        let have = status.node.have_bytes.saturating_sub(status.node.received_bytes);
        let single = status.chunks.as_ref().map_or(0, |chunks| chunks.single);
        let moment = Moment { ms: began_ms, have, single, ..Moment::default() };
        log.add(moment.clone());
        Some(Record::Moment(moment))
    }

    /// The lines of a moment; none where nothing has changed.
    fn moment(&mut self, ms: u64, status: &Status) -> Vec<Record> {
        let Some(log) = &mut self.log else { return Vec::new() };
        let mut records = Vec::new();
        if let (Some(peer), Some(name)) = (&status.node.peer, &status.node.name) {
            records.extend(log.meet(peer, name, status.node.validator.as_deref()).and_then(|(_, named)| named));
        }
        let mut moment = Moment {
            // A wall clock may be set back; the log's time only stands still then.
            ms: self.seen.last.as_ref().map_or(ms, |last| ms.max(last.ms)),
            have: status.node.have_bytes,
            sent: self.seen.sent.total(status.node.sent_bytes),
            received: self.seen.received.total(status.node.received_bytes),
            single: status.chunks.as_ref().map_or(0, |chunks| chunks.single),
            ..Moment::default()
        };
        for member in &status.members {
            let Some((n, named)) = log.meet(&member.peer, &member.name, member.validator.as_deref()) else { continue };
            records.extend(named);
            let (sent, received) = self.seen.counters.entry(n).or_default();
            let state = (member.chunks, sent.total(member.sent_bytes), received.total(member.received_bytes));
            // Who has just come back has not said yet what it has.
            let known = self.seen.members.get(&n).copied().unwrap_or_default();
            let state = (state.0.max(known.0), state.1, state.2);
            if self.seen.members.insert(n, state) != Some(state) {
                moment.members.insert(n, state);
            }
        }
        let last = self.seen.last.as_ref();
        let of = |m: &Moment| (m.have, m.sent, m.received, m.single);
        if moment.members.is_empty() && last.is_some_and(|last| of(last) == of(&moment)) {
            self.seen.idle_ms = Some(moment.ms);
            return records;
        }
        // That nothing changed for a while is told once it changes.
        if let (Some(ms), Some(last)) = (self.seen.idle_ms.take(), last) {
            let idle = Moment { ms, members: BTreeMap::new(), ..last.clone() };
            log.add(idle.clone());
            records.push(Record::Moment(idle));
        }
        self.seen.last = Some(moment.clone());
        log.add(moment.clone());
        records.push(Record::Moment(moment));
        records
    }

    /// The lines of those from whom chunks came since it was last told.
    fn gave(&mut self, parts: &[(String, Parts)]) -> Vec<Record> {
        let Some(log) = &mut self.log else { return Vec::new() };
        let mut records = Vec::new();
        for (peer, parts) in parts {
            let at = log.whos.iter().position(|who| who.peer == *peer);
            let Some(n) = at.and_then(|at| u16::try_from(at).ok()) else { continue };
            let before = self.seen.gave_before.get(&n).map_or(&[][..], Vec::as_slice);
            let of = |(cell, count): (usize, &u32)| before.get(cell).copied().unwrap_or(0).saturating_add(*count);
            let cells: Vec<u32> = parts.counts().iter().enumerate().map(of).collect();
            if log.gave.get(&n) != Some(&cells) {
                log.gave.insert(n, cells.clone());
                records.push(Record::Gave(Gave { n, cells }));
            }
        }
        records
    }

    fn write(&mut self, records: &[Record]) {
        let text: String = records.iter().map(Record::line).collect();
        if text.is_empty() || self.log.is_none() {
            return;
        }
        self.appended_bytes += text.len();
        if self.appended_bytes > APPENDED_BYTES_MAX || self.file.is_none() {
            return self.write_anew();
        }
        // One call a second's lines: a crash leaves all of them, or some and a torn one.
        if let Some(file) = &mut self.file {
            let written = file.write_all(text.as_bytes()).or_failed(|| "cannot write the run log");
            if written.is_err() {
                // What is half there is put right by writing all of it, once there is room.
                self.file = None;
            }
            self.says(written);
        }
    }

    fn write_anew(&mut self) {
        let Some(log) = &mut self.log else { return };
        let path = self.private.join(LOG_NAME);
        let written = durable::write_atomically(&path, log.text().as_bytes(), 0o600).and_then(|()| {
            let file = OpenOptions::new().append(true).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits()).open(&path);
            file.or_failed(|| format!("cannot open {}", path.display()))
        });
        self.appended_bytes = 0;
        let written = written.map(|file| self.file = Some(file));
        self.says(written);
    }

    fn says(&mut self, written: Result<()>) {
        match written {
            Ok(()) => self.failed = false,
            Err(e) if !std::mem::replace(&mut self.failed, true) => {
                tracing::warn!("the run is not written down, so a report will lack it: {}", e.chain());
            }
            Err(_) => {}
        }
    }
}

fn head_of(status: &Status) -> Option<Head> {
    let (network, chunks) = (status.network.as_ref()?, status.chunks.as_ref()?);
    Some(Head {
        manifest_id: network.manifest_id.clone(),
        chain_id: network.chain_id.clone(),
        bytes: network.bytes,
        chunks: chunks.count,
        peer: status.node.peer.clone()?,
        role: status.node.role,
        stride_ms: STRIDE_MS,
        ..Head::default()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::app::status::{Chunks, Member, Network, Own, Readiness, Seat};

    fn status(have_bytes: u64, members: Vec<Member>) -> Status {
        Status {
            node: Own { peer: Some("me".to_owned()), have_bytes, received_bytes: have_bytes, ..Own::default() },
            network: Some(Network { manifest_id: "m".to_owned(), bytes: 1000, ..Network::default() }),
            chunks: Some(Chunks { count: 10, single: 10, ..Chunks::default() }),
            members,
            ..Status::default()
        }
    }

    fn member(peer: &str, chunks: u32, received_bytes: u64) -> Member {
        let place = "192.0.2.7:8484".to_owned();
        Member {
            name: format!("peer {peer}"),
            peer: peer.to_owned(),
            chunks,
            received_bytes,
            place,
            ..Member::default()
        }
    }

    fn read(private: &Path) -> Log {
        Log::read(&fs::read(private.join(LOG_NAME)).unwrap()).unwrap()
    }

    fn whats(log: &Log) -> Vec<What> {
        log.happened.iter().map(|happened| happened.what).collect()
    }

    #[test]
    fn what_changes_is_written_at_once_and_counters_go_on_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let private = dir.path().to_owned();
        let mut keeper = Keeper::new(private.clone());
        keeper.take_at(1000, &Status::default(), &[]);
        assert!(!private.join(LOG_NAME).exists(), "nothing is known yet");
        keeper.take_at(2000, &status(0, vec![member("a", 10, 0)]), &[]);
        for second in 3..9 {
            keeper.take_at(1000 * second, &status(100, vec![member("a", 10, 100)]), &[]);
        }
        keeper.take_at(9000, &status(300, vec![member("a", 10, 300)]), &[]);
        let log = read(&private);
        let moments: Vec<(u64, u64)> = log.moments.iter().map(|moment| (moment.ms, moment.have)).collect();
        assert_eq!(moments, [(1000, 0), (2000, 0), (3000, 100), (8000, 100), (9000, 300)]);
        assert_eq!(whats(&log), [What::Began, What::Joined]);
        let text = fs::read_to_string(private.join(LOG_NAME)).unwrap();
        assert!(!text.contains("192.0.2.7"), "an address is nobody's business: {text}");

        // Killed in the middle of a line, and started again: what came from whom goes on from what it was.
        let mut torn = OpenOptions::new().append(true).open(private.join(LOG_NAME)).unwrap();
        torn.write_all(b"{\"moment\":{\"ms\":99").unwrap();
        let mut keeper = Keeper::new(private.clone());
        let mut again = status(400, vec![member("a", 0, 100)]);
        again.node.received_bytes = 100;
        keeper.take_at(20_000, &again, &[]);
        let log = read(&private);
        let last = log.moments.last().unwrap();
        assert_eq!((last.have, last.received, last.members[&0]), (400, 400, (10, 0, 400)));
        assert_eq!(whats(&log), [What::Began, What::Joined, What::Began, What::Joined]);
        // One that reconnects begins at nothing, too.
        keeper.take_at(21_000, &status(450, vec![member("a", 10, 50)]), &[]);
        assert_eq!(read(&private).moments.last().unwrap().members[&0].2, 450);
    }

    #[test]
    fn another_migration_and_what_cannot_be_read_are_kept_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (private, old) = (dir.path().to_owned(), dir.path().join(OLD_LOG_NAME));
        fs::write(private.join(LOG_NAME), "no log\n").unwrap();
        Keeper::new(private.clone()).take_at(1000, &status(0, vec![]), &[]);
        assert_eq!(fs::read_to_string(&old).unwrap(), "no log\n");
        let mut other = status(0, vec![]);
        other.network = Some(Network { manifest_id: "n".to_owned(), ..Network::default() });
        Keeper::new(private.clone()).take_at(2000, &other, &[]);
        assert_eq!(read(&private).head.manifest_id, "n");
        assert_eq!(Log::read(&fs::read(&old).unwrap()).unwrap().head.manifest_id, "m");
    }

    #[test]
    fn a_file_grows_no_further_however_long_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let private = dir.path().to_owned();
        let mut keeper = Keeper::new(private.clone());
        let mut largest = 0;
        for second in 0..1500u64 {
            let members = (0..60)
                .map(|n| member(&format!("12D3KooWPTamXrDdzWpc5oKGHNGJmHzxhrmoh76p{n:03}"), second as u32, second));
            keeper.take_at(1000 * second, &status(second, members.collect()), &[]);
            largest = largest.max(fs::metadata(private.join(LOG_NAME)).unwrap().len());
        }
        assert!(largest as usize <= FILE_SIZE_BYTES_MAX, "{largest}");
        assert_eq!(read(&private).moments.last().unwrap().have, 1499);
    }

    #[test]
    fn what_validators_say_is_told_once_with_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(dir.path().to_owned());
        let mut now = status(0, vec![]);
        let seat = Seat { name: "k1".to_owned(), stage: Some("root-ready".to_owned()), ..Seat::default() };
        now.readiness = Some(Readiness { quorum: true, seats: vec![seat], ..Readiness::default() });
        for ms in 1..4 {
            keeper.take_at(1000 * ms, &now, &[]);
        }
        let mut keeper = Keeper::new(dir.path().to_owned());
        keeper.take_at(9000, &now, &[]);
        keeper.finish(&now, &[]);
        let log = read(dir.path());
        assert_eq!(whats(&log), [What::Began, What::Ready, What::Quorum, What::Began, What::Ended]);
        assert_eq!((log.happened[1].ms, log.happened[1].who.as_str()), (1000, "validator k1"));
    }

    #[test]
    fn which_chunks_came_from_whom_is_told_now_and_then_and_goes_on_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(dir.path().to_owned());
        let mut from_a = Parts::default();
        let mut take = |keeper: &mut Keeper, ms, chunk, complete| {
            from_a.add(10, chunk);
            let mut now = status(100, vec![member("a", 10, 100)]);
            now.node.complete = complete;
            // Of somebody whom nobody has met there is no name.
            keeper.take_at(ms, &now, &[("a".to_owned(), from_a.clone()), ("nobody".to_owned(), from_a.clone())]);
            from_a.counts().to_vec()
        };
        let lines = || fs::read_to_string(dir.path().join(LOG_NAME)).unwrap().matches("{\"gave\"").count();
        let gave = || read(dir.path()).gave;
        let began = 1_000_000;
        let first = take(&mut keeper, began, 0, false);
        assert_eq!(gave(), BTreeMap::from([(0, first)]));
        take(&mut keeper, began + 1000, 1, false);
        assert_eq!(lines(), 1, "too soon after the last time");
        let now = take(&mut keeper, began + GAVE_EVERY_MS, 2, false);
        assert_eq!((gave(), lines()), (BTreeMap::from([(0, now)]), 2));
        let all = take(&mut keeper, began + GAVE_EVERY_MS + 1000, 3, true);
        assert_eq!(gave(), BTreeMap::from([(0, all)]), "nothing more comes");
        // The next process has its own count.
        let (mut keeper, mut again) = (Keeper::new(dir.path().to_owned()), Parts::default());
        [0, 4].iter().for_each(|chunk| again.add(10, *chunk));
        let now = status(100, vec![member("a", 10, 100)]);
        keeper.finish(&now, &[("a".to_owned(), again)]);
        assert_eq!(gave(), BTreeMap::from([(0, vec![2, 1, 1, 1, 1, 0, 0, 0, 0, 0])]));
    }
}
