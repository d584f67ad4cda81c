//! What members say and send: control messages into the scheduler, its decisions out again.

use std::{ops::Range, sync::Arc};

use rand::RngCore;

use super::{
    super::{
        Content, Event,
        session::{Report, SendJob, Verdict},
        wire::{ArtifactRange, Message, Offer},
    },
    Active, Driver, EARLY_MESSAGES_MAX,
};
use crate::{
    base::limits::WINDOW_BYTES,
    schedule::{self, Effect, Expect, Input, Scheduler},
    store::{Contents, Outcome},
};

impl Driver {
    pub(super) fn report(&mut self, report: Report) {
        match report {
            Report::Message(id, message) => self.message(id, message),
            Report::Offer(id, offer, reply) => {
                let verdict = self.offered(id, offer);
                if matches!(verdict, Verdict::Break) {
                    self.drop_peer(id, "it sent a chunk that was not asked for");
                }
                let _ = reply.send(verdict);
            }
            Report::Sent(id, chunk) => self.input(Input::Sent(id, chunk)),
            Report::Skipped(id, chunk) => self.input(Input::Duplicate(id, chunk)),
            Report::Broken(error) => self.outbox.push_back(Event::Failed(error)),
            Report::Ended(id, why) => self.drop_peer(id, &why),
        }
    }

    pub(super) fn offered(&mut self, id: u64, offer: Offer) -> Verdict {
        let now = self.now();
        let Some(active) = &mut self.active else { return Verdict::Break };
        let contents = active.content.store.contents();
        let Some(chunk) = contents.number(offer.artifact, offer.index) else { return Verdict::Break };
        if contents.chunk_len(chunk) != offer.size_bytes as usize {
            return Verdict::Break;
        }
        match (active.scheduler.offered(now, id, chunk, offer.credited), &active.content.sink) {
            (Expect::Wanted, Some(sink)) => Verdict::Take(chunk, sink.queue.clone(), sink.buffers.clone()),
            (Expect::HadAlready, _) | (Expect::Wanted, None) => Verdict::Skip(chunk),
            (Expect::Unasked, _) => Verdict::Break,
        }
    }

    pub(super) fn message(&mut self, id: u64, message: Message) {
        let Some(session) = self.sessions.get(&id) else { return };
        let peer = session.peer;
        match message {
            Message::ManifestRequest => {
                let manifest = self.active.as_ref().map(|a| a.content.manifest.clone());
                session.say(Message::Manifest(manifest));
            }
            Message::Manifest(None) => {
                if self.manifest_asked.is_some_and(|(asked, _)| asked == id) {
                    // It will have one soon; another member is asked first.
                    self.manifest_asked = None;
                }
            }
            Message::Manifest(Some(bytes)) => {
                // On a slow line it may come after another member was asked; nobody who was not asked can send one.
                if self.active.is_none() {
                    let bytes = Arc::unwrap_or_clone(bytes);
                    self.outbox.push_back(Event::Manifest { peer: peer.to_string(), bytes });
                }
            }
            Message::Peers(addresses) => self.peers_told(peer, &addresses),
            Message::Seen(ip) => self.seen_told(id, ip),
            Message::Statements(all) if self.active.is_some() => self.statements_told(id, all),
            Message::Goodbye(reason) => self.drop_peer(id, &format!("it said goodbye: {reason}")),
            Message::Unknown => {}
            other if self.active.is_none() => {
                if self.early.len() < EARLY_MESSAGES_MAX {
                    self.early.push((id, other));
                } else {
                    self.drop_peer(id, "it says too much before the manifest is known");
                }
            }
            Message::Haves(r) => self.ranges_input(id, r, Input::Haves),
            Message::Request(r) => self.ranges_input(id, r, Input::Requested),
            Message::Cancel(r) => self.ranges_input(id, r, Input::Cancelled),
            Message::Refusal(r) => self.ranges_input(id, r, Input::Refused),
            Message::Credit(n) => self.input(Input::Credited(id, n)),
            // Above.
            Message::Statements(_) => {}
        }
    }

    pub(super) fn ranges_input(
        &mut self,
        id: u64,
        ranges: Vec<ArtifactRange>,
        input: fn(u64, Vec<Range<u32>>) -> Input,
    ) {
        let Some(active) = &self.active else { return };
        let contents = active.content.store.contents();
        let mut numbers = Vec::with_capacity(ranges.len());
        for (artifact, range) in ranges {
            let bounds = (contents.number(artifact, range.start), range.end.checked_sub(1));
            let last = bounds.1.and_then(|last| contents.number(artifact, last));
            match (bounds.0, last) {
                (Some(first), Some(last)) if first <= last => numbers.push(first..last + 1),
                _ => return self.drop_peer(id, "it names chunks that do not exist"),
            }
        }
        self.input(input(id, numbers));
    }

