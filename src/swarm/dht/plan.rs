//! PURE: when a node looks for others in the table and when it tells of itself, and what is said of how that goes.

use std::time::{Duration, Instant};

use libp2p::Multiaddr;

/// How often a member says again where it is.
const TELL_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// How soon again for the first time: of two that wrote at the same time one may have displaced the other.
const TELL_TWICE: Duration = Duration::from_secs(60);
/// How soon again where it could not be said, or where the addresses have changed; twice as long each time that it could not,
const TELL_AGAIN: Duration = Duration::from_secs(20);
/// so many times at the most.
const TELL_AGAIN_DOUBLED_MAX: u32 = 5;
/// Others may write before us so often before people hear of it.
const OVERTAKEN_MAX: u32 = 5;
/// How often others are looked for while nobody is reached.
const LOOK_INTERVAL: Duration = Duration::from_secs(20);
const OTHERS_WRITE: &str = "other members write in the same place all the time";

/// What the table is to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Where this node is, peer id included.
    pub(super) own: Vec<Multiaddr>,
    /// Others are looked for.
    pub(super) looks: bool,
}

/// Why a node does not stand in the table yet.
pub(super) enum Unsaid {
    /// Another member wrote at the same time: the next time is good.
    Overtaken,
    Because(String),
}

/// What is to be done now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) looks: bool,
    pub(super) tells: bool,
}

impl Due {
    pub(super) fn any(self) -> bool {
        self.looks || self.tells
    }
}

/// When others are looked for and this node is told of, as far as that is wished.
#[derive(Debug)]
pub(super) struct Plan {
    look_at: Instant,
    tell_at: Instant,
    /// What was told last.
    told: Vec<Multiaddr>,
    /// How often in a row the table could not be used, and how often others wrote before us.
    failures: u32,
    overtaken: u32,
}

impl Plan {
    pub(super) fn new(now: Instant) -> Self {
        Plan { look_at: now, tell_at: now, told: Vec::new(), failures: 0, overtaken: 0 }
    }

    pub(super) fn due(&self, wishes: &Wishes, now: Instant) -> Due {
        Due { looks: wishes.looks && now >= self.look_at, tells: !wishes.own.is_empty() && now >= self.tell_at }
    }

    pub(super) fn next(&self, wishes: &Wishes) -> Option<Instant> {
        let look = wishes.looks.then_some(self.look_at);
        look.into_iter().chain((!wishes.own.is_empty()).then_some(self.tell_at)).min()
    }

    /// The addresses may have changed.
    pub(super) fn hear(&mut self, own: &[Multiaddr], now: Instant) {
        if own != self.told {
            let wait = if self.told.is_empty() && self.failures == 0 { Duration::ZERO } else { TELL_AGAIN };
            self.tell_at = self.tell_at.min(now + wait);
        }
    }

    /// Plans the next time; gives why the table cannot be used, the less often the longer that has been so.
    pub(super) fn done(&mut self, due: Due, said: Result<(), Unsaid>, wishes: &Wishes, now: Instant) -> Option<String> {
        if due.looks {
            self.look_at = now + LOOK_INTERVAL;
        }
        if due.tells {
            self.overtaken = if matches!(said, Err(Unsaid::Overtaken)) { self.overtaken + 1 } else { 0 };
        }
        let why = match said {
            Ok(()) if due.tells => {
                self.failures = 0;
                self.tell_at = now + if self.told == wishes.own { TELL_INTERVAL } else { TELL_TWICE };
                self.told.clone_from(&wishes.own);
                return None;
            }
            // That others are found says nothing of whether this node is told of.
            Ok(()) => {
                if wishes.own.is_empty() {
                    self.failures = 0;
                }
                return None;
            }
            Err(Unsaid::Overtaken) if self.overtaken < OVERTAKEN_MAX => {
                self.tell_at = now + TELL_AGAIN;
                return None;
            }
            Err(Unsaid::Overtaken) => OTHERS_WRITE.to_owned(),
            Err(Unsaid::Because(why)) => why,
        };
        if due.tells {
            self.tell_at = now + TELL_AGAIN * (1 << self.failures.min(TELL_AGAIN_DOUBLED_MAX));
        }
        self.failures = self.failures.saturating_add(1);
        self.failures.is_power_of_two().then_some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn address() -> Multiaddr {
        "/ip4/198.51.100.1/tcp/6690".parse().unwrap()
    }

    #[test]
    fn what_goes_wrong_for_long_is_tried_and_said_less_and_less() {
        let begun = clock::now();
        let wishes = Wishes { own: vec![address()], looks: false };
        let mut plan = Plan::new(begun);
        let (mut now, mut words) = (begun, Vec::new());
        for _ in 0..100 {
            let due = plan.due(&wishes, now);
            assert!(due.tells && !due.looks);
            words.extend(plan.done(due, Err(Unsaid::Because("no".to_owned())), &wishes, now));
            now = plan.next(&wishes).unwrap();
        }
        assert!(words.len() == 7 && now > begun + Duration::from_secs(15 * 3600), "{} {:?}", words.len(), now - begun);
        // Others are found in between, which says nothing of it.
        let looks = Due { looks: true, tells: false };
        assert!(plan.done(looks, Ok(()), &wishes, now).is_none());
        let due = plan.due(&wishes, now);
        assert!(plan.done(due, Err(Unsaid::Because("no".to_owned())), &wishes, now).is_none());
        // Overtaken now and then says nothing, all the time does.
        let said = |times: usize| {
            let mut plan = Plan::new(begun);
            let due = plan.due(&wishes, begun);
            (0..times).filter_map(|_| plan.done(due, Err(Unsaid::Overtaken), &wishes, begun)).count()
        };
        assert_eq!((said(4), said(5)), (0, 1));
    }
}
