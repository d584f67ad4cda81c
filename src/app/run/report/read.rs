//! Several logs become one report.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{Event, Last, Node, Part, Report, Sent, Transfer, Why, lines};
use crate::{
    app::{
        drill,
        run::{LOG_NAME, What, keeper::FILE_SIZE_BYTES_MAX, log::Log},
        status::{Role, place_of},
    },
    base::{Error, Result, durable::PRIVATE_DIRECTORY_NAME, files::read_bounded},
    schedule, swarm,
};

/// Logs of one report.
pub const DIRECTORIES_MAX: usize = 64;
/// Events of one report; more are not told.
const EVENTS_MAX: usize = 4096;
/// Pairs of nodes of which it is told what one sent to the other.
const SENT_MAX: usize = 1024;
/// Part of the whole time that makes somebody late, or a stall one that counts.
const MUCH: f64 = 0.2;
/// Who ends within this part of the whole time before another one ends with it.
const TOGETHER: f64 = 0.1;
/// A line that carries less than this part of what others' carry is slow.
const SLOW: f64 = 0.7;

/// Puts together what the nodes that worked in these directories have written down.
///
/// # Errors
/// Where a directory has no run log, or one that cannot be read, or logs are of different migrations.
pub fn of_directories(directories: &[PathBuf]) -> Result<Report> {
    if directories.len() > DIRECTORIES_MAX {
        return Err(Error::usage(format!("{} directories: a report takes {DIRECTORIES_MAX}", directories.len())));
    }
    let mut logs: Vec<Log> = Vec::new();
    for directory in directories {
        let log = read(directory)?;
        if let Some(first) = logs.first().filter(|first| first.head.manifest_id != log.head.manifest_id) {
            return Err(Error::usage(format!(
                "{} tells of another migration ({}) than {} ({})",
                directory.display(),
                log.head.chain_id,
                directories[0].display(),
                first.head.chain_id
            ))
            .hint("make one report of each migration"));
        }
        // The same directory may be named twice.
        if !logs.iter().any(|other| other.head.peer == log.head.peer) {
            logs.push(log);
        }
    }
    match logs.is_empty() {
        true => Err(Error::usage("no directory is named")),
        false => Ok(report(&logs)),
    }
}

fn read(directory: &Path) -> Result<Log> {
    let path = place_of(directory).join(PRIVATE_DIRECTORY_NAME).join(LOG_NAME);
    if !path.exists() {
        return Err(Error::failed(format!("{} has no run log", directory.display())).hint(
            "name the directory that a node of this migration published, served, fetched or joined into; a node writes its log once it \
             knows the manifest",
        ));
    }
    Log::read(&read_bounded(&path, FILE_SIZE_BYTES_MAX, "run log")?).map_err(|e| {
        let broken = Error::verify(format!("the run log {} cannot be read", path.display())).because(e.chain());
        broken.hint("leave this directory out of the report, or remove the line that is named; nothing was changed")
    })
}

/// What is gathered of one node.
#[derive(Default)]
struct Gathered {
    name: Option<String>,
    validator: bool,
    role: Option<Role>,
    own: Option<lines::Own>,
    seen: Vec<lines::Line>,
    /// Its lines to others, as they saw what came from it.
    up: f64,
    got: bool,
}

