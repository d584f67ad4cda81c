//! What an operator does after a join: by the database that the new node will use, the key, and whom the node dials.

use std::path::Path;

use kwil_formats::formats::Family;

use crate::{
    app::{node_database::NodeDatabase, peers::PeersOf},
    base::{Advice, Next},
    setup,
};

/// What is to be done with a finished root, in order; the last line starts kwild, unless that would go wrong for certain.
pub(super) struct NextSteps<'a> {
    pub(super) family: Family,
    pub(super) root: &'a Path,
    pub(super) peers: &'a PeersOf,
    pub(super) database: &'a NodeDatabase,
    pub(super) is_validator: bool,
    pub(super) follow: bool,
}

impl NextSteps<'_> {
    /// Whether the key votes or need not, and the database is none that kwild would take for its own.
    pub(super) fn may_start(&self) -> bool {
        let votes = self.is_validator || self.follow;
        votes && !self.database.is_anothers()
    }

    pub(super) fn advice(&self) -> Vec<Advice> {
        let mut next: Vec<Advice> = Vec::new();
        if !self.is_validator && !self.follow {
            next.push(Next::VoteOrFollow.into());
        }
        if self.peers.is_alone() && !setup::holds_blocks(self.root) {
            next.push(Next::WaitForQuorum.into());
        }
        next.extend(self.database.advice());
        if self.may_start() {
            next.push(setup::start_command(self.family, self.root).into());
        }
        next
    }
}
