//! What members say and send: control messages into the scheduler, its decisions out again.

use std::ops::Range;

use libp2p::PeerId;
use rand::RngCore;

use super::{
    super::{
        Content, Event,
        names::short_place,
        session::{Report, SendJob, Verdict},
        wire::{ArtifactRange, Message, Offer, Parting},
    },
    Active, Driver,
};
use crate::{
    base::{
        Error, Notice,
        limits::{RANGES_MAX, WINDOW_BYTES},
    },
    manifest::{ChunkSet, ranges},
    schedule::{Effect, Expect, Input, Scheduler},
    store::{Contents, Outcome},
};

/// Peers of whom it is remembered which chunks came from them.
const PARTS_MAX: usize = 512;

impl Driver {
    pub(super) fn report(&mut self, report: Report) {
        match report {
            Report::Message(id, message, turn) => {
                self.message(id, message);
                drop(turn);
            }
            Report::Offer(id, offer, reply) => {
                let verdict = self.offered(id, offer);
                if matches!(verdict, Verdict::Break) {
                    self.fault(id, "it sent a chunk that was not asked for");
                }
                let _ = reply.send(verdict);
            }
            Report::Sent(id, chunk) => self.input(Input::Sent(id, chunk)),
            Report::Skipped(id, chunk) => self.input(Input::Duplicate(id, chunk)),
            Report::Spare(id, chunk) => {
                // Where the disk has failed it is not there, and that is told in its own words.
                if self.active.as_ref().is_some_and(|a| a.scheduler.have().contains(chunk)) {
                    self.input(Input::Stored(id, chunk));
                }
            }
            Report::Damaged(to, chunk, error) => self.damaged(to, chunk, error),
            Report::Broken(error) => self.tell(Event::Failed(error)),
            Report::Ended(id, why) => self.drop_peer(id, &why),
            Report::Fault(id, why) => self.fault(id, &why),
        }
    }

    fn offered(&mut self, id: u64, offer: Offer) -> Verdict {
        let now = self.now();
        let Some(active) = &mut self.active else { return Verdict::Break };
        let contents = active.content.store.contents();
        let Some(chunk) = contents.number(offer.artifact, offer.index) else { return Verdict::Break };
        if contents.chunk_len(chunk) != offer.size_bytes as usize {
            return Verdict::Break;
        }
        match (active.scheduler.offered(now, id, chunk, offer.request), &active.content.sink) {
            (Expect::Wanted, Some(sink)) => Verdict::Take(chunk, sink.queue.clone(), sink.buffers.clone()),
            (Expect::HadAlready, _) | (Expect::Wanted, None) => Verdict::Skip(chunk),
            (Expect::Unasked, _) => Verdict::Break,
        }
    }

    /// A chunk of ours is not what was signed: it is not served any more, and the operator hears of it.
    fn damaged(&mut self, to: Option<u64>, chunk: u32, error: Error) {
        let known = self.active.as_ref().is_some_and(|a| a.scheduler.have().contains(chunk));
        self.input(Input::Lost(chunk));
        if let Some(id) = to {
            self.input(Input::NotSent(id, chunk));
        }
        if !known {
            return;
        }
        self.damaged += 1;
        // Each of a few, and then fewer and fewer of many.
        if self.damaged < 4 || self.damaged.is_power_of_two() {
            let goes_on = if self.is_incomplete() { "it is fetched again" } else { "the rest is still served" };
            let text = format!(
                "{}: that chunk is not served any more, {goes_on} (damaged so far: {}). The disk may be failing, or somebody edits the \
                 file",
                error.chain(),
                self.damaged
            );
            self.tell(Event::Warning(Notice { text, next: error.advice().cloned() }));
        }
    }