fn report(logs: &[Log]) -> Report {
    let head = &logs[0].head;
    let mut nodes: BTreeMap<String, Gathered> = BTreeMap::new();
    let mut pairs: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut parts: BTreeMap<(String, String), Vec<Part>> = BTreeMap::new();
    for log in logs {
        let me = nodes.entry(log.head.peer.clone()).or_default();
        (me.role, me.own) = (log.head.role, Some(lines::own(log)));
        for who in &log.whos {
            let node = nodes.entry(who.peer.clone()).or_default();
            if node.name.is_none() || who.validator.is_some() && !node.validator {
                (node.name, node.validator) = (Some(who.name.clone()), who.validator.is_some());
            }
        }
        for (n, cells) in &log.gave {
            let pair = (log.whos[usize::from(*n)].peer.clone(), log.head.peer.clone());
            parts.insert(pair, parts_of(log.head.chunks, cells));
        }
        for (n, seen) in lines::members(log) {
            let who = &log.whos[usize::from(n)];
            let node = nodes.entry(who.peer.clone()).or_default();
            let last = |line: &lines::Line| line.last().map_or(0, |(_, value)| *value);
            node.up += lines::best(&seen.from).unwrap_or(0.0);
            node.got |= last(&seen.to) > 0;
            let mut add = |from: &str, to: &str, bytes: u64| {
                // Both ends may tell of it.
                let known = pairs.entry((from.to_owned(), to.to_owned())).or_default();
                *known = (*known).max(bytes);
            };
            add(&log.head.peer, &who.peer, last(&seen.to));
            add(&who.peer, &log.head.peer, last(&seen.from));
            node.seen.push(seen.have);
        }
    }
    let times = logs.iter().flat_map(|log| {
        log.moments.iter().map(|moment| moment.ms).chain(log.happened.iter().map(|happened| happened.ms))
    });
    let began_ms = times.clone().min().unwrap_or(0);
    let clock = Clock(began_ms);
    let mut all: Vec<Node> = nodes.iter().map(|(peer, node)| node_of(peer, node, head.bytes, clock, &pairs)).collect();
    let names: BTreeMap<&str, String> =
        nodes.keys().map(String::as_str).zip(all.iter().map(|n| n.name.clone())).collect();
    let mut sent: Vec<Sent> = (pairs.iter().filter(|(_, bytes)| **bytes > 0))
        .map(|(pair, bytes)| Sent {
            from: names[pair.0.as_str()].clone(),
            from_peer: pair.0.clone(),
            to: names[pair.1.as_str()].clone(),
            to_peer: pair.1.clone(),
            bytes: *bytes,
            parts: parts.remove(pair).unwrap_or_default(),
        })
        .collect();
    sent.sort_by_key(|sent| std::cmp::Reverse(sent.bytes));
    sent.truncate(SENT_MAX);
    let events = events(logs, &names, clock);
    for node in &mut all {
        let of = |what: &[What]| events.iter().find(|e| what.contains(&e.what) && e.who == node.name);
        node.ready_s = of(&[What::Ready, What::Confirmed]).map(|e| e.s);
        node.attested = of(&[What::Agrees, What::Dissents]).map(|e| (e.s, e.what == What::Agrees));
    }
    all.sort_by(|a, b| {
        let key = |node: &Node| (!node.seed, node.finish_s.unwrap_or(f64::MAX));
        key(a).0.cmp(&key(b).0).then(key(a).1.total_cmp(&key(b).1))
    });
    let first = |what: What| events.iter().find(|event| event.what == what).map(|event| event.s);
    let mut report = Report {
        chain_id: head.chain_id.clone(),
        manifest_id: head.manifest_id.clone(),
        size_bytes: head.bytes,
        chunks: head.chunks,
        began_ms,
        seconds: clock.seconds(times.max().unwrap_or(0)),
        transfer: Transfer::default(),
        first_copies: first_copies(logs, clock),
        out_s: first(What::Out),
        quorum_s: first(What::Quorum),
        nodes: all,
        sent,
        events,
        left_out: logs.iter().fold(0, |sum, log| sum.saturating_add(log.head.left_out)),
        prediction: None,
    };
    report.transfer = transfer(&report);
    if let Some((bound_s, limited_by)) = report.plan().and_then(|plan| drill::bound(&plan).ok()) {
        let transfer = &mut report.transfer;
        // A rate is measured over seconds, and an end to the second: what was is never sooner than what can be.
        let bound_s = transfer.took_s.map_or(bound_s, |took| bound_s.min(took));
        transfer.bound_s = Some(bound_s);
        // Where the last only came late no line was what all waited for.
        if !matches!(transfer.last, Some(Last { why: Why::Late { .. }, .. })) {
            transfer.ratio = transfer.took_s.filter(|_| bound_s > 0.0).map(|took| took / bound_s);
            transfer.limited_by = Some(limited_by);
        }
    }
    report
}

/// Cells of which all chunks came are one part with those that follow on them; of any other it is told how many came.
fn parts_of(chunks: u32, cells: &[u32]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (range, came) in schedule::cells(chunks).zip(cells).filter(|(_, came)| **came > 0) {
        // One that the disk lost, and that came again, is one chunk.
        let part = Part { first: range.start, last: range.end - 1, chunks: (*came).min(range.len() as u32) };
        match parts.last_mut().filter(|last| last.last + 1 == part.first && last.is_whole() && part.is_whole()) {
            Some(last) => (last.last, last.chunks) = (part.last, last.chunks + part.chunks),
            None => parts.push(part),
        }
    }
    parts
}

/// The beginning, in UNIX milliseconds.
#[derive(Debug, Clone, Copy)]
struct Clock(u64);

impl Clock {
    fn seconds(self, ms: u64) -> f64 {
        ms.saturating_sub(self.0) as f64 / 1000.0
    }
}

