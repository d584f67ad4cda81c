//! The relays that this node's tickets name: where nobody can reach the node itself, nobody hears of it without them.

use std::time::Duration;

use libp2p::PeerId;

use super::{super::Event, Driver};
use crate::base::{Next, Notice, text};

/// A relay is not here for so long before people hear of it,
const MISSED_TIME: Duration = Duration::from_secs(10);
/// and again so long after.
const MISSED_INTERVAL: Duration = Duration::from_secs(300);

/// One of them.
#[derive(Debug)]
pub(super) struct Relay {
    peer: PeerId,
    address: String,
    /// When it was first missed, since it was last here; when that was last said.
    missed: Option<Duration>,
    said: Option<Duration>,
}

impl Relay {
    pub(super) fn new(peer: PeerId, address: String) -> Self {
        Relay { peer, address, missed: None, said: None }
    }

    /// Whether people are to hear now that it is missing.
    fn is_to_be_told(&mut self, is_here: bool, now: Duration) -> bool {
        if is_here {
            (self.missed, self.said) = (None, None);
            return false;
        }
        let missed = *self.missed.get_or_insert(now);
        let due = now >= self.said.map_or(missed + MISSED_TIME, |said| said + MISSED_INTERVAL);
        if due {
            self.said = Some(now);
        }
        due
    }
}

impl Driver {
    /// Says which of them is missing, and why.
    pub(super) fn miss_relays(&mut self, now: Duration) {
        let mut words = Vec::new();
        for relay in &mut self.relays {
            if relay.is_to_be_told(self.by_peer.contains_key(&relay.peer), now) {
                let failures = self.book.failures();
                let why = failures.into_iter().find(|(address, _)| *address == relay.address).map(|(_, why)| why);
                words.push(format!(
                    "the relay {}, which this node's tickets name, is not connected: {}. Whoever cannot reach this node itself waits",
                    relay.address,
                    text::escape(why.as_deref().unwrap_or("it has not answered yet"))
                ));
            }
        }
        for text in words {
            self.tell(Event::Warning(Notice::from(text).next(Next::OtherRelay)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_that_is_missing_is_named_now_and_then_until_it_is_here() {
        let at = Duration::from_secs;
        let mut relay = Relay::new(PeerId::random(), "/ip4/127.0.0.1/tcp/9".to_owned());
        let mut told = |is_here, seconds: std::ops::Range<u64>| {
            seconds.filter(|s| relay.is_to_be_told(is_here, at(*s))).collect::<Vec<_>>()
        };
        assert_eq!(told(false, 1..700), [11, 311, 611]);
        assert!(told(true, 700..800).is_empty());
        assert_eq!(told(false, 800..815), [810]);
    }
}