    fn message(&mut self, id: u64, message: Message) {
        let now = self.now();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let peer = session.peer;
        match message {
            Message::ManifestRequest => {
                let charter = self.active.as_ref().map(|a| a.content.charter.clone());
                match session.give_manifest(charter) {
                    Ok(true) => {}
                    Ok(false) => self.drop_peer(id, "it does not read what it is told"),
                    Err(why) => self.fault(id, why),
                }
            }
            Message::Manifest(None) => {
                // It will have one soon; another member is asked first.
                session.had_no_manifest = Some(now);
                self.manifest_asked.remove(&id);
            }
            Message::Manifest(Some(charter)) => {
                session.got_manifest = true;
                self.manifest_asked.remove(&id);
                // Nobody who was not asked can send one; while one is looked at, others are not kept.
                if self.active.is_none() && self.manifest_judged.is_none() {
                    self.manifest_judged = Some(peer);
                    self.tell(Event::Charter { peer: peer.to_string(), charter });
                }
            }
            Message::Ready if session.ready => self.fault(id, "it says again what it has said"),
            Message::Ready => {
                session.ready = true;
                self.is_ready(id);
                self.tell_newcomer(id);
            }
            Message::Peers(addresses) => self.peers_told(id, &addresses),
            Message::Goodbye { why: Parting::IdentityInUse, .. } => self.is_clone(id),
            Message::Goodbye { why: Parting::NotLetIn, reason } => self.not_let_in(id, &reason),
            Message::Goodbye { reason, .. } => self.hung_up(id, &reason),
            Message::Seen(ip) => self.seen_told(id, ip),
            Message::Nothing => {}
            Message::Evidence(evidence) => self.evidence_told(id, evidence),
            _ if !session.ready || self.active.is_none() => {
                self.fault(id, "it speaks of chunks before both sides know the manifest");
            }
            Message::Haves(r) => self.ranges_input(id, r, |ranges| Input::Haves(id, ranges)),
            Message::Request(request, r) => {
                self.ranges_input(id, r, |ranges| Input::Requested(id, request, ranges));
            }
            Message::Cancel(r) => self.ranges_input(id, r, |ranges| Input::Cancelled(id, ranges)),
            Message::Lost(r) => self.ranges_input(id, r, |ranges| Input::HasLost(id, ranges)),
            Message::Refusal { request, ranges } => {
                self.ranges_input(id, ranges, |ranges| Input::Refused { peer: id, request, ranges });
            }
            Message::Suggestion(r) => self.ranges_input(id, r, |ranges| Input::Suggested(id, ranges)),
            Message::Decline { ranges, full } => {
                self.ranges_input(id, ranges, |ranges| Input::Declined { peer: id, ranges, full });
            }
            Message::Statements(all) => self.statements_told(id, all),
            Message::Complaint { artifact, index } => self.complained(id, artifact, index),
        }
    }

    /// A member says that a chunk of ours came wrong: we look, once for each time we sent it.
    fn complained(&mut self, id: u64, artifact: u32, index: u32) {
        let (Some(active), Some(session)) = (&self.active, self.sessions.get_mut(&id)) else { return };
        let store = &active.content.store;
        let chunk = store.contents().number(artifact, index);
        let sent = chunk.filter(|chunk| session.sent.as_mut().is_some_and(|sent| sent.remove(*chunk)));
        let Some(chunk) = sent else {
            return self.fault(id, "it complains of a chunk that it was not sent");
        };
        session.look_at(store.clone(), chunk, &self.looks);
        let (peer, at) = (session.peer, self.connected.get(&session.peer).map(|c| c.address.clone()));
        let called = self.names.of(&peer);
        let words = format!("{called} says that chunk {index} came to it damaged: looking at that chunk of ours");
        self.warn("complaint", at.as_ref(), words);
    }

    fn ranges_input(&mut self, id: u64, ranges: Vec<ArtifactRange>, input: impl FnOnce(Vec<Range<u32>>) -> Input) {
        let Some(active) = &self.active else { return };
        let contents = active.content.store.contents();
        let mut numbers = Vec::with_capacity(ranges.len());
        for (artifact, range) in ranges {
            let bounds = (contents.number(artifact, range.start), range.end.checked_sub(1));
            let last = bounds.1.and_then(|last| contents.number(artifact, last));
            match (bounds.0, last) {
                (Some(first), Some(last)) if first <= last => numbers.push(first..last + 1),
                _ => return self.fault(id, "it names chunks that do not exist"),
            }
        }
        self.input(input(numbers));
    }

