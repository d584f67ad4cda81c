//! Members in the distributed hash table: when they are looked for there, and what becomes of those that are found.

use std::time::Duration;

use libp2p::Multiaddr;

use super::{
    super::{Event, book, dht::Dht},
    Driver, Found,
};
use crate::base::text;

/// How often it is looked at whether anything is to be told or looked for.
const INTERVAL: Duration = Duration::from_secs(2);

/// Nothing has come for so long, whatever those who are here say that they have: others are looked for.
const UNFED: Duration = Duration::from_secs(20);
/// Who can write in the table can name anybody's address there: so many are taken from it,
const NAMED_MAX: u32 = 64;
/// in so long.
const NAMED_INTERVAL: Duration = Duration::from_secs(600);

/// What is known of this node's place in the table.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    looked_at: Duration,
    is_told: bool,
    /// How many chunks were there, the manifest first, when there was last one more, and when that was.
    fed: (u32, Duration),
    /// How many addresses were taken from the table since when.
    named: (u32, Duration),
}

impl Elsewhere {
    /// Whether nothing has come for long.
    fn is_unfed(&mut self, have: u32, now: Duration) -> bool {
        if have > self.fed.0 {
            self.fed = (have, now);
        }
        now >= self.fed.1 + UNFED
    }

    /// Whether one more address may be taken from the table.
    fn may_name(&mut self, now: Duration) -> bool {
        if now >= self.named.1 + NAMED_INTERVAL {
            self.named = (0, now);
        }
        self.named.0 += 1;
        self.named.0 <= NAMED_MAX
    }
}

/// See [`book::reach`]: no other machine is there.
const REACH_OF_ONE_MACHINE: u8 = 2;

impl Driver {
    /// Tells the table where this node is, and looks for others there while nobody is here, or nobody who has what is missing, or nothing
    /// comes from them.
    pub(super) fn look_elsewhere(&mut self, now: Duration) {
        if now < self.elsewhere.looked_at + INTERVAL {
            return;
        }
        self.elsewhere.looked_at = now;
        let have = self.active.as_ref().map_or(0, |active| 1 + active.scheduler.have().count());
        let unfed = self.elsewhere.is_unfed(have, now);
        let Some(dht) = self.dht.as_ref() else { return };
        // Who only watches has nothing for others.
        let has_any = self.active.as_ref().is_some_and(|active| !active.watches);
        let own: Vec<Multiaddr> = match has_any {
            true => self.told_addresses(dht.is_own()).iter().filter_map(|address| address.parse().ok()).collect(),
            false => Vec::new(),
        };
        let looks = self.needs_others() && (self.sessions.is_empty() || self.nowhere.0.is_some() || unfed);
        dht.wish(&own, looks);
    }

    pub(super) fn heard_elsewhere(&mut self, found: Found) {
        let now = self.now();
        match found {
            Found::Members(members) => {
                let mut new = 0;
                let is_own = self.dht.as_ref().is_some_and(Dht::is_own);
                for (peer, address) in members {
                    // In everyone's table stands what the world can reach.
                    let fits = is_own || book::reach(&address) < REACH_OF_ONE_MACHINE;
                    let is_new = !self.is_banned(&peer) && !self.by_peer.contains_key(&peer);
                    if fits && is_new && !self.book.knows(&peer, &address) && self.elsewhere.may_name(now) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_looked_for_when_nothing_comes_whoever_is_here() {
        let at = Duration::from_secs;
        let mut elsewhere = Elsewhere::default();
        assert!(!elsewhere.is_unfed(0, at(19)) && elsewhere.is_unfed(0, at(20)), "no manifest");
        assert!(!elsewhere.is_unfed(1, at(30)) && !elsewhere.is_unfed(1, at(49)) && elsewhere.is_unfed(1, at(50)));
        assert!(!elsewhere.is_unfed(7, at(60)));
    }

    #[test]
    fn the_table_names_no_more_than_some_addresses_in_some_time() {
        let mut elsewhere = Elsewhere::default();
        let named = |elsewhere: &mut Elsewhere, now| (0..1000).filter(|_| elsewhere.may_name(now)).count();
        assert_eq!(named(&mut elsewhere, Duration::from_secs(1)), NAMED_MAX as usize);
        assert_eq!(named(&mut elsewhere, Duration::from_secs(599)), 0);
        assert_eq!(named(&mut elsewhere, Duration::from_secs(700)), NAMED_MAX as usize);
    }
}