fn node_of(peer: &str, gathered: &Gathered, bytes: u64, clock: Clock, pairs: &BTreeMap<(String, String), u64>) -> Node {
    // What it said of itself to the one that saw the most of it, where its own log is not there.
    let last = |line: &lines::Line| line.last().map_or(0, |(_, value)| *value);
    let seen = gathered.seen.iter().max_by_key(|line| (last(line), std::cmp::Reverse(line.first().map(|(ms, _)| *ms))));
    let mut line = gathered.own.as_ref().map(|own| &own.have).or(seen).cloned().unwrap_or_default();
    let first_known = line.iter().find(|(_, value)| *value > 0).map_or(0, |(_, value)| *value);
    // Members tell what they have a moment after they came: of who was sent nothing, that is what it came with.
    let is_full = |value: u64| bytes > 0 && value >= bytes;
    let seed = match gathered.own {
        Some(_) => line.first().is_some_and(|(_, value)| is_full(*value)),
        None => is_full(first_known) && !gathered.got,
    };
    if gathered.own.is_none() && (seed || !gathered.got) {
        let told = line.iter().position(|(_, value)| *value > 0).unwrap_or(0);
        line.drain(..told);
    }
    let finish = line.iter().find(|(_, value)| is_full(*value)).map(|(ms, _)| *ms).filter(|_| !seed);
    let sum = |of_it: &dyn Fn(&(String, String)) -> bool| {
        pairs.iter().filter(|(pair, _)| of_it(pair)).fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes))
    };
    let until = |line: &lines::Line| {
        let end = line.iter().position(|(_, value)| is_full(*value)).map_or(line.len(), |end| end + 1);
        line[..end].to_vec()
    };
    let own = gathered.own.as_ref();
    let bits = |rate: f64| rate * 8.0;
    Node {
        peer: peer.to_owned(),
        name: gathered.name.clone().unwrap_or_else(|| format!("peer {}", swarm::short_peer(peer))),
        role: gathered.role,
        has_log: own.is_some(),
        seed,
        finish_s: finish.map(|ms| clock.seconds(ms)),
        stalls: (lines::stalls(&line, bytes).into_iter())
            .map(|(from, to)| (clock.seconds(from), clock.seconds(to)))
            .collect(),
        ready_s: None,
        attested: None,
        sent_bytes: own.map_or_else(|| sum(&|(from, _)| from == peer), |own| last(&own.sent)),
        received_bytes: own.map_or_else(|| sum(&|(_, to)| to == peer), |own| last(&own.received)),
        up: own.map_or((gathered.up > 0.0).then_some(gathered.up), |own| lines::best(&own.sent)).map(bits),
        down: lines::best(&until(&line)).map(bits).filter(|_| !seed),
        line: line.iter().map(|(ms, value)| (clock.seconds(*ms), *value as f64 / bytes.max(1) as f64)).collect(),
    }
}

fn events(logs: &[Log], names: &BTreeMap<&str, String>, clock: Clock) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for log in logs {
        events.extend(log.happened.iter().map(|happened| Event {
            s: clock.seconds(happened.ms),
            seen_by: names.get(log.head.peer.as_str()).cloned().unwrap_or_default(),
            what: happened.what,
            who: happened.who.clone(),
            text: happened.text.clone(),
        }));
    }
    events.sort_by(|a, b| a.s.total_cmp(&b.s));
    // What is true of the whole network is told by the log that knew it first.
    let mut told = BTreeSet::new();
    events.retain(|event| match event.what {
        What::Began | What::Ended | What::Joined | What::Left | What::KeptOut => true,
        What::Complete | What::Stalled | What::Moved => true,
        what => told.insert((what, event.who.clone())),
    });
    events.truncate(EVENTS_MAX);
    events
}

/// From the log of who had everything first and served it, the one that began first.
fn first_copies(logs: &[Log], clock: Clock) -> Vec<(f64, f64)> {
    let is_full = |log: &&Log| log.head.bytes > 0 && log.moments.first().is_some_and(|m| m.have >= log.head.bytes);
    let lead = logs.iter().filter(is_full).min_by_key(|log| log.moments.first().map(|moment| moment.ms));
    let Some(lead) = lead else { return Vec::new() };
    let chunks = f64::from(lead.head.chunks.max(1));
    // What has left it once has left it, also where those who have it go again.
    let mut most = 0.0_f64;
    let out = lines::own(lead).single.into_iter().map(|(ms, single)| {
        most = most.max(1.0 - single as f64 / chunks);
        (clock.seconds(ms), most)
    });
    out.collect()
}