    pub(super) fn activate(&mut self, content: Content) {
        let chunk_size = content.store.contents().chunk_size_bytes();
        let mut seed = [0; 8];
        rand::rng().fill_bytes(&mut seed);
        let rng_seed = u64::from_le_bytes(seed);
        // Who has fetched everything has no sink any more either, and yet does not only watch.
        let watches = content.is_watching();
        let scheduler = match watches {
            true => Scheduler::watching(content.have.len(), chunk_size, rng_seed),
            false => Scheduler::new(content.have.clone(), chunk_size, WINDOW_BYTES, rng_seed),
        };
        self.active = Some(Active { content, scheduler, watches });
        self.manifest_asked.clear();
        self.manifest_judged = None;
        for id in self.sessions.keys().copied().collect::<Vec<_>>() {
            let Some(session) = self.sessions.get(&id) else { continue };
            let ready = session.ready;
            if !session.say(Message::Ready) {
                self.drop_peer(id, "it does not read what it is told");
            } else if ready {
                self.tell_newcomer(id);
                self.is_ready(id);
            }
        }
        self.publish_status();
    }

    /// Chunks may come and go between the member and us.
    fn is_ready(&mut self, id: u64) {
        self.input(Input::Connected(id));
        if self.sessions.get(&id).is_some_and(|session| self.parts.contains_key(&session.peer)) {
            self.input(Input::SentBefore(id));
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        let now = self.now();
        if let Some(active) = &mut self.active {
            active.scheduler.handle(now, input);
        }
    }

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Stored { source, chunk } => {
                self.came_from(source, chunk);
                self.input(Input::Stored(source, chunk));
            }
            Outcome::Bad { source, chunk, error } => {
                self.input(Input::Wrong);
                // The session may be over already: that is no way out.
                let Some(peer) = self.peer_of(source) else {
                    return tracing::debug!("a wrong chunk {chunk} from a session that is long over: {error}");
                };
                let place = self.active.as_ref().and_then(|a| a.content.store.contents().locate(chunk));
                let complaint =
                    place.map(|(artifact, index)| Message::Complaint { artifact: artifact as u32, index: index.get() });
                let reason = format!("it sent wrong bytes, a wrong chunk: {error}");
                self.ban(peer, &reason, complaint.into_iter().collect());
            }
            Outcome::Failed(error) => self.tell(Event::Failed(error)),
        }
    }

    /// People are told what a member does not do, once in its session.
    fn remark(&mut self, id: u64, what: &str) {
        let Some(peer) = self.sessions.get(&id).map(|session| session.peer) else { return };
        let at = self.connected.get(&peer).map_or_else(String::new, |c| short_place(&c.address.to_string()));
        self.tell(Event::Note(format!("{} at {at}: {what}", self.names.of(&peer))));
    }

    /// Whose session this is, or was until lately.
    fn peer_of(&self, session: u64) -> Option<PeerId> {
        let live = self.sessions.get(&session).map(|s| s.peer);
        live.or_else(|| self.ended.iter().find(|(id, _)| *id == session).map(|(_, peer)| *peer))
    }

    /// Remembers for people from whom a chunk came.
    fn came_from(&mut self, session: u64, chunk: u32) {
        let (Some(peer), Some(active)) = (self.peer_of(session), &self.active) else { return };
        if self.parts.len() < PARTS_MAX || self.parts.contains_key(&peer) {
            self.parts.entry(peer).or_default().add(active.scheduler.have().len(), chunk);
        }
    }

    pub(super) fn run_effects(&mut self) {
        while let Some(effect) = self.active.as_mut().and_then(|a| a.scheduler.poll_effect()) {
            let Some(active) = &self.active else { return };
            let contents = active.content.store.contents();
            let (id, messages) = match effect {
                // Neither is ever so long that it had to be two: the window has at most 256 chunks.
                Effect::Request(id, request, chunks) => {
                    (id, vec![Message::Request(request, in_order(contents, chunks))])
                }
                Effect::Suggest(id, chunks) => (id, vec![Message::Suggestion(in_order(contents, chunks))]),
                Effect::Decline { peer, mut chunks, full } => {
                    chunks.sort_unstable();
                    (peer, split(contents, &ranges(chunks), |ranges| Message::Decline { ranges, full }))
                }
                Effect::Cancel(id, chunks) => (id, split(contents, &ranges(chunks), Message::Cancel)),
                Effect::Refuse { peer, request, chunks } => {
                    let refusal = |ranges| Message::Refusal { request, ranges };
                    (peer, split(contents, &ranges(chunks), refusal))
                }
                Effect::Tell(id, ranges) => (id, split(contents, &ranges, Message::Haves)),
                Effect::TellLost(id, ranges) => (id, split(contents, &ranges, Message::Lost)),
                Effect::Send { peer: id, chunk, request } => {
                    let Some((artifact, index)) = contents.locate(chunk) else { continue };
                    let size_bytes = contents.chunk_len(chunk) as u32;
                    let offer = Offer { artifact: artifact as u32, index: index.get(), size_bytes, request };
                    let job = SendJob { chunk, offer, store: active.content.store.clone() };
                    if let Some(session) = self.sessions.get_mut(&id) {
                        session.sent.get_or_insert_with(|| ChunkSet::empty(contents.chunk_count())).insert(chunk);
                        if !session.send(job) {
                            self.drop_peer(id, "its line is stuck");
                        }
                    }
                    continue;
                }
                Effect::Drop(id, why) => {
                    self.fault(id, why);
                    continue;
                }
                Effect::GiveUp(id, why) => {
                    self.drop_peer(id, why);
                    continue;
                }
                Effect::Remark(id, what) => {
                    self.remark(id, what);
                    continue;
                }
                Effect::Complete => {
                    if let Some(active) = &mut self.active {
                        active.content.sink = None;
                    }
                    self.publish_status();
                    self.tell(Event::Complete);
                    continue;
                }
                Effect::EveryChunkOut(out) => {
                    self.tell(Event::EveryChunkOut(out));
                    continue;
                }
            };
            let behind = |session: &super::Session| !messages.into_iter().all(|message| session.say(message));
            if self.sessions.get(&id).is_some_and(behind) {
                self.drop_peer(id, "it does not read what it is told");
            }
        }
    }
}

