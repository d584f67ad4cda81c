//! Members in the distributed hash table: when they are looked for there, and what becomes of those that are found.

use std::time::Duration;

use libp2p::Multiaddr;

use super::{super::Event, Driver, Found};
use crate::base::text;

/// How often it is looked at whether anything is to be told or looked for.
const INTERVAL: Duration = Duration::from_secs(2);

/// What is known of this node's place in the table.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    looked_at: Duration,
    is_told: bool,
}

impl Driver {
    /// Tells the table where this node is, and looks for others there while nobody is here, or nobody who has what is missing.
    pub(super) fn look_elsewhere(&mut self, now: Duration) {
        let Some(dht) = self.dht.as_ref().filter(|_| now >= self.elsewhere.looked_at + INTERVAL) else { return };
        self.elsewhere.looked_at = now;
        // Who only watches has nothing for others.
        let has_any = self.active.as_ref().is_some_and(|active| !active.watches);
        let own: Vec<Multiaddr> = match has_any {
            true => self.told_addresses(dht.is_own()).iter().filter_map(|address| address.parse().ok()).collect(),
            false => Vec::new(),
        };
        let looks = self.needs_others() && (self.sessions.is_empty() || self.nowhere.0.is_some());
        dht.wish(&own, looks);
    }

    pub(super) fn heard_elsewhere(&mut self, found: Found) {
        let now = self.now();
        match found {
            Found::Members(members) => {
                let mut new = 0;
                for (peer, address) in members {
                    if !self.is_banned(&peer) && !self.by_peer.contains_key(&peer) {
                        new += u64::from(self.book.add(peer, address, false, now));
                    }
                }
                if new > 0 {
                    self.tell(Event::Note(format!(
                        "the distributed hash table names {} to try",
                        text::count(new, "more place")
                    )));
                }
            }
            Found::Told if self.elsewhere.is_told => {}
            Found::Told => {
                self.elsewhere.is_told = true;
                self.tell(Event::Note("members find this node through the distributed hash table now".to_owned()));
            }
            Found::Unreachable(why) => {
                self.warn(
                    "dht",
                    None,
                    format!("the distributed hash table cannot be used yet: {}", text::escape(&why)),
                );
            }
        }
    }
}