fn transfer(report: &Report) -> Transfer {
    let fetched: Vec<&Node> = report.nodes.iter().filter(|node| !node.seed && !node.line.is_empty()).collect();
    let begin = |node: &Node| node.line.first().map_or(0.0, |(s, _)| *s);
    let begins_s = fetched.iter().map(|node| begin(node)).reduce(f64::min).unwrap_or(0.0);
    let mut ends: Vec<(f64, &Node)> = fetched.iter().filter_map(|node| Some((node.finish_s?, *node))).collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let took_s = ends.last().map(|(end, _)| end - begins_s);
    let last = ends.last().filter(|_| ends.len() > 1).map(|(end, node)| {
        let took = (end - begins_s).max(f64::MIN_POSITIVE);
        let (late, middle) = (begin(node) - begins_s, ends[(ends.len() - 1) / 2].0);
        let stalled: f64 = node.stalls.iter().map(|(from, to)| to - from).sum();
        let mut downs: Vec<f64> = ends.iter().filter_map(|(_, node)| node.down).collect();
        downs.sort_by(f64::total_cmp);
        let usual = downs.get(downs.len() / 2).copied().unwrap_or(0.0);
        let why = match node.down {
            _ if end - middle <= TOGETHER * took => Why::Together,
            _ if late > MUCH * took => Why::Late { seconds: late },
            _ if stalled > MUCH * took => Why::Stalled { seconds: stalled },
            Some(down) if down < SLOW * usual => Why::Line { bits: down },
            _ => Why::Later,
        };
        Last { name: node.name.clone(), why }
    });
    Transfer { begins_s, took_s, fetched: fetched.len(), complete: ends.len(), last, ..Transfer::default() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::app::run::{
        Happened,
        log::{Head, Moment},
    };

    const BYTES: u64 = 1_000_000;

    fn log(peer: &str, role: Role, begins_ms: u64) -> Log {
        Log::new(Head {
            manifest_id: "m".to_owned(),
            chain_id: "new-1".to_owned(),
            bytes: BYTES,
            chunks: 10,
            peer: peer.to_owned(),
            role: Some(role),
            stride_ms: 1000,
            ..Head::default()
        })
        .beginning(begins_ms)
    }

    impl Log {
        fn beginning(mut self, ms: u64) -> Self {
            let have = if self.head.role == Some(Role::Fetch) { 0 } else { BYTES };
            self.add(Moment { ms, have, single: 10, ..Moment::default() });
            self
        }

        fn sees(&mut self, ms: u64, have: u64, peer: &str, (chunks, to, from): (u32, u64, u64)) {
            let (n, _) = self.meet(peer, &format!("peer {peer}"), None).unwrap();
            let members = [(n, (chunks, to, from))].into();
            self.add(Moment { ms, have, sent: to, received: from, single: 10 - chunks.min(10), members });
        }
    }

    /// A lead, one that fetches and keeps a log, and one of which only the lead tells.
    fn three() -> [Log; 2] {
        let mut lead = log("L", Role::Publish, 1_000_000);
        lead.sees(1_010_000, BYTES, "a", (0, 0, 0));
        lead.sees(1_020_000, BYTES, "a", (10, BYTES, 0));
        lead.sees(1_030_000, BYTES, "b", (0, 0, 0));
        lead.sees(1_045_000, BYTES, "b", (10, BYTES, 0));
        let mut a = log("a", Role::Fetch, 1_010_000);
        a.meet("a", "validator aa", Some("key of aa")).unwrap();
        a.sees(1_020_000, BYTES, "L", (10, 0, BYTES));
        a.gave.insert(1, vec![1, 1, 1, 0, 0, 1, 2, 0, 0, 0]);
        let agrees = |ms| Happened { ms, what: What::Agrees, who: "validator aa".to_owned(), text: String::new() };
        assert!(lead.happen(agrees(1_016_000)) && a.happen(agrees(1_015_000)));
        [lead, a]
    }

    #[test]
    fn logs_of_several_nodes_have_one_time_and_each_node_stands_in_them_once() {
        let report = report(&three());
        let nodes: Vec<(&str, bool, Option<f64>)> =
            report.nodes.iter().map(|n| (n.name.as_str(), n.has_log, n.finish_s)).collect();
        assert_eq!(nodes, [("peer L", true, None), ("validator aa", true, Some(20.0)), ("peer b", false, Some(45.0))]);
        assert_eq!(report.nodes[1].attested, Some((15.0, true)), "who knew it first tells it");
        assert_eq!(report.events.iter().filter(|event| event.what == What::Agrees).count(), 1);
        let sent: Vec<(&str, &str, u64)> =
            report.sent.iter().map(|s| (s.from.as_str(), s.to.as_str(), s.bytes)).collect();
        assert_eq!(sent, [("peer L", "validator aa", BYTES), ("peer L", "peer b", BYTES)]);
        // Only who got it says which chunks came, and one that came twice is one.
        let parts: Vec<Vec<(u32, u32, u32)>> =
            report.sent.iter().map(|s| s.parts.iter().map(|p| (p.first, p.last, p.chunks)).collect()).collect();
        assert_eq!(parts, [vec![(0, 2, 3), (5, 6, 2)], vec![]]);
        let transfer = &report.transfer;
        assert_eq!((transfer.begins_s, transfer.took_s, transfer.complete), (10.0, Some(35.0), 2));
        assert_eq!(transfer.last, Some(Last { name: "peer b".to_owned(), why: Why::Late { seconds: 20.0 } }));
        assert!(transfer.bound_s.is_some_and(|bound| bound > 0.0 && bound <= 35.0), "{transfer:?}");
        assert!(transfer.ratio.is_none() && transfer.limited_by.is_none(), "nobody waited for a line: {transfer:?}");
        assert_eq!(report.first_copies.last(), Some(&(45.0, 1.0)));
    }

    #[test]
    fn a_line_is_named_as_what_all_waited_for_only_where_nobody_came_late() {
        let limited = |second_ms: u64| {
            let mut lead = log("L", Role::Publish, 1_000_000);
            let begins = [("a", 1_010_000), ("b", second_ms)];
            let mut moments: Vec<(u64, &str, u32, u64)> =
                begins.into_iter().flat_map(|(peer, ms)| [(ms, peer, 0, 0), (ms + 10_000, peer, 10, BYTES)]).collect();
            moments.sort_unstable();
            for (ms, peer, chunks, to) in moments {
                lead.sees(ms, BYTES, peer, (chunks, to, 0));
            }
            let transfer = report(&[lead]).transfer;
            (transfer.ratio.is_some_and(|ratio| ratio >= 1.0), transfer.limited_by.is_some())
        };
        assert_eq!(limited(1_021_000), (false, false));
        assert_eq!(limited(1_010_500), (true, true));
    }

    #[test]
    fn what_one_node_alone_has_seen_is_told_too_and_a_seed_is_one() {
        let [_, a] = three();
        let report = report(&[a]);
        let seeds: Vec<(&str, bool)> = report.nodes.iter().map(|node| (node.name.as_str(), node.seed)).collect();
        assert_eq!(seeds, [("peer L", true), ("validator aa", false)]);
        assert!(report.first_copies.is_empty() && report.transfer.took_s == Some(10.0));
    }

    #[test]
    fn chunks_that_came_are_told_as_ranges_and_where_some_came_from_elsewhere_as_how_many() {
        let came = |chunks: u32, cells: &[u32]| -> Vec<(u32, u32, u32)> {
            parts_of(chunks, cells).iter().map(|part| (part.first, part.last, part.chunks)).collect()
        };
        assert_eq!(came(4, &[1, 1, 0, 7]), [(0, 1, 2), (3, 3, 1)]);
        let mut cells = vec![0; 128];
        (cells[0], cells[1], cells[2], cells[127]) = (2, 2, 1, u32::MAX);
        assert_eq!(came(256, &cells), [(0, 3, 4), (4, 5, 1), (254, 255, 2)]);
        assert_eq!((came(0, &[]), came(5, &[0; 5])), (vec![], vec![]));
    }

    #[test]
    fn directories_of_other_migrations_or_without_a_log_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str, log: &mut Log| {
            let private = dir.path().join(name).join(PRIVATE_DIRECTORY_NAME);
            fs::create_dir_all(&private).unwrap();
            fs::write(private.join(LOG_NAME), log.text()).unwrap();
            dir.path().join(name)
        };
        let [mut lead, mut other] = three();
        other.head.manifest_id = "n".to_owned();
        let (lead, other) = (place("lead", &mut lead), place("other", &mut other));
        assert_eq!(of_directories(&[lead.clone(), lead.clone()]).unwrap().nodes.len(), 3);
        let said = |directories: &[PathBuf]| of_directories(directories).unwrap_err().chain();
        assert!(said(&[lead.clone(), other]).contains("tells of another migration"));
        assert!(said(&[dir.path().join("none")]).contains("has no run log"));
        assert!(said(&vec![lead; DIRECTORIES_MAX + 1]).contains("a report takes"));
    }
}
