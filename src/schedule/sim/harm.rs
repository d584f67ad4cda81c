//! Nodes that do harm to the others: they follow the protocol's words, and not its meaning.

use super::*;

/// How long one is away that was sent off.
const AWAY: Time = Time::from_millis(100);
/// What one suggests together,
const SUGGESTED: u32 = 50;
/// and how long after the last was declined.
const AGAIN: Time = Time::from_millis(50);

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It sends nothing of what is asked of it.
    Silent,
    /// It answers nothing.
    Deaf,
    /// It asks for all that is suggested to it, and says of nothing that it has it.
    Takes,
    /// It suggests everything, sends noise, and comes again under another name when it is sent off.
    Noise,
}

impl Node {
    /// It does not take part, other than to do harm.
    pub(super) fn never_finishes(&self) -> bool {
        matches!(self.line.harm, Some(Harm::Deaf | Harm::Takes | Harm::Noise))
    }
}

impl Run {
    /// What a harmful one does when something happens to it.
    pub(super) fn harms(&mut self, node: usize, input: Input) {
        let all = self.world.chunks;
        match (self.nodes[node].line.harm, input) {
            (Some(Harm::Takes), Input::Suggested(peer, ranges)) => {
                self.nodes[node].asked += 1;
                let request = self.nodes[node].asked;
                self.say(node, peer, What::Request(request, ranges.into_iter().flatten().collect()));
            }
            (Some(Harm::Noise), Input::Connected(peer)) => {
                self.say(node, peer, What::Haves([0..all].into()));
                self.suggests_some(node, peer);
            }
            (Some(Harm::Noise), Input::Declined { peer, full: true, .. }) => self.suggests_some(node, peer),
            (Some(Harm::Noise), Input::Requested(peer, request, ranges)) => {
                for chunk in ranges.into_iter().flatten() {
                    self.send_chunk(node, peer, chunk, request);
                }
            }
            _ => {}
        }
    }

    fn suggests_some(&mut self, node: usize, peer: PeerId) {
        let from = self.nodes[node].asked as u32 % self.world.chunks;
        self.nodes[node].asked += u64::from(SUGGESTED);
        let chunks = (from..self.world.chunks.min(from + SUGGESTED)).collect();
        self.send(self.now + AGAIN, node, peer, What::Suggest(chunks));
    }

    /// What came is no chunk: its sender is sent off, and comes again under another name.
    pub(super) fn is_noise(&mut self, node: usize, from: u32) {
        let now = self.now;
        self.feed(node, Input::Wrong);
        self.ends(node, PeerId::from(from), "it sent wrong bytes");
        self.send(now + AWAY, from as usize, node as PeerId, What::Back);
    }
}
