//! What `report` tells of a run, in words and as a page.

mod page;
mod picture;
mod sources;

use std::fmt;

pub(crate) use self::page::page;
use super::drill::{duration, limit, rate};
use crate::{
    app::{
        run::{
            What,
            report::{Event, Node, Report, Sent, Why},
        },
        status::Role,
    },
    base::text,
};

/// Nodes that are listed in a terminal.
const LISTED: usize = 40;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, words) in summary(self) {
            match name {
                "" => writeln!(f, "{words}")?,
                name => writeln!(f, "{name:12} {words}")?,
            }
        }
        writeln!(f, "\n  {:24}  {:>14}  {:>10}  {:>10}  stood still", "who", "had it after", "received", "sent")?;
        for node in self.nodes.iter().take(LISTED) {
            let (name, after) = (name_of(node), had_it(self, node));
            let (received, sent) = (text::bytes(node.received_bytes), text::bytes(node.sent_bytes));
            writeln!(f, "  {name:24}  {after:>14}  {received:>10}  {sent:>10}  {}", stood_still(node))?;
        }
        if self.nodes.len() > LISTED {
            writeln!(f, "  … and {} more", self.nodes.len() - LISTED)?;
        }
        let had = self.nodes.iter().filter_map(|node| Some((node, had_from(self, node)?)));
        for (n, (node, from)) in had.take(LISTED).enumerate() {
            if n == 0 {
                writeln!(f, "\n  {:24}  came from", "what they got")?;
            }
            writeln!(f, "  {:24}  {from}", text::escape(&node.name))?;
        }
        Ok(())
    }
}

/// The run in a few sentences, each with what it is about; the first is of the whole.
fn summary(report: &Report) -> Vec<(&'static str, String)> {
    let transfer = &report.transfer;
    let size = text::bytes(report.size_bytes);
    let nodes = text::count(transfer.fetched as u64, "node");
    let mut said = Vec::new();
    let whole = match transfer.took_s {
        _ if transfer.fetched == 0 => "nobody was there to fetch it".to_owned(),
        None => format!("none of {nodes} got all of it"),
        Some(took) if transfer.complete == transfer.fetched => format!("to {nodes} in {}", duration(took)),
        Some(took) => format!("to {} of {nodes} in {}", transfer.complete, duration(took)),
    };
    let bound = match (transfer.bound_s, transfer.ratio) {
        (Some(bound), Some(ratio)) => {
            format!(", {ratio:.2} times the bound of {} on lines as they showed themselves", duration(bound))
        }
        _ => String::new(),
    };
    said.push(("", format!("{}: {size}, {whole}{bound}", text::escape(&report.chain_id))));
    said.push(("began", text::time(report.began_ms / 1000)));
    said.extend(transfer.limited_by.iter().map(|by| ("limited by", limit(by))));
    if let Some(last) = &transfer.last {
        said.push(("last", format!("{}: {}", text::escape(&last.name), why(last.why))));
    }
    if let Some(out) = report.out_s {
        said.push(("lead", format!("could have left after {}: every chunk was with two others", duration(out))));
    }
    if let Some(quorum) = report.quorum_s {
        said.push(("ready", format!("enough validators after {}", duration(quorum))));
    }
    let dissent: Vec<&str> =
        report.events.iter().filter(|e| e.what == What::Dissents).map(|e| e.who.as_str()).collect();
    if !dissent.is_empty() {
        said.push(("dissent", format!("another state is held by {}", text::first_few(dissent, 4))));
    }
    if let Some(prediction) = &report.prediction {
        let (end, bound) = (duration(prediction.finish_s), duration(prediction.bound_s));
        said.push(("predicted", format!("{end}, {:.2} times a bound of {bound}", prediction.ratio)));
    }
    if report.left_out > 0 {
        said.push(("left out", format!("{} for which the logs had no room", text::count(report.left_out, "event"))));
    }
    said
}