/// Ranges as messages, each no longer than one may be.
fn split(contents: &Contents, ranges: &[Range<u32>], message: impl Fn(Vec<ArtifactRange>) -> Message) -> Vec<Message> {
    to_wire(contents, ranges).chunks(RANGES_MAX).map(|some| message(some.to_vec())).collect()
}

/// Chunks in the scheduler's order: each its own range unless they follow on each other.
fn in_order(contents: &Contents, chunks: Vec<u32>) -> Vec<ArtifactRange> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for chunk in chunks {
        match ranges.last_mut() {
            Some(last) if last.end == chunk => last.end += 1,
            _ => ranges.push(chunk..chunk + 1),
        }
    }
    to_wire(contents, &ranges)
}

/// Splits chunk numbers into ranges of one artifact each.
fn to_wire(contents: &Contents, ranges: &[Range<u32>]) -> Vec<ArtifactRange> {
    let mut out = Vec::with_capacity(ranges.len());
    for range in ranges {
        for (artifact, _) in contents.files().iter().enumerate() {
            let chunks = contents.chunks_of(artifact);
            let (start, end) = (range.start.max(chunks.start), range.end.min(chunks.end));
            if start < end {
                out.push((artifact as u32, start - chunks.start..end - chunks.start));
            }
        }
    }
    out
}
