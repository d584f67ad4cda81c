//! What is known against manifests, told to every member before anything else, and to members that speak of another manifest.

use std::{sync::atomic::AtomicU64, time::Duration};

use libp2p::Stream;
use tokio::time::timeout;

use super::{
    super::{
        Event, ToldEvidence,
        wire::{self, Message},
    },
    Driver, WAITING_WORDS_MAX,
};
use crate::base::limits::EVIDENCE_OF_SESSION_MAX;

/// Events that wait for the application; beyond these evidence is let go, and the next member says it again. Words and statements take
/// less, so that nobody keeps evidence out by talking.
const WAITING_EVENTS_MAX: usize = 3 * WAITING_WORDS_MAX;
/// How long two members that speak of different manifests wait for each other's word.
const SWAP_TIME_MAX: Duration = Duration::from_secs(3);

impl Driver {
    /// Takes what the application knows, and tells it to the members that have not heard it.
    pub(super) fn tell_evidence(&mut self, told: ToldEvidence) {
        for one in told.against.iter().filter(|one| !self.evidence.against.contains(one)) {
            for session in self.sessions.values() {
                session.say(Message::Evidence(one.clone()));
            }
        }
        self.evidence = told;
    }

    /// A member tells evidence. The application judges it.
    pub(super) fn evidence_told(&mut self, id: u64, evidence: Vec<u8>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.evidence += 1;
        if session.evidence > EVIDENCE_OF_SESSION_MAX {
            return self.fault(id, "it tells more evidence than there can be");
        }
        self.hand_over(evidence);
    }

    /// Hands evidence to the application.
    pub(super) fn hand_over(&mut self, evidence: Vec<u8>) {
        if self.outbox.len() < WAITING_EVENTS_MAX {
            self.tell(Event::Evidence(evidence));
        }
    }
}

/// What two members say to each other who speak of different manifests: each that its own was issued. Gives what the other one says.
pub(super) async fn swap(stream: &mut Stream, issue: Option<Vec<u8>>) -> Option<Vec<u8>> {
    let said = issue.map_or(Message::Nothing, Message::Evidence);
    let swapped = async {
        wire::write_message(stream, said).await.ok()?;
        match wire::read_message(stream, || false, &AtomicU64::new(0)).await {
            Ok(Some((Message::Evidence(evidence), _))) => Some(evidence),
            _ => None,
        }
    };
    timeout(SWAP_TIME_MAX, swapped).await.ok().flatten()
}