fn why(why: Why) -> String {
    match why {
        Why::Late { seconds } => format!("it came {} after the first", duration(seconds)),
        Why::Stalled { seconds } => format!("it got nothing for {} in all", duration(seconds)),
        Why::Line { bits } => format!("its line carried {} at the most, less than others'", measured(bits)),
        Why::Together => "the others ended with it, so nobody's own line held them up".to_owned(),
        Why::Later => "it got its part later than the others, on a line that carried as much".to_owned(),
    }
}

/// A rate that was measured, and so is none to many digits.
fn measured(bits: f64) -> String {
    rate((bits / 1e5).round().max(1.0) * 1e5)
}

/// What a node is called, and what it did.
fn name_of(node: &Node) -> String {
    let name = text::escape(&node.name);
    match node.role.map(role) {
        Some(role) => format!("{name} ({role})"),
        None => name,
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Publish => "publish",
        Role::Seed => "seed",
        Role::Fetch => "fetch",
        Role::Relay => "relay",
        Role::Join => "join",
        Role::Watch => "watch",
    }
}

fn had_it(report: &Report, node: &Node) -> String {
    match (node.seed, node.finish_s) {
        (true, _) => "from the start".to_owned(),
        (false, Some(s)) => duration((s - report.transfer.begins_s).max(0.0)),
        (false, None) => format!("{:.0} % of it", 100.0 * node.line.last().map_or(0.0, |(_, part)| *part)),
    }
}

/// From whom a node had which part of what came to it, the most first; `None` where nothing came, or nobody tells.
fn had_from(report: &Report, node: &Node) -> Option<String> {
    let sent: Vec<_> = report.sent.iter().filter(|sent| sent.to_peer == node.peer).collect();
    let all: f64 = sent.iter().map(|sent| sent.bytes as f64).sum();
    let part = |sent: &&Sent| format!("{} {:.0} %", text::escape(&sent.from), 100.0 * sent.bytes as f64 / all);
    (all > 0.0).then(|| text::first_few(sent.iter().map(part).collect::<Vec<_>>(), 4))
}

fn stood_still(node: &Node) -> String {
    match node.stalls.iter().map(|(from, to)| to - from).sum::<f64>() {
        0.0 => "-".to_owned(),
        seconds => duration(seconds),
    }
}

