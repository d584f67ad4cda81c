//! Whom the node dials. kwild starts without anybody and says nothing; a network of several then stays at its first height.

use super::{Check, Expected, error, note, warning};
use crate::{
    base::{
        Next,
        text::{count, first_few},
    },
    formats::{
        Family,
        config::{PeerAddress, peers_key},
    },
};

/// What came of dialling a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reach {
    /// Something answers there.
    Answers,
    /// Its name is not found, for this reason.
    NoSuchName(String),
    /// Nobody answers, for this reason.
    Silent(String),
    /// Nobody tried.
    #[default]
    Untried,
}

/// What a root says of its node's peers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    /// How the family names the genesis' validators, this node not among them.
    pub others: Vec<String>,
    /// Whom config.toml makes the node dial, itself not among them.
    pub dials: Vec<(PeerAddress, Reach)>,
}

/// What follows, where genesis and config.toml were read.
pub fn judge_peers(peers: &Peers, family: Family, expected: Expected) -> Vec<Check> {
    let key = peers_key(family);
    let others = count(peers.others.len() as u64, "other validator");
    if peers.others.is_empty() {
        return vec![Check::good("peers", "this node is the only validator: nobody has to be dialled")];
    }
    let example = match family {
        Family::V09 => "NODEID@HOST:26656",
        Family::V010 => "HEX#TYPE@HOST:6600",
    };
    if peers.dials.is_empty() {
        let text = format!("config.toml names nobody to dial ({key}), and the genesis has {others}");
        // A node that ran keeps the addresses of those it met.
        if expected.started {
            return vec![note("peers", format!("{text}: the node knows only those it met before")).at(key).into()];
        }
        let text = format!("{text}: kwild would wait at its first height for ever, without a word");
        let fix = Next::WaitForPeers { key: key.to_owned(), example: example.to_owned() };
        return vec![Check::from(error("peers", text).at(key).fix(fix)).silent()];
    }
    let mut checks = Vec::new();
    for (peer, reach) in &peers.dials {
        if let Reach::NoSuchName(why) = reach {
            let text = format!("{peer}: this machine does not find the name {} ({why})", peer.host());
            let fix = format!("correct it in {key}, or take it out");
            checks.push(match family {
                Family::V010 => error("peers", format!("{text}; kwild would end")).at(key).fix(fix).into(),
                Family::V09 => warning("peers", format!("{text}; kwild goes on without it")).at(key).fix(fix).into(),
            });
        }
    }
    let named = peers.others.iter().filter(|id| peers.dials.iter().any(|(peer, _)| peer.id() == id.as_str())).count();
    let silent: Vec<String> = peers
        .dials
        .iter()
        .filter_map(|(peer, reach)| match reach {
            Reach::Silent(why) => Some(format!("{} ({why})", peer.place())),
            _ => None,
        })
        .collect();
    let known = format!("config.toml names {named} of {others}");
    if silent.is_empty() {
        checks.push(Check::good("peers", known));
    } else {
        let shown = first_few(&silent, 4);
        let text = format!(
            "{known}; nobody answers now at {shown}: good as long as those nodes are not started yet, else look at \
             their firewalls and ports"
        );
        checks.push(note("peers", text).at(key).into());
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Level;

    const ID: &str = "56475aa75463474c0285df5dbf2bcab73da65135";
    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798#secp256k1";

    fn judge(family: Family, others: usize, dials: &[(&str, Reach)], started: bool) -> Vec<(Level, String)> {
        let id = if family == Family::V09 { ID } else { KEY };
        let peers = Peers {
            others: (0..others).map(|n| if n == 0 { id.to_owned() } else { format!("{n}") }).collect(),
            dials: dials
                .iter()
                .map(|(place, reach)| (PeerAddress::parse(family, &format!("{id}@{place}")).unwrap(), reach.clone()))
                .collect(),
        };
        let expected = Expected { family: Some(family), truf: None, started };
        let checks = judge_peers(&peers, family, expected);
        let told = |finding: &crate::base::Finding| (finding.level, format!("{} / {:?}", finding.text, finding.fix));
        checks.iter().filter_map(Check::finding).map(told).collect()
    }

    #[test]
    fn several_validators_and_nobody_to_dial() {
        let found = judge(Family::V09, 3, &[], false);
        assert!(found[0].0 == Level::Error && found[0].1.contains("3 other validators"), "{found:?}");
        assert!(found[0].1.contains("chain.p2p.persistent_peers") && found[0].1.contains("WaitForPeers"), "{found:?}");
        let found = judge(Family::V010, 1, &[], false);
        assert!(found[0].0 == Level::Error && found[0].1.contains("WaitForPeers { key: \"p2p.bootnodes"), "{found:?}");
        assert_eq!(judge(Family::V010, 1, &[], true)[0].0, Level::Note);
        assert_eq!(judge(Family::V010, 0, &[], false), []);
    }

    #[test]
    fn peers_that_do_not_answer_and_names_that_nobody_has() {
        let silent = Reach::Silent("refused".into());
        let found = judge(Family::V010, 3, &[("10.0.0.1:1", silent), ("10.0.0.2:1", Reach::Answers)], false);
        assert!(found.len() == 1 && found[0].0 == Level::Note, "{found:?}");
        assert!(found[0].1.contains("1 of 3") && found[0].1.contains("10.0.0.1:1 (refused)"), "{found:?}");
        assert_eq!(judge(Family::V010, 3, &[("10.0.0.2:1", Reach::Answers)], false), []);
        let lost = [("nobody.invalid:1", Reach::NoSuchName("not known".into()))];
        assert_eq!(judge(Family::V010, 3, &lost, false)[0].0, Level::Error);
        assert_eq!(judge(Family::V09, 3, &lost, false)[0].0, Level::Warning);
    }
}
