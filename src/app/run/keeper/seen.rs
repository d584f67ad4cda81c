//! What a node was seen to do last, to tell what has changed and what has happened since.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::{
    run::{
        Happened, What,
        log::{Log, Moment, harmless},
    },
    status::Status,
};

/// A counter of a member or of the node, which begins anew where it comes back or is started again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counter {
    before: u64,
    last: u64,
}

impl Counter {
    fn going_on_from(total: u64) -> Self {
        Counter { before: total, last: 0 }
    }

    pub(super) fn total(&mut self, value: u64) -> u64 {
        if value < self.last {
            self.before = self.before.saturating_add(self.last);
        }
        self.last = value;
        self.before.saturating_add(value)
    }
}

/// What was seen last, to tell what has changed since.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) members: BTreeMap<u16, (u32, u64, u64)>,
    pub(super) counters: BTreeMap<u16, (Counter, Counter)>,
    pub(super) sent: Counter,
    pub(super) received: Counter,
    /// The last moment that was written down, and one after it in which nothing had changed.
    pub(super) last: Option<Moment>,
    pub(super) idle_ms: Option<u64>,
    /// Which chunks had come from whom before this process began, when that was last written down, and whether all was there.
    pub(super) gave_before: BTreeMap<u16, Vec<u32>>,
    pub(super) gave_ms: u64,
    pub(super) complete: bool,
    here: BTreeMap<String, String>,
    kept_out: BTreeSet<String>,
    told: BTreeSet<(What, String)>,
    stalled: bool,
}

impl Seen {
    /// What a log ends with: the counters of a node that is started again begin at nothing.
    pub(super) fn after(log: &Log) -> Self {
        let mut seen = Seen { gave_before: log.gave.clone(), ..Seen::default() };
        for moment in &log.moments {
            seen.members.extend(moment.members.iter().map(|(n, state)| (*n, *state)));
        }
        let counters =
            |(_, sent, received): &(u32, u64, u64)| (Counter::going_on_from(*sent), Counter::going_on_from(*received));
        seen.counters = seen.members.iter().map(|(n, state)| (*n, counters(state))).collect();
        if let Some(last) = log.moments.last() {
            (seen.sent, seen.received) = (Counter::going_on_from(last.sent), Counter::going_on_from(last.received));
            seen.last = Some(Moment { members: BTreeMap::new(), ..last.clone() });
        }
        for happened in &log.happened {
            // What is true for good is told once.
            if !matches!(happened.what, What::Began | What::Ended | What::Joined | What::Left) {
                seen.told.insert((happened.what, happened.who.clone()));
            }
        }
        seen
    }

    /// What has happened since it was last asked.
    pub(super) fn events(&mut self, ms: u64, status: &Status) -> Vec<Happened> {
        let mut events = Vec::new();
        let mut tell = |what, who: &str, text: &str| {
            events.push(Happened { ms, what, who: who.to_owned(), text: text.to_owned() });
        };
        let here: BTreeMap<String, String> =
            status.members.iter().map(|member| (member.peer.clone(), member.name.clone())).collect();
        here.iter().filter(|(peer, _)| !self.here.contains_key(*peer)).for_each(|(_, n)| tell(What::Joined, n, ""));
        self.here.iter().filter(|(peer, _)| !here.contains_key(*peer)).for_each(|(_, n)| tell(What::Left, n, ""));
        self.here = here;
        let kept_out: BTreeSet<String> = status.kept_out.iter().cloned().collect();
        kept_out.difference(&self.kept_out).for_each(|name| tell(What::KeptOut, name, ""));
        self.kept_out = kept_out;
        let stalled = status.node.stalled_seconds.is_some();
        match (std::mem::replace(&mut self.stalled, stalled), stalled) {
            (false, true) => tell(What::Stalled, "", &status.estimate.limit.words),
            (true, false) => tell(What::Moved, "", ""),
            _ => {}
        }
        let told = &mut self.told;
        let mut once = |what, who: String, text: &str| {
            if told.insert((what, harmless(&who))) {
                events.push(Happened { ms, what, who, text: text.to_owned() });
            }
        };
        if status.node.complete {
            once(What::Complete, String::new(), "");
        }
        if status.chunks.as_ref().is_some_and(|chunks| chunks.out) {
            once(What::Out, String::new(), "");
        }
        for voice in status.attestations.iter().flat_map(|all| &all.voices) {
            let who = format!("validator {}", voice.name);
            match voice.vote.as_str() {
                "agrees" | "signed" => once(What::Agrees, who, ""),
                "dissents" => once(What::Dissents, who, &voice.differs.join(", ")),
                _ => {}
            }
        }
        match status.attestations.as_ref().map(|all| all.verdict.as_str()) {
            Some("met") => once(What::Attested, String::new(), ""),
            Some("lost") => once(What::Lost, String::new(), ""),
            _ => {}
        }
        for seat in status.readiness.iter().flat_map(|all| &all.seats) {
            let who = format!("validator {}", seat.name);
            match seat.stage.as_deref() {
                Some("root-ready") => once(What::Ready, who, ""),
                Some("confirmed") => once(What::Confirmed, who, ""),
                Some("differs") => once(What::Differs, who, &seat.differs.join(", ")),
                _ => {}
            }
        }
        if status.readiness.as_ref().is_some_and(|all| all.quorum) {
            once(What::Quorum, String::new(), "");
        }
        events
    }
}
