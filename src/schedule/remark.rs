//! What people are told of a peer that gives or takes nothing for long. It is no accusation: its line may be slow.

use std::collections::BTreeSet;

use super::{Effect, PeerId, Scheduler, Time};

/// Nothing is said of anyone before so long, and so many times as long as chunks take.
const PATIENCE: Time = Time::from_secs(10);
/// See [`PATIENCE`].
const PATIENCE_TIMES: u32 = 8;
/// So many chunks that it says it has may be refused by a peer.
const REFUSED_MAX: u32 = 8;

const SENDS_NOTHING: &str = "it has sent nothing of what was asked of it, while others send";
const REFUSES: &str = "it refuses chunks that it says it has";
const TAKES: &str = "chunks were sent to it, and it says of none that it has it, while others do";
const ANSWERS_NOTHING: &str = "it answers nothing that is suggested to it";

impl Scheduler {
    /// Something that went to the peer is not waited for any more: it is looked later what became of that.
    pub(super) fn watch(&mut self, now: Time, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id)
            && (peer.took == 0 || !peer.answers)
            && !std::mem::replace(&mut peer.watched, true)
        {
            self.watched.push_back((now, id));
        }
    }

    /// Says of those of whom something is waited for, and of those that are watched, what there is to say; of each once in its session.
    pub(super) fn remark(&mut self, now: Time, waited: &BTreeSet<PeerId>) {
        let patience = |took: Time| (!took.is_zero()).then(|| PATIENCE.max(took * PATIENCE_TIMES));
        if let Some(patience) = patience(self.flight).filter(|_| self.sources > 1) {
            for id in waited {
                let Some(peer) = self.peers.get(id).filter(|peer| peer.came == 0) else { continue };
                if peer.asked.values().any(|since| now.saturating_sub(*since) > patience) {
                    self.say_of(*id, SENDS_NOTHING);
                }
            }
        }
        let Some(patience) = patience(self.line.took()) else { return };
        while let Some((since, id)) = self.watched.front().copied() {
            if now.saturating_sub(since) <= patience {
                break;
            }
            self.watched.pop_front();
            match self.peers.get(&id) {
                Some(peer) if !peer.answers && peer.suggested > 0 => self.say_of(id, ANSWERS_NOTHING),
                Some(peer) if peer.took == 0 && !peer.on_line.is_empty() => self.say_of(id, TAKES),
                _ => {}
            }
        }
    }

    /// The peer has refused once more what it says it has.
    pub(super) fn remark_refusals(&mut self, id: PeerId) {
        if self.peers.get(&id).is_some_and(|peer| peer.refused > REFUSED_MAX.max(2 * peer.came)) {
            self.say_of(id, REFUSES);
        }
    }

    fn say_of(&mut self, id: PeerId, what: &'static str) {
        if self.peers.get_mut(&id).is_some_and(|peer| !std::mem::replace(&mut peer.remarked, true)) {
            self.effects.push_back(Effect::Remark(id, what));
        }
    }
}