    pub(super) fn ask_for_manifest(&mut self) {
        if self.active.is_some() || self.manifest_asked.is_some() {
            return;
        }
        let now = self.now();
        let next = self.sessions.range(self.manifest_last + 1..).next().or_else(|| self.sessions.iter().next());
        if let Some((id, session)) = next
            && session.ask_for_manifest()
        {
            self.manifest_asked = Some((*id, now));
            self.manifest_last = *id;
        }
    }

    pub(super) fn activate(&mut self, content: Content) {
        let chunk_size = content.store.contents().chunk_size_bytes();
        let mut seed = [0; 12];
        rand::rng().fill_bytes(&mut seed);
        let (a, b) = seed.split_at(8);
        let rng_seed = u64::from_le_bytes(a.try_into().unwrap_or_default());
        // A lone seed deals in the file's order, so that verified prefixes grow.
        let deal_from = if content.sink.is_none() { 0 } else { u32::from_le_bytes(b.try_into().unwrap_or_default()) };
        let scheduler = Scheduler::new(content.have.clone(), chunk_size, WINDOW_BYTES, deal_from, rng_seed);
        self.active = Some(Active { content, scheduler });
        self.manifest_asked = None;
        for id in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.input(Input::Connected(id));
        }
        for (id, message) in std::mem::take(&mut self.early) {
            self.message(id, message);
        }
        self.publish_status();
    }

    pub(super) fn input(&mut self, input: Input) {
        let now = self.now();
        if let Some(active) = &mut self.active {
            active.scheduler.handle(now, input);
        }
    }

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Stored { source, chunk } => self.input(Input::Stored(source, chunk)),
            Outcome::Bad { source, chunk, error } => {
                // The session may be over already; the chunk is then free again.
                if let Some(peer) = self.sessions.get(&source).map(|s| s.peer) {
                    self.ban(peer, &format!("it sent a wrong chunk: {error}"));
                } else {
                    tracing::debug!("a wrong chunk {chunk} from a session that is over: {error}");
                }
            }
            Outcome::Failed(error) => self.outbox.push_back(Event::Failed(error)),
        }
    }

    pub(super) fn run_effects(&mut self) {
        while let Some(effect) = self.active.as_mut().and_then(|a| a.scheduler.poll_effect()) {
            let Some(active) = &self.active else { return };
            let contents = active.content.store.contents();
            let (id, message) = match effect {
                Effect::Request(id, chunks) => {
                    // In the scheduler's order: each its own range unless they follow on each other.
                    let mut ranges: Vec<Range<u32>> = Vec::new();
                    for chunk in chunks {
                        match ranges.last_mut() {
                            Some(last) if last.end == chunk => last.end += 1,
                            _ => ranges.push(chunk..chunk + 1),
                        }
                    }
                    (id, Message::Request(to_wire(contents, &ranges)))
                }
                Effect::Cancel(id, chunks) => (id, Message::Cancel(to_wire(contents, &schedule::ranges(chunks)))),
                Effect::Grant(id, n) => (id, Message::Credit(n)),
                Effect::Tell(id, ranges) => (id, Message::Haves(to_wire(contents, &ranges))),
                Effect::Announce(ranges) => {
                    let wire = to_wire(contents, &ranges);
                    let behind: Vec<u64> = self
                        .sessions
                        .iter()
                        .filter(|(_, s)| !s.say(Message::Haves(wire.clone())))
                        .map(|(id, _)| *id)
                        .collect();
                    for id in behind {
                        self.drop_peer(id, "it does not read what it is told");
                    }
                    continue;
                }
                Effect::Send { peer: id, chunk, credited } => {
                    let Some((artifact, index)) = contents.locate(chunk) else { continue };
                    let size_bytes = contents.chunk_len(chunk) as u32;
                    let offer = Offer { artifact: artifact as u32, index: index.get(), size_bytes, credited };
                    let job = SendJob { chunk, offer, store: active.content.store.clone() };
                    if self.sessions.get(&id).is_some_and(|s| !s.send(job)) {
                        self.drop_peer(id, "its line is stuck");
                    }
                    continue;
                }
                Effect::Drop(id, why) => {
                    self.drop_peer(id, why);
                    continue;
                }
                Effect::Complete => {
                    if let Some(active) = &mut self.active {
                        // The writer can end once nobody can give it more.
                        active.content.sink = None;
                    }
                    self.publish_status();
                    self.outbox.push_back(Event::Complete);
                    continue;
                }
                Effect::EveryChunkOut => {
                    self.outbox.push_back(Event::EveryChunkOut);
                    continue;
                }
            };
            if self.sessions.get(&id).is_some_and(|s| !s.say(message)) {
                self.drop_peer(id, "it does not read what it is told");
            }
        }
    }
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
