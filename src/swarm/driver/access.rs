//! Who may be here of those who have proved membership: by what they have shown of whose they are, and by what is known of validators.

use std::time::Duration;

use libp2p::{PeerId, Stream};

use super::{
    super::{
        Event, Standing,
        introduction::Shown,
        names::short_place,
        wire::{Message, Parting},
    },
    Driver, WAITING_WORDS_MAX,
};
use crate::base::{Next, Notice, text};

/// Who is not let in knocks again after so long: a manifest may be known by then, or a flag be another one.
const NOT_LET_IN_WAIT: Duration = Duration::from_secs(30);
/// Characters of a stranger's reason that are shown.
const REASON_CHARS_MAX: usize = 300;

impl Driver {
    /// Whether a member may take a seat; else why not.
    pub(super) fn judge(&self, peer: &PeerId, shown: &Shown) -> Result<(), String> {
        let judged = self.access.judge(peer, self.book.is_pinned(peer), &shown.validators, self.now());
        judged.map_err(|why| match &shown.fault {
            Some(fault) => format!("{why}; a binding that it shows does not count: {fault}"),
            None => why,
        })
    }

    /// Tells a member that it is not let in, and why.
    pub(super) fn refuse_seat(&mut self, peer: PeerId, stream: Stream, why: &str) {
        self.count_failure(peer);
        self.tell_refusal(peer, why);
        self.say_last(peer, stream, Message::Goodbye { reason: why.to_owned(), why: Parting::NotLetIn });
    }

    fn tell_refusal(&mut self, peer: PeerId, why: &str) {
        let at = self.connected.get(&peer).map(|c| c.address.clone());
        let place = at.as_ref().map_or_else(|| "an unknown address".to_owned(), |at| short_place(&at.to_string()));
        self.warn("not let in", at.as_ref(), format!("{} at {place} is not let in: {why}", self.names.of(&peer)));
        self.book.set_aside(&peer, format!("it is not let in: {why}"), self.now() + NOT_LET_IN_WAIT);
    }

    /// Takes what is known of validators; who may not be here any more has to go.
    pub(super) fn stand(&mut self, standing: Standing) {
        self.access.set_standing(standing);
        let judged =
            self.sessions.iter().map(|(id, session)| (*id, session.peer, self.judge(&session.peer, &session.shown)));
        let gone: Vec<_> = judged.filter_map(|(id, peer, judged)| Some((id, peer, judged.err()?))).collect();
        for (id, peer, why) in gone {
            self.tell_refusal(peer, &why);
            self.drop_with(id, &why, Vec::new(), Parting::NotLetIn);
        }
    }

    /// Keeps out whoever shows to be the same validator's as this peer, which was banned.
    pub(super) fn ban_validators_of(&mut self, peer: &PeerId, until: Duration) {
        let now = self.now();
        let shown =
            self.by_peer.get(peer).and_then(|id| self.sessions.get(id)).map(|session| &session.shown.validators);
        let validators = shown.or_else(|| self.shown_before.get(peer)).cloned().unwrap_or_default();
        for validator in validators {
            self.access.ban(validator, until, now);
        }
    }

    /// The application hears whose a new member is.
    pub(super) fn tell_whose(&mut self, id: u64) {
        let Some(session) = self.sessions.get(&id).filter(|session| !session.shown.validators.is_empty()) else {
            return;
        };
        let (peer, validators) = (session.peer, session.shown.validators.clone());
        if self.shown_before.len() < super::SHOWN_BEFORE_MAX || self.shown_before.contains_key(&peer) {
            self.shown_before.insert(peer, validators.clone());
        }
        if self.outbox.len() < WAITING_WORDS_MAX {
            self.tell(Event::Bound { peer: peer.to_string(), validators });
        }
    }

    /// A member does not let this node in.
    pub(super) fn not_let_in(&mut self, id: u64, reason: &str) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (peer, at) = (session.peer, self.connected.get(&session.peer).map(|c| c.address.clone()));
        let reason = text::escape(&reason.chars().take(REASON_CHARS_MAX).collect::<String>());
        let words = format!("{} does not let this node in: {reason}", self.names.of(&peer));
        self.warn("is not let in", at.as_ref(), Notice::from(words).next(Next::ShowWhoseNode));
        self.hung_up(id, &reason);
        self.book.set_aside(&peer, format!("it does not let this node in: {reason}"), self.now() + NOT_LET_IN_WAIT);
    }
}
