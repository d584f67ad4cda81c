//! PURE: what members write into the table: addresses, and when each was told.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use libp2p::{Multiaddr, PeerId};

use super::book;

/// What is forgotten that nobody told again for so long before what was told last: as long as the table's nodes keep it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2 * 3600);

/// Whose an address is.
pub(super) type Known = (PeerId, Multiaddr);

/// Addresses with their peer ids, and when each was told, in UNIX seconds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Entries(pub(super) BTreeMap<Known, u64>);

impl Entries {
    pub(super) fn add(&mut self, known: Known, at: u64) {
        let told = self.0.entry(known).or_insert(at);
        *told = at.max(*told);
    }

    pub(super) fn merge(&mut self, other: Entries) {
        other.0.into_iter().for_each(|(known, at)| self.add(known, at));
    }

    /// When the last one was told, by the clock of who did.
    pub(super) fn newest(&self) -> Option<u64> {
        self.0.values().max().copied()
    }

    /// Leaves out what is too old, by our clock or by theirs, whichever is behind: of two that disagree neither displaces the other.
    pub(super) fn forget_old(&mut self, now: u64) {
        let now = self.newest().map_or(now, |newest| newest.min(now));
        self.0.retain(|_, at| *at + FORGOTTEN_AFTER.as_secs() > now);
    }

    /// By `now`, so that a member whose clock is ahead is not younger than the others for that.
    pub(super) fn youngest_first(&self, now: u64) -> Vec<(&Known, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|(known, at)| (known, *at)).collect();
        all.sort_by_key(|(_, at)| Reverse((*at).min(now)));
        all
    }

    /// The youngest, as far as they have room.
    pub(super) fn encode(&self, bytes_max: usize, now: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for ((_, address), at) in self.youngest_first(now) {
            let (Ok(at), address) = (u32::try_from(at), address.to_vec()) else { continue };
            let Ok(length) = u8::try_from(address.len()) else { continue };
            if bytes.len() + 5 + address.len() > bytes_max {
                break;
            }
            bytes.extend(at.to_be_bytes());
            bytes.push(length);
            bytes.extend(address);
        }
        bytes
    }

    /// Adds what is right of what a member has written, up to the first that is not.
    pub(super) fn decode(&mut self, mut bytes: &[u8]) {
        while let Some((at, rest)) = bytes.split_first_chunk::<4>()
            && let Some((length, rest)) = rest.split_first()
            && let Some((address, rest)) = rest.split_at_checked(usize::from(*length))
            && let Ok(address) = Multiaddr::try_from(address.to_vec())
            && let Some(known) = book::parse(&address.to_string())
        {
            bytes = rest;
            self.add(known, u64::from(u32::from_be_bytes(*at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn known(n: u8) -> Known {
        let peer = PeerId::random();
        (peer, format!("/ip4/198.51.100.{n}/tcp/6690/p2p/{peer}").parse().unwrap())
    }

    fn decoded(bytes: &[u8]) -> Entries {
        let mut entries = Entries::default();
        entries.decode(bytes);
        entries
    }

    #[test]
    fn what_is_old_is_left_out_and_a_clock_that_is_ahead_gains_nothing() {
        let (old, young, ahead) = (known(1), known(2), known(3));
        let mut entries = Entries::default();
        entries.add(old, NOW - FORGOTTEN_AFTER.as_secs());
        entries.add(young.clone(), NOW);
        entries.add(ahead.clone(), NOW + 1_000_000);
        let mut read = decoded(&entries.encode(900, NOW));
        assert_eq!(read, entries);
        read.forget_old(NOW);
        assert_eq!(read, Entries([(young.clone(), NOW), (ahead.clone(), NOW + 1_000_000)].into()));
        entries.add(ahead, NOW - 5);
        assert_eq!(read.youngest_first(NOW).len(), 2);
        assert!(read.youngest_first(NOW).iter().all(|(_, at)| (*at).min(NOW) == NOW));
    }

    #[test]
    fn members_whose_clocks_are_hours_apart_leave_each_other_in_place() {
        for apart in [-3 * 3600_i64, 3 * 3600] {
            let wrong = NOW.saturating_add_signed(apart);
            let mut entries = Entries::default();
            entries.add(known(1), NOW - 60);
            // It reads what others have written, and writes it again beside what it says itself; then others do.
            entries.forget_old(wrong);
            entries.add(known(2), wrong.max(entries.newest().unwrap()));
            entries.forget_old(NOW);
            assert_eq!(entries.0.len(), 2, "{apart}");
        }
    }

    #[test]
    fn only_what_can_be_dialled_is_read() {
        let peer = PeerId::random();
        let mut entries = Entries::default();
        entries.add((peer, "/ip4/198.51.100.7/tcp/1".parse().unwrap()), NOW);
        assert_eq!(decoded(&entries.encode(900, NOW)), Entries::default(), "without a peer id");
        entries.0.clear();
        entries.add((peer, format!("/unix/a/p2p/{peer}").parse().unwrap()), NOW);
        assert_eq!(decoded(&entries.encode(900, NOW)), Entries::default());
    }
}
