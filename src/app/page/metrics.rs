//! PURE: a status in Prometheus' text form. Labels are keys of validators of the two networks, which the manifest bounds; no text of a peer
//! becomes a name or a label.

use std::fmt::Write as _;

use crate::app::status::Status;

/// The form that Prometheus reads.
struct Lines(String);

impl Lines {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.begin(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn of_validators<'a>(&mut self, name: &str, help: &str, all: impl Iterator<Item = (&'a str, u64)>) {
        self.begin(name, "gauge", help);
        for (key, value) in all {
            // Keys are digits, letters and a #; whatever else came here is no key.
            let key: String = key.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '#').collect();
            let _ = writeln!(self.0, "{name}{{validator=\"{key}\"}} {value}");
        }
    }
}

/// All numbers of a status.
pub(super) fn text(status: &Status) -> String {
    let mut out = Lines(String::with_capacity(8 << 10));
    let node = &status.node;
    out.begin("regenesis_build_info", "gauge", "The version of the program; always 1.");
    let _ = writeln!(out.0, "regenesis_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    let gauge = "gauge";
    out.one("regenesis_stored_bytes", gauge, "Bytes of chunks that are stored, each proved.", node.have_bytes);
    out.one("regenesis_size_bytes", gauge, "Bytes of all chunks; 0 before the manifest is known.", node.total_bytes);
    out.one("regenesis_complete", gauge, "1 where all is here and checked.", node.complete.into());
    out.one("regenesis_sent_bytes_total", "counter", "Chunk bytes that were sent.", node.sent_bytes);
    out.one("regenesis_received_bytes_total", "counter", "Chunk bytes that were received.", node.received_bytes);
    let stalled = node.stalled_seconds.unwrap_or(0);
    out.one("regenesis_stalled_seconds", gauge, "How long no byte has come, though some are missing.", stalled);
    out.one("regenesis_members", gauge, "Members of the swarm that are connected.", status.members.len() as u64);
    let all = status.chunks.as_ref().map_or(0, |chunks| chunks.count);
    let complete = status.members.iter().filter(|member| all > 0 && member.chunks == all).count();
    out.one("regenesis_members_complete", gauge, "Those of them that say they have every chunk.", complete as u64);
    out.one("regenesis_members_kept_out", gauge, "Peers that are kept out for a while.", status.kept_out.len() as u64);
    if let Some(chunks) = &status.chunks {
        out.one("regenesis_chunks", gauge, "Chunks in all.", chunks.count.into());
        let help = "Chunks that one node has and no other.";
        out.one("regenesis_chunks_with_one_node", gauge, help, chunks.single.into());
        let help = "Chunks that fewer than two nodes beside this one have.";
        out.one("regenesis_chunks_with_fewer_than_two_others", gauge, help, chunks.thin.into());
        out.one("regenesis_may_leave", gauge, "1 where every chunk is with two others.", chunks.out.into());
    }
    if let Some(seconds) = status.estimate.everyone_seconds {
        out.one("regenesis_estimate_seconds", gauge, "Until everyone who is here has everything.", seconds);
    }
    if let Some(all) = &status.attestations {
        out.one("regenesis_attested_power", gauge, "Power of old validators that agree.", all.power);
        out.one("regenesis_old_power", gauge, "Power of all old validators.", all.power_of_all);
        out.one("regenesis_attestations_met", gauge, "1 where enough of them agree.", (all.verdict == "met").into());
        out.one("regenesis_dissents", gauge, "Old validators that hold another state.", all.dissent as u64);
        let vote =
            |of: fn(&str) -> bool| all.voices.iter().map(move |voice| (voice.key.as_str(), u64::from(of(&voice.vote))));
        let agrees = vote(|vote| matches!(vote, "signed" | "agrees"));
        out.of_validators("regenesis_old_validator_agrees", "1 where this old validator agrees.", agrees);
        let dissents = vote(|vote| vote == "dissents");
        out.of_validators("regenesis_old_validator_dissents", "1 where it holds another state.", dissents);
    }
    if let Some(all) = &status.readiness {
        out.one("regenesis_ready_power", gauge, "Power of new validators that are ready.", all.power);
        out.one("regenesis_new_power", gauge, "Power of all new validators.", all.power_of_all);
        out.one("regenesis_quorum", gauge, "1 where enough are ready to make blocks.", all.quorum.into());
        let ready = all.seats.iter().map(|seat| (seat.key.as_str(), u64::from(seat.stage.is_some())));
        out.of_validators("regenesis_validator_ready", "1 where this new validator is ready.", ready);
    }
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::status::{Attestations, Elector, Member, Readiness, Seat};

    #[test]
    fn every_name_has_its_help_and_type_and_no_peer_a_label() {
        let evil = "x\"} 1\nevil{a=\"";
        let status = Status {
            members: vec![Member { name: evil.to_owned(), ..Member::default() }],
            kept_out: vec![evil.to_owned()],
            attestations: Some(Attestations {
                voices: vec![Elector { key: evil.to_owned(), vote: "agrees".to_owned(), ..Elector::default() }],
                ..Attestations::default()
            }),
            readiness: Some(Readiness {
                seats: vec![Seat { key: "00ff#ed25519".to_owned(), ..Seat::default() }],
                ..Readiness::default()
            }),
            ..Status::default()
        };
        let text = text(&status);
        let mut declared: Vec<String> = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                declared.push(rest.split(' ').next().unwrap().to_owned());
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                assert!(name.starts_with("regenesis_") && declared.iter().any(|d| d == name), "{line}");
                assert!(line.rsplit(' ').next().unwrap().parse::<u64>().is_ok(), "{line}");
            }
        }
        let mut once = declared.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), declared.len(), "each name once");
        assert!(text.contains("regenesis_validator_ready{validator=\"00ff#ed25519\"} 0\n"), "{text}");
        assert!(!text.contains("evil{"), "{text}");
    }
}
