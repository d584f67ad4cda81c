//! What this node sees, put together for people.

use std::sync::atomic::Ordering;

use super::{
    super::{
        names::short_place,
        view::{MemberView, View},
    },
    Driver,
};
use crate::base::text;

/// Members that are told; more than a node has by default.
const MEMBERS_TOLD_MAX: usize = 256;
/// Peers that are named of those that are kept out.
const KEPT_OUT_TOLD_MAX: usize = 16;
/// Places that are named of those that were tried.
const TRIED_TOLD_MAX: usize = 8;

impl Driver {
    /// What is seen now.
    pub(super) fn view(&self) -> View {
        let status = self.status.borrow().clone();
        let (now, mut view) = (self.now(), View::default());
        (view.have_bytes, view.total_bytes) = (status.have_bytes, status.total_bytes);
        (view.sent_bytes, view.received_bytes) = (status.sent_bytes, status.received_bytes);
        view.is_incomplete = self.is_incomplete();
        let scheduler = self.active.as_ref().map(|active| &active.scheduler);
        if let Some(active) = &self.active {
            view.chunk_size_bytes = active.content.store.contents().chunk_size_bytes();
            view.watches = active.watches;
            view.spread = active.scheduler.spread();
        }
        view.members = (self.sessions.iter().take(MEMBERS_TOLD_MAX))
            .map(|(id, session)| {
                let known = scheduler.and_then(|scheduler| scheduler.peer_spread(*id));
                let at = self.connected.get(&session.peer);
                MemberView {
                    peer: session.peer.to_string(),
                    place: at.map_or_else(String::new, |c| short_place(&c.address.to_string())),
                    ready: session.ready,
                    chunks: known.map_or(0, |known| known.chunks),
                    sent_bytes: session.counters().sent.load(Ordering::Relaxed),
                    received_bytes: session.counters().received.load(Ordering::Relaxed),
                    flight: known.and_then(|known| known.flight),
                }
            })
            .collect();
        view.parts = self.parts.iter().map(|(peer, parts)| (peer.to_string(), parts.clone())).collect();
        let kept_out = self.banned.iter().filter(|(_, ban)| now < ban.until).take(KEPT_OUT_TOLD_MAX);
        view.kept_out = kept_out.map(|(peer, _)| self.names.of(peer)).collect();
        view.kept_out.sort();
        let tried = status.unreachable.iter().take(TRIED_TOLD_MAX);
        view.tried = tried.map(|(address, why)| (short_place(address), text::escape(why))).collect();
        view
    }
}
