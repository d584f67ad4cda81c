//! What happens to a scheduler, and what it decides.

use std::ops::Range;

use super::{PeerId, RequestId};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A member's session began.
    Connected(PeerId),
    /// It ended.
    Gone(PeerId),
    /// Chunks of the peer were verified in an earlier session.
    SentBefore(PeerId),
    /// The peer has these chunks.
    Haves(PeerId, Vec<Range<u32>>),
    /// The peer would send us these chunks.
    Suggested(PeerId, Vec<Range<u32>>),
    /// The peer does not take these chunks that we suggested.
    Declined {
        /// Who.
        peer: PeerId,
        /// Which.
        ranges: Vec<Range<u32>>,
        /// It takes nothing more for now; otherwise it has them, or gets them from elsewhere.
        full: bool,
    },
    /// The peer asks for chunks.
    Requested(PeerId, RequestId, Vec<Range<u32>>),
    /// The peer no longer wants chunks; ascending ranges.
    Cancelled(PeerId, Vec<Range<u32>>),
    /// The peer will not send these chunks of a request.
    Refused {
        /// Who.
        peer: PeerId,
        /// Of which request.
        request: RequestId,
        /// Which.
        ranges: Vec<Range<u32>>,
    },
    /// The peer does not have these chunks any more.
    HasLost(PeerId, Vec<Range<u32>>),
    /// The peer's socket has taken a chunk; when it arrives is another matter.
    Sent(PeerId, u32),
    /// A chunk to the peer could not be read as it must be.
    NotSent(PeerId, u32),
    /// Our disk does not give this chunk any more.
    Lost(u32),
    /// So many bytes have come from the peer since its session began.
    Progress(PeerId, u64),
    /// Part of a chunk comes from the peer, though none of it can be used yet; or it would come, but our own disk is behind.
    Alive(PeerId),
    /// A chunk from the peer is verified and stored.
    Stored(PeerId, u32),
    /// A chunk from the peer was dropped unread: we had it already.
    Duplicate(PeerId, u32),
    /// Somebody sent bytes that are not the chunk they should be, and its session ends.
    Wrong,
    /// Time has passed.
    Tick,
}

/// What the node does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the peer for chunks, in this order.
    Request(PeerId, RequestId, Vec<u32>),
    /// Take requests back.
    Cancel(PeerId, Vec<u32>),
    /// Tell the peer that these chunks of its request will not come.
    Refuse {
        /// Whom.
        peer: PeerId,
        /// Of which request.
        request: RequestId,
        /// Which, ascending.
        chunks: Vec<u32>,
    },
    /// Tell people what a peer does not do.
    Remark(PeerId, &'static str),
    /// Tell the peer that these chunks would be sent to it, were it to ask for them.
    Suggest(PeerId, Vec<u32>),
    /// Tell the peer that these chunks which it suggested are not asked for.
    Decline {
        /// Whom.
        peer: PeerId,
        /// Which.
        chunks: Vec<u32>,
        /// Nothing more is taken for now; otherwise they are here, or come from elsewhere.
        full: bool,
    },
    /// Tell a peer what we have, or now have as well: no chunk twice, unless it was told that we lost it.
    Tell(PeerId, Vec<Range<u32>>),
    /// Tell a peer that we have these chunks no more, of which it was told that we do.
    TellLost(PeerId, Vec<Range<u32>>),
    /// Send the peer a chunk that it asked for.
    Send {
        /// To whom.
        peer: PeerId,
        /// Which.
        chunk: u32,
        /// The request that it answers.
        request: RequestId,
    },
    /// The peer broke the protocol: end its session.
    Drop(PeerId, &'static str),
    /// The peer owes us something and is silent: end its session, a new one may do better.
    GiveUp(PeerId, &'static str),
    /// We have every chunk.
    Complete,
    /// Whether every chunk is with two other peers, so that any one node may leave; said when it becomes true, and when it ends
    /// being so. A node that still fetches does not say it.
    EveryChunkOut(bool),
}

/// What may come on a bulk stream next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Take it.
    Wanted,
    /// It was asked for, but has come from elsewhere meanwhile: read and drop.
    HadAlready,
    /// Never asked for: the peer breaks the protocol.
    Unasked,
}