/// An event as a sentence.
fn happened(event: &Event) -> String {
    let (who, more) = (text::escape(&event.who), text::escape(&event.text));
    let seen_by = text::escape(&event.seen_by);
    let because = if more.is_empty() { String::new() } else { format!(": {more}") };
    match event.what {
        What::Began if more.is_empty() => format!("{seen_by} began"),
        What::Began => format!("{seen_by} began to {more}"),
        What::Ended => format!("{seen_by} ended"),
        What::Joined => format!("{who} came to {seen_by}"),
        What::Left => format!("{who} left {seen_by}"),
        What::KeptOut => format!("{seen_by} kept {who} out, for wrong bytes or for breaking the protocol"),
        What::Complete => format!("{seen_by} had everything, checked"),
        What::Stalled => format!("nothing came to {seen_by} any more{because}"),
        What::Moved => format!("something came to {seen_by} again"),
        What::Out => "every chunk was with two others: the lead could have left".to_owned(),
        What::Agrees => format!("{who} attested the state"),
        What::Dissents => format!("{who} holds another state{because}"),
        What::Attested => "as many attested as the manifest demands".to_owned(),
        What::Lost => "so many hold another state that the manifest's rule cannot be met".to_owned(),
        What::Ready => format!("{who} was ready"),
        What::Confirmed => format!("{who} started, and holds what was signed"),
        What::Differs => format!("the started node of {who} does not hold what was signed{because}"),
        What::Quorum => "enough validators were ready: the network makes blocks".to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::app::{
        drill::{LimitedBy, Peer, Prediction},
        run::report::{Last, Part, Transfer},
    };

    pub(super) const EVIL: &str = "<script>alert(1)</script>\"'&\u{202e}\u{1b}[2J";

    pub(super) fn report() -> Report {
        let node = |name: &str, seed, finish_s| Node {
            peer: format!("id of {name}"),
            name: name.to_owned(),
            seed,
            finish_s,
            line: vec![(1.0, if seed { 1.0 } else { 0.0 }), (6.0, if seed { 1.0 } else { 0.5 }), (40.0, 1.0)],
            ..Node::default()
        };
        let part = |first, last, chunks| Part { first, last, chunks };
        let sent = |from: &str, bytes, parts| Sent {
            from: from.to_owned(),
            from_peer: format!("id of {from}"),
            to: EVIL.to_owned(),
            to_peer: format!("id of {EVIL}"),
            bytes,
            parts,
        };
        let event = |s, what, who: &str, text: &str| Event {
            s,
            seen_by: "lead".to_owned(),
            what,
            who: who.to_owned(),
            text: text.to_owned(),
        };
        Report {
            chain_id: "new-1".to_owned(),
            manifest_id: "abcd".to_owned(),
            size_bytes: 1 << 30,
            chunks: 1000,
            began_ms: 1_800_000_000_000,
            seconds: 50.0,
            transfer: Transfer {
                begins_s: 1.0,
                took_s: Some(39.0),
                fetched: 3,
                complete: 2,
                bound_s: Some(30.0),
                ratio: Some(1.3),
                limited_by: Some(LimitedBy::Seeds(vec!["lead".to_owned()])),
                last: Some(Last { name: "validator b".to_owned(), why: Why::Late { seconds: 12.0 } }),
            },
            nodes: vec![
                Node { role: Some(Role::Publish), has_log: true, ..node("lead", true, None) },
                Node { ready_s: Some(45.0), attested: Some((3.0, true)), ..node("validator a", false, Some(20.0)) },
                Node { stalls: vec![(10.0, 25.0)], ..node("validator b", false, Some(40.0)) },
                Node { attested: Some((3.0, false)), ..node(EVIL, false, None) },
            ],
            first_copies: vec![(0.0, 0.0), (30.0, 1.0)],
            out_s: Some(35.0),
            quorum_s: Some(46.0),
            sent: vec![
                sent("lead", 1 << 30, vec![part(0, 899, 900), part(900, 999, 50)]),
                sent("validator a", 50 << 20, vec![part(900, 999, 50)]),
            ],
            events: vec![
                event(1.0, What::Joined, "validator a", ""),
                event(2.0, What::Stalled, "", EVIL),
                event(3.0, What::Dissents, EVIL, "main.users"),
                event(46.0, What::Quorum, "", ""),
            ],
            left_out: 2,
            prediction: Some(Prediction {
                size_bytes: 1 << 30,
                chunks: 1000,
                chunk_size_bytes: 1 << 20,
                simulated_chunks: 1000,
                bound_s: 30.0,
                finish_s: 33.0,
                ratio: 1.1,
                seed_copies: 1.0,
                seed_copies_in_all: 1.0,
                seed_copies_needed: 1.0,
                out_s: None,
                limited_by: LimitedBy::Uplinks,
                what_if: Vec::new(),
                peers: vec![Peer { name: "validator a".to_owned(), finish_s: Some(18.0), sent_copies: 1.0 }],
            }),
        }
    }

    #[test]
    fn a_run_reads_as_sentences() {
        let said = report().to_string();
        for words in [
            "new-1: 1.0 GiB, to 2 of 3 nodes in 39.0 s, 1.30 times the bound of 30.0 s on lines",
            "began        2027-01-15T08:00:00Z",
            "limited by   the uplink of lead: every byte has to leave it once",
            "last         validator b: it came 12.0 s after the first",
            "could have left after 35.0 s",
            "predicted    33.0 s, 1.10 times a bound of 30.0 s",
            "left out     2 events",
            "lead (publish)",
            "from the start",
            "15.0 s",
            "lead 95 %, validator a 5 %",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}'));
        let mut nobody = report();
        nobody.transfer = Transfer::default();
        assert!(nobody.to_string().starts_with("new-1: 1.0 GiB, nobody was there to fetch it\n"));
    }
}
